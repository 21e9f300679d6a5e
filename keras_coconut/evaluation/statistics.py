"""Means over seeds with their intervals, and paired tests. Needs SciPy."""

import math
from collections.abc import Sequence
from typing import NamedTuple


class Interval(NamedTuple):
    """A mean and half the width of its 95% confidence interval."""

    mean: float
    margin: float


def mean_interval(values: Sequence[float]) -> Interval:
    """Returns the mean over seeds with Student's 95% interval.

    Args:
        values: one figure for each seed. Of a single one the margin is NaN.

    Example:
    ```python
    mean_interval([0.96, 0.97, 0.98])  # Interval(mean=0.97, margin=0.0248)
    ```
    """
    from scipy import stats

    values = list(values)
    if not values:
        raise ValueError("`values` must hold at least one. Received: none")
    mean = sum(values) / len(values)
    if len(values) == 1:
        return Interval(mean, math.nan)
    variance = sum((x - mean) ** 2 for x in values) / (len(values) - 1)
    quantile = stats.t.ppf(0.975, len(values) - 1)
    return Interval(mean, float(quantile * math.sqrt(variance / len(values))))


class McNemar(NamedTuple):
    """How two methods differ on the same problems.

    `only_first` and `only_second` count the problems that one of them alone
    answers; `p_value` is that of the exact test that neither is better.
    """

    only_first: int
    only_second: int
    p_value: float


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> McNemar:
    """Compares two methods by the problems that one of them alone answers.

    Args:
        first, second: for each problem, whether the method answers it.

    Raises:
        ValueError: If they are of different lengths.

    Example:
    ```python
    mcnemar([True, True, False], [True, False, False])
    # McNemar(only_first=1, only_second=0, p_value=1.0)
    ```
    """
    from scipy import stats

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
