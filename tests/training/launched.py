"""Scripts that are run as processes of their own, and what they wrote."""

import functools
import json
import os
import pathlib
import subprocess
import sys

import divided_run
import keras
import numpy as np

SCRIPT = pathlib.Path(divided_run.__file__)
# Less time to compile for more time to run, of which there is little.
QUICK = (
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
)


def run(*arguments, **environment):
    """Runs a script; returns the JSON of its lines."""
    finished = subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "XLA_FLAGS": " ".join([os.environ.get("XLA_FLAGS", ""), *QUICK]),
            **environment,
        },
    )
    assert finished.returncode == 0, finished.stderr[-4000:]
    lines = [x for x in finished.stdout.splitlines() if x.startswith("{")]
    return [json.loads(line) for line in lines]


def torchrun(count, *arguments, **environment):
    """Runs a script in several processes; returns the JSON of their lines."""
    launcher = ["-m", "torch.distributed.run", f"--nproc_per_node={count}"]
    return run(*launcher, *arguments, **environment)


def divided(count, *options, **environment):
    """The runs of each process that trains on a part of a batch."""
    if keras.config.backend() != "torch":
        return run(SCRIPT, count, *options, **environment)
    found = torchrun(count, SCRIPT, count, *options, **environment)
    return sorted(found, key=lambda each: each["process"])


@functools.cache
def alone():
    """The run on one device."""
    return divided_run.run(1)


def assert_near(mine, theirs):
    assert mine["predictions"] == theirs["predictions"]
    for key in ("losses", "val_loss", "accuracy", "logits", "thought_norm"):
        np.testing.assert_allclose(
            mine[key], theirs[key], atol=1e-4, err_msg=key
        )
    np.testing.assert_allclose(mine["weights"], theirs["weights"], rtol=1e-3)
