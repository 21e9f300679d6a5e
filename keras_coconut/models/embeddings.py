"""What a backbone adds up before its layers, and the logits after them."""

import keras
from keras import ops

from keras_coconut.models import autodiff


def embed_tokens(backbone, token_ids):
    """Returns the token embeddings (B, length, D), without positions."""
    return backbone.token_embedding(token_ids)


def embed_for_logits(backbone, token_ids):
    """As `embed_tokens`, for a pass that ends in `logits`.

    Returns:
        A tuple of the embeddings, and of what `logits` then takes as `table`.
    """
    table = _table(backbone)
    if table is None:
        return embed_tokens(backbone, token_ids), None
    return autodiff.take_rows(table, token_ids)


def logits(backbone, hidden, table=None):
    """Returns logits (B, length, V) by the tied embedding."""
    table = _table(backbone) if table is None else table
    if table is None:
        return backbone.token_embedding(hidden, reverse=True)
    hidden = ops.convert_to_tensor(hidden, backbone.compute_dtype)
    return autodiff.multiply_by_rows(hidden, table)


def _table(backbone):
    """Returns the tied embedding, if it is best used as a plain matrix."""
    embedding = backbone.token_embedding
    if (
        autodiff.tables_are_best_plain()
        and type(embedding) is keras.layers.ReversibleEmbedding
        and embedding.tie_weights
        and embedding.reverse_dtype in (None, embedding.compute_dtype)
        and embedding.logit_soft_cap is None
        and not embedding.lora_enabled
        and embedding.quantization_mode is None
        and embedding.compute_dtype == embedding.variable_dtype
    ):
        return ops.convert_to_tensor(embedding.embeddings)
    return None


def embed_positions(backbone, positions):
    """Returns what positions add to embeddings, (B, length, D)."""
    # The slice makes the table's gradient dense. A gather's alone would be
    # sparse on TensorFlow, with an index for every row of the batch, and Keras
    # optimizers apply repeated indices as if each stood once.
    table = ops.convert_to_tensor(
        backbone.position_embedding.position_embeddings
    )
    table = ops.slice(table, (0, 0), table.shape)
    table = ops.cast(table, backbone.compute_dtype)
    return ops.take(table, positions, axis=0)
