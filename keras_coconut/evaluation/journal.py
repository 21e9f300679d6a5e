"""Responses written to a file as they finish: an interruption loses none."""

import contextlib
import json
import os
import time
from collections.abc import Mapping

from keras_coconut.checks import check_count, check_number
from keras_coconut.evaluation.results_file import (
    FORMAT,
    check_made_by,
    damaged,
)
from keras_coconut.files import read_text, shown_path, try_lock
from keras_coconut.progress import Progress
from keras_coconut.strict_json import read_entries


class InUse(Exception):
    """Another evaluation is writing the journal."""


def journal_path(results_path: str) -> str:
    """Returns where the journal of a results file lies."""
    return results_path + ".partial"


def remove_left(path: str) -> None:
    """Deletes a journal whose results are written, unless it is in use.

    A process that was killed right after it wrote the results left it.
    """
    # Windows deletes no open file.
    with contextlib.suppress(OSError), open(path, "r+b") as file:
        if try_lock(file):
            os.unlink(path)


class Journal:
    """The finished responses of an unfinished evaluation.

    The file is JSON Lines. The first line describes what the responses depend
    on; each other line holds a response and the seconds since the line before.
    Only one `Journal` at a time can have the file open, until `close`.

    Args:
        path: string. The file, which may exist.
        made_by: dictionary. What the responses depend on; see `describe`.
        num_responses: int. The number of responses to come.
        vocabulary_size: int. Token ids lie below it.

    Attributes:
        responses: dictionary. The token ids of each response in the file, by
            the index of its problem.
        seconds: float. The time that the work in the file took.

    Raises:
        ValueError: If the file is damaged or was made by something else; names
            the file. A last line that was not written to its end is left out.
        InUse: If another `Journal` has the file.
    """

    # An equal call goes on with its responses.
    continues = True

    def __init__(
        self,
        path: str,
        made_by: Mapping,
        num_responses: int,
        vocabulary_size: int,
    ):
        self.path = path
        self.place = f"`{shown_path(path)}` keeps what is done"
        self.responses: dict[int, list[int]] = {}
        self.seconds = 0.0
        self._num_responses = num_responses
        self._vocabulary_size = vocabulary_size
        self._file = open(path, "a", encoding="utf-8")
        try:
            # Before it is read: the line that seems torn may be half written.
            if not try_lock(self._file):
                raise InUse(path)
            text = self._whole_lines()
            if text:
                self._read(text, made_by)
            # What a torn line left would run into the next one.
            self._file.truncate(len(text.encode()))
            if not text:
                self._write({"format": FORMAT, "made_by": made_by})
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        self._last = time.perf_counter()
        return self

    def add(self, row: int, tokens: list[int]) -> None:
        """Writes the response to a problem down."""
        tokens = [int(token) for token in tokens]
        self.responses[row] = tokens
        self._write(
            {"row": row, "tokens": tokens, "seconds": self._since_last()}
        )

    def __exit__(self, kind, error, trace):
        # The time that a batch took which was not finished.
        self._write({"seconds": self._since_last()})

    def belongs_to(self, progress: Progress) -> None:
        """Does what a `Memory` does: the file needs nothing."""

    def close(self) -> None:
        """Leaves the file to others."""
        self._file.close()

    def remove(self) -> None:
        """Closes and deletes the file, once the results are written."""
        self.close()
        # Another call may have opened it by now, which Windows would not
        # delete. It removes what it has, and nothing in it is needed.
        with contextlib.suppress(FileNotFoundError, PermissionError):
            os.unlink(self.path)

    def _since_last(self):
        last, self._last = self._last, time.perf_counter()
        self.seconds += self._last - last
        return self._last - last

    def _write(self, entry):
        # At once, so that not even a killed process loses it.
        self._file.write(json.dumps(entry, allow_nan=False) + "\n")
        self._file.flush()

    def _whole_lines(self):
        text = read_text(self.path)
        return text[: text.rfind("\n") + 1]

    def _read(self, text, made_by):
        first = True
        for number, entry in read_entries(self.path, text):
            if not isinstance(entry, dict):
                raise damaged(self.path, f"line {number} is not an object")
            if first:
                check_made_by(self.path, entry, made_by)
                first = False
                continue
            try:
                self._take(entry)
            except ValueError as error:
                raise damaged(self.path, f"line {number}: {error}") from error

    def _take(self, entry):
        if set(entry) not in ({"seconds"}, {"row", "tokens", "seconds"}):
            raise ValueError("it does not hold the expected keys")
        self.seconds += check_number("seconds", entry["seconds"], least=0)
        if "row" not in entry:
            return
        row = check_count("row", entry["row"], most=self._num_responses - 1)
        tokens = entry["tokens"]
        if not isinstance(tokens, list) or not tokens:
            raise ValueError("`tokens` is not a list of token ids")
        for token in tokens:
            check_count("tokens", token, most=self._vocabulary_size - 1)
        if self.responses.setdefault(row, tokens) != tokens:
            raise ValueError(f"a second, other response to problem {row}")
