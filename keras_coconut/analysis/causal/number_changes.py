"""The twin of a problem in words: one number of its question is another."""

import collections
import random
import re
from collections.abc import Callable, Iterator
from fractions import Fraction

from keras_coconut.analysis.causal.step_arithmetic import (
    Skip,
    read_chain,
    recompute,
    write_like,
)
from keras_coconut.evaluation.figures import normalize_answer
from keras_coconut.problems import Problem

_MENTIONED = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+")
# A number of its own: not part of a word, a date, a ratio or a fraction.
_NUMBER = re.compile(
    rf"(?<![\w.,:/])(?:{_MENTIONED.pattern})(?![\w:/]|[.,]\d)", re.ASCII
)
_ANSWER = re.compile(r"-?(?:\d+(?:\.\d*)?|\.\d+)", re.ASCII)
_TOO_LONG = re.compile(r"[\d.,]{16}")
# Numbers that steps hold and questions need not: of units, percent and halves.
_KNOWN = (2, 7, 12, 24, 52, 60, 100, 365, 1000)
_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve"
).split()
_FRACTIONS = {
    "third": 3,
    "thirds": 3,
    "thrice": 3,
    "tripled": 3,
    "quarter": 4,
    "quarters": 4,
}
# Other numbers that are tried in one place.
_MOST_TRIED = 40


def twin_of_steps(
    problem: Problem, numbers: random.Random
) -> tuple[Problem, str, str]:
    """Changes a number of the question and computes the steps again.

    Args:
        problem: a `Problem` with steps such as `<<4-2=2>>`.
        numbers: a `random.Random`, which chooses the number.

    Returns:
        The twin, the number in the question and the one in its place.

    Raises:
        Skip: If there is no twin.

    Example:
    ```python
    problem = keras_coconut.Problem("4 cars, 3 more?", ["<<4+3=7>>"], "7")
    twin, old, new = twin_of_steps(problem, random.Random(0))
    ```
    """
    chain = read_chain(problem.steps)
    answer = normalize_answer(problem.answer)
    if not _ANSWER.fullmatch(answer):
        raise Skip("its answer is not a number")
    if _TOO_LONG.search(f"{problem.question} {answer}"):
        raise Skip("a number in it is too long")
    results = [Fraction(step.result) for step in chain]
    if Fraction(answer) != results[-1]:
        raise Skip("its answer is not the last result")
    places = _changeable(problem.question, chain, results)
    numbers.shuffle(places)
    for start, end in places:
        text = problem.question[start:end]
        old = _value(text)
        for new in _others(text, problem.question[end:], numbers):
            change = _change(old, new)
            try:
                steps, values = recompute(chain, change)
            except Skip:
                continue
            if values[-1] == results[-1] or not all(
                map(_is_alike, results, values)
            ):
                continue
            written = _written(text, new)
            twin = Problem(
                problem.question[:start] + written + problem.question[end:],
                steps,
                write_like(answer, values[-1]),
            )
            return twin, text, written
    raise Skip("no other number gives another answer of the same kind")


def _changeable(question, chain, results) -> list[tuple[int, int]]:
    """Returns the places of the numbers of a question that may be changed."""
    asked = collections.Counter(map(_value, _MENTIONED.findall(question)))
    used = collections.Counter(value for step in chain for value in step.values)
    found = collections.Counter(results)
    # Whoever wrote such a number had computed it from others.
    percent = {value / 100 for value in asked}
    given = {value for step in chain for value in step.given}
    if not given <= {*asked, *percent, *_named(question)}:
        raise Skip("a number in its steps comes from nowhere")

    def is_clear(index) -> bool:
        """Whether no other number equals a result, which is used once."""
        value = results[index]
        if index == len(chain) - 1:
            return True
        return found[value] == used[value] == 1 and not asked[value]

    once = [
        (value, match.span())
        for match in _NUMBER.finditer(question)
        if asked[value := _value(match[0])] == used[value] == 1
        and not found[value]
        and not used[value / 100]
    ]
    if not once:
        raise Skip(
            "no number stands once in its question and once in its steps"
        )
    places = [
        place
        for value, place in once
        if all(map(is_clear, _changed(chain, value)))
    ]
    if not places:
        raise Skip("a number in its steps may come from two places")
    return places


def _named(question) -> set[int]:
    """Returns numbers that a question may mean without writing digits."""
    words = re.findall("[a-z]+", question.lower())
    return {
        *_KNOWN,
        *(_WORDS.index(word) for word in words if word in _WORDS),
        *(_FRACTIONS[word] for word in words if word in _FRACTIONS),
    }


def _value(text: str) -> Fraction:
    return Fraction(text.replace(",", ""))


def _changed(chain, value: Fraction) -> list[int]:
    """Returns the steps whose results follow from a given number."""
    changed: set[int] = set()
    for index, step in enumerate(chain):
        sources = {operand.source for operand in step.operands}
        if value in step.values or sources & changed:
            changed.add(index)
    return sorted(changed)


def _others(text, rest, numbers) -> Iterator[Fraction]:
    """Yields numbers of about the same size, as exact as a written one."""
    unit = 10 ** len(text.partition(".")[2])
    old = int(_value(text) * unit)
    most = 2 * old
    if rest.startswith("%") and old < 100 * unit:
        most = min(most, 100 * unit - 1)
    # One of anything may be written otherwise.
    least = max(old // 2, min(old, 2 * unit), 1)
    for new in draw_others(numbers, range(least, most + 1), old):
        yield Fraction(new, unit)


def _change(old: Fraction, new: Fraction) -> Callable[[str], str]:
    def change(number: str) -> str:
        return write_like(number, new) if Fraction(number) == old else number

    return change


def _is_alike(before: Fraction, after: Fraction) -> bool:
    """Whether a result is of the same kind: whole, positive, negative, 0."""
    if before.denominator == 1 and after.denominator != 1:
        return False
    return (before > 0) == (after > 0) and (before < 0) == (after < 0)


def _written(text: str, value: Fraction) -> str:
    """Returns a number as another one is written, with commas if it has any."""
    plain = write_like(text.replace(",", ""), value)
    if "," not in text:
        return plain
    whole, point, decimals = plain.partition(".")
    return f"{int(whole):,}{point}{decimals}"


def draw_others(numbers: random.Random, choices: range, old: int) -> list[int]:
    """Draws some of the other numbers, in random order.

    Args:
        numbers: a `random.Random`.
        choices: range, what may be drawn.
        old: int, which is not drawn.

    Example:
    ```python
    draw_others(random.Random(0), range(5), old=3)  # [4, 0, 1, 2]
    ```
    """
    count = min(len(choices), _MOST_TRIED)
    return [new for new in numbers.sample(choices, count) if new != old]
