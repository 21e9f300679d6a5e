"""Intervals and paired tests, against hand-made cases."""

import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from keras_coconut.evaluation.statistics import (
    holm,
    mcnemar,
    mean_interval,
    share_interval,
)

pytestmark = pytest.mark.any_backend


def test_interval():
    # By a table of Student's distribution: 4.303 for two degrees of freedom.
    found = mean_interval([0.96, 0.97, 0.98])
    assert found.mean == pytest.approx(0.97)
    assert found.margin == pytest.approx(4.303 * 0.01 / math.sqrt(3), rel=1e-3)
    assert math.isnan(mean_interval([1.0]).margin)
    with pytest.raises(ValueError, match="at least one"):
        mean_interval([])


@pytest.mark.parametrize(("right", "count"), [(0, 7), (7, 7), (81, 263)])
def test_share(right, count):
    """The ends are where a normal test of the share is just significant."""
    found = share_interval([True] * right + [False] * (count - right))
    assert found.share == right / count
    assert found.total == count
    z = 1.959963984540054
    for end, is_extreme in (
        (found.low, right == 0),
        (found.high, right == count),
    ):
        distance = abs(found.share - end)
        assert 0 <= end <= 1
        if is_extreme:
            assert end == found.share
        else:
            error = math.sqrt(end * (1 - end) / count)
            assert distance == pytest.approx(z * error)
    # Newcombe, 1998, table I: 81 of 263.
    if count == 263:
        assert found[1:3] == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_pairs():
    first = [True] * 10 + [False] * 2 + [True] * 5
    second = [False] * 10 + [True] * 2 + [True] * 5
    found = mcnemar(first, second)
    assert found[:2] == (10, 2)
    # Two tails of twelve throws of a coin with two heads at most.
    tail = sum(math.comb(12, k) for k in range(3)) / 2**12
    assert found.p_value == pytest.approx(2 * tail)
    assert mcnemar(first, first) == (0, 0, 1.0)
    with pytest.raises(ValueError, match="17 and 1 "):
        mcnemar(first, [True])


@pytest.mark.parametrize(
    "values",
    [
        [1, 2.0, 3],
        (1.0, 2.0, 3.0),
        np.array([1, 2, 3], "float32"),
        [np.int8(1), np.float64(2), 3],
        iter([1, 2, 3]),
    ],
)
def test_figures_of_any_kind(values):
    found = mean_interval(values)
    assert found.mean == 2
    assert [type(value) for value in found] == [float, float]


@pytest.mark.parametrize(
    "values",
    [
        None,
        3.0,
        "123",
        {"a": 1},
        [1, None],
        [1, "2"],
        [1, True],
        [1, math.nan],
        [math.inf],
        [[1, 2], [3, 4]],
        np.zeros((2, 2)),
        [1, "x" * 10**6],
    ],
)
def test_what_are_no_figures(values):
    with pytest.raises(ValueError, match="`values") as error:
        mean_interval(values)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize(
    ("first", "second", "name"),
    [
        (None, [True], "first"),
        ([], [], "first"),
        ("True", [True], "first"),
        ([True, 1], [True, True], r"first\[1\]"),
        ([True], ["x" * 10**6], r"second\[0\]"),
        ([True], [None], r"second\[0\]"),
        ([True], 1, "second"),
    ],
)
def test_what_are_no_answers(first, second, name):
    with pytest.raises(ValueError, match=f"`{name}` must be") as error:
        mcnemar(first, second)
    assert len(str(error.value)) < 500


def test_flags_of_numpy():
    first, second = np.array([True, True, False]), (True, False, False)
    assert mcnemar(first, second) == mcnemar(first.tolist(), list(second))


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=6))
def test_intervals_of_any_figures(values):
    found = mean_interval(values)
    assert found.mean == pytest.approx(statistics.fmean(values), abs=1e-9)
    margin = (
        stats.t.ppf(0.975, len(values) - 1)
        * statistics.stdev(values)
        / math.sqrt(len(values))
    )
    assert found.margin == pytest.approx(margin, abs=1e-6, rel=1e-6)
    assert min(values) - 1e-9 <= found.mean <= max(values) + 1e-9


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_figures_of_any_size(values):
    found = mean_interval(values)
    assert math.isfinite(found.mean)
    assert found.margin >= 0 or len(values) == 1


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1))
def test_any_pairs(pairs):
    first, second = zip(*pairs)
    found = mcnemar(first, second)
    swapped = mcnemar(second, first)
    assert found[:2] == swapped[:2][::-1]
    assert found.p_value == pytest.approx(swapped.p_value)
    assert 0 < found.p_value <= 1
    both = sum(map(all, pairs)), sum(not any(pair) for pair in pairs)
    assert sum(both) + found.only_first + found.only_second == len(pairs)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1, 1]
    assert holm([0.2]) == [0.2]


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_steps_down(p_values):
    """A test is rejected while all smaller ones are, each at its level."""
    found = holm(p_values)
    for level in (0.01, 0.05, 0.3):
        rejected, left = set(), len(p_values)
        for index in sorted(range(left), key=lambda i: p_values[i]):
            if p_values[index] * left > level:
                break
            rejected.add(index)
            left -= 1
        assert {i for i, p in enumerate(found) if p <= level} == rejected
