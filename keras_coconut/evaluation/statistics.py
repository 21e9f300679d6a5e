"""Means over seeds with their intervals, and paired tests. Needs SciPy."""

import math
from collections.abc import Iterable, Mapping, Set
from typing import NamedTuple

from keras_coconut.checks import check_flag, check_number, refuse


class Interval(NamedTuple):
    """A mean and half the width of its 95% confidence interval."""

    mean: float
    margin: float


def mean_interval(values: Iterable[float]) -> Interval:
    """Returns the mean over seeds with Student's 95% interval.

    Args:
        values: iterable of finite numbers, one figure for each seed, at least
            one. The margin of a single figure is NaN.

    Returns:
        An `Interval`.

    Raises:
        ValueError: If there are no values, or if one is not a finite number.

    Example:
    ```python
    mean_interval([0.96, 0.97, 0.98])  # Interval(mean=0.97, margin=0.0248)
    ```
    """
    from scipy import stats

    values = [
        check_number(f"values[{index}]", value)
        for index, value in enumerate(_listed("values", values))
    ]
    # Neither squares nor sums of numbers up to 1 overflow.
    scale = max(map(abs, values)) or 1.0
    scaled = [value / scale for value in values]
    mean = math.fsum(scaled) / len(scaled)
    if len(values) == 1:
        return Interval(mean * scale, math.nan)
    variance = math.fsum((x - mean) ** 2 for x in scaled) / (len(scaled) - 1)
    quantile = float(stats.t.ppf(0.975, len(scaled) - 1))
    margin = quantile * math.sqrt(variance / len(scaled))
    return Interval(mean * scale, margin * scale)


class McNemar(NamedTuple):
    """How two methods differ on the same problems.

    `only_first` and `only_second` count the problems that one of them alone
    answers; `p_value` is that of the exact test of whether either is better.
    """

    only_first: int
    only_second: int
    p_value: float


def mcnemar(first: Iterable[bool], second: Iterable[bool]) -> McNemar:
    """Compares two methods by the problems that one of them alone answers.

    Args:
        first, second: iterables of bools, at least one. For each problem,
            whether the method answers it.

    Returns:
        A `McNemar`.

    Raises:
        ValueError: If they are empty or of different lengths, or if a value is
            not a bool.

    Example:
    ```python
    mcnemar([True, True, False], [True, False, False])
    # McNemar(only_first=1, only_second=0, p_value=1.0)
    ```
    """
    from scipy import stats

    pairs = []
    for name, flags in (("first", first), ("second", second)):
        pairs.append(
            [
                check_flag(f"{name}[{index}]", flag)
                for index, flag in enumerate(_listed(name, flags))
            ]
        )
    first, second = pairs
    if len(first) != len(second):
        raise ValueError(
            "`first` and `second` must be of the same problems. Received: "
            f"{len(first)} and {len(second)} of them"
        )
    only_first = sum(a and not b for a, b in zip(first, second))
    only_second = sum(b and not a for a, b in zip(first, second))
    different = only_first + only_second
    p_value = 1.0
    if different:
        p_value = stats.binomtest(only_first, different).pvalue
    return McNemar(only_first, only_second, float(p_value))


def _listed(name, values) -> list:
    """Returns a list of at least one value."""
    expected = "a list of values, at least one"
    # A set has forgotten equal values, and the order of the others.
    if isinstance(values, str | bytes | Mapping | Set):
        raise refuse(name, expected, values)
    try:
        values = list(values)
    except TypeError:
        raise refuse(name, expected, values) from None
    if not values:
        raise refuse(name, expected, values)
    return values
