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

from absl import app, flags
from command_line import (
    MOST_SEED,
    blame,
    check_backend,
    check_packages,
    refuse_arguments,
    run,
)
from flag_sections import Section, expect, expect_counts
from output_folder import (
    PRESET_FILES,
    check_can_be_made,
    check_folder,
    remove_written,
)

FLAGS = flags.FLAGS

data = Section("Data")
data.count("train_problems", 50_000, "Problems to train on.")
# One of the controls takes another problem's thoughts.
data.count("test_problems", 1_000, "Held-out problems to test on.", least=2)

training = Section("Training")
training.count("steps", 120, "Training steps in an epoch.")
training.several(
    "epochs", ["2", "1", "2", "3"], "Epochs in stages 0 to 3.", value="N,N,N,N"
)
training.count("chain_epochs", 3, "Epochs of chain of thought.")
training.count(
    "seed",
    0,
    "Random seed of the weights and of the order of problems.",
    least=0,
    most=MOST_SEED,
)

output = Section("Output")
output.text(
    "output", "demo", "Folder for the preset and the plot.", value="FOLDER"
)
output.switch("overwrite", False, "Replace what a demo left in --output.")

expect_counts("epochs", different=False)
expect("output", bool, "a folder")

WRITTEN = ("stages.png", *PRESET_FILES)
# One for each step of a problem that is hidden, and stage 0.
STAGES = 4


def check_flags(output):
    """Raises a `UsageError` for epochs that train too little, and the like."""
    if len(FLAGS.epochs) != STAGES or not int(FLAGS.epochs[-1]):
        raise app.UsageError(
            f"--epochs must be {STAGES} whole numbers, the last of them "
            f"at least 1. Received: {','.join(FLAGS.epochs)}"
        )
    check_packages(["matplotlib"], "the plot")
    if FLAGS.overwrite:
        check_can_be_made(output)
    else:
        check_folder(output, remedy="; --overwrite replaces an earlier demo")


def main(argv):
    start = time.perf_counter()
    refuse_arguments(argv)
    output = pathlib.Path(FLAGS.output)
    check_flags(output)
    backend = check_backend()

    # Here and not above: Keras takes seconds to import.
    from arithmetic_model import NUM_STEPS
    from demo_training import show_thoughts, train_three_ways

    from keras_coconut import load_arithmetic, plot_stages

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
    model, history, rows = train_three_ways(splits)
    model.save_to_preset(str(output / "preset"))
    plot_stages(
        history,
        output / "stages.png",
        title="Coconut on arithmetic modulo 10: steps become thoughts",
    )

    print(f"\n== {len(splits.test):,} held-out problems")
    print(f"{'':60}{'steps':>7}{'accuracy':>10}{'tokens generated':>18}")
    for label, steps, accuracy, tokens in rows:
        print(f"{label:60}{steps:>7}{accuracy:>10.1%}{tokens:>18.1f}")
    print("(a thought counts as one token, the end of text is not counted)")
    print("\n== What each thought decodes to, beside the running values")
    show_thoughts(model, splits.test[:5])
    print(f"\npreset: {output / 'preset'}   plot: {output / 'stages.png'}")
    print(f"took {time.perf_counter() - start:.0f} seconds on {backend}")


if __name__ == "__main__":
    run(main)
