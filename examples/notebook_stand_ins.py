"""Small files in place of those that a notebook downloads.

    KERAS_BACKEND=torch python examples/notebook_stand_ins.py FOLDER

They let the GSM8k notebook run without network. Their problems are sums, their
model has random weights.
"""

import pathlib
import sys

import keras_hub

import keras_coconut


def write_problems(folder: pathlib.Path):
    """Writes files named as GSM8k-Aug's."""
    folder.mkdir()
    for seed, name in enumerate(["train", "valid", "test"]):
        problems = [
            keras_coconut.Problem(
                f"Ann has {a} cups and buys {b} more. How many has she?",
                [f"<<{a}+{b}={a + b}>>"],
                str(a + b),
            )
            for a in range(2, 12)
            for b in range(2 + 10 * seed, 12 + 10 * seed)
        ]
        keras_coconut.write_gsm8k(folder / f"{name}.txt", problems)


def write_preset(folder: pathlib.Path):
    """Writes a plain KerasHub preset of a tiny GPT-2."""
    tokenizer = keras_coconut.make_word_tokenizer()
    backbone = keras_hub.models.GPT2Backbone(
        vocabulary_size=tokenizer.vocabulary_size(),
        num_layers=1,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=32,
        max_sequence_length=256,
    )
    preprocessor = keras_hub.models.GPT2CausalLMPreprocessor(tokenizer)
    task = keras_hub.models.GPT2CausalLM(backbone, preprocessor)
    task.save_to_preset(str(folder))


if __name__ == "__main__":
    target = pathlib.Path(sys.argv[1])
    write_problems(target / "gsm8k")
    write_preset(target / "preset")
