"""The callback whose settings say how a run is saved; see saved_run.py."""

import datetime
from collections.abc import Iterable
from typing import Any

import keras

from keras_coconut.checks import PathLike, check_count, check_path, refuse


class ResumableTraining(keras.callbacks.Callback):
    """Saves a `fit` while it runs; calling the same `fit` again resumes it.

    A resumed run continues with the training step after the save, also within
    an epoch. On the same backend the result equals that of an uninterrupted
    run: a save holds the weights, optimizer, random numbers, metrics, the order
    of the data, `History`, the best figures of callbacks, and the rows of
    `keras.callbacks.CSVLogger` and `TensorBoard`. If the `fit` has already
    finished, calling it again restores the trained model and returns.

    A thread writes each save while training continues. A save appears once it
    is complete, and its name holds the digest of its content; only then are
    older ones deleted. The first save is written before the first training
    step, so that a folder that cannot be written to raises an error at once.

    If several processes train together, all of them read the folder and process
    0 writes to it, so they must share it.

    A save also opens on the other backends. The run then continues with
    different random numbers: dropout draws from the backend's generators.

    The callback needs a `CurriculumDataset`, whose batches follow from a seed,
    and a list of callbacks. Of each callback, it saves every plain attribute
    that has changed since the start: numbers, strings, arrays, and structures
    of these. Other attributes of your own callbacks start anew.

    Args:
        folder: string or path-like. Created if it is missing. Only one run at a
            time can use it.
        every: int, the maximum number of training steps between two saves; or a
            `datetime.timedelta`, the minimum time between them. The end of the
            training is always saved. Defaults to `100`.
        keep: int. Number of saves to keep. With 2, there is another one to
            resume from if the newest is damaged. Defaults to `2`.
        allow_changes: sequence of strings. What may differ between a save and
            the run that resumes from it: any of `"problems"`,
            `"curriculum"`, `"batches"`, `"backbone"`, `"optimizer"`,
            `"trainable"`, `"callbacks"` (their classes, and the settings of
            this library's), `"validation"` (the problems that they measure on)
            and `"version"`. Defaults to `()`.

    Raises:
        ValueError: If an argument is invalid. When the `fit` begins: if another
            run uses the folder, or if a save is damaged or of another run. The
            error names the file and what differs; nothing is restored.
        OSError: If a save cannot be written. The one before it stays.

    Example:
    ```python
    model.fit(
        dataset,
        epochs=dataset.curriculum.num_epochs,
        callbacks=[
            keras_coconut.CurriculumScheduler(dataset),
            keras_coconut.ResumableTraining("runs/saves", every=500),
        ],
    )
    ```
    """

    # Saves are made between two steps, where nothing has to be waited for.
    async_safe = True

    def __init__(
        self,
        folder: PathLike,
        every: int | datetime.timedelta = 100,
        *,
        keep: int = 2,
        allow_changes: Iterable[str] = (),
    ) -> None:
        super().__init__()
        self.folder = check_path("folder", folder)
        if isinstance(every, datetime.timedelta):
            if every <= datetime.timedelta(0):
                raise refuse("every", "a time of more than 0", every)
        else:
            every = check_count("every", every, least=1)
        self.every = every
        self.keep = check_count("keep", keep, least=1)
        self.allow_changes = _check_changes(allow_changes)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        if not getattr(self.model, "_resumes_runs", False):
            raise ValueError(
                "`ResumableTraining` needs `ContinuousThoughtLM.fit` on a "
                "`CurriculumDataset`, with `callbacks` as a list"
            )


_MAY_CHANGE = (
    "problems",
    "curriculum",
    "batches",
    "backbone",
    "optimizer",
    "trainable",
    "callbacks",
    "validation",
    "version",
)


def _check_changes(names) -> tuple[str, ...]:
    names = [names] if isinstance(names, str) else names
    expected = f"names from {list(_MAY_CHANGE)}"
    if not isinstance(names, list | tuple | set | frozenset):
        raise refuse("allow_changes", expected, names)
    for name in names:
        if not isinstance(name, str) or name not in _MAY_CHANGE:
            raise refuse("allow_changes", expected, names)
    return tuple(names)
