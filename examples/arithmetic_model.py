"""The model of the arithmetic examples, small enough for a CPU."""

import keras
import keras_hub

import keras_coconut
from keras_coconut import arithmetic_words, make_word_tokenizer

NUM_STEPS = 3


def make_preprocessor():
    """Each operation and each step is one token.

    Without markers, the hidden state that would predict a step becomes the
    thought that replaces it, exactly where the step stood.
    """
    return keras_coconut.ContinuousThoughtPreprocessor(
        make_word_tokenizer(arithmetic_words()), markers=False
    )


def make_model(preprocessor, steps):
    """A GPT-2 of two layers, compiled to train for a number of steps."""
    backbone = keras_hub.models.GPT2Backbone(
        vocabulary_size=preprocessor.tokenizer.vocabulary_size(),
        num_layers=2,
        num_heads=4,
        hidden_dim=128,
        intermediate_dim=512,
        dropout=0.0,
        max_sequence_length=64,
    )
    for weight in backbone.trainable_variables:
        # KerasHub's first weights suit a hidden size of 768.
        if weight.name != "gamma":
            weight.assign(weight * 4)
    model = keras_coconut.ContinuousThoughtLM(backbone, preprocessor)
    model.compile(
        keras.optimizers.AdamW(
            keras.optimizers.schedules.CosineDecay(1e-3, steps),
            weight_decay=0.01,
            beta_2=0.98,
            global_clipnorm=1.0,
        )
    )
    return model
