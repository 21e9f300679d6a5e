"""Hugging Face's files of a tokenizer, and KerasHub's tokenizers."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import keras_hub
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    pre_tokenizers,
    processors,
)

from keras_coconut.checks import shown
from keras_coconut.files import read_text, write_whole
from keras_coconut.published.configs import GPT2, LLAMA
from keras_coconut.published.source import Source
from keras_coconut.text.marker_tokens import MARKERS
from keras_coconut.text.tokenization import is_fixed

_tokenizers = keras_hub.tokenizers
CLASSES = {
    GPT2: (_tokenizers.GPT2Tokenizer,),
    LLAMA: (_tokenizers.Llama3Tokenizer, _tokenizers.LlamaTokenizer),
}
# Where Llama 3 splits a text into pieces that are tokenized separately.
_LLAMA_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_SENTENCE_PIECE = "tokenizer.model"
# Tokens that have an id and no use, of Llama 3.
_RESERVED = "<|reserved_special_token_"


class _BytePairs(NamedTuple):
    """What Hugging Face's files say of a vocabulary of byte pairs.

    `added` are the tokens that no merge makes, which is all of the control
    tokens and the published marker tokens.
    """

    vocabulary: dict[str, int]
    merges: list[str]
    added: dict[str, int]
    add_start_token: bool | None


def read_tokenizer(
    source: Source, kind: str
) -> tuple[keras_hub.tokenizers.Tokenizer, bool | None] | None:
    """Returns the tokenizer of a published model.

    Returns:
        A tuple of a KerasHub tokenizer and of whether texts begin with its
        start token, `None` if no file says so; or `None` if there are no files
        of a tokenizer.

    Raises:
        ValueError: If a file is damaged, or is of another kind of tokenizer.
    """
    found = _read_byte_pairs(source)
    if found is not None:
        try:
            return _make_tokenizer(source, kind, found), found.add_start_token
        except (AttributeError, TypeError, ValueError) as error:
            raise source.refuse(
                f"files of a tokenizer that {kind!r} models do not have: "
                f"{str(error)[:200]}"
            ) from error
    path = source.find(_SENTENCE_PIECE) if kind == LLAMA else None
    if path is None:
        return None
    try:
        return _tokenizers.LlamaTokenizer(path), None
    except (RuntimeError, ValueError) as error:
        raise source.refuse(
            f"the file {_SENTENCE_PIECE!r}, which is no vocabulary of "
            f"SentencePiece: {str(error)[:200]}"
        ) from error


def _read_byte_pairs(source) -> _BytePairs | None:
    settings = source.read_json("tokenizer.json")
    vocabulary, merges_path = source.read_json("vocab.json"), None
    if vocabulary is not None:
        merges_path = source.find("merges.txt")
    added = source.read_json("added_tokens.json") or {}
    starts = None
    if settings is not None:
        model = settings.get("model")
        if not isinstance(model, Mapping) or model.get("type") != "BPE":
            raise source.refuse(
                "the file 'tokenizer.json', whose model is not 'BPE'"
            )
        if model.get("byte_fallback"):
            # Of SentencePiece's file.
            return None
        starts = _adds_start_token(source)
        added = {
            **added,
            **{t["content"]: t["id"] for t in settings.get("added_tokens", [])},
        }
    if merges_path is not None:
        lines = read_text(merges_path).splitlines()
        merges = [line for line in lines if line and line[:8] != "#version"]
    elif settings is not None:
        vocabulary = model["vocab"]
        # Pairs, or their texts, as the release has it.
        merges = [
            merge if isinstance(merge, str) else " ".join(merge)
            for merge in model["merges"]
        ]
    else:
        return None
    return _BytePairs(vocabulary, merges, added, starts)


def _adds_start_token(source) -> bool:
    """Whether the file of a tokenizer puts a token before each text."""
    path = source.find("tokenizer.json")
    try:
        # What raises here is Rust's, a plain `Exception`.
        return bool(Tokenizer.from_file(path).encode("").ids)
    except Exception as error:
        raise source.refuse(
            f"the file 'tokenizer.json', which is damaged: {str(error)[:120]}"
        ) from error


def _make_tokenizer(source, kind, found: _BytePairs):
    vocabulary = {**found.vocabulary, **found.added}
    if not found.merges or not all(
        isinstance(index, int) for index in vocabulary.values()
    ):
        raise ValueError(
            f"{len(found.merges)} merges, and ids such as "
            f"{shown(next(iter(vocabulary.values()), None))}"
        )
    if kind == GPT2:
        return _tokenizers.GPT2Tokenizer(vocabulary, found.merges)
    settings = source.read_json("tokenizer_config.json") or {}
    ends = {}
    for name in ("bos_token", "eos_token"):
        token = settings.get(name)
        # Some files say more of a token than its text.
        token = token.get("content") if isinstance(token, Mapping) else token
        if token not in vocabulary:
            raise ValueError(
                f"`{name}` in 'tokenizer_config.json' must be one of the "
                f"tokens. Received: {name}={shown(token)}"
            )
        ends[name] = token
    special = {
        token
        for token in found.added
        if not token.startswith(_RESERVED) and token not in MARKERS
    }
    return _tokenizers.Llama3Tokenizer(
        vocabulary, found.merges, misc_special_tokens=special, **ends
    )


def write_tokenizer(
    tokenizer: keras_hub.tokenizers.Tokenizer,
    kind: str,
    folder: str,
    marker_tokens: Sequence[str],
    add_start_token: bool,
) -> None:
    """Writes the files that Hugging Face's `AutoTokenizer` reads.

    Args:
        tokenizer: a tokenizer of `CLASSES[kind]`.
        kind: `"gpt2"` or `"llama"`.
        folder: string. Where the files go.
        marker_tokens: the three marker tokens.
        add_start_token: bool. Whether texts begin with the start token.
    """

    def write(name, value):
        text = json.dumps(value, ensure_ascii=False, indent=2)
        write_whole(os.path.join(folder, name), text)

    settings = {
        "bos_token": tokenizer.start_token,
        "eos_token": tokenizer.end_token,
        "add_bos_token": add_start_token,
        "clean_up_tokenization_spaces": False,
    }
    if is_fixed(tokenizer):
        with open(os.path.join(folder, _SENTENCE_PIECE), "wb") as file:
            file.write(tokenizer.proto)
        write(
            "tokenizer_config.json",
            {"tokenizer_class": "LlamaTokenizer", **settings},
        )
        return
    name = "GPT2Tokenizer" if kind == GPT2 else "PreTrainedTokenizerFast"
    write("tokenizer_config.json", {"tokenizer_class": name, **settings})
    merges = [m for m in tokenizer.merges if not m.startswith("#version")]
    if kind == GPT2:
        write("vocab.json", dict(tokenizer.vocabulary))
        write_whole(
            os.path.join(folder, "merges.txt"),
            "\n".join(["#version: 0.2", *merges, ""]),
        )
    whole = _make_hugging_face(tokenizer, kind, merges, add_start_token)
    tokens = dict.fromkeys([*tokenizer.special_tokens, *marker_tokens])
    whole.add_tokens(
        [
            AddedToken(
                token, special=token not in marker_tokens, normalized=False
            )
            for token in sorted(tokens, key=tokenizer.token_to_id)
        ]
    )
    write_whole(os.path.join(folder, "tokenizer.json"), whole.to_str(True))


def _make_hugging_face(tokenizer, kind, merges, add_start_token) -> Tokenizer:
    whole = Tokenizer(
        models.BPE(
            vocab=dict(tokenizer.vocabulary),
            merges=[tuple(merge.split(" ")) for merge in merges],
        )
    )
    parts: list = []
    if kind == LLAMA:
        pattern = Regex(_LLAMA_SPLIT)
        parts.append(pre_tokenizers.Split(pattern, behavior="isolated"))
    # GPT-2 splits a text as this class does by default.
    parts.append(
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not parts)
    )
    whole.pre_tokenizer = pre_tokenizers.Sequence(parts)
    whole.decoder = decoders.ByteLevel()
    if add_start_token:
        start = tokenizer.start_token
        whole.post_processor = processors.TemplateProcessing(
            single=f"{start} $A",
            special_tokens=[(start, tokenizer.start_token_id)],
        )
    return whole
