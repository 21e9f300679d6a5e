"""What a model thinks: thoughts, hidden states and attention."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_coconut.checks import check_count
from keras_coconut.models import thought_reader
from keras_coconut.text import batches
from keras_coconut.text.arrays import Counts, with_arrays
from keras_coconut.text.questions import reject_num_thoughts

# The model that it is mixed into: a task of KerasHub, which has no types.
_Task: Any = object


class ReadingThoughts(_Task):
    """A model whose thoughts can be read."""

    def think(
        self,
        questions: Any,
        num_thoughts: Counts | None = None,
        *,
        batch_size: int = 32,
        layers: Sequence[int] | None = None,
    ) -> Any:
        """Returns the continuous thoughts of questions.

        Args:
            questions: a string, a list of strings, or a dictionary of
                `question_ids`, `question_mask` and `thought_mask`, whose slots
                hold continuous thoughts in every model.
            num_thoughts: int, or one int for each question. Defaults to the
                model's `num_thoughts`. Not for a dictionary, whose
                `thought_mask` gives it.
            batch_size: int. Number of strings in a batch. Defaults to `32`.
            layers: list of ints. Backbone layers, counted from 0, whose hidden
                states and attention are returned too. Defaults to `None`.

        Returns:
            Float32 array (B, K, D); for a dictionary, a tensor. `[:, k]`,
            counted from 0, is thought k + 1, the input of slot k. Slots in
            which a row does not think are 0. With `layers`, a `ThoughtStates`,
            which adds the hidden states and attention of these layers at the
            thoughts.

        Raises:
            ValueError: If a count is negative or not an integer, or if strings
                are given and the model's thoughts are pauses; see
                `read_states`.

        Example:
        ```python
        thoughts = model.think("1 + 2 + 3?", num_thoughts=2)  # (1, 2, D)
        states = model.think("1 + 2 + 3?", num_thoughts=2, layers=[0])
        states.attention[0]  # (1, heads, 2, Q + 2)
        ```
        """
        watched = thought_reader.check_layers(self, layers)
        if isinstance(questions, dict):
            reject_num_thoughts(num_thoughts)
            check_count("batch_size", batch_size, least=1)
            questions = with_arrays(questions)
            self.check_call(questions, batches.QUESTION_KEYS)
            states = thought_reader.states_of(
                self.latent_decoder.think(questions, watched),
                questions["thought_mask"],
            )
        else:
            if self.thought_kind != "continuous":
                raise ValueError(
                    "`thought_kind` must be 'continuous' for a model to think: "
                    "pauses are tokens and leave nothing to return. "
                    "`read_states` returns the states before them. Received: "
                    f"thought_kind={self.thought_kind!r}"
                )
            states = thought_reader.read_states(
                self, questions, num_thoughts, batch_size, watched
            )
        return states if watched else states.thoughts

    def predict_thoughts(self, x: Mapping[str, Any]) -> np.ndarray:
        """Returns the thoughts of one batch; compiled on JAX and TensorFlow.

        Args:
            x: dictionary of `question_ids`, `question_mask` and `thought_mask`;
                other keys are ignored.

        Returns:
            Float32 array (B, K, D). Slots in which a row does not think are 0.

        Raises:
            ValueError: If `x` is not such a batch.

        Example:
        ```python
        x, y, sample_weight = dataset[0]
        thoughts = model.predict_thoughts(x)
        ```
        """
        return thought_reader.predict_thoughts(self, x)

    def read_states(
        self,
        questions: str | Sequence[str],
        num_thoughts: Counts | None = None,
        *,
        batch_size: int = 32,
        layers: Sequence[int] | None = None,
    ) -> thought_reader.ThoughtStates:
        """Returns the states at the thoughts, also of a model that pauses.

        With continuous thoughts, this is what `think` returns. A model that
        pauses reads a token in each slot; its states are those that Coconut
        would feed back. This makes it a control for what thoughts hold.

        Args:
            questions: a string or a list of strings.
            num_thoughts: int, or one int for each question. Defaults to the
                model's `num_thoughts`.
            batch_size: int. Defaults to `32`.
            layers: list of ints. Backbone layers, counted from 0, whose hidden
                states and attention are returned too. Defaults to `None`.

        Returns:
            A `ThoughtStates` of float32 arrays, 0 in slots that a row does not
            use. Its `thoughts[:, k]` is the last hidden state before slot k.

        Raises:
            ValueError: If a count is negative or not an integer, or if the
                model has no preprocessor.

        Example:
        ```python
        states = model.read_states(["1 + 2?", "4 + 5 + 6?"], 2, layers=[0])
        states.thoughts  # (2, 2, D)
        states.attention[0]  # (2, heads, 2, Q + 2)
        ```
        """
        watched = thought_reader.check_layers(self, layers)
        return thought_reader.read_states(
            self, questions, num_thoughts, batch_size, watched
        )
