"""The flags that `distributed_{jax,tensorflow,torch}.py` have in common.

Nothing here imports Keras, so that each script can set its backend first.
"""

import os
import pathlib

from absl import app, flags
from command_line import (
    MOST_SEED,
    check_backend,
    check_new_file,
    refuse_arguments,
)
from flag_sections import Section, expect
from output_folder import check_can_be_made

FLAGS = flags.FLAGS

training = Section("Training")
training.count("steps", 800, "Training steps.")
training.count("batch_size", 128, "Rows of all devices together.")
training.count(
    "seed",
    0,
    "Random seed of the weights and of the order of problems.",
    least=0,
    most=MOST_SEED,
)

output = Section("Saving and output")
output.text(
    "losses", None, "JSON file for the loss of every step.", value="FILE"
)
output.switch("overwrite", False, "Replace the file of --losses.")
output.text(
    "saves",
    None,
    "Folder of saves, from which an interrupted run resumes.",
    value="FOLDER",
)
expect("saves", bool, "a folder")


def check_flags(argv, backend):
    """Checks the common flags, and sets the backend of a script.

    Raises:
        app.UsageError: If a flag does not fit, or if KERAS_BACKEND is set to
            another backend.
    """
    refuse_arguments(argv)
    asked = os.environ.setdefault("KERAS_BACKEND", backend)
    if asked != backend:
        raise app.UsageError(
            f"KERAS_BACKEND must be {backend} or unset. Received: {asked}"
        )
    check_backend()
    if FLAGS.saves:
        check_can_be_made(pathlib.Path(FLAGS.saves), "--saves")
    if FLAGS.losses:
        check_new_file("--losses", FLAGS.losses, ".json", FLAGS.overwrite)


def check_devices(count):
    """Raises a `UsageError` if devices cannot share a batch evenly."""
    if count and FLAGS.batch_size % count:
        raise app.UsageError(
            f"--batch_size must be a multiple of {count}, the number of "
            f"devices. Received: {FLAGS.batch_size}"
        )
