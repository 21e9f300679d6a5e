"""Steps of arithmetic, such as `<<600*30/100=180>>`, computed again.

Numbers are fractions, so that nothing is rounded.
"""

import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import NamedTuple

# A chain whose numbers have no end, or brackets within brackets without end,
# is no chain of a person.
_MOST_CHARACTERS = 200
_NUMBER = re.compile(r"\d+(?:\.\d*)?|\.\d+", re.ASCII)
_STEP = re.compile(
    r" *(?:<<)?(?P<sum>[\d.+\-*/() ]+)= *(?P<result>-?[\d.]+) *(?:>>)? *",
    re.ASCII,
)


class Skip(Exception):
    """Why a chain cannot be computed, or not be computed again."""


class Operand(NamedTuple):
    """A number in a step: its place in the text, and where it comes from.

    `source` is the index of the earlier step whose result it repeats; `None`
    if it is of no earlier step.
    """

    start: int
    end: int
    source: int | None


class Step(NamedTuple):
    """A step as text, its operands, and the place of its result."""

    text: str
    operands: list[Operand]
    start: int
    end: int

    @property
    def result(self) -> str:
        """The result as it is written."""
        return self.text[self.start : self.end]

    @property
    def values(self) -> list[Fraction]:
        """The values of the operands."""
        return [Fraction(self.text[o.start : o.end]) for o in self.operands]

    @property
    def given(self) -> list[Fraction]:
        """The values of the operands that are no results."""
        pairs = zip(self.operands, self.values)
        return [value for operand, value in pairs if operand.source is None]


def read_chain(steps: Sequence[str]) -> list[Step]:
    """Returns steps of arithmetic with the sources of their numbers.

    A number that equals the result of an earlier step comes from the last such
    step; every other is given.

    Args:
        steps: list of strings, such as `"<<4+3=7>>"` or `"4 + 3 = 7"`.

    Raises:
        Skip: If a step is of another form, or if its result is not what its
            numbers give.

    Example:
    ```python
    read_chain(["<<4+3=7>>", "<<7*2=14>>"])[1].operands[0].source  # 0
    ```
    """
    chain: list[Step] = []
    results: dict[Fraction, int] = {}
    for index, text in enumerate(steps):
        match = _STEP.fullmatch(text[: _MOST_CHARACTERS + 1])
        if match is None or len(text) > _MOST_CHARACTERS:
            raise Skip("a step is not arithmetic")
        numbers = [
            found.span() for found in _NUMBER.finditer(text, *match.span("sum"))
        ]
        if len(numbers) < 2:
            raise Skip("a step computes nothing")
        operands = [
            Operand(start, end, results.get(Fraction(text[start:end])))
            for start, end in numbers
        ]
        step = Step(text, operands, *match.span("result"))
        value = compute(text[slice(*match.span("sum"))])
        if not _NUMBER.fullmatch(step.result.removeprefix("-")):
            raise Skip("a step is not arithmetic")
        if value != Fraction(step.result):
            raise Skip("a step is rounded or wrong")
        chain.append(step)
        results[value] = index
    if not chain:
        raise Skip("there are no steps")
    return chain


def recompute(
    chain: Sequence[Step], change: Callable[[str], str]
) -> tuple[list[str], list[Fraction]]:
    """Returns the steps after a change of given numbers, and their results.

    Args:
        chain: list of `Step`s.
        change: function from a given number, as written, to the new one.

    Raises:
        Skip: If a step divides by zero, or if a result cannot be written with
            as many decimals as before.

    Example:
    ```python
    chain = read_chain(["<<4+3=7>>", "<<7*2=14>>"])
    recompute(chain, lambda number: "5" if number == "4" else number)
    # (["<<5+3=8>>", "<<8*2=16>>"], [Fraction(8, 1), Fraction(16, 1)])
    ```
    """
    steps: list[str] = []
    values: list[Fraction] = []
    for step in chain:
        text, done = "", 0
        for start, end, source in step.operands:
            number = step.text[start:end]
            if source is None:
                number = change(number)
            else:
                number = _write_result(number, chain[source], values[source])
            text += step.text[done:start] + number
            done = end
        text += step.text[done : step.start]
        value = compute(text.rpartition("=")[0].replace("<<", ""))
        result = write_like(step.result, value)
        steps.append(text + result + step.text[step.end :])
        values.append(value)
    return steps, values


def _write_result(number, step, value) -> str:
    """Returns a result as a later step writes it, or as its own step does."""
    try:
        return write_like(number, value)
    except Skip:
        return write_like(step.result, value)


def write_like(number: str, value: Fraction) -> str:
    """Returns a value as another number is written: with as many decimals.

    Args:
        number: string, such as `"4.50"` or `".5"`.
        value: a fraction.

    Raises:
        Skip: If the value has more decimals.

    Example:
    ```python
    write_like("4.50", Fraction(13, 4))  # "3.25"
    ```
    """
    whole, point, decimals = number.removeprefix("-").partition(".")
    scaled = abs(value) * 10 ** len(decimals)
    if scaled.denominator != 1:
        raise Skip("another number gives no answer of the same kind")
    digits = str(scaled.numerator).rjust(len(decimals) + 1, "0")
    place = len(digits) - len(decimals)
    front, back = digits[:place], digits[place:]
    if point and not whole and front == "0":
        front = ""
    return f"{'-' if value < 0 else ''}{front}{point}{back}"


def compute(text: str) -> Fraction:
    """Returns the value of a sum of numbers, `+ - * /` and brackets.

    Args:
        text: string, such as `"600*30/100"`.

    Raises:
        Skip: If it is no such sum, or if it divides by zero.

    Example:
    ```python
    compute("2*(3+.5)")  # Fraction(7, 1)
    ```
    """
    tokens = re.findall(rf"{_NUMBER.pattern}|\S", text)
    value = _sum(tokens)
    if tokens:
        raise Skip("a step is not arithmetic")
    return value


def _sum(tokens) -> Fraction:
    value = _product(tokens)
    while tokens and tokens[0] in "+-":
        sign = 1 if tokens.pop(0) == "+" else -1
        value += sign * _product(tokens)
    return value


def _product(tokens) -> Fraction:
    value = _factor(tokens)
    while tokens and tokens[0] in "*/":
        if tokens.pop(0) == "*":
            value *= _factor(tokens)
            continue
        divisor = _factor(tokens)
        if not divisor:
            raise Skip("a step divides by zero")
        value /= divisor
    return value


def _factor(tokens) -> Fraction:
    if not tokens:
        raise Skip("a step is not arithmetic")
    token = tokens.pop(0)
    if token == "-":
        return -_factor(tokens)
    if token == "(":
        value = _sum(tokens)
        if not tokens or tokens.pop(0) != ")":
            raise Skip("a step is not arithmetic")
        return value
    if not _NUMBER.fullmatch(token):
        raise Skip("a step is not arithmetic")
    return Fraction(token)
