"""Problems of arithmetic: true, distinct, and as many as asked for."""

import re

import pytest

from keras_coconut.datasets.arithmetic import make_arithmetic


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
        (dict(num_problems=1, modulus=1), "modulus.*at least 2"),
        (dict(num_problems=1, num_operations=1.5), "num_operations.*1.5"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_arithmetic(**arguments)
