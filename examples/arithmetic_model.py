"""The model of the arithmetic examples, small enough for a CPU."""

import keras
import keras_hub

import keras_coconut
from keras_coconut import arithmetic_words, make_word_tokenizer

NUM_STEPS = 3


def make_preprocessor():
    """Each operation and each step is one token.

    A thought stands exactly where the step stood that it replaces.
    """
    return keras_coconut.ContinuousThoughtPreprocessor(
        make_word_tokenizer(arithmetic_words())
    )


def make_model(preprocessor):
    """A GPT-2 of two layers, compiled."""
    backbone = keras_hub.models.GPT2Backbone(
        vocabulary_size=preprocessor.tokenizer.vocabulary_size(),
        num_layers=2,
        num_heads=4,
        hidden_dim=128,
        intermediate_dim=512,
        dropout=0.0,
        max_sequence_length=64,
    )
    model = keras_coconut.ContinuousThoughtLM(backbone, preprocessor)
    model.compile(
        keras.optimizers.AdamW(1e-3, weight_decay=0.01, global_clipnorm=1.0)
    )
    return model
