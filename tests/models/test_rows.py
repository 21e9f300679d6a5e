"""A row means the same alone, in any batch, with any padding."""

import numpy as np
import pytest
import tiny
from keras import ops

from keras_coconut.curriculum import Layout
from keras_coconut.text import batches

QUESTIONS = [
    "start 3, +4, *2, -5",
    "start 1",
    "start 7, -2",
    "start 9, +9, +9, +9, +9",
]
COUNTS = [0, 1, 2, 3]


@pytest.fixture(
    params=[
        pytest.param(True, id="markers"),
        pytest.param(False, id="no markers", marks=pytest.mark.thorough),
    ]
)
def text_model(request):
    return tiny.text_model(markers=request.param)


def batch(model, rows, padding=0, idle=0, tail=0):
    """Rows of QUESTIONS that think COUNTS times, with room to spare."""
    problems = [tiny.problems()[row] for row in rows]
    preprocessor = model.preprocessor
    tokenized = preprocessor.tokenize_problems(problems)
    layouts = [Layout(0, COUNTS[row]) for row in rows]
    x, y, weights = preprocessor.pack(
        tokenized,
        layouts,
        question_length=padding + max(len(p.question) for p in tokenized),
        slots=idle + max(COUNTS[row] for row in rows),
        response_length=tail
        + max(p.lengths(Layout(0, 0))[2] for p in tokenized),
    )
    return x, y, weights


@pytest.mark.parametrize(
    "padding", [pytest.param(0, marks=pytest.mark.thorough), 7]
)
def test_logits_alone_and_together(text_model, padding):
    together, _, _ = batch(
        text_model, range(4), padding, idle=padding % 3, tail=padding
    )
    logits = tiny.logits(text_model, together)
    for row in range(4):
        alone, _, _ = batch(text_model, [row])
        expected = tiny.logits(text_model, alone)[0]
        length = int(alone["response_mask"].sum())
        np.testing.assert_allclose(
            logits[row, :length], expected[:length], atol=1e-5
        )


def test_a_row_equals_the_slow_obvious_version(text_model):
    """No cache and no padding: the whole sequence again for each thought."""
    backbone = text_model.backbone
    for row in range(4):
        x, _, _ = batch(text_model, [row])
        embed = backbone.token_embedding
        sequence = embed(ops.convert_to_tensor(x["question_ids"]))
        for _ in range(COUNTS[row]):
            hidden = run_embeddings(backbone, sequence)
            sequence = ops.concatenate([sequence, hidden[:, -1:]], axis=1)
        # Without markers nothing is read in the place of `<eot>`, and what
        # predicts the first token stands before the response.
        before = int(not text_model.markers)
        response = embed(ops.convert_to_tensor(x["response_ids"][:, before:]))
        hidden = run_embeddings(
            backbone, ops.concatenate([sequence, response], axis=1)
        )
        start = sequence.shape[1] - before
        expected = embed(hidden[:, start:], reverse=True)
        np.testing.assert_allclose(
            tiny.logits(text_model, x),
            ops.convert_to_numpy(expected),
            atol=1e-5,
        )


def run_embeddings(backbone, embeddings):
    """KerasHub's own layers over embeddings."""
    x = embeddings + backbone.position_embedding(embeddings)
    for layer in backbone.transformer_layers:
        x = layer(x)
    return backbone.layer_norm(x)


def test_thoughts_alone_and_together(text_model):
    together = np.asarray(text_model.think(QUESTIONS, COUNTS))
    assert together.shape == (4, 3, 16)
    for row, (question, count) in enumerate(zip(QUESTIONS, COUNTS)):
        alone = np.asarray(text_model.think(question, count))
        np.testing.assert_allclose(together[row, :count], alone[0], atol=1e-5)
        assert not together[row, count:].any()


def test_its_own_thoughts_given_back(text_model):
    x, _, _ = batch(text_model, range(4), idle=1)
    thoughts = ops.stop_gradient(text_model.think(x))
    given = {**x, "thoughts": ops.convert_to_numpy(thoughts)}
    np.testing.assert_allclose(
        tiny.logits(text_model, given), tiny.logits(text_model, x), atol=1e-5
    )


def test_tokens_alone_and_together(text_model):
    together = text_model.generate_tokens(
        QUESTIONS, max_length=9, num_thoughts=COUNTS
    )
    for question, count, tokens in zip(QUESTIONS, COUNTS, together):
        (alone,) = text_model.generate_tokens(
            [question], max_length=9, num_thoughts=count
        )
        assert tokens == alone
    in_pairs = text_model.generate_tokens(
        QUESTIONS, max_length=9, num_thoughts=COUNTS, batch_size=3
    )
    assert in_pairs == together


def test_generated_tokens_follow_the_logits(text_model):
    """Greedy tokens are those that `call` finds most likely, one by one."""
    text_model.num_thoughts = 2
    (tokens,) = text_model.generate_tokens(QUESTIONS[:1], max_length=7)
    x = text_model.preprocessor.generate_preprocess(QUESTIONS[:1], 2)
    response = [text_model.preprocessor.end_of_thought_id]
    for token in tokens:
        x.update(batches.pack_responses([response], response_length=8))
        logits = tiny.logits(text_model, x)
        assert logits[0, len(response) - 1].argmax() == token
        response.append(token)


def test_thoughts_matter(text_model):
    """Else the tests above could pass without any thought being read."""
    x, _, _ = batch(text_model, [3])
    logits = tiny.logits(text_model, x)
    x["thought_mask"] = x["thought_mask"][:, :2]
    fewer = tiny.logits(text_model, x)
    assert np.abs(logits - fewer).max() > 1e-3
