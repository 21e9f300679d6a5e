"""The marker tokens of the latent mode: adds them to a tokenizer and backbone.

The strings are those of the published checkpoints.
"""

import keras_hub
import numpy as np
from keras import ops

from keras_coconut.checks import check_instance

BEGIN_OF_THOUGHT = "<|start-latent|>"
END_OF_THOUGHT = "<|end-latent|>"
# Stands in a thought's slot in published data. Never embedded here.
THOUGHT = "<|latent|>"
MARKERS = (BEGIN_OF_THOUGHT, END_OF_THOUGHT, THOUGHT)

# The row that the published code copies into the markers' embeddings.
_PROTOTYPE = "<<"


def has_thought_tokens(tokenizer) -> bool:
    """Whether a tokenizer holds all marker tokens and keeps them whole."""
    return set(MARKERS) <= set(tokenizer.get_vocabulary()) & set(
        tokenizer.unsplittable_tokens
    )


def check_thought_tokens(tokenizer) -> None:
    """Raises a `ValueError` for a tokenizer without the marker tokens."""
    vocabulary = set(tokenizer.get_vocabulary())
    missing = [marker for marker in MARKERS if marker not in vocabulary]
    if missing:
        raise ValueError(
            f"`tokenizer` must hold the marker tokens {list(MARKERS)}; "
            "`keras_coconut.add_thought_tokens` adds them. Received a "
            f"vocabulary of {len(vocabulary)} tokens without {missing}"
        )
    if not has_thought_tokens(tokenizer):
        raise ValueError(
            "`tokenizer` must keep the marker tokens whole: they must stand in "
            "its `unsplittable_tokens`; `keras_coconut.add_thought_tokens` "
            "sees to it. Received: unsplittable_tokens="
            f"{tokenizer.unsplittable_tokens}"
        )


def add_thought_tokens(tokenizer, backbone=None):
    """Adds the marker tokens to a tokenizer, and grows a backbone for them.

    Tokens that the tokenizer has already are left as they are. Every output of
    the backbone for old tokens stays the same. A new token's embedding starts
    as a copy of the row of `<<`, or as the mean row if the vocabulary has no
    `<<`.

    Args:
        tokenizer: a `keras_hub.tokenizers.GPT2Tokenizer`.
        backbone: a `keras_hub.models.GPT2Backbone`. Optional.

    Returns:
        A new tokenizer; with a backbone, a tuple `(tokenizer, backbone)` of a
        new tokenizer and a backbone that covers it.

    Raises:
        ValueError: If the tokenizer or the backbone is not of GPT-2, or if the
            backbone has LoRA enabled: grow it first.

    Example:
    ```python
    tokenizer = keras_hub.tokenizers.GPT2Tokenizer.from_preset("gpt2_base_en")
    backbone = keras_hub.models.GPT2Backbone.from_preset("gpt2_base_en")
    tokenizer, backbone = keras_coconut.add_thought_tokens(tokenizer, backbone)
    ```
    """
    check_instance(
        "tokenizer",
        tokenizer,
        keras_hub.tokenizers.GPT2Tokenizer,
        "a `keras_hub.tokenizers.GPT2Tokenizer`",
    )
    if tokenizer.vocabulary is None:
        raise ValueError(
            "`tokenizer` must have a vocabulary, which tokens can be added to. "
            "Received: a tokenizer with vocabulary=None"
        )
    if backbone is not None:
        check_backbone(backbone)
    vocabulary = dict(tokenizer.vocabulary)
    new_ids = []
    for marker in MARKERS:
        if marker not in vocabulary:
            vocabulary[marker] = max(vocabulary.values()) + 1
            new_ids.append(vocabulary[marker])
    unsplittable = list(tokenizer.unsplittable_tokens)
    unsplittable += [m for m in MARKERS if m not in unsplittable]
    grown_tokenizer = type(tokenizer).from_config(
        {
            **tokenizer.get_config(),
            "vocabulary": vocabulary,
            "merges": tokenizer.merges,
            "unsplittable_tokens": unsplittable,
        }
    )
    if backbone is None:
        return grown_tokenizer
    prototype = vocabulary.get(_PROTOTYPE)
    return grown_tokenizer, _grow_backbone(backbone, new_ids, prototype)


def check_backbone(backbone) -> None:
    """Raises a `ValueError` for a backbone that is not a GPT-2."""
    check_instance(
        "backbone",
        backbone,
        keras_hub.models.GPT2Backbone,
        "a `keras_hub.models.GPT2Backbone`",
    )


def _grow_backbone(backbone, new_ids, prototype):
    if not new_ids:
        return backbone
    if any("lora" in weight.name for weight in backbone.weights):
        raise ValueError(
            "`backbone` must be grown before `enable_lora` is called: its "
            "embedding cannot grow with adapters in place. Received a backbone "
            "with LoRA enabled."
        )
    size = max(backbone.vocabulary_size, max(new_ids) + 1)
    config = {**backbone.get_config(), "vocabulary_size": size}
    grown = type(backbone).from_config(config)
    old_table = ops.convert_to_numpy(backbone.token_embedding.embeddings)
    old_rows = old_table[: min(new_ids)]
    row = old_rows.mean(axis=0) if prototype is None else old_table[prototype]
    table = np.concatenate(
        [old_table, np.tile(row, (size - len(old_table), 1))]
    ).astype(old_table.dtype)
    table[new_ids] = row
    for old, new in zip(backbone.weights, grown.weights, strict=True):
        if old is backbone.token_embedding.embeddings:
            new.assign(table)
        else:
            new.assign(old)
    grown.trainable = backbone.trainable
    return grown
