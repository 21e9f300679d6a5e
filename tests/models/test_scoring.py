"""`score` against the slow model, KerasHub's own `score`, and the loss."""

import families
import keras
import keras_hub
import numpy as np
import pytest
import slow
import tiny
from keras import ops

import keras_coconut

ROWS = ["llama", pytest.param("opt", marks=pytest.mark.thorough)]


def to_numpy(x):
    return ops.convert_to_numpy(ops.cast(x, "float32"))


@pytest.fixture(scope="module")
def text():
    """A model, questions, and responses as their problems have them."""
    model = tiny.text_model(layers=1)
    problems = tiny.problems(3)
    responses = ["\n".join([*p.steps, f"### {p.answer}"]) for p in problems]
    return model, problems, [p.question for p in problems], responses


def test_losses_follow_from_the_logits(text):
    model, problems, _, _ = text
    x, y, weights = model.preprocessor(problems, num_thoughts=[2, 0, 1])
    logits = to_numpy(model.score(x))
    np.testing.assert_allclose(logits, tiny.logits(model, x), atol=1e-5)
    shifted = logits - logits.max(-1, keepdims=True)
    chances = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    expected = -np.take_along_axis(chances, y[..., None], -1)[..., 0] * weights
    found = to_numpy(model.score(x, scoring_mode="loss"))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_text_is_read_as_in_training(text):
    model, problems, questions, responses = text
    counts = [2, 0, 1]
    x, _, _ = model.preprocessor(problems, num_thoughts=counts)
    real = x["response_mask"].sum(axis=1)
    for row, ids in enumerate(model.preprocessor.tokenize_responses(responses)):
        assert ids == x["response_ids"][row, : real[row]].tolist()
    mode = dict(scoring_mode="loss")
    found = to_numpy(
        model.score(questions, responses, num_thoughts=counts, **mode)
    )
    np.testing.assert_allclose(
        found, to_numpy(model.score(x, **mode)), atol=1e-5
    )
    # Thoughts count.
    others = model.score(questions, responses, num_thoughts=[0, 1, 2], **mode)
    assert np.abs(to_numpy(others) - found).max(axis=1).min() > 1e-3


def test_pauses_are_read_where_the_models_thoughts_are_pauses(text):
    model, problems, questions, responses = text
    x, _, _ = model.preprocessor(problems, num_thoughts=2, thought_kind="pause")
    model.thought_kind = "pause"
    try:
        found = model.score(questions, responses, num_thoughts=2)
    finally:
        model.thought_kind = "continuous"
    np.testing.assert_allclose(
        to_numpy(found), tiny.logits(model, x), atol=1e-5
    )


@pytest.mark.thorough
def test_given_targets(text):
    model, problems, _, _ = text
    x, y, weights = model.preprocessor(problems, num_thoughts=1)
    target_ids = np.where(weights > 0, y, -100)
    target_ids[:, 1] = -100
    mode = dict(scoring_mode="loss")
    found = to_numpy(model.score(x, target_ids=target_ids, **mode))
    assert not found[:, 1].any()
    expected = to_numpy(model.score(x, **mode))
    expected[:, 1] = 0
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("family", ROWS)
def test_a_function_between_layers_changes_nothing_if_it_does_nothing(family):
    """And sees each span, slot by slot, and each layer."""
    backbone = families.make(family)
    model = keras_coconut.ContinuousThoughtLM(backbone)
    x, seen = families.batch(), []

    def look(activations, number):
        seen.append((tuple(activations.shape), number))
        return activations

    logits = to_numpy(model.score(x, layer_intercept_fn=look))
    expected, _ = slow.logits(backbone, families.rows(), families.LENGTH)
    expected = to_numpy(expected)
    for row, (question, count, response) in enumerate(families.rows()):
        start = len(question) + count
        np.testing.assert_allclose(
            logits[row, : len(response)],
            expected[row, start : start + len(response)],
            atol=1e-4,
        )
    hidden = backbone.hidden_dim
    numbers = range(-1, len(backbone.transformer_layers))
    assert seen == [
        ((3, length, hidden), number)
        for length in (11, *[1] * 4, 7)
        for number in numbers
    ]


def test_a_function_between_layers_is_that_of_kerashub(record):
    """Without thoughts, KerasHub's own `score` computes the same."""
    backbone = tiny.parity_backbone(record)
    x, _, _ = tiny.parity_batch(record)
    row = {
        "question_ids": x["question_ids"][:1],
        "question_mask": np.ones_like(x["question_mask"][:1]),
        "thought_mask": np.zeros((1, 0), "int32"),
        "response_ids": x["response_ids"][:1],
        "response_mask": np.ones_like(x["response_mask"][:1]),
    }
    ids = np.concatenate([row["question_ids"], row["response_ids"]], axis=1)

    def change(activations, number):
        return activations * (1.5 + 0.1 * number)

    theirs = keras_hub.models.GPT2CausalLM(backbone).score(
        ops.convert_to_tensor(ids), layer_intercept_fn=change
    )
    model = keras_coconut.ContinuousThoughtLM(backbone)
    ours = model.score(row, layer_intercept_fn=change)
    length = row["response_ids"].shape[1]
    np.testing.assert_allclose(
        to_numpy(ours), to_numpy(theirs)[:, -length:], atol=1e-4
    )
    plain = to_numpy(model.score(row))
    assert np.abs(plain - to_numpy(ours)).max() > 1e-2


@pytest.mark.thorough
def test_gradients_flow_through_it(text):
    """To what enters the first layer, as KerasHub's example takes them."""
    model, problems, _, _ = text
    x, _, _ = model.preprocessor(problems[:1], num_thoughts=2)
    variable = model.backbone.token_embedding.embeddings
    (found,) = slow.gradients(
        lambda: ops.sum(model.score(x, scoring_mode="loss")), [variable]
    )[1]
    (through,) = slow.gradients(
        lambda: ops.sum(
            model.score(
                x, scoring_mode="loss", layer_intercept_fn=lambda a, i: a
            )
        ),
        [variable],
    )[1]
    np.testing.assert_allclose(found, through, atol=1e-4)
    assert np.abs(found).max() > 1e-2


def test_refusals(text):
    model, problems, questions, responses = text
    x, y, _ = model.preprocessor(problems, num_thoughts=1)
    thoughts = dict(num_thoughts=1)
    for match, given in {
        "`responses` must hold one for each": (questions, responses[:2]),
        "`responses` must be a string": (questions, None),
        "`responses` must be left out": (x, responses),
    }.items():
        more = {} if given[0] is x else thoughts
        with pytest.raises(ValueError, match=match):
            model.score(*given, **more)
    for match, named in {
        "`target_ids` must be left out unless `scoring_mode": dict(
            target_ids=y
        ),
        "`num_thoughts` must be left out": dict(num_thoughts=1),
        "`y` must lie within": dict(target_ids=y + 999, scoring_mode="loss"),
        "`layer_intercept_fn` must be a function that returns a tensor": dict(
            layer_intercept_fn=lambda activations, number: activations[:, :1]
        ),
    }.items():
        with pytest.raises(ValueError, match=match):
            model.score(x, **named)
    with pytest.raises(ValueError, match="unless `inputs` is a dictionary"):
        model.score(
            questions, responses, target_ids=y, scoring_mode="loss", **thoughts
        )


def test_half_precision_scores_in_float32():
    model = tiny.text_model(layers=1, dtype="mixed_bfloat16")
    x, _, _ = model.preprocessor(tiny.problems(2), num_thoughts=1)
    losses = model.score(x, scoring_mode="loss")
    assert keras.backend.standardize_dtype(losses.dtype) == "float32"
