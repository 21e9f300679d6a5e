"""
Title: Coconut on several devices with JAX
Author: the keras_coconut developers
Date created: 2026/11/26
Description: Data parallel training by keras.distribution, on one or more hosts.

One process computes on all devices of a machine:

    python examples/distributed_jax.py

On a machine without an accelerator, `--devices` makes so many of one CPU:

    python examples/distributed_jax.py --devices 4 --steps 100

Several machines run one process each, and tell it where the first one listens:

    python examples/distributed_jax.py --coordinator HOST0:1234 \
        --processes 2 --process 0        # and --process 1 on the second

On a TPU pod slice JAX finds the other hosts itself:

    gcloud compute tpus tpu-vm ssh NAME --worker=all \
        --command="python examples/distributed_jax.py --pod"
"""

from absl import app, flags
from command_line import run
from distributed_flags import FLAGS, use_backend

flags.DEFINE_integer("devices", None, "Devices; all if unset.", lower_bound=1)
flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0.")
flags.DEFINE_integer("processes", None, "Processes in all.", lower_bound=1)
flags.DEFINE_integer("process", None, "The number of this one.", lower_bound=0)
flags.DEFINE_bool("pod", False, "Whether this is one host of a TPU pod slice.")


def main(_):
    use_backend("jax")
    import jax

    together = (FLAGS.coordinator, FLAGS.processes, FLAGS.process)
    if any(value is not None for value in together):
        if None in together:
            raise app.UsageError(
                "--coordinator, --processes and --process must be given "
                "together"
            )
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(*together)
    elif FLAGS.pod:
        jax.distributed.initialize()
    elif FLAGS.devices:
        # Of a CPU only; it has no effect on accelerators.
        jax.config.update("jax_num_cpu_devices", FLAGS.devices)
    from distributed_training import train

    train(FLAGS.devices)


if __name__ == "__main__":
    run(main)
