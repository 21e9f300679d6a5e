"""Votes and pass@k, against counting by hand."""

import itertools
import json

import numpy as np
import pytest
import tiny

import keras_coconut
from keras_coconut.evaluation import samples
from keras_coconut.evaluation.samples import (
    evaluate_samples,
    majority_vote,
    pass_at_k,
)


@pytest.mark.any_backend
@pytest.mark.parametrize("num_samples", [1, 2, 5])
def test_pass_at_k_counts_all_choices(num_samples):
    for num_correct in range(num_samples + 1):
        right = [True] * num_correct + [False] * (num_samples - num_correct)
        for k in range(1, num_samples + 1):
            choices = list(itertools.combinations(right, k))
            share = sum(map(any, choices)) / len(choices)
            found = pass_at_k(num_samples, num_correct, k)
            assert found == pytest.approx(share, abs=1e-12)


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("responses", "vote"),
    [
        (["### 3"], "3"),
        (["a### 3", "b### 1,000", "### 1000 "], "1000"),
        # The first of those that are as frequent.
        (["### 2", "### 1", "### 1", "### 2"], "2"),
        (["#", "#", "### 1"], "1"),
        (["#", ""], ""),
        (["no mark"], "no mark"),
    ],
)
def test_votes(responses, vote):
    assert majority_vote(responses) == vote
    assert majority_vote(tuple(responses)) == vote


def test_figures_follow_from_the_responses(monkeypatch):
    model = tiny.compiled(tiny.text_model(layers=1))
    problems = [
        keras_coconut.Problem(f"{n}?", ["s"], answer)
        for n, answer in enumerate(["1", "2", "3"])
    ]
    written = [
        ["### 1", "### 2", "### 1", "### 1"],
        ["### 1", "### 2", "### 3", "### 1"],
        ["### 4", "### 4", "### 5", "### 5"],
    ]
    tokenizer = model.preprocessor.tokenizer
    end = tokenizer.end_token_id
    asked = []

    def generate_tokens(model, inputs, num_thoughts, thoughts, settings):
        asked.append((list(inputs), num_thoughts, settings.draws))
        for number, text in enumerate(itertools.chain(*written)):
            tokens = [*np.asarray(tokenizer(text)).tolist(), end]
            settings.journal.add(number, tokens)
            settings.on_response(number // 4, tokens)

    monkeypatch.setattr(samples, "generate_tokens", generate_tokens)
    found = evaluate_samples(
        model,
        problems,
        num_samples=4,
        num_thoughts=[2, 3, 1],
        thought_noise=0.5,
        seed=3,
        verbose=0,
    )
    ((inputs, num_thoughts, draws),) = asked
    assert inputs == ["0?", "1?", "2?"]
    assert draws.num_samples == 4 and draws.seed == 3
    assert num_thoughts == [2, 3, 1]
    assert found.predictions == tuple(map(tuple, written))
    assert found.correct == (
        (True, False, True, True),
        (False, True, False, False),
        (False,) * 4,
    )
    assert found.votes == ("1", "1", "4")
    assert found.accuracy == pytest.approx(4 / 12)
    assert found.majority_accuracy == pytest.approx(1 / 3)
    assert list(found.pass_at_k) == [1, 2, 4]
    assert found.pass_at_k[1] == pytest.approx(4 / 12)
    assert found.pass_at_k[2] == pytest.approx((1 + 1 / 2) / 3)
    assert found.pass_at_k[4] == pytest.approx(2 / 3)
    lengths = [len(np.asarray(tokenizer(t))) for of in written for t in of]
    # A thought counts as a token of each response.
    assert found.tokens_generated == pytest.approx(np.mean(lengths) + 6 / 3)
    assert json.loads(json.dumps(found.to_dict()))["votes"] == ["1", "1", "4"]


def test_a_model_that_draws():
    model = tiny.compiled(tiny.text_model(layers=1))
    options = dict(num_thoughts=1, max_length=4, thought_noise=2.0, verbose=0)
    found = evaluate_samples(
        model, tiny.problems(3), num_samples=3, ks=[3, 1], seed=0, **options
    )
    assert list(found.pass_at_k) == [1, 3]
    assert [len(of) for of in found.predictions] == [3, 3, 3]
    questions = [problem.question for problem in tiny.problems(3)]
    del options["verbose"]
    assert found.predictions == tuple(
        map(tuple, model.generate(questions, num_samples=3, seed=0, **options))
    )
    with pytest.raises(ValueError, match="`num_samples` needs something"):
        evaluate_samples(
            model, tiny.problems(3), num_samples=3, num_thoughts=1, verbose=0
        )
