"""How two evaluations of the same problems compare, and two means."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple

from keras_coconut.evaluation import Evaluation, holm
from keras_coconut.evaluation.statistics import Interval, Share

# The normal distribution's, for 95%.
_Z = 1.959963984540054
# A loss of less does not count: 10 points, or a quarter of a low accuracy.
MOST_LOSS = 0.1
_SHARE_OF_OWN = 0.25
_MOST_PROBLEMS = 1_000_000
MOST_P_VALUE = 0.05

Comparison = Literal[
    "lower", "somewhat lower", "a little lower", "as high", "unclear"
]
# Fewer correct answers, which is no chance.
FEWER = ("lower", "somewhat lower", "a little lower")
# What more problems would decide.
_OPEN = ("somewhat lower", "unclear")


class Paired(NamedTuple):
    """How many cases are true both times, only one time, and never."""

    both: float
    only_first: float
    only_second: float
    neither: float

    @classmethod
    def of(cls, first: Sequence[bool], second: Sequence[bool]) -> "Paired":
        """Counts the flags of the same cases.

        Args:
            first, second: sequences of bools, of the same length.
        """
        pairs = list(zip(first, second, strict=True))
        return cls(
            *(
                sum(pair == each for pair in pairs)
                for each in (
                    (True, True),
                    (True, False),
                    (False, True),
                    (False, False),
                )
            )
        )

    def shares(self) -> tuple[Share, Share]:
        """Returns both shares of true cases with their Wilson intervals."""
        return (
            _wilson(self.both + self.only_first, sum(self)),
            _wilson(self.both + self.only_second, sum(self)),
        )

    def loss(self) -> Share:
        """Returns by how much the second share is lower.

        The 95% interval is that of paired shares (Newcombe, 1998, method 10).
        """
        first, second = self.shares()
        both, _, _, neither = self
        total = sum(self)
        product = both * neither - self.only_first * self.only_second
        if product > 0:
            product = max(product - total / 2, 0)
        scale = math.sqrt(
            (both + self.only_first)
            * (self.only_second + neither)
            * (both + self.only_second)
            * (self.only_first + neither)
        )
        phi = product / scale if scale else 0.0

        def width(one, other):
            # Of equal answers, rounding may leave less than nothing.
            square = one**2 - 2 * phi * one * other + other**2
            return math.sqrt(max(square, 0))

        return _difference(first, second, width)

    def p_value(self) -> float:
        """Returns the p-value of McNemar's exact two-sided test."""
        from scipy import stats

        different = int(self.only_first + self.only_second)
        if not different:
            return 1.0
        return float(stats.binomtest(int(self.only_first), different).pvalue)


def compare(own: Evaluation, other: Evaluation) -> Comparison:
    """Returns how another evaluation compares with that of the own thoughts.

    Both are of the same problems, so the tests are paired. It is as high if a
    loss of more than `tolerance` is excluded and no loss is significant by
    McNemar's test; a little lower if so small a loss is significant. Where a
    greater loss is possible, it is lower if its Wilson interval lies below the
    own one, and somewhat lower if the loss is significant all the same. It is
    unclear if so few problems tell none of this.

    Args:
        own, other: `Evaluation`s.

    Example:
    ```python
    few = keras_coconut.evaluate_problems(model, problems[:3])
    compare(few, few)  # "unclear"
    ```
    """
    return compare_pairs(Paired.of(own.correct, other.correct))


def compare_pairs(pairs: Paired) -> Comparison:
    """Returns how the second share compares with the first; see `compare`."""
    own, other = pairs.shares()
    loss = pairs.loss()
    is_small = loss.high <= tolerance(own)
    if own.low > other.high and not is_small:
        return "lower"
    if loss.share > 0 and pairs.p_value() < MOST_P_VALUE:
        return "a little lower" if is_small else "somewhat lower"
    return "as high" if is_small else "unclear"


def tolerance(own: Share) -> float:
    """Returns the loss that does not count: 0.1, less of a low accuracy."""
    return min(MOST_LOSS, _SHARE_OF_OWN * own.share)


def problems_needed(
    own: Evaluation, others: Iterable[Evaluation]
) -> int | None:
    """Returns how many problems would make all comparisons clear.

    It takes the shares, and those of both together, to stay as they are. The
    number is rounded up to two digits, and `None` if a million would not do.
    """
    most = 0
    for other in others:
        pairs = Paired.of(own.correct, other.correct)

        def is_clear(count, pairs=pairs):
            scaled = Paired(*(count * each / sum(pairs) for each in pairs))
            return compare_pairs(scaled) not in _OPEN

        needed = _least(is_clear)
        if needed is None:
            return None
        most = max(most, needed)
    digits = 10 ** max(0, len(str(most)) - 2)
    return -(-most // digits) * digits


def _least(is_clear: Callable[[int], bool]) -> int | None:
    """Returns the least number from which it is clear."""
    low, high = 0, 1
    while not is_clear(high):
        low, high = high, 2 * high
        if high > _MOST_PROBLEMS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_clear(middle) else (middle, high)
    return high


def _wilson(true: float, count: float) -> Share:
    """Returns a share of so many cases with its Wilson interval."""
    share = true / count
    scale = 1 + _Z**2 / count
    center = (share + _Z**2 / (2 * count)) / scale
    spread = share * (1 - share) / count + (_Z / (2 * count)) ** 2
    margin = _Z * math.sqrt(spread) / scale
    return Share(
        share, max(center - margin, 0), min(center + margin, 1), round(count)
    )


# === Figures of which no pairs are known ===


def share_difference(first: Share, second: Share) -> Share:
    """Returns how much lower the second share is (Newcombe, 1998, method 10).

    The 95% interval takes the shares as independent. Of the same problems,
    where they are not, it is rather too wide.
    """
    return _difference(first, second, math.hypot)


def _difference(first: Share, second: Share, width) -> Share:
    difference = first.share - second.share
    below = width(first.share - first.low, second.high - second.share)
    above = width(first.high - first.share, second.share - second.low)
    return Share(
        difference, difference - below, difference + above, second.total
    )


def mean_difference(first: Interval, second: Interval) -> Interval:
    """Returns the difference of two means, taken as independent."""
    return Interval(
        first.mean - second.mean, math.hypot(first.margin, second.margin)
    )


def above_zero(found: dict) -> list:
    """Returns the names of the means that are significantly above 0.

    The p-values follow from the margins by Student's t, and are corrected by
    Holm's method for the number of means.

    Args:
        found: dictionary from names to pairs of an `Interval` and the number of
            cases that it is a mean of.
    """
    from scipy import stats

    if not found:
        return []
    p_values = []
    for value, count in found.values():
        freedom = max(count - 1, 1)
        quantile = stats.t.ppf(0.975, freedom)
        # Equal values have no margin.
        ratio = math.copysign(math.inf, value.mean) if value.mean else 0.0
        if value.margin:
            ratio = quantile * value.mean / value.margin
        p_values.append(min(2 * float(stats.t.sf(abs(ratio), freedom)), 1.0))
    return [
        name
        for (name, (value, _)), p_value in zip(found.items(), holm(p_values))
        if value.mean > 0 and p_value < MOST_P_VALUE
    ]
