"""One pass from question to response: read, think, read."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from keras import ops

from keras_coconut.latent.attention import Span
from keras_coconut.latent.forward import Forward, Watched


class LatentMethod(Protocol):
    """How a model thinks: `coconut.think`, or a function like it."""

    def __call__(
        self, forward: Forward, first, question: Span, mask, positions
    ) -> tuple[Any, Span]: ...


class Thoughts(NamedTuple):
    """What a model has in mind when it starts to respond.

    `thoughts` is (B, K, D), the inputs of the slots. `memory` holds the spans
    of question and thoughts, `length` (B,) the real positions of a row so far,
    `last` (B, 1, D) the hidden state at the last of them, and `watched` the
    `Watched` at the thoughts, by layer.
    """

    thoughts: Any
    memory: list[Span]
    length: Any
    last: Any
    watched: dict[int, Watched]


def think(
    forward: Forward,
    method: LatentMethod,
    question,
    x: Mapping,
    watch: tuple[int, ...] = (),
) -> Thoughts:
    """Reads a question and thinks.

    Args:
        forward: a `Forward`.
        method: a `LatentMethod`.
        question: float tensor (B, Q, D), the embeddings of the question.
        x: the question's and the thoughts' keys of the call contract. With
            `thoughts`, (B, K, D), these are read and not computed.
        watch: tuple of ints, the layers whose `Watched` is wanted.
    """
    mask = x["question_mask"]
    first, span, _ = forward.read(
        question, positions_of(mask), ops.cast(mask, "bool"), last_only=True
    )
    length = ops.sum(mask, axis=1)
    mask = x["thought_mask"]
    if mask.shape[1] == 0:
        return Thoughts(first[:, :0], [span], length, first, {})
    counts = ops.sum(mask, axis=1)
    # An idle slot repeats the last position.
    slots = ops.cast(mask, "bool"), positions_of(mask, length)
    thoughts, watched = x.get("thoughts"), {}
    if thoughts is None:
        hidden, own = method(forward, first, span, *slots)
        thoughts = ops.concatenate([first, hidden[:, :-1]], axis=1)
    if "thoughts" in x or watch:
        hidden, own, watched = forward.read(
            forward.decoder.enter(thoughts),
            *reversed(slots),
            [span],
            watch=watch,
        )
    # A row's last hidden state stands in slot `counts`, the question's in 0.
    hidden = ops.concatenate([first, hidden], axis=1)
    is_last = ops.equal(ops.arange(hidden.shape[1]), counts[:, None])
    last = ops.sum(
        ops.where(is_last[..., None], hidden, 0), axis=1, keepdims=True
    )
    return Thoughts(thoughts, [span, own], length + counts, last, watched)


def respond(forward: Forward, thoughts: Thoughts, response, mask):
    """Reads a response after the thoughts.

    Args:
        forward: a `Forward`.
        thoughts: what `think` returned.
        response: float tensor (B, R, D), the embeddings of the response.
        mask: int tensor (B, R).

    Returns:
        The hidden states (B, R, D).
    """
    hidden, *_ = forward.read(
        response,
        positions_of(mask, thoughts.length),
        ops.cast(mask, "bool"),
        thoughts.memory,
    )
    return hidden


def positions_of(mask, start=None):
    """Returns the positions (B, L) of a span, padding at the one before.

    Args:
        mask: int tensor (B, L), 1 where a position is real.
        start: int tensor (B,), the real positions before the span.
    """
    positions = ops.cumsum(mask, axis=1) - 1
    if start is not None:
        positions = positions + start[:, None]
    return ops.maximum(positions, 0)
