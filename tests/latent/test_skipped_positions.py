"""Positions that stay empty between a question and what follows it."""

import families
import numpy as np
import pytest
import tiny
from keras import ops

import keras_coconut
from keras_coconut.text import batches

ROWS = [([3, 1, 4, 1, 5], 2, [9, 2, 6]), ([2, 7], 3, [8, 1]), ([5], 0, [4])]


def with_padding(backbone, rows, length):
    """KerasHub's own pass, with hidden tokens in the empty positions.

    Returns the logits (B, length, V), a row's from its first position on.
    """
    ids = np.full((len(rows), length), 11, "int32")
    mask = np.zeros((len(rows), length), "int32")
    for row, (question, skipped, response) in enumerate(rows):
        start = len(question) + skipped
        for at, tokens in ((0, question), (start, response)):
            ids[row, at : at + len(tokens)] = tokens
            mask[row, at : at + len(tokens)] = 1
    hidden = backbone({"token_ids": ids, "padding_mask": mask})
    logits = backbone.token_embedding(hidden, reverse=True)
    return ops.convert_to_numpy(logits)


def batch(rows, counts=0):
    x = batches.pack_questions([row[0] for row in rows], [counts] * len(rows))
    x["skipped_positions"] = np.array([row[1] for row in rows], "int32")
    return {**x, **batches.pack_responses([row[2] for row in rows])}


@pytest.mark.parametrize("family", ["opt", "mistral"])
def test_nothing_is_seen_in_them(family):
    """Learned positions; rotary ones, with a window that counts them."""
    backbone = families.make(family)
    model = keras_coconut.ContinuousThoughtLM(backbone)
    found = tiny.logits(model, batch(ROWS))
    expected = with_padding(backbone, ROWS, 12)
    at_once = tiny.logits(model, batch([(q, 0, r) for q, _, r in ROWS]))
    for row, (question, skipped, response) in enumerate(ROWS):
        start, count = len(question) + skipped, len(response)
        own = found[row, :count]
        np.testing.assert_allclose(
            own, expected[row, start : start + count], atol=2e-5
        )
        # Else nothing would depend on where the response stands.
        moved = np.abs(own - at_once[row, :count]).max()
        assert moved > 1e-3 if skipped else moved < 1e-5


@pytest.mark.parametrize(
    "markers", [True, pytest.param(False, marks=pytest.mark.thorough)]
)
def test_generation(markers):
    """Token by token, each from a pass over all that came before."""
    model = tiny.compiled(tiny.text_model(1, markers=markers, seed=1))
    questions = [problem.question for problem in tiny.problems(5)]
    skipped = [0, 3, 1, 7, 2]
    options = dict(num_thoughts=0, max_length=4, stop_token_ids=None)
    found = model.generate_tokens(
        questions, skipped_positions=skipped, batch_size=2, **options
    )
    assert found != model.generate_tokens(questions, **options)
    ids = model.preprocessor.tokenize_questions(questions)
    first = [model.preprocessor.end_of_thought_id] if markers else []
    rows = [(q, s, list(first)) for q, s in zip(ids, skipped)]
    for _ in range(4):
        logits = with_padding(model.backbone, rows, 64)
        for row, (question, empty, response) in enumerate(rows):
            last = len(question) + empty + len(response) - 1
            if not response:  # The question's last token speaks.
                last = len(question) - 1
            response.append(int(np.argmax(logits[row, last])))
    assert found == [response[len(first) :] for _, _, response in rows]
    # As a dictionary, and as several samples of a question.
    x = model.preprocessor.generate_preprocess(questions, 0)
    x["skipped_positions"] = np.array(skipped)
    x["response_ids"] = np.full(
        (5, 1), model.preprocessor.end_of_thought_id, "int32"
    )
    answers = model.generate(x, max_length=4, stop_token_ids=None)
    assert answers["response_ids"][:, 1:].tolist() == found


def test_thoughts_come_after_them(text_model):
    """As the thoughts of a question that ends so much later."""
    x = text_model.preprocessor.generate_preprocess(["start 3, +4"], 2)
    plain = np.array(text_model.predict_thoughts(x))
    skipping = {**x, "skipped_positions": np.array([4], "int32")}
    moved = ops.convert_to_numpy(text_model.think(skipping))
    np.testing.assert_allclose(moved[:, 0], plain[:, 0], atol=1e-5)
    assert np.abs(moved[:, 1] - plain[:, 1]).max() > 1e-3


@pytest.mark.parametrize(
    ("skipped", "message"),
    [
        ([1, 2], "`skipped_positions` must be"),
        ([1, -2, 0], "`skipped_positions` must be"),
        ([0.5, 1, 1], "`skipped_positions` must be"),
        ([1, 63, 1], "maximum length of 64"),
    ],
)
def test_what_cannot_be_skipped(text_model, skipped, message):
    x = {**batch(ROWS), "skipped_positions": np.array(skipped)}
    with pytest.raises(ValueError, match=message):
        text_model(x)
    questions = ["start 3, +4"] * 3
    with pytest.raises(ValueError, match=message):
        text_model.generate_tokens(
            questions, num_thoughts=0, skipped_positions=skipped
        )
