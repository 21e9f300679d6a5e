"""Thoughts given from outside: replayed, replaced, left out."""

import numpy as np
import pytest
import tiny

from keras_coconut.evaluation import controls
from keras_coconut.evaluation.problems import evaluate_problems

QUESTIONS = [problem.question for problem in tiny.problems(7)]


def test_a_models_own_thoughts_replayed_change_nothing(text_model):
    counts = [3, 0, 1, 2, 3, 3, 1]
    thoughts = text_model.think(QUESTIONS, counts)
    options = dict(num_thoughts=counts, max_length=6, stop_token_ids=None)
    own = text_model.generate_tokens(QUESTIONS, **options)
    for batch_size in (3, 32):
        replayed = text_model.generate_tokens(
            QUESTIONS, thoughts=thoughts, batch_size=batch_size, **options
        )
        assert replayed == own
    other = text_model.generate_tokens(
        QUESTIONS, thoughts=-3 * thoughts, **options
    )
    assert other != own
    assert other[1] == own[1]  # It does not think, so nothing is replaced.


def test_thoughts_in_a_dictionary(text_model):
    x = text_model.preprocessor.generate_preprocess(QUESTIONS, 2)
    x["response_ids"] = np.full(
        (7, 1), text_model.preprocessor.end_of_thought_id
    )
    options = dict(max_length=4, stop_token_ids=None)
    own = text_model.generate(x, **options)
    thoughts = text_model.think(QUESTIONS, 2)
    replayed = text_model.generate(x, thoughts=thoughts, **options)
    np.testing.assert_array_equal(replayed["response_ids"], own["response_ids"])
    with pytest.raises(ValueError, match=r"thoughts.*7, 2, 16.*7, 1, 16"):
        text_model.generate(x, thoughts=thoughts[:, :1], **options)
    with pytest.raises(ValueError, match=r"thoughts.*7, at least 2, 16"):
        text_model.generate(QUESTIONS, num_thoughts=2, thoughts=thoughts[:3])


def test_what_replaces_thoughts():
    thoughts = np.random.default_rng(0).normal(3, 1, (9, 2, 5))
    found = controls.replace_thoughts(thoughts, seed=1)
    assert {"none", *found} == set(controls.CONTROLS)
    np.testing.assert_allclose(
        np.linalg.norm(found["noise"], axis=-1),
        np.linalg.norm(thoughts, axis=-1),
    )
    assert abs(np.mean(found["noise"])) < 1  # The thoughts' mean is 3.
    givers = [
        int(np.argmin(np.abs(thoughts - row).sum(axis=(1, 2))))
        for row in found["other"]
    ]
    assert sorted(givers) == list(range(9))
    assert all(giver != row for row, giver in enumerate(givers))
    np.testing.assert_array_equal(found["other"], thoughts[givers])
    np.testing.assert_allclose(found["mean"][4, 1], thoughts[:, 1].mean(axis=0))


def test_controls_of_a_model(text_model):
    problems = tiny.problems(6)
    text_model.num_thoughts = 2
    found = controls.evaluate_controls(text_model, problems, max_length=5)
    assert set(found) == set(controls.CONTROLS)
    none = evaluate_problems(text_model, problems, 0, max_length=5)
    assert found["none"].predictions == none.predictions
    answers = {name: entry.predictions for name, entry in found.items()}
    assert len(set(answers.values())) > 1
    assert not controls.evaluate_controls(text_model, problems, 0)
    text_model.thought_kind = "pause"
    found = controls.evaluate_controls(text_model, problems, max_length=5)
    assert set(found) == {"none"}
    with pytest.raises(ValueError, match="at least two problems.*1"):
        controls.evaluate_controls(text_model, problems[:1])
