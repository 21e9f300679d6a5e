"""Thoughts one after the other, as in Coconut (arXiv 2412.06769, section 3)."""

from keras import ops

from keras_coconut.latent.attention import Span
from keras_coconut.latent.control import repeat
from keras_coconut.latent.forward import Forward


def think(forward: Forward, first, question: Span, mask, positions):
    """Thinks slot by slot: slot k + 1 reads what slot k computed.

    Args:
        forward: a `Forward`.
        first: float tensor (B, 1, D), the first thought: the hidden state at
            the end of the question.
        question: the `Span` of the question.
        mask: bool tensor (B, K), true where the row thinks; a row's thoughts
            come first.
        positions: int tensor (B, K).

    Returns:
        A tuple of the hidden states (B, K, D) at the thoughts, and of their
        `Span`. Slots in which a row does not think hold nothing of use.
    """
    slots = mask.shape[1]
    number = ops.arange(slots)
    batch, _, hidden_dim = ops.shape(first)
    _, groups, _, size = ops.shape(question.keys[0])
    empty = tuple(
        ops.zeros((batch, groups, slots, size), keys.dtype)
        for keys in question.keys
    )

    def body(slot, state):
        thought, hidden, keys, values = state
        earlier = ops.logical_and(mask, number < slot)
        thought, own, _ = forward.read(
            thought,
            ops.slice(positions, (0, slot), (batch, 1)),
            ops.slice(mask, (0, slot), (batch, 1)),
            [question, Span(keys, values, earlier, positions)],
        )

        def write(buffer, new, axis):
            # Added to zeros, not written: TensorFlow has no gradient of that.
            shape = [1] * len(buffer.shape)
            shape[axis] = slots
            here = ops.cast(ops.equal(number, slot), buffer.dtype)
            return buffer + ops.reshape(here, shape) * new

        return (
            thought,
            write(hidden, thought, 1),
            tuple(write(*pair, 2) for pair in zip(keys, own.keys)),
            tuple(write(*pair, 2) for pair in zip(values, own.values)),
        )

    hidden = ops.zeros((batch, slots, hidden_dim), first.dtype)
    _, hidden, keys, values = repeat(
        body,
        (first, hidden, empty, empty),
        times=ops.max(ops.sum(ops.cast(mask, "int32"), axis=1)),
        at_most=slots,
        layer=forward.decoder.backbone,
    )
    return hidden, Span(keys, values, mask, positions)
