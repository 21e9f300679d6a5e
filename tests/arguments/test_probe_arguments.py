"""Long and odd values for what measures and probes thoughts."""

import bad_values as bad
import numpy as np
import pytest
from bad_values import Call, given
from test_evaluation_arguments import PROBLEMS

from keras_coconut.analysis.budget import thought_budget
from keras_coconut.analysis.geometry import thought_geometry
from keras_coconut.analysis.probing.probes import thought_probes
from keras_coconut.analysis.ranks import effective_rank

pytestmark = pytest.mark.any_backend

READING = dict(
    model=bad.NO_INSTANCE,
    problems=bad.NO_PROBLEMS,
    num_thoughts=(*bad.NO_COUNTS, 0, 65),
    control=given(bad.NO_INSTANCE),
    seed=bad.NO_COUNT,
    batch_size=bad.NO_COUNT_FROM_1,
    verbose=bad.NO_VERBOSE,
)
ALSO = dict(
    num_thoughts=[np.int64(1), [1, 0, 1], np.array([1, 1, 0]), None],
    verbose=[np.False_],
    control=[None],
)


@pytest.fixture(autouse=True, scope="module")
def made_once():
    """Not under a session that ends with the first test."""
    bad.setting()


def reading(s):
    return dict(model=s.model, problems=PROBLEMS, num_thoughts=1, verbose=0)


TABLE = {
    "thought_budget": Call(
        lambda s: thought_budget,
        lambda s: {**reading(s), "num_thoughts": [0, 1], "max_length": 1},
        dict(
            model=bad.NO_INSTANCE,
            problems=bad.NO_PROBLEMS,
            num_thoughts=[
                *(3, "012", [], [0, 0], [-1], [1.0], ["1"], [65], {1: 2}),
                *([bad.INTEGER], [bad.TEXT], *bad.OBJECTS[1:-1]),
            ],
            answer_at_once=bad.NO_FLAG,
            control=given(bad.NO_INSTANCE),
            max_length=given(bad.NO_COUNT_FROM_1),
            batch_size=bad.NO_COUNT_FROM_1,
            verbose=bad.NO_VERBOSE,
            results_folder=given(bad.NO_PATH),
        ),
        dict(num_thoughts=[range(2), np.array([1, 0]), (np.int64(1),)]),
        named=dict(num_thoughts="`num_thoughts|must fit"),
    ),
    "thought_geometry": Call(
        lambda s: thought_geometry,
        reading,
        READING,
        {**ALSO, "seed": [np.int64(1), bad.INTEGER]},
    ),
    "thought_probes": Call(
        lambda s: thought_probes,
        lambda s: {**reading(s), "folds": 2},
        {
            **READING,
            "labels": [
                *given(bad.NO_INSTANCE),
                *(lambda problem, v=v: v for v in (3, "ab", b"a", {1}, [0.5])),
                *(lambda problem, v=v: v for v in ([[1]], [True], [{}], [])),
            ],
            "layers": ("0", 0, 1.5, [2], [-1], ["0"], [None], [True], {0: 1}),
            "folds": (*bad.NO_COUNT_FROM_1, 1, 4, bad.INTEGER),
            "regularization": [0, -1, "1", None, [1], np.nan, np.inf, True],
        },
        {
            **ALSO,
            "labels": [lambda problem: (1, "a", None, np.int64(3)), None],
            "layers": [[0], (np.int64(0),), None],
            "folds": [np.int64(3)],
            "regularization": [1, np.float32(0.5)],
            "seed": [np.int64(1)],
        },
    ),
    "effective_rank": Call(
        lambda s: effective_rank,
        lambda s: dict(vectors=np.eye(3)),
        dict(
            vectors=[
                *(3, 1.5, "a", [], {}, {1}, object(), bad.TEXT, b"a", None),
                *(np.zeros(3), np.zeros((2, 2, 2)), np.zeros((0, 3))),
                *(np.full((2, 2), v) for v in (np.nan, np.inf, "1", True)),
                *([[1.0], [1.0, 2.0]], np.zeros((3, 0))),
            ]
        ),
        dict(vectors=[[[1, 2], [3, 4]], np.ones((2, 3), "float16")]),
    ),
}


@pytest.mark.parametrize("call", bad.calls(TABLE))
def test_good_arguments(call):
    bad.check_good(call)


@pytest.mark.parametrize(("call", "name"), bad.rows(TABLE))
def test_bad_arguments(call, name):
    bad.check_bad(call, name)


@pytest.mark.parametrize("length", [600, 5_000, 10**6])
def test_a_long_path(length, tmp_path):
    # Under a file, so that no folder can be made.
    file = tmp_path / "file"
    file.touch()
    path = f"{file}{'/a' * (length // 2)}"
    bad.check_long_path(TABLE["thought_budget"], "results_folder", path)
