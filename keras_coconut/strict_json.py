"""JSON that comes back as it was written: lists, lines, and what they refuse.

Python's `json` reads more than the format has, `NaN` for example, drops all but
the last of equal keys, and its errors for deep nesting and long numbers name no
file. Here every entry is read by itself, so that an error can name it.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from keras_coconut.checks import shown
from keras_coconut.files import shown_path

# JSON's own white space, which is less than Python's.
_SPACE = re.compile(r"[ \t\r\n]*")


def read_entries(path: str, text: str) -> Iterator[tuple[int, Any]]:
    """Yields the entries of a JSON list, or of JSON lines, with their numbers.

    Which of the two a text is shows in its first character.

    Args:
        path: string. The file that the text comes from, for errors.
        text: string.

    Yields:
        `(number, entry)`, counted from 1.

    Raises:
        ValueError: If an entry is damaged, or is JSON that could not be
            written back; names the file and the entry.

    Example:
    ```python
    list(read_entries("a.json", '[{"a": 1}, 2]'))  # [(1, {"a": 1}), (2, 2)]
    ```
    """
    start = _skip(text, 0)
    if text.startswith("[", start):
        return _read_list(path, text, start + 1)
    return _read_lines(path, text)


def format_entry(path: str, number: int, entry: Mapping[str, Any]) -> str:
    """Returns an entry as JSON on one line.

    Args:
        path: string. The file that it will be written to, for errors.
        number: int. The entry's number, counted from 1, for errors.
        entry: dictionary.

    Raises:
        ValueError: If JSON has no form for a value; names the file, the entry
            and the key.

    Example:
    ```python
    format_entry("a.json", 1, {"a": [1, 2]})  # '{"a": [1, 2]}'
    ```
    """
    try:
        return json.dumps(entry, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError):
        for key, value in entry.items():
            try:
                json.dumps(value, allow_nan=False)
            except (TypeError, ValueError):
                raise ValueError(
                    f"`{shown_path(path)}`, entry {number}: expected what JSON "
                    "can hold (strings, finite numbers, booleans, `None`, "
                    f"lists and dictionaries). Received: {shown(key)}: "
                    f"{shown(value)}"
                ) from None
        raise


def _read_list(path: str, text: str, position: int):
    number, position = 0, _skip(text, position)
    if text.startswith("]", position):
        position += 1
    else:
        comma = True
        while comma:
            number += 1
            entry, position = _decode(path, number, text, position)
            yield number, entry
            position = _skip(text, position)
            comma = text.startswith(",", position)
            if not comma and not text.startswith("]", position):
                raise _error(
                    path,
                    number,
                    "a comma or `]` after it",
                    _excerpt(text, position),
                )
            position = _skip(text, position + 1)
    if _skip(text, position) < len(text):
        raise _error(
            path,
            number,
            "nothing after the end of the list",
            _excerpt(text, _skip(text, position)),
        )


def _read_lines(path: str, text: str):
    number, start = 0, 0
    # Only these are line breaks in JSON lines: a string may hold others, such
    # as U+2028, at which `str.splitlines` would cut.
    for line in text.split("\n"):
        begin = _skip(line, 0)
        if begin < len(line):
            number += 1
            try:
                entry, end = _decode(path, number, line, begin)
            except ValueError:
                _refuse_spread_out(path, number, text, start + begin)
                raise
            end = _skip(line, end)
            if end < len(line):
                raise _error(
                    path,
                    number,
                    "one JSON object on the line",
                    f"more after it: {_excerpt(line, end)}",
                )
            yield number, entry
        start += len(line) + 1


def _refuse_spread_out(path: str, number: int, text: str, start: int):
    """Raises a `ValueError` if an object goes on over several lines."""
    try:
        entry, end = _decode(path, number, text, start)
    except ValueError:
        return
    if "\n" in text[start:end]:
        raise _error(
            path,
            number,
            "a JSON list `[...]`, or JSON lines with each object on a line",
            f"an object over several lines, with the keys {shown(list(entry))}",
        )


def _decode(path: str, number: int, text: str, position: int):
    """Returns the value that starts at a position, and where it ends."""
    try:
        return _DECODER.raw_decode(text, position)
    except json.JSONDecodeError as error:
        # Of JSON lines, the number of the entry is that of the line.
        line = f"line {error.lineno} " if "\n" in text else ""
        raise _error(
            path,
            number,
            "a JSON object",
            f"text that is not JSON: {error.msg} at {line}column "
            f"{error.colno}, {_excerpt(text, error.pos)}",
        ) from error
    except RecursionError as error:
        raise _error(
            path, number, "a JSON object", "JSON that is nested too deep"
        ) from error
    except ValueError as error:
        # Of the functions below, or of Python for a number of more digits than
        # it is willing to read, whose message is about Python.
        reason = str(error)
        if not isinstance(error, _NotExactError):
            reason = "a number of too many digits"
        raise _error(path, number, "a JSON object", reason) from error


def _skip(text: str, position: int) -> int:
    return _SPACE.match(text, position).end()


def _excerpt(text: str, position: int) -> str:
    if position >= len(text):
        return "the end of the text"
    return shown(text[position : position + 60])


def _error(path: str, number: int, expected: str, received: str) -> ValueError:
    return ValueError(
        f"`{shown_path(path)}`, entry {number}: expected {expected}. Received "
        f"{received}"
    )


class _NotExactError(ValueError):
    """JSON that Python reads, and that could not be written back."""


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _NotExactError(f"a number that is not finite: {shown(text)}")
    return number


def _no_constant(text: str):
    raise _NotExactError(f"a number that is not finite: {text}")


def _distinct(pairs) -> dict:
    entry = dict(pairs)
    if len(entry) < len(pairs):
        seen = set()
        # `add` returns nothing, so that each key is looked at once.
        twice = next(k for k, _ in pairs if k in seen or seen.add(k))
        raise _NotExactError(f"an object with the key {shown(twice)} twice")
    return entry


_DECODER = json.JSONDecoder(
    parse_float=_finite,
    parse_constant=_no_constant,
    object_pairs_hook=_distinct,
)
