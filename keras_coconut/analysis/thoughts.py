"""What the thoughts hold: the tokens that each thought decodes to."""

from typing import NamedTuple

import numpy as np
from keras import ops

from keras_coconut.models import embeddings


class DecodedToken(NamedTuple):
    """A token and the probability that a thought gives it."""

    token: str
    probability: float


def decode_thoughts(model, questions, num_thoughts=None, top_k=3):
    """Reads each thought as if the model had to write a word there.

    A thought is a last hidden state, so the language head turns it into a
    distribution over tokens (arXiv 2412.06769, figure 4).

    Args:
        model: a `ContinuousThoughtLM` with a preprocessor.
        questions: list of strings.
        num_thoughts: int, or one int for each question. Defaults to the
            model's `num_thoughts`.
        top_k: int. Tokens for each thought. Defaults to `3`.

    Returns:
        For each question a list with, for each slot of a thought, a list of
        the `top_k` most probable `DecodedToken`s.

    Example:
    ```python
    [[first, *_], *_] = decode_thoughts(model, ["start 3, +4, *2, -5"], 3)
    first  # [DecodedToken(token="7", probability=0.98), ...]
    ```
    """
    questions = [questions] if isinstance(questions, str) else list(questions)
    thoughts = model.think(questions, num_thoughts)
    logits = embeddings.logits(model.backbone, thoughts)
    probabilities = ops.softmax(ops.cast(logits, "float32"), axis=-1)
    probabilities = ops.convert_to_numpy(probabilities)
    order = np.argsort(-probabilities, axis=-1)[..., :top_k]
    detokenize = model.preprocessor.tokenizer.detokenize
    return [
        [
            [
                DecodedToken(
                    detokenize([int(index)]),
                    float(probabilities[row, slot, index]),
                )
                for index in order[row, slot]
            ]
            for slot in range(order.shape[1])
        ]
        for row in range(order.shape[0])
    ]
