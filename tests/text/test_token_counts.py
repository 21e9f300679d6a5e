"""Tokens before a place in a text, which are read as a response is."""

import keras_hub
import pytest
import tiny_tokenizers

import keras_coconut
from keras_coconut.text.token_counts import count_tokens

pytestmark = pytest.mark.any_backend


def test_lines_are_tokenized_separately():
    """As those of a response, also where a token could hold both ends."""
    tokens = ["!", "<|endoftext|>", "a", "b", "Ċ", "ĊĊ", "<"]
    tokenizer = keras_hub.models.GPT2Tokenizer(
        {token: index for index, token in enumerate(tokens)}, ["Ċ Ċ"]
    )
    preprocessor = keras_coconut.ContinuousThoughtPreprocessor(
        keras_coconut.add_thought_tokens(tokenizer)
    )
    texts = ["a\n\nb", "ab"]
    ids, counts = count_tokens(preprocessor, texts, [[2, 0, 4], [1]])
    responses = preprocessor.tokenize_responses(texts)
    assert ids == [row[1:-1] for row in responses] == [[2, 4, 4, 3], [2, 3]]
    assert counts == [[2, 0, 4], [1]]
    # A question is one text.
    ids, _ = count_tokens(preprocessor, texts[:1], [[]], starts=True)
    assert ids == [[2, 5, 3]]
    with pytest.raises(ValueError, match="must not join .*: 'a.n' and"):
        count_tokens(preprocessor, texts[:1], [[2]], starts=True)


@pytest.mark.parametrize("kind", ["gpt2", "llama", "gemma", "llama3"])
def test_tokens_before_every_word(kind):
    """Decoded, they are the text before."""
    preprocessor = tiny_tokenizers.preprocessor(kind)
    text = "Every rorpus is a lorpus."
    places = [place for place, letter in enumerate(text) if letter == " "]
    (ids,), (counts,) = count_tokens(preprocessor, [text], [places])
    for place, count in zip(places, counts, strict=True):
        (before,) = preprocessor.generate_postprocess([ids[:count]])
        assert before == text[:place]
