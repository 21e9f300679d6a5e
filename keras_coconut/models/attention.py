"""Attention to several spans under one softmax.

Every span keeps its own keys and values. A query scores each span apart, and
one softmax over all scores joins them.
"""

from keras import ops

# Scores are float32: this vanishes in a softmax without being infinite.
HIDDEN_SCORE = -1e9


def attend(query, spans, dropout, number):
    """Attends to several spans under one softmax, copying none of them.

    Args:
        query: float tensor (B, queries, heads, head size).
        spans: list of `(keys, values, visible)`; keys and values are (B,
            heads, length, head size), `visible` broadcasts to (B, heads,
            queries, length).
        dropout: a `LayerDropout` or a `DrawnDropout`, for the weights.
        number: int, that of the layer.

    Returns:
        Float tensor (B, queries, heads, head size).
    """
    spans = [
        (keys, values, visible[:, :, -query.shape[1] :])
        for keys, values, visible in spans
    ]
    if len(spans) == 1 and not dropout.weights_are_dropped(number):
        # One span alone: the backend's fused attention, where it has one.
        keys, values, visible = spans[0]
        return ops.dot_product_attention(
            query,
            ops.transpose(keys, (0, 2, 1, 3)),
            ops.transpose(values, (0, 2, 1, 3)),
            mask=visible,
        )
    query = ops.transpose(query, (0, 2, 1, 3))
    query = query * ops.cast(query.shape[-1] ** -0.5, query.dtype)
    scores = []
    for keys, _, visible in spans:
        score = ops.matmul(query, ops.swapaxes(keys, -1, -2))
        # Softmax in float32 whatever the compute type, as Keras does.
        score = ops.cast(score, "float32")
        scores.append(ops.where(visible, score, HIDDEN_SCORE))
    weights = ops.softmax(ops.concatenate(scores, axis=-1), axis=-1)
    weights = dropout.weights(number, ops.cast(weights, query.dtype))
    attended, start = None, 0
    for keys, values, _ in spans:
        stop = start + keys.shape[2]
        part = ops.matmul(weights[..., start:stop], values)
        attended = part if attended is None else attended + part
        start = stop
    return ops.transpose(attended, (0, 2, 1, 3))


def in_the_past(spans):
    """Returns spans as `decoder.walk` attends to them, all real positions."""
    return [(s.keys, s.values, s.mask[:, None, None]) for s in spans]


def visible_in_span(mask):
    """Returns (B, 1, length, length): causal, real, or the position itself."""
    slots = ops.arange(ops.shape(mask)[1])
    causal = slots[:, None] >= slots[None, :]
    itself = slots[:, None] == slots[None, :]
    return ops.logical_or(ops.logical_and(causal, mask[:, None, None]), itself)
