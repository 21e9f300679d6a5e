"""Text to token ids and back, for the tokenizers of every family.

KerasHub's byte-pair tokenizers use their own split pattern only within
TensorFlow: elsewhere "1234" becomes 12, 34 for Llama 3, whose published tokens
are 123, 4. The tokens here are those that KerasHub's tokenizer gives, and for a
published model those of its files; see `split_tokenizers`.
"""

import functools
import hashlib
import itertools
import json
import re
from collections.abc import Sequence

import keras_hub
import sentencepiece

from keras_coconut.checks import check_instance, refuse, shown
from keras_coconut.text import byte_pairs

# KerasHub 0.26 has the tokenizer of Qwen 3 in this place alone.
_tokenizers = keras_hub.models
# Byte pairs in a dictionary, which can grow.
_GROWING: tuple[type, ...] = (
    _tokenizers.GPT2Tokenizer,
    _tokenizers.OPTTokenizer,
    _tokenizers.GPTNeoXTokenizer,
    _tokenizers.Llama3Tokenizer,
    _tokenizers.QwenTokenizer,
    _tokenizers.Qwen3Tokenizer,
    _tokenizers.SmolLM3Tokenizer,
)
if hasattr(_tokenizers, "MistralTekkenTokenizer"):
    # The oldest KerasHub has none.
    _GROWING = (*_GROWING, _tokenizers.MistralTekkenTokenizer)
# SentencePiece, in a file that nothing can be added to.
_FIXED = (
    _tokenizers.LlamaTokenizer,
    _tokenizers.MistralTokenizer,
    _tokenizers.Phi3Tokenizer,
    _tokenizers.GemmaTokenizer,
    _tokenizers.Gemma3Tokenizer,
)
# Their texts have no start token, though the tokenizer names one.
_NO_START_TOKEN = (_tokenizers.GPT2Tokenizer, _tokenizers.GPTNeoXTokenizer)
# A serialized `ModelProto` takes later fields for earlier ones. These say
# `normalizer_spec {add_dummy_prefix: false, remove_extra_whitespaces: false}`.
_EXACT_SPACES = b"\x1a\x04\x18\x00\x20\x00"


def check_tokenizer(tokenizer) -> None:
    """Raises a `ValueError` for a tokenizer of an unknown family."""
    kinds = _GROWING + _FIXED
    names = ", ".join(kind.__name__ for kind in kinds)
    check_instance(
        "tokenizer", tokenizer, kinds, f"a tokenizer of KerasHub's: {names}"
    )
    # They would stand between the parts of a problem.
    for name in ("sequence_length", "add_prefix_space"):
        if getattr(tokenizer, name, None):
            raise ValueError(
                "`tokenizer` must give the tokens of a text and no others. "
                f"Received: {name}={shown(getattr(tokenizer, name))}"
            )


def is_fixed(tokenizer) -> bool:
    """Whether no token can be added to a tokenizer's vocabulary."""
    return isinstance(tokenizer, _FIXED)


def is_loaded(tokenizer) -> bool:
    """Whether a tokenizer has its vocabulary; presets load it last."""
    return (
        tokenizer.proto if is_fixed(tokenizer) else tokenizer.vocabulary
    ) is not None


def has_start_token(tokenizer) -> bool:
    """Whether texts of a tokenizer's family begin with a start token."""
    return tokenizer.start_token is not None and not isinstance(
        tokenizer, _NO_START_TOKEN
    )


def find_token(tokenizer, token: str) -> int | None:
    """Returns the id of a token, or `None` if there is no such token."""
    if not is_fixed(tokenizer):
        return tokenizer.vocabulary.get(token)
    # SentencePiece has the id of the unknown token for any other.
    index = tokenizer.token_to_id(token)
    return index if tokenizer.id_to_token(index) == token else None


def largest_id(tokenizer) -> int:
    """Returns the largest id of a tokenizer's vocabulary."""
    if is_fixed(tokenizer):
        return tokenizer.vocabulary_size() - 1
    return max(tokenizer.vocabulary.values())


def unsaved_config(tokenizer) -> dict:
    """Returns the arguments that `Llama3Tokenizer` leaves out of its config."""
    if not isinstance(tokenizer, _tokenizers.Llama3Tokenizer):
        return {}
    return {
        "bos_token": tokenizer.start_token,
        "eos_token": tokenizer.end_token,
        "misc_special_tokens": sorted(
            getattr(tokenizer, name)
            for name in tokenizer._special_token_attrs
            if name.startswith("special_token_")
        ),
    }


def fingerprint(tokenizer) -> str:
    """Returns a text that differs for tokenizers that may differ."""
    digest = hashlib.sha256()
    if is_fixed(tokenizer):
        digest.update(tokenizer.proto)
    else:
        config = tokenizer.get_config()
        for name in ("name", "dtype"):
            config.pop(name, None)
        # KerasHub's own come from a set, in another order in each process.
        if "unsplittable_tokens" in config:
            whole = sorted(config["unsplittable_tokens"])
            config["unsplittable_tokens"] = whole
        parts = (
            tokenizer.vocabulary,
            [*tokenizer.merges],
            {**config, **unsaved_config(tokenizer)},
        )
        for part in parts:
            text = json.dumps(part, sort_keys=True, default=repr)
            digest.update(text.encode())
    kind = type(tokenizer).__name__
    # Each release of KerasHub may split text in its own way.
    return f"{kind} {keras_hub.__version__} {digest.hexdigest()}"


def constructor_config(config: dict) -> dict:
    """Returns a config with `unsaved_config` as the constructor takes it."""
    if "misc_special_tokens" not in config:
        return config
    # A copy, because the constructor removes some of them.
    return {**config, "misc_special_tokens": {*config["misc_special_tokens"]}}


def encode(
    tokenizer,
    texts: Sequence[str],
    control: Sequence[str],
    starts: bool = False,
) -> list[list[int]]:
    """Returns the token ids of texts, none of which is a control token.

    The ids of consecutive texts, joined, are those of one text.

    Args:
        tokenizer: a tokenizer of a known family.
        texts: the texts.
        control: the control tokens. In a text their characters become ordinary
            tokens.
        starts: bool. Whether each text starts a new one, before which
            SentencePiece may put a space.

    Raises:
        ValueError: If a text cannot be distinguished from a control token.

    Example:
    ```python
    encode(tokenizer, ["1 + 1 = 2", "### 2<|endoftext|>"], ["<|endoftext|>"])
    ```
    """
    if not texts:
        return []
    pattern = re.compile(f"(?=({'|'.join(map(re.escape, control))}))")
    # If a text contains a control token, its first character goes to one piece
    # and the others to the next, so neither piece is the token.
    pieces = []
    fixed = is_fixed(tokenizer)
    space = " " if fixed and starts and _adds_space(tokenizer.proto) else ""
    for text in texts:
        text = space + text
        # The pattern alone would take as long as the tokenizer.
        cuts = []
        if any(token in text for token in control):
            cuts = [found.start() + 1 for found in pattern.finditer(text)]
        ends = zip([0, *cuts], [*cuts, len(text)])
        pieces.append([text[start:end] for start, end in ends])
    flat = list(itertools.chain(*pieces))
    if fixed:
        ids = iter(_processor(tokenizer.proto).encode(flat))
    else:
        ids = iter(byte_pairs.tokenize(tokenizer, flat))
    steering = {find_token(tokenizer, token) for token in control}
    rows = []
    for text, cut in zip(texts, pieces):
        row = list(itertools.chain(*itertools.islice(ids, len(cut))))
        if not steering.isdisjoint(row):
            (token, *_) = map(tokenizer.id_to_token, steering & {*row})
            raise refuse(
                "text", f"free of what is read as the token {token!r}", text
            )
        rows.append(row)
    return rows


def decode(tokenizer, rows: Sequence[Sequence[int]]) -> list[str]:
    """Returns the texts of rows of token ids, as they were encoded.

    Text comes back exactly, with two exceptions: a SentencePiece vocabulary
    normalizes text as it was made to (those of Llama, Mistral, Phi 3 and Gemma
    turn U+2581 into a space, and nothing else), and a vocabulary without single
    bytes has no tokens for characters that it does not know.

    Example:
    ```python
    decode(tokenizer, encode(tokenizer, ["1 + 1 = 2"], ["<|endoftext|>"]))
    ```
    """
    if is_fixed(tokenizer):
        return [_processor(tokenizer.proto).decode([*row]) for row in rows]
    return [
        byte_pairs.detokenize(tokenizer, row) if row else "" for row in rows
    ]


# Of a whole vocabulary: a process seldom has more than one.
@functools.lru_cache(maxsize=4)
def _processor(proto: bytes) -> sentencepiece.SentencePieceProcessor:
    return sentencepiece.SentencePieceProcessor(
        model_proto=proto + _EXACT_SPACES
    )


@functools.lru_cache(maxsize=4)
def _adds_space(proto: bytes) -> bool:
    """Whether a space goes before a text, as Llama's vocabulary has it."""
    processor = sentencepiece.SentencePieceProcessor(model_proto=proto)
    return processor.encode("a", out_type=str)[0].startswith("▁")
