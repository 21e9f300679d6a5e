"""Gemma, Gemma 2 and Gemma 3 (text): scaled embeddings, norms on both sides."""

import keras
from keras import ops

from keras_coconut.backbones.decoder import Block, Decoder, rotated

_LARGEST_FLOAT16 = 65504


class GemmaBlock(Block):
    """A layer of Gemma and of Gemma 2."""

    def __init__(self, backbone, layer):
        super().__init__(backbone, layer)
        attention = self.attention = layer.attention
        size = attention.head_dim
        if not attention.query_head_dim_normalize:
            size = backbone.hidden_dim // backbone.num_query_heads
        self.scale = size**-0.5
        self.soft_cap = attention.logit_soft_cap
        if attention.use_sliding_window_attention:
            self.window = attention.sliding_window_size
        if attention.dropout:
            self.weights_dropout = attention.dropout_layer

    def project(self, x, positions):
        x, attention = self.layer.pre_attention_norm(x), self.attention
        return (
            self._rotate(attention.query_dense(x), positions),
            self._rotate(attention.key_dense(x), positions),
            attention.value_dense(x),
        )

    def _rotate(self, x, positions):
        x = rotated(self.attention.rope_layer, x, positions)
        # Gemma's weights expect the two halves of a head in turns.
        halves = ops.split(x, 2, axis=-1)
        return ops.reshape(ops.stack(halves, axis=-1), ops.shape(x))

    def finish(self, x, attended, drop):
        layer = self.layer
        attended = self.attention.output_dense(attended)
        if layer.use_post_attention_norm:
            attended = layer.post_attention_norm(attended)
        if layer.dropout:
            attended = drop(layer.attention_dropout, attended)
        x = self.add(x, attended)
        y = layer.pre_ffw_norm(x)
        gate = keras.activations.gelu(layer.gating_ffw(y), approximate=True)
        y = layer.ffw_linear(gate * layer.gating_ffw_2(y))
        if layer.use_post_ffw_norm:
            y = layer.post_ffw_norm(y)
        return self.add(x, y)

    def add(self, x, y):
        return x + y


class GemmaDecoder(Decoder):
    """Gemma, which scales the embeddings of tokens by the square root of D.

    A thought enters unscaled; a `thought_scale` would scale it too.
    """

    block_cls = GemmaBlock

    def embed(self, token_ids):
        x = super().embed(token_ids)
        return x * ops.cast(self.backbone.hidden_dim**0.5, x.dtype)


class Gemma3Block(GemmaBlock):
    """A layer of Gemma 3: norms on heads, safe in float16.

    Sums of a Gemma 3 leave the range of float16. There alone they are clipped,
    as KerasHub does.
    """

    def project(self, x, positions):
        if _is_float16(x):
            x = _within_float16(x)
        x, attention = self.layer.pre_attention_norm(x), self.attention
        query, key = attention.query_dense(x), attention.key_dense(x)
        if attention.use_query_key_norm:
            query, key = attention.query_norm(query), attention.key_norm(key)
        return (
            rotated(attention.rope_layer, query, positions),
            rotated(attention.rope_layer, key, positions),
            attention.value_dense(x),
        )

    def add(self, x, y):
        if not _is_float16(x):
            return x + y
        total = ops.cast(x, "float32") + ops.cast(y, "float32")
        return ops.cast(_within_float16(total), "float16")


def _is_float16(x):
    return keras.backend.standardize_dtype(x.dtype) == "float16"


def _within_float16(x):
    return ops.clip(x, -_LARGEST_FLOAT16, _LARGEST_FLOAT16)


class Gemma3Decoder(GemmaDecoder):
    """Gemma 3, text only."""

    block_cls = Gemma3Block
