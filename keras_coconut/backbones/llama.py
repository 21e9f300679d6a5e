"""Llama and its descendants: RMS norms, rotation, a gated feed-forward.

Llama, Llama 3 (SmolLM2 too), Mistral, Qwen 2.5, Qwen 3, Phi 3 and SmolLM3.
"""

import keras
from keras import ops

from keras_coconut.backbones.decoder import (
    Block,
    Decoder,
    feed_forward_gated,
    rotated,
)


class LlamaBlock(Block):
    """A layer of Llama and of Llama 3."""

    def __init__(self, backbone, layer):
        super().__init__(backbone, layer)
        self.attention = layer._self_attention_layer
        self.scale = self.attention._inv_norm_factor

    def norm_heads(self, query, key):
        return query, key

    def project(self, x, positions):
        x, attention = self.layer._self_attention_layernorm(x), self.attention
        query, key = self.norm_heads(
            attention._query_dense(x), attention._key_dense(x)
        )
        rotary = attention.rotary_embedding_layer
        return (
            rotated(rotary, query, positions),
            rotated(rotary, key, positions),
            attention._value_dense(x),
        )

    def finish(self, x, attended, drop):
        layer, attention = self.layer, self.attention
        attended = drop(attention._dropout_layer, attended)
        attended = attention._output_dense(attended)
        x = x + drop(layer._self_attention_dropout, attended)
        return x + feed_forward_gated(
            layer._feedforward_layernorm(x),
            layer._feedforward_gate_dense,
            layer._feedforward_intermediate_dense,
            layer._feedforward_output_dense,
            layer.activation,
        )


class LlamaDecoder(Decoder):
    """Llama, and Llama 3 (SmolLM2, Llama 3.2)."""

    block_cls = LlamaBlock


class MistralBlock(LlamaBlock):
    """A layer of Mistral: Llama with a window."""

    def __init__(self, backbone, layer):
        super().__init__(backbone, layer)
        self.window = backbone.sliding_window


class MistralDecoder(Decoder):
    """Mistral."""

    block_cls = MistralBlock


class QwenBlock(LlamaBlock):
    """A layer of Qwen 2.5: Llama with a window, if asked for."""

    def __init__(self, backbone, layer):
        super().__init__(backbone, layer)
        if backbone.use_sliding_window_attention:
            self.window = backbone.sliding_window_size


class QwenDecoder(Decoder):
    """Qwen 2.5."""

    block_cls = QwenBlock


class Qwen3Block(LlamaBlock):
    """A layer of Qwen 3: norms on the heads of queries and keys."""

    def __init__(self, backbone, layer):
        super().__init__(backbone, layer)
        # As published. KerasHub 0.32 leaves the window out where it uses the
        # backend's fused attention.
        self.window = backbone.sliding_window_size

    def norm_heads(self, query, key):
        attention = self.attention
        return (
            attention._query_dense_layer_norm(query),
            attention._key_dense_layer_norm(key),
        )


class Qwen3Decoder(Decoder):
    """Qwen 3."""

    block_cls = Qwen3Block


class Phi3Block(Block):
    """A layer of Phi 3."""

    def __init__(self, backbone, layer):
        super().__init__(backbone, layer)
        self.attention = layer.attention
        self.scale = self.attention._inv_norm_factor

    def project(self, x, positions):
        x, attention = self.layer.pre_attention_layernorm(x), self.attention
        return (
            self._rotate(attention.query_dense(x), positions),
            self._rotate(attention.key_dense(x), positions),
            attention.value_dense(x),
        )

    def _rotate(self, x, positions):
        rotary = self.attention.rotary_embedding_layer
        if self.attention.rope_scaling_type is None:
            return rotated(rotary, x, positions)
        # The scaled kind takes one row of positions, and chooses its factors by
        # the length of its input.
        shape = ops.shape(x)
        row = ops.reshape(x, (1, -1, *shape[2:]))
        at, is_long = (
            ops.reshape(positions[..., part], (-1,)) for part in (0, 1)
        )
        short, long = (
            rotary._compute_cos_sin_embedding(
                keras.KerasTensor((1, length, 1, shape[-1])), positions=at
            )
            for length in (1, rotary.pretraining_sequence_length + 1)
        )
        is_long = ops.cast(is_long, "bool")[None, :, None, None]
        cos, sin = (ops.where(is_long, *both) for both in zip(long, short))
        return ops.reshape(rotary._apply_rotary_pos_emb(row, cos, sin), shape)

    def finish(self, x, attended, drop):
        layer, attention = self.layer, self.attention
        attended = drop(attention.dropout_layer, attended)
        attended = attention.output_dense(attended)
        x = x + drop(layer.attention_dropout, attended)
        y = feed_forward_gated(
            layer.post_attention_layernorm(x),
            layer.feedforward_gate_dense,
            layer.feedforward_intermediate_dense,
            layer.feedforward_output_dense,
            layer.activation,
        )
        return x + drop(layer.feedforward_dropout, y)


class Phi3Decoder(Decoder):
    """Phi 3."""

    block_cls = Phi3Block

    def place(self, positions, begins):
        """Returns positions, and whether their rotation is that of long texts.

        A Phi 3 with scaled rotation has other factors for texts longer than
        `pretraining_sequence_length`. A question that is longer takes them for
        all of its tokens. So does each later position that is beyond, whose
        row may have been read with the short factors before.

        Args:
            positions, begins: see `Decoder.place`.

        Returns:
            An int tensor (B, L, 2), or `positions`.
        """
        if self.backbone.rope_scaling_type is None:
            return positions
        trained = self.backbone.pretraining_sequence_length
        is_long = positions + 1 > trained
        if begins:
            is_long = ops.any(is_long, axis=1, keepdims=True)
        is_long = ops.broadcast_to(is_long, ops.shape(positions))
        is_long = ops.cast(is_long, positions.dtype)
        return ops.stack([positions, is_long], axis=-1)


class SmolLM3Block(Block):
    """A layer of SmolLM3, which rotates or not."""

    def __init__(self, backbone, layer):
        super().__init__(backbone, layer)
        self.attention = layer.self_attn
        self.scale = self.attention.scaling

    def project(self, x, positions):
        x, attention = self.layer.input_layernorm(x), self.attention
        query = self._heads(attention.q_proj(x), attention.num_attention_heads)
        key, value = (
            self._heads(project(x), attention.num_key_value_heads)
            for project in (attention.k_proj, attention.v_proj)
        )
        # Every fourth layer of the published model does not rotate.
        if attention.use_rope:
            query = self._rotate(query, positions)
            key = self._rotate(key, positions)
        return query, key, value

    def _heads(self, x, count):
        # In figures: where the number of rows is unknown, as in a file, a -1
        # would leave that of the heads unknown too.
        shape = (*ops.shape(x)[:2], count, self.attention.head_dim)
        return ops.reshape(x, shape)

    def _rotate(self, x, positions):
        # The sublayer knows no positions of a row, only where all rows start.
        rotary = self.attention.rotary_embedding
        angles = ops.cast(positions, "float32")[..., None] * ops.cast(
            rotary.inv_freq, "float32"
        )
        angles = ops.concatenate([angles, angles], axis=-1)[:, :, None]
        cos = ops.cast(ops.cos(angles) * rotary.attention_scaling, x.dtype)
        sin = ops.cast(ops.sin(angles) * rotary.attention_scaling, x.dtype)
        first, second = ops.split(x, 2, axis=-1)
        return x * cos + ops.concatenate([-second, first], axis=-1) * sin

    def finish(self, x, attended, drop):
        del drop
        x = x + self.attention.o_proj(attended)
        return x + self.layer.mlp(self.layer.post_attention_layernorm(x))


class SmolLM3Decoder(Decoder):
    """SmolLM3."""

    block_cls = SmolLM3Block

    def norm(self, x):
        return self.backbone.norm(x)
