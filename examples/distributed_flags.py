"""The flags that `distributed_{jax,tensorflow,torch}.py` have in common.

Nothing here imports Keras, so that each script can set its backend first.
"""

import os

from absl import app, flags

FLAGS = flags.FLAGS
flags.DEFINE_integer("steps", 800, "Training steps.", lower_bound=1)
flags.DEFINE_integer(
    "batch_size", 128, "Rows of all devices together.", lower_bound=1
)
flags.DEFINE_string("losses", None, "JSON file for the loss of every step.")
flags.DEFINE_string(
    "saves", None, "Folder from which an interrupted run resumes."
)
flags.DEFINE_integer(
    "seed",
    0,
    "Seed of the weights and of the order.",
    lower_bound=0,
    upper_bound=2**32 - 1,
)


def use_backend(name):
    """Sets the backend of a script; raises a `UsageError` for another one."""
    asked = os.environ.setdefault("KERAS_BACKEND", name)
    if asked != name:
        raise app.UsageError(
            f"KERAS_BACKEND must be {name} or unset. Received: {asked}"
        )
