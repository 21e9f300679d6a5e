"""Means over the members or the pairs of problems. Needs SciPy."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from keras_coconut.evaluation.statistics import Interval


class PooledMean(NamedTuple):
    """A mean over all members of a group, such as its nodes, in all problems.

    Attributes:
        mean: float, NaN without members.
        margin: float, half the width of its 95% confidence interval, NaN if
            fewer than two problems have members. Members of one problem are
            not independent: the interval is one over problems.
        members: int, their number.
        problems: int, the number of problems that have members.

    Example:
    ```python
    found = keras_coconut.superposition(model, graph_problems, num_thoughts=1)
    pooled = found.inner_products[0].frontier
    pooled.mean, pooled.margin, pooled.members
    ```
    """

    mean: float
    margin: float
    members: int
    problems: int


def pool(values: Sequence[np.ndarray]) -> PooledMean:
    """Returns the mean of values, and its interval over problems.

    The mean is a ratio, of a sum over problems to the number of members. Its
    variance follows from how far each problem's sum is from what the mean
    predicts for its number of members.

    Args:
        values: sequence of float arrays, the values of each problem's members.

    Example:
    ```python
    pool([np.array([1.0, 2.0]), np.array([3.0])]).mean  # 2.0
    ```
    """
    values = [one for one in values if len(one)]
    count, problems = sum(map(len, values)), len(values)
    if not count:
        return PooledMean(math.nan, math.nan, 0, 0)
    sums = np.array([np.sum(one, dtype="float64") for one in values])
    mean = float(sums.sum() / count)
    if problems == 1:
        return PooledMean(mean, math.nan, count, 1)
    from scipy import stats

    rest = sums - mean * np.array([len(one) for one in values])
    variance = (rest**2).sum() * problems / (problems - 1)
    margin = stats.t.ppf(0.975, problems - 1) * math.sqrt(variance) / count
    return PooledMean(mean, float(margin), count, problems)


def pair_mean(sums: np.ndarray) -> Interval:
    """Returns the mean over all pairs of problems, and its 95% interval.

    Each pair counts for two problems, so that the means of the problems are not
    independent. The interval is the jackknife's over problems: how the mean
    changes when a problem is left out with all its pairs.

    Args:
        sums: float array, at least two: the sum of each problem's values with
            all other problems. The value of a pair is the same both ways.

    Returns:
        An `Interval`. Its margin is NaN for fewer than three problems.

    Example:
    ```python
    # The pairs have the values 1, 2 and 3.
    pair_mean(np.array([3.0, 4.0, 5.0])).mean  # 2.0
    ```
    """
    count, total = len(sums), float(sums.sum())
    mean = total / (count * (count - 1))
    if count < 3:
        return Interval(mean, math.nan)
    from scipy import stats

    without = (total - 2 * sums) / ((count - 1) * (count - 2))
    variance = without.var() * (count - 1)
    margin = stats.t.ppf(0.975, count - 1) * math.sqrt(variance)
    return Interval(mean, float(margin))
