"""Walks a KerasHub GPT-2 backbone over one span against earlier spans.

KerasHub's own cache is one tensor that `ops.slice_update` writes to. That op
has no gradient on TensorFlow, and a cache that grows by concatenation copies
the question's keys and values at every thought. Here every span keeps its own
keys and values; a query scores each span apart, and one softmax over all scores
joins them. Nothing is copied and everything is differentiable.

This is the one file that touches sublayers which KerasHub names privately;
`tests/models/test_decoder.py` fails by name if one of them is renamed.
"""

from typing import Any, Literal, NamedTuple

from keras import ops

# Scores are float32: this vanishes in a softmax without being infinite.
_HIDDEN_SCORE = -1e9


class Span(NamedTuple):
    """The keys and values of one span, as later spans attend to them.

    `keys` and `values` hold one tensor for each layer, of shape (B, heads,
    length, head size). `mask` is (B, length), true where a position is real.
    """

    keys: tuple[Any, ...]
    values: tuple[Any, ...]
    mask: Any


def embed_tokens(backbone, token_ids):
    """Returns the token embeddings (B, length, D), without positions."""
    return backbone.token_embedding(token_ids)


def logits(backbone, hidden):
    """Returns logits (B, length, V) by the tied embedding."""
    return backbone.token_embedding(hidden, reverse=True)


def decode_span(
    backbone,
    inputs,
    positions,
    mask,
    memory=(),
    *,
    outputs: Literal["all", "last", "none"] = "all",
    training=None,
):
    """Runs the backbone over one span that attends to itself and to `memory`.

    Within the span attention is causal. A position that `mask` hides is seen
    by no other position; it still sees itself, so that nothing turns to NaN.

    Args:
        backbone: a `keras_hub.models.GPT2Backbone`.
        inputs: float tensor (B, length, D), embeddings without positions.
        positions: int tensor (B, length), positions among a row's real tokens.
        mask: bool tensor (B, length), true where a position is real.
        memory: the `Span`s before this one, in order.
        outputs: which hidden states the caller needs: `"all"` of them, the
            `"last"` only, or `"none"`, when only the keys and values matter.
            The last layer then computes no more than those.
        training: bool, whether dropout is on.

    Returns:
        A tuple of the hidden states after the final layer norm, (B, length, D)
        or (B, 1, D) or `None`, and the `Span` to be remembered.
    """
    x = _add_positions(backbone, inputs, positions, training)
    visible = _visible_in_span(mask)
    keys, values = [], []
    last = len(backbone.transformer_layers) - 1
    for index, layer in enumerate(backbone.transformer_layers):
        wanted = outputs if index == last else "all"
        normed = layer._self_attention_layer_norm(x)
        attention = layer._self_attention_layer
        own_keys = _by_head(attention.key_dense(normed))
        own_values = _by_head(attention.value_dense(normed))
        keys.append(own_keys)
        values.append(own_values)
        if wanted == "none":
            x = None
            break
        if wanted == "last":
            x, normed = x[:, -1:], normed[:, -1:]
            visible = visible[:, :, -1:]
        attended = attend(
            attention,
            attention.query_dense(normed),
            [
                (span.keys[index], span.values[index], span.mask[:, None, None])
                for span in memory
            ]
            + [(own_keys, own_values, visible)],
            training=training,
        )
        x = _finish_layer(layer, x, attended, training)
    hidden = None if x is None else backbone.layer_norm(x)
    return hidden, Span(tuple(keys), tuple(values), mask)


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
    x = _add_positions(backbone, inputs, positions, training=False)
    mask = ops.slice_update(
        written.mask, [0, index], ops.ones_like(positions, dtype="bool")
    )
    keys, values = [], []
    for number, layer in enumerate(backbone.transformer_layers):
        normed = layer._self_attention_layer_norm(x)
        attention = layer._self_attention_layer
        for store, before, now in (
            (keys, written.keys, attention.key_dense(normed)),
            (values, written.values, attention.value_dense(normed)),
        ):
            store.append(
                ops.slice_update(
                    before[number], [0, 0, index, 0], _by_head(now)
                )
            )
        spans = [*memory, Span(keys, values, mask)]
        attended = attend(
            attention,
            attention.query_dense(normed),
            [
                (s.keys[number], s.values[number], s.mask[:, None, None])
                for s in spans
            ],
            training=False,
        )
        x = _finish_layer(layer, x, attended, training=False)
    return backbone.layer_norm(x), Span(tuple(keys), tuple(values), mask)


def empty_span(backbone, like: Span, length: int) -> Span:
    """Returns a `Span` of `length` unwritten slots with the batch of `like`."""
    shape = ops.shape(like.keys[0])
    shape = (shape[0], shape[1], length, shape[3])
    blank = tuple(
        ops.zeros(shape, dtype=like.keys[0].dtype)
        for _ in backbone.transformer_layers
    )
    return Span(blank, blank, ops.zeros((shape[0], length), dtype="bool"))


def join_spans(first: Span, second: Span) -> Span:
    """Returns one `Span` for two that follow each other. Copies both."""
    return Span(
        tuple(
            ops.concatenate(pair, axis=2)
            for pair in zip(first.keys, second.keys)
        ),
        tuple(
            ops.concatenate(pair, axis=2)
            for pair in zip(first.values, second.values)
        ),
        ops.concatenate([first.mask, second.mask], axis=1),
    )


def attend(attention, query, spans, training=None):
    """Attends to several spans under one softmax, copying none of them.

    Args:
        attention: a `keras.layers.MultiHeadAttention`, for its output
            projection and its dropout.
        query: float tensor (B, queries, heads, head size).
        spans: list of `(keys, values, visible)`; keys and values are (B,
            heads, length, head size), `visible` broadcasts to (B, heads,
            queries, length).
        training: bool, whether dropout is on.

    Returns:
        Float tensor (B, queries, D), after the output projection.
    """
    dropout = attention.dropout if training else 0.0
    if len(spans) == 1 and not dropout:
        # One span alone: the backend's fused attention, where it has one.
        keys, values, visible = spans[0]
        return attention.output_dense(
            ops.dot_product_attention(
                query,
                ops.transpose(keys, (0, 2, 1, 3)),
                ops.transpose(values, (0, 2, 1, 3)),
                mask=visible,
            )
        )
    query = ops.transpose(query, (0, 2, 1, 3))
    query = query * ops.cast(query.shape[-1] ** -0.5, query.dtype)
    scores = []
    for keys, _, visible in spans:
        score = ops.matmul(query, ops.swapaxes(keys, -1, -2))
        # Softmax in float32 whatever the compute type, as Keras does.
        score = ops.cast(score, "float32")
        scores.append(ops.where(visible, score, _HIDDEN_SCORE))
    weights = ops.softmax(ops.concatenate(scores, axis=-1), axis=-1)
    weights = ops.cast(weights, query.dtype)
    if dropout:
        weights = attention._dropout_layer(weights, training=True)
    attended, start = None, 0
    for keys, values, _ in spans:
        stop = start + keys.shape[2]
        part = ops.matmul(weights[..., start:stop], values)
        attended = part if attended is None else attended + part
        start = stop
    return attention.output_dense(ops.transpose(attended, (0, 2, 1, 3)))


def _add_positions(backbone, inputs, positions, training):
    # The slice makes the table's gradient dense. A gather's alone would be
    # sparse on TensorFlow, with an index for every row of the batch, and Keras
    # optimizers apply repeated indices as if each stood once.
    table = ops.convert_to_tensor(
        backbone.position_embedding.position_embeddings
    )
    table = ops.slice(table, (0, 0), table.shape)
    table = ops.cast(table, backbone.compute_dtype)
    inputs = ops.cast(inputs, backbone.compute_dtype)
    x = backbone.embeddings_add((inputs, ops.take(table, positions, axis=0)))
    return backbone.embeddings_dropout(x, training=training)


def _visible_in_span(mask):
    """Returns (B, 1, length, length): causal, real, or the position itself."""
    slots = ops.arange(ops.shape(mask)[1])
    causal = slots[:, None] >= slots[None, :]
    itself = slots[:, None] == slots[None, :]
    return ops.logical_or(ops.logical_and(causal, mask[:, None, None]), itself)


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


def _finish_layer(layer, residual, attended, training):
    """Adds the attention to the residual stream, then the feedforward."""
    x = residual + layer._self_attention_dropout(attended, training=training)
    hidden = layer._feedforward_layer_norm(x)
    hidden = layer._feedforward_intermediate_dense(hidden)
    hidden = layer._feedforward_output_dense(hidden)
    return x + layer._feedforward_dropout(hidden, training=training)
