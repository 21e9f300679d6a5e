"""Computes the tables of docs/devices.md: the memory of a training step.

    python docs/make_memory_table.py

prints what one device holds, computed, by backbone and by how the model is
divided.

    KERAS_BACKEND=jax python docs/make_memory_table.py --measure

compiles the step of small backbones for CPU devices, and prints what the
compiler sets aside beside what is computed. Nothing runs.
"""

import argparse
import os
from typing import NamedTuple

BYTES = 4  # Weights, gradients and state are in float32.
GIB = 2**30


class Backbone(NamedTuple):
    """The sizes of a GPT-2, or of a Llama if there are groups of keys."""

    layers: int
    hidden: int
    width: int
    heads: int
    groups: int | None
    head_size: int
    vocabulary: int
    positions: int = 0
    tied: bool = True


class Batch(NamedTuple):
    """Rows of a batch, and positions of each row."""

    rows: int
    question: int
    thoughts: int
    response: int

    @property
    def positions(self):
        return self.rows * (self.question + self.thoughts + self.response)

    @property
    def pairs(self):
        """A query and each key that it is compared with."""
        question, thoughts, response = self[1:]
        row = question**2 + response * (question + thoughts + response)
        row += sum(question + thought for thought in range(thoughts))
        return self.rows * row


BACKBONES = {
    "GPT-2 base": Backbone(12, 768, 3072, 12, None, 64, 50260, 1024),
    "GPT-2 medium": Backbone(24, 1024, 4096, 16, None, 64, 50260, 1024),
    "SmolLM2-135M": Backbone(30, 576, 1536, 9, 3, 64, 49154),
    "Llama 3.2 1B": Backbone(16, 2048, 8192, 32, 8, 64, 128258),
    "Llama 3 8B": Backbone(32, 4096, 14336, 32, 8, 128, 128258, tied=False),
}
# For each copy of the model: ProsQA's lengths, at the last stage.
BATCH = Batch(8, 320, 6, 24)


def numbers(backbone, model_parallel=1):
    """Returns how many numbers of the weights one device has."""
    hidden, width = backbone.hidden, backbone.width
    attended = backbone.heads * backbone.head_size
    embedding = backbone.vocabulary * hidden * (1 if backbone.tied else 2)
    whole = backbone.positions * hidden
    if backbone.groups is None:
        shared = 4 * hidden * attended + 2 * hidden * width
        shared += 3 * attended + width
        # Two norms, and the biases of what is added up.
        whole += backbone.layers * 6 * hidden + 2 * hidden
    else:
        keys = 2 * hidden * backbone.groups * backbone.head_size
        shared = 2 * hidden * attended + 3 * hidden * width
        if backbone.groups % model_parallel:
            whole += backbone.layers * keys
        else:
            shared += keys
        whole += backbone.layers * 2 * hidden + hidden
    return (backbone.layers * shared + embedding) // model_parallel + whole


def activations(backbone, batch, model_parallel=1):
    """Returns how many numbers a backward pass needs of the forward pass.

    What a layer keeps of a position, in hidden sizes and widths, and of a pair
    of positions, is fitted to what `--measure` measures.
    """
    if backbone.groups is None:
        whole, hidden, width = 8, 4, 2
    else:
        whole, hidden, width = 7, 1, 3.6
    shared = hidden * backbone.hidden + width * backbone.width
    layer = (
        batch.positions * (whole * backbone.hidden + shared / model_parallel)
        + 2 * backbone.heads * batch.pairs / model_parallel
    )
    logits = 3.3 * batch.rows * batch.response * backbone.vocabulary
    return backbone.layers * layer + logits / model_parallel


def held(backbone, batch, model_parallel=1, state_parts=1):
    """Returns the bytes of weights, gradients, state and activations.

    Args:
        backbone: a `Backbone`.
        batch: the `Batch` of the devices that share a model.
        model_parallel: int. How many devices share each layer.
        state_parts: int. How many processes divide the optimizer state.
    """
    weights = numbers(backbone, model_parallel) * BYTES
    return {
        "weights": weights,
        "gradients": weights,
        "state": 2 * weights / state_parts,
        "activations": activations(backbone, batch, model_parallel) * BYTES,
    }


def table():
    """Yields a backbone, how it is divided, and what one device holds."""
    for name, backbone in BACKBONES.items():
        ways = {
            "not, or the batch alone": {},
            "`shard_optimizer`, 8 processes": {"state_parts": 8},
            "`shard_optimizer`, 64 processes": {"state_parts": 64},
        }
        # As many of a machine's 8 as share the heads evenly, or 3.
        count = next(n for n in (8, 4, 3) if backbone.heads % n == 0)
        ways[f"`model_parallel={count}`"] = {"model_parallel": count}
        for way, options in ways.items():
            yield name, way, held(backbone, BATCH, **options)


def print_table():
    print("| backbone | divided | weights | gradients | state | activations |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, way, bytes_held in table():
        sizes = [f"{size / GIB:.2f}" for size in bytes_held.values()]
        print(f"| {name} | {way} | {' | '.join(sizes)} |")


# === Measured ===

SMALL = {
    "GPT-2": Backbone(2, 128, 512, 4, None, 32, 512, 1024),
    "Llama 3": Backbone(2, 128, 512, 4, 2, 32, 512),
}
SMALL_BATCH = Batch(8, 64, 4, 32)
# What is changed of the small ones.
CHANGES = (
    {},
    {"layers": 4},
    {"hidden": 256, "head_size": 64},
    {"width": 1024},
    {"vocabulary": 2048},
    {"question": 128},
    {"response": 64},
)


def measure(backbone, batch, model_parallel):
    """Returns what JAX sets aside on a device for a step, in bytes.

    Returns:
        A tuple of what the step is given, weights and state, and of what it
        needs besides, gradients and activations.
    """
    import jax
    import keras
    import keras_hub
    import numpy as np

    import keras_coconut

    common = {
        "vocabulary_size": backbone.vocabulary,
        "num_layers": backbone.layers,
        "hidden_dim": backbone.hidden,
        "intermediate_dim": backbone.width,
    }
    with keras_coconut.distribute(model_parallel, model_parallel):
        if backbone.groups is None:
            made = keras_hub.models.GPT2Backbone(
                num_heads=backbone.heads,
                max_sequence_length=backbone.positions,
                dropout=0.0,
                **common,
            )
        else:
            made = keras_hub.models.Llama3Backbone(
                num_query_heads=backbone.heads,
                num_key_value_heads=backbone.groups,
                tie_word_embeddings=backbone.tied,
                **common,
            )
        model = keras_coconut.ContinuousThoughtLM(made)
        model.compile(keras.optimizers.AdamW(1e-4))
        model.optimizer.build(model.trainable_variables)
        rows, question, thoughts, response = batch
        x = {
            "question_ids": np.zeros((rows, question), "int32"),
            "question_mask": np.ones((rows, question), "int32"),
            "thought_mask": np.ones((rows, thoughts), "int32"),
            "response_ids": np.zeros((rows, response), "int32"),
            "response_mask": np.ones((rows, response), "int32"),
        }
        # Makes the variables of the metrics.
        model._symbolic_build(data_batch=(x, None, None))
        state = tuple(
            [variable.value for variable in variables]
            for variables in (
                model.trainable_variables,
                model.non_trainable_variables,
                model.optimizer.variables,
                model.metrics_variables,
            )
        )
        shardings = jax.tree.map(lambda value: value.sharding, state)
        step = jax.jit(
            model.train_step,
            donate_argnums=0,
            out_shardings=(None, shardings),
        )
        compiled = step.lower(state, (x, None, None)).compile()
    found = compiled.memory_analysis()
    return found.argument_size_in_bytes, found.temp_size_in_bytes


def print_measured(changes):
    print("| backbone | changed | devices | weights and state | other |")
    print("| --- | --- | --- | --- | --- |")
    for name, small in SMALL.items():
        for model_parallel in (1, 2):
            for change in changes:
                backbone, batch = changed(small, change)
                given, other = measure(backbone, batch, model_parallel)
                computed = held(backbone, batch, model_parallel)
                computed = (
                    computed["weights"] + computed["state"],
                    computed["gradients"] + computed["activations"],
                )
                texts = [
                    f"{measured / 2**20:.2f}, {size / measured - 1:+.0%}"
                    for measured, size in zip((given, other), computed)
                ]
                what = ", ".join(f"{k} {v}" for k, v in change.items()) or "-"
                print(
                    f"| {name} | {what} | {model_parallel} | "
                    f"{' | '.join(texts)} |",
                    flush=True,
                )


def changed(backbone, change):
    """Returns a backbone and a batch with some of their sizes changed."""
    of_batch = {k: v for k, v in change.items() if k in Batch._fields}
    of_backbone = {k: v for k, v in change.items() if k not in of_batch}
    return backbone._replace(**of_backbone), SMALL_BATCH._replace(**of_batch)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--measure", action="store_true")
    parser.add_argument(
        "--changes", type=int, default=len(CHANGES), help="how many to measure"
    )
    arguments = parser.parse_args()
    if not arguments.measure:
        print_table()
        return
    os.environ["KERAS_BACKEND"] = "jax"
    import jax

    jax.config.update("jax_num_cpu_devices", 2)
    print_measured(CHANGES[: arguments.changes])


if __name__ == "__main__":
    main()
