"""
Title: Coconut on several devices with TensorFlow
Author: the keras_coconut developers
Date created: 2026/11/26
Description: Data parallel training by tf.distribute on one machine.

    python examples/distributed_tensorflow.py

uses all GPUs, or all cores of a TPU. On a machine without an accelerator,
`--devices` makes so many of one CPU:

    python examples/distributed_tensorflow.py --devices 4 --steps 100

Keras 3 does not train under `MultiWorkerMirroredStrategy`: for several machines
see distributed_jax.py and distributed_torch.py.
"""

from command_line import run
from distributed_flags import FLAGS, check_devices, check_flags
from flag_sections import Section

devices = Section("Devices")
devices.count("devices", None, "Devices; all if unset.")
devices.switch("tpu", False, "Whether to look for a TPU.")


def main(argv):
    check_flags(argv, "tensorflow")
    check_devices(FLAGS.devices)
    import tensorflow as tf

    if FLAGS.tpu:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver()
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    elif FLAGS.devices and not tf.config.list_physical_devices("GPU"):
        (cpu,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * FLAGS.devices
        )
    from distributed_training import train

    train(FLAGS.devices)


if __name__ == "__main__":
    run(main)
