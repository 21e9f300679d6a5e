"""Problems of arithmetic: true, distinct, and as many as asked for."""

import re

import numpy as np
import pytest

from keras_coconut.datasets.arithmetic import (
    arithmetic_words,
    load_arithmetic,
    make_arithmetic,
)

pytestmark = pytest.mark.any_backend


@pytest.mark.parametrize(("operations", "modulus"), [(1, 2), (3, 10), (7, 23)])
def test_every_step_is_right(operations, modulus):
    count = 8 if operations == 1 else 300
    for problem in make_arithmetic(
        min(count, modulus * 3), num_operations=operations, modulus=modulus
    ):
        start, *rest = problem.question.removeprefix("start ").split(", ")
        value, steps = int(start), []
        for operation in rest:
            assert re.fullmatch(r"[-+*]\d+", operation)
            # Python's own arithmetic on the text.
            value = eval(f"({value}) {operation}") % modulus
            steps.append(str(value))
        assert problem.steps == tuple(steps) and len(steps) == operations
        assert problem.answer == steps[-1]


def test_no_problem_repeats_and_all_can_be_made():
    problems = make_arithmetic(10 * 27, num_operations=1)
    assert len({problem.question for problem in problems}) == 270
    assert problems != make_arithmetic(10 * 27, num_operations=1, seed=1)
    assert problems == make_arithmetic(10 * 27, num_operations=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(num_problems=271, num_operations=1), "at most 270.*271"),
        (dict(num_problems=-1), "num_problems.*-1"),
        (dict(num_problems=1, modulus=1), "modulus.*from 2 to.*1"),
        (dict(num_problems=1, num_operations=1.5), "num_operations.*1.5"),
        (dict(num_problems=1, num_operations=10**9), "num_operations.*1000"),
        (dict(num_problems=1, modulus=10**9), "modulus.*100000"),
        (dict(num_problems=1, modulus="10"), "modulus.*'10'"),
        (dict(num_problems=None), "num_problems.*None"),
        (dict(num_problems="5"), "num_problems.*'5'"),
        (dict(num_problems=10**5000), "num_problems.*at most 196830.*bits"),
        (
            dict(num_problems=10**5000, num_operations=1000),
            "num_problems.*at most <a whole number.*bits",
        ),
        (dict(num_problems=1, seed=None), "seed.*None"),
        (dict(num_problems=1, seed=-1), "seed.*-1"),
        (dict(num_problems=1, seed=0.5), "seed.*0.5"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        make_arithmetic(**arguments)
    assert len(str(error.value)) < 500


def test_numbers_of_numpy_are_numbers():
    of_numpy = make_arithmetic(
        np.int64(5),
        num_operations=np.uint8(2),
        modulus=np.int32(7),
        seed=np.int64(3),
    )
    assert of_numpy == make_arithmetic(5, num_operations=2, modulus=7, seed=3)


def test_more_problems_than_python_can_count():
    # 27 ** 15 * 10 of them are more than the length of any range.
    problems = make_arithmetic(50, num_operations=15)
    assert len({problem.question for problem in problems}) == 50
    assert problems == make_arithmetic(50, num_operations=15)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(train=-1), "train.*-1"),
        (dict(validation=1.5), "validation.*1.5"),
        (dict(test=None), "test.*None"),
        (dict(train=10**5000), "`train`.*together.*bits"),
        (dict(modulus=None), "modulus.*None"),
        (dict(seed=None), "seed.*None"),
    ],
)
def test_bad_arguments_of_the_splits(arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        load_arithmetic(**{"train": 1, "validation": 1, "test": 1, **arguments})
    assert len(str(error.value)) < 500


@pytest.mark.parametrize("modulus", [1, 10**9, None, "10", 2.5])
def test_bad_moduli_of_the_words(modulus):
    with pytest.raises(ValueError, match="`modulus` must be a whole number"):
        arithmetic_words(modulus)
