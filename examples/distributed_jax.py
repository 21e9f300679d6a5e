r"""
Title: Coconut on several devices with JAX
Author: the keras_coconut developers
Date created: 2026/11/26
Description: Training divided by keras.distribution, on one or more hosts.

One process computes on all devices of a machine:

    python examples/distributed_jax.py

On a machine without an accelerator, `--devices` makes so many of one CPU:

    python examples/distributed_jax.py --devices 4 --steps 100

A model that does not fit on one device: two share each layer, and the others
divide the batch.

    python examples/distributed_jax.py --devices 4 --model_parallel 2

Several machines run one process each, and tell it where the first one listens:

    python examples/distributed_jax.py --coordinator HOST0:1234 \
        --processes 2 --process 0        # and --process 1 on the second

On a TPU pod slice JAX finds the other hosts itself:

    gcloud compute tpus tpu-vm ssh NAME --worker=all \
        --command="python examples/distributed_jax.py --pod"
"""

import re

from absl import app
from command_line import run
from distributed_flags import FLAGS, check_devices, check_flags
from flag_sections import Section, expect, given

devices = Section("Devices")
devices.count("devices", None, "Devices; all if unset.")
devices.count("model_parallel", 1, "Devices that share each layer.")

hosts = Section("Several hosts")
hosts.text("coordinator", None, "Where process 0 listens.", value="HOST:PORT")
hosts.count("processes", None, "Processes in all.")
hosts.count("process", None, "The number of this one, from 0.", least=0)
hosts.switch("pod", False, "Whether this is one host of a TPU pod slice.")

_TOGETHER = ("coordinator", "processes", "process")
expect(
    "coordinator",
    re.compile(r".+:\d+").fullmatch,
    "a host and a port, HOST:PORT",
)


def check_hosts():
    """Raises a `UsageError` for flags of hosts that do not go together."""
    names = given(_TOGETHER)
    if names and len(names) < len(_TOGETHER):
        missing = [name for name in _TOGETHER if name not in names]
        raise app.UsageError(
            "--coordinator, --processes and --process must be given together. "
            f"Received: no --{missing[0]}"
        )
    if names and FLAGS.pod:
        raise app.UsageError(
            "--pod must be left out with --coordinator: on a pod slice JAX "
            "finds the other hosts itself"
        )
    if names and FLAGS.process >= FLAGS.processes:
        raise app.UsageError(
            f"--process must be below --processes. Received: --process="
            f"{FLAGS.process} and --processes={FLAGS.processes}"
        )
    if FLAGS.devices and FLAGS.devices % FLAGS.model_parallel:
        raise app.UsageError(
            "--model_parallel must divide --devices. Received: "
            f"--model_parallel={FLAGS.model_parallel} and "
            f"--devices={FLAGS.devices}"
        )


def main(argv):
    check_flags(argv, "jax")
    check_hosts()
    if FLAGS.devices:
        check_devices(FLAGS.devices // FLAGS.model_parallel)
    import jax

    together = [getattr(FLAGS, name) for name in _TOGETHER]
    if given(_TOGETHER):
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(*together)
    elif FLAGS.pod:
        jax.distributed.initialize()
    elif FLAGS.devices:
        # Of a CPU only; it has no effect on accelerators.
        jax.config.update("jax_num_cpu_devices", FLAGS.devices)
    from distributed_training import train

    train(FLAGS.devices, model_parallel=FLAGS.model_parallel)


if __name__ == "__main__":
    run(main)
