"""The eight rows: what each hides and shows, by the paper's words."""

import numpy as np
import pytest

from keras_coconut import Curriculum, method_curriculum
from keras_coconut.curriculum import Layout
from keras_coconut.methods import METHODS

pytestmark = pytest.mark.any_backend

COCONUT = Curriculum(
    3, thoughts_per_step=2, epochs_per_stage=2, mixing_probability=0.1
)
PAUSE = dict(thought_kind="pause")


@pytest.mark.parametrize(
    ("method", "stages", "layouts"),
    [
        # What epochs 0, 2, 4, 6 and 8 show of a problem of five steps.
        (
            "coconut",
            [0, 1, 2, 3, 4],
            [(0, 0), (1, 2), (2, 4), (3, 6), (5, 6)],
        ),
        ("cot", [0] * 5, [(0, 0)] * 5),
        ("no_cot", [1] * 5, [(5, 0)] * 5),
        (
            "icot",
            [0, 2, 4, 5, 5],
            [(0, 0, 0), (0, 0, 16), (0, 0, 32), (5, 0), (5, 0)],
        ),
        ("pause", [4] * 5, [(5, 6, 0, "pause")] * 5),
        ("no_curriculum", [4] * 5, [(5, 6)] * 5),
        (
            "no_thought",
            [0, 1, 2, 3, 4],
            [(0, 0), (1, 0), (2, 0), (3, 0), (5, 0)],
        ),
        (
            "pause_as_thought",
            [0, 1, 2, 3, 4],
            [(k, t, 0, "pause") for k, t in [(0, 0), (1, 2), (2, 4), (3, 6)]]
            + [(5, 6, 0, "pause")],
        ),
    ],
)
def test_rows(method, stages, layouts):
    curriculum = method_curriculum(
        method, COCONUT, tokens_per_stage=8, chain_tokens=32
    )
    found = [curriculum.stage(epoch) for epoch in (0, 2, 4, 6, 8)]
    assert found == stages
    shown = [curriculum.layout(5, stage) for stage in found]
    assert shown == [Layout(*layout) for layout in layouts]
    # Only rows with a curriculum of stages may mix them.
    mixes = method in ("coconut", "no_thought", "pause_as_thought")
    assert curriculum.mixing_probability == (0.1 if mixes else 0.0)


def test_every_method_is_tested_above_and_others_are_unknown():
    marks = test_rows.pytestmark[0].args[1]
    assert sorted(row[0] for row in marks) == sorted(METHODS)
    with pytest.raises(ValueError, match="coconut.*no_thought.*'words'"):
        method_curriculum("words", COCONUT)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(method=None), "`method` must be one of.*None"),
        (dict(method=["cot"]), "`method` must be one of.*cot'"),
        (dict(method="x" * 10**6), "`method` must be one of"),
        (dict(curriculum=None), "`curriculum` must be a `keras_coconut.*None"),
        (dict(curriculum=3), "`curriculum` must be a `keras_coconut.*3"),
        (dict(curriculum=Curriculum), "`curriculum` must be a `keras_coconut"),
        (dict(tokens_per_stage=0), "tokens_per_stage.*from 1 to.*=0"),
        (dict(tokens_per_stage=None), "tokens_per_stage.*None"),
        (dict(tokens_per_stage=8.0), "tokens_per_stage.*8.0"),
        (dict(chain_tokens=-1), "chain_tokens.*-1"),
        (dict(chain_tokens="64"), "chain_tokens.*'64'"),
        (dict(chain_tokens=10**12), "chain_tokens.*80000"),
    ],
    ids=lambda value: str(value)[:40],
)
# Also of a method that makes no use of them.
@pytest.mark.parametrize("method", ["coconut", "icot"])
def test_bad_arguments(method, arguments, message):
    given = {"method": method, "curriculum": COCONUT, **arguments}
    with pytest.raises(ValueError, match=message) as error:
        method_curriculum(**given)
    assert len(str(error.value)) < 500


def test_numbers_of_numpy_are_numbers():
    of_numpy, plain = (
        method_curriculum(
            "icot", COCONUT, tokens_per_stage=kind(8), chain_tokens=kind(20)
        )
        for kind in (np.int64, int)
    )
    assert of_numpy == plain
    assert type(of_numpy.max_stage) is type(of_numpy.tokens_per_stage) is int


def test_thoughts_one_at_a_time_where_a_method_has_them():
    gradual = Curriculum(
        3, thoughts_per_step=2, epochs_per_stage=2, one_thought_at_a_time=True
    )
    kept = [
        method
        for method in METHODS
        if method_curriculum(method, gradual).one_thought_at_a_time
    ]
    assert kept == ["coconut", "pause_as_thought"]
