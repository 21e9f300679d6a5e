"""Marker tokens of every tokenizer, and a backbone that grows for them."""

import keras_hub
import numpy as np
import pytest
import tiny_tokenizers
from keras import ops
from tiny_tokenizers import small_gpt2

import keras_coconut
from keras_coconut import ContinuousThoughtPreprocessor, add_thought_tokens
from keras_coconut.text.marker_tokens import MARKERS
from keras_coconut.text.tokenization import find_token


@pytest.mark.parametrize("room", [0, 2, 6])
@pytest.mark.parametrize("with_prototype", [True, False])
def test_old_outputs_stay_and_new_rows_start_right(with_prototype, room):
    tokenizer, backbone = small_gpt2(with_prototype, room)
    old_size = tokenizer.vocabulary_size()
    grown_tokenizer, grown = add_thought_tokens(tokenizer, backbone)
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


@pytest.mark.parametrize("kind", tiny_tokenizers.GROWING)
def test_markers_stay_whole_and_old_text_the_same(kind):
    tokenizer = tiny_tokenizers.plain(kind)
    before = tokenizer.vocabulary_size()
    grown = add_thought_tokens(tokenizer)
    assert tokenizer.vocabulary_size() == before
    assert [find_token(grown, marker) for marker in MARKERS] == [
        *range(before, before + 3)
    ]
    text = f"ab<<ab {tokenizer.end_token} 12"
    assert grown([text]) == tokenizer([text])
    # Mistral's Tekken takes no tokens that it must not split.
    if kind != "mistral_tekken":
        for marker in MARKERS:
            assert len(grown(f"ab{marker}ab")) == 3
    assert grown.detokenize(grown("ab<|latent|>b")) == "ab<|latent|>b"


@pytest.mark.parametrize("kind", tiny_tokenizers.FIXED)
def test_a_vocabulary_that_cannot_grow_has_tokens_to_spare(kind):
    tokenizer = tiny_tokenizers.plain(kind)
    _, backbone = small_gpt2(True)
    assert add_thought_tokens(tokenizer, backbone) == (tokenizer, backbone)
    preprocessor = ContinuousThoughtPreprocessor(tokenizer)
    expected = ("<0xF8>", "<0xF9>", "<0xFA>")
    if kind.startswith("gemma"):
        expected = ("<unused0>", "<unused1>", "<unused2>")
    assert preprocessor.marker_tokens == expected
    assert [
        preprocessor.begin_of_thought_id,
        preprocessor.end_of_thought_id,
        preprocessor.pause_id,
    ] == [tokenizer.get_vocabulary().index(token) for token in expected]
    # No other bytes than these are in no text at all.
    for byte in (0xF8, 0xF9, 0xFA):
        for text in (b"a", "é".encode(), "👍".encode()):
            with pytest.raises(UnicodeDecodeError):
                (text + bytes([byte])).decode()


@pytest.mark.parametrize("kind", ["gpt2", "qwen", "gemma", "llama"])
def test_tokens_of_ones_own_choice(kind):
    names = ("<begin>", "<end>", "<pause>")
    if kind in tiny_tokenizers.FIXED:
        names = ("<0xC0>", "<0xC1>", "<0xFF>")
    tokenizer = add_thought_tokens(
        tiny_tokenizers.plain(kind), marker_tokens=list(names)
    )
    preprocessor = ContinuousThoughtPreprocessor(tokenizer, marker_tokens=names)
    (row,) = preprocessor.tokenize_questions(["1?"])
    assert tokenizer.id_to_token(row[-1]) == names[0]
    assert find_token(tokenizer, names[2]) == preprocessor.pause_id
    assert preprocessor.get_config()["marker_tokens"] == list(names)
    if kind not in tiny_tokenizers.FIXED:
        with pytest.raises(ValueError, match="(?s)start-latent.*without"):
            ContinuousThoughtPreprocessor(tokenizer)


def test_a_vocabulary_without_tokens_to_spare():
    tokenizer = keras_hub.tokenizers.LlamaTokenizer(
        tiny_tokenizers.llama_proto(byte_fallback=False, vocab_size=120)
    )
    for call in (add_thought_tokens, ContinuousThoughtPreprocessor):
        with pytest.raises(ValueError, match="`marker_tokens` must be given"):
            call(tokenizer)
        names = ("a", "<0x01>", "e")
        with pytest.raises(ValueError, match=r"`marker_tokens`.*\['<0x01>'\]"):
            call(tokenizer, marker_tokens=names)
        with pytest.raises(ValueError, match="`marker_tokens`.*start or the"):
            call(tokenizer, marker_tokens=("a", "e", "</s>"))
    # For better or worse: its text can be any other's.
    assert add_thought_tokens(tokenizer, marker_tokens=("a", "e", "o"))


def test_twice_changes_nothing():
    once = add_thought_tokens(*small_gpt2(True))
    twice = add_thought_tokens(*once)
    assert twice[1] is once[1]
    assert twice[0].vocabulary == once[0].vocabulary


def test_lora_must_wait():
    tokenizer, backbone = small_gpt2(True)
    backbone.enable_lora(2)
    with pytest.raises(ValueError, match="before `enable_lora`"):
        add_thought_tokens(tokenizer, backbone)
    # Where nothing grows, nothing has to wait.
    plain = tiny_tokenizers.plain("gemma")
    assert add_thought_tokens(plain, backbone)[1] is backbone


def test_another_backbone_is_refused():
    tokenizer, _ = small_gpt2(True)
    other = keras_hub.models.BertBackbone(
        vocabulary_size=9,
        num_layers=1,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=16,
    )
    known = "GPT2Backbone.*Gemma3Backbone.*BertBackbone"
    with pytest.raises(ValueError, match=f"`backbone`.*{known}"):
        add_thought_tokens(tokenizer, other)
    with pytest.raises(ValueError, match=f"`backbone`.*{known}"):
        tiny_tokenizers.preprocessor("gpt2").fit_to(other)


def test_another_tokenizer_is_refused():
    known = "GPT2Tokenizer.*Gemma3Tokenizer.*ByteTokenizer"
    with pytest.raises(ValueError, match=f"`tokenizer` must be.*{known}"):
        keras_coconut.add_thought_tokens(keras_hub.tokenizers.ByteTokenizer())
