"""Minimal pairs: the same question with one number changed, solved again."""

import collections
import itertools
import random
import re
from collections.abc import Iterable, Mapping
from math import gcd
from typing import NamedTuple

from keras_coconut.analysis.causal.number_changes import (
    draw_others,
    twin_of_steps,
)
from keras_coconut.analysis.causal.step_arithmetic import Skip
from keras_coconut.checks import check_count, shown
from keras_coconut.problems import Problem, as_problems

_MODULAR = re.compile(r"start \d{1,9}(?:, [-+*]\d{1,9})+", re.ASCII)
_OPERATION = re.compile(r", ([-+*])(\d+)")
# That of `make_arithmetic`.
_MOST_MODULUS = 100_000


class MinimalPair(NamedTuple):
    """A problem and its twin, in which one number is another.

    `place` is the problem's index in the list that it comes from; `old` and
    `new` are the number in the question and the one in its place.

    Example:
    ```python
    pairs, _ = keras_coconut.make_minimal_pairs(problems)
    pairs[0].problem.answer, pairs[0].twin.answer
    ```
    """

    place: int
    problem: Problem
    twin: Problem
    old: str
    new: str


class MinimalPairs(NamedTuple):
    """Minimal pairs, and how many problems have none and why.

    `skipped` maps each reason to the number of problems.

    Example:
    ```python
    made = keras_coconut.make_minimal_pairs(problems)
    len(made.pairs), made.skipped
    ```
    """

    pairs: tuple[MinimalPair, ...]
    skipped: dict[str, int]


def make_minimal_pairs(
    problems: Iterable[Problem | Mapping],
    *,
    num_pairs: int | None = None,
    modulus: int | None = None,
    seed: int = 0,
) -> MinimalPairs:
    """Changes one number of each question and solves the problem again.

    A twin has its own steps and another answer. Two kinds of problems have
    twins:

    - Arithmetic of `make_arithmetic`: the start or an operand is changed.
    - Problems whose steps are arithmetic, such as `<<4-2=2>>` or `4 - 2 = 2`: a
      number that stands once in the question and once in the steps is changed,
      and the steps that follow from it are computed again. A result stays
      whole, positive, negative or 0 if it was. A problem is skipped if a
      number in its steps may come from two places.

    Args:
        problems: iterable of `Problem`s, at least one.
        num_pairs: int. Number of pairs, each of another problem, from the
            first problem on. Defaults to `None`: as many as there are.
        modulus: int, 2 to 100,000. That of `make_arithmetic`. Defaults to
            `None`: found from the steps of all the problems.
        seed: int. Chooses the numbers. Defaults to `0`.

    Returns:
        `MinimalPairs`: the pairs, and the number of problems without a twin for
        each reason.

    Raises:
        ValueError: If an argument is invalid, if no problem has a twin, or if
            the steps leave several moduli possible.

    Example:
    ```python
    pairs, skipped = keras_coconut.make_minimal_pairs(problems)
    pairs[0].problem.question  # "start 3, +4, *2, -5"
    pairs[0].twin.question  # "start 3, +6, *2, -5"
    pairs[0].twin.steps  # ("9", "8", "3")
    ```
    """
    problems = as_problems("problems", problems)
    if num_pairs is not None:
        num_pairs = check_count("num_pairs", num_pairs, least=1)
    if modulus is not None:
        modulus = check_count("modulus", modulus, 2, _MOST_MODULUS)
    numbers = random.Random(check_count("seed", seed))
    modular = [_MODULAR.fullmatch(problem.question) for problem in problems]
    if modulus is None and any(modular):
        modulus = _find_modulus(itertools.compress(problems, modular))
    pairs: list[MinimalPair] = []
    skipped: collections.Counter[str] = collections.Counter()
    for index, (problem, is_modular) in enumerate(zip(problems, modular)):
        if len(pairs) == num_pairs:
            break
        try:
            if is_modular:
                twin = _modular_twin(problem, modulus, numbers)
            else:
                twin = twin_of_steps(problem, numbers)
        except Skip as reason:
            skipped[str(reason)] += 1
        else:
            pairs.append(MinimalPair(index, problem, *twin))
    if not pairs:
        raise ValueError(
            "`problems` must hold a problem in which another number gives "
            "another answer. Received: "
            f"{len(problems)} problems without one: {shown(dict(skipped))}"
        )
    return MinimalPairs(tuple(pairs), dict(skipped))


def _find_modulus(problems) -> int:
    """Returns the only modulus with which all steps follow."""
    common = most = 0
    for problem in problems:
        value, operations = _read_modular(problem)
        most = max(most, value, *(operand for _, operand in operations))
        for step, (symbol, operand) in zip(problem.steps, operations):
            if not re.fullmatch(r"\d{1,9}", step):
                break
            common = gcd(common, _apply(value, symbol, operand) - int(step))
            value = int(step)
            most = max(most, value)
    possible = [
        each
        for each in range(most + 1, min(common, _MOST_MODULUS) + 1)
        if common % each == 0
    ]
    if len(possible) != 1:
        raise ValueError(
            "`modulus` must be given: by their steps, the problems may have "
            f"{'several' if possible or not common else 'none'}. Received: "
            "modulus=None; give it to `make_minimal_pairs`"
        )
    return possible[0]


def _read_modular(problem) -> tuple[int, list[tuple[str, int]]]:
    start, _, rest = problem.question.removeprefix("start ").partition(",")
    return int(start), [
        (symbol, int(operand))
        for symbol, operand in _OPERATION.findall("," + rest)
    ]


def _apply(value, symbol, operand) -> int:
    if symbol == "*":
        return value * operand
    return value + operand if symbol == "+" else value - operand


def _solve(problem, modulus) -> list[str]:
    value, operations = _read_modular(problem)
    steps = []
    for symbol, operand in operations:
        value = _apply(value, symbol, operand) % modulus
        steps.append(str(value))
    return steps


def _modular_twin(problem, modulus, numbers) -> tuple[Problem, str, str]:
    steps = _solve(problem, modulus)
    if list(problem.steps) != steps or problem.answer != steps[-1]:
        raise Skip("its steps do not follow from its question")
    places = [match.span() for match in re.finditer(r"\d+", problem.question)]
    numbers.shuffle(places)
    for start, end in places:
        old = problem.question[start:end]
        # Operands begin at 1.
        first = 0 if problem.question[:start] == "start " else 1
        for new in draw_others(numbers, range(first, modulus), int(old)):
            question = (
                problem.question[:start] + str(new) + problem.question[end:]
            )
            twin = Problem(question, [], "")
            steps = _solve(twin, modulus)
            if steps[-1] != problem.answer:
                twin = Problem(question, steps, steps[-1])
                return twin, old, str(new)
    raise Skip("no other number gives another answer")
