"""GSM8k-Aug's lines: `question||<<4-2=2>> <<2/.5=4>> #### answer`.

The reader accepts only what the writer writes, and the writer accepts only what
the reader would return unchanged.
"""

import re
from collections.abc import Iterable, Mapping

from keras_coconut.checks import PathLike, check_path, shown
from keras_coconut.files import read_text, shown_path, write_whole
from keras_coconut.problems import Problem, as_problems, check_answers

_FORM = "`question||<<step>> <<step>> #### answer`"
_STEPS = "steps without white space in them, and one space between two"


def read_gsm8k(path: PathLike) -> list[Problem]:
    """Reads problems in the published form, one per line.

    Args:
        path: string or path-like. The file to read, in UTF-8.

    Returns:
        A list of `Problem`s, at least one. `write_gsm8k` writes them back to
        the same text, without a byte order mark.

    Raises:
        ValueError: If the file is empty or a line is damaged. The error names
            the file and the line (counted from 1).

    Warns:
        UserWarning: If there are answers that can never be judged correct,
            because they contain a `#`.

    Example:
    ```python
    problems = keras_coconut.read_gsm8k("valid.txt")
    problems[0].steps  # ("<<4-2=2>>", "<<2/.5=4>>", "<<12/4=3>>", ...)
    ```
    """
    path = check_path("path", path)
    text = read_text(path)
    if not text.strip():
        raise ValueError(
            f"`{shown_path(path)}` must hold at least one problem. Received an "
            "empty file."
        )
    *lines, rest = text.split("\n")
    problems = [
        _parse(path, number, line) for number, line in enumerate(lines, start=1)
    ]
    if rest:
        # Half an answer would be an answer too.
        raise _error(
            path,
            len(lines) + 1,
            "a line break at its end, without which the file may be cut short",
            rest[-60:],
        )
    check_answers(path, problems)
    return problems


def write_gsm8k(path: PathLike, problems: Iterable[Problem | Mapping]) -> None:
    """Writes problems in the published form, one per line.

    The file appears once it is complete. `Problem.extra` is not written.

    Args:
        path: string or path-like. The file to write, in UTF-8.
        problems: iterable of `Problem`s, at least one.

    Raises:
        ValueError: If a part of a problem contains a separator of the format;
            names the file and the line (counted from 1).

    Example:
    ```python
    keras_coconut.write_gsm8k("valid.txt", problems)
    ```
    """
    path = check_path("path", path)
    lines = []
    for number, problem in enumerate(as_problems("problems", problems), 1):
        chain = " ".join(problem.steps)
        line = f"{problem.question}||{chain} #### {problem.answer}"
        if _parse(path, number, line) != problem:
            raise _error(path, number, _STEPS, line)
        lines.append(line + "\n")
    write_whole(path, "".join(lines))


def _parse(path: str, number: int, line: str) -> Problem:
    if "\r" in line or "\n" in line:
        raise _error(
            path,
            number,
            "no line break within a problem, and `\\n` alone after it",
            line,
        )
    if line.startswith("\ufeff"):
        # At the start of a file, the next reader would take it away.
        raise _error(path, number, "no byte order mark within the text", line)
    question, bars, rest = line.partition("||")
    chain, mark, answer = rest.partition(" #### ")
    if not bars or not mark or not question.strip() or not answer.strip():
        raise _error(path, number, _FORM, line)
    for mark in ("||", "####"):
        # In "|||" it is unclear where the question ends.
        if len(re.findall(f"(?={re.escape(mark)})", line)) > 1:
            raise _error(path, number, f"`{mark}` once, in {_FORM}", line)
    if answer != answer.strip():
        raise _error(path, number, "no space around the answer", line)
    steps = chain.split(" ") if chain else []
    if any(step.split() != [step] for step in steps):
        raise _error(path, number, _STEPS, line)
    return Problem(question, steps, answer)


def _error(path: str, number: int, expected: str, line: str) -> ValueError:
    return ValueError(
        f"`{shown_path(path)}`, line {number}: expected {expected}. Received: "
        f"{shown(line)}"
    )
