"""What a decoder does around attention: the base of every family's file.

A layer is split at attention: `Block.project` is the part before it,
`Block.finish` the part after it. Attention itself is in `latent/`, because a
model that thinks attends to several spans. Sublayers are called and never read,
so LoRA, quantization and dtype policies work without extra code.

B rows, L positions, D hidden, H heads, G groups of keys, S size of a head.
"""

import keras
from keras import ops


class Block:
    """One layer of a backbone.

    Args:
        backbone: a KerasHub backbone.
        layer: one of its `transformer_layers`.

    Attributes:
        attention: the layer's attention, a sublayer.
        scale: float, the factor of the attention scores.
        soft_cap: float or `None`, the cap of the attention scores.
        window: int or `None`. A query sees keys less than this far away.
        weights_dropout: the layer that drops attention weights, or `None`.
    """

    soft_cap = None
    window = None
    weights_dropout = None

    def __init__(self, backbone, layer):
        self.backbone = backbone
        self.layer = layer

    def project(self, x, positions):
        """Returns what the layer attends with.

        Args:
            x: float tensor (B, L, D).
            positions: what `Decoder.place` returned.

        Returns:
            A tuple of the query (B, L, H, S) and of the key and the value
            (B, L, G, S).
        """
        raise NotImplementedError

    def finish(self, x, attended, drop):
        """Returns the output (B, L, D) of the layer.

        Args:
            x: float tensor (B, L, D), the input of the layer.
            attended: float tensor (B, L, H, S), what attention returned.
            drop: `drop`, `keep`, or a function like them.
        """
        raise NotImplementedError


class Decoder:
    """A backbone cut into the parts that a model which thinks calls.

    Args:
        backbone: a KerasHub backbone of a known family.

    Attributes:
        thought_scale: float. A thought, a hidden state after the final norm, is
            multiplied by this factor when it enters the decoder.
    """

    block_cls: type[Block]
    thought_scale = 1.0

    def __init__(self, backbone):
        self.backbone = backbone
        self.blocks = [
            self.block_cls(backbone, layer)
            for layer in backbone.transformer_layers
        ]

    def embed(self, token_ids):
        """Returns the embeddings (B, L, D) of tokens, without positions."""
        return look_up(self.backbone.token_embedding, token_ids)

    def enter(self, thoughts):
        """Returns (B, K, D), thoughts in place of embeddings."""
        if self.thought_scale == 1:
            return thoughts
        return thoughts * ops.cast(self.thought_scale, thoughts.dtype)

    def locate(self, x, positions, drop):
        """Returns what enters the first layer, (B, L, D).

        Args:
            x: float tensor (B, L, D), embeddings of tokens, or thoughts.
            positions: int tensor (B, L).
            drop: `drop`, `keep`, or a function like them.
        """
        del positions, drop
        return x

    def place(self, positions, begins):
        """Returns what blocks read as positions, (B, L) or (B, L, ...).

        Args:
            positions: int tensor (B, L).
            begins: bool. Whether no span comes before this one.
        """
        del begins
        return positions

    def norm(self, x):
        """Returns the hidden states (B, L, D) after the final norm."""
        return self.backbone.layer_norm(x)

    def logits(self, hidden):
        """Returns logits (B, L, V)."""
        return self.backbone.token_embedding(hidden, reverse=True)


def drop(layer, x, axis=1):
    """Drops as a dropout layer does in training.

    Args:
        layer: a dropout layer.
        x: float tensor, what it reads.
        axis: int, the axis of positions. Defaults to 1.
    """
    del axis
    return layer(x, training=True)


def keep(layer, x, axis=1):
    """Drops nothing, in place of `drop`."""
    del layer, axis
    return x


def look_up(embedding, token_ids):
    """Returns embeddings of tokens, with a dense gradient of the table.

    TensorFlow's is sparse unless the table is multiplied by besides, with an
    index for each token of the batch, and Keras optimizers apply an index that
    repeats only once.
    """
    if keras.config.backend() != "tensorflow":
        return embedding(token_ids)
    dense = []
    for weight in embedding.trainable_weights:
        # The gradient of a slice is dense.
        table = ops.convert_to_tensor(weight)
        table = ops.slice(table, [0] * len(weight.shape), weight.shape)
        dense.append((weight, table))
    with keras.StatelessScope(dense):
        return embedding(token_ids)


def rotated(rotary, x, positions):
    """Returns queries or keys (B, L, H, S) rotated by their positions."""
    return rotary(x, positions=positions)


def feed_forward_gated(x, gate, expand, contract, activation):
    """Returns `contract(expand(x) * activation(gate(x)))`.

    The activation is computed in float32, as in the published models.
    """
    gated = activation(ops.cast(gate(x), "float32"))
    expanded = expand(x)
    return contract(expanded * ops.cast(gated, expanded.dtype))
