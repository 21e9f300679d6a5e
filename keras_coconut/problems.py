"""Problems with a chain of thought, and the files that hold them."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from keras_coconut.files import write_whole


@dataclasses.dataclass(frozen=True)
class Problem:
    """A question, the language steps that reason it out, and its answer.

    Args:
        question: string.
        steps: sequence of strings, the chain of thought. May be empty.
        answer: string.
        extra: mapping. Whatever else the problem's file said of it, kept so
            that writing the problem back loses nothing.

    Raises:
        ValueError: If the question is missing or empty, or if anything that
            should be a string is not.

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
        for name in ("question", "answer"):
            value = getattr(self, name)
            if not isinstance(value, str):
                raise ValueError(
                    f"`{name}` must be a string. Received: {name}={value!r}"
                )
        if not self.question.strip():
            raise ValueError(
                "`question` must not be empty. "
                f"Received: question={self.question!r}"
            )
        if isinstance(self.steps, str) or not isinstance(self.steps, Sequence):
            raise ValueError(
                "`steps` must be a list of strings. "
                f"Received: steps={self.steps!r}"
            )
        for index, step in enumerate(self.steps):
            if not isinstance(step, str):
                raise ValueError(
                    "`steps` must hold strings only. "
                    f"Received: steps[{index}]={step!r}"
                )
        object.__setattr__(self, "steps", tuple(self.steps))

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> "Problem":
        """Makes a problem from the published keys; other keys are kept."""
        if not isinstance(entry, Mapping):
            raise ValueError(
                "expected an object with the keys `question`, `steps` and "
                f"`answer`. Received: {entry!r}"
            )
        entry = dict(entry)
        missing = [k for k in ("question", "steps", "answer") if k not in entry]
        if missing:
            raise ValueError(
                f"`{missing[0]}` is missing. Expected the keys `question`, "
                f"`steps` and `answer`. Received: {sorted(entry)}"
            )
        return cls(
            entry.pop("question"),
            entry.pop("steps"),
            entry.pop("answer"),
            entry,
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns the problem with the published keys and the kept ones."""
        return {
            "question": self.question,
            "steps": list(self.steps),
            "answer": self.answer,
            **self.extra,
        }


def read_problems(path) -> list[Problem]:
    """Reads problems from a JSON list or from JSON lines.

    Both hold objects of the published form,
    `{"question": ..., "steps": [...], "answer": ...}`; further keys are kept in
    `Problem.extra`. Which of the two a file is shows in its first character.

    Args:
        path: string or path-like. The file to read, in UTF-8.

    Returns:
        A list of `Problem`s, at least one.

    Raises:
        ValueError: If the file is empty or is not JSON, or if an entry is not
            a problem; names the file and the entry (counted from 1).

    Example:
    ```python
    problems = keras_coconut.read_problems("prosqa_train.json")
    ```
    """
    path = os.fspath(path)
    with open(path, encoding="utf-8-sig") as file:
        text = file.read()
    try:
        if text.lstrip().startswith("["):
            entries = list(enumerate(json.loads(text), start=1))
        else:
            entries = [
                (number, _parse_line(path, number, line))
                for number, line in enumerate(text.splitlines(), start=1)
                if line.strip()
            ]
    except json.JSONDecodeError as error:
        raise ValueError(
            f"`{path}` must be a JSON list or JSON lines. Received text that "
            f"is not JSON: {error}"
        ) from error
    if not entries:
        raise ValueError(
            f"`{path}` must hold at least one problem. Received an empty file."
        )
    problems = []
    for number, entry in entries:
        try:
            problems.append(Problem.from_dict(entry))
        except ValueError as error:
            raise ValueError(f"`{path}`, entry {number}: {error}") from error
    return problems


def write_problems(path, problems: Iterable[Problem]) -> None:
    """Writes problems as a JSON list, or as JSON lines to a `.jsonl` path.

    The file appears only once it is whole.

    Args:
        path: string or path-like. The file to write, in UTF-8.
        problems: iterable of `Problem`s.

    Example:
    ```python
    keras_coconut.write_problems("problems.jsonl", problems)
    ```
    """
    path = os.fspath(path)
    entries = [problem.to_dict() for problem in problems]
    if path.endswith(".jsonl"):
        text = "".join(
            json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries
        )
    else:
        text = json.dumps(entries, ensure_ascii=False)
    write_whole(path, text)


def content_hash(problems: Iterable[Problem]) -> str:
    """Returns a hash of the problems' content and order, as 64 hex digits."""
    digest = hashlib.sha256()
    for problem in problems:
        entry = [problem.question, list(problem.steps), problem.answer]
        digest.update(json.dumps(entry).encode() + b"\n")
    return digest.hexdigest()


def _parse_line(path: str, number: int, line: str):
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"`{path}`, entry {number}: expected a JSON object on the line. "
            f"Received: {line[:80]!r}"
        ) from error
