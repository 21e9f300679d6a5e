"""Long and odd values for the report card."""

import bad_values as bad
import numpy as np
import pytest
from bad_values import Call, given
from test_evaluation_arguments import PROBLEMS

from keras_coconut.report import report_card

pytestmark = pytest.mark.any_backend


@pytest.fixture(autouse=True, scope="module")
def made_once():
    """Not under a session that ends with the first test."""
    bad.setting()


TABLE = {
    "report_card": Call(
        lambda s: report_card,
        lambda s: dict(
            model=s.model,
            problems=PROBLEMS,
            num_thoughts=0,
            max_length=1,
            verbose=0,
        ),
        dict(
            model=bad.NO_INSTANCE,
            problems=(*bad.NO_PROBLEMS, PROBLEMS[:1]),
            control=given(bad.NO_INSTANCE),
            num_thoughts=(*given(bad.NO_SMALL_COUNT), 65, [0, 1, 0]),
            sample_size=(*bad.NO_COUNT_FROM_1, 1),
            num_pairs=bad.NO_COUNT_FROM_1,
            max_length=given(bad.NO_COUNT_FROM_1),
            batch_size=bad.NO_COUNT_FROM_1,
            seed=bad.NO_COUNT,
            verbose=bad.NO_VERBOSE,
            path=(*given(bad.NO_PATH), "report", "report.txt"),
        ),
        dict(
            num_thoughts=[np.int64(1)],
            sample_size=[np.int64(2), bad.INTEGER],
            seed=[bad.INTEGER],
        ),
        named=dict(num_thoughts="`num_thoughts|must fit"),
    ),
}


@pytest.mark.parametrize("call", bad.calls(TABLE))
def test_good_arguments(call):
    bad.check_good(call)


@pytest.mark.parametrize(("call", "name"), bad.rows(TABLE))
def test_bad_arguments(call, name):
    bad.check_bad(call, name)


@pytest.mark.parametrize("length", [600, 5_000, 10**6])
def test_a_long_path(length):
    path = f"{'/a' * (length // 2)}.html"
    bad.check_long_path(TABLE["report_card"], "path", path)
