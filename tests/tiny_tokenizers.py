"""A small tokenizer of each kind that reads any text."""

import functools
import io

import keras_hub
import pytest
import sentencepiece
from tokenizers import pre_tokenizers

from keras_coconut.text.byte_pairs import IN_TENSORFLOW_ALONE

_classes = keras_hub.models
_CORPUS = [
    "the quick brown fox jumped over the lazy dog 1 + 1 = 2 ### 6",
    "start 3, +4, *2, -5; 7 4 9. Tom is a lorpus? Every rorpus is a lorpus.",
]
_HEADERS = ["<|start_header_id|>", "<|end_header_id|>"]
_MERGES = ["a b", "Ġ +", "# #", "## #", "1 2", "< <", "< |"]
_PATTERN = r"\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+"


def _byte_pairs(cls, special, **kwargs):
    tokens = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens += [merge.replace(" ", "") for merge in _MERGES] + special
    return cls({token: i for i, token in enumerate(tokens)}, _MERGES, **kwargs)


@functools.cache
def _proto(**kwargs):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(_CORPUS * 4),
        model_writer=model,
        minloglevel=2,
        **{
            "vocab_size": 340,
            "model_type": "bpe",
            "byte_fallback": True,
            "normalization_rule_name": "identity",
            "remove_extra_whitespaces": False,
            "character_coverage": 1.0,
            **kwargs,
        },
    )
    return model.getvalue()


def llama_proto(**kwargs):
    return _proto(unk_id=0, bos_id=1, eos_id=2, **kwargs)


def gemma_proto(**kwargs):
    return _proto(
        **{
            "add_dummy_prefix": False,
            "pad_id": 0,
            "eos_id": 1,
            "bos_id": 2,
            "unk_id": 3,
            "pad_piece": "<pad>",
            "eos_piece": "<eos>",
            "bos_piece": "<bos>",
            "user_defined_symbols": "<unused0>,<unused1>,<unused2>",
            **kwargs,
        }
    )


KINDS = {
    "gpt2": lambda: _byte_pairs(_classes.GPT2Tokenizer, ["<|endoftext|>"]),
    "opt": lambda: _byte_pairs(_classes.OPTTokenizer, ["<pad>", "</s>"]),
    "gpt_neo_x": lambda: _byte_pairs(
        _classes.GPTNeoXTokenizer, ["<|endoftext|>"]
    ),
    "llama": lambda: _classes.LlamaTokenizer(llama_proto()),
    "llama3": lambda: _byte_pairs(
        _classes.Llama3Tokenizer,
        ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", *_HEADERS],
    ),
    # As KerasHub makes it of SmolLM2's files on Hugging Face.
    "llama3_renamed": lambda: _byte_pairs(
        _classes.Llama3Tokenizer,
        ["<s>", "</s>", "<a>"],
        bos_token="<s>",
        eos_token="</s>",
        misc_special_tokens={"<s>", "</s>", "<a>"},
    ),
    "mistral": lambda: _classes.MistralTokenizer(llama_proto()),
    "mistral_tekken": lambda: _byte_pairs(
        _classes.MistralTekkenTokenizer,
        ["<s>", "</s>"],
        split_pattern=_PATTERN,
    ),
    "qwen": lambda: _byte_pairs(_classes.QwenTokenizer, ["<|endoftext|>"]),
    "qwen3": lambda: _byte_pairs(
        _classes.Qwen3Tokenizer, ["<|im_end|>", "<|endoftext|>"]
    ),
    "phi3": lambda: _classes.Phi3Tokenizer(
        llama_proto(user_defined_symbols="<|endoftext|>")
    ),
    "gemma": lambda: _classes.GemmaTokenizer(gemma_proto()),
    "gemma3": lambda: _classes.Gemma3Tokenizer(
        gemma_proto(), has_vision_tokens=False
    ),
    "smollm3": lambda: _byte_pairs(
        _classes.SmolLM3Tokenizer,
        ["<|end_of_text|>", "<|begin_of_text|>", "<think>", "</think>"],
    ),
}
if not hasattr(_classes, "MistralTekkenTokenizer"):
    # Newer than the oldest KerasHub; tests/test_versions.py says so.
    del KINDS["mistral_tekken"]
FIXED = ("llama", "mistral", "phi3", "gemma", "gemma3")
GROWING = tuple(kind for kind in KINDS if kind not in FIXED)


# Of tests that ask KerasHub's own tokenizer for tokens.
needs_whole_words = pytest.mark.skipif(
    IN_TENSORFLOW_ALONE,
    reason="this KerasHub has other tokens, and none for a word with a space",
)
# `clear_session` takes what these hold within TensorFlow.
_keep = (lambda make: make) if IN_TENSORFLOW_ALONE else functools.cache


@_keep
def plain(kind: str):
    """A tokenizer as KerasHub has it, without marker tokens."""
    return KINDS[kind]()


@_keep
def grown(kind: str):
    """A tokenizer with marker tokens."""
    import keras_coconut

    return keras_coconut.add_thought_tokens(plain(kind))


def preprocessor(kind: str, **kwargs):
    """A preprocessor of its own: a model would fit it to its backbone."""
    import keras_coconut

    return keras_coconut.ContinuousThoughtPreprocessor(grown(kind), **kwargs)


def small_gpt2(with_prototype, room=0):
    """A tokenizer of a few tokens and a backbone with `room` more rows."""
    tokens = ["!", "<|endoftext|>", "a", "b", "ab", "Ġ", "<", "Ċ"]
    merges = ["a b"]
    if with_prototype:
        tokens.append("<<")
        merges.append("< <")
    tokenizer = _classes.GPT2Tokenizer(
        {token: index for index, token in enumerate(tokens)}, merges
    )
    backbone = keras_hub.models.GPT2Backbone(
        vocabulary_size=len(tokens) + room,
        num_layers=2,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=16,
        max_sequence_length=32,
    )
    return tokenizer, backbone
