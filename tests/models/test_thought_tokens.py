"""Growing a vocabulary and a backbone."""

import keras_hub
import numpy as np
import pytest
from keras import ops

import keras_coconut
from keras_coconut.models.thought_tokens import MARKERS, has_thought_tokens


def plain(with_prototype, room=0):
    tokens = ["!", "<|endoftext|>", "a", "b", "ab", "Ġ", "<", "Ċ"]
    merges = ["a b"]
    if with_prototype:
        tokens.append("<<")
        merges.append("< <")
    tokenizer = keras_hub.tokenizers.GPT2Tokenizer(
        {token: index for index, token in enumerate(tokens)}, merges
    )
    backbone = keras_hub.models.GPT2Backbone(
        vocabulary_size=len(tokens) + room,
        num_layers=2,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=16,
        max_sequence_length=32,
    )
    return tokenizer, backbone


@pytest.mark.parametrize("room", [0, 2, 6])
@pytest.mark.parametrize("with_prototype", [True, False])
def test_old_outputs_stay_and_new_rows_start_right(with_prototype, room):
    tokenizer, backbone = plain(with_prototype, room)
    old_size = tokenizer.vocabulary_size()
    grown_tokenizer, grown = keras_coconut.add_thought_tokens(
        tokenizer, backbone
    )
    assert grown.vocabulary_size == max(old_size + 3, old_size + room)
    ids = np.random.default_rng(0).integers(0, old_size, (3, 9))
    inputs = {"token_ids": ids, "padding_mask": np.ones_like(ids)}
    np.testing.assert_allclose(
        ops.convert_to_numpy(grown(inputs)),
        ops.convert_to_numpy(backbone(inputs)),
        atol=1e-6,
    )
    old = ops.convert_to_numpy(backbone.token_embedding.embeddings)
    new = ops.convert_to_numpy(grown.token_embedding.embeddings)
    expected = old[:old_size].mean(axis=0)
    if with_prototype:
        expected = old[tokenizer.token_to_id("<<")]
    for marker in MARKERS:
        row = new[grown_tokenizer.token_to_id(marker)]
        np.testing.assert_allclose(row, expected, atol=1e-7)


def test_markers_stay_whole_and_old_text_the_same():
    tokenizer, _ = plain(True)
    grown = keras_coconut.add_thought_tokens(tokenizer)
    assert has_thought_tokens(grown) and not has_thought_tokens(tokenizer)
    assert grown(["ab<<ab"]) == tokenizer(["ab<<ab"])
    for marker in MARKERS:
        assert len(grown(f"ab{marker}ab")) == 3
    assert grown.detokenize(grown("ab<|latent|>b")) == "ab<|latent|>b"


def test_twice_changes_nothing():
    once = keras_coconut.add_thought_tokens(*plain(True))
    twice = keras_coconut.add_thought_tokens(*once)
    assert twice[1] is once[1]
    assert twice[0].vocabulary == once[0].vocabulary


def test_lora_must_wait():
    tokenizer, backbone = plain(True)
    backbone.enable_lora(2)
    with pytest.raises(ValueError, match="before `enable_lora`"):
        keras_coconut.add_thought_tokens(tokenizer, backbone)


def test_another_backbone_is_refused():
    tokenizer, _ = plain(True)
    other = keras_hub.models.OPTBackbone(
        vocabulary_size=9,
        num_layers=1,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=16,
        max_sequence_length=32,
    )
    with pytest.raises(ValueError, match="GPT2Backbone.*OPTBackbone"):
        keras_coconut.add_thought_tokens(tokenizer, other)
    with pytest.raises(ValueError, match="GPT2Backbone.*OPTBackbone"):
        keras_coconut.ContinuousThoughtLM(other)
