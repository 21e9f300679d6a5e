"""Responses whose beginning is given."""

import keras_hub
import numpy as np
import pytest
import tiny

import keras_coconut
from keras_coconut.text.word_tokenizer import make_word_tokenizer

QUESTIONS = [problem.question for problem in tiny.problems(5)]


@pytest.mark.parametrize("markers", [True, False])
def test_the_rest_is_what_the_model_would_write(markers):
    """Token by token, from the scores of everything before."""
    model = tiny.compiled(tiny.text_model(1, markers=markers, seed=1))
    options = dict(num_thoughts=2, max_length=5, stop_token_ids=None)
    found = model.generate_tokens(
        QUESTIONS, response_start="### 7", batch_size=2, **options
    )
    free = model.generate_tokens(QUESTIONS, **options)
    start = model.preprocessor.tokenizer("### 7")
    assert all(tokens[: len(start)] == list(start) for tokens in found)
    assert found != free and all(len(tokens) == 5 for tokens in found)
    x = model.preprocessor.generate_preprocess(QUESTIONS, 2)
    x["response_ids"] = np.array(
        [[model.preprocessor.end_of_thought_id, *tokens] for tokens in found]
    )
    x["response_mask"] = np.ones_like(x["response_ids"])
    best = np.argmax(tiny.logits(model, x), axis=-1)[:, :-1]
    for tokens, expected in zip(found, best.tolist()):
        assert tokens[len(start) :] == expected[len(start) :]


@pytest.mark.any_backend
def test_a_space_belongs_to_either_token():
    for words in (("###", " Ann"), ("### ", "Ann")):
        preprocessor = keras_coconut.ContinuousThoughtPreprocessor(
            make_word_tokenizer(words)
        )
        backbone = keras_hub.models.GPT2Backbone(
            preprocessor.tokenizer.vocabulary_size(), 1, 1, 8, 8
        )
        model = keras_coconut.ContinuousThoughtLM(backbone, preprocessor)
        for start in ("###", "### "):
            (tokens,) = model.generate_tokens(
                "1?", 2, num_thoughts=0, response_start=start
            )
            assert tokens[0] == preprocessor.tokenizer.token_to_id(words[0])


@pytest.mark.any_backend
def test_a_start_needs_room(text_model):
    for start in (" ", 3, None):
        with pytest.raises(ValueError, match="`response_start` must be"):
            text_model.generate_tokens(
                "1?", num_thoughts=0, response_start=start
            )
    with pytest.raises(ValueError, match="`response_start` must leave room"):
        text_model.generate_tokens(
            "1?", 3, num_thoughts=0, response_start="12345"
        )


@pytest.mark.any_backend
def test_beams_cannot_begin_with_given_tokens(text_model):
    text_model.compile(sampler="beam")
    with pytest.raises(ValueError, match="`response_start` must be empty"):
        text_model.generate_tokens("1?", num_thoughts=0, response_start="###")
