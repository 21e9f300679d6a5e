"""Tokens with a KerasHub that tokenizes within TensorFlow alone."""

import pytest
import tiny_tokenizers

import keras_coconut
from keras_coconut.text import byte_pairs
from keras_coconut.text.split_tokenizers import (
    SplitGPT2Tokenizer,
    SplitLlama3Tokenizer,
)
from keras_coconut.text.word_tokenizer import make_word_tokenizer

pytestmark = [pytest.mark.any_backend, tiny_tokenizers.needs_whole_words]

TEXTS = ["ab + 12", "1234 the## #fox", " <|x|> é👍🏽\n\n", "<|endoftext|>", ""]


@pytest.fixture
def within_tensorflow(monkeypatch):
    monkeypatch.setattr(byte_pairs, "IN_TENSORFLOW_ALONE", True)


def check(tokenizer, texts):
    expected = tokenizer.tokenize(texts)
    assert byte_pairs.tokenize(tokenizer, texts) == expected
    for text, ids in zip(texts, expected):
        if ids:
            assert byte_pairs.detokenize(tokenizer, ids) == text


@pytest.mark.parametrize(
    "kind",
    # Which comes with later releases and a pattern of its own.
    [kind for kind in tiny_tokenizers.GROWING if kind != "mistral_tekken"],
)
def test_the_tokens_are_those_of_later_releases(kind, within_tensorflow):
    plain = tiny_tokenizers.plain(kind)
    check(plain, TEXTS)
    check(keras_coconut.add_thought_tokens(plain), [*TEXTS, "a<|latent|>b"])


@pytest.mark.parametrize("kind", ["gpt2", "llama3"])
def test_a_split(kind, within_tensorflow):
    """Merges stay within the pieces, in this KerasHub as in later ones."""
    plain = tiny_tokenizers.plain(kind)
    cls = SplitGPT2Tokenizer if kind == "gpt2" else SplitLlama3Tokenizer
    split = cls(
        plain.vocabulary,
        plain.merges,
        split='{"type": "Sequence", "pretokenizers": ['
        '{"type": "Digits", "individual_digits": true}, '
        f"{byte_pairs.WHOLE}]}}",
    )
    one, two = (plain.token_to_id(digit) for digit in "12")
    assert byte_pairs.tokenize(split, ["12"]) == [[one, two]]
    assert len(byte_pairs.tokenize(plain, ["12"])[0]) == 1
    check(split, TEXTS)
    check(keras_coconut.add_thought_tokens(split), [*TEXTS, "a<|latent|>b"])


def test_words_with_spaces(within_tensorflow):
    check(
        make_word_tokenizer([" +", "start 1", "start 11"]),
        ["start 11 + 1", "start 1 +", " + +", "start 1  x"],
    )


def test_another_vocabulary_of_the_same_tokenizer(within_tensorflow):
    tokenizer = tiny_tokenizers.KINDS["gpt2"]()
    check(tokenizer, TEXTS)
    reversed_ids = dict(
        zip(tokenizer.vocabulary, reversed(tokenizer.vocabulary.values()))
    )
    tokenizer.set_vocabulary_and_merges(reversed_ids, tokenizer.merges)
    check(tokenizer, TEXTS)
