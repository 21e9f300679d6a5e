"""Every argument of the dataset, its scheduler and its curriculum."""

from datetime import timedelta

import bad_values as bad
import numpy as np
import pytest
import tiny
from bad_values import Call, given

import keras_coconut
from keras_coconut import Curriculum, CurriculumDataset
from keras_coconut.curriculum import check_thought_kind

pytestmark = pytest.mark.any_backend


@pytest.fixture(autouse=True, scope="module")
def made_once():
    """Not under a session that ends with the first test."""
    bad.setting()


def put(name):
    """An attribute of the dataset as a function of one argument."""

    def call(**value):
        setattr(bad.setting().dataset, name, *value.values())

    return lambda s: call


TOKENS = dict(max_stage=2, thoughts_per_step=0, tokens_per_stage=8)
NO_NUMBER = (
    *("0.5", True, np.True_, [0.5], 1j, np.nan, np.inf, -np.inf, None),
    *(bad.INTEGER, bad.TEXT, bad.ARRAY, object(), b"1"),
)
NO_INDEX = ("1", 1.5, True, np.True_, None, [1], {}, bad.ARRAY, bad.TEXT)
TABLE = {
    # Which values are wrong, tests/test_curriculum.py says; here those that
    # are long or too many for any memory.
    "Curriculum": Call(
        lambda s: Curriculum,
        lambda s: dict(max_stage=2),
        dict(
            max_stage=bad.NO_SMALL_COUNT,
            thoughts_per_step=bad.NO_SMALL_COUNT,
            epochs_per_stage=[
                v
                for v in bad.NO_SMALL_COUNT
                if not (isinstance(v, list) and not v)
            ],
            initial_epochs=given(bad.NO_SMALL_COUNT),
            extra_stage=bad.NO_FLAG,
            mixing_probability=(*NO_NUMBER, -0.1, 1.1),
            pad_latent_to_max=bad.NO_FLAG,
            thought_kind=bad.NO_CHOICE,
            one_thought_at_a_time=bad.NO_FLAG,
        ),
    ),
    "Curriculum of tokens": Call(
        lambda s: Curriculum,
        lambda s: TOKENS,
        dict(
            thoughts_per_step=(1, 2**31 - 1),
            tokens_per_stage=(*given(bad.NO_SMALL_COUNT), 0),
            removal_smoothing=(*given(NO_NUMBER), 0, -1.0),
        ),
        dict(removal_smoothing=[np.float32(1), np.int64(4), None]),
    ),
    "Curriculum.stage": Call(
        lambda s: s.dataset.curriculum.stage,
        lambda s: dict(epoch=1),
        dict(epoch=bad.NO_COUNT),
        dict(epoch=[np.int64(1), bad.INTEGER]),
    ),
    "Curriculum.layout": Call(
        lambda s: s.dataset.curriculum.layout,
        lambda s: dict(num_steps=1, stage=1),
        dict(num_steps=bad.NO_SMALL_COUNT, stage=bad.NO_COUNT),
        # Beyond the last one is the extra stage.
        dict(stage=[np.int64(1), bad.INTEGER]),
    ),
    "Curriculum.first_epoch": Call(
        lambda s: s.dataset.curriculum.first_epoch,
        lambda s: dict(stage=1),
        dict(stage=(*bad.NO_SMALL_COUNT, 4)),
        dict(stage=[np.int64(3)]),
    ),
    "Curriculum.num_thoughts": Call(
        lambda s: s.dataset.curriculum.num_thoughts,
        lambda s: dict(stage=1),
        dict(
            stage=(*bad.NO_SMALL_COUNT, 4),
            epoch_of_stage=given(bad.NO_COUNT),
        ),
        dict(stage=[np.int64(3)], epoch_of_stage=[np.int64(3), None]),
    ),
    "method_curriculum": Call(
        lambda s: keras_coconut.method_curriculum,
        lambda s: dict(method="icot", curriculum=Curriculum(2)),
        dict(
            method=(*bad.NO_CHOICE, "continuous"),
            curriculum=bad.NO_INSTANCE,
            tokens_per_stage=(*bad.NO_SMALL_COUNT, 0),
            chain_tokens=bad.NO_SMALL_COUNT,
        ),
        dict(tokens_per_stage=[np.int64(3)], chain_tokens=[np.uint8(3)]),
    ),
    "CurriculumDataset": Call(
        lambda s: CurriculumDataset,
        lambda s: dict(
            problems=tiny.problems(4),
            preprocessor=s.model.preprocessor,
            curriculum=Curriculum(2),
            batch_size=2,
        ),
        dict(
            # A string is a path: tests/text/test_tokenized_problems.py.
            problems=[v for v in bad.NO_PROBLEMS if not isinstance(v, str)],
            preprocessor=bad.NO_INSTANCE,
            curriculum=bad.NO_INSTANCE,
            batch_size=(*bad.NO_SMALL_COUNT, 0),
            shuffle=bad.NO_FLAG,
            seed=bad.NO_COUNT,
            steps_per_epoch=(*given(bad.NO_SMALL_COUNT), 0),
            length_groups=bad.NO_COUNT_FROM_1,
            drop_too_long=bad.NO_FLAG,
            workers=bad.NO_SMALL_COUNT,
            use_multiprocessing=bad.NO_FLAG,
            max_queue_size=bad.NO_COUNT,
        ),
        dict(
            problems=[iter(tiny.problems(3))],
            batch_size=[np.int64(3)],
            shuffle=[np.False_],
            seed=[np.int64(3), bad.INTEGER],
            steps_per_epoch=[np.int64(3), None],
            length_groups=[np.int64(3), bad.INTEGER],
            drop_too_long=[np.True_],
            workers=[np.int64(1)],
            use_multiprocessing=[np.False_],
            max_queue_size=[np.int64(1)],
        ),
    ),
    "CurriculumDataset.set_epoch": Call(
        lambda s: s.dataset.set_epoch,
        lambda s: dict(epoch=0),
        dict(
            epoch=bad.NO_COUNT,
            stage=(*given(bad.NO_SMALL_COUNT), 4),
            epoch_of_stage=given(bad.NO_COUNT),
        ),
        dict(
            epoch=[np.int64(3), bad.INTEGER, 0],
            stage=[np.int64(3), None],
            epoch_of_stage=[np.int64(3), None],
        ),
    ),
    "CurriculumDataset.stage": Call(
        put("stage"),
        lambda s: dict(stage=0),
        dict(stage=(*bad.NO_SMALL_COUNT, 4)),
        dict(stage=[np.int64(3), 0]),
    ),
    "CurriculumDataset.state": Call(
        put("state"),
        lambda s: dict(state=(0, 0, 0)),
        dict(
            state=[
                *(*bad.NO_INSTANCE, (1,), (1, 2), [1, 2, 0], (0, 4, 0)),
                *((-1, 0, 0), (0, 1, 2), (0, 1, -1), (0, 1, 1.0), (0, 1, "1")),
                *((1.5, 0, 0), (0, 1.0, 0), ("1", 0, 0), (0, None, 0)),
                *((-bad.INTEGER, 0, 0), (0, bad.INTEGER, 0), (True, 0, 0)),
                *((bad.ARRAY, 0, 0), (0, 1, bad.INTEGER), (0, 1, bad.ARRAY)),
            ]
        ),
    ),
    "CurriculumDataset.problem_numbers": Call(
        lambda s: s.dataset.problem_numbers,
        lambda s: dict(index=1),
        dict(index=NO_INDEX),
        dict(index=[np.int64(1)]),
    ),
    "CurriculumDataset.first_rows": Call(
        lambda s: s.dataset.first_rows,
        lambda s: dict(index=1, most=2),
        dict(
            index=NO_INDEX,
            most=bad.NO_COUNT_FROM_1,
        ),
        dict(index=[np.int64(1)], most=[np.int64(1), 99]),
    ),
    "HealthMonitor": Call(
        lambda s: keras_coconut.HealthMonitor,
        lambda s: {},
        dict(
            on_trouble=bad.NO_CHOICE,
            spike=(*given(NO_NUMBER), 1, -3.0),
            thoughts_every=(*given(bad.NO_COUNT), 0),
            most_growth=(*given(NO_NUMBER), 1, 0.5),
            least_spread=(*NO_NUMBER, -0.1, 1.1),
            rate_factor=(*NO_NUMBER, 0, -0.5, 1.5),
            skip_batches=bad.NO_FLAG,
            most_returns=bad.NO_COUNT,
        ),
        dict(
            spike=[None, 3, np.float32(2)],
            thoughts_every=[None, np.int64(3)],
            most_growth=[None],
            rate_factor=[1],
            most_returns=[0, np.int64(3)],
        ),
    ),
    "CurriculumScheduler": Call(
        lambda s: keras_coconut.CurriculumScheduler,
        lambda s: dict(dataset=s.dataset),
        dict(
            dataset=bad.NO_INSTANCE,
            validation_dataset=(*given(bad.NO_INSTANCE), 0, False),
            reset_optimizer=(*bad.NO_CHOICE, "Stage"),
            promote_after=(*given(bad.NO_COUNT), 0),
            monitor=(*bad.NO_TEXT, ""),
        ),
        dict(
            validation_dataset=[None],
            reset_optimizer=[np.str_("never")],
            promote_after=[np.int64(3), None],
        ),
    ),
    "ResumableTraining": Call(
        lambda s: keras_coconut.ResumableTraining,
        lambda s: dict(folder="saves"),
        dict(
            folder=bad.NO_PATH,
            every=(*bad.NO_COUNT, 0, timedelta(0), timedelta(-1)),
            keep=(*bad.NO_COUNT, 0),
            allow_changes=(
                *(3, True, "other", ["version", "other"], [["version"]]),
                *(bad.INTEGER, *bad.OBJECTS),
            ),
        ),
        dict(
            every=[np.int64(3), timedelta(minutes=5)],
            allow_changes=["version", ["problems", "callbacks"], ()],
        ),
    ),
}


@pytest.mark.parametrize("call", bad.calls(TABLE))
def test_good_arguments(call):
    bad.check_good(call)


@pytest.mark.parametrize(("call", "name"), bad.rows(TABLE))
def test_bad_arguments(call, name):
    bad.check_bad(call, name)


def test_values_of_numpy_become_plain():
    one = np.int64(1)
    dataset = CurriculumDataset(
        tiny.problems(4),
        bad.setting().model.preprocessor,
        Curriculum(2),
        batch_size=one,
        shuffle=np.True_,
        seed=one,
        steps_per_epoch=one,
        length_groups=one,
    )
    dataset.set_epoch(one)
    assert {type(v) for v in (*dataset.state, dataset.num_thoughts)} == {int}
    dataset.stage = one
    kept = ("batch_size", "seed", "steps_per_epoch", "length_groups", "stage")
    assert {type(getattr(dataset, name)) for name in kept} == {int}
    assert dataset.shuffle is True
    assert type(check_thought_kind(np.str_("pause"))) is str
