"""GSM8k-Aug's lines: `question||<<4-2=2>> <<2/.5=4>> #### answer`."""

import os
from collections.abc import Iterable

from keras_coconut.files import write_whole
from keras_coconut.problems import Problem


def read_gsm8k(path) -> list[Problem]:
    """Reads problems in the published form, one on a line.

    Args:
        path: string or path-like. The file to read, in UTF-8.

    Returns:
        A list of `Problem`s, at least one. `write_gsm8k` writes them back to
        the same text.

    Raises:
        ValueError: If the file is empty or a line is damaged; names the file
            and the line (counted from 1).

    Example:
    ```python
    problems = read_gsm8k("valid.txt")
    problems[0].steps  # ("<<4-2=2>>", "<<2/.5=4>>", "<<12/4=3>>", ...)
    ```
    """
    path = os.fspath(path)
    with open(path, encoding="utf-8", newline="") as file:
        lines = file.read().split("\n")
    problems = [
        _parse_line(path, number, line.removesuffix("\r"))
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]
    if not problems:
        raise ValueError(
            f"`{path}` must hold at least one problem. Received an empty file."
        )
    return problems


def write_gsm8k(path, problems: Iterable[Problem]) -> None:
    """Writes problems in the published form; the file appears once whole.

    Args:
        path: string or path-like. The file to write, in UTF-8.
        problems: iterable of `Problem`s.

    Raises:
        ValueError: If a part of a problem holds what separates the parts.

    Example:
    ```python
    write_gsm8k("valid.txt", problems)
    ```
    """
    write_whole(path, "".join(map(_format_line, problems)))


def _parse_line(path: str, number: int, line: str) -> Problem:
    question, bars, rest = line.partition("||")
    steps, marks, answer = rest.rpartition("####")
    if not bars or not marks or not question.strip() or not answer.strip():
        raise ValueError(
            f"`{path}`, line {number}: expected `question||<<step>> <<step>> "
            f"#### answer`. Received: {line[:120]!r}"
        )
    return Problem(question, steps.split(), answer.strip())


def _format_line(problem: Problem) -> str:
    chain = " ".join(problem.steps)
    line = f"{problem.question}||{chain} #### {problem.answer}"
    if (
        "||" in problem.question
        or "####" in problem.answer
        or "\n" in line
        or any(len(step.split()) != 1 for step in problem.steps)
    ):
        raise ValueError(
            "a problem must hold no line break, no `||` in its question, no "
            "`####` in its answer and no space in a step to be written in the "
            f"published form. Received: {line[:120]!r}"
        )
    return line + "\n"
