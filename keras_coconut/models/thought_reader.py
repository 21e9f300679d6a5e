"""Thoughts by Keras' compiled `predict`, which otherwise returns logits."""

import keras
import numpy as np

from keras_coconut.checks import check_count
from keras_coconut.models import spans, varying_batches
from keras_coconut.models.questions import plan_batches, tokenize


def read_thoughts(model, questions, num_thoughts, batch_size, on_batch=None):
    """Returns the thoughts of strings; see `ContinuousThoughtLM.think`.

    `on_batch`, a function, is called with the number of questions in each
    batch that has been thought on.
    """
    check_count("batch_size", batch_size, least=1)
    if model.thought_kind != "continuous":
        raise ValueError(
            "`thought_kind` must be 'continuous' for a model to think: pauses "
            "are tokens and leave nothing to return. Received: thought_kind="
            f"{model.thought_kind!r}"
        )
    texts, ids, counts = tokenize(model, questions, num_thoughts)
    thoughts = np.zeros((len(texts), max(counts), model.backbone.hidden_dim))
    with model.one_at_a_time:
        if "_reader" not in model.__dict__:
            # Past Keras' tracking: the reader holds the model, not it the
            # reader.
            model.__dict__["_reader"] = ThoughtReader(model)
    for rows, x in plan_batches(ids, counts, batch_size):
        model.check_data(x, keys=spans.QUESTION_KEYS)
        slots = x["thought_mask"].shape[1]
        # XLA on TensorFlow stops the process at a result of no slots.
        if slots:
            with model.one_at_a_time:
                found = model.__dict__["_reader"].predict_on_batch(x)
            thoughts[rows, :slots] = spans.to_numpy(found)[: len(rows)]
        if on_batch is not None:
            on_batch(len(rows))
    return thoughts


class ThoughtReader(keras.Model):
    """Returns the thoughts (B, K, D) of the question's and thoughts' keys.

    Args:
        model: a `ContinuousThoughtLM`, whose weights this model reads.
    """

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.built = True

    def call(self, inputs):
        return self.model.think({k: inputs[k] for k in spans.QUESTION_KEYS})

    def make_predict_function(self, force=False):
        make = super().make_predict_function
        varying_batches.make_step(self, "predict_function", make, force)
        return self.predict_function
