"""A part of the optimizer state on each process, on PyTorch.

ZeRO stage 1 (arXiv 1910.02054) with Keras optimizers: every weight is flattened
and cut into equal parts. Each process keeps the optimizer state of its part,
updates that part, and receives the other parts. Gradients are whole, so they
are clipped as on one device.

The user's optimizer stays unchanged. Its state has the shapes of the whole
weights, so it is reset, saved and restored like any other. During a training
step, a view of the optimizer updates the parts.
"""

import contextlib
import contextvars
import functools

import keras

from keras_coconut.checks import shown
from keras_coconut.execution.optimizer_views import innermost, view

_divides = contextvars.ContextVar("divides", default=False)
_gathers = contextvars.ContextVar("gathers", default=False)

# Bytes of weights that are gathered at once.
_BUCKET = 25 * 2**20


@contextlib.contextmanager
def divided(value: bool):
    """Decides whether processes divide the state of what `build` builds."""
    before = _divides.set(value)
    try:
        yield
    finally:
        _divides.reset(before)


@contextlib.contextmanager
def gathered():
    """Allows reads of the state, which all processes must do together."""
    before = _gathers.set(True)
    try:
        yield
    finally:
        _gathers.reset(before)


class Slot(keras.Variable):
    """State of a weight, of which `value` is the part of this process.

    `shape` is that of the weight. A value of that shape can be assigned, of
    which the process keeps its part; reading it gathers all parts.
    """

    def _initialize_with_initializer(self, initializer):
        length = _length_of_a_part(self._shape.numel())
        self._initialize(initializer((length,), dtype=self._dtype))

    def _validate_shape(self, shape):
        import torch

        return torch.Size(super()._validate_shape(shape))

    def assign(self, value):
        if not isinstance(value, Slot):
            return super().assign(value)
        super()._direct_assign(value.value)
        return value

    def _direct_assign(self, value):
        super()._direct_assign(_part_of(value))

    def __array__(self, dtype=None):
        if not _gathers.get():
            raise ValueError(
                "`optimizer` must not be saved by one process where each has "
                "its part of the state: save with "
                "`keras_coconut.ResumableTraining`, or the weights alone. "
                f"Received: {self.path}"
            )
        (whole,) = _gather([self.value], [self.shape])
        return keras.ops.convert_to_numpy(whole).astype(dtype or self.dtype)


def prepare(model) -> None:
    """Builds the optimizer of a model, in parts if processes divide it.

    Raises:
        ValueError: If its state cannot be divided.
    """
    optimizer = model.optimizer
    if optimizer is None or not _divides.get() or _is_divided(optimizer):
        return
    if optimizer.built:
        raise ValueError(
            "`optimizer` must have no state yet where processes divide it: "
            "compile the model again. Received: an optimizer of type "
            f"{type(optimizer).__name__} that is built"
        )
    build(optimizer, model.trainable_variables)


def build(optimizer, variables) -> None:
    """Builds an optimizer, in parts if processes divide its state.

    Raises:
        ValueError: If its state cannot be divided.
    """
    if _divides.get():
        # It is built once.
        inner = innermost(optimizer)
        _check_elementwise(inner)
        view(inner, _in_parts).build(variables)
    optimizer.build(variables)


def _check_elementwise(optimizer):
    # Keras' own, which update lists of tensors number by number. Adafactor,
    # Lamb or Muon need the shape of a weight, a subclass may do so.
    if not hasattr(optimizer, "_parallel_update_step"):
        raise ValueError(
            "`optimizer` must be one of Keras' that treat all numbers of a "
            "weight alike where processes divide its state: Adadelta, Adagrad, "
            "Adam, Adamax, AdamW, Lion, Nadam, RMSprop or SGD, and no subclass "
            f"of one. Received: {shown(optimizer)} of type "
            f"{type(optimizer).__name__}"
        )
    if optimizer.use_ema:
        raise ValueError(
            "`use_ema` must be `False` where processes divide the state of the "
            "optimizer: each would have its part of the averages only. "
            "Received: use_ema=True"
        )


@contextlib.contextmanager
def updating(model):
    """Makes a step update parts, if the optimizer's state is divided."""
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None or not _is_divided(optimizer):
        yield
        return
    model.optimizer = view(optimizer, _in_parts)
    try:
        yield
    finally:
        model.optimizer = optimizer


def _is_divided(optimizer):
    return any(isinstance(slot, Slot) for slot in optimizer.variables)


# === The view ===


@functools.cache
def _in_parts(kind):
    """Returns a class of optimizer whose state, and update, is of parts."""

    def add_variable(
        self,
        shape,
        initializer="zeros",
        dtype=None,
        aggregation="none",
        layout=None,
        name=None,
    ):
        # They add up gradients, which are whole.
        cls = Slot
        if name is None or name.endswith("gradient_accumulator"):
            cls = keras.Variable
        with keras.name_scope(self.name, caller=self):
            variable = cls(
                keras.initializers.get(initializer),
                shape=shape,
                dtype=dtype,
                trainable=False,
                aggregation=aggregation,
                layout=layout,
                name=name,
            )
        self._track_variable(variable)
        return variable

    def update(self, gradients, variables, learning_rate):
        parts = [
            _Part(_part_of(each.value.data), self._get_variable_index(each))
            for each in variables
        ]
        gradients = [_part_of(gradient) for gradient in gradients]
        self._parallel_update_step(gradients, parts, learning_rate)
        _spread(parts, variables)

    def index(self, variable):
        if isinstance(variable, _Part):
            return variable.index
        return kind._get_variable_index(self, variable)

    methods = {
        "add_variable": add_variable,
        "_backend_update_step": update,
        "_get_variable_index": index,
    }
    return type(kind.__name__, (kind,), methods)


class _Part:
    """A part of a weight, in its place while the optimizer updates it."""

    def __init__(self, value, index):
        self.value, self.index = value, index


# === Parts of tensors ===


def _length_of_a_part(size):
    import torch

    return -(-size // torch.distributed.get_world_size())


def _part_of(tensor):
    """Returns the part of this process.

    All parts are of one length; zeros fill the last ones up.
    """
    import torch

    length = _length_of_a_part(tensor.numel())
    start = length * torch.distributed.get_rank()
    part = tensor.detach().reshape(-1)[start : start + length]
    if len(part) == length:
        return part
    return torch.nn.functional.pad(part, (0, length - len(part)))


def _spread(parts, variables):
    """Gives all parts of weights to all processes."""
    import torch

    with torch.no_grad():
        for bucket in _buckets(variables):
            values = [variables[number].value for number in bucket]
            wholes = _gather(
                [parts[number].value for number in bucket],
                [value.shape for value in values],
            )
            for value, whole in zip(values, wholes):
                value.copy_(whole)


def _buckets(variables):
    """Returns numbers of variables of one dtype that are sent together."""
    found, open_buckets = [], {}
    for number, variable in enumerate(variables):
        bucket, size = open_buckets.get(variable.dtype, ([], 0))
        if not bucket:
            found.append(bucket)
        bucket.append(number)
        size += variable.value.nbytes
        open_buckets[variable.dtype] = bucket, size
        if size >= _BUCKET:
            del open_buckets[variable.dtype]
    return found


def _gather(parts, shapes):
    """Returns tensors of the shapes, of which each process has a part."""
    import torch

    distributed = torch.distributed
    # Its new name, and the one before.
    gather = getattr(distributed, "all_gather_single", None)
    gather = gather or distributed.all_gather_into_tensor
    count = distributed.get_world_size()
    own = torch.cat(parts)
    every = own.new_empty(count * len(own))
    gather(every, own)
    lengths = [len(part) for part in parts]
    every = every.view(count, -1).split(lengths, dim=1)
    return [
        part.reshape(-1)[: shape.numel()].view(shape)
        for part, shape in zip(every, shapes)
    ]
