"""How a run is saved; saved_run.py does it."""

import datetime
from collections.abc import Iterable

import keras

from keras_coconut.checks import check_count, check_path, refuse


class ResumableTraining(keras.callbacks.Callback):
    """Saves a `fit` while it runs; the same `fit` called again resumes it.

    A resumed run continues with the step after the save, inside an epoch too,
    and computes exactly what the undisturbed run computes on the same backend:
    weights, optimizer, random numbers, metrics, the order of the data,
    `History`, the best figures of callbacks, and the rows of
    `keras.callbacks.CSVLogger` and `TensorBoard` are part of a save. A `fit`
    that is finished already restores the trained model and returns.

    A save is written by a thread while training goes on. It appears once it is
    whole, and its name holds the digest of its content; only then are older
    ones deleted. The first is written before the first step, so that a folder
    that cannot be written to is found at once.

    Where several processes train together, all of them read the folder and the
    first writes to it, so they must share it.

    A save opens on the other backends. There the run continues with other
    random numbers: dropout draws from the generators of its backend.

    The callback needs a `CurriculumDataset`, whose batches follow from a seed,
    and callbacks given as a list. Of a callback, every plain attribute is saved
    that changed since the start: numbers, strings, arrays, and structures of
    these. What else a callback of your own remembers starts anew.

    Args:
        folder: string or path-like. Made if it is missing. One run at a time
            can use it.
        every: int, the most optimizer steps between two saves; or a
            `datetime.timedelta`, the least time between them. The end of the
            training is always saved. Defaults to `100`.
        keep: int. How many saves stay. With 2 there is another one to resume
            from if a disk damages the newest. Defaults to `2`.
        allow_changes: strings. What may differ between a save and the run that
            resumes from it, as the error says it: of `"problems"`,
            `"curriculum"`, `"batches"`, `"backbone"`, `"optimizer"`,
            `"trainable"`, `"callbacks"` and `"version"`. Defaults to `()`.

    Raises:
        ValueError: If an argument is not one of these. When the `fit` begins:
            if another run uses the folder, if a save is damaged, or if it is
            of another run; names the file and what differs. Nothing is
            restored then.
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
        folder,
        every: int | datetime.timedelta = 100,
        keep: int = 2,
        allow_changes: Iterable[str] = (),
    ):
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

    def on_train_begin(self, logs=None):
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
