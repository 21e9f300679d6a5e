"""Checks and converts the values of a problem to plain Python values.

NumPy and pandas values are recognized by their methods, so neither package
needs to be installed.
"""

import numbers
from collections.abc import Mapping, Sequence
from typing import Any

from keras_coconut.checks import check_text, is_flag, refuse, shown

# JSON's reader and writer give up at about nine hundred.
_MOST_NESTED = 100


def check_steps(value) -> tuple[str, ...]:
    """Returns the steps of a problem as a tuple of strings.

    Args:
        value: sequence, NumPy array or pandas Series of strings.

    Raises:
        ValueError: If the value is anything else.

    Example:
    ```python
    check_steps(["1 + 2 = 3"])
    ```
    """
    steps = value
    if not isinstance(steps, Sequence) and hasattr(steps, "tolist"):
        steps = steps.tolist()
    if isinstance(steps, str | bytes) or not isinstance(steps, Sequence):
        raise refuse("steps", "a list of strings", value)
    return tuple(
        check_text(f"steps[{index}]", step, "a string (`str(step)` makes one)")
        for index, step in enumerate(steps)
    )


def check_answer(value) -> str:
    """Returns the answer to a problem as a string.

    Args:
        value: string, or a whole number, of which the digits are the answer.

    Raises:
        ValueError: If the value is anything else: the caller must decide how to
            write 0.5 or a missing value.

    Example:
    ```python
    check_answer(3)  # "3"
    ```
    """
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        value = value.item()  # Of an array or a tensor.
    if isinstance(value, numbers.Integral) and not is_flag(value):
        try:
            return str(int(value))
        except ValueError:
            # More digits than Python is willing to write.
            raise refuse("answer", "a string or a number", value) from None
    return check_text(
        "answer",
        value,
        "a string or a whole number (`str(answer)` makes a string)",
    )


def check_extra(value, reserved: Sequence[str] = ()) -> dict[str, Any]:
    """Returns a copy of a mapping, with plain values where possible.

    Dictionaries, lists, tuples, arrays and their numbers and strings become the
    values that JSON reads back. Other values, such as dates and missing
    numbers, are kept: a problem that cannot be written can still be trained on.

    Args:
        value: mapping.
        reserved: sequence of strings. Keys that it must not hold.

    Raises:
        ValueError: If a key is not a string or is reserved, if a string holds
            half a surrogate pair, or if the mapping is nested too deep.

    Example:
    ```python
    check_extra({"edges": ((0, 1), (1, 2))})  # {"edges": [[0, 1], [1, 2]]}
    ```
    """
    if not isinstance(value, Mapping):
        raise refuse("extra", "a mapping with strings as keys", value)
    for key in reserved:
        if key in value:
            raise ValueError(
                f"`extra` must not hold the keys {list(reserved)}, which are "
                f"separate arguments. Received: extra[{key!r}]="
                f"{shown(value[key])}"
            )
    return _plain("extra", value, 0)


def copied(value):
    """Returns a value with copies of the dictionaries and lists in it.

    Example:
    ```python
    copied({"edges": [[0, 1], [1, 2]]})
    ```
    """
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copied(item) for item in value]
    return value


def _plain(name: str, value, depth: int):
    if value is None or is_flag(value):
        return value if value is None else bool(value)
    if isinstance(value, str):
        return check_text(name, value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if depth > _MOST_NESTED:
        raise ValueError(
            f"`extra` must be nested at most {_MOST_NESTED} deep. Received "
            "more than that"
        )
    if isinstance(value, Mapping):
        return {
            _key(name, key): _plain(name, item, depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_plain(name, item, depth + 1) for item in value]
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    # Dates in nanoseconds would become whole numbers.
    if hasattr(value, "tolist") and kind not in ("m", "M"):
        # NumPy's arrays and numbers, and columns of pandas.
        plain = value.tolist()
        if type(plain) is not type(value):
            return _plain(name, plain, depth + 1)
    return value


def _key(name: str, key) -> str:
    return check_text(f"the keys of {name}", key)
