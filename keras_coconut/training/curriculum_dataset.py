"""Batches that follow the curriculum's stage."""

import logging
import warnings
from collections.abc import Sequence

import numpy as np

from keras_coconut.curriculum import Curriculum, check_count
from keras_coconut.models.preprocessor import ContinuousThoughtPreprocessor
from keras_coconut.models.varying_batches import VaryingBatches
from keras_coconut.problems import Problem

_log = logging.getLogger("keras_coconut")


class CurriculumDataset(VaryingBatches):
    """Problems in batches, each laid out as the stage of the epoch says.

    Problems are tokenized once. A batch is a pure function of seed, epoch and
    index, so a run that is taken up again sees what it would have seen. All
    batches of a stage have the same question and response length; a batch has
    no more thought slots than its rows use.

    Without `steps_per_epoch`, an epoch shows every problem once; its last
    batch is filled up with rows that carry no loss, so that nothing is compiled
    for a smaller batch. With it, an epoch takes that many batches from an
    endless succession of such passes, and every batch is full.

    Args:
        problems: sequence of `Problem`s, at least one.
        preprocessor: a `ContinuousThoughtPreprocessor`.
        curriculum: a `Curriculum`.
        batch_size: int. Defaults to `32`.
        shuffle: bool. Whether each pass has its own order. Defaults to `True`.
        seed: int. Of the order and of the mixing of stages. Defaults to `0`.
        steps_per_epoch: int. Batches in an epoch. Defaults to one pass.
        drop_too_long: bool. Whether problems that do not fit into the
            preprocessor's `sequence_length` at some stage are left out, and
            counted in the log, instead of being an error. Defaults to `False`.
        **kwargs: See `keras.utils.PyDataset`.

    Raises:
        ValueError: If there are no problems, if a problem does not fit (names
            it, its length and what is allowed), or if a count is wrong.

    Example:
    ```python
    dataset = keras_coconut.CurriculumDataset(
        problems, model.preprocessor, curriculum, batch_size=128
    )
    x, y, sample_weight = dataset[0]  # The first batch of stage 0.
    ```
    """

    def __init__(
        self,
        problems: Sequence[Problem],
        preprocessor: ContinuousThoughtPreprocessor,
        curriculum: Curriculum,
        *,
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int = 0,
        steps_per_epoch: int | None = None,
        drop_too_long: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not isinstance(curriculum, Curriculum):
            raise ValueError(
                "`curriculum` must be a `keras_coconut.Curriculum`. "
                f"Received: {curriculum!r}"
            )
        for name, value in (
            ("batch_size", batch_size),
            ("steps_per_epoch", steps_per_epoch),
        ):
            if value is not None:
                check_count(name, value, least=1)
        problems = list(problems)
        if not problems:
            raise ValueError(
                "`problems` must hold at least one problem. Received: none"
            )
        for index, problem in enumerate(problems):
            if not isinstance(problem, Problem):
                raise ValueError(
                    "`problems` must hold `keras_coconut.Problem`s only. "
                    f"Received: problems[{index}]={problem!r}"
                )
        self.preprocessor = preprocessor
        self.curriculum = curriculum
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.steps_per_epoch = steps_per_epoch
        tokenized = preprocessor.tokenize_problems(problems)
        self.kept = self._that_fit(tokenized, drop_too_long)
        self._problems = [tokenized[index] for index in self.kept]
        self._question_length = max(len(p.question) for p in self._problems)
        self._order = (None, None)
        self._response_lengths = {}
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Makes the dataset give the batches of an epoch (counted from 0)."""
        self.epoch = epoch
        self._lay_out(self.curriculum.stage(epoch))

    @property
    def stage(self) -> int:
        """The stage of the batches. `set_epoch` sets it; so may you."""
        return self._stage

    @stage.setter
    def stage(self, stage: int):
        self.curriculum.check_stage(stage)
        self._lay_out(stage)

    @property
    def num_thoughts(self) -> int:
        """The thoughts of the current stage."""
        return self.curriculum.num_thoughts(self._stage)

    def check_callbacks(self, callbacks) -> None:
        callbacks = getattr(callbacks, "callbacks", callbacks) or []
        if not isinstance(callbacks, (list, tuple)):
            callbacks = [callbacks]
        if self.curriculum.last_stage and not any(
            getattr(callback, "dataset", None) is self for callback in callbacks
        ):
            warnings.warn(
                "`callbacks` holds no `keras_coconut.CurriculumScheduler` of "
                f"this dataset: it stays at stage {self.stage} in every epoch.",
                stacklevel=4,
            )

    def __len__(self):
        return self.steps_per_epoch or -(
            -len(self._problems) // self.batch_size
        )

    def __getitem__(self, index):
        if not 0 <= index < len(self):
            raise IndexError(
                f"`index` must be below {len(self)}. Received: {index}"
            )
        chosen, weightless = self._choose(index)
        problems = [self._problems[row] for row in chosen]
        random = np.random.default_rng([self.seed, 1, self.epoch, index])
        layouts = []
        for problem in problems:
            steps = len(problem.steps)
            stage = self.curriculum.draw_stage(self._stage, steps, random)
            layouts.append(self.curriculum.layout(steps, stage))
        x, y, sample_weight = self.preprocessor.pack(
            problems,
            layouts,
            question_length=self._question_length,
            response_length=self._response_lengths[self._stage],
        )
        sample_weight[len(chosen) - weightless :] = 0
        return x, y, sample_weight

    def _choose(self, index):
        """Returns the problems of a batch and how many only fill it up."""
        size, total = self.batch_size, len(self._problems)
        if self.steps_per_epoch is None:
            start = index * size
            rows = range(start, min(start + size, total))
            chosen = [self._ordered(self.epoch, row) for row in rows]
            weightless = size - len(chosen)
            return chosen + chosen[-1:] * weightless, weightless
        start = (self.epoch * self.steps_per_epoch + index) * size
        return [
            self._ordered(*divmod(row, total))
            for row in range(start, start + size)
        ], 0

    def _ordered(self, number, row):
        """Returns the problem that stands at `row` in a pass over all."""
        if not self.shuffle:
            return row
        if self._order[0] != number:
            random = np.random.default_rng([self.seed, 0, number])
            order = random.permutation(len(self._problems))
            self._order = (number, order)
        return int(self._order[1][row])

    def _lay_out(self, stage):
        self._stage = stage
        if stage not in self._response_lengths:
            self._response_lengths[stage] = max(
                problem.response_length(
                    self.curriculum.layout(steps, shown).hidden_steps
                )
                for problem in self._problems
                for steps in [len(problem.steps)]
                for shown in self.curriculum.stages_shown(stage, steps)
            )

    def _that_fit(self, tokenized, drop_too_long):
        """Returns the indices of the problems that fit at every stage."""
        kept, curriculum = [], self.curriculum
        for index, problem in enumerate(tokenized):
            steps = len(problem.steps)
            stages = set(range(curriculum.last_stage + 1))
            stages.update(curriculum.stages_shown(0, steps))
            try:
                for stage in stages:
                    self.preprocessor.check_length(
                        problem, curriculum.layout(steps, stage)
                    )
            except ValueError as error:
                if not drop_too_long:
                    raise ValueError(
                        f"`problems[{index}]` does not fit: {error}. "
                        "`drop_too_long=True` leaves such problems out."
                    ) from error
            else:
                kept.append(index)
        dropped = len(tokenized) - len(kept)
        if dropped:
            _log.warning(
                "left out %d of %d problems that do not fit into %d positions",
                dropped,
                len(tokenized),
                self.preprocessor.sequence_length,
            )
        if not kept:
            raise ValueError(
                "`problems` must hold at least one problem that fits into "
                f"{self.preprocessor.sequence_length} positions. Received: "
                f"{len(tokenized)} that do not"
            )
        return kept
