"""Several devices: how their losses, gradients and metrics are combined.

JAX runs one program over all devices, in which a mean is that of the whole
batch. TensorFlow and PyTorch run a program on each device, which sees a part of
the batch. So its loss is weighted by the number of its labels, and its
gradients are averaged with those of the other devices. TensorFlow averages them
itself. Only this file distinguishes the backends' engines.
"""

import contextlib
import functools
import os
import zlib

import keras
import numpy as np
from keras import ops

from keras_coconut.checks import shown
from keras_coconut.execution.optimizer_views import innermost, view


def num_processes() -> int:
    """Returns how many processes train together, each on parts of a batch."""
    if keras.config.backend() == "jax":
        import jax

        return jax.process_count()
    return _torch_processes()


def process_index() -> int:
    """Returns the number of this process; process 0 writes files and bars."""
    if keras.config.backend() == "jax":
        import jax

        return jax.process_index()
    if _torch_processes() == 1:
        return 0
    import torch

    return torch.distributed.get_rank()


def numbers_of_all(number: int) -> list[int]:
    """Returns a number of each process; waits until all have come here."""
    if num_processes() == 1:
        return [number]
    if keras.config.backend() == "jax":
        from jax.experimental import multihost_utils

        found = multihost_utils.process_allgather(np.int32(number))
        return [int(each) for each in found]
    return objects_of_all(number)


def check_alike(name: str, description) -> None:
    """Raises a `ValueError` unless all processes describe the same data.

    Args:
        name: string. The argument's name, for the error.
        description: structure of plain values.
    """
    # JAX gathers 32-bit integers.
    number = zlib.crc32(repr(description).encode()) >> 1
    different = len(set(numbers_of_all(number)))
    if different > 1:
        raise ValueError(
            f"`{name}` must hold the same problems, in the same order and with "
            "the same settings, in all processes, each of which takes its part "
            "of a batch. Shuffle with a seed. Received: "
            f"{different} different datasets in {num_processes()} processes"
        )


def objects_of_all(value) -> list:
    """Returns an object of each process, on PyTorch."""
    if _torch_processes() == 1:
        return [value]
    import torch

    found = [None] * _torch_processes()
    torch.distributed.all_gather_object(found, value)
    return found


def devices_of_a_batch() -> int:
    """Returns among how many devices the rows of a batch are divided."""
    backend = keras.config.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.distribute.get_strategy().num_replicas_in_sync
    if backend == "torch":
        return _torch_processes()
    distribution = keras.distribution.distribution()
    if distribution is None:
        return 1
    mesh = distribution.device_mesh
    return mesh.shape[mesh.axis_names.index(distribution.batch_dim_name)]


def local_rows(batch_size: int) -> slice:
    """Returns the rows of a batch that this process computes.

    Raises:
        ValueError: If the devices cannot share this number of rows evenly, or
            if several processes do not share batches.
    """
    check_within_distribute()
    check_rows("batch_size", batch_size)
    rows = batch_size // num_processes()
    return slice(process_index() * rows, (process_index() + 1) * rows)


def check_within_distribute() -> None:
    """Raises a `ValueError` where each of several processes stands alone.

    On PyTorch there is one process outside of `distribute`.
    """
    if devices_of_a_batch() < num_processes():
        raise ValueError(
            "`fit` and `evaluate` must be called within "
            "`keras_coconut.distribute()` where there are several processes. "
            f"Received: {num_processes()} processes, each of which would see "
            "only its part of the rows"
        )


def check_joined() -> None:
    """Raises a `ValueError` for a process of `torchrun` that trains alone."""
    if keras.config.backend() != "torch" or _torch_processes() > 1:
        return
    # `torchrun` sets both.
    if {"WORLD_SIZE", "TORCHELASTIC_RUN_ID"} <= set(os.environ):
        launched = int(os.environ["WORLD_SIZE"])
        if launched > 1:
            raise ValueError(
                "`fit` must be called within `keras_coconut.distribute()` "
                "under `torchrun`, whose processes would each train a model of "
                f"its own. Received: one of {launched} processes without a "
                "process group"
            )


def check_rows(name: str, rows: int) -> None:
    """Raises a `ValueError` for rows that the devices cannot share evenly."""
    devices = devices_of_a_batch()
    if rows % devices:
        raise ValueError(
            f"`{name}` must be a multiple of {devices}, the number of devices "
            f"that share a batch. Received: {name}={shown(rows)}"
        )


def _torch_processes():
    if keras.config.backend() != "torch":
        return 1
    import torch

    distributed = torch.distributed
    if not distributed.is_available() or not distributed.is_initialized():
        return 1
    return distributed.get_world_size()


# === One step ===


def of_the_whole_batch(model, loss, weights):
    """Returns a part's loss, weighed so that the mean of all parts is right.

    The mean over the labels of a batch is not the mean of its parts' means:
    their numbers of labels differ. On PyTorch the gradients of the loss are
    then averaged over the processes, at the end of the backward pass.

    Args:
        model: the `keras.Model`.
        loss: float tensor, the mean over the labels of this part.
        weights: float tensor, the loss weights of this part.
    """
    backend = keras.config.backend()
    if backend == "jax" or devices_of_a_batch() == 1:
        return loss
    reduction = getattr(model.loss, "reduction", None)
    if reduction == "sum" and backend == "torch":
        # Gradients are averaged, not added up.
        loss = loss * devices_of_a_batch()
    if reduction == "mean_with_sample_weight":
        own = ops.sum(ops.cast(weights, "float32"))
        every = sum_of_all(weights)
        share = own * devices_of_a_batch() / ops.where(every > 0, every, 1)
        # Regularizers are of no part.
        others = sum(model.losses) if model.losses else 0.0
        loss = (loss - others) * ops.cast(share, loss.dtype) + others
    if backend == "torch" and loss.requires_grad:
        _average_behind(loss, model)
    return loss


def sum_of_all(weights):
    """Returns the sum of the loss weights of a batch, all parts together."""
    number = ops.sum(ops.cast(weights, "float32"))
    backend = keras.config.backend()
    if backend == "jax" or devices_of_a_batch() == 1:
        return number
    if backend == "tensorflow":
        import tensorflow as tf

        context = tf.distribute.get_replica_context()
        if context is None:  # Keras builds the model outside of all replicas.
            return number
        return context.all_reduce(tf.distribute.ReduceOp.SUM, number)
    import torch

    number = number.detach().clone()
    torch.distributed.all_reduce(number)
    return number


def _average_behind(loss, model):
    """Averages all gradients over the processes, once they are all there."""
    import torch

    engine = torch.autograd.Variable._execution_engine
    average = functools.partial(_average_gradients, model)
    loss.register_hook(lambda _: engine.queue_callback(average))


# Bytes of gradients that are sent at once.
_BUCKET = 25 * 2**20


def _average_gradients(model):
    import torch

    # One order for all, with zeros for what a process did not need.
    gradients = []
    for weight in model.trainable_weights:
        if weight.value.grad is None:
            weight.value.grad = torch.zeros_like(weight.value)
        gradients.append(weight.value.grad)
    bucket, size = [], 0
    for gradient in gradients:
        bucket.append(gradient)
        size += gradient.nbytes
        if size >= _BUCKET:
            _average(bucket)
            bucket, size = [], 0
    if bucket:
        _average(bucket)


def _average(tensors):
    import torch

    dtypes = {tensor.dtype for tensor in tensors}
    for dtype in sorted(dtypes, key=str):
        same = [tensor for tensor in tensors if tensor.dtype == dtype]
        flat = torch.cat([tensor.reshape(-1) for tensor in same])
        torch.distributed.all_reduce(flat)
        flat /= torch.distributed.get_world_size()
        parts = flat.split([tensor.numel() for tensor in same])
        for tensor, part in zip(same, parts):
            tensor.copy_(part.view_as(tensor))


@contextlib.contextmanager
def clipping_together(model):
    """Makes an optimizer clip the gradient of a batch, not those of its parts.

    Under a TensorFlow strategy, Keras clips on each device before it adds up.
    The model's optimizer stays unchanged; a view of it takes its place while a
    training step is traced or run. On PyTorch, if processes divide the state,
    that view updates the part of the weights whose state this process has.
    """
    if _torch_processes() > 1:
        from keras_coconut.execution import optimizer_parts

        with optimizer_parts.updating(model):
            yield
        return
    optimizer = getattr(model, "optimizer", None)
    if (
        optimizer is None
        or keras.config.backend() != "tensorflow"
        # The model's own: `fit` may be called outside of the scope.
        or model.distribute_strategy.num_replicas_in_sync == 1
    ):
        yield
        return
    inner = innermost(optimizer)
    if inner.gradient_accumulation_steps:
        raise ValueError(
            "`gradient_accumulation_steps` must be left out under a "
            "TensorFlow strategy, where Keras cannot accumulate gradients. "
            "Received: gradient_accumulation_steps="
            f"{inner.gradient_accumulation_steps}"
        )
    if not any((inner.clipnorm, inner.global_clipnorm, inner.clipvalue)):
        yield
        return
    model.optimizer = view(optimizer, _clipping_together)
    try:
        yield
    finally:
        model.optimizer = optimizer


@functools.cache
def _clipping_together(kind):
    def clip(self, gradients):
        import tensorflow as tf

        context = tf.distribute.get_replica_context()
        sums = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        # Keras adds up what comes back.
        count = context.num_replicas_in_sync
        return [g / count for g in kind._clip_gradients(self, sums)]

    return type(kind.__name__, (kind,), {"_clip_gradients": clip})


# === A whole fit ===


def is_divided(variable) -> bool:
    """Whether processes must read a variable together on PyTorch."""
    if _torch_processes() == 1:
        return False
    from keras_coconut.execution import optimizer_parts

    return isinstance(variable, optimizer_parts.Slot)


@contextlib.contextmanager
def metrics_of_all(model):
    """Makes metrics those of all processes on PyTorch, while they are read.

    The variables of a metric that Keras' own sums over its devices are summed.
    The state of an optimizer that is divided can be read, too.
    """
    if _torch_processes() == 1:
        yield
        return
    import torch

    from keras_coconut.execution import optimizer_parts

    variables = [
        variable
        for variable in model.metrics_variables
        if variable.aggregation == "sum"
    ]
    before = [variable.value.detach().clone() for variable in variables]
    for variable in variables:
        total = variable.value.detach().clone()
        torch.distributed.all_reduce(total)
        variable.assign(total)
    try:
        with optimizer_parts.gathered():
            yield
    finally:
        for variable, value in zip(variables, before):
            variable.assign(value)


def begin_alike(model) -> None:
    """Gives the weights of process 0 to all processes on PyTorch.

    Elsewhere the engine does.

    Raises:
        ValueError: If processes shall divide a state that they cannot divide.
    """
    if _torch_processes() == 1:
        return
    import torch

    from keras_coconut.execution import optimizer_parts

    optimizer_parts.prepare(model)
    variables = [*model.variables]
    if model.optimizer is not None:
        variables += model.optimizer.variables
    with torch.no_grad():
        for variable in variables:
            if not isinstance(variable, optimizer_parts.Slot):
                torch.distributed.broadcast(variable.value.data, 0)


def build_optimizer(optimizer, variables) -> None:
    """Builds an optimizer as that of a model in training is built."""
    if _torch_processes() == 1:
        optimizer.build(variables)
        return
    from keras_coconut.execution import optimizer_parts

    optimizer_parts.build(optimizer, variables)
