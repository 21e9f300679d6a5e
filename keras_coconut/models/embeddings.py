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
    embedding = backbone.token_embedding
    if (
        autodiff.lookups_cost_a_table()
        and type(embedding) is keras.layers.ReversibleEmbedding
        and embedding.tie_weights
        and not embedding.lora_enabled
        and embedding.quantization_mode is None
        and embedding.compute_dtype == embedding.variable_dtype
    ):
        table = ops.convert_to_tensor(embedding.embeddings)
        return autodiff.take_rows(table, token_ids)
    return embed_tokens(backbone, token_ids), None


def logits(backbone, hidden, table=None):
    """Returns logits (B, length, V) by the tied embedding."""
    embedding = backbone.token_embedding
    if table is None:
        return embedding(hidden, reverse=True)
    with keras.StatelessScope([(embedding.embeddings, table)]):
        return embedding(hidden, reverse=True)


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
