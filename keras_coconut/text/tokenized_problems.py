"""The token ids of many problems, in three arrays or in three files.

Lists of Python integers take thirty times the memory of the text. Here a
problem is a slice of one long array of ids, which may be in a file. Then memory
holds only the problems of a batch.
"""

import hashlib
import itertools
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from keras_coconut.curriculum import Layout
from keras_coconut.files import shown_path

# Problems that are measured together.
_ROWS = 1 << 15
# Of the numbers in files and in digests, on any processor.
_STARTS = "<i8"
_BYTES = 1 << 22
# Of problems that are written together.
_TOKENS = 1 << 20


class TokenizedProblem(NamedTuple):
    """The token ids of a problem's parts, in the published text layout."""

    question: list[int]  # start token, question, newline, <bot>
    steps: list[list[int]]  # each step and its newline
    answer: list[int]  # "### ", answer, end of text

    def lengths(self, layout: Layout) -> tuple[int, int, int]:
        """Returns the positions of question, thoughts and response."""
        steps = sum(len(step) for step in self.steps[layout.hidden_steps :])
        return _lengths(layout, len(self.question), steps, len(self.answer))


def _lengths(layout, question, steps, answer):
    """Returns the positions of the spans, for numbers of tokens or arrays."""
    thoughts = layout.num_thoughts
    if layout.thought_kind == "pause":
        question, thoughts = question + thoughts, 0
    # Of a number, `np.maximum` would make NumPy's.
    most = np.maximum if isinstance(steps, np.ndarray) else max
    steps = most(steps - layout.hidden_tokens, 0)
    return question, thoughts, 1 + steps + answer


class TokenizedProblems:
    """Tokenized problems: a sequence of `TokenizedProblem`s.

    A problem has as many parts as steps and two more, its question and its
    answer. The arrays may be NumPy's or `FileArray`s.

    Args:
        ids: int array (tokens,), the ids of all parts, one after the other.
        part_starts: int array (parts + 1,), where each part begins in `ids`,
            and where the last one ends.
        problem_starts: int array (problems + 1,), where each problem begins in
            `part_starts`.
    """

    def __init__(self, ids, part_starts, problem_starts):
        self.arrays = (ids, part_starts, problem_starts)

    @classmethod
    def from_problems(cls, problems: Iterable[TokenizedProblem]):
        """Keeps problems in memory; there must be at least one."""
        pieces = zip(*array_pieces(problems))
        return cls(*(np.concatenate([*piece]) for piece in pieces))

    def __len__(self):
        return len(self.arrays[2]) - 1

    def __getitem__(self, index: int) -> TokenizedProblem:
        ids, part_starts, problem_starts = self.arrays
        first, end = problem_starts[index : index + 2].tolist()
        starts = part_starts[first : end + 1].tolist()
        tokens = ids[starts[0] : starts[-1]].tolist()
        question, *steps, answer = (
            tokens[start - starts[0] : stop - starts[0]]
            for start, stop in itertools.pairwise(starts)
        )
        return TokenizedProblem(question, steps, answer)

    def longest(
        self, layouts_of: Callable[[int], Iterable[Layout]]
    ) -> np.ndarray:
        """Returns the most positions that each problem takes.

        Args:
            layouts_of: function of a number of steps, which returns the layouts
                in which a problem with this number of steps may be shown.

        Returns:
            Int32 array (problems, 3): the most positions of the question, of
            the response, and of question, thoughts and response together.
        """
        _, part_starts, problem_starts = self.arrays
        most = np.zeros((len(self), 3), "int32")
        for begin in range(0, len(self), _ROWS):
            first = problem_starts[begin : begin + _ROWS + 1]
            starts = part_starts[first[0] : first[-1] + 1]
            first = first - first[0]
            num_steps = np.diff(first) - 2
            for count in np.unique(num_steps).tolist():
                rows = np.flatnonzero(num_steps == count)
                part = first[rows]
                steps_end = starts[part + 1 + count]
                question = starts[part + 1] - starts[part]
                answer = starts[part + 2 + count] - steps_end
                for layout in layouts_of(count):
                    hidden = min(layout.hidden_steps, count)
                    steps = steps_end - starts[part + 1 + hidden]
                    lengths = _lengths(layout, question, steps, answer)
                    together = np.sum(np.broadcast_arrays(*lengths), axis=0)
                    for column, values in enumerate(
                        (lengths[0], lengths[2], together)
                    ):
                        of = most[begin + rows, column]
                        most[begin + rows, column] = np.maximum(of, values)
        return most

    def digest(self) -> str:
        """Returns a digest of all tokens and where parts begin, in hex."""
        found = hashlib.sha256()
        for array, dtype in zip(self.arrays, ("<u4", _STARTS, _STARTS)):
            for start in range(0, len(array), _BYTES):
                piece = array[start : start + _BYTES]
                found.update(piece.astype(dtype).tobytes())
        return found.hexdigest()


def array_pieces(
    problems: Iterable[TokenizedProblem],
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yields the arrays of `TokenizedProblems`, a piece of each at a time."""
    problems = iter(problems)
    num_ids = num_parts = 0
    while parts := _some_parts(problems):
        lengths = [len(part) for each in parts for part in each]
        ids = itertools.chain.from_iterable(itertools.chain(*parts))
        starts = [
            np.cumsum([total, *of], dtype=_STARTS)
            for total, of in (
                (num_ids, lengths),
                (num_parts, [len(each) for each in parts]),
            )
        ]
        # Each piece continues where the one before ends.
        first = not num_parts
        num_ids, num_parts = (int(each[-1]) for each in starts)
        parts, problems_of = (each if first else each[1:] for each in starts)
        yield np.fromiter(ids, "<u4"), parts, problems_of


def _some_parts(problems):
    """Returns the parts of the next problems, of about a million tokens."""
    found, tokens = [], 0
    for problem in problems:
        found.append([problem.question, *problem.steps, problem.answer])
        tokens += sum(map(len, found[-1]))
        if tokens >= _TOKENS:
            break
    return found


class FileArray:
    """A one-dimensional array in a file, of which slices are read.

    Unlike `np.memmap` it adds nothing to the memory of the process, can be
    handed to other processes, and says which file was cut off. Safe in threads.

    Args:
        path: string. A file of nothing but the numbers.
        dtype: string. Their type.
    """

    def __init__(self, path: str, dtype: str):
        self._path, self._dtype = os.path.abspath(path), np.dtype(dtype)
        self._file = open(path, "rb")
        self._lock = threading.Lock()
        self._len = os.fstat(self._file.fileno()).st_size // (
            self._dtype.itemsize
        )

    def __reduce__(self):
        return FileArray, (self._path, self._dtype.str)

    def __len__(self):
        return self._len

    def __getitem__(self, part: slice) -> np.ndarray:
        start, stop, _ = part.indices(self._len)
        size = self._dtype.itemsize
        count = max(stop - start, 0)
        data = self._read(count * size, start * size)
        if len(data) < count * size:
            raise OSError(
                f"`{shown_path(self._path)}` was cut off while it was in use"
            )
        return np.frombuffer(data, self._dtype)

    def _read(self, count, start):
        if hasattr(os, "pread"):
            # In a process that was forked, too, which shares the file.
            return os.pread(self._file.fileno(), count, start)
        with self._lock:
            self._file.seek(start)
            return self._file.read(count)
