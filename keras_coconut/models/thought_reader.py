"""Thoughts by Keras' compiled `predict`, which otherwise returns logits."""

import keras

from keras_coconut.models import spans, varying_batches


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
