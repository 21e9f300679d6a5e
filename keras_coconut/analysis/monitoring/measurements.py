"""The callback that measures anything during training, and logs it."""

import os
import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras

from keras_coconut.analysis.monitoring import event_files
from keras_coconut.analysis.monitoring.logged_values import Logged, read_result
from keras_coconut.analysis.monitoring.ready_measures import (
    OF_CONTINUOUS,
    READY,
)
from keras_coconut.checks import (
    PathLike,
    Verbose,
    check_count,
    check_path,
    check_string,
    check_verbose,
    refuse,
    shown,
)
from keras_coconut.curriculum import Curriculum
from keras_coconut.evaluation.answer_accuracy import most_thoughts
from keras_coconut.evaluation.request import check_model, check_request
from keras_coconut.execution import replicas
from keras_coconut.files import check_writable, make_folder
from keras_coconut.problems import Problem, as_problems
from keras_coconut.progress import Progress, say

_SECONDS, _SHARE = "measurements_seconds", "measurements_share"


class Measurements(keras.callbacks.Callback):
    """Measures the model at the end of epochs, and logs what it finds.

    A measure is a function of the model, such as one that calls a function of
    this library. Numbers in its result become logs: they appear in the progress
    bar, in `History` and in what later callbacks read, such as
    `keras.callbacks.TensorBoard` and `CSVLogger`. A log is named `val_`, the
    name of the measure and the place in the result, for example
    `val_controls_noise`. Of an `Evaluation` this is the accuracy, of a `Share`
    the share. Dictionaries and dataclasses are read key by key; arrays and
    lists with one value for each problem are left out.

    With `log_dir` the first process writes numbers, text and figures of
    matplotlib for TensorBoard, where they are the run `measurements`. This
    needs the package `tensorboard`. The attribute `results` holds the last
    result of each measure.

    The callback measures after the first epoch of the `fit`, after every
    `every`th epoch and after the last one. In the epochs between, the logs
    repeat the last numbers; a number that a measure returned before and no
    longer returns is NaN. What it costs is printed and logged:
    `measurements_seconds`, and `measurements_share`, the share of the epoch's
    own time.

    With a `CurriculumScheduler` the model has the number of thoughts of the
    epoch's stage while it is measured. If several processes train together, all
    of them measure.

    Args:
        measures: dictionary from names to functions of the model. In place of a
            function may stand the name of a ready-made measure, which needs
            `problems`: `"controls"` is the accuracy with each control,
            `"decoded_thoughts"` a table of the tokens that thoughts decode to,
            `"thought_cosines"` a picture of how alike the thoughts are. A list
            of such names is enough where they keep their names.
        every: int. Number of epochs from one measurement to the next. Defaults
            to `1`.
        problems: iterable of `Problem`s, which the ready-made measures take, at
            least two. Optional.
        max_length: int. Maximum number of tokens of a response to them; see
            `generate`. Optional.
        batch_size: int. Number of them in a batch. Defaults to `32`.
        log_dir: string or path-like. The folder that TensorBoard shows, created
            if it is missing; usually that of `keras.callbacks.TensorBoard`.
            Optional.
        verbose: `"auto"`, 0, 1 or 2. 0 is silent; 1 and `"auto"` show the
            progress and the cost; 2 prints the cost. Defaults to `2`.

    Raises:
        ValueError: If an argument is invalid. When the `fit` begins: if a
            problem does not fit the model. After an epoch: if a measure returns
            nothing that can be logged, or a log has a name that is taken.
        ImportError: When the `fit` begins: if `log_dir` is given and
            `tensorboard` is not installed.
        OSError: When the `fit` begins: if `log_dir` cannot be written.

    Example:
    ```python
    model.fit(
        dataset,
        callbacks=[
            keras_coconut.CurriculumScheduler(dataset),
            keras_coconut.Measurements(
                {
                    "controls": "controls",
                    "decoded": "decoded_thoughts",
                    "without": lambda model: keras_coconut.evaluate_problems(
                        model, validation_problems, num_thoughts=0
                    ),
                },
                every=5,
                problems=validation_problems,
                log_dir="runs/logs",
            ),
        ],
    )
    ```
    """

    def __init__(
        self,
        measures: Mapping[str, Callable[[Any], Any] | str] | Sequence[str],
        every: int = 1,
        *,
        problems: Iterable[Problem | Mapping] | None = None,
        max_length: int | None = None,
        batch_size: int = 32,
        log_dir: PathLike | None = None,
        verbose: Verbose = 2,
    ) -> None:
        super().__init__()
        self.measures = _check_measures(measures)
        self.every = check_count("every", every, least=1)
        self.max_length = max_length
        if max_length is not None:
            self.max_length = check_count("max_length", max_length, least=1)
        self.batch_size = check_count("batch_size", batch_size, least=1)
        self.verbose = check_verbose(verbose)
        self.log_dir = None
        if log_dir is not None:
            self.log_dir = check_path("log_dir", log_dir)
        self.problems = None
        if problems is not None:
            self.problems = as_problems("problems", problems)
        ready = self._ready
        if ready and (self.problems is None or len(self.problems) < 2):
            raise ValueError(
                "`problems` must hold at least two problems for the ready-made "
                f"measures {ready}. Received: "
                f"{shown(self.problems and len(self.problems))}"
            )
        self._found = _Found()
        self._clock = _Clock()
        self._begin()

    def _begin(self):
        """Forgets an earlier `fit`."""
        # The last numbers, which `ResumableTraining` saves.
        self._numbers: dict[str, float] | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._begin()
        if self._ready:
            self._check_ready()
        if self.log_dir is not None and not replicas.process_index():
            event_files.find_tensorboard()
            make_folder(self._folder)
            check_writable("log_dir", os.path.join(self._folder, "events"))

    def on_epoch_begin(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        self._clock.start = time.perf_counter()

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        seconds = share = 0.0
        if (
            self._numbers is None
            or (epoch + 1) % self.every == 0
            or epoch + 1 == (self.params or {}).get("epochs")
        ):
            begin = time.perf_counter()
            logged = self._measure(epoch)
            self._keep(epoch, logged, {} if logs is None else logs)
            seconds = time.perf_counter() - begin
            # There may be another callback of this class before.
            before = 0.0 if logs is None else logs.get(_SECONDS, 0.0)
            share = self._say_cost(epoch, begin - before, seconds)
        if logs is not None:
            logs.update(self._numbers or {})
            for name, value in ((_SECONDS, seconds), (_SHARE, share)):
                logs[name] = logs.get(name, 0.0) + value

    @property
    def results(self) -> dict[str, Any]:
        """The last result of each measure."""
        return self._found.results

    # === Measuring ===

    def _measure(self, epoch) -> Logged:
        """Returns what the measures find."""
        found = Logged({}, {}, {})
        verbose = 0 if replicas.process_index() else self.verbose
        line = Progress(
            f"epoch {epoch + 1}, measure", 0, 1 if verbose == 1 else 0
        )
        with line:
            for name, measure in self.measures.items():
                try:
                    result = self._call(measure)
                    logged = read_result(name, result)
                except Exception as error:
                    error.add_note(f"The measure is measures[{name!r}].")
                    raise
                self._found.results[name] = result
                for kind in Logged._fields:
                    kept: dict = getattr(found, kind)
                    for key, value in getattr(logged, kind).items():
                        if key in kept:
                            raise _taken(key, "two measures")
                        kept[key] = value
        return found

    def _call(self, measure):
        if callable(measure):
            return measure(self.model)
        options = {
            "max_length": self.max_length,
            "batch_size": self.batch_size,
            "verbose": 0,
        }
        return READY[measure](
            self.model, self.problems, self._num_thoughts, options
        )

    def _keep(self, epoch, logged, logs):
        """Keeps numbers for the logs, and writes the events of an epoch."""
        before = self._numbers or {}
        numbers = {f"val_{key}": each for key, each in logged.numbers.items()}
        for name in numbers:
            # Of this epoch there are no other logs with names of ours.
            if name in logs:
                raise _taken(name, "a measure and another log of the `fit`")
        self._numbers = {**dict.fromkeys(before, float("nan")), **numbers}
        if self.log_dir is not None and not replicas.process_index():
            names = "\n".join(self.measures).encode()
            event_files.write_events(
                self._folder, epoch, logged, f"{zlib.crc32(names):08x}"
            )
        for figure in logged.figures.values():
            event_files.close(figure)

    def _say_cost(self, epoch, end, seconds):
        """Prints what was spent; returns its share of the epoch's own time."""
        start = self._clock.start
        # Where no epoch has begun, such as in a test by hand.
        trained = end - start if start is not None else 0.0
        share = seconds / trained if trained else 0.0
        if self.verbose and not replicas.process_index():
            say(
                f"epoch {epoch + 1}: measuring {', '.join(self.measures)} took "
                f"{seconds:.1f}s, {share:.0%} of the {trained:.1f}s of the "
                "epoch itself"
            )
        return share

    # === The model and its stage ===

    @property
    def _ready(self):
        return [each for each in self.measures.values() if not callable(each)]

    @property
    def _folder(self):
        return os.path.join(self.log_dir or "", "measurements")

    @property
    def _dataset(self):
        """The `CurriculumDataset` of the `fit` that runs, or `None`."""
        dataset = getattr(self.model, "_training_dataset", None)
        known = isinstance(getattr(dataset, "curriculum", None), Curriculum)
        return dataset if known else None

    @property
    def _num_thoughts(self):
        dataset = self._dataset
        if dataset is None:
            return self.model.num_thoughts
        return dataset.num_thoughts

    def _check_ready(self):
        """Raises a `ValueError` for what a ready-made measure cannot do."""
        model, dataset = check_model(self.model), self._dataset
        kind, most = model.thought_kind, model.num_thoughts
        if dataset is not None:
            kind = dataset.curriculum.thought_kind
            epochs = (self.params or {}).get("epochs")
            most, _ = most_thoughts(
                dataset.curriculum, None if dataset.promotes else epochs
            )
        for measure in self._ready:
            if measure in OF_CONTINUOUS and kind != "continuous":
                raise ValueError(
                    f"`measures` must be without {measure!r} for a model whose "
                    "thoughts are pauses, which hold nothing to look at. "
                    f"Received: thought_kind={kind!r}"
                )
        if most is None:
            raise ValueError(
                "`num_thoughts` of the model must be set before it is "
                "measured: train on a `CurriculumDataset` with a "
                "`CurriculumScheduler`, or set it. Received: num_thoughts=None"
            )
        try:
            check_request(
                model, self.problems, most, self.max_length, self.batch_size
            )
        except ValueError as error:
            raise ValueError(
                "`problems` of `Measurements` must fit the model with "
                f"{most} thoughts: {error}"
            ) from error


class _Clock:
    """When the epoch began. Not plain: another process has another clock."""

    start: float | None = None


class _Found:
    """The last results. Not plain, so that no save of a run holds them."""

    def __init__(self):
        self.results: dict[str, Any] = {}


def _taken(name, whose):
    return ValueError(
        f"`measures` must give values names of their own. Received: {name!r}, "
        f"the name of {whose}"
    )


def _check_measures(measures) -> dict[str, Any]:
    """Returns the measures by their names."""
    expected = (
        "a dictionary from names to functions of the model, or to ready-made "
        f"measures from {sorted(READY)}; or a list of these"
    )
    if isinstance(measures, list | tuple):
        if not all(isinstance(measure, str) for measure in measures):
            raise refuse("measures", expected, measures)
        if len(set(measures)) < len(measures):
            raise refuse("measures", f"{expected}, each once", measures)
        measures = {measure: measure for measure in measures}
    if not isinstance(measures, Mapping) or not measures:
        raise refuse("measures", expected, measures)
    for name, measure in measures.items():
        check_string("measures", name, empty=False)
        if not callable(measure) and not (
            isinstance(measure, str) and measure in READY
        ):
            raise ValueError(
                "`measures` must hold functions of the model, or names from "
                f"{sorted(READY)}. Received: {shown(measure)} as {shown(name)}"
            )
    return dict(measures)
