"""A vocabulary of bytes and words."""

import keras_hub
import pytest
import tiny
import tiny_tokenizers

from keras_coconut.text.word_tokenizer import make_word_tokenizer, problem_words

pytestmark = pytest.mark.any_backend


@tiny_tokenizers.needs_whole_words
def test_words_are_one_token_and_the_rest_bytes():
    tokenizer = make_word_tokenizer([", +4", "start 1", "start 11", "### "])
    assert len(tokenizer("start 11, +4")) == 2
    assert len(tokenizer("start 1, +4, +5")) == 2 + 4
    assert len(tokenizer("### é  ")) == 1 + 2 + 1


@tiny_tokenizers.needs_whole_words
@pytest.mark.parametrize(
    "text", ["start 11, +4\n### é  x", "a\n\nb", "日本, +4  , +", " "]
)
def test_there_and_back(text):
    tokenizer = make_word_tokenizer([", +4", "start 1", "start 11", "### "])
    assert tokenizer.detokenize(tokenizer(text)) == text


@tiny_tokenizers.needs_whole_words
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


@tiny_tokenizers.needs_whole_words
def test_the_words_of_problems():
    problems = [
        {"question": "Is Tom 12?", "steps": ["Tom is 1_2."], "answer": "No, 3"},
        {"question": "Is Tom?", "steps": [], "answer": "naïve"},
    ]
    words = problem_words(problems)
    # The most frequent first, and what is as frequent by the alphabet.
    assert words[:6] == ["###", " 1", " Tom", "2", "?", "Is"]
    assert set(words) == {
        *("###", " Tom", "2", "?", "Is", " 1", ".", ",", " 3", " No"),
        *("Tom", " is", "_", " naïve"),
    }
    assert problem_words(problems, most=2) == ["###", " 1"]
    tokenizer = make_word_tokenizer(words)
    ids = [int(token) for token in tokenizer("Is Tom 12?")]
    assert [tokenizer.id_to_token(i).replace("Ġ", " ") for i in ids] == [
        *("Is", " Tom", " 1", "2", "?"),
    ]
    with pytest.raises(ValueError, match="`problems` must hold at least one"):
        problem_words([])
