"""Converts a user's data to arrays and lists of a known kind."""

from collections.abc import Mapping, Sequence

import numpy as np
from keras import ops

from keras_coconut.checks import check_count, check_text, refuse
from keras_coconut.curriculum import MOST_COUNT

# A number for all rows, or one for each.
Counts = int | Sequence[int] | np.ndarray


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


def to_array(name: str, values) -> np.ndarray:
    """Returns an array; raises a `ValueError` for rows of several lengths."""
    try:
        return to_numpy(values)
    except (TypeError, ValueError):
        raise refuse(name, "an array", values) from None


def shape_of(name: str, values) -> tuple[int | None, ...]:
    shape = getattr(values, "shape", None)
    return tuple(to_array(name, values).shape if shape is None else shape)


def is_integer(dtype) -> bool:
    """Whether a dtype of NumPy or of a backend holds whole numbers."""
    # PyTorch's names begin with its own.
    name = str(getattr(dtype, "name", dtype)).removeprefix("torch.")
    return name.startswith(("int", "uint", "bool"))


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
    """Returns data with the lists in a dictionary as integer arrays."""
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


def is_one_text(texts) -> bool:
    """Whether texts are one string, and not a list of them."""
    shape = getattr(texts, "shape", None)
    return isinstance(texts, str | bytes) or (
        shape is not None and len(shape) == 0
    )


def check_questions(name: str, questions) -> list[str]:
    """Returns questions as a list of strings, or raises a `ValueError`.

    Args:
        name: string. The argument's name, for errors.
        questions: a string, or a list, array, tensor, column or
            `tf.data.Dataset` of strings, or of bytes in UTF-8.
    """
    texts = _texts_of(name, questions)
    if texts is None:
        raise refuse(name, "a string or a list of strings", questions)
    if not texts:
        raise refuse(name, "at least one string", questions)
    checked = []
    for index, text in enumerate(texts):
        if isinstance(text, bytes):
            try:
                text = text.decode()
            except UnicodeDecodeError:
                raise refuse(
                    f"{name}[{index}]", "text in UTF-8", text
                ) from None
        checked.append(check_text(f"{name}[{index}]", text))
        if not text.strip():
            raise refuse(f"{name}[{index}]", "a text that is not blank", text)
    return checked


def _texts_of(name, values) -> list | None:
    """Returns the texts in what may hold some; `None` if it cannot."""
    if isinstance(values, str | bytes):
        return [values]
    if isinstance(values, Sequence):
        # A tensor of one string, too.
        return [
            each
            if isinstance(each, str | bytes) or not is_one_text(each)
            else to_array(name, each).item()
            for each in values
        ]
    if hasattr(values, "as_numpy_iterator"):
        found: list = []
        for element in values.as_numpy_iterator():
            texts = _texts_of(name, element)
            if texts is None:
                return None
            found += texts
        return found
    if getattr(values, "shape", None) is None:
        return None
    array = to_array(name, values)
    return array.reshape(-1).tolist() if array.ndim < 2 else None


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
