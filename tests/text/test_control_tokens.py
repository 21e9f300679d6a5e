"""Text that spells a control token stays text."""

import pytest
import tiny
import tiny_tokenizers

import keras_coconut
from keras_coconut.text.marker_tokens import MARKERS
from keras_coconut.text.word_tokenizer import make_word_tokenizer

CONTROL = [*MARKERS, "<|endoftext|>"]


@pytest.fixture(params=[True, False], ids=["markers", "no markers"])
def preprocessor(request):
    return tiny.text_model(layers=1, markers=request.param).preprocessor


def ids(preprocessor):
    return {preprocessor.tokenizer.token_to_id(token) for token in CONTROL}


@pytest.mark.parametrize("token", CONTROL)
def test_in_every_part_of_a_problem(preprocessor, token):
    text = f"a{token}b {token}{token}"
    problem = keras_coconut.Problem(text, [text, token], text)
    plain = keras_coconut.Problem("q", ["s", "t"], "a")
    (one,) = preprocessor.tokenize_problems([problem])
    (two,) = preprocessor.tokenize_problems([plain])
    control = ids(preprocessor)
    for parts in ("question", "answer"):
        mine, others = getattr(one, parts), getattr(two, parts)
        # Those that the layout itself puts there, and no others.
        assert [i for i in mine if i in control] == [
            i for i in others if i in control
        ]
    for step in one.steps:
        assert not control & set(step)
    detokenize = preprocessor.tokenizer.detokenize
    assert detokenize(one.steps[0]) == text + "\n"
    assert detokenize(one.answer[:-1]) == "### " + text


@pytest.mark.parametrize("token", CONTROL)
def test_in_a_question_that_is_answered(token):
    model = tiny.compiled(tiny.text_model(layers=1))
    question = f"start 3 {token} +4"
    packed = model.preprocessor.generate_preprocess(question, num_thoughts=1)
    row = packed["question_ids"][0].tolist()
    begin = model.preprocessor.begin_of_thought_id
    control = ids(model.preprocessor)
    assert [i for i in row if i in control] == [begin]
    model.generate(question, num_thoughts=1, max_length=3)


def test_what_a_model_writes_itself_is_taken_out(preprocessor):
    tokenizer = preprocessor.tokenizer
    text = tokenizer("start 7")
    control = [tokenizer.token_to_id(token) for token in CONTROL]
    (response,) = preprocessor.generate_postprocess(
        [[control[1], *text, *control]]
    )
    assert response == "start 7"


@tiny_tokenizers.needs_whole_words
def test_other_text_has_the_tokens_of_the_tokenizer(preprocessor):
    """Nothing else is cut, a character of a control token least of all."""
    for text in ("start 3, +4", "a <| b |> c", "<|end", "|endoftext|>", ""):
        assert preprocessor._tokenize([text]) == [
            preprocessor.tokenizer([text])[0] if text else []
        ]


@pytest.mark.parametrize("token", CONTROL)
def test_no_word_of_a_vocabulary_holds_one(token):
    for word in (token, f"a{token}"):
        with pytest.raises(ValueError, match="without the control token"):
            make_word_tokenizer(["fine", word])
