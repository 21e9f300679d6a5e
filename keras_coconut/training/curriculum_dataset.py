"""Batches that follow the curriculum's stage."""

import contextlib
import dataclasses
import hashlib
import itertools
import logging
import numbers
import warnings
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_coconut.checks import (
    check_count,
    check_flag,
    check_instance,
    is_flag,
    refuse,
    shown,
)
from keras_coconut.curriculum import MOST_COUNT, Curriculum
from keras_coconut.models import replicas
from keras_coconut.models.varying_batches import VaryingBatches
from keras_coconut.problems import Problem, as_problems
from keras_coconut.text.preprocessor import ContinuousThoughtPreprocessor
from keras_coconut.training.callback_state import writes_logs
from keras_coconut.training.length_groups import group_by_length
from keras_coconut.training.saved_run import SavedRun, resumable

# More than anybody asks for: a mistyped count must not fill the memory.
_MOST_ROWS = 10**6
_MOST_WORKERS = 1_000
# Lengths are rounded up by the longest row divided by this, or less.
_LENGTH_STEPS = 8

_log = logging.getLogger("keras_coconut")


class _Group(NamedTuple):
    """Problems whose batches are padded to the same lengths."""

    rows: np.ndarray
    question_length: int
    response_length: int


class CurriculumDataset(VaryingBatches):
    """Problems in batches, each laid out as the stage of the epoch says.

    Problems are tokenized once. A batch is a pure function of seed, epoch,
    stage and index, however many workers make it, so a run that is taken up
    again sees what it would have seen.

    All batches of a stage have the same question and response length, or, with
    `length_groups`, as many pairs of them as there are groups: problems of like
    length then share a batch, and less is computed for padding. On PyTorch a
    batch has as many thought slots as its stage; where steps are compiled it
    has as many as the last one, so that one program serves several stages. It
    computes only the thoughts that a row uses.

    Without `steps_per_epoch`, an epoch shows every problem once; its last
    batch is filled up with rows that carry no loss, so that nothing is compiled
    for a smaller batch. With it, an epoch takes that many batches from an
    endless succession of such passes, and every batch is full.

    Args:
        problems: iterable of `Problem`s, or of dictionaries with their keys;
            at least one.
        preprocessor: a `ContinuousThoughtPreprocessor`.
        curriculum: a `Curriculum`.
        batch_size: int. Defaults to `32`.
        shuffle: bool. Whether each pass has its own order. Defaults to `True`.
        seed: int. Of the order and of the mixing of stages. Defaults to `0`.
        steps_per_epoch: int. Batches in an epoch. Defaults to one pass.
        length_groups: int. The most groups of problems of like length. More of
            them mean less padding, and a program to compile for each on JAX
            and TensorFlow. On ProsQA with batches of 16, one group computes
            33% padding, four 14% and sixteen 7%. Defaults to `1`.
        drop_too_long: bool. Whether problems that do not fit into the
            preprocessor's `sequence_length` at some stage are left out, and
            counted in the log, instead of being an error. Defaults to `False`.
        **kwargs: See `keras.utils.PyDataset`: `workers`, threads that make
            batches ahead, `use_multiprocessing`, which makes them processes,
            and `max_queue_size`, the most batches that wait.

    Raises:
        ValueError: If there are no problems, if a problem does not fit (names
            it, its length and what is allowed), or if an argument is not what
            it should be.

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
        problems: Iterable[Problem | Mapping],
        preprocessor: ContinuousThoughtPreprocessor,
        curriculum: Curriculum,
        *,
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int = 0,
        steps_per_epoch: int | None = None,
        length_groups: int = 1,
        drop_too_long: bool = False,
        **kwargs,
    ):
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
        problems = as_problems("problems", problems)
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
        tokenized = preprocessor.tokenize_problems(problems)
        self.kept = self._that_fit(tokenized, drop_too_long)
        self._problems = [tokenized[index] for index in self.kept]
        # Those of the pass that was looked at last.
        self._order = (None, None)
        self._batches_of = (None, None)
        self._groups_of_stages = {}
        self._most = None
        self._stage_is_chosen = False
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Makes the dataset give the batches of an epoch (counted from 0)."""
        self.state = (epoch, self.curriculum.stage(epoch))

    @property
    def state(self) -> tuple[int, int]:
        """The epoch and the stage, from which the batches follow."""
        return self.epoch, self._stage

    @state.setter
    def state(self, state):
        if not isinstance(state, tuple) or len(state) != 2:
            raise refuse("state", "a tuple of an epoch and a stage", state)
        epoch = check_count("state[0]", state[0])
        stage = check_count(
            "state[1]", state[1], most=self.curriculum.last_stage
        )
        self._lay_out(stage)
        self.epoch = epoch

    @property
    def stage(self) -> int:
        """The stage of the batches. `set_epoch` sets it; so may you."""
        return self._stage

    @stage.setter
    def stage(self, stage: int):
        self._lay_out(self.curriculum.check_stage(stage))
        self._stage_is_chosen = True

    @property
    def num_thoughts(self) -> int:
        """The thoughts of the current stage."""
        return self.curriculum.num_thoughts(self._stage)

    def check_callbacks(self, callbacks, validation=False) -> None:
        callbacks = _listed(callbacks)
        for callback in [] if validation else callbacks:
            other = getattr(callback, "dataset", None)
            if isinstance(other, CurriculumDataset) and other is not self:
                raise ValueError(
                    "`callbacks` must hold a `CurriculumScheduler` of the "
                    "dataset that `fit` trains on: the model and `History` "
                    "would follow the stages of another. Received: a "
                    f"{type(callback).__name__} of another dataset"
                )
        role = "validation_dataset" if validation else "dataset"
        if not self.curriculum.last_stage or any(
            getattr(callback, role, None) is self for callback in callbacks
        ):
            return
        if not validation:
            warnings.warn(
                "`callbacks` holds no `keras_coconut.CurriculumScheduler` of "
                f"this dataset: it stays at stage {self.stage} in every epoch.",
                stacklevel=3,
            )
        elif not self._stage_is_chosen:
            warnings.warn(
                "`validation_data` is no `validation_dataset` of a "
                "`keras_coconut.CurriculumScheduler`: it stays at stage "
                f"{self.stage} in every epoch. Setting its `stage` says that "
                "it should.",
                stacklevel=4,
            )

    @contextlib.contextmanager
    def arranged(self, callbacks, model, epochs, verbose):
        saved = resumable(callbacks)
        if isinstance(callbacks, keras.callbacks.CallbackList):
            # It has a model already, and an order of the user's own.
            yield callbacks
            return
        # The scheduler first: what others log, save or measure in an epoch
        # is of the stage that it sets.
        callbacks = sorted(
            _listed(callbacks),
            key=lambda one: getattr(one, "dataset", None) is not self,
        )
        if replicas.process_index():
            # The first process writes; two would mix their lines.
            callbacks = [c for c in callbacks if not writes_logs(c)]
        if not saved:
            yield callbacks
            return
        with SavedRun(callbacks, model, self, epochs, verbose) as callbacks:
            yield callbacks

    def describe(self) -> dict[str, Any]:
        """Returns what the batches follow from, as plain values.

        `problems` is a digest of the tokens of all problems.
        """
        tokens = hashlib.sha256()
        for problem in self._problems:
            tokens.update(repr(tuple(problem)).encode())
        names = ("batch_size", "shuffle", "seed", "steps_per_epoch")
        return {
            "problems": {"digest": tokens.hexdigest()[:32]},
            "curriculum": dataclasses.asdict(self.curriculum),
            "batches": {
                name: getattr(self, name) for name in (*names, "length_groups")
            },
        }

    def __len__(self):
        return self.steps_per_epoch or -(
            -len(self._problems) // self.batch_size
        )

    def __getitem__(self, index):
        if is_flag(index) or not isinstance(index, numbers.Integral):
            raise refuse("index", "a whole number", index)
        if not 0 <= index < len(self):
            # Not a `ValueError`: it ends a loop over the batches.
            raise IndexError(
                f"`index` must be from 0 to {len(self) - 1}. Received: "
                f"index={shown(index)}"
            )
        chosen, weightless, group = self._choose(index)
        problems = [self._problems[row] for row in chosen]
        random = np.random.default_rng([self.seed, 1, self.epoch, index])
        layouts = []
        for problem in problems:
            layouts.append(
                self.curriculum.draw_layout(
                    len(problem.steps), self._stage, random
                )
            )
        # Drawn for the whole batch, and packed for this process alone.
        here = replicas.local_rows(self.batch_size)
        x, y, sample_weight = self.preprocessor.pack(
            problems[here],
            layouts[here],
            question_length=group.question_length,
            response_length=group.response_length,
            slots=self._slots(),
        )
        fills_up = np.arange(len(chosen)) >= len(chosen) - weightless
        sample_weight[fills_up[here]] = 0
        return x, y, sample_weight

    def _choose(self, index):
        """Returns the problems of a batch, how many only fill it up, a group.

        The group is the one that they are all in.
        """
        size, total = self.batch_size, len(self._problems)
        groups = self._groups_of_stages[self._stage]
        if self.steps_per_epoch is not None:
            index += self.epoch * self.steps_per_epoch
            if len(groups) == 1:
                # One pass goes on where the one before ends.
                rows = range(index * size, (index + 1) * size)
                chosen = [
                    self._ordered(row // total)[row % total] for row in rows
                ]
                return chosen, 0, groups[0]
            number, index = divmod(index, -(-total // size))
        else:
            number = self.epoch
        batches = self._batches(number)
        group, chosen = batches[index]
        missing = size - len(chosen)
        if self.steps_per_epoch is None:
            return [*chosen, *chosen[-1:] * missing], missing, groups[group]
        ordered = self._ordered(number)
        others = itertools.cycle(ordered[np.isin(ordered, groups[group].rows)])
        return [*chosen, *itertools.islice(others, missing)], 0, groups[group]

    def _batches(self, number):
        """Returns the group and the problems of each batch of a pass."""
        # Read once: several threads may be making batches.
        key, batches = self._batches_of
        if key == (number, self._stage):
            return batches
        groups = self._groups_of_stages[self._stage]
        ordered = self._ordered(number)
        batches = []
        for index, group in enumerate(groups):
            rows = ordered[np.isin(ordered, group.rows)].tolist()
            batches += [
                (index, rows[start : start + self.batch_size])
                for start in range(0, len(rows), self.batch_size)
            ]
        if self.shuffle and len(groups) > 1:
            random = np.random.default_rng([self.seed, 2, number])
            batches = [batches[i] for i in random.permutation(len(batches))]
        self._batches_of = ((number, self._stage), batches)
        return batches

    def _ordered(self, number):
        """Returns all problems in the order of a pass."""
        of, order = self._order
        if of != number:
            order = np.arange(len(self._problems))
            if self.shuffle:
                random = np.random.default_rng([self.seed, 0, number])
                order = random.permutation(order)
            self._order = (number, order)
        return order

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

    def _lay_out(self, stage):
        if stage not in self._groups_of_stages:
            self._groups_of_stages[stage] = self._groups(stage)
        self._stage = stage

    def _groups(self, stage):
        """Returns the problems that share batches at a stage."""
        question_lengths, response_lengths = self._lengths(stage)
        groups = group_by_length(
            question_lengths,
            response_lengths,
            self.batch_size,
            self.length_groups,
        )
        longest = [int(question_lengths[rows].max()) for rows in groups]
        longest = zip(
            longest, [int(response_lengths[rows].max()) for rows in groups]
        )
        return [
            _Group(rows, *self._rounded(lengths))
            for rows, lengths in zip(groups, longest)
        ]

    def _lengths(self, stage):
        """Returns the most positions that each problem has at a stage.

        Of its question and of its response, int arrays (problems,).
        """
        question_lengths, _, response_lengths = np.array(
            [
                np.max(
                    [
                        problem.lengths(layout)
                        for layout in self.curriculum.layouts_shown(
                            len(problem.steps), stage
                        )
                    ],
                    axis=0,
                )
                for problem in self._problems
            ]
        ).T
        return question_lengths, response_lengths

    def _rounded(self, lengths):
        """Returns lengths of question and response that several stages share.

        Where steps are compiled, each pair of lengths takes a program.
        """
        if keras.config.backend() == "torch":
            return lengths
        if self._most is None:
            stages = range(self.curriculum.last_stage + 1)
            self._most = [
                max(int(each.max()) for each in span)
                for span in zip(*map(self._lengths, stages))
            ]
        step = -(-sum(self._most) // _LENGTH_STEPS)
        return [
            min(-(-length // step) * step, most)
            for length, most in zip(lengths, self._most)
        ]

    def _that_fit(self, tokenized, drop_too_long):
        """Returns the indices of the problems that fit at every stage."""
        kept, curriculum = [], self.curriculum
        for index, problem in enumerate(tokenized):
            layouts = {
                layout
                for stage in range(curriculum.last_stage + 1)
                for layout in curriculum.layouts_shown(
                    len(problem.steps), stage
                )
            }
            try:
                for layout in layouts:
                    self.preprocessor.check_length(problem, layout)
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


def _listed(callbacks) -> list:
    """Returns the callbacks in what `fit` takes for them."""
    if isinstance(callbacks, keras.callbacks.CallbackList):
        callbacks = callbacks.callbacks
    if isinstance(callbacks, list | tuple):
        return list(callbacks)
    return [] if callbacks is None else [callbacks]
