"""`tokenizer.json`: the settings that give a tokenizer's ids, and others."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import tokenizers

from keras_coconut.checks import shown
from keras_coconut.published.source import Source
from keras_coconut.text import byte_pairs

NAME = "tokenizer.json"
# GPT-2's own, of files that do not say how they split a text.
GPT2_SPLIT = json.dumps(
    {**json.loads(byte_pairs.WHOLE), "use_regex": True}, sort_keys=True
)
# What a text loses no character by.
_SPLITS = ("Split", "Digits", "ByteLevel")
# Texts of several pieces, which no single token holds.
_PROBES = ("Ab (ab  12345\n\nab.\r\n\t1", " it's 3 + 4 = 7, é")


class BytePairs(NamedTuple):
    """What Hugging Face's files say of a vocabulary of byte pairs.

    Args:
        vocabulary: dictionary of ids, by the token.
        merges: list of strings, each with the two parts of a token.
        added: dictionary. The tokens that no merge makes, which is all of the
            control tokens and the published marker tokens.
        ordinary: set. Those of `added` that are words of a text.
        split: string. Where a text is split, in JSON; see `SplitTokenizer`.
        ignore_merges: bool. See `SplitTokenizer`.
        add_start_token: bool, or `None` if no file says so.
    """

    vocabulary: dict[str, int]
    merges: list[str]
    added: dict[str, int]
    ordinary: frozenset[str] = frozenset()
    split: str = GPT2_SPLIT
    ignore_merges: bool = False
    add_start_token: bool | None = None


def read_byte_pairs(
    source: Source, settings: Mapping[str, Any], file: tokenizers.Tokenizer
) -> BytePairs:
    """Returns what a `tokenizer.json` says of its byte pairs.

    Args:
        source: the location of the file.
        settings: dictionary, what the file holds.
        file: the tokenizer that Hugging Face makes of it.

    Raises:
        ValueError: If a setting gives other tokens than byte pairs do within
            the pieces of a text; names the setting.
    """
    for name, value in _unknown(settings):
        raise source.refuse(
            f"the file {NAME!r}, whose setting {name}={shown(value)} gives "
            "tokens that KerasHub's tokenizers do not have"
        )
    model = settings["model"]
    added = settings.get("added_tokens") or []
    # With the settings that a file leaves out.
    parts = _parts(json.loads(file.pre_tokenizer.__getstate__()))
    split = parts[0]
    if len(parts) > 1:
        split = {"type": "Sequence", "pretokenizers": parts}
    return BytePairs(
        vocabulary=model["vocab"],
        # Pairs, or their texts, as the release has it.
        merges=[
            merge if isinstance(merge, str) else " ".join(merge)
            for merge in model["merges"]
        ],
        added={token["content"]: token["id"] for token in added},
        ordinary=frozenset(t["content"] for t in added if not t["special"]),
        split=json.dumps(split, sort_keys=True),
        ignore_merges=bool(model.get("ignore_merges")),
        add_start_token=bool(file.encode("").ids),
    )


def _unknown(settings) -> Iterator[tuple[str, Any]]:
    """Yields the settings that no tokenizer here has, and their values."""
    normalizer = settings.get("normalizer")
    if normalizer and normalizer.get("normalizers") != []:
        yield "normalizer", normalizer
    model = settings["model"]
    # Some files have an empty string for none.
    for name in (
        "dropout",
        "continuing_subword_prefix",
        "end_of_word_suffix",
    ):
        if model.get(name):
            yield name, model[name]
    parts = _parts(settings.get("pre_tokenizer"))
    for part in parts:
        if part.get("add_prefix_space"):
            yield "add_prefix_space", True
        if part["type"] not in _SPLITS or part.get("behavior") == "Removed":
            yield "pre_tokenizer", part
    if [part["type"] for part in parts].count("ByteLevel") != 1:
        yield "pre_tokenizer", settings.get("pre_tokenizer")
    for token in settings.get("added_tokens") or []:
        for name in ("lstrip", "rstrip", "single_word"):
            if token.get(name):
                yield f"added_tokens: {token['content']!r}, {name}", True


def _parts(split) -> list[dict]:
    """Returns what splits a text, one after the other."""
    found = [split] if split else []
    while any(part["type"] == "Sequence" for part in found):
        found = [
            inner
            for part in found
            for inner in part.get("pretokenizers", [part])
        ]
    return found


def open_file(source: Source) -> tokenizers.Tokenizer:
    """Returns the tokenizer that Hugging Face makes of a `tokenizer.json`.

    Raises:
        ValueError: If the file is damaged.
    """
    try:
        # What raises here is Rust's, a plain `Exception`.
        found = tokenizers.Tokenizer.from_file(str(source.find(NAME)))
    except Exception as error:
        raise source.refuse(
            f"the file {NAME!r}, which is damaged: {str(error)[:120]}"
        ) from error
    # Of the batches of a training.
    found.no_padding()
    found.no_truncation()
    return found


def find_difference(tokenizer, file: tokenizers.Tokenizer) -> str | None:
    """Returns a text whose ids differ from a file's, or `None`.

    The texts are those of all tokens, since a split or a normalizer that
    matters divides or changes one of them.

    Args:
        tokenizer: a KerasHub tokenizer of byte pairs.
        file: the tokenizer of a `tokenizer.json`.
    """
    decoder = tokenizers.decoders.ByteLevel()
    added = {
        token.content for token in file.get_added_tokens_decoder().values()
    }
    texts = [
        *_PROBES,
        *(
            decoder.decode([token])
            for token in tokenizer.vocabulary
            if token not in added
        ),
    ]
    # A part of a character is no text.
    texts = [text for text in texts if "\ufffd" not in text]
    theirs = file.encode_batch(texts, add_special_tokens=False)
    for text, mine, other in zip(
        texts, byte_pairs.tokenize(tokenizer, texts), theirs
    ):
        if mine != other.ids:
            return text
    return None
