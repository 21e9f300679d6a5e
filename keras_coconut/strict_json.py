"""Strict JSON: lists and lines that can be written back exactly.

Python's `json` reads values that are not JSON, such as `NaN`, drops all but the
last of equal keys, and its errors for deep nesting and long numbers name no
file. Here every entry is read separately, so that an error can name it.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from keras_coconut.checks import shown
from keras_coconut.files import shown_path

# JSON's own white space, which is less than Python's.
_SPACE = re.compile(r"[ \t\r\n]*")
# Characters of a text in a message, and of the longest word: -Infinity.
_EXCERPT, _LONGEST_WORD = 60, 10
# Characters of an object that is no JSON line, to be recognized.
_SPREAD_OUT = 2**16


def read_entries(
    path: str, text: str | Iterable[str]
) -> Iterator[tuple[int, Any]]:
    """Yields the entries of a JSON list, or of JSON lines, with their numbers.

    The first character of the text tells which of the two it is.

    Args:
        path: string. The file that the text comes from, for errors.
        text: string; or its pieces, of which few are held at once.

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
    whole = _Text([text] if isinstance(text, str) else text)
    if whole.skip_space() == "[":
        whole.position += 1
        yield from _read_list(path, whole)
    else:
        yield from _read_lines(path, whole)


def _skip_space(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    return found.end() if found else position


class _Text:
    """A text that comes in pieces: those that were read are forgotten.

    Args:
        pieces: iterable of strings.
    """

    def __init__(self, pieces):
        self.text, self.position = "", 0
        self._pieces = iter(pieces)
        # Of the first character that is held, counted from 1.
        self._line = self._column = 1

    def more(self) -> bool:
        """Holds more of the text; returns `False` at its end."""
        held = self.text[self.position :]
        read: list[str] = []
        # As much again, so that a long entry is not read too often.
        while sum(len(piece) for piece in read) <= len(held):
            piece = next(self._pieces, None)
            if piece is None:
                break
            read.append(piece)
        if not read:
            return False
        self._line, self._column = self.place(self.position)
        self.text, self.position = "".join([held, *read]), 0
        return True

    def skip_space(self) -> str:
        """Skips white space; returns what follows, one character or none."""
        while True:
            self.position = _skip_space(self.text, self.position)
            if self.position < len(self.text) or not self.more():
                return self.text[self.position : self.position + 1]

    def place(self, position) -> tuple[int, int]:
        """Returns line and column of what is held at a position."""
        breaks = self.text.count("\n", 0, position)
        if breaks:
            column = position - self.text.rfind("\n", 0, position)
            return self._line + breaks, column
        return self._line, self._column + position

    def excerpt(self) -> str:
        """Returns the text at the position, as an error shows it."""
        while len(self.text) - self.position < _EXCERPT and self.more():
            pass
        return _excerpt(self.text, self.position)


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


def _read_list(path: str, text: _Text):
    number = 0
    if text.skip_space() == "]":
        text.position += 1
    else:
        comma = True
        while comma:
            number += 1
            yield number, _next_entry(path, number, text)
            follows = text.skip_space()
            comma = follows == ","
            if follows not in (",", "]"):
                raise _error(
                    path, number, "a comma or `]` after it", text.excerpt()
                )
            text.position += 1
            text.skip_space()
    if text.skip_space():
        raise _error(
            path, number, "nothing after the end of the list", text.excerpt()
        )


def _next_entry(path: str, number: int, text: _Text):
    """Returns the value at the position, and moves past it."""
    while True:
        try:
            entry, end = _DECODER.raw_decode(text.text, text.position)
        except (ValueError, RecursionError) as error:
            if _may_go_on(error, text.text) and text.more():
                continue
            place = None
            if isinstance(error, json.JSONDecodeError):
                place = text.place(error.pos)
                text.position = error.pos
            raise _no_json(
                path, number, error, place, text.excerpt()
            ) from error
        # A number may go on in the next piece.
        if end == len(text.text) and text.more():
            continue
        text.position = end
        return entry


def _may_go_on(error, text: str) -> bool:
    """Whether an error may be that of a text that was cut somewhere."""
    if not isinstance(error, json.JSONDecodeError):
        return False
    cut_short = error.msg.startswith("Unterminated string")
    return cut_short or error.pos + _LONGEST_WORD > len(text)


def _read_lines(path: str, text: _Text):
    number = 0
    # Only these are line breaks in JSON lines: a string may hold others, such
    # as U+2028, at which `str.splitlines` would cut.
    while text.skip_space():
        number += 1
        end = text.text.find("\n", text.position)
        while end < 0 and text.more():
            end = text.text.find("\n", text.position)
        line = text.text[text.position : end if end >= 0 else None]
        try:
            entry, stop = _DECODER.raw_decode(line)
        except (ValueError, RecursionError) as error:
            _refuse_spread_out(path, number, text)
            at = getattr(error, "pos", 0)
            place = None
            if isinstance(error, json.JSONDecodeError):
                # The number of the entry is that of the line.
                place = (None, text.place(text.position + at)[1])
            raise _no_json(
                path, number, error, place, _excerpt(line, at)
            ) from error
        stop = _skip_space(line, stop)
        if stop < len(line):
            raise _error(
                path,
                number,
                "one JSON object on the line",
                f"more after it: {_excerpt(line, stop)}",
            )
        yield number, entry
        text.position += len(line)


def _refuse_spread_out(path: str, number: int, text: _Text):
    """Raises a `ValueError` if an object spans several lines."""
    while len(text.text) - text.position < _SPREAD_OUT and text.more():
        pass
    start = text.position
    try:
        entry, end = _DECODER.raw_decode(text.text, start)
    except (ValueError, RecursionError):
        return
    if "\n" in text.text[start:end]:
        raise _error(
            path,
            number,
            "a JSON list `[...]`, or JSON lines with each object on a line",
            f"an object over several lines, with the keys {shown(list(entry))}",
        )


def _no_json(path: str, number: int, error, place, excerpt: str):
    """Returns the error for text that Python's decoder does not take."""
    if isinstance(error, json.JSONDecodeError):
        line, column = place
        line = f"line {line} " if line is not None else ""
        reason = (
            f"text that is not JSON: {error.msg} at {line}column {column}, "
            f"{excerpt}"
        )
    elif isinstance(error, RecursionError):
        reason = "JSON that is nested too deep"
    elif isinstance(error, _NotExactError):
        reason = str(error)
    else:
        # Of Python, for a number of more digits than it is willing to read.
        reason = "a number of too many digits"
    return _error(path, number, "a JSON object", reason)


def _excerpt(text: str, position: int) -> str:
    if position >= len(text):
        return "the end of the text"
    return shown(text[position : position + _EXCERPT])


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
        for key, _ in pairs:
            if key in seen:
                raise _NotExactError(
                    f"an object with the key {shown(key)} twice"
                )
            seen.add(key)
    return entry


_DECODER = json.JSONDecoder(
    parse_float=_finite,
    parse_constant=_no_constant,
    object_pairs_hook=_distinct,
)
