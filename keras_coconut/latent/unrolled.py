"""Thoughts one after the other, without a loop in the program.

The computation of `coconut.think`, written out slot by slot. The program grows
with the number of thoughts, but it can be exported to file formats, and
functions can intercept its layers.
"""

from keras import ops

from keras_coconut.latent.attention import Span
from keras_coconut.latent.forward import Forward


def think(forward: Forward, first, question: Span, mask, positions, noise=None):
    """Thinks slot by slot; see `coconut.think`.

    Args:
        forward, first, question, mask, positions, noise: see `coconut.think`.
    """
    thought, hidden, spans = first, [], []
    for slot in range(mask.shape[1]):
        added = None if noise is None else noise[:, slot : slot + 1]
        thought, span, _ = forward.read(
            forward.enter(thought, added),
            positions[:, slot : slot + 1],
            mask[:, slot : slot + 1],
            [question, *spans],
        )
        hidden.append(thought)
        spans.append(span)
    return ops.concatenate(hidden, axis=1), _joined(spans)


def _joined(spans: list[Span]) -> Span:
    """Returns one span of several that follow each other."""

    def join(tensors, axis):
        return ops.concatenate(tensors, axis=axis)

    return Span(
        tuple(join(layer, 2) for layer in zip(*(s.keys for s in spans))),
        tuple(join(layer, 2) for layer in zip(*(s.values for s in spans))),
        join([span.mask for span in spans], 1),
        join([span.positions for span in spans], 1),
    )
