"""Byte pairs to ids and back, without TensorFlow.

KerasHub before 0.29 tokenizes within TensorFlow alone, which takes seconds for
a batch and has no id for an added token that holds a space. Its vocabularies
give the tokens of later releases here.
"""

import json
import weakref
from collections.abc import Sequence

import keras_hub
import tokenizers

from keras_coconut.versions import is_older

# One piece, in the bytes that the vocabulary is made of.
WHOLE = json.dumps(
    {
        "add_prefix_space": False,
        "trim_offsets": True,
        "type": "ByteLevel",
        "use_regex": False,
    }
)
IN_TENSORFLOW_ALONE = is_older(keras_hub.__version__, "0.29.0")
_made: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def tokenize(tokenizer, texts: list[str]) -> list[list[int]]:
    """Returns the token ids of texts."""
    if IN_TENSORFLOW_ALONE:
        return [found.ids for found in _kept(tokenizer).encode_batch(texts)]
    # Not through Keras' `__call__`, which treats each string as a tensor.
    return tokenizer.tokenize(texts)


def detokenize(tokenizer, ids: Sequence[int]) -> str:
    """Returns the text of token ids, one or more."""
    if IN_TENSORFLOW_ALONE:
        return _kept(tokenizer).decode([*ids], skip_special_tokens=False)
    return tokenizer.detokenize([*ids])


def _kept(tokenizer) -> tokenizers.Tokenizer:
    """Returns what gives a tokenizer's ids, made once for a vocabulary."""
    vocabulary, found = _made.get(tokenizer, (None, None))
    if vocabulary is not tokenizer.vocabulary:
        found = make(tokenizer)
        _made[tokenizer] = tokenizer.vocabulary, found
    return found


def make(
    tokenizer, added: Sequence[tokenizers.AddedToken] | None = None
) -> tokenizers.Tokenizer:
    """Returns what later releases make of a tokenizer of KerasHub's.

    Args:
        tokenizer: a tokenizer of KerasHub's, or a `SplitTokenizer`.
        added: the tokens that are never split. Defaults to `None`, the
            tokenizer's `unsplittable_tokens`.
    """
    # The version of the file comes before its first merge.
    pairs = [
        tuple(merge.split(" "))
        for merge in tokenizer.merges
        if "#version:" not in merge
    ]
    found = tokenizers.Tokenizer(
        tokenizers.models.BPE(
            vocab=dict(tokenizer.vocabulary),
            merges=pairs,
            ignore_merges=getattr(tokenizer, "ignore_merges", False),
        )
    )
    if added is None:
        found.add_special_tokens([*tokenizer.unsplittable_tokens])
    else:
        found.add_tokens([*added])
    found.pre_tokenizer = _split(getattr(tokenizer, "split", WHOLE))
    found.decoder = tokenizers.decoders.ByteLevel()
    return found


def _split(split: str) -> tokenizers.pre_tokenizers.PreTokenizer:
    """Returns what splits a text, from its JSON."""
    model = {"type": "BPE", "vocab": {}, "merges": []}
    whole = {"version": "1.0", "added_tokens": [], "model": model}
    whole["pre_tokenizer"] = json.loads(split)
    return tokenizers.Tokenizer.from_str(json.dumps(whole)).pre_tokenizer
