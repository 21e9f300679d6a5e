"""The published vocabulary, for figures in real tokens."""

import keras_hub
from flag_sections import vocabulary_files

import keras_coconut


def read_preprocessor(folder):
    """Returns the preprocessor of a vocabulary's folder."""
    return keras_coconut.ContinuousThoughtPreprocessor(
        keras_coconut.add_thought_tokens(
            keras_hub.tokenizers.GPT2Tokenizer(*vocabulary_files(folder))
        )
    )
