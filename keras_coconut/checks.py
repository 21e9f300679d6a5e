"""Checks of arguments. Errors name the argument, what is expected and received.

Every check returns the value in the type that the caller works with, so that
NumPy numbers and flags do not end up in JSON files or configs.
"""

import importlib.util
import math
import numbers
import operator
import os
import reprlib
from collections.abc import Sequence
from typing import Any, Literal

PathLike = str | os.PathLike[str]
# What shows progress: `"auto"`, 0, 1 or 2.
Verbose = int | Literal["auto"]

# Characters of a value in a message: enough to recognize it.
_SHOWN = 120


class _Repr(reprlib.Repr):
    """Shortens values, and shows those that `repr` refuses."""

    def repr_int(self, value, level):
        # Python raises for the digits of such a number, with no name in it.
        if value.bit_length() > 4 * _SHOWN:
            return f"<a whole number of {value.bit_length()} bits>"
        return super().repr_int(value, level)


_repr = _Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = _SHOWN
_repr.maxlevel = 3


def shown(value) -> str:
    """Returns `repr(value)`, shortened to fit a message."""
    text = _repr.repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def refuse(name: str, expected: str, value) -> ValueError:
    """Returns the error for an argument that is not what was expected.

    Example:
    ```python
    refuse("batch_size", "a whole number of at least 1", 0)
    ```
    """
    return ValueError(
        f"`{name}` must be {expected}. Received: {name}={shown(value)}"
    )


def check_count(
    name: str, value, least: int = 0, most: int | None = None
) -> int:
    """Returns a whole number; raises a `ValueError` for anything else."""
    expected = f"a whole number of at least {shown(least)}"
    if most is not None:
        expected = f"a whole number from {shown(least)} to {shown(most)}"
    if is_flag(value):
        raise refuse(name, expected, value)
    try:
        count = operator.index(value)
    except TypeError:
        raise refuse(name, expected, value) from None
    if count < least or (most is not None and count > most):
        raise refuse(name, expected, value)
    return count


def check_number(
    name: str,
    value,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
) -> float:
    """Returns a finite number within bounds, else raises a `ValueError`."""
    bounds = [
        f"{word} {bound}"
        for word, bound in (
            ("above", above),
            ("at least", least),
            ("at most", most),
        )
        if bound is not None
    ]
    expected = " ".join(["a finite number", " and ".join(bounds)]).strip()
    if is_flag(value) or not isinstance(value, numbers.Real):
        raise refuse(name, expected, value)
    try:
        number = float(value)
    except OverflowError:
        raise refuse(name, expected, value) from None
    if (
        not math.isfinite(number)
        or (above is not None and number <= above)
        or (least is not None and number < least)
        or (most is not None and number > most)
    ):
        raise refuse(name, expected, value)
    return number


def check_flag(name: str, value) -> bool:
    """Returns `True` or `False`; raises a `ValueError` for anything else."""
    if not is_flag(value):
        raise refuse(name, "`True` or `False`", value)
    return bool(value)


def check_choice(name: str, value, choices: Sequence):
    """Returns `value` if it is a choice, else raises a `ValueError`."""
    if not isinstance(value, str) or value not in choices:
        raise refuse(name, f"one of {list(choices)}", value)
    return str(value)


def check_string(name: str, value, empty: bool = True) -> str:
    """Returns a string; raises a `ValueError` for anything else.

    Args:
        name: string. The argument's name.
        value: the value received.
        empty: bool. Whether the string may be empty. Defaults to `True`.
    """
    if not isinstance(value, str) or not (empty or value):
        expected = "a string" if empty else "a string that is not empty"
        raise refuse(name, expected, value)
    return str(value)


def check_text(name: str, value, expected: str = "a string") -> str:
    """Returns a plain string that UTF-8 can hold.

    JSON can hold half of a surrogate pair, which can be read but not written.

    Args:
        name: string. The argument's name.
        value: the value received.
        expected: string. What should have come. Defaults to `"a string"`.

    Raises:
        ValueError: If the value is not a string, or holds half a surrogate
            pair.

    Example:
    ```python
    check_text("question", "1 + 2?")
    ```
    """
    if not isinstance(value, str):
        if isinstance(value, bytes):
            expected += ", as `.decode()` makes one of bytes"
        raise refuse(name, expected, value)
    # The plain string also of NumPy's strings and of an `enum`'s.
    text = str.__str__(value)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"`{name}` must not hold half a surrogate pair, which no file in "
            f"UTF-8 can hold. Received: {text[error.start]!a} at position "
            f"{error.start} of {name}={shown(text)}"
        ) from None
    return text


def check_path(name: str, value) -> str:
    """Returns a path as a string; raises a `ValueError` for anything else."""
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        raise refuse(name, "a path, as a string or path-like", value)
    path = os.fspath(value)
    if not isinstance(path, str) or "\0" in path:
        raise refuse(name, "a path, as a string or path-like", value)
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        # Half of a surrogate pair.
        raise refuse(name, "a path that the system can hold", value) from None
    return path


def check_instance(
    name: str, value, kind: type | tuple[type, ...], expected: str
) -> Any:
    """Returns `value` if it is of a kind, else raises a `ValueError`.

    Args:
        name: string. The argument's name.
        value: the value received.
        kind: the class, or a tuple of classes.
        expected: string, the class as a user knows it, with its article.
    """
    if not isinstance(value, kind):
        raise ValueError(
            f"`{name}` must be {expected}. Received: {name}={shown(value)} "
            f"of type {type(value).__name__}"
        )
    return value


def check_verbose(value) -> int:
    """Returns 0 or 1 for what Keras takes as `verbose`; `"auto"` is 1."""
    if isinstance(value, str) and value == "auto":
        return 1
    if is_flag(value):
        return int(value)
    try:
        return check_count("verbose", value, most=2)
    except ValueError:
        raise refuse("verbose", '"auto", 0, 1 or 2', value) from None


def check_installed(function: str, *packages: str) -> None:
    """Raises an `ImportError` for the first package that is missing.

    Args:
        function: string, the name of the function that needs them.
        *packages: strings.
    """
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise ImportError(
                f"`{function}` needs {package}, which `pip install {package}` "
                "installs"
            )


def is_flag(value) -> bool:
    """Whether a value is a `bool`, Python's or NumPy's."""
    # NumPy's is no subclass of Python's, and no array of one.
    return isinstance(value, bool) or type(value).__name__ in ("bool_", "bool")
