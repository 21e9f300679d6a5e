"""Generated problems of modular arithmetic."""

import functools
import random
import sys

from keras_coconut.checks import check_count, shown
from keras_coconut.datasets.splits import Splits, check_sizes, take_splits
from keras_coconut.problems import Problem

_SYMBOLS = "+-*"
# More than anybody makes: a mistyped count must not fill the memory.
_MOST_OPERATIONS = 1_000
_MOST_VALUES = 100_000


def make_arithmetic(
    num_problems: int,
    *,
    num_operations: int = 3,
    modulus: int = 10,
    seed: int = 0,
) -> list[Problem]:
    """Generates distinct problems of arithmetic modulo a number.

    A problem starts with a number and applies operations to it one by one. Each
    step is the running value; the last value is the answer. No problem repeats,
    so the list can be split anywhere without overlap.

    Args:
        num_problems: int. Number of problems.
        num_operations: int, at most 1,000. Number of operations in a problem,
            which is its number of steps. Defaults to `3`.
        modulus: int, 2 to 100,000. Values run from 0 to `modulus - 1`,
            operands from 1. Defaults to `10`.
        seed: int, at least 0. Defaults to `0`.

    Returns:
        A list of `Problem`s in random order.

    Raises:
        ValueError: If there are fewer distinct problems, or if a count is out
            of range or not an integer.

    Example:
    ```python
    problems = keras_coconut.make_arithmetic(11_000)
    test, train = problems[:1_000], problems[1_000:]
    problems[0].question  # "start 3, +4, *2, -5"
    problems[0].steps  # ("7", "4", "9")
    ```
    """
    num_problems = check_count("num_problems", num_problems)
    num_operations, modulus, available = _available(num_operations, modulus)
    seed = check_count("seed", seed)
    if num_problems > available:
        raise ValueError(
            f"`num_problems` must be at most {shown(available)}, the number "
            f"of distinct problems of {num_operations} operations modulo "
            f"{modulus}. Received: num_problems={shown(num_problems)}"
        )
    operations = [
        (symbol, operand)
        for symbol in _SYMBOLS
        for operand in range(1, modulus)
    ]
    return [
        _problem(index, operations, num_operations, modulus)
        for index in _distinct(random.Random(seed), available, num_problems)
    ]


def load_arithmetic(
    *,
    train: int = 50_000,
    validation: int = 250,
    test: int = 1_000,
    num_operations: int = 3,
    modulus: int = 10,
    seed: int = 0,
) -> Splits:
    """Generates problems of arithmetic modulo a number in three splits.

    Args:
        train, validation, test: ints. Number of problems in each split.
        num_operations, modulus, seed: see `make_arithmetic`.

    Returns:
        `Splits`.

    Raises:
        ValueError: If there are fewer distinct problems, or if a count is out
            of range or not an integer.

    Example:
    ```python
    splits = keras_coconut.load_arithmetic(train=10_000, num_operations=4)
    ```
    """
    num_operations, modulus, available = _available(num_operations, modulus)
    sizes = check_sizes(train, validation, test)
    if sum(sizes.values()) > available:
        raise ValueError(
            "`train`, `validation` and `test` must be at most "
            f"{shown(available)} together, the number of distinct problems of "
            f"{num_operations} operations modulo {modulus}. Received: "
            f"{shown(sizes)}"
        )
    make = functools.partial(
        make_arithmetic,
        num_operations=num_operations,
        modulus=modulus,
        seed=seed,
    )
    return take_splits(make, train, validation, test)


def arithmetic_words(modulus: int = 10) -> list[str]:
    """Returns the words of these problems, for `make_word_tokenizer`.

    Each operation and each step becomes one token, so a thought takes exactly
    the position of the step that it replaces.

    Args:
        modulus: int, 2 to 100,000; see `make_arithmetic`. Defaults to `10`.

    Raises:
        ValueError: If `modulus` is out of range.

    Example:
    ```python
    words = keras_coconut.arithmetic_words()
    tokenizer = keras_coconut.make_word_tokenizer(words)
    ```
    """
    modulus = check_count("modulus", modulus, least=2, most=_MOST_VALUES)
    return [
        *(f"start {value}" for value in range(modulus)),
        *(f", {s}{n}" for s in _SYMBOLS for n in range(1, modulus)),
        *(f"{value}\n" for value in range(modulus)),
        "### ",
    ]


def _available(num_operations, modulus) -> tuple[int, int, int]:
    """Returns the two arguments, checked, and how many problems they give."""
    num_operations = check_count(
        "num_operations", num_operations, most=_MOST_OPERATIONS
    )
    modulus = check_count("modulus", modulus, least=2, most=_MOST_VALUES)
    available = modulus * (len(_SYMBOLS) * (modulus - 1)) ** num_operations
    return num_operations, modulus, available


def _distinct(numbers, available, count) -> list[int]:
    """Draws distinct numbers below a bound."""
    if available <= sys.maxsize:
        return numbers.sample(range(available), count)
    # A range of more than that has no length in Python.
    chosen: dict[int, None] = {}
    while len(chosen) < count:
        chosen[numbers.randrange(available)] = None
    return list(chosen)


def _problem(index, operations, num_operations, modulus):
    """Returns the problem with a number: its digits in mixed base."""
    index, value = divmod(index, modulus)
    question, steps = f"start {value}", []
    for _ in range(num_operations):
        index, number = divmod(index, len(operations))
        symbol, operand = operations[number]
        question += f", {symbol}{operand}"
        if symbol == "+":
            value += operand
        elif symbol == "-":
            value -= operand
        else:
            value *= operand
        value %= modulus
        steps.append(str(value))
    return Problem(question, steps, str(value))
