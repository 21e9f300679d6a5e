"""Problems with a chain of thought, and the files that hold them."""

import dataclasses
import hashlib
import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from keras_coconut.checks import check_path, shown
from keras_coconut.files import read_text, shown_path, write_whole
from keras_coconut.problem_values import (
    check_answer,
    check_extra,
    check_steps,
    check_text,
    copied,
)
from keras_coconut.strict_json import format_entry, read_entries

_KEYS = ("question", "steps", "answer")
# How the rows of what holds columns come out of it.
_ROWS = {
    "DataFrame": '`df.to_dict("records")` gives its rows',
    "Table": "`table.to_pylist()` gives its rows",
}


@dataclasses.dataclass(frozen=True)
class Problem:
    """A question, the language steps that reason it out, and its answer.

    Values of NumPy and pandas become plain ones, where it is clear what they
    mean.

    Args:
        question: string.
        steps: sequence of strings, the chain of thought; a NumPy array or a
            pandas Series serves too. May be empty.
        answer: string, or a whole number, which becomes its digits.
        extra: mapping. Whatever else the problem's file says about it, kept so
            that writing the problem back loses nothing. It is copied, with
            lists for tuples and arrays.

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
        default_factory=dict, compare=False
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
            ("extra", check_extra(self.extra, reserved=_KEYS)),
        ):
            object.__setattr__(self, name, value)

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> "Problem":
        """Makes a problem from the published keys; other keys are kept.

        Args:
            entry: mapping, such as a row of a dataset.

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
        missing = [key for key in _KEYS if key not in entry]
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
        return cls(*(entry.pop(key) for key in _KEYS), entry)

    def to_dict(self) -> dict[str, Any]:
        """Returns the problem with the published keys and the kept ones."""
        return {
            "question": self.question,
            "steps": list(self.steps),
            "answer": self.answer,
            **copied(self.extra),
        }


def as_problems(name: str, problems, empty: bool = False) -> list[Problem]:
    """Returns problems as a list, whatever held them.

    Args:
        name: string. The argument's name, for errors.
        problems: iterable of `Problem`s or of mappings with the keys
            `question`, `steps` and `answer`: a list, a generator, a dataset of
            Hugging Face, the rows of a pandas table.
        empty: bool. Whether there may be none. Defaults to `False`.

    Raises:
        ValueError: If `problems` holds no rows, or if one of them is not a
            problem; names the argument and the row, counted from 0.

    Example:
    ```python
    as_problems("problems", [{"question": "1?", "steps": [], "answer": 1}])
    ```
    """
    expected = f"`{name}` must be an iterable of `keras_coconut.Problem`s"
    kind = type(problems).__name__
    if isinstance(problems, Mapping) or kind in _ROWS:
        columns = getattr(problems, "column_names", problems)
        remedy = _ROWS.get(kind, "take one of its splits, or a list of rows")
        raise ValueError(
            f"{expected} or of rows as dictionaries. Received a {kind} with "
            f"the columns {shown(list(columns))}: {remedy}"
        )
    try:
        # A string is an iterable too, but of characters.
        rows = iter(None if isinstance(problems, str | bytes) else problems)
    except TypeError:
        raise ValueError(
            f"{expected}, such as `read_problems(path)` returns. Received: "
            f"{name}={shown(problems)} of type {kind}"
        ) from None
    made = []
    for index, row in enumerate(rows):
        if not isinstance(row, Problem):
            try:
                row = Problem.from_dict(row)
            except ValueError as error:
                raise ValueError(f"`{name}[{index}]`: {error}") from error
        made.append(row)
    if not made and not empty:
        raise ValueError(
            f"`{name}` must hold at least one problem. Received: none"
        )
    return made


def read_problems(path) -> list[Problem]:
    """Reads problems from a JSON list or from JSON lines.

    Both hold objects of the published form,
    `{"question": ..., "steps": [...], "answer": ...}`; further keys are kept in
    `Problem.extra`. What `write_problems` writes is read back exactly.

    Args:
        path: string or path-like. The file to read, in UTF-8.

    Returns:
        A list of `Problem`s, at least one.

    Raises:
        ValueError: If the file is empty or is not JSON, or if an entry is not
            a problem; names the file and the entry (counted from 1).

    Warns:
        UserWarning: If answers cannot be judged; see `check_answers`.

    Example:
    ```python
    problems = keras_coconut.read_problems("prosqa_train.json")
    ```
    """
    path = check_path("path", path)
    problems = []
    for number, entry in read_entries(path, read_text(path)):
        try:
            problems.append(Problem.from_dict(entry))
        except ValueError as error:
            raise ValueError(
                f"`{shown_path(path)}`, entry {number}: {error}"
            ) from error
    if not problems:
        raise ValueError(
            f"`{shown_path(path)}` must hold at least one problem. Received an "
            "empty file."
        )
    check_answers(path, problems)
    return problems


def write_problems(path, problems: Iterable[Problem]) -> None:
    """Writes problems as a JSON list, or as JSON lines to a `.jsonl` path.

    The file appears only once it is whole.

    Args:
        path: string or path-like. The file to write, in UTF-8.
        problems: iterable of `Problem`s, at least one.

    Raises:
        ValueError: If there are no problems, or if JSON cannot hold a value in
            `extra`, such as a set or NaN; names the file, the entry (counted
            from 1) and the key. Nothing is written then.

    Example:
    ```python
    keras_coconut.write_problems("problems.jsonl", problems)
    ```
    """
    path = check_path("path", path)
    lines = [
        format_entry(path, number, problem.to_dict())
        for number, problem in enumerate(as_problems("problems", problems), 1)
    ]
    if path.endswith(".jsonl"):
        write_whole(path, "".join(line + "\n" for line in lines))
    else:
        write_whole(path, f"[{', '.join(lines)}]")


def check_answers(path, problems: Iterable[Problem]) -> None:
    """Warns once of answers in a file that can never be judged.

    What follows the last `#` of a response is compared with the answer, both
    without commas and outer spaces, as in the published code. So an answer that
    holds a `#` is never right, and to an empty one, silence is.

    Args:
        path: string or path-like. The file that the problems come from.
        problems: iterable of `Problem`s.

    Example:
    ```python
    check_answers("problems.json", problems)
    ```
    """
    path = check_path("path", path)
    problems = as_problems("problems", problems, empty=True)
    wrong = [
        index
        for index, problem in enumerate(problems)
        if "#" in problem.answer or not problem.answer.replace(",", "").strip()
    ]
    if wrong:
        warnings.warn(
            f"`{shown_path(path)}`: {len(wrong)} of {len(problems)} answers "
            "hold a `#`, or nothing but commas and spaces, and cannot be "
            "judged: an answer is compared with what follows the last `#` of "
            f"a response. The first is entry {wrong[0] + 1}: "
            f"answer={shown(problems[wrong[0]].answer)}",
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
