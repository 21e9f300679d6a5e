"""A vocabulary of bytes and words."""

import keras_hub
import pytest
import tiny

from keras_coconut.text.word_tokenizer import make_word_tokenizer


def test_words_are_one_token_and_the_rest_bytes():
    tokenizer = make_word_tokenizer([", +4", "start 1", "start 11", "### "])
    assert len(tokenizer("start 11, +4")) == 2
    assert len(tokenizer("start 1, +4, +5")) == 2 + 4
    assert len(tokenizer("### é  ")) == 1 + 2 + 1


@pytest.mark.parametrize(
    "text", ["start 11, +4\n### é  x", "a\n\nb", "日本, +4  , +", " "]
)
def test_there_and_back(text):
    tokenizer = make_word_tokenizer([", +4", "start 1", "start 11", "### "])
    assert tokenizer.detokenize(tokenizer(text)) == text


def test_saved_and_loaded(tmp_path):
    tokenizer = make_word_tokenizer([", +4", "### "])
    tokenizer.save_to_preset(str(tmp_path))
    tiny.text_model().backbone.save_to_preset(str(tmp_path))
    again = keras_hub.tokenizers.GPT2Tokenizer.from_preset(str(tmp_path))
    text = "### 1, +4<|end-latent|>\n"
    assert again([text]) == tokenizer([text])
    assert len(again(text)) == 5


@pytest.mark.parametrize("words", [[""], [3], ["a", None]])
def test_bad_words(words):
    with pytest.raises(ValueError, match="must be a string"):
        make_word_tokenizer(words)
