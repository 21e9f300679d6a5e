"""The number and kind of a model's thoughts, kept with the weights."""

from collections.abc import Sequence
from typing import Any, get_args

import keras
import numpy as np
from keras import ops

from keras_coconut.checks import check_count
from keras_coconut.curriculum import (
    MOST_COUNT,
    ThoughtKind,
    check_thought_kind,
)

_KINDS: tuple[ThoughtKind, ...] = get_args(ThoughtKind)


# The model that it is mixed into: a task of KerasHub, which has no types.
_Task: Any = object


class Thinking(_Task):
    """A model with `num_thoughts` and `thought_kind` among its weights.

    Weights are trained for a number of thoughts. Anything that restores the
    weights, such as a checkpoint or `EarlyStopping`, restores it too.
    """

    def make_thinking(
        self, num_thoughts: int | None, thought_kind: ThoughtKind
    ) -> None:
        """Makes the variable; called by the constructor."""
        self._thinking = self.add_weight(
            name="thinking",
            shape=(2,),
            dtype="int32",
            initializer="zeros",
            trainable=False,
        )
        self.num_thoughts = num_thoughts
        self.thought_kind = thought_kind

    @property
    def num_thoughts(self) -> int | None:
        """Default number of thoughts of `generate` and `think`, or `None`."""
        count = self._read_thinking()[0]
        return None if count < 0 else count

    @num_thoughts.setter
    def num_thoughts(self, num_thoughts):
        if num_thoughts is None:
            num_thoughts = -1
        else:
            num_thoughts = check_count(
                "num_thoughts", num_thoughts, most=MOST_COUNT
            )
        self._thinking.assign([num_thoughts, self._read_thinking()[1]])
        self.__dict__["_num_thoughts_set"] = num_thoughts

    @property
    def brought_by_weights(self) -> bool:
        """Whether weights brought `num_thoughts`, and nobody has set it since.

        `EarlyStopping` restores weights so.
        """
        return self._read_thinking()[0] != self.__dict__["_num_thoughts_set"]

    @property
    def thought_kind(self) -> ThoughtKind:
        """`"continuous"` or `"pause"`."""
        return _KINDS[self._read_thinking()[1]]

    @thought_kind.setter
    def thought_kind(self, kind):
        kind = check_thought_kind(kind)
        self._thinking.assign([self._read_thinking()[0], _KINDS.index(kind)])

    def _read_thinking(self):
        if keras.config.backend() == "jax":
            # Between the batches of `fit` the variables are empty there.
            self.jax_state_sync()
        return ops.convert_to_numpy(self._thinking).tolist()

    def has_task_weights(self) -> bool:
        # Besides this one: a preset's config says how the model thinks.
        known = {id(self._thinking), *map(id, self.backbone.weights)}
        return any(id(weight) not in known for weight in self.weights)

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Sets the weights; see `keras.Model.set_weights`.

        Args:
            weights: list of arrays, as `get_weights` returns them. A list from
                an earlier version does not hold the number and kind of
                thoughts, which then stay unchanged.
        """
        mine = [id(weight) for weight in self.weights]
        if len(weights) == len(mine) - 1:
            place = mine.index(id(self._thinking))
            thinking = np.array(self._read_thinking())
            weights = [*weights[:place], thinking, *weights[place:]]
        super().set_weights(weights)

    def load_own_variables(self, store: Any) -> None:
        # Weights of an earlier version say nothing of how the model thinks.
        if store.keys():
            super().load_own_variables(store)
