"""What a user gives, as arrays and lists of a known kind."""

from collections.abc import Mapping

import numpy as np
from keras import ops

from keras_coconut.checks import check_count, check_text, refuse
from keras_coconut.curriculum import MOST_COUNT


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
