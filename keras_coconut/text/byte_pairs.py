"""Byte pairs to ids and back, without TensorFlow.

KerasHub before 0.29 tokenizes within TensorFlow alone, which takes seconds for
a batch and has no id for an added token that holds a space. Its vocabularies
give the tokens of later releases here.
"""

import weakref
from collections.abc import Sequence

import keras_hub
import tokenizers

from keras_coconut.versions import is_older

IN_TENSORFLOW_ALONE = is_older(keras_hub.__version__, "0.29.0")
_made: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def tokenize(tokenizer, texts: list[str]) -> list[list[int]]:
    """Returns the token ids of texts."""
    if IN_TENSORFLOW_ALONE:
        return [found.ids for found in _make(tokenizer).encode_batch(texts)]
    # Not through Keras' `__call__`, which treats each string as a tensor.
    return tokenizer.tokenize(texts)


def detokenize(tokenizer, ids: Sequence[int]) -> str:
    """Returns the text of token ids, one or more."""
    if IN_TENSORFLOW_ALONE:
        return _make(tokenizer).decode([*ids], skip_special_tokens=False)
    return tokenizer.detokenize([*ids])


def _make(tokenizer) -> tokenizers.Tokenizer:
    """Returns what later releases make of a tokenizer of KerasHub's."""
    vocabulary, made = _made.get(tokenizer, (None, None))
    if vocabulary is not tokenizer.vocabulary:
        # The version of the file comes before its first merge.
        pairs = [
            tuple(merge.split(" "))
            for merge in tokenizer.merges
            if "#version:" not in merge
        ]
        made = tokenizers.Tokenizer(
            tokenizers.models.BPE(vocab=tokenizer.vocabulary, merges=pairs)
        )
        made.add_special_tokens([*tokenizer.unsplittable_tokens])
        made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(
            add_prefix_space=False, use_regex=False
        )
        made.decoder = tokenizers.decoders.ByteLevel()
        _made[tokenizer] = tokenizer.vocabulary, made
    return made
