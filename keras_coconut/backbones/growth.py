"""A backbone with a larger vocabulary."""

from collections.abc import Sequence

import keras
import keras_hub
import numpy as np
from keras import ops


def grow(backbone, new_ids: Sequence[int], prototype: int | None = None):
    """Returns a copy of a backbone with rows for new tokens.

    The outputs for old tokens, the dtypes and the trainable flags stay the
    same. The given backbone does not change.

    Args:
        backbone: a KerasHub backbone of a known family.
        new_ids: the ids of the new tokens. A row that the embedding holds
            already, beyond the tokens of the tokenizer, is written over.
        prototype: int. The token whose rows a new token copies, in the
            embedding and in an untied head. Defaults to `None`, the mean over
            the tokens before the new ones.

    Raises:
        ValueError: If the backbone has LoRA enabled or is quantized.

    Example:
    ```python
    size = model.backbone.vocabulary_size
    grown = grow(model.backbone, [size, size + 1])
    grown.vocabulary_size  # Two more.
    ```
    """
    _check_plain(backbone)
    embedding = backbone.token_embedding
    size = max(backbone.vocabulary_size, max(new_ids) + 1)
    config = {**backbone.get_config(), "vocabulary_size": size}
    if isinstance(backbone, keras_hub.models.LlamaBackbone):
        # The only argument that its config leaves out.
        config["tie_word_embeddings"] = embedding.tie_weights
    policy = keras.config.dtype_policy()
    # `SmolLM3Backbone` passes no dtype to its layers.
    keras.config.set_dtype_policy(embedding.dtype_policy)
    try:
        grown = type(backbone).from_config(config)
    finally:
        keras.config.set_dtype_policy(policy)
    for old, new in zip(backbone.weights, grown.weights, strict=True):
        if old is embedding.embeddings:
            new.assign(_with_rows(old, size, new_ids, prototype))
        elif old is getattr(embedding, "reverse_embeddings", None):
            head = ops.transpose(old)
            new.assign(_with_rows(head, size, new_ids, prototype).T)
        else:
            new.assign(old)
    # A layer's flag sets those of its sublayers, which come later.
    for old, new in zip(
        backbone._flatten_layers(), grown._flatten_layers(), strict=True
    ):
        new.trainable = old.trainable
    return grown


def _check_plain(backbone) -> None:
    remedy = "grow it with `keras_coconut.add_thought_tokens` before"
    if any("lora" in weight.name for weight in backbone.weights):
        raise ValueError(
            f"`backbone` must have no adapters: {remedy} `enable_lora`. "
            "Received: a backbone with LoRA enabled"
        )
    for layer in backbone._flatten_layers():
        mode = getattr(layer, "quantization_mode", None)
        if mode is not None:
            raise ValueError(
                f"`backbone` must not be quantized: {remedy} `quantize`. "
                f"Received: the layer {layer.name!r} in {mode}"
            )


def _with_rows(table, size, new_ids, prototype) -> np.ndarray:
    """Returns a table (V, D) with `size` rows, the new ones alike."""
    table = ops.convert_to_numpy(ops.cast(table, "float32"))
    row = table[: min(new_ids)].mean(axis=0)
    if prototype is not None:
        row = table[prototype]
    new = np.tile(row, (size, 1))
    new[: len(table)] = table
    new[list(new_ids)] = row
    return new
