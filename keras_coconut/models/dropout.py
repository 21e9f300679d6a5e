"""Dropout inside the decoder: drawn as it goes, or ahead of a loop.

A loop over thoughts may draw no random numbers: on JAX the state of a layer's
seed would leak out of the loop, and the backward pass must see the masks of the
forward pass again. So the masks of all thought slots are drawn before it.
"""

from typing import Any, NamedTuple

from keras import ops


class LayerDropout:
    """Dropout as the backbone's own layers do it."""

    def __init__(self, backbone, training):
        self.backbone = backbone
        self.training = training

    def roll(self, layers):
        """Prepares the dropout of layers that run as one.

        Returns:
            A tuple of stacked tensors, one entry for each layer, and of a
            function that takes the entries of one layer. It returns the dropout
            as layer number 0 uses it, and `(variable, value)` pairs that hold
            while it does.
        """
        if not (self.training and self.backbone.dropout):
            return [], lambda one: (self, [])
        generators = [_seed_generators(layer) for layer in layers]
        seeds = [
            ops.stack([generator.next() for generator in alike])
            for alike in zip(*generators)
        ]
        states = [generator.state for generator in generators[0]]
        return seeds, lambda one: (self, list(zip(states, one)))

    def embeddings(self, x):
        return self.backbone.embeddings_dropout(x, training=self.training)

    def weights_are_dropped(self, number):
        return bool(self.training and _attention(self.backbone, number).dropout)

    def weights(self, number, weights):
        """Drops attention weights (B, heads, queries, length)."""
        if not self.weights_are_dropped(number):
            return weights
        layer = _attention(self.backbone, number)._dropout_layer
        return layer(weights, training=True)

    def attention(self, number, x):
        layer = self.backbone.transformer_layers[number]
        return layer._self_attention_dropout(x, training=self.training)

    def feedforward(self, number, x):
        layer = self.backbone.transformer_layers[number]
        return layer._feedforward_dropout(x, training=self.training)


class Masks(NamedTuple):
    """What dropout multiplies with; a tensor each, or one for each layer.

    `embeddings` is (B, K, D); `attention` and `feedforward` hold (B, K, D) for
    each layer and `weights` (B, heads, K, length). Empty if nothing is dropped.
    """

    embeddings: tuple[Any, ...] = ()
    weights: tuple[Any, ...] = ()
    attention: tuple[Any, ...] = ()
    feedforward: tuple[Any, ...] = ()


def draw(backbone, batch, slots, length, training) -> Masks:
    """Draws the masks of all slots with the seeds of the backbone's layers.

    Args:
        backbone: a `keras_hub.models.GPT2Backbone`.
        batch: int or int tensor, rows.
        slots: int, positions.
        length: int, how many positions each slot attends to.
        training: bool, whether dropout is on.
    """
    if not (training and backbone.dropout):
        return Masks()
    layers = backbone.transformer_layers
    source = LayerDropout(backbone, training)
    hidden = ops.ones(
        (batch, slots, backbone.hidden_dim), layers[0].compute_dtype
    )
    heads = (batch, backbone.num_heads, slots, length)
    numbers = range(len(layers))
    return Masks(
        (source.embeddings(hidden),),
        tuple(
            source.weights(n, ops.ones(heads, hidden.dtype)) for n in numbers
        ),
        tuple(source.attention(n, hidden) for n in numbers),
        tuple(source.feedforward(n, hidden) for n in numbers),
    )


class DrawnDropout:
    """Dropout by masks that were drawn before.

    Args:
        masks: `Masks`.
        slot: int or int tensor, the one slot that is computed; all if `None`.
    """

    def __init__(self, masks: Masks, slot=None):
        self.masks = masks
        self.slot = slot

    def embeddings(self, x):
        return self._drop(x, self.masks.embeddings, 0, axis=1)

    def weights_are_dropped(self, number):
        return bool(self.masks.weights)

    def weights(self, number, weights):
        """Drops attention weights (B, heads, queries, length).

        The length may be shorter than what the masks were drawn for.
        """
        masks = [mask[..., : weights.shape[-1]] for mask in self.masks.weights]
        return self._drop(weights, masks, number, axis=2)

    def attention(self, number, x):
        return self._drop(x, self.masks.attention, number, axis=1)

    def feedforward(self, number, x):
        return self._drop(x, self.masks.feedforward, number, axis=1)

    def _drop(self, x, masks, number, axis):
        if not masks:
            return x
        mask = masks[number]
        if self.slot is not None:
            mask = take_slot(mask, self.slot, axis)
        return x * ops.cast(mask, x.dtype)


def take_slot(x, slot, axis):
    """Returns the slice of length 1 at `slot`, which may be a tensor."""
    start = [0] * len(x.shape)
    start[axis] = slot
    shape = list(ops.shape(x))
    shape[axis] = 1
    return ops.slice(x, start, shape)


def _seed_generators(layer):
    """Those from which one pass through a layer draws, once each."""
    return [
        dropout.seed_generator
        for dropout in (
            layer._self_attention_layer._dropout_layer,
            layer._self_attention_dropout,
            layer._feedforward_dropout,
        )
    ]


def _attention(backbone, number):
    return backbone.transformer_layers[number]._self_attention_layer
