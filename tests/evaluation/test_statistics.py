"""Intervals and paired tests, against hand-made cases."""

import math

import pytest

from keras_coconut.evaluation.statistics import mcnemar, mean_interval


def test_interval():
    # By a table of Student's distribution: 4.303 for two degrees of freedom.
    found = mean_interval([0.96, 0.97, 0.98])
    assert found.mean == pytest.approx(0.97)
    assert found.margin == pytest.approx(4.303 * 0.01 / math.sqrt(3), rel=1e-3)
    assert math.isnan(mean_interval([1.0]).margin)
    with pytest.raises(ValueError, match="at least one"):
        mean_interval([])


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
