"""The marker tokens: adds them to a vocabulary, or finds them in it.

The first of the three begins the thoughts, the second ends them, and the third
is a pause, which takes the place of a thought.
"""

from collections.abc import Sequence
from typing import Any, cast

import keras_hub

from keras_coconut.backbones.families import check_backbone
from keras_coconut.backbones.growth import grow
from keras_coconut.checks import check_text, refuse, shown
from keras_coconut.text.tokenization import (
    check_tokenizer,
    constructor_config,
    find_token,
    is_fixed,
    is_loaded,
    unsaved_config,
)

# The begin of thoughts, their end, and the pause.
Markers = tuple[str, str, str]
# The strings of the published checkpoints.
MARKERS = ("<|start-latent|>", "<|end-latent|>", "<|latent|>")
# What a SentencePiece vocabulary keeps unused: Gemma's by their name, those of
# Llama, Mistral and Phi 3 since no text in UTF-8 has such a byte.
_UNUSED = (
    ("<unused0>", "<unused1>", "<unused2>"),
    ("<0xF8>", "<0xF9>", "<0xFA>"),
)
# The row that the published code copies into the markers' embeddings.
_PROTOTYPE = "<<"


def choose_marker_tokens(
    tokenizer, marker_tokens: Sequence[str] | None = None
) -> Markers | None:
    """Returns the marker tokens of a tokenizer: the given ones, or its default.

    Returns `None` if they depend on a vocabulary that is not loaded yet.

    Raises:
        ValueError: If those given are not three different strings, or if the
            tokenizer's vocabulary can neither grow nor keeps tokens unused.

    Example:
    ```python
    choose_marker_tokens(tokenizer)  # ("<|start-latent|>", ...)
    ```
    """
    if marker_tokens is None:
        if not is_fixed(tokenizer):
            return MARKERS
        if not is_loaded(tokenizer):
            return None
        for names in _UNUSED:
            if None not in [find_token(tokenizer, name) for name in names]:
                return names
        raise ValueError(
            "`marker_tokens` must be given for a vocabulary that cannot grow "
            "and has none of the usual unused tokens: three of its tokens that "
            "no text needs. Received: marker_tokens=None"
        )
    expected = "three different tokens: begin and end of thoughts, pause"
    if not isinstance(marker_tokens, list | tuple) or len(marker_tokens) != 3:
        raise refuse("marker_tokens", expected, marker_tokens)
    begin, end, pause = (
        check_text(f"marker_tokens[{index}]", name)
        for index, name in enumerate(marker_tokens)
    )
    names = (begin, end, pause)
    others = {"", tokenizer.start_token, tokenizer.end_token}
    if len({*names} - others) != 3:
        raise refuse(
            "marker_tokens",
            f"{expected}, none of them the start or the end of a text",
            marker_tokens,
        )
    return names


def check_thought_tokens(tokenizer, marker_tokens: Sequence[str]) -> None:
    """Raises a `ValueError` for a tokenizer without the marker tokens."""
    missing = [
        name for name in marker_tokens if find_token(tokenizer, name) is None
    ]
    if missing and is_fixed(tokenizer):
        raise ValueError(
            "`marker_tokens` must be tokens of the vocabulary, which cannot "
            f"grow. Received: {shown(missing)}, which are not among its "
            f"{tokenizer.vocabulary_size()} tokens"
        )
    if missing:
        raise ValueError(
            "`tokenizer` must hold the marker tokens "
            f"{shown([*marker_tokens])}; `keras_coconut.add_thought_tokens` "
            "adds them. Received a vocabulary of "
            f"{tokenizer.vocabulary_size()} tokens without {shown(missing)}"
        )
    # SentencePiece and Mistral's Tekken leave no choice. Text gives no marker
    # token all the same; see `tokenization.encode`.
    config = tokenizer.get_config()
    if not {*marker_tokens} <= {
        *config.get("unsplittable_tokens", marker_tokens)
    }:
        raise ValueError(
            "`tokenizer` must keep the marker tokens whole, as those of its "
            "`unsplittable_tokens`; `keras_coconut.add_thought_tokens` adds "
            "them there. Received: unsplittable_tokens="
            f"{shown(tokenizer.unsplittable_tokens)}"
        )


def add_thought_tokens(
    tokenizer: keras_hub.models.Tokenizer,
    backbone: keras_hub.models.Backbone | None = None,
    *,
    marker_tokens: Sequence[str] | None = None,
) -> Any:
    """Adds the marker tokens to a tokenizer, and grows a backbone for them.

    A token that the tokenizer already has keeps its id and its row. The
    backbone's outputs for all other tokens stay the same. The rows of a new
    token, in the embedding and in an untied head, start as copies of the rows
    of `<<`, or as the mean of all rows if the vocabulary has no `<<`.

    The vocabulary of a SentencePiece tokenizer cannot grow. Three of its unused
    tokens become the marker tokens, and nothing else changes: `<unused0>` to
    `<unused2>` for Gemma; `<0xF8>` to `<0xFA>`, bytes that no text contains,
    for Llama, Mistral and Phi 3; or those given by `marker_tokens`.

    Args:
        tokenizer: a KerasHub tokenizer of a known family.
        backbone: a KerasHub backbone of a known family. Optional.
        marker_tokens: a tuple of three strings: the token that begins the
            thoughts, the token that ends them, and the pause. Defaults to the
            published `<|start-latent|>`, `<|end-latent|>` and `<|latent|>`, or
            to the unused tokens above.

    Returns:
        A tokenizer; with a backbone, a tuple `(tokenizer, backbone)`, in which
        the backbone has an embedding for every token. The given objects do not
        change.

    Raises:
        ValueError: If the tokenizer or the backbone is of an unknown family, if
            the backbone has LoRA enabled or is quantized (add the tokens
            first), or if a vocabulary that cannot grow lacks a token.

    Example:
    ```python
    tokenizer = keras_hub.tokenizers.GPT2Tokenizer.from_preset("gpt2_base_en")
    backbone = keras_hub.models.GPT2Backbone.from_preset("gpt2_base_en")
    tokenizer, backbone = keras_coconut.add_thought_tokens(tokenizer, backbone)
    ```
    """
    check_tokenizer(tokenizer)
    if not is_loaded(tokenizer):
        raise ValueError(
            "`tokenizer` must have a vocabulary, which tokens can be added to. "
            "Received: a tokenizer with vocabulary=None"
        )
    if backbone is not None:
        check_backbone(backbone)
    # Of a vocabulary that is loaded there are some.
    names = cast(Markers, choose_marker_tokens(tokenizer, marker_tokens))
    new_ids: list[int] = []
    if is_fixed(tokenizer):
        check_thought_tokens(tokenizer, names)
    else:
        tokenizer, new_ids = _with_tokens(tokenizer, names)
    if backbone is None:
        return tokenizer
    if new_ids:
        backbone = grow(backbone, new_ids, tokenizer.vocabulary.get(_PROTOTYPE))
    return tokenizer, backbone


def _with_tokens(tokenizer, names):
    """Returns a tokenizer that holds tokens, and the ids of the new ones."""
    vocabulary = dict(tokenizer.vocabulary)
    new_ids = []
    for name in names:
        if name not in vocabulary:
            vocabulary[name] = max(vocabulary.values()) + 1
            new_ids.append(vocabulary[name])
    config = {
        **tokenizer.get_config(),
        **unsaved_config(tokenizer),
        "vocabulary": vocabulary,
        "merges": tokenizer.merges,
    }
    if "unsplittable_tokens" in config:
        whole = dict.fromkeys([*config["unsplittable_tokens"], *names])
        config["unsplittable_tokens"] = list(whole)
    return type(tokenizer).from_config(constructor_config(config)), new_ids
