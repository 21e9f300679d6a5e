"""Batches that follow the curriculum's stage."""

import dataclasses
import hashlib
import numbers
import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import keras
import numpy as np

from keras_coconut.checks import (
    PathLike,
    Verbose,
    check_count,
    check_flag,
    check_instance,
    is_flag,
    refuse,
    shown,
)
from keras_coconut.curriculum import MOST_COUNT, Curriculum
from keras_coconut.execution import replicas
from keras_coconut.execution.varying_batches import VaryingBatches
from keras_coconut.problems import Problem
from keras_coconut.text.preprocessor import ContinuousThoughtPreprocessor
from keras_coconut.text.token_cache import tokens_of
from keras_coconut.training.batch_order import BatchOrder
from keras_coconut.training.dataset_fit import check_scheduler, fit_on_dataset
from keras_coconut.training.stage_lengths import StageLengths

# More than anybody asks for: a mistyped count must not fill the memory.
_MOST_ROWS = 10**6
_MOST_WORKERS = 1_000


class CurriculumDataset(VaryingBatches):
    """Problems in batches, laid out for the stage of the epoch.

    Problems are tokenized once. A batch depends only on seed, epoch, stage and
    index, not on the number of workers, so a resumed run sees the batches of an
    uninterrupted one.

    All batches of a stage have the same question and response length. With
    `length_groups`, each group has its own pair of lengths: problems of similar
    length share a batch, and less padding is computed. On PyTorch a batch has
    the thought slots of its stage. On JAX and TensorFlow it has those of the
    last stage, so that several stages share a compiled program, which computes
    only the thoughts that a row uses.

    Without `steps_per_epoch`, an epoch shows every problem once. Its last batch
    is padded with rows that carry no loss, so that no program is compiled for a
    smaller batch. With it, an epoch takes that many batches from an endless
    series of such passes, and every batch is full.

    Problems are read one by one. With a `cache_folder` their tokens stay on
    disk, and memory holds a few dozen bytes for each problem, so a file of
    gigabytes needs a few hundred megabytes of memory. It is tokenized once, and
    again if the file or the tokenizer changes.

    Args:
        problems: the path of a file that `read_problems` reads, or another
            source of problems; see `ContinuousThoughtLM.fit`. At least one.
        preprocessor: a `ContinuousThoughtPreprocessor`.
        curriculum: a `Curriculum`.
        batch_size: int. Defaults to `32`.
        shuffle: bool. Whether each pass has its own order. Defaults to `True`.
        seed: int. Seed of the order and of the mixing of stages. Defaults to
            `0`.
        steps_per_epoch: int. Number of batches in an epoch. Defaults to one
            pass.
        length_groups: int. Maximum number of groups of problems of similar
            length. More groups mean less padding, but JAX and TensorFlow
            compile a program for each. On ProsQA with batches of 16, one group
            computes 33% padding, four 14% and sixteen 7%. Defaults to `1`.
        drop_too_long: bool. Whether to leave out problems that exceed the
            preprocessor's `sequence_length` at some stage, and to log their
            number. If not, they raise an error. Defaults to `False`.
        cache_folder: string or path-like. A folder that keeps the tokens of
            problem files, created if missing. Needs a path as `problems`.
            Defaults to `None`: tokens stay in memory.
        **kwargs: See `keras.utils.PyDataset`: `workers`, the number of threads
            that prepare batches ahead; `use_multiprocessing`, which makes them
            processes; and `max_queue_size`, the most batches in the queue.

    Raises:
        ValueError: If there are no problems, if a problem does not fit (the
            error names it, its length and the limit), or if an argument is
            invalid.

    Example:
    ```python
    dataset = keras_coconut.CurriculumDataset(
        problems, model.preprocessor, curriculum, batch_size=128
    )
    x, y, sample_weight = dataset[0]  # The first batch of stage 0.
    ```
    """

    # The figure by which a scheduler may begin a stage before the curriculum
    # says so, if one does.
    promotes: str | None = None

    def __init__(
        self,
        problems: Iterable[Problem | Mapping] | str | os.PathLike,
        preprocessor: ContinuousThoughtPreprocessor,
        curriculum: Curriculum,
        *,
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int = 0,
        steps_per_epoch: int | None = None,
        length_groups: int = 1,
        drop_too_long: bool = False,
        cache_folder: PathLike | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**_check_workers(kwargs))
        check_instance(
            "preprocessor",
            preprocessor,
            ContinuousThoughtPreprocessor,
            "a `keras_coconut.ContinuousThoughtPreprocessor`",
        )
        check_instance(
            "curriculum", curriculum, Curriculum, "a `keras_coconut.Curriculum`"
        )
        if steps_per_epoch is not None:
            steps_per_epoch = check_count(
                "steps_per_epoch", steps_per_epoch, 1, MOST_COUNT
            )
        self.preprocessor = preprocessor
        self.curriculum = curriculum
        self.batch_size = check_count("batch_size", batch_size, 1, _MOST_ROWS)
        self.shuffle = check_flag("shuffle", shuffle)
        self.seed = check_count("seed", seed)
        self.steps_per_epoch = steps_per_epoch
        self.length_groups = check_count(
            "length_groups", length_groups, least=1
        )
        drop_too_long = check_flag("drop_too_long", drop_too_long)
        self._tokens = tokens_of(problems, preprocessor, cache_folder)
        self._lengths = StageLengths(
            self._tokens,
            preprocessor,
            curriculum,
            self.batch_size,
            self.length_groups,
            drop_too_long,
        )
        self._order = BatchOrder(
            len(self._lengths),
            self.batch_size,
            self.shuffle,
            self.seed,
            steps_per_epoch,
        )
        self._stage_is_chosen = False
        self.set_epoch(0)

    @property
    def kept(self) -> np.ndarray:
        """The indices (from 0, ascending) of the problems that fit."""
        if self._lengths.kept is None:
            return np.arange(len(self._tokens))
        return self._lengths.kept

    def set_epoch(
        self,
        epoch: int,
        stage: int | None = None,
        *,
        epoch_of_stage: int | None = None,
    ) -> None:
        """Selects the epoch whose batches the dataset returns.

        Args:
            epoch: int, counted from 0.
            stage: int. Defaults to the curriculum's stage of the epoch.
            epoch_of_stage: int, the epoch within the stage, counted from 0.
                Defaults to that of the curriculum; with a given `stage`, to its
                last epoch.
        """
        curriculum = self.curriculum
        if stage is None:
            stage = curriculum.stage(epoch)
            if epoch_of_stage is None:
                epoch_of_stage = epoch - curriculum.first_epoch(stage)
        self.state = (
            epoch,
            stage,
            curriculum.num_thoughts(stage, epoch_of_stage),
        )

    @property
    def state(self) -> tuple[int, int, int]:
        """Epoch, stage and number of thoughts, which determine the batches."""
        return self.epoch, self._stage, self._num_thoughts

    @state.setter
    def state(self, state):
        if not isinstance(state, tuple) or len(state) != 3:
            raise refuse(
                "state", "a tuple of an epoch, a stage and thoughts", state
            )
        epoch = check_count("state[0]", state[0])
        stage = check_count(
            "state[1]", state[1], most=self.curriculum.last_stage
        )
        most = self.curriculum.num_thoughts(stage)
        num_thoughts = check_count("state[2]", state[2], most=most)
        self._lay_out(stage)
        self.epoch, self._num_thoughts = epoch, num_thoughts

    @property
    def stage(self) -> int:
        """The stage of the batches, set by `set_epoch` or by you."""
        return self._stage

    @stage.setter
    def stage(self, stage: int):
        self._lay_out(self.curriculum.check_stage(stage))
        self._num_thoughts = self.curriculum.num_thoughts(stage)
        self._stage_is_chosen = True

    @property
    def num_thoughts(self) -> int:
        """The maximum number of thoughts of a problem in the epoch."""
        return self._num_thoughts

    def check_callbacks(self, callbacks: Any, validation: bool = False) -> None:
        check_scheduler(
            self, callbacks, validation, chosen=self._stage_is_chosen
        )

    def train(
        self,
        fit: Callable[[Any], Any],
        callbacks: Any,
        model: keras.Model,
        epochs: int,
        verbose: Verbose,
    ) -> Any:
        return fit_on_dataset(self, fit, callbacks, model, epochs, verbose)

    def describe(self) -> dict[str, Any]:
        """Returns everything that determines the batches, as plain values.

        `problems` is a digest of the tokens of all problems.
        """
        digest = hashlib.sha256(self._tokens.digest().encode())
        if self._lengths.kept is not None:
            digest.update(self._lengths.kept.astype("<i8").tobytes())
        names = ("batch_size", "shuffle", "seed", "steps_per_epoch")
        return {
            "problems": {"digest": digest.hexdigest()[:32]},
            "curriculum": dataclasses.asdict(self.curriculum),
            "batches": {
                name: getattr(self, name) for name in (*names, "length_groups")
            },
        }

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(
        self, index: int
    ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
        index = self._check_index(index)
        problems, layouts, num_real, lengths = self._batch(index)
        # Drawn for the whole batch, and packed for this process alone.
        here = replicas.local_rows(self.batch_size)
        x, y, sample_weight = self._pack(problems[here], layouts[here], lengths)
        fills_up = np.arange(len(problems)) >= num_real
        sample_weight[fills_up[here]] = 0
        return x, y, sample_weight

    def problem_numbers(self, index: int) -> list[int]:
        """Returns which problems a batch of the epoch holds.

        Args:
            index: int. The number of the batch.

        Returns:
            A list of ints, the indices of the problems in the dataset's
            `problems`.
        """
        rows, num_real, _ = self._chosen(self._check_index(index))
        return rows[:num_real]

    def first_rows(self, index: int, most: int) -> dict[str, np.ndarray]:
        """Returns the five keys of the first rows of a batch of all devices.

        Args:
            index: int. The number of the batch.
            most: int. Maximum number of rows.
        """
        most = check_count("most", most, least=1)
        index = self._check_index(index)
        problems, layouts, num_real, lengths = self._batch(index)
        rows = slice(min(most, num_real))
        x, _, _ = self._pack(problems[rows], layouts[rows], lengths)
        return x

    def _check_index(self, index):
        if is_flag(index) or not isinstance(index, numbers.Integral):
            raise refuse("index", "a whole number", index)
        if not 0 <= int(index) < len(self):
            # Not a `ValueError`: it ends a loop over the batches.
            raise IndexError(
                f"`index` must be from 0 to {len(self) - 1}. Received: "
                f"index={shown(index)}"
            )
        return int(index)

    def _chosen(self, index):
        """Returns the problems of a batch, how many are real, its lengths."""
        grouping = self._lengths.grouping(self._stage)
        chosen = self._order.choose(self.epoch, index, grouping)
        rows = chosen.rows
        if self._lengths.kept is not None:
            rows = self._lengths.kept[rows].tolist()
        return rows, chosen.num_real, grouping.lengths[chosen.group]

    def _batch(self, index):
        """Returns tokenized problems, layouts, and what `_chosen` returns."""
        rows, num_real, lengths = self._chosen(index)
        problems = [self._tokens[row] for row in rows]
        random = np.random.default_rng([self.seed, 1, self.epoch, index])
        layouts = [
            self.curriculum.draw_layout(
                len(problem.steps),
                self._stage,
                random,
                num_thoughts=self._num_thoughts,
            )
            for problem in problems
        ]
        return problems, layouts, num_real, lengths

    def _lay_out(self, stage):
        # Here, since workers would each group the problems.
        self._lengths.grouping(stage)
        self._stage = stage

    def _pack(self, problems, layouts, lengths):
        question_length, response_length = lengths
        return self.preprocessor.pack(
            problems,
            layouts,
            question_length=question_length,
            response_length=response_length,
            slots=self._slots(),
        )

    def _slots(self):
        """Returns the thought slots of a batch; `None` for those in use."""
        if keras.config.backend() == "torch":
            return None
        curriculum = self.curriculum
        if curriculum.thought_kind == "pause":
            return 0
        return max(
            curriculum.num_thoughts(stage)
            for stage in range(curriculum.last_stage + 1)
        )


def _check_workers(kwargs) -> dict:
    """Returns the arguments of `keras.utils.PyDataset`, checked."""
    kwargs = dict(kwargs)
    for name, check in (
        ("workers", partial(check_count, most=_MOST_WORKERS)),
        ("use_multiprocessing", check_flag),
        ("max_queue_size", check_count),
    ):
        if name in kwargs:
            kwargs[name] = check(name, kwargs[name])
    return kwargs
