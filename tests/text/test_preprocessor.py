"""The published text layout, and back."""

import keras_hub
import numpy as np
import pytest
import tiny

import keras_coconut
from keras_coconut.text.marker_tokens import MARKERS
from keras_coconut.text.targets import targets
from keras_coconut.text.tokenization import decode

PROBLEM = keras_coconut.Problem("start 3, +4, *2, -5", ["7", "4", "9"], "9")


@pytest.fixture
def preprocessor(text_model):
    return text_model.preprocessor


def text_of(preprocessor, ids, mask):
    (text,) = decode(preprocessor.tokenizer, [ids[mask == 1].tolist()])
    return text


def test_layout(preprocessor):
    x, y, weights = preprocessor(PROBLEM, hidden_steps=1, num_thoughts=2)
    assert (
        text_of(preprocessor, x["question_ids"][0], x["question_mask"][0])
        == "start 3, +4, *2, -5\n<|start-latent|>"
    )
    assert (
        text_of(preprocessor, x["response_ids"][0], x["response_mask"][0])
        == "<|end-latent|>4\n9\n### 9<|endoftext|>"
    )
    assert x["thought_mask"].tolist() == [[1, 1]]
    length = x["response_ids"].shape[1]
    assert y[0, :-1].tolist() == x["response_ids"][0, 1:].tolist()
    assert weights.tolist() == [[1.0] * (length - 1) + [0.0]]


def test_layout_without_markers(preprocessor):
    plain = keras_coconut.ContinuousThoughtPreprocessor(
        preprocessor.tokenizer, markers=False
    )
    x, y, weights = plain(PROBLEM, hidden_steps=1, num_thoughts=2)
    assert (
        text_of(plain, x["question_ids"][0], x["question_mask"][0])
        == "start 3, +4, *2, -5\n"
    )
    # The end-of-thought token holds a place that predicts the first step.
    assert (
        text_of(plain, x["response_ids"][0], x["response_mask"][0])
        == "<|end-latent|>4\n9\n### 9<|endoftext|>"
    )
    assert plain.tokenizer.detokenize(y[0, :1]) == "4"
    assert weights[0, 0] == 1
    # And takes no position.
    length = int(sum(x[key].sum() for key in x if key.endswith("mask")))
    plain.sequence_length = length - 1
    plain(PROBLEM, hidden_steps=1, num_thoughts=2)
    plain.sequence_length = length - 2
    with pytest.raises(ValueError, match=f"with {length - 1} "):
        plain(PROBLEM, hidden_steps=1, num_thoughts=2)


def test_pauses_are_tokens_behind_the_question(preprocessor):
    x, _, _ = preprocessor(
        [PROBLEM, PROBLEM],
        hidden_steps=1,
        num_thoughts=[2, 0],
        thought_kind="pause",
    )
    texts = [
        text_of(preprocessor, ids, mask)
        for ids, mask in zip(x["question_ids"], x["question_mask"])
    ]
    question = "start 3, +4, *2, -5\n<|start-latent|>"
    assert texts == [question + "<|latent|><|latent|>", question]
    assert x["thought_mask"].shape == (2, 0)
    assert (
        text_of(preprocessor, x["response_ids"][0], x["response_mask"][0])
        == "<|end-latent|>4\n9\n### 9<|endoftext|>"
    )
    with pytest.raises(ValueError, match="continuous.*pause.*'word'"):
        preprocessor(PROBLEM, thought_kind="word")


def test_tokens_hidden_from_the_front(preprocessor):
    whole, _, _ = preprocessor(PROBLEM, hidden_steps=1)
    whole = whole["response_ids"][0].tolist()
    for hidden in range(6):
        x, _, _ = preprocessor(PROBLEM, hidden_steps=1, hidden_tokens=hidden)
        # "4", newline, "9", newline: four tokens that can be hidden.
        left = whole[:1] + whole[1 + min(hidden, 4) :]
        assert x["response_ids"][0].tolist() == left


def test_a_separator_of_ones_own(preprocessor):
    joined = keras_coconut.ContinuousThoughtPreprocessor(
        preprocessor.tokenizer, separator=""
    )
    x, _, _ = joined(PROBLEM)
    assert (
        text_of(joined, x["response_ids"][0], x["response_mask"][0])
        == "<|end-latent|>749### 9<|endoftext|>"
    )
    assert joined.get_config()["separator"] == ""


def test_padding(preprocessor):
    short = keras_coconut.Problem("start 3, +4", ["7"], "7")
    x, _, weights = preprocessor([PROBLEM, short], num_thoughts=[0, 2])
    assert np.all(np.diff(x["question_mask"], axis=1) >= 0)
    assert np.all(np.diff(x["response_mask"], axis=1) <= 0)
    assert x["thought_mask"].tolist() == [[0, 0], [1, 1]]
    assert x["question_ids"][1, -1] == preprocessor.begin_of_thought_id
    assert np.all(x["response_ids"][:, 0] == preprocessor.end_of_thought_id)
    expected = x["response_mask"].sum(axis=1) - 1
    assert weights.sum(axis=1).tolist() == expected.tolist()


def test_there_and_back(preprocessor):
    ids = preprocessor.tokenize_problems([PROBLEM])[0]
    flat = sum(ids.steps, []) + ids.answer
    assert preprocessor.generate_postprocess([flat, []]) == [
        "7\n4\n9\n### 9",
        "",
    ]


def test_hidden_steps_beyond_the_last(preprocessor):
    x, _, _ = preprocessor(PROBLEM, hidden_steps=9)
    assert (
        text_of(preprocessor, x["response_ids"][0], x["response_mask"][0])
        == "<|end-latent|>### 9<|endoftext|>"
    )


def test_too_long_names_the_problem(preprocessor):
    long = keras_coconut.Problem("start 3" + ", +4" * 30, ["7"], "7")
    with pytest.raises(ValueError, match="(?s)64 positions.*start 3.*question"):
        preprocessor(long)


@pytest.mark.parametrize("count", [-1, 0.5, [1, 2]])
def test_bad_counts(preprocessor, count):
    with pytest.raises(ValueError, match="num_thoughts"):
        preprocessor(PROBLEM, num_thoughts=count)


def test_a_string_is_no_problem(preprocessor):
    with pytest.raises(ValueError, match=r"`x\[0\]`.*question.*start 3"):
        preprocessor(["start 3"])


def test_a_vocabulary_without_markers():
    plain = keras_hub.tokenizers.GPT2Tokenizer(
        {"<|endoftext|>": 0, "a": 1, "b": 2, "ab": 3}, ["a b"]
    )
    with pytest.raises(ValueError, match="(?s)marker tokens.*start-latent"):
        keras_coconut.ContinuousThoughtPreprocessor(plain)
    vocabulary = {
        **plain.vocabulary,
        **{m: 4 + i for i, m in enumerate(MARKERS)},
    }
    split = keras_hub.tokenizers.GPT2Tokenizer(vocabulary, ["a b"])
    with pytest.raises(ValueError, match="unsplittable"):
        keras_coconut.ContinuousThoughtPreprocessor(split)


def test_targets_of_arrays_and_tensors_agree(preprocessor):
    from keras import ops

    x, y, weights = preprocessor(tiny.problems()[:5])
    labels, found = targets(
        {key: ops.convert_to_tensor(value) for key, value in x.items()}
    )
    assert np.array_equal(ops.convert_to_numpy(labels), y)
    assert np.array_equal(ops.convert_to_numpy(found), weights)


def test_config(preprocessor):
    again = type(preprocessor).from_config(preprocessor.get_config())
    again.tokenizer.set_vocabulary_and_merges(
        preprocessor.tokenizer.vocabulary, preprocessor.tokenizer.merges
    )
    assert again.sequence_length == 64
    assert (
        again(PROBLEM)[0]["question_ids"].tolist()
        == preprocessor(PROBLEM)[0]["question_ids"].tolist()
    )


def test_a_stock_preprocessor_is_refused(text_model):
    tokenizer = text_model.preprocessor.tokenizer
    stock = keras_hub.models.GPT2CausalLMPreprocessor(tokenizer)
    text_model.num_thoughts = 1
    named = "`preprocessor` must be.*GPT2CausalLMPreprocessor"
    with pytest.raises(ValueError, match=named):
        keras_coconut.CurriculumDataset(
            [PROBLEM], stock, keras_coconut.Curriculum(1)
        )
    with pytest.raises(ValueError, match=named):
        keras_coconut.ContinuousThoughtLM(text_model.backbone, stock)
    with pytest.raises(ValueError, match=named):
        text_model.preprocessor = stock
