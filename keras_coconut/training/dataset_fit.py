"""How `fit` runs on a `CurriculumDataset`: callbacks, saves, resuming."""

import warnings
from typing import Any

import keras

from keras_coconut.training.callback_state import of_this_process
from keras_coconut.training.health_monitor import GoBack, HealthMonitor
from keras_coconut.training.run_state import describe_run
from keras_coconut.training.saved_run import SavedRun, resumable


def check_scheduler(dataset, callbacks, validation, *, chosen):
    """Checks that a `CurriculumScheduler` moves a dataset through its stages.

    Warns if the dataset would stay at one stage that the user has not chosen.

    Args:
        dataset: a `CurriculumDataset`.
        callbacks: what `fit` was given.
        validation: bool. Whether the dataset is the `validation_data`.
        chosen: bool. Whether the user has set the dataset's stage.

    Raises:
        ValueError: If a scheduler has another dataset than `fit`.
    """
    callbacks = listed(callbacks)
    schedulers = [c for c in callbacks if _is_scheduler(c)]
    for callback in [] if validation else schedulers:
        if callback.dataset is not dataset:
            raise ValueError(
                "`callbacks` must hold a `CurriculumScheduler` of the dataset "
                "that `fit` trains on: the model and `History` would follow "
                "the stages of another. Received: a "
                f"{type(callback).__name__} of another dataset"
            )
    moved = [scheduler.dataset for scheduler in schedulers]
    if validation:
        moved += [scheduler.validation_dataset for scheduler in schedulers]
    if not dataset.curriculum.last_stage or any(
        each is dataset for each in moved
    ):
        return
    # The levels are those of the line that calls `fit`.
    if not validation:
        warnings.warn(
            "`callbacks` holds no `keras_coconut.CurriculumScheduler` of "
            f"this dataset: it stays at stage {dataset.stage} in every epoch.",
            stacklevel=5,
        )
    elif not chosen:
        warnings.warn(
            "`validation_data` is no `validation_dataset` of a "
            "`keras_coconut.CurriculumScheduler`: it stays at stage "
            f"{dataset.stage} in every epoch. Setting its `stage` says that "
            "it should.",
            stacklevel=6,
        )


def fit_on_dataset(dataset, fit, callbacks, model, epochs, verbose) -> Any:
    """Runs `fit` and returns what it returns.

    With a `ResumableTraining` it resumes from the newest save, and runs again
    from there whenever a `HealthMonitor` goes back.

    Args:
        dataset: a `CurriculumDataset`.
        fit: function of callbacks, Keras' `fit` with all other arguments.
        callbacks, epochs, verbose: what `fit` was given.
        model: the model that trains.
    """
    saved = resumable(callbacks)
    if isinstance(callbacks, keras.callbacks.CallbackList):
        # It has a model already, and an order of the user's own.
        return fit(callbacks)
    # The scheduler first: what others log, save or measure in an epoch is of
    # the stage that it sets.
    callbacks = sorted(
        listed(callbacks),
        key=lambda one: not _is_scheduler(one),
    )
    callbacks = of_this_process(callbacks)
    if not saved:
        return fit(callbacks)
    for callback in callbacks:
        if isinstance(callback, HealthMonitor):
            callback.begin_run(callbacks)
    # Only once, because a run that goes back changes the learning rate.
    described = describe_run(model, dataset, callbacks)
    while True:
        run = SavedRun(callbacks, model, dataset, epochs, verbose, described)
        try:
            with run:
                return fit(run)
        except GoBack:
            # From the last save, as a run that was killed.
            pass


def _is_scheduler(callback) -> bool:
    # Not by its class, whose module imports this one.
    return getattr(callback, "_sets_stages", False)


def listed(callbacks) -> list:
    """Returns the callbacks in what `fit` takes for them."""
    if isinstance(callbacks, keras.callbacks.CallbackList):
        callbacks = callbacks.callbacks
    if isinstance(callbacks, list | tuple):
        return list(callbacks)
    return [] if callbacks is None else [callbacks]
