"""Batches made ahead by threads and processes are those made one by one."""

import concurrent.futures
import multiprocessing
import os
import pickle

import keras
import numpy as np
import pytest
import tiny

import keras_coconut
from keras_coconut.execution import prefetching

CURRICULUM = keras_coconut.Curriculum(max_stage=2, mixing_probability=0.3)
# Of workers, and whether they are processes.
KINDS = [(1, False), (2, False), (4, False), (1, True), (2, True)]


def make_dataset(model, workers=1, processes=False, kind=None, **kwargs):
    return (kind or keras_coconut.CurriculumDataset)(
        tiny.problems(20),
        model.preprocessor,
        CURRICULUM,
        batch_size=4,
        workers=workers,
        use_multiprocessing=processes,
        **kwargs,
    )


def train(model, workers, processes, **kwargs):
    dataset = make_dataset(model, workers, processes, **kwargs)
    validation = make_dataset(model, workers, processes, seed=1, **kwargs)
    history = model.fit(
        dataset,
        epochs=CURRICULUM.num_epochs + 1,
        validation_data=validation,
        verbose=0,
        callbacks=[keras_coconut.CurriculumScheduler(dataset, validation)],
    ).history
    return history, model.get_weights()


@pytest.mark.parametrize(
    "kwargs",
    [
        pytest.param(
            {"length_groups": 3, "max_queue_size": 2}, id="three groups"
        ),
        pytest.param({}, id="one group", marks=pytest.mark.thorough),
        pytest.param(
            {"steps_per_epoch": 7}, id="steps", marks=pytest.mark.thorough
        ),
    ],
)
def test_the_same_losses_bit_for_bit(kwargs):
    # One model, for the sake of what it compiles.
    model = tiny.compiled(tiny.text_model(layers=1))
    start = model.get_weights()
    history, weights = train(model, *KINDS[0], **kwargs)
    assert history["stage"] == [0, 1, 2, 3, 3]
    for kind in KINDS[1:]:
        tiny.as_new(model, start)
        other, other_weights = train(model, *kind, **kwargs)
        assert other == history, kind
        for one, two in zip(weights, other_weights):
            np.testing.assert_array_equal(one, two)


@pytest.mark.thorough
@pytest.mark.parametrize(("workers", "processes"), KINDS)
def test_every_batch_is_that_of_its_epoch(workers, processes):
    """Whatever an epoch that ended early has left."""
    model = tiny.text_model(layers=1)
    plain = make_dataset(model)
    dataset = make_dataset(model, workers, processes)
    with prefetching.Prefetcher(dataset) as get:
        for epoch, batches in ((0, 5), (1, 1), (3, 2), (2, 5), (0, 1)):
            dataset.set_epoch(epoch)
            plain.set_epoch(epoch)
            for index in range(batches):
                for got, expected in zip(get(index), plain[index]):
                    keras.tree.map_structure(
                        np.testing.assert_array_equal, got, expected
                    )


@pytest.mark.thorough
def test_a_stage_that_changes_within_an_epoch():
    model = tiny.text_model(layers=1)
    dataset = make_dataset(model, workers=2)
    with prefetching.Prefetcher(dataset) as get:
        assert not get(0)[0]["thought_mask"].any(axis=1).all()
        dataset.stage = 3
        x, _, _ = get(1)
        plain = make_dataset(model)
        plain.stage = 3
        np.testing.assert_array_equal(
            x["thought_mask"], plain[1][0]["thought_mask"]
        )


class FailsLater(keras_coconut.CurriculumDataset):
    def __getitem__(self, index):
        if index == 3:
            raise ValueError("batch 3 cannot be made")
        return super().__getitem__(index)


@pytest.mark.thorough
@pytest.mark.parametrize(("workers", "processes"), KINDS)
def test_what_goes_wrong_in_a_worker_is_said(workers, processes):
    model = tiny.text_model(layers=1)
    dataset = make_dataset(model, workers, processes, FailsLater)
    with prefetching.Prefetcher(dataset) as get:
        for index in range(3):
            get(index)
        with pytest.raises(ValueError, match="batch 3 cannot be made"):
            get(3)


class EndsItsProcess(keras_coconut.CurriculumDataset):
    def __getitem__(self, index):
        if multiprocessing.parent_process() is not None:
            os._exit(1)
        return super().__getitem__(index)


def test_a_process_that_dies_is_said():
    model = tiny.text_model(layers=1)
    dataset = make_dataset(model, 2, True, EndsItsProcess)
    with prefetching.Prefetcher(dataset) as get:
        with pytest.raises(
            RuntimeError, match=r"ended before.*batch 0"
        ) as error:
            get(0)
    assert isinstance(error.value.__cause__, concurrent.futures.BrokenExecutor)


@pytest.mark.thorough
def test_no_more_is_made_than_may_wait():
    made = []

    class Counted(keras_coconut.CurriculumDataset):
        def __getitem__(self, index):
            made.append(index)
            return super().__getitem__(index)

    dataset = make_dataset(
        tiny.text_model(layers=1), 2, kind=Counted, max_queue_size=3
    )
    with prefetching.Prefetcher(dataset) as get:
        get(0)
    assert 0 in made and max(made) <= 2


@pytest.mark.thorough
def test_no_worker_is_left():
    model = tiny.text_model(layers=1)
    with prefetching.Prefetcher(make_dataset(model, 2, True)) as get:
        get(0)
        assert multiprocessing.active_children()
    assert not multiprocessing.active_children()


@pytest.mark.thorough
def test_no_worker_begins_after_the_end():
    dataset = make_dataset(tiny.text_model(layers=1), 2)
    with prefetching.Prefetcher(dataset) as get:
        get(0)
    with pytest.raises(RuntimeError, match="have ended"):
        get(1)


def test_a_dataset_reaches_a_process_that_is_spawned():
    """Other systems do not fork: they send the dataset."""
    dataset = make_dataset(tiny.text_model(layers=1))
    dataset.set_epoch(2)
    again = pickle.loads(pickle.dumps(dataset))
    keras.tree.map_structure(
        np.testing.assert_array_equal, again[1], dataset[1]
    )


@pytest.mark.thorough
@pytest.mark.parametrize(
    "kwargs",
    [{"workers": -1}, {"use_multiprocessing": 2}, {"max_queue_size": "many"}],
    ids=lambda kwargs: next(iter(kwargs)),
)
def test_bad_arguments(kwargs):
    model = tiny.text_model(layers=1)
    with pytest.raises(ValueError, match=f"`{next(iter(kwargs))}` must be"):
        keras_coconut.CurriculumDataset(
            tiny.problems(4), model.preprocessor, CURRICULUM, **kwargs
        )
