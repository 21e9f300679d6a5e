"""Walks a KerasHub GPT-2 backbone over one span against earlier spans.

KerasHub's own cache is one tensor that `ops.slice_update` writes to. That op
has no gradient on TensorFlow, and a cache that grows by concatenation copies
the question's keys and values at every thought. Here every span keeps its own
keys and values, which `attention.py` joins: nothing is copied and everything is
differentiable.

This file, `dropout.py`, `chain.py` and `torch_layers.py` alone touch sublayers
that KerasHub names privately; `tests/models/test_decoder.py` fails by name if
one of them is renamed.
"""

import functools
from typing import Any, Literal, NamedTuple

import keras
from keras import ops

from keras_coconut.models import attention, autodiff, embeddings
from keras_coconut.models.dropout import LayerDropout
from keras_coconut.models.products import product

# Layers, below which compiling them one by one takes little time.
_WORTH_ROLLING = 4


class Span(NamedTuple):
    """The keys and values of one span, as later spans attend to them.

    `keys` and `values` hold one tensor for each layer, of shape (B, heads,
    length, head size). `mask` is (B, length), true where a position is real.
    """

    keys: tuple[Any, ...]
    values: tuple[Any, ...]
    mask: Any


class Sublayers:
    """What a layer calls; the chain of thoughts listens and answers here."""

    def norm(self, norm, x):
        return norm(x)

    def product(self, dense, x):
        """Returns `dense(x)` without its activation."""
        return product(dense, x)

    def attend(self, query, spans, dropout, number):
        """Attends; see `attention.attend`."""
        return attention.attend(query, spans, dropout, number)

    def part(self, layers, function, *args):
        """Returns `function(*args)`, which ends in products by these layers."""
        return function(*args)


class KeepingProducts(Sublayers):
    """Keeps products with weights for the gradient, computes the rest again.

    The rest is most of what a layer computes in numbers, and little of it in
    time: scores, the steps of a norm and of an activation. A part's products
    come last, so that its gradient needs none of them again, and in a graph
    what nothing needs is not computed.
    """

    def part(self, layers, function, *args):
        variables = [
            weight
            for layer in layers
            for weight in layer.weights
            if keras.backend.is_float_dtype(weight.dtype)
        ]

        def run(weights, *args):
            with keras.StatelessScope(zip(variables, weights)):
                return function(*args)

        weights = [ops.convert_to_tensor(weight) for weight in variables]
        return autodiff.rematerialized(run, weights, *args)


def walk(
    backbone,
    inputs,
    positions,
    past,
    own,
    dropout,
    outputs="all",
    roll=False,
    keep="all",
    sublayers=None,
):
    """Runs the backbone's layers over positions that attend to given spans.

    Args:
        backbone: a `keras_hub.models.GPT2Backbone`.
        inputs: float tensor (B, length, D), embeddings without positions.
        positions: int tensor (B, length), positions among a row's real tokens.
        past: list of `(keys, values, visible)` that are attended to: of a span,
            the keys and the values of all layers, and a bool tensor that
            broadcasts to (B, 1, length, length of the span).
        own: function of a layer's number and of the keys and values computed
            here, which returns what else is attended to, as such a list with
            the keys and values of that layer.
        dropout: a `LayerDropout` or a `DrawnDropout`.
        outputs: which hidden states the caller needs: `"all"` of them, or the
            `"last"` only; the last layer then computes no more.
        roll: bool. Whether to compile one layer for all, where that saves much
            time; `own` must then not look at the number. Copies all weights,
            which does not show beside many positions, and would beside one.
        keep: what to keep for the gradient: `"all"` that the backend wants;
            the `"products"` with weights; or the `"inputs"` of each layer only.
            The rest is computed again.
        sublayers: `Sublayers` by which the layers compute; not with `roll` or
            `keep`.

    Returns:
        A tuple of the hidden states after the final layer norm, (B, length, D)
        or (B, 1, D), and of the keys and the values, each a tuple
        with one tensor (B, heads, length, head size) for each layer.
    """
    x = dropout.embeddings(_add_positions(backbone, inputs, positions))
    layers = backbone.transformer_layers

    last = len(layers) - 1
    keys_and_values = []
    if roll and autodiff.compiles_what_it_repeats() and last >= _WORTH_ROLLING:
        x, keys_and_values = _roll(layers[:last], x, past, own, dropout, keep)
    if sublayers is None:
        kind = KeepingProducts if keep == "products" else Sublayers
        sublayers = kind()
    run = functools.partial(_run_layer, sublayers=sublayers)
    if keep == "inputs":
        run = _run_layer_again
    for number in range(len(keys_and_values), last + 1):
        spans = [
            (keys[number], values[number], visible)
            for keys, values, visible in past
        ]
        wanted = outputs if number == last else "all"
        layer = layers[number]
        x, *found = run(layer, number, x, spans, own, dropout, wanted)
        keys_and_values.append(found)
    keys, values = zip(*keys_and_values)
    return sublayers.norm(backbone.layer_norm, x), keys, values


def _run_layer_again(layer, number, x, past, own, dropout, wanted):
    """As `_run_layer`; computed once more when its gradient is taken."""
    # Whatever the layer reads is an argument: its weights, and the seeds of its
    # dropout, so that the same numbers are drawn again.
    stacked, dropout_of = dropout.roll([layer])
    seeds = [seed[0] for seed in stacked]
    weights = [ops.convert_to_tensor(weight) for weight in layer.weights]

    def run(x, keys_and_values, weights, seeds):
        dropout, states = dropout_of(seeds)
        spans = [
            (*pair, visible)
            for pair, (_, _, visible) in zip(keys_and_values, past)
        ]
        mapping = [*zip(layer.weights, weights), *states]
        with keras.StatelessScope(mapping):
            return _run_layer(
                layer, number, x, spans, own, dropout, wanted, Sublayers()
            )

    return autodiff.rematerialized(
        run, x, [(keys, values) for keys, values, _ in past], weights, seeds
    )


def _roll(layers, x, past, own, dropout, keep):
    """Runs layers as one that is repeated with the weights of each."""
    stacked_dropout, dropout_of = dropout.roll(layers)
    each = {
        "weights": [
            ops.stack([weight.value for weight in alike])
            for alike in zip(*(layer.weights for layer in layers))
        ],
        "past": [
            (ops.stack(keys[: len(layers)]), ops.stack(values[: len(layers)]))
            for keys, values, _ in past
        ],
        "dropout": stacked_dropout,
    }

    def body(x, one):
        dropout, seeds = dropout_of(one["dropout"])
        spans = [
            (*pair, visible) for pair, (_, _, visible) in zip(one["past"], past)
        ]
        weights = zip(layers[0].weights, one["weights"])
        with keras.StatelessScope([*weights, *seeds]):
            x, keys, values = _run_layer(
                layers[0], 0, x, spans, own, dropout, "all", Sublayers()
            )
        return x, (keys, values)

    wrap = autodiff.rematerialized
    if keep != "inputs":
        # In a loop JAX cannot tell what is cheap to compute again.
        wrap = autodiff.keep_products
    x, stacked = ops.scan(lambda *args: wrap(body, *args), x, each)
    return x, list(zip(*(ops.unstack(tensor) for tensor in stacked)))


def _run_layer(layer, number, x, past, own, dropout, wanted, sublayers):
    of_attention = layer._self_attention_layer_norm
    of_feedforward = layer._feedforward_layer_norm
    sublayer = layer._self_attention_layer
    up = layer._feedforward_intermediate_dense
    down = layer._feedforward_output_dense

    def project(x):
        normed = sublayers.norm(of_attention, x)
        keys = _by_head(sublayers.product(sublayer.key_dense, normed))
        values = _by_head(sublayers.product(sublayer.value_dense, normed))
        if wanted == "last":
            normed = normed[:, -1:]
        return sublayers.product(sublayer.query_dense, normed), keys, values

    def attend(query, keys_and_values):
        spans = [
            (*pair, visible)
            for pair, visible in zip(keys_and_values, all_visible)
        ]
        attended = sublayers.attend(query, spans, dropout, number)
        return sublayers.product(sublayer.output_dense, attended)

    def raise_(x):
        return sublayers.product(up, sublayers.norm(of_feedforward, x))

    def lower(raised):
        return sublayers.product(down, up.activation(raised))

    query, keys, values = sublayers.part(
        [
            of_attention,
            sublayer.key_dense,
            sublayer.value_dense,
            sublayer.query_dense,
        ],
        project,
        x,
    )
    spans = [*past, *own(number, keys, values)]
    *keys_and_values, all_visible = zip(*spans)
    keys_and_values = list(zip(*keys_and_values))
    if dropout.weights_are_dropped(number):
        # Other weights would be dropped the second time.
        attended = attend(query, keys_and_values)
    else:
        attended = sublayers.part(
            [sublayer.output_dense], attend, query, keys_and_values
        )
    if wanted == "last":
        x = x[:, -1:]
    x = x + dropout.attention(number, attended)
    raised = sublayers.part([of_feedforward, up], raise_, x)
    hidden = sublayers.part([down], lower, raised)
    return x + dropout.feedforward(number, hidden), keys, values


def decode_span(
    backbone,
    inputs,
    positions,
    mask,
    memory=(),
    *,
    outputs: Literal["all", "last"] = "all",
    training=None,
    keep: Literal["all", "products", "inputs"] = "all",
):
    """Runs the backbone over one span that attends to itself and to `memory`.

    Within the span attention is causal. A position that `mask` hides is seen
    by no other position; it still sees itself, so that nothing turns to NaN.

    Args:
        backbone, inputs, positions, outputs, keep: see `walk`.
        mask: bool tensor (B, length), true where a position is real.
        memory: the `Span`s before this one, in order.
        training: bool, whether dropout is on.

    Returns:
        A tuple of the hidden states, as `walk` returns them, and the `Span` to
        be remembered.
    """
    visible = attention.visible_in_span(mask)
    hidden, keys, values = walk(
        backbone,
        inputs,
        positions,
        attention.in_the_past(memory),
        lambda number, keys, values: [(keys, values, visible)],
        LayerDropout(backbone, training),
        outputs,
        roll=True,
        keep=keep,
    )
    return hidden, Span(keys, values, mask)


def decode_token(backbone, inputs, positions, written, index, memory):
    """Runs the backbone over one more position of a span of fixed size.

    For generation: the keys and values are written into place, which needs no
    gradient and keeps every shape constant.

    Args:
        backbone: a `keras_hub.models.GPT2Backbone`.
        inputs: float tensor (B, 1, D), the embedding without its position.
        positions: int tensor (B, 1).
        written: the `Span` of fixed size; its mask is true where a position
            has been written.
        index: int scalar, the slot to write.
        memory: the `Span`s before the written one, in order.

    Returns:
        A tuple of the hidden state (B, 1, D) and the `Span` with slot `index`
        written.
    """
    mask = ops.slice_update(
        written.mask, [0, index], ops.ones_like(positions, dtype="bool")
    )
    all_keys, all_values = [], []

    def own(number, keys, values):
        at = [0, 0, index, 0]
        all_keys.append(ops.slice_update(written.keys[number], at, keys))
        all_values.append(ops.slice_update(written.values[number], at, values))
        return [(all_keys[-1], all_values[-1], mask[:, None, None])]

    dropout = LayerDropout(backbone, training=False)
    past = attention.in_the_past(memory)
    hidden, _, _ = walk(backbone, inputs, positions, past, own, dropout)
    return hidden, Span(tuple(all_keys), tuple(all_values), mask)


def empty_span(backbone, like: Span, length: int) -> Span:
    """Returns a `Span` of `length` unwritten slots with the batch of `like`."""
    shape = ops.shape(like.keys[0])
    shape = (shape[0], shape[1], length, shape[3])
    blank = tuple(
        ops.zeros(shape, dtype=like.keys[0].dtype)
        for _ in backbone.transformer_layers
    )
    return Span(blank, blank, ops.zeros((shape[0], length), dtype="bool"))


def _add_positions(backbone, inputs, positions):
    inputs = ops.cast(inputs, backbone.compute_dtype)
    rows = embeddings.embed_positions(backbone, positions)
    return backbone.embeddings_add((inputs, rows))


def _by_head(x):
    """Returns (B, heads, length, head size) from (B, length, heads, size)."""
    shape = ops.shape(x)
    x = ops.transpose(x, (0, 2, 1, 3))
    if shape[1] == 1:
        return x
    # PyTorch transposes by strides alone and would copy at every use. Going
    # through three dimensions copies once; compilers drop both reshapes.
    flat = ops.reshape(x, (-1, shape[1], shape[3]))
    return ops.reshape(flat, (-1, shape[2], shape[1], shape[3]))
