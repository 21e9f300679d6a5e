"""Answers before and after an edge is moved, of models that are known."""

import json

import pytest
import tiny

from keras_coconut import (
    evaluate_counterfactuals,
    load_prosqa,
    make_counterfactuals,
    mcnemar,
)
from keras_coconut.evaluation.figures import extract_answer


class Answers:
    """Takes the place of a model's `generate_tokens`: says what it is told."""

    def __init__(self, model, answer):
        self.answer = answer
        self.asked = []
        self.tokenizer = model.preprocessor.tokenizer
        model.__dict__["generate_tokens"] = self

    def __call__(self, questions, on_response=None, **options):
        generated = []
        for index, question in enumerate(questions):
            self.asked.append(question)
            (tokens,) = self.tokenizer([f"### {self.answer(question)}"])
            generated.append([*tokens, self.tokenizer.end_token_id])
            on_response(index, generated[-1])
        return generated


@pytest.fixture(scope="module")
def made():
    problems = load_prosqa(
        train=20,
        validation=0,
        test=0,
        num_nodes=16,
        max_steps=4,
        symbolic=True,
    ).train
    return make_counterfactuals(problems, num_pairs=8)


@pytest.fixture
def model():
    """Long enough for the graphs."""
    return tiny.compiled(tiny.text_model(longest=512))


def by_search(made):
    return {
        problem.question: problem.answer
        for pair in made.pairs
        for problem in (pair.problem, pair.changed, pair.neutral, pair.decoy)
        if problem is not None
    }


def evaluate(model, made, **options):
    return evaluate_counterfactuals(
        model, made, num_thoughts=1, max_length=2, verbose=0, **options
    )


@pytest.mark.any_backend
def test_a_model_that_searches(made, model):
    Answers(model, by_search(made).get)
    found = evaluate(model, made)
    for share in (
        found.accuracy,
        found.changed_accuracy,
        found.neutral_accuracy,
        found.following,
    ):
        assert share.share == 1 and share.total == 8
    assert found.staying.share == found.false_following.share == 0
    decoys = [pair for pair in made.pairs if pair.decoy is not None]
    assert 0 < len(decoys) == 8 - found.without_decoy
    assert found.decoy_accuracy[::3] == (1, len(decoys))
    assert found.decoy_following[::3] == (0, len(decoys))
    assert found.correct == found.changed_correct == (True,) * 8
    assert found.pairs == made.pairs and found.skipped == made.skipped
    for pair, answers in zip(made.pairs, found.answers):
        assert answers == (
            pair.problem.answer,
            pair.changed.answer,
            pair.problem.answer,
        )


@pytest.mark.any_backend
def test_a_model_that_knows_the_originals_by_heart(made, model):
    """It goes by the choices and the root, which stay as they are."""
    known = {
        pair.problem.question.partition("?")[2]: pair.problem.answer
        for pair in made.pairs
    }
    assert len(known) == len(made.pairs)
    Answers(model, lambda question: known[question.partition("?")[2]])
    found = evaluate(model, made)
    assert found.accuracy.share == found.neutral_accuracy.share == 1
    assert found.changed_accuracy.share == 0
    assert found.following.share == found.false_following.share == 0
    assert found.staying.share == 1


@pytest.mark.any_backend
def test_a_model_that_any_change_puts_off(made, model):
    """It answers the originals rightly, and others with the other choice."""
    answers = by_search(made)
    other = {
        problem.question: problem.extra["idx_to_symbol"][
            pair.problem.extra["neg_target"]
        ]
        for pair in made.pairs
        for problem in (pair.changed, pair.neutral)
    }
    Answers(model, lambda question: other.get(question, answers[question]))
    found = evaluate(model, made)
    assert found.following.share == found.false_following.share == 1
    assert found.neutral_accuracy.share == 0
    test = mcnemar(found.changed_correct, found.neutral_correct)
    assert test.only_first == 8


@pytest.mark.any_backend
def test_a_model_that_never_looks_at_the_root(made, model):
    """It is right, and follows, but a decoy leads it astray."""
    answers = by_search(made)
    for pair in made.pairs:
        if pair.decoy is not None:
            answers[pair.decoy.question] = pair.changed.answer
    nothing = made.pairs[0]._replace(decoy=None)
    made = made._replace(pairs=(nothing, *made.pairs[1:]))
    Answers(model, answers.get)
    found = evaluate(model, made)
    assert found.following.share == 1 and found.false_following.share == 0
    decoys = [pair.decoy for pair in made.pairs]
    count = sum(decoy is not None for decoy in decoys)
    assert found.without_decoy == 8 - count >= 1
    assert found.decoy_following[::3] == (1, count)
    assert found.decoy_accuracy[::3] == (0, count)
    for pair, text, flag in zip(
        made.pairs, found.decoy_answers, found.decoy_correct, strict=True
    ):
        if pair.decoy is None:
            assert text is flag is None
        else:
            assert (text, flag) == (pair.changed.answer, False)
    # Of those answered rightly alone.
    wrong = next(pair for pair in made.pairs if pair.decoy is not None)
    answers[wrong.problem.question] = "nonsense"
    assert evaluate(model, made).decoy_following[::3] == (1, count - 1)
    json.dumps(found.to_dict(), allow_nan=False)
    without = made._replace(
        pairs=tuple(pair._replace(decoy=None) for pair in made.pairs)
    )
    found = evaluate(model, without)
    assert found.decoy_following is found.decoy_accuracy is None
    assert found.without_decoy == 8 and found.decoy_correct == (None,) * 8


@pytest.mark.any_backend
def test_following_is_of_those_answered_rightly(made, model):
    """Of eight, two are wrong at first; three of the others follow."""
    answers = by_search(made)
    for pair in made.pairs[:2]:
        answers[pair.problem.question] = "nonsense"
    for pair in made.pairs[2:4]:
        answers[pair.changed.question] = pair.problem.answer
    answers[made.pairs[4].changed.question] = "nonsense"
    answers[made.pairs[5].neutral.question] = made.pairs[5].changed.answer
    Answers(model, answers.get)
    found = evaluate(model, made)
    assert found.accuracy.share == 6 / 8
    assert found.changed_accuracy.share == 5 / 8
    assert found.neutral_accuracy.share == 7 / 8
    assert found.following[::3] == (3 / 6, 6)
    assert found.staying[::3] == (2 / 6, 6)
    assert found.false_following[::3] == (1 / 6, 6)
    entry = json.loads(json.dumps(found.to_dict()))
    assert entry["following"]["high"] == found.following.high
    assert entry["pairs"][0]["changed"] == {
        "question": made.pairs[0].changed.question,
        "steps": list(made.pairs[0].changed.steps),
        "answer": made.pairs[0].changed.answer,
        "extra": made.pairs[0].changed.extra,
    }


@pytest.mark.any_backend
def test_nobody_follows_where_nothing_is_right(made, model, capsys):
    Answers(model, lambda question: "nonsense")
    found = evaluate(model, made)
    assert found.accuracy.share == 0
    assert found.following is found.staying is found.false_following is None
    assert found.to_dict()["following"] is None
    assert capsys.readouterr().out == ""


@pytest.mark.any_backend
def test_a_control_gets_the_same_problems(made, model, capsys):
    asked = Answers(model, by_search(made).get).asked
    other = tiny.compiled(
        tiny.text_model(longest=512, num_thoughts=2, thought_kind="pause")
    )
    script = Answers(other, lambda question: "nonsense")
    found = evaluate_counterfactuals(
        model, made, num_pairs=5, num_thoughts=1, max_length=2, control=other
    )
    decoys = sum(pair.decoy is not None for pair in made.pairs[:5])
    count = 15 + decoys
    assert asked == script.asked and len(asked) == count
    assert found.following.share == 1
    assert found.control.accuracy.share == 0
    assert found.control.pairs == found.pairs == made.pairs[:5]
    line = f"counterfactual edges: {2 * count}/{2 * count} answers"
    assert line in capsys.readouterr().out


@pytest.mark.parametrize(
    "kind", [dict(), dict(thought_kind="pause"), dict(num_thoughts=0)]
)
def test_the_answers_are_those_of_generate(kind):
    """With thoughts, pauses and none."""
    kind = {"num_thoughts": 2, **kind}
    model = tiny.compiled(tiny.text_model(layers=1, **kind))
    problem = tiny.edge_problem()
    found = evaluate_counterfactuals(
        model, [problem, problem.to_dict()], max_length=3, verbose=0
    )
    assert len(found.pairs) == 2
    asked = [
        question
        for pair in found.pairs
        for question in (
            pair.problem.question,
            pair.changed.question,
            pair.neutral.question,
        )
    ]
    expected = map(extract_answer, model.generate(asked, max_length=3))
    assert [text for texts in found.answers for text in texts] == [*expected]
    assert found.accuracy.share == 0
