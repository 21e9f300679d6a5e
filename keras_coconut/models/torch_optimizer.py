"""Adam on PyTorch, some weights at a time.

Keras updates all weights at once there, each arithmetic step over all of them,
with up to three intermediate results as large as the model. In blocks it is the
same arithmetic with next to no memory in place of 1.4 GiB for GPT-2 base, in
less than half the time, since fresh memory costs more than the arithmetic.
"""

import keras

# Bytes of weights updated together, and the most of one of them: what is
# computed on the way stays in the cache.
_BLOCK = 2 * 2**20


def update_in_blocks(optimizer):
    """Makes an Adam or AdamW update its weights in blocks, on PyTorch.

    Any other optimizer is left alone: what its update does but once, such as
    the running product of Nadam, may not be done for every block.
    """
    if keras.config.backend() != "torch":
        return
    # What mixed precision with float16 wraps.
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    # Not a subclass of a user's, which Keras updates weight by weight.
    if not isinstance(optimizer, keras.optimizers.Adam) or not hasattr(
        optimizer, "_parallel_update_step"
    ):
        return
    update = type(optimizer)._parallel_update_step

    def update_blocks(gradients, variables, learning_rate):
        for block in _blocks(optimizer, gradients, variables):
            update(block, block.gradients, block.variables, learning_rate)

    optimizer._parallel_update_step = update_blocks


class _Part:
    """Some rows of a variable."""

    def __init__(self, value):
        self.value = value


class _Block:
    """An optimizer as its update sees it, with parts in place of variables."""

    def __init__(self, optimizer, gradients, parts):
        self._optimizer = optimizer
        self.gradients = gradients
        self.variables, *slots = ([_Part(x) for x in xs] for xs in zip(*parts))
        self._momentums, self._velocities, *slots = slots
        if slots:
            (self._velocity_hats,) = slots

    def _get_variable_index(self, part):
        return self.variables.index(part)

    def __getattr__(self, name):
        return getattr(self._optimizer, name)


def _blocks(optimizer, gradients, variables):
    slots = [optimizer._momentums, optimizer._velocities]
    if optimizer.amsgrad:
        slots.append(optimizer._velocity_hats)
    block, size = [], 0
    for gradient, variable in zip(gradients, variables):
        index = optimizer._get_variable_index(variable)
        tensors = [variable.value, *(slot[index].value for slot in slots)]
        for part in _parts(gradient, *tensors):
            block.append(part)
            size += part[0].nbytes
            if size >= _BLOCK:
                yield _block(optimizer, block)
                block, size = [], 0
    if block:
        yield _block(optimizer, block)


def _block(optimizer, parts):
    return _Block(optimizer, [p[0] for p in parts], [p[1:] for p in parts])


def _parts(*tensors):
    """Returns tensors of one shape cut into the same rows."""
    first = tensors[0]
    if first.nbytes <= _BLOCK or first.ndim == 0:
        return [tensors]
    rows = max(1, _BLOCK * len(first) // first.nbytes)
    return zip(*(tensor.split(rows) for tensor in tensors))
