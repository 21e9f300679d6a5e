"""What the decoder touches in KerasHub, and what it does not compute."""

import numpy as np
import pytest
import tiny
from keras import ops

from keras_coconut.models import decoder, embeddings


@pytest.mark.parametrize(
    "name",
    [
        "_self_attention_layer",
        "_self_attention_layer_norm",
        "_self_attention_dropout",
        "_feedforward_layer_norm",
        "_feedforward_intermediate_dense",
        "_feedforward_output_dense",
        "_feedforward_dropout",
    ],
)
def test_keras_hub_still_has(text_model, name):
    layer = text_model.backbone.transformer_layers[0]
    assert hasattr(layer, name), f"KerasHub renamed TransformerDecoder.{name}"


@pytest.mark.parametrize(
    "name",
    ["query_dense", "key_dense", "value_dense", "output_dense", "dropout"]
    + ["_dropout_layer"],
)
def test_keras_still_has(name):
    model = tiny.text_model(dropout=0.1)
    attention = model.backbone.transformer_layers[0]._self_attention_layer
    assert hasattr(attention, name), f"Keras renamed MultiHeadAttention.{name}"


def test_spans_equal_the_backbone(text_model):
    """Three spans, whatever they hold, are KerasHub's one sequence."""
    backbone = text_model.backbone
    ids = np.random.default_rng(0).integers(0, 200, (2, 12))
    mask = np.ones_like(ids)
    expected = backbone({"token_ids": ids, "padding_mask": mask})
    memory, found = [], []
    for start, stop in ((0, 5), (5, 6), (6, 12)):
        hidden, span = decoder.decode_span(
            backbone,
            embeddings.embed_tokens(backbone, ids[:, start:stop]),
            np.tile(np.arange(start, stop), (2, 1)),
            ops.convert_to_tensor(mask[:, start:stop], "bool"),
            memory,
        )
        memory.append(span)
        found.append(ops.convert_to_numpy(hidden))
    np.testing.assert_allclose(
        np.concatenate(found, axis=1), ops.convert_to_numpy(expected), atol=1e-5
    )
