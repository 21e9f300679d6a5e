"""The call contract: a batch as question, thoughts and response, checked.

| key | shape | meaning |
| --- | --- | --- |
| question_ids, question_mask | (B, Q) int32 | left-padded, ends with bot |
| thought_mask | (B, K) int32 | 1 where the row thinks; idle slots last |
| response_ids, response_mask | (B, R) int32 | eot first, right-padded |

A batch may also hold `thoughts`, float (B, K, D), which are read in place of
the model's own, and `skipped_positions`, int32 (B,): how many positions after
the question stay empty, so that nothing attends there.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from keras_coconut.checks import check_count, refuse, shown
from keras_coconut.text.arrays import (
    is_integer,
    per_row_counts,
    shape_of,
    to_numpy,
)

QUESTION_KEYS: tuple[str, ...] = (
    "question_ids",
    "question_mask",
    "thought_mask",
)
KEYS: tuple[str, ...] = (*QUESTION_KEYS, "response_ids", "response_mask")


# More than any model reads: a mistyped length must not fill the memory.
_MOST_ROOM = 2**20


def pack_questions(
    questions: Sequence[Sequence[int]],
    num_thoughts: Sequence[int],
    question_length: int | None = None,
    slots: int | None = None,
) -> dict[str, np.ndarray]:
    """Packs token ids into the question's and the thoughts' keys.

    Args:
        questions: the token ids of each row, `<bot>` included.
        num_thoughts: the number of thoughts of each row.
        question_length: int. `Q`; with `None`, that of the longest question.
        slots: int. `K`; with `None`, the largest number of thoughts.
    """
    question_length = _room(
        "question_length", question_length, max(map(len, questions))
    )
    slots = _room("slots", slots, max(num_thoughts))
    ids = np.zeros((len(questions), question_length), "int32")
    mask = np.zeros_like(ids)
    for row, question in enumerate(questions):
        ids[row, question_length - len(question) :] = question
        mask[row, question_length - len(question) :] = 1
    thoughts = np.arange(slots)[None] < np.asarray(num_thoughts)[:, None]
    return {
        "question_ids": ids,
        "question_mask": mask,
        "thought_mask": thoughts.astype("int32"),
    }


def pack_responses(
    responses: Sequence[Sequence[int]], response_length: int | None = None
) -> dict[str, np.ndarray]:
    """Packs token ids, `<eot>` first, into the response's keys."""
    response_length = _room(
        "response_length", response_length, max(map(len, responses))
    )
    ids = np.zeros((len(responses), response_length), "int32")
    mask = np.zeros_like(ids)
    for row, response in enumerate(responses):
        ids[row, : len(response)] = response
        mask[row, : len(response)] = 1
    return {"response_ids": ids, "response_mask": mask}


def _room(name: str, length: int | None, needed: int) -> int:
    """Returns the length of a span, in which the longest row must fit."""
    if length is None:
        return needed
    return check_count(name, length, least=needed, most=_MOST_ROOM)


def check_keys(x, keys=KEYS) -> None:
    """Raises a `ValueError` unless `x` has the contract's keys and shapes.

    It checks structure and static shapes only, so it also runs while a compiled
    function is traced.
    """
    if not isinstance(x, Mapping) or not set(keys) <= set(x):
        got = shown(list(x)) if isinstance(x, Mapping) else type(x).__name__
        raise ValueError(
            f"`x` must be a dictionary with the keys {list(keys)}. "
            f"Received: {got}"
        )
    batch = None
    for key in keys:
        shape = shape_of(key, x[key])
        if len(shape) != 2:
            raise ValueError(
                f"`{key}` must have two dimensions, (batch, length). "
                f"Received: shape={shape}"
            )
        if shape[1] is None:
            raise ValueError(
                f"`{key}` must have a length that is known when the model is "
                "traced: each thought slot is one pass. "
                f"Received: shape={shape}"
            )
        dtype = getattr(x[key], "dtype", "int32")
        if not is_integer(dtype):
            raise ValueError(
                f"`{key}` must hold whole numbers. Received: dtype={dtype}"
            )
        batch = shape[0] if batch is None else batch
        if None not in (shape[0], batch) and shape[0] != batch:
            raise ValueError(
                f"`{key}` must have the batch size of `{keys[0]}`, {batch}. "
                f"Received: shape={shape}"
            )
        if key.endswith("_ids") and key[:-3] + "mask" in keys:
            mask_shape = shape_of(key[:-3] + "mask", x[key[:-3] + "mask"])
            if len(mask_shape) == 2 and any(
                None not in pair and pair[0] != pair[1]
                for pair in zip(shape, mask_shape)
            ):
                raise ValueError(
                    f"`{key[:-3]}mask` must have the shape of `{key}`, "
                    f"{shape}. Received: shape={mask_shape}"
                )
    if batch == 0:
        raise ValueError(
            f"`{keys[0]}` must hold at least one row. Received: batch size 0"
        )
    if shape_of("question_ids", x["question_ids"])[1] == 0:
        raise ValueError(
            "`question_ids` must hold at least the begin-of-thought token. "
            "Received: length 0"
        )


def check_thoughts(x, hidden_dim: int) -> None:
    """Raises a `ValueError` unless `x["thoughts"]` is (B, K, D)."""
    shape = shape_of("thoughts", x["thoughts"])
    expected = (*shape_of("thought_mask", x["thought_mask"]), hidden_dim)
    if len(shape) != 3 or any(
        None not in pair and pair[0] != pair[1] for pair in zip(shape, expected)
    ):
        raise ValueError(
            "`thoughts` must hold a vector for each slot of `thought_mask`, "
            f"{expected}. Received: shape={shape}"
        )


def check_values(
    x, vocabulary_size: int, max_sequence_length: int | None, keys=KEYS
) -> None:
    """Raises a `ValueError` for a batch that the model cannot read.

    Args:
        x: a mapping of the contract's keys to arrays or tensors.
        vocabulary_size: int. Token ids must lie below it.
        max_sequence_length: int, or `None`. The most real positions of a row.
        keys: the keys to check.
    """
    check_keys(x, keys)
    skipped = x.get("skipped_positions")
    if skipped is not None:
        rows = len(to_numpy(x[keys[0]]))
        if len(shape_of("skipped_positions", skipped)) != 1:
            raise refuse(
                "skipped_positions",
                f"a number for each of {rows} rows",
                skipped,
            )
        skipped = per_row_counts("skipped_positions", skipped, rows)
    x = {key: to_numpy(x[key]) for key in keys}
    for key, values in x.items():
        # A list of numbers shows its type only now.
        if not is_integer(values.dtype):
            raise ValueError(
                f"`{key}` must hold whole numbers. Received: "
                f"dtype={values.dtype}"
            )
        if key.endswith("_ids"):
            if values.size and not (
                0 <= values.min() and values.max() < vocabulary_size
            ):
                wrong = values[(values < 0) | (values >= vocabulary_size)][0]
                raise ValueError(
                    f"`{key}` must lie within the vocabulary, 0 to "
                    f"{vocabulary_size - 1}. Received: {wrong}"
                )
            continue
        known = (values == 0) | (values == 1)
        if not known.all():
            wrong = values[~known][0]
            raise ValueError(f"`{key}` must hold 0 and 1. Received: {wrong}")
        values = values.astype("int32")
        side, order = "first", np.diff(values, axis=1) <= 0
        if key == "question_mask":
            side, order = "last", np.diff(values, axis=1) >= 0
        if not order.all():
            row = int(np.argmax(~order.all(axis=1)))
            raise ValueError(
                f"`{key}` must have no holes: the ones of a row come {side}. "
                f"Received: row {row}, {shown(values[row].tolist())}"
            )
        if key != "thought_mask" and not values.any(axis=1).all():
            row = int(np.argmin(values.any(axis=1)))
            raise ValueError(
                f"`{key}` must show at least one token of each row. "
                f"Received: row {row} without any"
            )
    masks = [x[key].sum(axis=1) for key in keys if key.endswith("_mask")]
    lengths = np.sum(masks, axis=0)
    if skipped is not None:
        lengths = lengths + skipped
    if max_sequence_length is None:
        return
    if lengths.size and lengths.max() > max_sequence_length:
        row = int(np.argmax(lengths))
        raise ValueError(
            "question, thoughts and response of a row must fit the backbone's "
            f"maximum length of {max_sequence_length} positions. Received: "
            f"row {row} with {lengths[row]}"
        )
