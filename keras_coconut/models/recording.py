"""What the sublayers of a thought computed, and what came back to them.

The loop backward needs every step once more. What a step costs is its matrix
products, which read all weights, so the loop forward records them and the loop
backward replays them. What came back to each is recorded too, and gives the
gradient of the weights in one product for all thoughts.

A record is one tensor (B, slots, width), the numbers of all sublayers side by
side, in the order in which a step calls them.
"""

import keras
from keras import ops

from keras_coconut.models import autodiff, decoder
from keras_coconut.models.products import as_matrix, is_plain, product


def widths(backbone) -> tuple[int, int]:
    """Returns the widths of the records of inputs and of outputs."""
    hidden = backbone.hidden_dim
    heads = backbone.num_heads * (hidden // backbone.num_heads)
    up = backbone.intermediate_dim
    # Two norms, three products of the first, the attention's, up and down.
    of_inputs = 2 * hidden + 3 * hidden + heads + hidden + up
    of_outputs = 2 * hidden + 3 * heads + heads + hidden + up + hidden
    layers = len(backbone.transformer_layers)
    # And the norm after the last layer.
    return layers * of_inputs + hidden, layers * of_outputs + hidden


class Recording(decoder.Sublayers):
    """Computes and records."""

    def __init__(self):
        self._inputs, self._outputs = [], []

    def norm(self, norm, x):
        self._inputs.append(x)
        return self.attended(norm(x))

    def product(self, dense, x):
        self._inputs.append(x)
        return self.attended(product(dense, x))

    def attended(self, x):
        self._outputs.append(x)
        return x

    def records(self):
        """Returns the records of inputs and of outputs, one slot long."""
        return tuple(
            ops.concatenate(
                [ops.reshape(x, (ops.shape(x)[0], 1, -1)) for x in tensors],
                axis=-1,
            )
            for tensors in (self._inputs, self._outputs)
        )


class Replaying(decoder.Sublayers):
    """Answers with recorded products.

    Args:
        outputs: the record of outputs, one slot long.
        probes: zeros of that shape. Their gradient is what comes back to each
            sublayer's output.
    """

    def __init__(self, outputs, probes):
        self._outputs, self._probes = _Reader(outputs), _Reader(probes)
        # What was called: sublayers and the shapes that go in and come out.
        self.calls = []

    def norm(self, norm, x):
        y = norm(x)
        self.calls.append((norm, x.shape, y.shape))
        self._outputs.next(y.shape)
        return y + self._probes.next(y.shape)

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
            {"x": x, "probe": self._probes.next(shape)},
            {
                "y": self._outputs.next(shape),
                "weights": [w.value for w in weights],
            },
        )

    def attended(self, x):
        self.calls.append((None, None, x.shape))
        self._outputs.next(x.shape)
        return x + self._probes.next(x.shape)


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
    """Returns the `Call`s that `Replaying` counted, with all slots."""
    inputs, outputs, by_outputs = map(_Reader, (inputs, outputs, by_outputs))
    return [
        Call(
            sublayer,
            None if in_shape is None else inputs.next(in_shape),
            outputs.next(out_shape),
            by_outputs.next(out_shape),
        )
        for sublayer, in_shape, out_shape in calls
    ]


class _Reader:
    """Reads a record from its beginning."""

    def __init__(self, record):
        self._record = record
        self._start = 0

    def next(self, shape):
        """Returns what comes next, as (B, slots, *shape[2:])."""
        width = 1
        for size in shape[2:]:
            width *= size
        start, self._start = self._start, self._start + width
        part = self._record[:, :, start : self._start]
        batch, slots = ops.shape(self._record)[:2]
        return ops.reshape(part, (batch, slots, *shape[2:]))
