"""Means and shares with their intervals, and paired tests. Needs SciPy."""

import math
from collections.abc import Iterable, Mapping, Set
from typing import NamedTuple

from keras_coconut.checks import check_flag, check_number, refuse


class Interval(NamedTuple):
    """A mean, and the margin: half the width of its 95% confidence interval.

    Example:
    ```python
    mean, margin = keras_coconut.mean_interval([0.96, 0.97, 0.98])
    ```
    """

    mean: float
    margin: float


def mean_interval(values: Iterable[float]) -> Interval:
    """Returns the mean over seeds with its 95% interval (Student's t).

    Args:
        values: iterable of finite numbers, one for each seed, at least one.
            The margin of a single number is NaN.

    Returns:
        An `Interval`.

    Raises:
        ValueError: If there are no values, or if one is not a finite number.

    Example:
    ```python
    keras_coconut.mean_interval([0.96, 0.97, 0.98])
    # Interval(mean=0.97, margin=0.0248)
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


class Share(NamedTuple):
    """A share, its 95% confidence interval, and of how many it is.

    `share`, `low` and `high` are fractions; `total` is the number of cases.

    Example:
    ```python
    found = keras_coconut.share_interval([True, True, False, True])
    f"{found.share:.0%} ({found.low:.0%} to {found.high:.0%})"
    ```
    """

    share: float
    low: float
    high: float
    total: int


def share_interval(flags: Iterable[bool]) -> Share:
    """Returns the share of true flags with its 95% interval (Wilson, 1927).

    Unlike the mean's, this interval stays within 0 and 1, and it has a width
    where all flags are equal.

    Args:
        flags: iterable of bools, at least one.

    Returns:
        A `Share`.

    Raises:
        ValueError: If there are no flags, or if one is not a bool.

    Example:
    ```python
    found = keras_coconut.evaluate_problems(model, problems)
    keras_coconut.share_interval(found.correct)
    ```
    """
    from scipy import stats

    flags = [
        check_flag(f"flags[{index}]", flag)
        for index, flag in enumerate(_listed("flags", flags))
    ]
    found = stats.binomtest(sum(flags), len(flags))
    low, high = found.proportion_ci(method="wilson")
    return Share(sum(flags) / len(flags), float(low), float(high), len(flags))


class McNemar(NamedTuple):
    """How two methods differ on the same problems.

    `only_first` and `only_second` count the problems that only one method
    answers correctly. `p_value` is that of the exact two-sided McNemar test.

    Example:
    ```python
    keras_coconut.mcnemar([True, True], [True, False]).p_value  # 1.0
    ```
    """

    only_first: int
    only_second: int
    p_value: float


def mcnemar(first: Iterable[bool], second: Iterable[bool]) -> McNemar:
    """Compares two methods by the problems that only one of them answers.

    Args:
        first, second: iterables of bools, at least one. Whether the method
            answers each problem correctly.

    Returns:
        A `McNemar`.

    Raises:
        ValueError: If they are empty or of different lengths, or if a value is
            not a bool.

    Example:
    ```python
    keras_coconut.mcnemar([True, True, False], [True, False, False])
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


def holm(p_values: Iterable[float]) -> list[float]:
    """Corrects p-values for the number of tests (Holm, 1979).

    Args:
        p_values: iterable of numbers from 0 to 1, at least one.

    Returns:
        A list of the corrected p-values, in the order of the tests. The chance
        that any of those below 0.05 is a false alarm is at most 5%.

    Raises:
        ValueError: If there are none, or if one is not from 0 to 1.

    Example:
    ```python
    keras_coconut.holm([0.01, 0.04, 0.03])  # [0.03, 0.06, 0.06]
    ```
    """
    p_values = [
        check_number(f"p_values[{index}]", value, least=0, most=1)
        for index, value in enumerate(_listed("p_values", p_values))
    ]
    corrected, largest = [0.0] * len(p_values), 0.0
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    for rank, index in enumerate(order):
        largest = max(largest, (len(p_values) - rank) * p_values[index])
        corrected[index] = min(largest, 1.0)
    return corrected


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
