"""The callback that answers validation problems during training."""

import json
import logging
import os
import pathlib
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import keras

from keras_coconut.checks import (
    PathLike,
    Verbose,
    check_count,
    check_path,
    check_verbose,
    refuse,
    shown,
)
from keras_coconut.curriculum import Curriculum
from keras_coconut.evaluation.figures import Evaluation
from keras_coconut.evaluation.problems import evaluate_problems
from keras_coconut.evaluation.request import check_model, check_request
from keras_coconut.evaluation.results_file import damaged, read_object
from keras_coconut.execution import replicas
from keras_coconut.execution.finite import first_not_finite
from keras_coconut.files import check_writable, make_folder, write_whole
from keras_coconut.problems import Problem, as_problems

_log = logging.getLogger("keras_coconut")


class AnswerAccuracy(keras.callbacks.Callback):
    """Generates answers to validation problems at the end of epochs.

    The model uses the number of thoughts of the epoch's stage, so the log
    `val_answer_accuracy` is the accuracy of that stage. The callback may come
    before or after the `CurriculumScheduler`. Put it before callbacks that read
    the log, such as `keras.callbacks.EarlyStopping`, `ModelCheckpoint` and
    `TensorBoard`.

    It evaluates the first epoch of the `fit`, every `every`th epoch, the last
    epoch and, with `best_preset`, the first epoch of the last stage. In the
    other epochs the log repeats the last figure, so that every epoch has one.

    When the `fit` begins, the callback checks whether every problem fits with
    the thoughts of every stage that the `fit` reaches, and whether
    `best_preset` can be written.

    Args:
        problems: iterable of `Problem`s, at least one.
        every: int. Number of epochs from one evaluation to the next. Defaults
            to `1`.
        max_length: int. Maximum number of tokens of a response; see `generate`.
        batch_size: int. Defaults to `32`.
        best_preset: string or path-like. A folder, created if it is missing.
            The model with the best accuracy *in the last stage* is saved there
            as a preset, as the paper chooses its checkpoints, with its
            `Evaluation` in `validation.json`. A `fit` that resumes in that
            stage continues from the best one there. A warning is given if the
            `fit` is too short to reach the last stage. Optional.
        curriculum: the `Curriculum` that is trained. Required with
            `best_preset`. Without it, that of the `CurriculumDataset` that
            `fit` trains on is used.
        verbose: `"auto"`, 0, 1 or 2; see `evaluate_problems`. As with
            `validation_data` in `fit`, no progress is shown by default.
            Defaults to `0`.

    Raises:
        ValueError: If an argument is invalid, or if `best_preset` is
            given without a curriculum. When the `fit` begins: if a problem
            does not fit, or if the dataset has another curriculum. When a
            `fit` resumes in the last stage: if `validation.json` is damaged.
        OSError: When the `fit` begins: if `best_preset` cannot be written.

    Example:
    ```python
    model.fit(
        dataset,
        callbacks=[
            keras_coconut.CurriculumScheduler(dataset),
            keras_coconut.AnswerAccuracy(
                validation_problems,
                best_preset="runs/best",
                curriculum=dataset.curriculum,
            ),
        ],
    )
    ```
    """

    def __init__(
        self,
        problems: Iterable[Problem | Mapping],
        every: int = 1,
        *,
        max_length: int | None = None,
        batch_size: int = 32,
        best_preset: PathLike | None = None,
        curriculum: Curriculum | None = None,
        verbose: Verbose = 0,
    ) -> None:
        super().__init__()
        self.problems = as_problems("problems", problems)
        self.every = check_count("every", every, least=1)
        self.max_length = max_length
        if max_length is not None:
            self.max_length = check_count("max_length", max_length, least=1)
        self.batch_size = check_count("batch_size", batch_size, least=1)
        self.verbose = check_verbose(verbose)
        if best_preset is not None:
            best_preset = check_path("best_preset", best_preset)
        self.best_preset = best_preset
        if curriculum is not None or best_preset is not None:
            if not isinstance(curriculum, Curriculum):
                raise refuse(
                    "curriculum",
                    "the `keras_coconut.Curriculum` that is trained, which "
                    "`best_preset` needs to know the last stage",
                    curriculum,
                )
        self.curriculum = curriculum
        self._begin()

    def _begin(self):
        """Forgets an earlier `fit`."""
        self._accuracy = None
        # The best accuracy of the last stage, once there is one.
        self._best = None
        self._first_epoch = True
        # Whether the epoch before was one of the last stage.
        self._was_last = False

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._begin()
        check_model(self.model)
        if self.every > 1 and self._is_promoted == "val_answer_accuracy":
            raise ValueError(
                "`every` must be 1 where a `CurriculumScheduler` promotes by "
                "`val_answer_accuracy`: a repeated figure says nothing of its "
                f"epoch. Received: every={self.every}"
            )
        curriculum = self._trained_curriculum()
        if curriculum is not None:
            self._check_stages(curriculum)
        if self.best_preset is not None:
            make_folder(self.best_preset)
            check_writable("best_preset", self._figures_path)
            needed = self._first_kept + 1
            too_few = (self._num_epochs or needed) < needed
            if too_few and not self._is_promoted:
                warnings.warn(
                    f"`epochs` must be at least {needed} for `best_preset` to "
                    "be written, which holds the best model of the last "
                    "stage with all of its thoughts. Received: "
                    f"epochs={self._num_epochs}",
                    stacklevel=2,
                )

    def on_epoch_begin(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        if self.best_preset is not None and self._first_epoch:
            self._was_last = epoch > self._first_kept
            if self._was_last:
                self._best = self._read_best()
        self._first_epoch = False

    def on_train_batch_begin(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        if batch == 0 and self._schedule is None:
            # By now, `num_thoughts` is set by whatever callback sets it.
            self._check_problems(self.model.num_thoughts)

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        begins_last_stage = False
        if self.best_preset is not None:
            is_last = self._in_last_stage(epoch)
            begins_last_stage = is_last and not self._was_last
            self._was_last = is_last
        if begins_last_stage:
            # What an earlier run left does not count.
            if not replicas.process_index():
                pathlib.Path(self._figures_path).unlink(missing_ok=True)
            self._best = None
        if (
            self._accuracy is None
            or (epoch + 1) % self.every == 0
            or epoch + 1 == self._num_epochs
            or begins_last_stage
        ):
            found = evaluate_problems(
                self.model,
                self.problems,
                num_thoughts=self._num_thoughts(epoch),
                max_length=self.max_length,
                batch_size=self.batch_size,
                verbose=self.verbose,
            )
            self._accuracy = found.accuracy
            if self.best_preset is not None and is_last:
                self._keep_best(found)
        if logs is not None:
            logs["val_answer_accuracy"] = self._accuracy

    @property
    def _figures_path(self):
        return os.path.join(self.best_preset or "", "validation.json")

    @property
    def _num_epochs(self):
        return (self.params or {}).get("epochs")

    @property
    def _dataset(self):
        """The `CurriculumDataset` of the `fit` that runs, or `None`."""
        dataset = getattr(self.model, "_training_dataset", None)
        known = isinstance(getattr(dataset, "curriculum", None), Curriculum)
        return dataset if known else None

    @property
    def _schedule(self):
        """The curriculum that is trained, or `None` if it is unknown."""
        if self._dataset is not None:
            return self._dataset.curriculum
        return self.curriculum

    @property
    def _first_kept(self):
        """The first epoch, by the curriculum, whose model may be the best."""
        if self._dataset is not None:
            return first_full_epoch(self._schedule)
        return self._schedule.first_epoch(self._schedule.last_stage)

    @property
    def _is_promoted(self):
        """The figure by which a stage may begin early, or `None`."""
        return self._dataset and self._dataset.promotes

    def _trained_curriculum(self):
        if self.curriculum not in (None, self._schedule):
            raise ValueError(
                "`curriculum` must be that of the dataset that `fit` trains "
                f"on. Received: curriculum={shown(self.curriculum)} and not "
                f"{shown(self._schedule)}"
            )
        return self._schedule

    def _check_stages(self, curriculum):
        """Raises a `ValueError` for a problem too long for some stage."""
        most, stage = most_thoughts(
            curriculum, None if self._is_promoted else self._num_epochs
        )
        self._check_problems(most, f" up to stage {stage}")

    def _check_problems(self, num_thoughts, when=""):
        try:
            check_request(
                self.model,
                self.problems,
                num_thoughts,
                self.max_length,
                self.batch_size,
            )
        except ValueError as error:
            raise ValueError(
                "`problems` of `AnswerAccuracy` must fit the model with the "
                f"thoughts{when}, {num_thoughts} of them: {error}"
            ) from error

    def _num_thoughts(self, epoch):
        """Returns the number of thoughts of an epoch's stage."""
        if self._dataset is not None:
            return self._dataset.num_thoughts
        if self.model.num_thoughts is None and self.curriculum is not None:
            return self.curriculum.num_thoughts(self.curriculum.stage(epoch))
        return self.model.num_thoughts

    def _in_last_stage(self, epoch):
        if self._dataset is not None:
            # It stays in stage 0 without a `CurriculumScheduler`. The stage may
            # begin with fewer thoughts.
            last = self._schedule.last_stage
            return (
                self._dataset.stage == last
                and self._dataset.num_thoughts
                == self._schedule.num_thoughts(last)
            )
        return self._schedule.stage(epoch) == self._schedule.last_stage

    def _read_best(self):
        if not os.path.exists(self._figures_path):
            return None
        entry = read_object(self._figures_path)
        try:
            return Evaluation.from_dict(entry).accuracy
        except ValueError as error:
            raise damaged(self._figures_path, str(error)) from error

    def _keep_best(self, found):
        if self._best is not None and found.accuracy <= self._best:
            return
        weight = first_not_finite(self.model)
        if weight is not None:
            _log.warning(
                "the model is not kept in %s: not all numbers of its weight %s "
                "are finite",
                self.best_preset,
                weight,
            )
            return
        self._best = found.accuracy
        if replicas.process_index():
            return  # The first process writes.
        self.model.save_to_preset(self.best_preset)
        text = json.dumps(found.to_dict(), indent=1, allow_nan=False)
        write_whole(self._figures_path, text)


def first_full_epoch(curriculum: Curriculum) -> int:
    """Returns the first epoch of the last stage that has all thoughts.

    With `one_thought_at_a_time` the stage begins with fewer, and each epoch
    adds one.

    Args:
        curriculum: the `Curriculum` that is trained.
    """
    last = curriculum.last_stage
    missing = curriculum.num_thoughts(last) - curriculum.num_thoughts(last, 0)
    return curriculum.first_epoch(last) + missing


def most_thoughts(
    curriculum: Curriculum, num_epochs: int | None
) -> tuple[int, int]:
    """Returns the most thoughts of a `fit`, and the last stage that it reaches.

    Args:
        curriculum: the `Curriculum` that is trained.
        num_epochs: int. The number of epochs; `None` if they do not say which
            stage is reached.
    """
    stage = curriculum.last_stage
    if num_epochs is not None:
        stage = curriculum.stage(max(num_epochs - 1, 0))
    return max(map(curriculum.num_thoughts, range(stage + 1))), stage
