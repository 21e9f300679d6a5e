"""What the sublayers of a thought computed, and what came back to them.

The loop backward needs every step once more. What a step costs is its matrix
products, which read all weights, so the loop forward records them and the loop
backward replays them. What came back to each is recorded too, and gives the
gradient of the weights in one product for all thoughts.

A record is one tensor (B, slots, width), the numbers of all sublayers side by
side, in the order in which a step calls them. It is split in one go: a slice
for each would put hundreds of operations into TensorFlow's graphs, and as many
tensors of the record's size into the gradient.
"""

import itertools

import keras
from keras import ops

from keras_coconut.models import autodiff, decoder
from keras_coconut.models.products import as_matrix, is_plain, product


def widths(backbone) -> tuple[list[int], list[int]]:
    """Returns the widths of each input and of each output in the records."""
    hidden = backbone.hidden_dim
    heads = backbone.num_heads * (hidden // backbone.num_heads)
    up = backbone.intermediate_dim
    # A norm; query, key, value, what was attended to, the attention's output;
    # a norm, up and down.
    of_inputs = [hidden, hidden, hidden, hidden, heads, hidden, hidden, up]
    of_outputs = [hidden, *[heads] * 4, hidden, hidden, up, hidden]
    layers = len(backbone.transformer_layers)
    # And the norm after the last layer.
    return [*of_inputs * layers, hidden], [*of_outputs * layers, hidden]


def join(parts):
    """Returns the record of a slot: parts (B, 1, ...) side by side."""
    parts = [ops.reshape(x, (ops.shape(x)[0], 1, -1)) for x in parts]
    return ops.concatenate(parts, axis=-1)


def split(record, widths):
    """Returns the parts of a record, each (B, slots, width)."""
    *ends, _ = itertools.accumulate(widths)
    return ops.split(record, ends, axis=-1)


class Recording(decoder.Sublayers):
    """Computes and records."""

    def __init__(self):
        self._inputs, self._outputs = [], []

    def norm(self, norm, x):
        self._inputs.append(x)
        return self._record(norm(x))

    def product(self, dense, x):
        self._inputs.append(x)
        return self._record(product(dense, x))

    def attend(self, *args):
        return self._record(super().attend(*args))

    def _record(self, x):
        self._outputs.append(x)
        return x

    def records(self):
        """Returns the records of inputs and of outputs, one slot long."""
        return join(self._inputs), join(self._outputs)


class Replaying(decoder.Sublayers):
    """Answers with recorded products.

    Args:
        outputs: the parts of the record of outputs, one slot long.
        probes: zeros of those shapes. Their gradients are what comes back to
            each sublayer's output.
    """

    def __init__(self, outputs, probes):
        self._outputs, self._probes = iter(outputs), iter(probes)
        # What was called: sublayers and the shapes that go in and come out.
        self.calls = []

    def norm(self, norm, x):
        y = norm(x)
        self.calls.append((norm, x.shape, y.shape))
        next(self._outputs)
        return y + _like(y.shape, next(self._probes))

    def product(self, dense, x):
        shape = dense.compute_output_shape(x.shape)
        self.calls.append((dense, x.shape, shape))
        weights = dense.weights

        def forward(args, constants):
            return constants["y"]

        def backward(args, constants, outputs, by_y):
            with keras.StatelessScope(zip(weights, constants["weights"])):
                by_x = _back_through(dense, args["x"], by_y)
            return {"x": by_x, "probe": by_y}

        return autodiff.with_gradient(
            forward,
            backward,
            {"x": x, "probe": _like(shape, next(self._probes))},
            {
                "y": _like(shape, next(self._outputs)),
                "weights": [w.value for w in weights],
            },
        )

    def attend(self, *args):
        x = super().attend(*args)
        self.calls.append((None, None, x.shape))
        next(self._outputs)
        return x + _like(x.shape, next(self._probes))


def _back_through(dense, x, by_y):
    """Returns the gradient of `x` from that of `product(dense, x)`."""
    if not is_plain(dense):
        _, pull = autodiff.pullback(lambda x: product(dense, x), (x,))
        return pull(by_y)[0]
    # As it is, XLA would transpose the attention's kernels for every thought.
    kernel = ops.cast(as_matrix(dense, dense.kernel.value), by_y.dtype)
    batch, slots = ops.shape(by_y)[:2]
    by_x = ops.matmul(
        ops.reshape(by_y, (batch, slots, -1)), ops.transpose(kernel)
    )
    return ops.reshape(by_x, ops.shape(x))


class Call:
    """A sublayer, with what went in and came back at all slots."""

    def __init__(self, sublayer, x, y, by_y):
        self.sublayer, self.x, self.y, self.by_y = sublayer, x, y, by_y

    def by_weights(self):
        """Returns `(weight, gradient)` of each trainable weight."""
        weights = self.sublayer.weights
        trained = [weight for weight in weights if weight.trainable]
        if not trained:
            return []
        frozen = [
            (weight, weight.value) for weight in weights if not weight.trainable
        ]

        def run(values):
            with keras.StatelessScope([*zip(trained, values), *frozen]):
                if hasattr(self.sublayer, "activation"):
                    return product(self.sublayer, self.x)
                return self.sublayer(self.x)

        values = [weight.value for weight in trained]
        _, pull = autodiff.pullback(run, (values,))
        return zip(trained, pull(self.by_y)[0])


def read_calls(calls, inputs, outputs, by_outputs) -> list[Call]:
    """Returns the `Call`s that `Replaying` counted, with all slots.

    Args:
        calls: those of `Replaying`.
        inputs, outputs, by_outputs: the parts of the records.
    """
    inputs, outputs, by_outputs = map(iter, (inputs, outputs, by_outputs))
    return [
        Call(
            sublayer,
            None if in_shape is None else _like(in_shape, next(inputs)),
            _like(out_shape, next(outputs)),
            _like(out_shape, next(by_outputs)),
        )
        for sublayer, in_shape, out_shape in calls
    ]


def _like(shape, part):
    """Returns a part of a record as (B, slots, *shape[2:])."""
    if len(shape) == 3:
        return part
    return ops.reshape(part, (*ops.shape(part)[:2], *shape[2:]))
