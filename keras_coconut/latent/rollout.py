"""One pass from question to response: read, think, read."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from keras import ops

from keras_coconut.latent.attention import Span
from keras_coconut.latent.forward import Forward, Watched, perturbed


class LatentMethod(Protocol):
    """How a model thinks: `coconut.think`, or a function like it."""

    def __call__(
        self,
        forward: Forward,
        first,
        question: Span,
        mask,
        positions,
        noise=None,
    ) -> tuple[Any, Span]: ...


class Thoughts(NamedTuple):
    """The state of a model when it starts to respond.

    `thoughts` is (B, K, D), the inputs of the slots, or the states before them
    where they hold pauses. `memory` holds the spans of question and thoughts,
    `length` (B,) the real positions of a row so far, and `last` (B, 1, D) the
    hidden state at the last of them. `asked` holds the `Watched` at the
    question's last token, by layer, and `watched` those at the thoughts.
    `hidden` is (B, 1 + K, D), the hidden states at the question's last token
    and at the thoughts.
    """

    thoughts: Any
    memory: list[Span]
    length: Any
    last: Any
    asked: dict[int, Watched]
    watched: dict[int, Watched]
    hidden: Any


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
            `thoughts`, (B, K, D), these are read and not computed; with
            `pause_ids`, (B, K), tokens are read in the slots instead; with
            `thought_noise`, (B, K, D), it is added to the thoughts that are
            computed, see `perturbed`. With `skipped_positions`, (B,), that
            many positions after the question stay empty.
        watch: tuple of ints, the layers whose `Watched` is wanted.
    """
    mask = x["question_mask"]
    first, span, asked = forward.read(
        question,
        positions_of(mask),
        ops.cast(mask, "bool"),
        last_only=True,
        watch=watch,
    )
    length = ops.sum(mask, axis=1)
    if "skipped_positions" in x:
        length = length + x["skipped_positions"]
    mask = x["thought_mask"]
    if mask.shape[1] == 0:
        nothing = {
            number: Watched(seen.hidden[:, :0], seen.attention[:, :, :0])
            for number, seen in asked.items()
        }
        none = first[:, :0]
        return Thoughts(none, [span], length, first, asked, nothing, first)
    counts = ops.sum(mask, axis=1)
    # An idle slot repeats the last position.
    slots, positions = ops.cast(mask, "bool"), positions_of(mask, length)
    thoughts, pauses, watched = x.get("thoughts"), x.get("pause_ids"), {}
    if pauses is not None:
        hidden, own, watched = forward.read(
            forward.decoder.embed(pauses),
            positions,
            slots,
            [span],
            watch=watch,
        )
        thoughts = ops.concatenate([first, hidden[:, :-1]], axis=1)
    elif thoughts is None:
        noise = x.get("thought_noise")
        hidden, own = method(forward, first, span, slots, positions, noise)
        thoughts = ops.concatenate([first, hidden[:, :-1]], axis=1)
        thoughts = perturbed(thoughts, noise)
    if pauses is None and ("thoughts" in x or watch):
        hidden, own, watched = forward.read(
            forward.decoder.enter(thoughts),
            positions,
            slots,
            [span],
            watch=watch,
        )
    # A row's last hidden state is in slot `counts`, the question's in slot 0.
    hidden = ops.concatenate([first, hidden], axis=1)
    last = _at(hidden, counts)
    length = length + counts
    memory = [span, own]
    return Thoughts(thoughts, memory, length, last, asked, watched, hidden)


def first_thoughts(thoughts: Thoughts, counts) -> Thoughts:
    """Returns the state of a model that has thought less often.

    No thought depends on a later one.

    Args:
        thoughts: what `think` returned.
        counts: int tensor (B,), how many thoughts of each row are left.
    """
    question, *own = thoughts.memory
    length, memory = thoughts.length, [question]
    for span in own:
        slots = ops.arange(span.mask.shape[1])
        mask = ops.logical_and(span.mask, slots < counts[:, None])
        fewer = ops.sum(ops.cast(span.mask, "int32"), axis=1)
        fewer = fewer - ops.sum(ops.cast(mask, "int32"), axis=1)
        length = length - fewer
        memory.append(span._replace(mask=mask))
    return thoughts._replace(
        memory=memory, length=length, last=_at(thoughts.hidden, counts)
    )


def _at(hidden, slots):
    """Returns (B, 1, D), the hidden state (B, L, D) in one slot of a row."""
    chosen = ops.equal(ops.arange(hidden.shape[1]), slots[:, None])
    return ops.sum(
        ops.where(chosen[..., None], hidden, 0), axis=1, keepdims=True
    )


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
