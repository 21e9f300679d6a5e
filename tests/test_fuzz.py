"""Property tests of batches, text and generation."""

import functools
import itertools
import math

import keras
import numpy as np
import pytest
import tiny
from fuzzing import ANYTHING, FUZZ, TEXT, is_count, refused
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_coconut import Problem
from keras_coconut.text import batches

BACKEND = keras.config.backend()
# Where each example compiles something, or may do so.
FEW = 25
# Of one shape, so that little is compiled.
ROWS, LENGTH, SLOTS, ROOM = 3, 8, 2, 6


@pytest.fixture(scope="module")
def model():
    # The learning rate is 0: a step that is taken changes no weight.
    return tiny.compiled(tiny.text_model(layers=1), keras.optimizers.SGD(0.0))


# === Batches ===


@st.composite
def drawn_batches(draw):
    """Rows of lengths of their own, with ids in their padding too."""
    ids = st.integers(0, 265)

    def row(size):
        return draw(st.lists(ids, min_size=size, max_size=size))

    lengths = [
        [draw(st.integers(low, most)) for _ in range(ROWS)]
        for low, most in ((1, LENGTH), (0, SLOTS), (1, ROOM))
    ]
    questions, thoughts, responses = map(np.array, lengths)
    at = np.arange(LENGTH)[None]
    x = {
        "question_ids": [row(LENGTH) for _ in range(ROWS)],
        "question_mask": at >= LENGTH - questions[:, None],
        "thought_mask": at[:, :SLOTS] < thoughts[:, None],
        "response_ids": [row(ROOM) for _ in range(ROWS)],
        "response_mask": at[:, :ROOM] < responses[:, None],
    }
    return {key: np.asarray(value, "int32") for key, value in x.items()}


@settings(max_examples=60, **FUZZ)
@given(drawn_batches(), st.integers(0, 265))
def test_what_stands_in_the_padding_changes_nothing(model, x, other):
    logits = model.predict_on_batch(x)
    changed = {
        key: np.where(x[key[:-3] + "mask"], value, other).astype("int32")
        if key.endswith("_ids")
        else value
        for key, value in x.items()
    }
    again = model.predict_on_batch(changed)
    real = x["response_mask"] > 0
    assert np.isfinite(logits).all()
    np.testing.assert_allclose(logits[real], again[real], atol=1e-5)


DAMAGE = {
    "ids": st.tuples(
        st.sampled_from([k for k in batches.KEYS if k.endswith("ids")]),
        st.sampled_from([-1, 266, 10**6]),
    ),
    "masks": st.tuples(
        st.sampled_from([k for k in batches.KEYS if k.endswith("mask")]),
        st.sampled_from([-1, 2, 0, 1]),
    ),
}


# A batch that is taken runs eagerly as well, which compilers are slow at.
@settings(max_examples=60 if BACKEND == "torch" else 15, **FUZZ)
@given(
    drawn_batches(),
    st.none() | DAMAGE["ids"] | DAMAGE["masks"],
    st.integers(0, ROWS - 1),
    st.integers(0, SLOTS - 1),
)
def test_no_way_in_takes_what_another_refuses(model, x, damage, row, column):
    if damage is not None:
        key, value = damage
        x[key] = x[key].copy()
        x[key][row, column] = value
    before = model.get_weights()
    ways = (
        model.check_data,
        model,
        model.predict_on_batch,
        model.test_on_batch,
        model.train_on_batch,
    )
    errors = {refused(way, x) for way in ways}
    # The same error too.
    assert len(errors) == 1
    question = {key: x[key] for key in batches.QUESTION_KEYS}
    error = refused(model.think, question)
    if damage is not None and damage[0] in batches.QUESTION_KEYS:
        assert {error} == errors
    else:
        assert error is None
    for old, new in zip(before, model.get_weights()):
        np.testing.assert_array_equal(old, new)


# === Text ===


def encodes(text):
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@pytest.mark.any_backend
@settings(max_examples=2_000, **FUZZ)
@given(TEXT, st.lists(TEXT, max_size=2), TEXT)
def test_any_text_comes_back_from_its_tokens(model, question, steps, answer):
    preprocessor = model.preprocessor
    asked = refused(preprocessor.generate_preprocess, question)
    assert (asked is None) == (encodes(question) and bool(question.strip()))
    error = refused(Problem, question, steps, answer)
    assert (error is None) == (
        asked is None and all(map(encodes, [*steps, answer]))
    )
    if error is not None:
        return
    (found,) = preprocessor.tokenize_problems(
        [Problem(question, steps, answer)]
    )
    detokenize = preprocessor.tokenizer.detokenize
    assert detokenize(found.question[:-1]) == question + "\n"
    assert [detokenize(step) for step in found.steps] == [
        step + "\n" for step in steps
    ]
    response = list(itertools.chain(*found.steps, found.answer))
    (written,) = preprocessor.generate_postprocess([response])
    assert written == "".join(s + "\n" for s in steps) + f"### {answer}"
    # No text steers: the only control tokens are the layout's own.
    control = {*map(preprocessor.tokenizer.token_to_id, preprocessor._control)}
    assert not control & {*found.question[:-1], *response[:-1]}


# === Generation ===

QUESTIONS = ("1?", "start 3, +4", "22 + 3 - 4 * 5 - 6 = ?")


@settings(max_examples=FEW, **FUZZ)
@given(
    st.lists(
        st.tuples(st.sampled_from(QUESTIONS), st.sampled_from([0, 2])),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from([1, 4]),
    st.sampled_from(["auto", (47, 48, 49, 50)]),
    st.sampled_from([1, 2]),
    st.sampled_from([list, tuple, np.array]),
)
def test_a_row_in_a_batch_is_the_row_alone(
    model, rows, max_length, stops, batch_size, kind
):
    questions, counts = zip(*rows)
    found = model.generate_tokens(
        list(questions),
        max_length,
        num_thoughts=kind(counts),
        stop_token_ids=stops,
        batch_size=batch_size,
    )
    for (question, count), response in zip(rows, found):
        assert response == alone(model, question, count, max_length, stops)
        assert 1 <= len(response) <= max_length


@functools.cache
def alone(model, question, count, max_length, stops):
    (found,) = model.generate_tokens(
        question, max_length, num_thoughts=count, stop_token_ids=stops
    )
    return found


@pytest.mark.thorough
@settings(max_examples=200, **FUZZ)
@given(st.integers(0, 3), ANYTHING)
def test_generate_takes_counts_and_nothing_else(model, which, value):
    longest = model.backbone.max_sequence_length
    one = value[0] if isinstance(value, list) and len(value) == 1 else value
    tokens = isinstance(value, list) and all(is_count(one) for one in value)
    name, good = [
        ("num_thoughts", value is None or is_count(one, most=longest - 8)),
        ("max_length", value is None or is_count(value, 1, longest - 8)),
        ("stop_token_ids", value is None or tokens),
        ("batch_size", is_count(value, 1, math.inf)),
    ][which]
    if good and name in ("max_length", "stop_token_ids"):
        return  # Compiled for each; those above are tried already.
    model.num_thoughts = 0
    arguments = {"inputs": QUESTIONS[:1], "max_length": 1, name: value}
    error = refused(model.generate, **arguments)
    assert (error is None) == good
    assert good or f"`{name}" in error
