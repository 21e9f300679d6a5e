"""How evaluations of the same problems compare, by cases made by hand."""

import numpy as np
import pytest
from figures_by_hand import evaluation, share

from keras_coconut import Evaluation, Interval, mcnemar, mean_interval
from keras_coconut.evaluation.statistics import share_interval
from keras_coconut.report import comparing
from keras_coconut.report.comparing import Paired

pytestmark = pytest.mark.any_backend


def of_flags(correct):
    correct = tuple(map(bool, correct))
    share = sum(correct) / len(correct)
    return Evaluation(share, 0.0, 8.0, 0.01, ("",) * len(correct), correct)


def test_wilson_intervals_are_scipys():
    for true, count in ((0, 10), (480, 500), (7, 14), (33, 33)):
        found = comparing._wilson(true, count)
        expected = share_interval([index < true for index in range(count)])
        assert tuple(found) == pytest.approx(tuple(expected))


def test_pairs_are_counted():
    first = [True, True, False, False, True]
    second = [True, False, True, False, False]
    pairs = Paired.of(first, second)
    assert pairs == (1, 2, 1, 1)
    assert [each.share for each in pairs.shares()] == [0.6, 0.4]
    assert pairs.p_value() == mcnemar(first, second).p_value
    with pytest.raises(ValueError, match="shorter"):
        Paired.of(first, second[:2])


def test_the_paired_loss_is_newcombes():
    """Tables of his paper on paired shares (1998), by method 10."""
    for table, limits in (
        ((36, 12, 2, 0), (0.0569, 0.3404)),
        ((36, 14, 0, 0), (0.1528, 0.4167)),
    ):
        found = Paired(*table).loss()
        assert found[1:3] == pytest.approx(limits, abs=5e-4)


def test_the_paired_loss_holds_the_truth():
    """Drawn pairs: the interval misses the true loss in few cases."""
    numbers = np.random.default_rng(0)
    shares = [0.7, 0.12, 0.03, 0.15]
    losses = [
        Paired(*map(int, table)).loss()
        for table in numbers.multinomial(200, shares, size=1000)
    ]
    held = np.mean([loss.low <= 0.09 <= loss.high for loss in losses])
    assert 0.93 < held < 0.98


def test_the_difference_of_independent_shares_is_newcombes():
    """His example: 56 of 70 and 48 of 80, by method 10."""
    first = share_interval([index < 56 for index in range(70)])
    second = share_interval([index < 48 for index in range(80)])
    found = comparing.share_difference(first, second)
    assert found.share == pytest.approx(0.2)
    assert found[1:3] == pytest.approx((0.0524, 0.3339), abs=1e-4)


@pytest.mark.parametrize(
    ("own", "other", "count", "expected"),
    [
        (0.96, 0.5, 500, "lower"),
        (0.96, 0.95, 500, "as high"),
        (0.5, 0.9, 500, "as high"),
        (0.95, 0.8, 20, "unclear"),
        # Ten points are a lot of 20%; 25 problems are lost and none is won.
        (0.2, 0.15, 500, "somewhat lower"),
        # The greater the loss, the lower.
        (0.9, 0.85, 200, "a little lower"),
        (0.9, 0.84, 200, "a little lower"),
        (0.9, 0.82, 200, "somewhat lower"),
        (0.9, 0.80, 200, "lower"),
        (0.6, 0.48, 100, "somewhat lower"),
        # 20 problems are lost and none is won: that is no chance.
        (0.9, 0.86, 500, "a little lower"),
        # With so many problems the intervals are apart, but the loss is small.
        (0.9, 0.86, 5000, "a little lower"),
    ],
)
def test_compare(own, other, count, expected):
    found = [evaluation(each, count=count) for each in (own, other)]
    assert comparing.compare(*found) == expected


def test_as_many_won_as_lost():
    """No loss, but as wide an interval as 40 changed answers make it."""
    own = of_flags([*[True] * 430, *[True] * 20, *[False] * 50])
    other = of_flags(
        [*[True] * 430, *[False] * 20, *[True] * 20, *[False] * 30]
    )
    assert comparing.compare(own, other) == "as high"
    assert Paired.of(own.correct, other.correct).p_value() == 1


def test_equal_answers_are_as_high():
    own = of_flags([index < 60 for index in range(200)])
    assert comparing.compare(own, own) == "as high"
    # The shares alone would not tell.
    loss = comparing.share_difference(share(0.3, 200), share(0.3, 200))
    assert loss.high > comparing.tolerance(own.interval)


def test_so_many_problems_decide_it_and_no_fewer():
    own, other = evaluation(0.9, count=20), evaluation(0.75, count=20)
    needed = comparing.problems_needed(own, [other])
    assert 20 < needed < 1000

    def decided(count):
        pairs = Paired(*(count * each for each in (0.75, 0.15, 0, 0.1)))
        return comparing.compare_pairs(pairs) == "lower"

    assert decided(needed)
    # It is rounded up to two digits.
    assert not decided(needed - 11)
    assert comparing.problems_needed(own, [other, own]) == needed


def test_no_number_of_problems_decides_it():
    # Of no accuracy, no loss is small.
    none = evaluation(0.0, count=20)
    assert comparing.problems_needed(none, [none]) is None


def test_the_margins_of_a_difference_add_by_their_squares():
    found = comparing.mean_difference(Interval(3.0, 0.3), Interval(1.0, 0.4))
    assert found == pytest.approx((2.0, 0.5))


def test_means_above_zero():
    """The p-value is that of a t-test, corrected for the number of means."""
    from scipy import stats

    values = np.random.default_rng(1).normal(0.5, 1.0, 30).tolist()
    p_value = stats.ttest_1samp(values, 0).pvalue
    assert 0.005 < p_value < 0.05
    found = mean_interval(values), len(values)
    assert comparing.above_zero({"a": found}) == ["a"]
    nothing = Interval(0.0, 1.0), 30
    some = {str(number): nothing for number in range(int(0.05 / p_value))}
    assert comparing.above_zero({"a": found, **some}) == []
    assert comparing.above_zero({}) == []
    below = Interval(-found[0].mean, found[0].margin), 30
    assert comparing.above_zero({"a": below}) == []
    for mean, expected in ((0.1, ["a"]), (0.0, []), (-0.1, [])):
        same = {"a": (Interval(mean, 0.0), 30)}
        assert comparing.above_zero(same) == expected
