"""Hugging Face's files of a tokenizer, and KerasHub's tokenizers."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import keras_hub
from tokenizers import AddedToken, Tokenizer, processors

from keras_coconut.checks import shown
from keras_coconut.files import read_text, write_whole
from keras_coconut.published import tokenizer_json
from keras_coconut.published.configs import GPT2, LLAMA
from keras_coconut.published.source import Source
from keras_coconut.published.tokenizer_json import GPT2_SPLIT, BytePairs
from keras_coconut.text import byte_pairs
from keras_coconut.text.marker_tokens import MARKERS
from keras_coconut.text.split_tokenizers import (
    SplitGPT2Tokenizer,
    SplitLlama3Tokenizer,
    SplitTokenizer,
)
from keras_coconut.text.tokenization import is_fixed

_tokenizers = keras_hub.tokenizers
CLASSES = {
    GPT2: (_tokenizers.GPT2Tokenizer,),
    LLAMA: (_tokenizers.Llama3Tokenizer, _tokenizers.LlamaTokenizer),
}
_SENTENCE_PIECE = "tokenizer.model"
# Tokens that have an id and no use, of Llama 3.
_RESERVED = "<|reserved_special_token_"
_END_OF_TEXT = "<|endoftext|>"


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
    found, file = _read_byte_pairs(source)
    if found is not None:
        try:
            tokenizer = _make_tokenizer(source, kind, found)
        except (AttributeError, TypeError, ValueError) as error:
            raise source.refuse(
                f"files of a tokenizer that {kind!r} models do not have: "
                f"{str(error)[:200]}"
            ) from error
        _check_tokens(source, tokenizer, file)
        return tokenizer, found.add_start_token
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


def _read_byte_pairs(source) -> tuple[BytePairs | None, Tokenizer | None]:
    """Returns what the files say, and the tokenizer of a `tokenizer.json`."""
    more = source.read_json("added_tokens.json") or {}
    settings = source.read_json(tokenizer_json.NAME)
    if settings is not None:
        model = settings.get("model")
        # Older files have no type.
        if not isinstance(model, Mapping) or (
            model.get("type", "BPE" if "merges" in model else None) != "BPE"
        ):
            raise source.refuse(
                "the file 'tokenizer.json', whose model is not 'BPE'"
            )
        if model.get("byte_fallback"):
            # Of SentencePiece's file.
            return None, None
        file = tokenizer_json.open_file(source)
        found = tokenizer_json.read_byte_pairs(source, settings, file)
        # In a folder whose `tokenizer.json` is that of the model before them.
        file.add_tokens(
            [
                AddedToken(token, normalized=False)
                for token in sorted(more, key=more.__getitem__)
                if token not in found.added
            ]
        )
        return found._replace(added={**more, **found.added}), file
    vocabulary = source.read_json("vocab.json")
    merges_path = source.find("merges.txt")
    if vocabulary is None or merges_path is None:
        return None, None
    lines = read_text(merges_path).splitlines()
    merges = [line for line in lines if line and line[:8] != "#version"]
    return BytePairs(vocabulary, merges, more), None


def _check_tokens(source, tokenizer, file) -> None:
    """Raises a `ValueError` for a tokenizer with other tokens than its file."""
    if file is None:
        return
    text = tokenizer_json.find_difference(tokenizer, file)
    if text is not None:
        raise source.refuse(
            "the file 'tokenizer.json', whose tokens are not those of "
            f"KerasHub's tokenizers for the text {shown(text)}"
        )


def _make_tokenizer(source, kind, found: BytePairs):
    vocabulary = {**found.vocabulary, **found.added}
    if not found.merges or not all(
        isinstance(index, int) for index in vocabulary.values()
    ):
        raise ValueError(
            f"{len(found.merges)} merges, and ids such as "
            f"{shown(next(iter(vocabulary.values()), None))}"
        )
    split: dict[str, Any] = {
        "split": found.split,
        "ignore_merges": found.ignore_merges,
    }
    if (found.split, found.ignore_merges) == (byte_pairs.WHOLE, False):
        split = {}  # As KerasHub's do.
    used = [
        token
        for token in sorted(found.added, key=vocabulary.__getitem__)
        if not token.startswith(_RESERVED)
    ]
    if kind == GPT2:
        cls = SplitGPT2Tokenizer if split else _tokenizers.GPT2Tokenizer
        whole = list(dict.fromkeys([_END_OF_TEXT, *used]))
        return cls(vocabulary, found.merges, unsplittable_tokens=whole, **split)
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
    special = {*used} - {*MARKERS} - found.ordinary
    cls = SplitLlama3Tokenizer if split else _tokenizers.Llama3Tokenizer
    return cls(
        vocabulary,
        found.merges,
        misc_special_tokens=special,
        unsplittable_tokens=list(dict.fromkeys([*ends.values(), *used])),
        **ends,
        **split,
    )


def write_tokenizer(
    tokenizer: keras_hub.tokenizers.Tokenizer,
    kind: str,
    folder: str,
    marker_tokens: Sequence[str],
    add_start_token: bool,
) -> None:
    """Writes the files that Hugging Face's `AutoTokenizer` reads.

    They give the tokens that the tokenizer gives.

    Args:
        tokenizer: a tokenizer of `CLASSES[kind]`.
        kind: `"gpt2"` or `"llama"`.
        folder: string. Where the files go.
        marker_tokens: the three marker tokens.
        add_start_token: bool. Whether texts begin with the start token.

    Raises:
        ValueError: If the tokenizer gives tokens that no file gives.
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
        with open(os.path.join(folder, _SENTENCE_PIECE), "wb") as out:
            out.write(tokenizer.proto)
        write(
            "tokenizer_config.json",
            {"tokenizer_class": "LlamaTokenizer", **settings},
        )
        return
    gpt2s = kind == GPT2 and _splits_as_gpt2(tokenizer)
    name = "GPT2Tokenizer" if gpt2s else "PreTrainedTokenizerFast"
    write("tokenizer_config.json", {"tokenizer_class": name, **settings})
    if gpt2s:  # These files mean GPT-2's split.
        merges = [m for m in tokenizer.merges if not m.startswith("#version")]
        write("vocab.json", dict(tokenizer.vocabulary))
        write_whole(
            os.path.join(folder, "merges.txt"),
            "\n".join(["#version: 0.2", *merges, ""]),
        )
    file = _make_file(tokenizer, marker_tokens, add_start_token)
    write_whole(os.path.join(folder, tokenizer_json.NAME), file.to_str(True))


def _splits_as_gpt2(tokenizer) -> bool:
    return isinstance(tokenizer, SplitTokenizer) and (
        tokenizer.split,
        tokenizer.ignore_merges,
    ) == (GPT2_SPLIT, False)


def _make_file(tokenizer, marker_tokens, add_start_token) -> Tokenizer:
    """Returns Hugging Face's tokenizer with the tokens of one of KerasHub's."""
    special = {*tokenizer.special_tokens} - {*marker_tokens}
    whole = {*special, *tokenizer.unsplittable_tokens, *marker_tokens}
    file = byte_pairs.make(
        tokenizer,
        [
            AddedToken(token, special=token in special, normalized=False)
            for token in sorted(whole, key=tokenizer.vocabulary.__getitem__)
        ],
    )
    text = tokenizer_json.find_difference(tokenizer, file)
    if text is not None:
        raise ValueError(
            "`model` must have a tokenizer whose tokens a 'tokenizer.json' "
            "gives too; this release of KerasHub splits a text otherwise. "
            f"Received: other tokens for the text {shown(text)}"
        )
    if add_start_token:
        start = tokenizer.start_token
        file.post_processor = processors.TemplateProcessing(
            single=f"{start} $A",
            special_tokens=[(start, tokenizer.start_token_id)],
        )
    return file
