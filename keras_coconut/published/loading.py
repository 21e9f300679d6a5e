"""A published model as a `ContinuousThoughtLM`."""

from collections.abc import Mapping
from typing import Any

import keras_hub

from keras_coconut.backbones.families import check_family
from keras_coconut.checks import shown
from keras_coconut.published.configs import (
    CLASSES,
    OF_MODEL,
    OF_PREPROCESSOR,
    backbone_arguments,
    check_config,
    own_settings,
    read_config,
)
from keras_coconut.published.keys import PublishedWeights, find_weights
from keras_coconut.published.source import Source
from keras_coconut.published.tensors import open_tensors
from keras_coconut.published.tokenizers import read_tokenizer
from keras_coconut.published.weights import check_weights, load_weights
from keras_coconut.text.marker_tokens import (
    MARKERS,
    add_thought_tokens,
    choose_marker_tokens,
)
from keras_coconut.text.tokenization import (
    check_tokenizer,
    find_token,
    is_fixed,
    largest_id,
)


def load_model(
    cls: Any,
    source: Source,
    config: Mapping | None = None,
    tokenizer: keras_hub.tokenizers.Tokenizer | None = None,
    with_weights: bool = True,
    kwargs: Mapping | None = None,
) -> Any:
    """Returns a `ContinuousThoughtLM` of published files.

    Args:
        cls: `ContinuousThoughtLM`.
        source: the location of the files.
        config: dictionary. The settings, as in a `config.json`. Defaults to
            `None`, those beside the weights.
        tokenizer: a KerasHub tokenizer. Defaults to `None`, that of the files.
        with_weights: bool. Whether to load the weights. Defaults to `True`.
        kwargs: dictionary of `dtype` and of arguments of the preprocessor and
            of the constructor. Defaults to `None`.

    Raises:
        ValueError: If a file is missing, damaged or not supported. The error
            names the file, the setting or the key.
    """
    config = read_config(source) if config is None else config
    kind = check_config(source, config)
    kwargs = _with_own(own_settings(source, config), kwargs or {})
    of_backbone = {k: kwargs.pop(k) for k in ("dtype",) if k in kwargs}
    of_preprocessor = {
        k: kwargs.pop(k)
        for k in OF_PREPROCESSOR
        if k in kwargs and "preprocessor" not in kwargs
    }
    check_family(CLASSES[kind])
    arguments = backbone_arguments(source, config)
    weights = find_weights(source, kind, open_tensors(source))
    # The config may be that of the model before it grew.
    arguments["vocabulary_size"] = weights.vocabulary_size
    weights = check_weights(source, weights, arguments)
    if "preprocessor" not in kwargs and tokenizer is None:
        tokenizer, starts = _find_tokenizer(source, kind)
        if starts is not None:
            of_preprocessor.setdefault("add_start_token", starts)

    backbone = CLASSES[kind](**arguments, **of_backbone)
    if with_weights:
        load_weights(backbone, weights)
    if "preprocessor" not in kwargs:
        tokenizer, backbone = _with_markers(
            source,
            weights,
            tokenizer,
            backbone,
            of_preprocessor.get("marker_tokens"),
        )
        kwargs["preprocessor"] = cls.preprocessor_cls(
            tokenizer, **of_preprocessor
        )
    return cls(backbone=backbone, **kwargs)


def _with_own(saved: Mapping, kwargs: Mapping) -> dict:
    """Returns arguments with the saved ones that they leave out."""
    names = {*OF_MODEL, *OF_PREPROCESSOR}
    if "preprocessor" in kwargs:
        names = {*OF_MODEL}
        if kwargs["preprocessor"] is not None:
            names.remove("markers")  # Those of the preprocessor.
    kept = {name: value for name, value in saved.items() if name in names}
    return {**kept, **kwargs}


def _find_tokenizer(source, kind):
    found = read_tokenizer(source, kind)
    if found is None:
        raise source.refuse(
            "no files of a tokenizer; `keras_coconut.read_published_model(..., "
            "tokenizer=...)` takes one, and `preprocessor=None` makes a model "
            "of token ids alone"
        )
    return found


def _with_markers(
    source, weights: PublishedWeights, tokenizer, backbone, marker_tokens
):
    """Returns a tokenizer and a backbone with the marker tokens.

    The rows of markers that were trained stay what they are.
    """
    check_tokenizer(tokenizer)
    rows = weights.vocabulary_size
    known = largest_id(tokenizer) + 1
    if known > rows:
        raise source.refuse(
            f"a token embedding of {rows} rows, and a tokenizer of {known} "
            "tokens"
        )
    added = rows - known
    if is_fixed(tokenizer):
        if added == len(MARKERS) and marker_tokens is None:
            raise source.refuse(
                f"a token embedding of {rows} rows, of which the last three "
                "may be the marker tokens', and a vocabulary that cannot hold "
                "these; `marker_tokens=` names three of its own"
            )
        return add_thought_tokens(
            tokenizer, backbone, marker_tokens=marker_tokens
        )
    names = choose_marker_tokens(tokenizer, marker_tokens) or MARKERS
    missing = sum(find_token(tokenizer, name) is None for name in names)
    # Published files hold three rows for the markers after all others, and
    # their tokenizer's files may lack the markers.
    trained = missing and (weights.wrapped or added == len(MARKERS))
    if trained and missing > added:
        raise source.refuse(
            f"a token embedding of {rows} rows, which leaves none for the "
            f"marker tokens {shown([*names])} after the {known} of its "
            "tokenizer"
        )
    if missing and not trained:
        return add_thought_tokens(tokenizer, backbone, marker_tokens=names)
    return add_thought_tokens(tokenizer, marker_tokens=names), backbone


def is_known(config: Mapping) -> bool:
    """Whether a `config.json` is that of a model that can be read here."""
    return "registered_name" not in config and (
        config.get("model_type") in CLASSES
    )
