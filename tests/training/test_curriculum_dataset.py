"""Batches that follow the stage."""

import dataclasses
import logging

import keras
import numpy as np
import pytest
import tiny

from keras_coconut import (
    Curriculum,
    CurriculumDataset,
    Problem,
    method_curriculum,
)
from keras_coconut.execution import varying_batches
from keras_coconut.text import batches
from keras_coconut.training.length_groups import group_by_length

CURRICULUM = Curriculum(max_stage=3, thoughts_per_step=2, epochs_per_stage=1)


@pytest.fixture
def make(text_model):
    def make(problems=None, curriculum=CURRICULUM, **kwargs):
        problems = tiny.problems() if problems is None else problems
        kwargs.setdefault("batch_size", 8)
        return CurriculumDataset(
            problems, text_model.preprocessor, curriculum, **kwargs
        )

    return make


def rows(dataset):
    """Every row of an epoch that carries a loss, as lists of ids."""
    found = []
    for index in range(len(dataset)):
        x, _, weights = dataset[index]
        for row in range(len(weights)):
            if weights[row].any():
                question = x["question_ids"][row][x["question_mask"][row] == 1]
                response = x["response_ids"][row][x["response_mask"][row] == 1]
                thoughts = int(x["thought_mask"][row].sum())
                found.append((question.tolist(), thoughts, response.tolist()))
    return found


@pytest.mark.parametrize("method", ["coconut", "pause_as_thought", "icot"])
def test_each_stage_is_the_curriculums_layout(make, method):
    problems = tiny.problems()
    curriculum = method_curriculum(
        method, CURRICULUM, tokens_per_stage=2, chain_tokens=6
    )
    # Its draws are tested with the curriculum; here they would need repeating.
    curriculum = dataclasses.replace(curriculum, removal_smoothing=None)
    dataset = make(problems, curriculum, shuffle=False)
    preprocessor = dataset.preprocessor
    for epoch in range(5):
        dataset.set_epoch(epoch)
        assert dataset.stage == epoch
        expected = []
        for problem in problems:
            layout = curriculum.layout(len(problem.steps), epoch)
            x, _, _ = preprocessor(problem, *[None, None], *layout)
            expected.append(
                (
                    x["question_ids"][0].tolist(),
                    int(x["thought_mask"].sum()),
                    x["response_ids"][0].tolist(),
                )
            )
        assert rows(dataset) == expected


def test_an_epoch_shows_every_problem_once_in_an_order_of_its_own(make):
    dataset = make(tiny.problems(21))
    orders = []
    for epoch in range(2):
        dataset.set_epoch(epoch)
        dataset.stage = 0
        orders.append(rows(dataset))
    assert len(dataset) == 3
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1])
    assert len(orders[0]) == 21
    again = make(tiny.problems(21))
    assert rows(again) == orders[0]
    other = make(tiny.problems(21), seed=5)
    assert rows(other) != orders[0]


def test_the_last_batch_is_filled_with_rows_without_loss(make):
    dataset = make(tiny.problems(21))
    for index in range(3):
        x, y, weights = dataset[index]
        assert {len(value) for value in (*x.values(), y, weights)} == {8}
        # Nothing to stumble over in the rows that only fill up.
        batches.check_values(x, 300, 64)
    assert np.count_nonzero(dataset[2][2].any(axis=1)) == 5


def test_a_problem_smaller_than_the_batch(make):
    x, _, weights = make(tiny.problems(3), batch_size=8)[0]
    assert len(x["question_ids"]) == 8
    assert np.count_nonzero(weights.any(axis=1)) == 3


def test_steps_per_epoch_goes_on_where_the_last_epoch_ended(make):
    dataset = make(tiny.problems(21), steps_per_epoch=2, batch_size=7)
    seen = []
    for epoch in range(3):
        dataset.set_epoch(epoch)
        dataset.stage = 0
        assert len(dataset) == 2
        seen += rows(dataset)
    assert len(seen) == 42
    # Two whole passes.
    assert sorted(seen[:21]) == sorted(seen[21:])
    assert seen[:21] != seen[21:]


def test_one_shape_for_each_stage(make):
    dataset = make()
    for epoch in range(5):
        dataset.set_epoch(epoch)
        shapes = {
            tuple(value.shape for value in dataset[index][0].values())
            for index in range(len(dataset))
        }
        assert len(shapes) == 1


def test_the_slots_of_a_stage_or_of_one_program(make):
    """As many as rows use, or as many in all stages where steps compile."""
    for curriculum in (
        CURRICULUM,
        Curriculum(3, mixing_probability=0.5),
        Curriculum(3, pad_latent_to_max=False),
    ):
        dataset = make(curriculum=curriculum, batch_size=3)
        for epoch in range(5):
            dataset.set_epoch(epoch)
            for index in range(len(dataset)):
                mask = dataset[index][0]["thought_mask"]
                slots = mask.sum(axis=1).max()
                if keras.config.backend() != "torch":
                    slots = 3 * curriculum.thoughts_per_step
                assert mask.shape[1] == slots


def varied(count):
    """Problems of one to nine operations."""
    random = np.random.default_rng(3)
    problems = []
    for _ in range(count):
        steps = [str(i) for i in range(random.integers(1, 10))]
        question = "start 1" + ", +1" * len(steps)
        problems.append(Problem(question, steps, steps[-1]))
    return problems


def padding(dataset):
    """The share of the positions of an epoch that are not real."""
    real = computed = 0
    for index in range(len(dataset)):
        x, _, weights = dataset[index]
        counts = weights.any(axis=1)
        for key in ("question_mask", "response_mask"):
            real += x[key][counts].sum()
            computed += x[key].size
    return 1 - real / computed


@pytest.mark.thorough
def test_length_groups(make):
    """Every problem once, in as many shapes as groups, with less padding."""
    problems = varied(60)
    expected, paddings = sorted(rows(make(problems))), []
    for groups in (1, 2, 4):
        dataset = make(problems, length_groups=groups)
        assert len(dataset) == 8
        shapes = {
            tuple(value.shape for value in dataset[index][0].values())
            for index in range(len(dataset))
        }
        assert len(shapes) == groups
        assert sorted(rows(dataset)) == expected
        dataset.set_epoch(1)
        dataset.stage = 0
        assert sorted(rows(dataset)) == expected
        paddings.append(padding(dataset))
    assert paddings[0] > paddings[1] + 0.05
    assert paddings[1] > paddings[2] + 0.05


@pytest.mark.thorough
def test_length_groups_of_equal_lengths_are_one(make):
    problems = [tiny.problems()[0]] * 40
    dataset = make(problems, length_groups=4)
    assert len({dataset[i][0]["question_ids"].shape for i in range(5)}) == 1


@pytest.mark.thorough
def test_length_groups_cut_where_it_saves_most():
    """Against every way of cutting a list in two."""
    random = np.random.default_rng(0)
    questions = random.integers(1, 50, 21)
    responses = random.integers(1, 50, 21)

    def positions(groups):
        return sum(
            -(-len(rows) // 4)
            * 4
            * (questions[rows].max() + responses[rows].max())
            for rows in groups
        )

    cuts = []
    for key in (questions, responses):
        order = np.argsort(key, kind="stable")
        cuts += [(order[:at], order[at:]) for at in range(1, 21)]
    found = group_by_length(questions, responses, 4, 2)
    assert positions(found) == min(map(positions, cuts))


@pytest.mark.thorough
def test_length_groups_of_a_stream_fill_every_batch(make):
    dataset = make(varied(21), length_groups=3, steps_per_epoch=2)
    seen = []
    for epoch in range(3):  # Six batches, two passes of three.
        dataset.set_epoch(epoch)
        dataset.stage = 0
        for index in range(2):
            assert dataset[index][2].any(axis=1).all()
        seen += rows(dataset)
    for start in (0, 24):
        a_pass = {str(row) for row in seen[start : start + 24]}
        assert a_pass == {str(row) for row in rows(make(varied(21)))}


@pytest.mark.thorough
def test_mixing_shows_other_stages(make):
    dataset = make(curriculum=Curriculum(3, mixing_probability=0.5))
    dataset.set_epoch(2)
    counts = {thoughts for _, thoughts, _ in rows(dataset)}
    assert {0, 1, 2} <= counts
    assert rows(dataset) == rows(dataset)


def long_problem():
    return Problem("start 3" + ", +4" * 30, ["7"], "7")


@pytest.mark.thorough
def test_too_long(make, caplog):
    problems = [*tiny.problems(4), long_problem()]
    with pytest.raises(ValueError, match=r"problems\[4\].*64 positions.*with"):
        make(problems)
    with caplog.at_level(logging.WARNING, "keras_coconut"):
        dataset = make(problems, drop_too_long=True)
    assert "left out 1 of 5" in caplog.text
    assert dataset.kept.tolist() == [0, 1, 2, 3]
    assert len(rows(dataset)) == 4
    with pytest.raises(ValueError, match="at least one problem that fits"):
        make([long_problem()], drop_too_long=True)


def test_thoughts_count_towards_the_length(make):
    """Fits as text, and not with the thoughts of a later stage."""
    problem = Problem("start 3" + ", +4" * 12, ["7"], "7")
    make([problem], Curriculum(max_stage=0, extra_stage=False))
    with pytest.raises(ValueError, match=r"\d\d thoughts"):
        make([problem], Curriculum(max_stage=20))


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(problems=[]), "at least one problem"),
        (dict(problems=["text"]), r"problems\[0\].*'text'"),
        (dict(batch_size=0), "batch_size.*from 1 to.*=0"),
        (dict(batch_size=1.5), "batch_size.*whole number"),
        (dict(steps_per_epoch=0), "steps_per_epoch.*from 1 to.*=0"),
        (dict(length_groups=0), "length_groups.*at least 1"),
        (dict(curriculum=3), "curriculum.*Received: curriculum=3"),
    ],
)
def test_bad_arguments(make, arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)


@pytest.mark.thorough
def test_bad_stages(make):
    dataset = make()
    with pytest.raises(ValueError, match="stage.*from 0 to 4"):
        dataset.stage = 5


@pytest.mark.thorough
@pytest.mark.parametrize(
    "index", ["1", 1.0, None, True, np.True_, slice(1), (0, 1), np.array([1])]
)
def test_what_is_no_index(make, index):
    with pytest.raises(ValueError, match="`index` must be a whole number"):
        make()[index]


@pytest.mark.thorough
@pytest.mark.parametrize("index", [-1, 3, np.int64(99), 10**400])
def test_an_index_of_no_batch(make, index):
    """As of a list, so that a loop over the dataset ends."""
    with pytest.raises(IndexError, match="`index` must be from 0 to 2") as e:
        make()[index]
    assert len(str(e.value)) < 500


def test_a_loop_over_the_batches(make):
    dataset = make()
    assert len(list(dataset)) == 3
    np.testing.assert_equal(dataset[np.int64(1)], dataset[1])


@pytest.mark.skipif(
    keras.config.backend() != "tensorflow",
    reason="only TensorFlow reads through tf.data",
)
def test_the_tuner_that_holds_up_the_end_of_an_epoch_is_off(make):
    with varying_batches.adapted(make()) as data:
        assert data.options().autotune.enabled is False
