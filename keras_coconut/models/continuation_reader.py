"""Probabilities of many continuations of one question and its thoughts.

The question is read once, and the model thinks once. Every continuation then
attends to what both left, after as many of the thoughts as it asks for: a
thought does not depend on later ones.

C continuations of a question, R tokens of a continuation.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from keras_coconut.backbones import max_sequence_length
from keras_coconut.checks import shown
from keras_coconut.execution import varying_batches
from keras_coconut.latent import rollout
from keras_coconut.models.thought_reader import reader_of
from keras_coconut.text import batches
from keras_coconut.text.arrays import to_numpy
from keras_coconut.text.questions import plan_batches, shared_slots


class Continuation(NamedTuple):
    """Tokens that may follow a question and its thoughts.

    `token_ids` do not contain `<eot>`. The first `num_given` of them are given
    and not scored. `num_thoughts` is the number of thoughts before them.
    """

    token_ids: list[int]
    num_given: int
    num_thoughts: int


def read_continuations(
    model,
    question_ids: Sequence[list[int]],
    continuations: Sequence[Sequence[Continuation]],
    batch_size: int,
    thoughts: np.ndarray | None = None,
    on_batch: Callable[[int], object] | None = None,
) -> list[list[np.ndarray]]:
    """Returns the logarithms of the probabilities of continuations' tokens.

    Args:
        model: a `ContinuousThoughtLM`.
        question_ids: the token ids of each question, `<bot>` included and
            pauses not.
        continuations: the `Continuation`s of each question, at least one.
        batch_size: int. Number of questions in a batch.
        thoughts: float array (questions, K, D), read in place of the model's
            own. Optional.
        on_batch: function of the number of questions of each batch. Optional.

    Returns:
        For each question a list with a float32 array for each continuation,
        one number for each token after the given ones.
    """
    _check_lengths(model, question_ids, continuations)
    counts = [max(each.num_thoughts for each in own) for own in continuations]
    reader = reader_of(model, (), ContinuationReader)
    slots = None if thoughts is not None else shared_slots(model, counts)
    planned = plan_batches(question_ids, counts, batch_size, thoughts, slots)
    found: list = [None] * len(question_ids)
    most = _room(continuations)
    for rows, x in planned:
        model.check_data(x, keys=batches.QUESTION_KEYS)
        if model.thought_kind == "pause":
            x["pause_ids"] = np.full_like(
                x["thought_mask"], model.preprocessor.pause_id
            )
        filled = rows + rows[-1:] * (len(x["question_ids"]) - len(rows))
        own = [continuations[row] for row in filled]
        eot = model.preprocessor.end_of_thought_id
        x.update(_pack(own, eot, _shared_room(_room(own), most)))
        with model.one_at_a_time:
            scored = to_numpy(reader.predict_on_batch(x))
        for row, lines in zip(rows, scored):
            found[row] = [
                line[each.num_given : len(each.token_ids)].astype("float32")
                for line, each in zip(lines, continuations[row])
            ]
        if on_batch is not None:
            on_batch(len(rows))
    return found


def _check_lengths(model, question_ids, continuations) -> None:
    """Raises a `ValueError` if something does not fit the backbone."""
    longest = max_sequence_length(model.backbone)
    if longest is None:
        return
    # A response's last token is scored and never read; `<eot>` is read if the
    # model has markers.
    longest += not model.markers
    for row, (question, own) in enumerate(zip(question_ids, continuations)):
        length = len(question) + max(
            each.num_thoughts + len(each.token_ids) for each in own
        )
        if length > longest:
            raise ValueError(
                "question, thoughts and continuation must fit the backbone's "
                f"maximum length of {shown(longest)} positions. Received: row "
                f"{row} with {shown(length)}"
            )


def _room(continuations) -> tuple[int, int]:
    """Returns C and R for the continuations of some questions."""
    longest = max(len(each.token_ids) for own in continuations for each in own)
    # Few sizes, few programs.
    return _rounded(max(map(len, continuations))), _rounded(longest)


def _shared_room(own, most) -> tuple[int, int]:
    """Returns the most room, unless it costs much more than a program."""
    if keras.config.backend() == "torch":
        return own
    return most if math.prod(most) <= 2 * math.prod(own) else own


def _pack(continuations, eot, room) -> dict[str, np.ndarray]:
    """Packs the continuations of a batch into arrays (B, C, R)."""
    shape = len(continuations), *room
    read = np.zeros(shape, "int32")
    read[:, :, 0] = eot
    target, mask = np.zeros_like(read), np.zeros_like(read)
    counts = np.zeros(shape[:2], "int32")
    for row, own in enumerate(continuations):
        for index, each in enumerate(own):
            length = len(each.token_ids)
            read[row, index, 1:length] = each.token_ids[:-1]
            target[row, index, :length] = each.token_ids
            mask[row, index, :length] = 1
            counts[row, index] = each.num_thoughts
    return {
        "continuation_ids": read,
        "continuation_mask": mask,
        "target_ids": target,
        "thoughts_before": counts,
    }


def _rounded(size: int) -> int:
    """Returns a size rounded up: to a power of 2, or to a multiple of 8."""
    return -(-size // 8) * 8 if size > 8 else 2 ** (size - 1).bit_length()


class ContinuationReader(keras.Model):
    """Returns the logarithms of probabilities (B, C, R).

    It reads the question's and the thoughts' keys, and

    | key | shape | meaning |
    | --- | --- | --- |
    | continuation_ids, continuation_mask | (B, C, R) | what is read |
    | target_ids | (B, C, R) | the token that each position should predict |
    | thoughts_before | (B, C) | the number of thoughts before each |

    Args:
        latent_decoder: a `LatentDecoder`.
        layers: empty: no layer is watched.
    """

    def __init__(self, latent_decoder, layers=()):
        super().__init__()
        del layers
        self.latent_decoder = latent_decoder
        self.built = True

    def call(self, inputs):
        latent = self.latent_decoder
        forward = latent.passes()
        x = latent.convert(inputs, batches.QUESTION_KEYS)
        question = forward.decoder.embed(x["question_ids"])
        thoughts = rollout.think(forward, latent.method, question, x)
        # Continuations one after the other: the memory of the question is
        # shared and never copied.
        by_continuation = [
            ops.swapaxes(ops.cast(inputs[key], "int32"), 0, 1)
            for key in (
                "continuation_ids",
                "continuation_mask",
                "target_ids",
                "thoughts_before",
            )
        ]
        scored = ops.map(
            lambda own: _score(latent, forward, thoughts, *own),
            tuple(by_continuation),
        )
        return ops.swapaxes(scored, 0, 1)

    def make_predict_function(self, force=False):
        make = super().make_predict_function
        varying_batches.make_step(self, "predict_function", make, force)
        return self.predict_function


def _score(latent, forward, thoughts, ids, mask, targets, counts):
    """Returns (B, R) for one continuation of each row."""
    before = rollout.first_thoughts(thoughts, counts)
    if latent.markers:
        embedded = forward.decoder.embed(ids)
        hidden = rollout.respond(forward, before, embedded, mask)
    else:
        # The model reads only what follows `<eot>`.
        hidden = before.last
        if ids.shape[1] > 1:
            embedded = forward.decoder.embed(ids[:, 1:])
            read = rollout.respond(forward, before, embedded, mask[:, 1:])
            hidden = ops.concatenate([hidden, read], axis=1)
    logits = ops.cast(forward.decoder.logits(hidden), "float32")
    chances = ops.log_softmax(logits, axis=-1)
    return ops.take_along_axis(chances, targets[..., None], axis=-1)[..., 0]
