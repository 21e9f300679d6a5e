"""Problems with a chain of thought, and the files that hold them."""

import dataclasses
import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from keras_coconut.checks import PathLike, check_path, check_text, refuse, shown
from keras_coconut.files import (
    read_pieces,
    short_errors,
    shown_path,
    write_whole,
)
from keras_coconut.problem_sources import (
    KEYS,
    read_csv,
    read_parquet,
    row_of_table,
    rows_of,
)
from keras_coconut.problem_values import (
    check_answer,
    check_extra,
    check_steps,
    copied,
)
from keras_coconut.strict_json import format_entry, read_entries

# The endings of file names that hold a table.
_TABLES = {".csv": read_csv, ".parquet": read_parquet}


@dataclasses.dataclass(frozen=True)
class Problem:
    """A question, its reasoning steps in language, and its answer.

    NumPy and pandas values become plain Python values where their meaning is
    clear.

    Args:
        question: string.
        steps: sequence of strings, the chain of thought; may also be a NumPy
            array or a pandas Series. May be empty.
        answer: string, or a whole number, which becomes its digits.
        extra: mapping. Other entries of the problem in its file, kept so that
            writing the problem back loses nothing. It is copied; tuples and
            arrays become lists.

    Raises:
        ValueError: If the question is missing or empty, if anything that
            should be a string is not, if a string holds half a surrogate pair,
            or if a key of `extra` is not a string or is one of the other
            arguments.

    Example:
    ```python
    keras_coconut.Problem("2 + 3 - 1 = ?", ["2 + 3 = 5", "5 - 1 = 4"], "4")
    ```
    """

    question: str
    steps: Sequence[str]
    answer: str
    extra: Mapping[str, Any] = dataclasses.field(
        default_factory=dict, compare=False, kw_only=True
    )

    def __post_init__(self):
        question = check_text("question", self.question)
        if not question.strip():
            raise ValueError(
                "`question` must not be empty. Received: "
                f"question={shown(question)}"
            )
        for name, value in (
            ("question", question),
            ("steps", check_steps(self.steps)),
            ("answer", check_answer(self.answer)),
            ("extra", check_extra(self.extra, reserved=KEYS)),
        ):
            object.__setattr__(self, name, value)

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> "Problem":
        """Makes a problem from a dictionary; other keys go to `extra`.

        Args:
            entry: mapping with the keys `question`, `steps` and `answer`, such
                as a row of a dataset.

        Raises:
            ValueError: If a key is missing or a value is wrong.

        Example:
        ```python
        keras_coconut.Problem.from_dict(
            {"question": "1 + 2?", "steps": [], "answer": "3", "id": 7}
        )
        ```
        """
        if not isinstance(entry, Mapping):
            raise ValueError(
                "expected an object with the keys `question`, `steps` and "
                f"`answer`. Received: {shown(entry)}"
            )
        entry = dict(entry)
        missing = [key for key in KEYS if key not in entry]
        if missing:
            raise ValueError(
                f"`{missing[0]}` is missing. Expected the keys `question`, "
                f"`steps` and `answer`. Received: {shown(list(entry))}"
            )
        if isinstance(entry["question"], Mapping | list | tuple):
            raise ValueError(
                "expected one problem, with a string as `question`. Received "
                f"columns: question={shown(entry['question'])}. pandas gives "
                'rows with `df.to_dict("records")` and '
                '`df.to_json(path, orient="records")`'
            )
        return cls(*(entry.pop(key) for key in KEYS), extra=entry)

    def to_dict(self) -> dict[str, Any]:
        """Returns `question`, `steps`, `answer` and the keys of `extra`."""
        return {
            "question": self.question,
            "steps": list(self.steps),
            "answer": self.answer,
            **copied(self.extra),
        }


def as_problems(name: str, problems, empty: bool = False) -> list[Problem]:
    """Returns problems from any in-memory source as a list.

    Args:
        name: string. The argument's name, for errors.
        problems: iterable of `Problem`s or of mappings with the keys
            `question`, `steps` and `answer`: a list, a generator, a dataset of
            Hugging Face, PyTorch or `tf.data`; a table of pandas, Polars or
            PyArrow, or a dictionary of columns.
        empty: bool. Whether there may be none. Defaults to `False`.

    Raises:
        ValueError: If `problems` holds no rows, or if one of them is not a
            problem. The error names the argument and the row, counted from 0.

    Example:
    ```python
    as_problems("problems", [{"question": "1?", "steps": [], "answer": 1}])
    ```
    """
    return list(iterate_problems(name, problems, empty))


def iterate_problems(
    name: str, problems, empty: bool = False
) -> Iterator[Problem]:
    """Yields what `as_problems` returns, one problem at a time.

    Args:
        name, problems, empty: see `as_problems`.

    Example:
    ```python
    rows = [{"question": "1?", "steps": [], "answer": 1}]
    next(iterate_problems("problems", rows))
    ```
    """
    index = -1
    for index, row in enumerate(rows_of(name, problems)):
        if not isinstance(row, Problem):
            try:
                row = Problem.from_dict(row)
            except ValueError as error:
                raise ValueError(f"`{name}[{index}]`: {error}") from error
        yield row
    if index < 0 and not empty:
        raise ValueError(
            f"`{name}` must hold at least one problem. Received: none"
        )


def read_problems(path: PathLike) -> list[Problem]:
    """Reads problems from a JSON, JSON Lines, CSV or Parquet file.

    JSON holds objects of the published form,
    `{"question": ..., "steps": [...], "answer": ...}`; other keys go to
    `Problem.extra`. Files of `write_problems` are read back exactly.

    A path that ends in `.csv` or `.parquet` is read as a table with these
    columns. A cell of `steps` that holds text, as all cells in CSV do, is a
    JSON list of strings, or one step per line.

    Args:
        path: string or path-like. The file to read; text is in UTF-8.

    Returns:
        A list of `Problem`s, at least one.

    Raises:
        ValueError: If the file is empty or is not of its format, or if an
            entry is not a problem. The error names the file and the entry
            (counted from 1).

    Warns:
        UserWarning: If answers can never be judged correctly, because they are
            empty or contain a `#`.

    Example:
    ```python
    problems = keras_coconut.read_problems("prosqa_train.json")
    ```
    """
    path, answers = check_path("path", path), _Answers()
    problems = list(_read(path, answers))
    answers.warn(path)
    return problems


def stream_problems(
    path: PathLike, on_read: Callable[[int], object] | None = None
) -> Iterator[Problem]:
    """Yields the problems of a file one by one, for files of any size.

    It reads the files that `read_problems` reads, and holds about a megabyte of
    the file in memory. For Parquet this needs PyArrow.

    Args:
        path: string or path-like. The file to read, in UTF-8.
        on_read: function of the number of bytes read so far, called after each
            read. For Parquet the number is estimated. Defaults to `None`.

    Yields:
        `Problem`s, at least one.

    Raises:
        ValueError: If the file is empty or is not of its format, or if an entry
            is not a problem. The error names the file and the entry (counted
            from 1). The problems before it have already been yielded.

    Example:
    ```python
    problem = next(keras_coconut.stream_problems("prosqa_train.json"))
    ```
    """
    path = check_path("path", path)
    if on_read is not None and not callable(on_read):
        raise refuse("on_read", "a function of a number of bytes", on_read)
    with short_errors():
        os.stat(path)  # Now, and not when the first problem is asked for.
    return _stream(path, on_read)


def _stream(path, on_read):
    answers = _Answers()
    yield from _read(path, answers, on_read)
    answers.warn(path)


def _read(path, answers, on_read=None):
    number = 0
    read_table = _TABLES.get(os.path.splitext(path)[1].lower())
    if read_table is None:
        entries = read_entries(path, read_pieces(path, on_read))
    else:
        entries = read_table(path, on_read)
    for number, entry in entries:
        try:
            if read_table is not None:
                entry = row_of_table(entry)
            problem = Problem.from_dict(entry)
        except ValueError as error:
            raise ValueError(
                f"`{shown_path(path)}`, entry {number}: {error}"
            ) from error
        answers.add(problem)
        yield problem
    if not number:
        raise ValueError(
            f"`{shown_path(path)}` must hold at least one problem. Received an "
            "empty file."
        )


def write_problems(
    path: PathLike, problems: Iterable[Problem | Mapping]
) -> None:
    """Writes problems as a JSON list, or as JSON Lines to a `.jsonl` path.

    The file appears only once it is complete.

    Args:
        path: string or path-like. The file to write, in UTF-8. Not a table: a
            CSV file would not keep `Problem.extra`.
        problems: iterable of `Problem`s, at least one.

    Raises:
        ValueError: If `path` names a table, if there are no problems, or if
            JSON cannot hold a value in `extra`, such as a set or NaN. The error
            names the file, the entry (counted from 1) and the key; nothing is
            written.

    Example:
    ```python
    keras_coconut.write_problems("problems.jsonl", problems)
    ```
    """
    path = check_path("path", path)
    if os.path.splitext(path)[1].lower() in _TABLES:
        raise refuse("path", "a path that ends in `.json` or `.jsonl`", path)
    lines = [
        format_entry(path, number, problem.to_dict())
        for number, problem in enumerate(as_problems("problems", problems), 1)
    ]
    if path.endswith(".jsonl"):
        write_whole(path, "".join(line + "\n" for line in lines))
    else:
        write_whole(path, f"[{', '.join(lines)}]")


def check_answers(path, problems: Iterable[Problem]) -> None:
    """Warns once of answers in a file that can never be judged correctly.

    Evaluation compares the text after the last `#` of a response with the
    answer, both without commas and outer spaces, as in the published code. So
    no response to an answer that contains a `#` is ever correct, and an empty
    response to an empty answer is.

    Args:
        path: string or path-like. The file that the problems come from.
        problems: iterable of `Problem`s.

    Example:
    ```python
    check_answers("problems.json", problems)
    ```
    """
    path = check_path("path", path)
    answers = _Answers()
    for problem in as_problems("problems", problems, empty=True):
        answers.add(problem)
    answers.warn(path)


class _Answers:
    """Counts answers, and those that can never be judged."""

    def __init__(self):
        self._total = self._wrong = 0
        self._first = None

    def add(self, problem):
        self._total += 1
        answer = problem.answer
        if "#" in answer or not answer.replace(",", "").strip():
            self._wrong += 1
            if self._first is None:
                self._first = (self._total, answer)

    def warn(self, path):
        if self._first is None:
            return
        entry, answer = self._first
        warnings.warn(
            f"`{shown_path(path)}`: {self._wrong} of {self._total} answers "
            "hold a `#`, or nothing but commas and spaces, and cannot be "
            "judged: an answer is compared with what follows the last `#` of "
            f"a response. The first is entry {entry}: answer={shown(answer)}",
            stacklevel=3,
        )


def content_hash(problems: Iterable[Problem]) -> str:
    """Returns a hash of the problems' content and order, as 64 hex digits.

    Args:
        problems: iterable of `Problem`s; may be empty.

    Example:
    ```python
    content_hash(problems)
    ```
    """
    digest = hashlib.sha256()
    for problem in as_problems("problems", problems, empty=True):
        entry = [problem.question, list(problem.steps), problem.answer]
        digest.update(json.dumps(entry).encode() + b"\n")
    return digest.hexdigest()
