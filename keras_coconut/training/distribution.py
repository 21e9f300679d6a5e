"""Training on several devices: each backend's own engine, chosen and named."""

import contextlib
import json
import os
import sys
from typing import NamedTuple

import keras

from keras_coconut.checks import check_count, shown
from keras_coconut.models import replicas


class Devices(NamedTuple):
    """The devices that train together.

    Args:
        count: int. Among how many devices the rows of a batch are divided.
        processes: int. How many processes train together.
        process: int. The number of this process; process 0 writes files.
        engine: string. What divides the work.
    """

    count: int
    processes: int
    process: int
    engine: str


@contextlib.contextmanager
def distribute(devices: int | None = None):
    """Divides each batch among several devices.

    Make, compile and train the model within the `with` block. `batch_size` is
    that of all devices together, and the numbers are those of one device: the
    loss is the mean over all labels of the batch, rows that only fill a batch
    up weigh nothing, and the order of the problems is the same.

    The engine is the backend's own:

    - JAX: `keras.distribution.DataParallel`. One process computes on all
      devices of a machine. For several machines, start one process on each and
      call `jax.distributed.initialize` before anything else.
    - TensorFlow: `tf.distribute.MirroredStrategy` on GPUs or logical CPU
      devices, `tf.distribute.TPUStrategy` on TPUs. One machine: Keras 3 does
      not train under `MultiWorkerMirroredStrategy`.
    - PyTorch: `torch.distributed`, one process for each device, started with
      `torchrun`, on one machine or several. Gradients are averaged at the end
      of each backward pass.

    Where several processes train together, `fit` takes a `CurriculumDataset`
    only, which gives each its part of a batch. All of them call `fit`,
    `evaluate` and `predict`; process 0 shows the progress bar, and has the
    callbacks of Keras that write files. Dropout draws other numbers than on one
    device.

    Args:
        devices: int. How many devices to use. On PyTorch it must be the number
            of processes that `torchrun` started. Defaults to all there are.

    Yields:
        `Devices`, which a line on stderr describes, too.

    Raises:
        ValueError: If there are fewer devices, if the processes were not
            started as the backend needs it, or if a strategy or distribution is
            set already.

    Example:
    ```python
    with keras_coconut.distribute() as devices:
        model = keras_coconut.ContinuousThoughtLM.from_preset("gpt2_base_en")
        model.compile()
        print(devices.count, "devices share each batch")
    ```
    """
    if devices is not None:
        devices = check_count("devices", devices, least=1)
    scope = {"jax": _jax, "tensorflow": _tensorflow, "torch": _torch}[
        keras.config.backend()
    ]
    with scope(devices) as engine:
        found = Devices(
            replicas.devices_of_a_batch(),
            replicas.num_processes(),
            replicas.process_index(),
            engine,
        )
        if found.process == 0:
            print(
                f"keras_coconut: {found.count} devices and {found.processes} "
                f"processes share each batch, by {engine}",
                file=sys.stderr,
                flush=True,
            )
        yield found


@contextlib.contextmanager
def _jax(devices):
    import jax

    if keras.distribution.distribution() is not None:
        raise ValueError(
            "`distribute` must be the only one that sets a distribution. "
            f"Received: {shown(keras.distribution.distribution())}"
        )
    every = keras.distribution.list_devices()
    if jax.process_count() > 1 and devices not in (None, len(every)):
        raise ValueError(
            "`devices` must be all devices of all processes, or left out. "
            f"Received: devices={devices}, and there are {len(every)}"
        )
    _check_enough(devices, every, "the setting `jax_num_cpu_devices`")
    every = every[:devices]
    if len(every) == 1:
        yield f"nothing: {every[0]} alone"
        return
    distribution = keras.distribution.DataParallel(
        # A dataset gives each process its own rows.
        devices=every,
        auto_shard_dataset=False,
    )
    with distribution.scope():
        yield f"keras.distribution.DataParallel on {', '.join(every)}"


@contextlib.contextmanager
def _tensorflow(devices):
    import tensorflow as tf

    config = json.loads(os.environ.get("TF_CONFIG") or "{}")
    workers = len(config.get("cluster", {}).get("worker", ()))
    if workers > 1:
        raise ValueError(
            "`TF_CONFIG` must name one worker: Keras 3 does not train under "
            "`tf.distribute.MultiWorkerMirroredStrategy`. Several machines "
            "train with KERAS_BACKEND=jax or torch. Received: "
            f"{workers} workers"
        )
    if tf.distribute.has_strategy():
        raise ValueError(
            "`distribute` must be the only one that opens the scope of a "
            f"strategy. Received: {shown(tf.distribute.get_strategy())}"
        )
    if tf.config.list_logical_devices("TPU"):
        every = tf.config.list_logical_devices("TPU")
        if devices not in (None, len(every)):
            raise ValueError(
                "`devices` must be all TPU cores, or left out. Received: "
                f"devices={devices}, and there are {len(every)}"
            )
        strategy = tf.distribute.TPUStrategy()
    else:
        every = tf.config.list_logical_devices("GPU")
        every = every or tf.config.list_logical_devices("CPU")
        _check_enough(
            devices, every, "`tf.config.set_logical_device_configuration`"
        )
        names = [device.name for device in every[:devices]]
        if len(names) == 1:
            yield f"nothing: {names[0]} alone"
            return
        strategy = tf.distribute.MirroredStrategy(names)
    with strategy.scope():
        yield f"tf.distribute.{type(strategy).__name__}"


@contextlib.contextmanager
def _torch(devices):
    import torch

    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if devices not in (None, processes):
        raise ValueError(
            "`devices` must be the number of processes, each of which has one "
            f"device. Received: devices={devices} and {processes} processes; "
            f"start them with `torchrun --nproc_per_node={devices} SCRIPT`"
        )
    if processes == 1:
        yield "nothing: one process"
        return
    missing = {"RANK", "LOCAL_RANK", "MASTER_ADDR"} - set(os.environ)
    if missing and not torch.distributed.is_initialized():
        raise ValueError(
            "`WORLD_SIZE` must come with what `torchrun` sets beside it. "
            f"Received: WORLD_SIZE={processes} without "
            f"{', '.join(sorted(missing))}"
        )
    on_gpus = torch.cuda.is_available()
    if on_gpus and "LOCAL_RANK" in os.environ:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    begun = torch.distributed.is_initialized()
    if not begun:
        torch.distributed.init_process_group("nccl" if on_gpus else "gloo")
    try:
        yield f"torch.distributed over {torch.distributed.get_backend()}"
    finally:
        if not begun:
            torch.distributed.destroy_process_group()


def _check_enough(devices, every, remedy):
    if devices is not None and devices > len(every):
        raise ValueError(
            "`devices` must be no more than there are. Received: "
            f"devices={devices}, and there are {len(every)}; "
            f"{remedy} makes several of one CPU"
        )
