"""What the decoder touches in KerasHub, and what it does not compute."""

import numpy as np
import pytest
import tiny
from keras import ops

from keras_coconut.models import decoder


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
            decoder.embed_tokens(backbone, ids[:, start:stop]),
            np.tile(np.arange(start, stop), (2, 1)),
            ops.convert_to_tensor(mask[:, start:stop], "bool"),
            memory,
        )
        memory.append(span)
        found.append(ops.convert_to_numpy(hidden))
    np.testing.assert_allclose(
        np.concatenate(found, axis=1), ops.convert_to_numpy(expected), atol=1e-5
    )


def test_one_pass_a_span_and_logits_for_the_response_only(
    text_model, monkeypatch
):
    passes, heads = [], []
    decode_span, logits = decoder.decode_span, decoder.logits

    def counted_span(backbone, inputs, *args, **kwargs):
        passes.append((inputs.shape[1], kwargs.get("outputs", "all")))
        return decode_span(backbone, inputs, *args, **kwargs)

    def counted_logits(backbone, hidden):
        heads.append(tuple(hidden.shape))
        return logits(backbone, hidden)

    monkeypatch.setattr(decoder, "decode_span", counted_span)
    monkeypatch.setattr(decoder, "logits", counted_logits)
    x, _, _ = text_model.preprocessor(tiny.problems()[:4], num_thoughts=3)
    text_model(x)
    question, response = x["question_ids"].shape[1], x["response_ids"].shape[1]
    assert passes == [
        (question, "last"),
        (1, "last"),
        (1, "last"),
        (1, "none"),
        (response, "all"),
    ]
    assert heads == [(4, response, 16)]


def test_the_question_is_never_copied(text_model, monkeypatch):
    """Its keys and values take part in no concatenation."""
    lengths = []
    concatenate = ops.concatenate

    def watched(tensors, axis=0):
        if len(tensors[0].shape) == 4 and tensors[0].shape[-1] == 8:
            lengths.extend(tensor.shape[2] for tensor in tensors)
        return concatenate(tensors, axis=axis)

    monkeypatch.setattr(ops, "concatenate", watched)
    x, _, _ = text_model.preprocessor(tiny.problems()[:4], num_thoughts=3)
    text_model(x)
    assert lengths and max(lengths) < x["question_ids"].shape[1]
