"""Thoughts one after the other, as in Coconut (arXiv 2412.06769, section 3)."""

import dataclasses
import functools

from keras import ops, tree

from keras_coconut.backbones import keep
from keras_coconut.latent import control
from keras_coconut.latent.attention import Span
from keras_coconut.latent.chain import chain, column, write
from keras_coconut.latent.forward import Forward, Padded


def think(forward: Forward, first, question: Span, mask, positions, noise=None):
    """Thinks slot by slot: slot k + 1 reads what slot k computed.

    Args:
        forward: a `Forward`.
        first: float tensor (B, 1, D), the first thought: the hidden state at
            the end of the question.
        question: the `Span` of the question.
        mask: bool tensor (B, K), true where the row thinks; a row's thoughts
            come first.
        positions: int tensor (B, K).
        noise: float tensor (B, K, D), added to the thoughts; see `perturbed`.
            Optional.

    Returns:
        A tuple of the hidden states (B, K, D) at the thoughts, and of their
        `Span`. Slots in which a row does not think are undefined.
    """
    slots = mask.shape[1]
    # A span without padding would draw other numbers for dropout than `one`.
    forward = dataclasses.replace(forward, layout=Padded)

    def one(slot, thought, own, earlier):
        def drop(layer, x, axis=1):
            if forward.drop is keep or not layer.rate:
                return x
            # Of the numbers that `at_once` draws for all slots, this one's.
            dropped = forward.drop(layer, ops.repeat(x, slots, axis), axis)
            return column(dropped, slot, axis)

        hidden, span = dataclasses.replace(forward, drop=drop).decode(
            forward.enter(
                thought, None if noise is None else column(noise, slot)
            ),
            column(positions, slot),
            Span(*own, mask & (ops.arange(slots) < slot), positions),
            slot,
            [Span(*earlier, question.mask, question.positions)],
            write=functools.partial(write, axis=2),
        )
        return hidden, (span.keys, span.values)

    def at_once(thoughts, earlier):
        hidden, span, _ = forward.read(
            forward.enter(thoughts, noise),
            positions,
            mask,
            [Span(*earlier, question.mask, question.positions)],
        )
        return hidden, (span.keys, span.values)

    earlier = question.keys, question.values
    hidden, (keys, values) = chain(
        one,
        at_once,
        first,
        tree.map_structure(lambda x: ops.zeros_like(x[:, :, :1]), earlier),
        earlier,
        times=ops.max(ops.sum(ops.cast(mask, "int32"), axis=1)),
        slots=slots,
        sealed=control.seal(forward.decoder.backbone, forward.drop is not keep),
    )
    return hidden, Span(keys, values, mask, positions)
