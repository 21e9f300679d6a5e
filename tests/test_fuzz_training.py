"""Property tests of curricula, epochs and figures."""

import functools
import itertools
import json
import math

import keras
import numpy as np
import pytest
import tiny
from fuzzing import ANYTHING, FUZZ, TEXT, is_count, refused
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_coconut import Curriculum, CurriculumDataset
from keras_coconut.evaluation.figures import Evaluation
from keras_coconut.execution.prefetching import Prefetcher

pytestmark = pytest.mark.any_backend


@pytest.fixture(scope="module")
def preprocessor():
    return tiny.text_model(layers=1).preprocessor


# === Curricula ===


@settings(max_examples=300, **FUZZ)
@given(st.integers(0, 3), ANYTHING)
def test_a_curriculum_takes_counts_and_nothing_else(which, value):
    """One argument is anything; the others are what they should be."""
    name, good = [
        ("max_stage", is_count(value, most=10_000)),
        ("thoughts_per_step", is_count(value)),
        ("initial_epochs", value is None or is_count(value)),
        ("extra_stage", isinstance(value, bool | np.bool_)),
    ][which]
    error = refused(Curriculum, **{"max_stage": 2, name: value})
    assert (error is None) == good
    assert good or f"`{name}`" in error


@settings(max_examples=1_000, **FUZZ)
@given(
    st.integers(0, 4),
    st.integers(0, 3),
    st.booleans(),
    st.booleans(),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.sampled_from([None, None, 1, 3]),
    st.integers(0, 6),
    st.integers(0, 2**32),
)
def test_what_is_drawn_is_among_what_is_shown(
    max_stage, thoughts, extra, pad, mixing, tokens, steps, seed
):
    if tokens is not None:
        thoughts, mixing = 0, 0.0
    curriculum = Curriculum(
        max_stage,
        thoughts_per_step=thoughts,
        extra_stage=extra,
        pad_latent_to_max=pad,
        mixing_probability=mixing,
        tokens_per_stage=tokens,
        removal_smoothing=tokens and 1.0,
    )
    random = np.random.default_rng(seed)
    for stage in range(curriculum.last_stage + 1):
        shown = curriculum.layouts_shown(steps, stage)
        # Each stage once, from the first.
        stages = {stage, *(range(steps + 1) if mixing else ())}
        assert set(shown) == {curriculum.layout(steps, s) for s in stages}
        for _ in range(4):
            drawn = curriculum.draw_layout(steps, stage, random)
            least = drawn._replace(
                hidden_tokens=min(
                    drawn.hidden_tokens,
                    max(one.hidden_tokens for one in shown),
                )
            )
            assert least in shown
            most = max(min(s, max_stage) for s in stages) * thoughts
            assert drawn.num_thoughts <= most
            assert drawn.hidden_steps <= steps


# === Datasets ===


@functools.cache
def pool():
    return tiny.problems(12)


def all_batches(dataset):
    with Prefetcher(dataset) as get:
        return [get(index) for index in range(len(dataset))]


def questions_of(dataset, batch, real_only=True):
    """The problems of a batch, by number; filler rows left out."""
    x, _, weights = batch
    questions = dataset.preprocessor.tokenize_questions(
        [problem.question for problem in pool()]
    )
    numbers = {tuple(ids): number for number, ids in enumerate(questions)}
    real = weights.any(axis=1) if real_only else np.ones(len(weights), "bool")
    return [
        numbers[tuple(ids[mask > 0].tolist())]
        for ids, mask in zip(x["question_ids"][real], x["question_mask"][real])
    ]


def assert_equal(one, other):
    for a, b in zip(keras.tree.flatten(one), keras.tree.flatten(other)):
        np.testing.assert_array_equal(a, b)


@settings(max_examples=300, **FUZZ)
@given(
    st.integers(1, 12),
    st.integers(1, 5),
    st.integers(1, 4),
    st.none() | st.integers(1, 6),
    st.integers(0, 2**70),
    st.booleans(),
    st.integers(0, 6),
    st.sampled_from([0.0, 0.5]),
)
def test_an_epoch_shows_every_problem_once(
    preprocessor, count, size, groups, steps, seed, shuffle, epoch, mixing
):
    def make(**kwargs):
        return CurriculumDataset(
            pool()[:count],
            preprocessor,
            Curriculum(2, mixing_probability=mixing),
            batch_size=size,
            length_groups=groups,
            steps_per_epoch=steps,
            seed=seed,
            shuffle=shuffle,
            **kwargs,
        )

    dataset = make()
    dataset.set_epoch(epoch)
    found = all_batches(dataset)
    shown = [questions_of(dataset, batch) for batch in found]
    for (x, y, weights), rows in zip(found, shown):
        assert len(x["question_ids"]) == len(y) == len(weights) == size
        assert steps is None or len(rows) == size
    if steps is None:
        assert sorted(itertools.chain(*shown)) == list(range(count))
        assert len(found) == -(-count // size)
    else:
        assert len(found) == steps
    # The same again, after something else, and by two workers.
    again = make(workers=2)
    again.set_epoch(epoch + 1)
    again[len(again) - 1]
    again.set_epoch(epoch)
    for one, other in zip(found, all_batches(again), strict=True):
        assert_equal(one, other)


@settings(max_examples=150, **FUZZ)
@given(
    st.integers(1, 12),
    st.integers(1, 5),
    st.integers(1, 6),
    st.integers(0, 2**70),
)
def test_passes_follow_each_other_without_a_gap(
    preprocessor, count, size, steps, seed
):
    dataset = CurriculumDataset(
        pool()[:count],
        preprocessor,
        Curriculum(0, extra_stage=False),
        batch_size=size,
        steps_per_epoch=steps,
        seed=seed,
    )
    shown = []
    for epoch in itertools.count():
        dataset.set_epoch(epoch)
        for batch in all_batches(dataset):
            shown += questions_of(dataset, batch, real_only=False)
        if len(shown) >= 2 * count:
            break
    for start in (0, count):
        assert sorted(shown[start : start + count]) == list(range(count))


# === Evaluation ===


@settings(max_examples=500, **FUZZ)
@given(
    st.lists(st.tuples(TEXT, st.booleans()), min_size=1, max_size=8),
    st.floats(0, 1),
    st.floats(0, 1e300),
    st.floats(0, 1e300),
)
def test_an_evaluation_comes_back_from_json(rows, chain_match, tokens, seconds):
    predictions, correct = zip(*rows)
    whole = Evaluation(
        sum(correct) / len(correct),
        chain_match,
        tokens,
        seconds,
        predictions,
        correct,
    )
    text = json.dumps(whole.to_dict(), allow_nan=False)
    assert Evaluation.from_dict(json.loads(text)) == whole


@settings(max_examples=300, **FUZZ)
@given(
    st.sampled_from(["accuracy", "chain_match", "tokens_generated", "seconds"]),
    ANYTHING,
)
def test_an_evaluation_takes_numbers_and_nothing_else(name, value):
    entry = Evaluation(0.5, 0.0, 1.0, 0.1, ("7", "8"), (True, False)).to_dict()
    number = isinstance(value, int | float | np.number) and not isinstance(
        value, bool
    )
    too_long = isinstance(value, int) and abs(value) > 10**300
    good = number and not too_long and 0 <= value < math.inf
    if name == "accuracy":
        good = good and value == 0.5
    elif name == "chain_match":
        good = good and value <= 1
    error = refused(Evaluation.from_dict, {**entry, name: value})
    assert (error is None) == good
    assert good or f"`{name}`" in error
