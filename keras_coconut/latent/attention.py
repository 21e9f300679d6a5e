"""Attention to several spans under one softmax, and the rule of sight.

Every span keeps its own keys and values. A query scores each span separately,
and one softmax over all scores joins them, so no keys or values are copied.

B rows, L positions, H heads, G groups of keys, S size of a head, T length of a
span.
"""

from typing import Any, NamedTuple

from keras import ops

from keras_coconut.backbones import keep

# Scores are float32: this vanishes in a softmax without being infinite.
_HIDDEN_SCORE = -1e9


class Span(NamedTuple):
    """The keys and values of one span, as later spans attend to them.

    `keys` and `values` hold one tensor for each layer, (B, G, T, S). `mask`
    (B, T) is true where a position is real; `positions` is int (B, T).
    """

    keys: tuple[Any, ...]
    values: tuple[Any, ...]
    mask: Any
    positions: Any


def sight(positions, spans, window=None):
    """Returns which keys queries see, a bool tensor (B, L, T) for each span.

    A query sees a key that is real, not later than itself, and less than
    `window` positions away.
    """
    seen = []
    for span in spans:
        distance = positions[:, :, None] - span.positions[:, None, :]
        visible = ops.logical_and(span.mask[:, None, :], distance >= 0)
        if window is not None:
            visible = ops.logical_and(visible, distance < window)
        seen.append(visible)
    return seen


def attend(block, query, keys_and_values, seen, drop=keep, keep_weights=False):
    """Attends to several spans as a layer does.

    Args:
        block: a `backbones.Block`.
        query: float tensor (B, L, H, S).
        keys_and_values: list of pairs of tensors (B, G, T, S), one a span.
        seen: list of bool tensors (B, L, T), one a span.
        drop: `backbones.drop`, or a function like it. Defaults to `keep`.
        keep_weights: bool. Whether to return the attention weights. The
            backend's fused attention cannot. Defaults to `False`.

    Returns:
        A tuple of the attended values (B, L, H, S) and of the attention
        weights over all spans, (B, H, L, T), or `None`.
    """
    drops = drop is not keep and block.weights_dropout is not None
    plain = block.soft_cap is None and not drops and not keep_weights
    if len(seen) == 1 and plain:
        return _attend_fused(block, query, *keys_and_values[0], seen[0]), None
    batch, length, heads, size = ops.shape(query)
    groups = keys_and_values[0][0].shape[1]
    # Heads of a group share its keys: they are further rows of the queries.
    query = ops.transpose(query, (0, 2, 1, 3))
    query = ops.reshape(query, (batch, groups, -1, size))
    query = query * ops.cast(block.scale, query.dtype)
    scores = []
    for (keys, _), visible in zip(keys_and_values, seen, strict=True):
        score = ops.cast(ops.matmul(query, ops.swapaxes(keys, 2, 3)), "float32")
        score = ops.reshape(score, (batch, heads, length, keys.shape[2]))
        if block.soft_cap is not None:
            score = block.soft_cap * ops.tanh(score / block.soft_cap)
        scores.append(ops.where(visible[:, None], score, _HIDDEN_SCORE))
    weights = ops.softmax(ops.concatenate(scores, axis=-1), axis=-1)
    weights = ops.cast(weights, query.dtype)
    kept = weights if keep_weights else None
    if drops:
        weights = drop(block.weights_dropout, weights, axis=2)
    attended, start = 0, 0
    for _, values in keys_and_values:
        stop = start + values.shape[2]
        part = weights[..., start:stop]
        part = ops.reshape(part, (batch, groups, -1, stop - start))
        attended = attended + ops.matmul(part, values)
        start = stop
    attended = ops.reshape(attended, (batch, heads, length, size))
    return ops.transpose(attended, (0, 2, 1, 3)), kept


def _attend_fused(block, query, keys, values, visible):
    """Attends to one span with the backend's fused attention."""
    keys, values = (
        ops.repeat(heads_first, query.shape[2] // heads_first.shape[1], axis=1)
        if query.shape[2] != heads_first.shape[1]
        else heads_first
        for heads_first in (keys, values)
    )
    return ops.dot_product_attention(
        query,
        ops.transpose(keys, (0, 2, 1, 3)),
        ops.transpose(values, (0, 2, 1, 3)),
        mask=visible[:, None],
        scale=block.scale,
    )


def heads_first(x):
    """Returns (B, G, T, S) from (B, T, G, S), the fastest order to read."""
    batch, length, groups, size = ops.shape(x)
    x = ops.transpose(x, (0, 2, 1, 3))
    if length == 1:
        return x
    # PyTorch transposes by strides alone and would copy at every use. Going
    # through three dimensions copies once; compilers drop both reshapes.
    x = ops.reshape(x, (-1, length, size))
    return ops.reshape(x, (batch, groups, length, size))
