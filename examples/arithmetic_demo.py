"""
Title: Thinking in continuous thoughts: modular arithmetic in minutes
Author: the keras_coconut developers
Date created: 2026/11/23
Description: Train a two-layer GPT-2 to do sums in its head, and look inside.

Run it with `make demo`, or with the backend of your choice:

    KERAS_BACKEND=jax python examples/arithmetic_demo.py

A problem such as "start 3, +4, *2, -5" is solved step by step, modulo 10: 7, 4,
9. We train the same small GPT-2 in three ways. *Chain of thought* writes the
steps and then the answer. *No chain of thought* writes the answer at once.
*Coconut* begins with written steps and replaces them, stage by stage, by
thoughts: hidden states that are fed back and never written down. In the end it
writes the answer at once, too, but it has thought before.

A folder that is in use is refused. `--overwrite` replaces what an earlier demo
wrote in it and leaves every other file.
"""

import pathlib
import time

import keras
from absl import app, flags
from arithmetic_model import NUM_STEPS, make_model, make_preprocessor
from command_line import blame, expect_counts, run
from output_folder import (
    PRESET_FILES,
    check_can_be_made,
    check_folder,
    remove_written,
)

import keras_coconut
from keras_coconut.analysis.plots import plot_stages
from keras_coconut.analysis.thoughts import decode_thoughts
from keras_coconut.datasets.arithmetic import load_arithmetic
from keras_coconut.evaluation.answer_accuracy import AnswerAccuracy
from keras_coconut.evaluation.controls import CONTROLS, evaluate_controls
from keras_coconut.evaluation.problems import evaluate_problems

FLAGS = flags.FLAGS
flags.DEFINE_string("output", "demo", "Folder for the preset and the plot.")
flags.DEFINE_bool("overwrite", False, "Replace what a demo left in --output.")
flags.DEFINE_integer(
    "seed",
    0,
    "Seed of the weights and of the order.",
    lower_bound=0,
    upper_bound=2**32 - 1,
)
flags.DEFINE_integer(
    "train_problems", 50_000, "Problems to train on.", lower_bound=1
)
# One of the controls takes another problem's thoughts.
flags.DEFINE_integer(
    "test_problems", 1_000, "Held-out problems to test on.", lower_bound=2
)
flags.DEFINE_integer("steps", 200, "Training steps in an epoch.", lower_bound=1)
flags.DEFINE_list("epochs", ["2", "1", "3", "4"], "Epochs in stages 0 to 3.")
flags.DEFINE_integer(
    "chain_epochs", 3, "Epochs of chain of thought.", lower_bound=1
)
expect_counts("epochs", different=False)

BATCH_SIZE = 128
# The longest response: three steps, the answer, end of text.
MAX_LENGTH = 12
WRITTEN = ("stages.png", *PRESET_FILES)


def train(name, curriculum, epochs, preprocessor, problems, validation):
    """One `fit` moves through all the stages of a curriculum."""
    print(f"\n== {name}", flush=True)
    keras.utils.set_random_seed(FLAGS.seed)
    model = make_model(preprocessor)
    dataset = keras_coconut.CurriculumDataset(
        problems,
        preprocessor,
        curriculum,
        batch_size=BATCH_SIZE,
        seed=FLAGS.seed,
        steps_per_epoch=FLAGS.steps,
    )
    history = model.fit(
        dataset,
        epochs=epochs,
        verbose=2,
        callbacks=[
            # At this learning rate a fresh Adam would take large first steps.
            keras_coconut.CurriculumScheduler(dataset, reset_optimizer="never"),
            AnswerAccuracy(validation, max_length=MAX_LENGTH, batch_size=250),
        ],
    )
    return model, history.history


def check_flags(output):
    """Raises a `UsageError` for epochs that train too little, and the like."""
    if len(FLAGS.epochs) != NUM_STEPS + 1 or not int(FLAGS.epochs[-1]):
        raise app.UsageError(
            f"--epochs must be {NUM_STEPS + 1} whole numbers, the last of them "
            f"at least 1. Received: {','.join(FLAGS.epochs)}"
        )
    if FLAGS.overwrite:
        check_can_be_made(output)
    else:
        check_folder(output, remedy="; --overwrite replaces an earlier demo")


def main(_):
    start = time.perf_counter()
    output = pathlib.Path(FLAGS.output)
    check_flags(output)
    with blame("--train_problems, --test_problems"):
        splits = load_arithmetic(
            train=FLAGS.train_problems,
            validation=250,
            test=FLAGS.test_problems,
            num_operations=NUM_STEPS,
            seed=FLAGS.seed,
        )
    if FLAGS.overwrite:
        remove_written(output, WRITTEN)
    output.mkdir(parents=True, exist_ok=True)
    training, validation, test = splits.train, splits.validation, splits.test
    preprocessor = make_preprocessor()

    # Stage k replaces the first k steps by k thoughts; three rows in ten are
    # shown at another stage, so that early thoughts keep their meaning. A
    # curriculum without stages is chain of thought, and needs fewer steps. One
    # that is in its extra stage from the first epoch on, with no thoughts, is
    # no chain of thought.
    initial, *later = map(int, FLAGS.epochs)
    epochs = initial + sum(later)
    coconut = keras_coconut.Curriculum(
        max_stage=NUM_STEPS,
        initial_epochs=initial,
        epochs_per_stage=later,
        extra_stage=False,
        mixing_probability=0.3,
    )
    plans = {
        "chain of thought": ("cot", FLAGS.chain_epochs),
        "no chain of thought": ("no_cot", epochs),
        "Coconut": ("coconut", epochs),
    }
    rows = []
    for name, (method, epochs) in plans.items():
        curriculum = keras_coconut.method_curriculum(method, coconut)
        model, history = train(
            name, curriculum, epochs, preprocessor, training, validation
        )
        options = dict(max_length=MAX_LENGTH, batch_size=250)
        found = evaluate_problems(model, test, **options)
        steps = f"{epochs * FLAGS.steps:,}"
        rows.append((name, steps, found.accuracy, found.tokens_generated))
        # The same model with its thoughts left out or replaced.
        for control, found in evaluate_controls(model, test, **options).items():
            label = f"  {CONTROLS[control]}"
            rows.append((label, "", found.accuracy, found.tokens_generated))

    # `model` is now the one that thinks.
    model.save_to_preset(str(output / "preset"))
    plot_stages(
        history,
        output / "stages.png",
        title="Coconut on arithmetic modulo 10: steps become thoughts",
    )

    print(f"\n== {len(test):,} held-out problems")
    print(f"{'':60}{'steps':>7}{'accuracy':>10}{'tokens generated':>18}")
    for label, steps, accuracy, tokens in rows:
        print(f"{label:60}{steps:>7}{accuracy:>10.1%}{tokens:>18.1f}")
    print("(a thought counts as one token, the end of text is not counted)")

    print("\n== What each thought decodes to, beside the running values")
    asked = test[:5]
    decoded = decode_thoughts(model, [p.question for p in asked], top_k=2)
    answers = model.generate([p.question for p in asked], max_length=MAX_LENGTH)
    for problem, thoughts, answer in zip(asked, decoded, answers):
        print(f"{problem.question}   answered {answer!r}")
        for step, thought in zip(problem.steps, thoughts):
            read = ", ".join(
                f"{entry.token!r} {entry.probability:.0%}" for entry in thought
            )
            print(f"   running value {step}   thought decodes to {read}")

    print(f"\npreset: {output / 'preset'}   plot: {output / 'stages.png'}")
    print(
        f"took {time.perf_counter() - start:.0f} seconds on "
        f"{keras.config.backend()}"
    )


if __name__ == "__main__":
    run(main)
