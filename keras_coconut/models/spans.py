"""The call contract: a batch as question, thoughts and response, checked.

| key | shape | meaning |
| --- | --- | --- |
| question_ids, question_mask | (B, Q) int32 | left-padded, ends with bot |
| thought_mask | (B, K) int32 | 1 where the row thinks; idle slots last |
| response_ids, response_mask | (B, R) int32 | eot first, right-padded |
"""

from collections.abc import Mapping, Sequence

import numpy as np
from keras import ops

QUESTION_KEYS = ("question_ids", "question_mask", "thought_mask")
KEYS = (*QUESTION_KEYS, "response_ids", "response_mask")


def pack_questions(
    questions: Sequence[Sequence[int]],
    num_thoughts: Sequence[int],
    question_length: int | None = None,
    slots: int | None = None,
) -> dict[str, np.ndarray]:
    """Packs token ids into the question's and the thoughts' keys.

    Args:
        questions: the token ids of each row, `<bot>` included.
        num_thoughts: how often each row thinks.
        question_length: int. `Q`; the longest question if `None`.
        slots: int. `K`; the most thoughts of a row if `None`.
    """
    lengths = [len(question) for question in questions]
    question_length = question_length or max(lengths)
    slots = max(num_thoughts) if slots is None else slots
    for name, given, room in (
        ("question", max(lengths), question_length),
        ("thoughts", max(num_thoughts), slots),
    ):
        if given > room:
            raise ValueError(
                f"the {name} of a row must fit into {room} slots. Received a "
                f"row that needs {given}."
            )
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
    longest = max(len(response) for response in responses)
    response_length = response_length or longest
    if longest > response_length:
        raise ValueError(
            f"the response of a row must fit into {response_length} slots. "
            f"Received a row that needs {longest}."
        )
    ids = np.zeros((len(responses), response_length), "int32")
    mask = np.zeros_like(ids)
    for row, response in enumerate(responses):
        ids[row, : len(response)] = response
        mask[row, : len(response)] = 1
    return {"response_ids": ids, "response_mask": mask}


def targets(x):
    """Returns the labels (B, R) and loss weights (B, R) of a batch.

    Position `r` predicts `response_ids[:, r + 1]`; the last position predicts
    nothing and weighs nothing.
    """
    backend = np if isinstance(x["response_ids"], np.ndarray) else ops
    labels = backend.roll(x["response_ids"], -1, axis=1)
    weights = backend.roll(x["response_mask"], -1, axis=1)
    last = backend.arange(weights.shape[1]) < weights.shape[1] - 1
    if backend is np:
        return labels, (weights * last).astype("float32")
    weights = ops.cast(weights, "float32")
    return labels, weights * ops.cast(last, "float32")


def check_keys(x, keys=KEYS) -> None:
    """Raises a `ValueError` unless `x` has the contract's keys and shapes.

    Looks at structure and static shapes only, so it also runs while a compiled
    function is traced.
    """
    if not isinstance(x, Mapping) or not set(keys) <= set(x):
        got = sorted(x) if isinstance(x, Mapping) else type(x).__name__
        raise ValueError(
            f"`x` must be a dictionary with the keys {list(keys)}. "
            f"Received: {got}"
        )
    batch = None
    for key in keys:
        shape = _shape(x[key])
        if len(shape) != 2:
            raise ValueError(
                f"`{key}` must have two dimensions, (batch, length). "
                f"Received: shape={shape}"
            )
        if shape[1] is None:
            raise ValueError(
                f"`{key}` must have a length that is known when the model is "
                "traced: each slot of a thought is a pass of its own. "
                f"Received: shape={shape}"
            )
        batch = shape[0] if batch is None else batch
        if None not in (shape[0], batch) and shape[0] != batch:
            raise ValueError(
                f"`{key}` must have the batch size of `{keys[0]}`, {batch}. "
                f"Received: shape={shape}"
            )
        if key.endswith("_ids") and key[:-3] + "mask" in keys:
            mask_shape = _shape(x[key[:-3] + "mask"])
            if len(mask_shape) == 2 and any(
                None not in pair and pair[0] != pair[1]
                for pair in zip(shape, mask_shape)
            ):
                raise ValueError(
                    f"`{key[:-3]}mask` must have the shape of `{key}`, "
                    f"{shape}. Received: shape={mask_shape}"
                )
    if _shape(x["question_ids"])[1] == 0:
        raise ValueError(
            "`question_ids` must hold at least the begin-of-thought token. "
            "Received: length 0"
        )


def check_thoughts(x, hidden_dim: int) -> None:
    """Raises a `ValueError` unless `x["thoughts"]` is (B, K, D)."""
    shape = _shape(x["thoughts"])
    expected = (*_shape(x["thought_mask"]), hidden_dim)
    if len(shape) != 3 or any(
        None not in pair and pair[0] != pair[1] for pair in zip(shape, expected)
    ):
        raise ValueError(
            "`thoughts` must hold a vector for each slot of `thought_mask`, "
            f"{expected}. Received: shape={shape}"
        )


def _shape(values) -> tuple[int | None, ...]:
    return tuple(getattr(values, "shape", None) or np.shape(values))


def check_values(
    x, vocabulary_size: int, max_sequence_length: int, keys=KEYS
) -> None:
    """Raises a `ValueError` for a batch that the model cannot read.

    Args:
        x: a mapping of the contract's keys to arrays or tensors.
        vocabulary_size: int. Token ids must lie below it.
        max_sequence_length: int. The most real positions of a row.
        keys: the keys to check.
    """
    check_keys(x, keys)
    x = {key: to_numpy(x[key]) for key in keys}
    for key, values in x.items():
        if not np.issubdtype(values.dtype, np.integer) and not np.issubdtype(
            values.dtype, np.bool_
        ):
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
        if values.size and not np.isin(values, (0, 1)).all():
            wrong = values[~np.isin(values, (0, 1))][0]
            raise ValueError(f"`{key}` must hold 0 and 1. Received: {wrong}")
        values = values.astype("int32")
        side, order = "first", np.diff(values, axis=1) <= 0
        if key == "question_mask":
            side, order = "last", np.diff(values, axis=1) >= 0
        if not order.all():
            row = int(np.argmax(~order.all(axis=1)))
            raise ValueError(
                f"`{key}` must have no holes: the ones of a row come {side}. "
                f"Received: row {row}, {values[row].tolist()}"
            )
        if key != "thought_mask" and not values.any(axis=1).all():
            row = int(np.argmin(values.any(axis=1)))
            raise ValueError(
                f"`{key}` must show at least one token of each row. "
                f"Received: row {row} without any"
            )
    masks = [x[key].sum(axis=1) for key in keys if key.endswith("_mask")]
    lengths = np.sum(masks, axis=0)
    if lengths.size and lengths.max() > max_sequence_length:
        row = int(np.argmax(lengths))
        raise ValueError(
            "question, thoughts and response of a row must fit the backbone's "
            f"maximum length of {max_sequence_length} positions. Received: "
            f"row {row} with {lengths[row]}"
        )


def to_numpy(values) -> np.ndarray:
    """Returns a NumPy array from an array, a list or a backend's tensor."""
    if ops.is_tensor(values):
        values = ops.convert_to_numpy(values)
    return np.asarray(values)


def per_row_counts(name: str, counts, rows: int) -> list[int]:
    """Returns one count for each row from one number or one per row."""
    array = np.asarray(counts)
    if array.ndim == 0:
        array = np.full(rows, array)
    if array.shape != (rows,):
        raise ValueError(
            f"`{name}` must be one number, or one for each of the {rows} rows. "
            f"Received: {name}={counts!r}"
        )
    if not np.issubdtype(array.dtype, np.integer) or (array < 0).any():
        raise ValueError(
            f"`{name}` must be whole numbers of at least 0. "
            f"Received: {name}={counts!r}"
        )
    return array.tolist()
