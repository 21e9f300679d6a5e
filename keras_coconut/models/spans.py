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

from keras_coconut.checks import check_count, check_text, refuse, shown
from keras_coconut.curriculum import MOST_COUNT

QUESTION_KEYS = ("question_ids", "question_mask", "thought_mask")
KEYS = (*QUESTION_KEYS, "response_ids", "response_mask")
# The label where no loss is taken, as in the published code.
_NO_LABEL = -100


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
        num_thoughts: how often each row thinks.
        question_length: int. `Q`; the longest question if `None`.
        slots: int. `K`; the most thoughts of a row if `None`.
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
    """Returns a span's length, in which the longest row has room."""
    if length is None:
        return needed
    return check_count(name, length, least=needed, most=_MOST_ROOM)


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


def complete_targets(x, y, sample_weight):
    """Returns labels (B, R) and loss weights (B, R), given or of the batch.

    Args:
        x: the batch.
        y: int tensor (B, R), -100 where no loss is taken; or `None`.
        sample_weight: float tensor (B, R); or (B,) or (B, 1), a factor for
            each row of the batch's own weights; or `None`.
    """
    labels, weights = targets(x)
    if sample_weight is not None:
        rank = len(sample_weight.shape)
        if rank == 1:
            sample_weight = ops.expand_dims(sample_weight, 1)
        sample_weight = ops.cast(sample_weight, "float32")
        by_row = rank == 1 or sample_weight.shape[1] == 1
        weights = weights * sample_weight if by_row else sample_weight
    if y is not None:
        known = ops.not_equal(y, _NO_LABEL)
        labels = ops.where(known, y, 0)
        weights = weights * ops.cast(known, "float32")
    return labels, weights


def check_targets(x, y, sample_weight, vocabulary_size: int) -> None:
    """Raises a `ValueError` for labels or weights that do not fit a batch."""
    if y is None and sample_weight is None:
        return
    shape = _shape("response_ids", x["response_ids"])
    if y is not None:
        y = _to_array("y", y)
        if y.shape != shape:
            raise ValueError(
                f"`y` must hold a label for each position, {shape}. Received: "
                f"shape={y.shape}"
            )
        if not np.issubdtype(y.dtype, np.integer):
            raise ValueError(
                f"`y` must hold whole numbers. Received: dtype={y.dtype}"
            )
        wrong = y[(y != _NO_LABEL) & ((y < 0) | (y >= vocabulary_size))]
        if wrong.size:
            raise ValueError(
                "`y` must lie within the vocabulary, 0 to "
                f"{vocabulary_size - 1}, or be {_NO_LABEL} where no loss is "
                f"taken. Received: {wrong[0]}"
            )
    if sample_weight is not None:
        weights = _to_array("sample_weight", sample_weight)
        if weights.shape not in (shape, shape[:1], (shape[0], 1)):
            raise ValueError(
                "`sample_weight` must hold a number for each row, "
                f"{shape[:1]}, or for each position, {shape}. Received: "
                f"shape={weights.shape}"
            )
        finite = np.zeros(weights.shape, "bool")
        # Also bfloat16, which is no type of NumPy's own.
        if weights.dtype.kind in "biufV":
            with np.errstate(over="ignore"):
                finite = np.isfinite(weights.astype("float32"))
        if not finite.all():
            raise ValueError(
                "`sample_weight` must hold finite numbers. Received: "
                f"{shown(weights[~finite][0])}"
            )


def check_keys(x, keys=KEYS) -> None:
    """Raises a `ValueError` unless `x` has the contract's keys and shapes.

    Looks at structure and static shapes only, so it also runs while a compiled
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
        shape = _shape(key, x[key])
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
            mask_shape = _shape(key[:-3] + "mask", x[key[:-3] + "mask"])
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
    if _shape("question_ids", x["question_ids"])[1] == 0:
        raise ValueError(
            "`question_ids` must hold at least the begin-of-thought token. "
            "Received: length 0"
        )


def check_thoughts(x, hidden_dim: int) -> None:
    """Raises a `ValueError` unless `x["thoughts"]` is (B, K, D)."""
    shape = _shape("thoughts", x["thoughts"])
    expected = (*_shape("thought_mask", x["thought_mask"]), hidden_dim)
    if len(shape) != 3 or any(
        None not in pair and pair[0] != pair[1] for pair in zip(shape, expected)
    ):
        raise ValueError(
            "`thoughts` must hold a vector for each slot of `thought_mask`, "
            f"{expected}. Received: shape={shape}"
        )


def is_integer(dtype) -> bool:
    """Whether a dtype of NumPy or of a backend holds whole numbers."""
    # PyTorch's names begin with its own.
    name = str(getattr(dtype, "name", dtype)).removeprefix("torch.")
    return name.startswith(("int", "uint", "bool"))


def _shape(name: str, values) -> tuple[int | None, ...]:
    shape = getattr(values, "shape", None)
    return tuple(_to_array(name, values).shape if shape is None else shape)


def _to_array(name: str, values) -> np.ndarray:
    """Returns an array; raises a `ValueError` for rows of several lengths."""
    try:
        return to_numpy(values)
    except (TypeError, ValueError):
        raise refuse(name, "an array", values) from None


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
    if lengths.size and lengths.max() > max_sequence_length:
        row = int(np.argmax(lengths))
        raise ValueError(
            "question, thoughts and response of a row must fit the backbone's "
            f"maximum length of {max_sequence_length} positions. Received: "
            f"row {row} with {lengths[row]}"
        )


def to_numpy(values) -> np.ndarray:
    """Returns a NumPy array from an array, a list or any backend's tensor."""
    if hasattr(values, "detach"):
        # A DataLoader gives PyTorch's on every backend.
        values = values.detach().cpu()
        # NumPy has no bfloat16 of its own.
        return (
            values.float() if values.is_floating_point() else values
        ).numpy()
    if ops.is_tensor(values):
        values = ops.convert_to_numpy(values)
    return np.asarray(values)


def finite_numbers(name: str, values) -> np.ndarray:
    """Returns an array of finite numbers, else raises a `ValueError`."""
    expected = "an array of finite numbers"
    try:
        array = to_numpy(values)
        # bfloat16 is no type of NumPy's own.
        if array.dtype.kind == "V":
            array = array.astype("float32")
    except (TypeError, ValueError):
        raise refuse(name, expected, values) from None
    if array.dtype.kind not in "fiu":
        raise refuse(name, expected, values)
    # A model computes with no more than 32 bits.
    with np.errstate(over="ignore"):
        finite = np.isfinite(array.astype("float32"))
    if not finite.all():
        where = tuple(np.argwhere(~finite)[0].tolist())
        raise ValueError(
            f"`{name}` must be {expected}. Received: {array[where]} at {where}"
        )
    return array


def with_arrays(x):
    """Returns what `fit` takes, lists in a dictionary as integer arrays.

    Keras takes lists for something else, and repeats them in its error.
    """
    if not isinstance(x, Mapping):
        return x
    arrays = {}
    for key, values in x.items():
        if isinstance(values, list | tuple):
            try:
                values = np.asarray(values)
            except ValueError:
                raise refuse(key, "rows of one length", values) from None
            if not values.size and key != "thoughts":
                values = values.astype("int32")
        arrays[key] = values
    return arrays


def check_questions(name: str, questions) -> list[str]:
    """Returns questions as a list of strings, or raises a `ValueError`."""
    texts = [questions] if isinstance(questions, str) else questions
    if not isinstance(texts, list | tuple | np.ndarray) or (
        isinstance(texts, np.ndarray) and texts.ndim != 1
    ):
        raise refuse(name, "a string or a list of strings", questions)
    if not len(texts):
        raise refuse(name, "at least one string", questions)
    checked = []
    for index, text in enumerate(texts):
        checked.append(check_text(f"{name}[{index}]", text))
        if not text.strip():
            raise refuse(f"{name}[{index}]", "a text that is not blank", text)
    return checked


def per_row_counts(
    name: str, counts, rows: int, most: int = MOST_COUNT
) -> list[int]:
    """Returns one count for each row from one number or one per row."""
    expected = (
        f"a whole number of at least 0, or one for each of the {rows} rows"
    )
    try:
        array = to_numpy(counts)
    except (TypeError, ValueError):  # Of rows of several lengths.
        raise refuse(name, expected, counts) from None
    if array.ndim == 0:
        return [check_count(name, array.item(), most=most)] * rows
    if (
        array.shape != (rows,)
        or not np.issubdtype(array.dtype, np.integer)
        or (array < 0).any()
    ):
        raise refuse(name, expected, counts)
    return [
        check_count(f"{name}[{row}]", count, most=most)
        for row, count in enumerate(array.tolist())
    ]
