"""Training on several devices: each backend's own engine, chosen and named."""

import contextlib
import functools
import json
import os
import random
import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras

from keras_coconut.backbones import layouts
from keras_coconut.checks import check_count, check_flag, refuse, shown
from keras_coconut.execution import replicas


class Devices(NamedTuple):
    """The devices that train together.

    Args:
        count: int. Number of devices that divide the rows of a batch.
        processes: int. Number of processes that train together.
        process: int. The number of this process; process 0 writes files.
        engine: string. The name of the backend's engine.
        model_parallel: int. Number of devices that divide each layer. Defaults
            to `1`.

    Example:
    ```python
    with keras_coconut.distribute(1) as devices:
        if devices.process == 0:
            print(f"{devices.engine} on {devices.count} devices")
    ```
    """

    # Hides `tuple.count`, which nobody looks for here.
    count: int  # type: ignore[assignment]
    processes: int
    process: int
    engine: str
    model_parallel: int = 1


@contextlib.contextmanager
def distribute(
    devices: int | None = None,
    model_parallel: int = 1,
    *,
    shard_optimizer: bool = False,
) -> Iterator[Devices]:
    """Divides each batch, and a large model too, among several devices.

    Make, compile and train the model within the `with` block. `batch_size`
    counts the rows of all devices together, and results equal those of one
    device: the loss is the mean over all labels of the batch, padding rows
    carry no loss, and the order of the problems is the same. Only dropout draws
    different random numbers.

    The engine is the backend's own:

    - JAX: `keras.distribution.DataParallel`, or `ModelParallel` with
      `model_parallel`. One process computes on all devices of a
      machine. For several machines, start one process on each and call
      `jax.distributed.initialize` before anything else.
    - TensorFlow: `tf.distribute.MirroredStrategy` on GPUs or logical CPU
      devices, `tf.distribute.TPUStrategy` on TPUs. One machine: Keras 3 does
      not train under `MultiWorkerMirroredStrategy`.
    - PyTorch: `torch.distributed`, one process for each device, started with
      `torchrun`, on one machine or several. Gradients are averaged at the end
      of each backward pass.

    If several processes train together, `fit` takes only a `CurriculumDataset`,
    which gives each process its part of a batch. All processes must call `fit`,
    `evaluate` and `generate`; `predict` on problems, and on JAX on anything, is
    for a program of one process. Only process 0 shows the progress bar and runs
    the Keras callbacks that write files.

    For a model that does not fit on one device, use `model_parallel` on JAX,
    which divides weights, gradients, optimizer state and most activations, or
    `shard_optimizer` on PyTorch, which divides only the optimizer state.
    docs/devices.md computes what each device then holds.

    Args:
        devices: int. Number of devices. On PyTorch it must be the number of
            processes that `torchrun` started. Defaults to all devices.
        model_parallel: int. Number of devices that divide each layer: its
            heads, its feed-forward and the vocabulary. The rows of a batch are
            divided among `devices / model_parallel` groups. JAX only. Defaults
            to `1`.
        shard_optimizer: bool. Whether each process keeps and updates only its
            part of the optimizer state (ZeRO stage 1). Works for Keras
            optimizers that treat all elements of a weight alike, such as
            AdamW. PyTorch only. Defaults to `False`.

    Yields:
        `Devices`. A line on stderr describes them too.

    Raises:
        ValueError: If there are fewer devices, if the processes were not
            started as the backend requires, if JAX processes start with
            different random states, if a strategy or distribution is already
            set, or if the backend cannot divide a model in this way. When the
            model is made: if `model_parallel` does not divide its heads or
            another size. When `fit` begins: if the optimizer state cannot be
            divided.

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
    model_parallel = check_count("model_parallel", model_parallel, least=1)
    shard_optimizer = check_flag("shard_optimizer", shard_optimizer)
    backend = keras.config.backend()
    if model_parallel > 1 and backend != "jax":
        raise refuse(
            "model_parallel", f"1 on {backend}{_INSTEAD}", model_parallel
        )
    if shard_optimizer and backend != "torch":
        raise refuse(
            "shard_optimizer",
            f"`False` on {backend}{_INSTEAD}",
            shard_optimizer,
        )
    scopes: dict[str, Callable[..., Any]] = {
        "jax": functools.partial(_jax, model_parallel=model_parallel),
        "tensorflow": _tensorflow,
        "torch": functools.partial(_torch, shard_optimizer=shard_optimizer),
    }
    with scopes[backend](devices) as engine:
        found = Devices(
            replicas.devices_of_a_batch(),
            replicas.num_processes(),
            replicas.process_index(),
            engine,
            model_parallel,
        )
        if found.process == 0:
            said = "one device, without an engine"
            if found.count > 1:
                said = (
                    f"{found.count} devices and {found.processes} processes "
                    f"share each batch, by {engine}"
                )
            print(f"keras_coconut: {said}", file=sys.stderr, flush=True)
        yield found


_INSTEAD = (
    ": KERAS_BACKEND=jax trains with `model_parallel`, and "
    "KERAS_BACKEND=torch with `shard_optimizer`"
)


@contextlib.contextmanager
def _jax(devices, model_parallel):
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
    local = len(every) // jax.process_count()
    if local % model_parallel:
        raise refuse(
            "model_parallel",
            f"a divisor of {local}, the number of devices of each process",
            model_parallel,
        )
    # Keras draws initial weights from it; JAX wants them alike.
    state = zlib.crc32(repr(random.getstate()).encode()) // 4
    if len(set(replicas.numbers_of_all(state))) > 1:
        raise ValueError(
            "`distribute` needs processes that begin with the same random "
            "numbers: call `keras.utils.set_random_seed` with the same seed in "
            "each. Received: processes whose random states differ"
        )
    if len(every) == 1:
        yield f"none ({every[0]} alone)"
        return
    # A dataset gives each process its own rows.
    if model_parallel == 1:
        distribution = keras.distribution.DataParallel(
            devices=every, auto_shard_dataset=False
        )
    else:
        distribution = _layers_divided(every, model_parallel)
    with distribution.scope():
        engine = f"keras.distribution.{type(distribution).__name__}"
        yield f"{engine} on {', '.join(every)}"


def _layers_divided(devices, model_parallel):
    """Returns a distribution in which neighbouring devices share a layer."""

    class ModelParallel(keras.distribution.ModelParallel):
        # No `LayoutMap`: what is divided depends on the shape, too.
        def get_variable_layout(self, variable):
            axes: list[str | None] = [None] * len(variable.shape)
            axis = layouts.divided_axis(
                variable.path, variable.shape, model_parallel
            )
            if axis is not None:
                axes[axis] = "model"
            return keras.distribution.TensorLayout(axes, self.device_mesh)

    mesh = keras.distribution.DeviceMesh(
        (len(devices) // model_parallel, model_parallel),
        ["batch", "model"],
        devices,
    )
    return ModelParallel(
        layout_map=keras.distribution.LayoutMap(mesh),
        batch_dim_name="batch",
        auto_shard_dataset=False,
    )


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
            yield f"none ({names[0]} alone)"
            return
        strategy = tf.distribute.MirroredStrategy(names)
    with strategy.scope():
        yield f"tf.distribute.{type(strategy).__name__}"


@contextlib.contextmanager
def _torch(devices, shard_optimizer):
    import torch

    # Of a process group that was opened before, or of `torchrun`.
    begun = torch.distributed.is_initialized()
    processes = (
        torch.distributed.get_world_size()
        if begun
        else int(os.environ.get("WORLD_SIZE", "1"))
    )
    if devices not in (None, processes):
        raise ValueError(
            "`devices` must be the number of processes, each of which has one "
            f"device. Received: devices={devices} and {processes} processes; "
            f"start them with `torchrun --nproc_per_node={devices} SCRIPT`"
        )
    if processes == 1:
        yield "none (one process)"
        return
    missing = {"RANK", "LOCAL_RANK", "MASTER_ADDR"} - set(os.environ)
    if missing and not begun:
        raise ValueError(
            "`WORLD_SIZE` must come with what `torchrun` sets beside it. "
            f"Received: WORLD_SIZE={processes} without "
            f"{', '.join(sorted(missing))}"
        )
    on_gpus = torch.cuda.is_available()
    if on_gpus and "LOCAL_RANK" in os.environ:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    if not begun:
        torch.distributed.init_process_group("nccl" if on_gpus else "gloo")
    from keras_coconut.execution import optimizer_parts

    engine = f"torch.distributed over {torch.distributed.get_backend()}"
    if shard_optimizer:
        engine += ", each with its part of the optimizer state"
    try:
        with optimizer_parts.divided(shard_optimizer):
            yield engine
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
