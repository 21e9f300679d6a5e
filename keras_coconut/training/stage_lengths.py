"""The lengths of problems at each stage: which fit, and which share batches."""

import logging

import keras
import numpy as np

from keras_coconut.training.batch_order import Grouping
from keras_coconut.training.length_groups import group_by_length

# Lengths are rounded up by the longest row divided by this, or less.
_LENGTH_STEPS = 8

_log = logging.getLogger("keras_coconut")


class StageLengths:
    """The problems that fit at every stage, grouped by length for each stage.

    `kept` holds the indices of the problems that fit, or is `None` if all do.

    Args:
        tokens: `TokenizedProblems`.
        preprocessor: a `ContinuousThoughtPreprocessor`.
        curriculum: a `Curriculum`.
        batch_size: int.
        most_groups: int. Maximum number of groups.
        drop_too_long: bool. Whether to leave out problems that do not fit.

    Raises:
        ValueError: If a problem does not fit and must not be left out, or if
            none is left.
    """

    def __init__(
        self,
        tokens,
        preprocessor,
        curriculum,
        batch_size,
        most_groups,
        drop_too_long,
    ):
        self._tokens = tokens
        self._curriculum = curriculum
        self._batch_size, self._most_groups = batch_size, most_groups
        # The most positions that each problem has at any stage.
        longest = tokens.longest(self._layouts_shown)
        self.kept = self._that_fit(longest[:, 2], preprocessor, drop_too_long)
        longest = longest if self.kept is None else longest[self.kept]
        self._most = longest[:, :2].max(axis=0).tolist()
        self._groupings: dict[int, Grouping] = {}

    def __len__(self):
        return len(self._tokens) if self.kept is None else len(self.kept)

    def grouping(self, stage: int) -> Grouping:
        """Returns the problems that share batches at a stage."""
        if stage not in self._groupings:
            self._groupings[stage] = self._group(stage)
        return self._groupings[stage]

    def _group(self, stage):
        lengths = self._lengths(stage)
        questions, responses = lengths.T
        groups = group_by_length(
            questions, responses, self._batch_size, self._most_groups
        )
        group_of = None
        if len(groups) > 1:
            group_of = np.zeros(len(lengths), "uint16")
            for number, rows in enumerate(groups):
                group_of[rows] = number
        return Grouping(
            group_of,
            [self._rounded(lengths[rows].max(axis=0)) for rows in groups],
        )

    def _lengths(self, stage):
        """Returns the most positions that each problem has at a stage.

        Int array (problems, 2), of its question and of its response.
        """
        longest = self._tokens.longest(
            lambda num_steps: self._curriculum.layouts_shown(num_steps, stage)
        )
        return longest[:, :2] if self.kept is None else longest[self.kept, :2]

    def _rounded(self, lengths):
        """Returns lengths of question and response that several stages share.

        Where steps are compiled, each pair of lengths takes a program.
        """
        lengths = lengths.tolist()
        if keras.config.backend() == "torch":
            return lengths
        step = -(-sum(self._most) // _LENGTH_STEPS)
        return [
            min(-(-length // step) * step, most)
            for length, most in zip(lengths, self._most)
        ]

    def _that_fit(self, longest, preprocessor, drop_too_long):
        """Returns the indices of the problems that fit; `None` if all do."""
        most = preprocessor.sequence_length
        too_long = longest - (not preprocessor.markers) > most
        if not too_long.any():
            return None
        if not drop_too_long:
            index = int(np.argmax(too_long))
            problem = self._tokens[index]
            try:
                for layout in self._layouts_shown(len(problem.steps)):
                    preprocessor.check_length(problem, layout)
            except ValueError as error:
                raise ValueError(
                    f"`problems[{index}]` does not fit: {error}. "
                    "`CurriculumDataset(drop_too_long=True)` leaves such "
                    "problems out."
                ) from error
        _log.warning(
            "left out %d of %d problems that do not fit into %d positions",
            too_long.sum(),
            len(too_long),
            most,
        )
        if too_long.all():
            raise ValueError(
                "`problems` must hold at least one problem that fits into "
                f"{most} positions. Received: {len(too_long)} that do not"
            )
        return np.flatnonzero(~too_long)

    def _layouts_shown(self, num_steps):
        """Returns the layouts of all stages, for a number of steps."""
        return {
            layout
            for stage in range(self._curriculum.last_stage + 1)
            for layout in self._curriculum.layouts_shown(num_steps, stage)
        }
