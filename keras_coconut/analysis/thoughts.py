"""The tokens that each thought decodes to."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from keras import ops

from keras_coconut import backbones
from keras_coconut.checks import check_count
from keras_coconut.evaluation.request import check_model
from keras_coconut.models.continuous_thought_lm import ContinuousThoughtLM
from keras_coconut.text.arrays import Counts
from keras_coconut.text.questions import read_questions

# Thoughts whose distributions over the vocabulary are held at once: 50 MB for
# the vocabulary of GPT-2.
_AT_ONCE = 256


class DecodedToken(NamedTuple):
    """A token and the probability that a thought gives it.

    Example:
    ```python
    [[[token, *_], *_]] = keras_coconut.decode_thoughts(model, "start 3, +4")
    token.token, token.probability
    ```
    """

    token: str
    probability: float


def decode_thoughts(
    model: ContinuousThoughtLM,
    questions: str | Sequence[str],
    *,
    num_thoughts: Counts | None = None,
    top_k: int = 3,
    batch_size: int = 32,
) -> list[list[list[DecodedToken]]]:
    """Returns the most probable tokens of each thought.

    A thought is a hidden state after the last layer, so the language head turns
    it into a distribution over tokens (arXiv 2412.06769, figure 4).

    Args:
        model: a `ContinuousThoughtLM` with a preprocessor.
        questions: a string or a list of strings.
        num_thoughts: int, or one int for each question. Defaults to the
            model's `num_thoughts`.
        top_k: int. Number of tokens for each thought, at most the size of the
            vocabulary. Defaults to `3`.
        batch_size: int. Number of questions in a batch. Defaults to `32`.

    Returns:
        For each question a list of its own thoughts, and for each of those a
        list of the `top_k` most probable `DecodedToken`s, the most probable
        first.

    Raises:
        ValueError: If an argument is invalid, or if the model's thoughts are
            pauses.

    Example:
    ```python
    decoded = keras_coconut.decode_thoughts(
        model, ["start 3, +4, *2, -5"], num_thoughts=3
    )
    decoded[0][0]  # [DecodedToken(token="7", probability=0.98), ...]
    ```
    """
    model = check_model(model)
    top_k = check_count(
        "top_k", top_k, least=1, most=model.backbone.vocabulary_size
    )
    questions, counts = read_questions(model, questions, num_thoughts)
    thoughts = model.think(questions, counts, batch_size=batch_size)
    # One after the other, without the slots in which a question does not think.
    flat = np.concatenate(
        [rows[:count] for rows, count in zip(thoughts, counts)]
    )
    decoded = []
    for start in range(0, len(flat), _AT_ONCE):
        decoded += _decode(model, flat[start : start + _AT_ONCE], top_k)
    ends = np.cumsum(counts).tolist()
    return [decoded[end - count : end] for end, count in zip(ends, counts)]


def _decode(model, thoughts, top_k):
    """Returns the most probable tokens of each thought (N, D)."""
    logits = backbones.describe(model.backbone).logits(thoughts[None])[0]
    probabilities = ops.convert_to_numpy(
        ops.softmax(ops.cast(logits, "float32"), axis=-1)
    )
    detokenize = model.preprocessor.tokenizer.detokenize
    decoded = []
    for row in probabilities:
        most = np.argpartition(-row, top_k - 1)[:top_k]
        # Of equal probabilities, the token with the smaller id first.
        order = most[np.lexsort((most, -row[most]))]
        decoded.append(
            [
                DecodedToken(detokenize([int(token)]), float(row[token]))
                for token in order
            ]
        )
    return decoded
