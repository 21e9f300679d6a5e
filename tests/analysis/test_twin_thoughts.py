"""Swapped thoughts, of models that are known to read them or not to."""

import json

import numpy as np
import pytest
import symbol_models
import tiny

from keras_coconut import (
    MinimalPair,
    MinimalPairs,
    Problem,
    evaluate_minimal_pairs,
    make_arithmetic,
    make_minimal_pairs,
    mcnemar,
)
from keras_coconut.evaluation.figures import extract_answer

SLOTS = 3
KINDS = ("donor", "own", "other")


class Mind:
    """Takes the place of a model's `generate_tokens`.

    Args:
        model: a `ContinuousThoughtLM` that thinks; its own thoughts are real.
        pairs: the `MinimalPair`s that will be asked about.
        decide: function of a question and the questions that its thoughts come
            from, one for each slot, that returns a question. The response is
            the right answer to that one.
    """

    def __init__(self, model, pairs, decide):
        both = [p for pair in pairs for p in (pair.problem, pair.twin)]
        self.answers = {p.question: p.answer for p in both}
        self.decide = decide
        self.questions = list(self.answers)
        self.thoughts = model.think(self.questions, SLOTS)
        self.swapped = 0
        self.tokenizer = model.preprocessor.tokenizer
        model.__dict__["generate_tokens"] = self

    def owner(self, slot, thought):
        distances = np.linalg.norm(self.thoughts[:, slot] - thought, axis=-1)
        assert distances.min() < 1e-4
        return self.questions[int(distances.argmin())]

    def __call__(self, questions, thoughts=None, on_response=None, **options):
        generated = []
        for index, question in enumerate(questions):
            owners = [question] * SLOTS
            if thoughts is not None:
                self.swapped += 1
                owners = [
                    self.owner(slot, thought)
                    for slot, thought in enumerate(thoughts[index])
                ]
            answer = self.answers[self.decide(question, owners)]
            (tokens,) = self.tokenizer([f"### {answer}"])
            generated.append([*tokens, self.tokenizer.end_token_id])
            on_response(index, generated[-1])
        return generated


@pytest.fixture(scope="module")
def pairs():
    return make_minimal_pairs(make_arithmetic(20)).pairs


def shares(swap):
    return swap.donor.share, swap.own.share, swap.other.share


def alike(question, owner):
    """Whether two questions are the two of a pair."""
    return sum(a != b for a, b in zip(question, owner)) <= 1


MINDS = {
    # From what it answers: shares with all thoughts, with each, with another's.
    "the last thought": (lambda q, owners: owners[-1], 1, [0, 0, 1], 1),
    "the first thought": (lambda q, owners: owners[0], 1, [1, 0, 0], 1),
    "the question": (lambda q, owners: q, 0, [0, 0, 0], 0),
    "all thoughts together": (
        lambda q, owners: owners[0] if len(set(owners)) == 1 else q,
        1,
        [0, 0, 0],
        1,
    ),
    "thoughts of a question like its own": (
        lambda q, owners: owners[1] if alike(q, owners[1]) else q,
        1,
        [0, 1, 0],
        0,
    ),
}


@pytest.mark.any_backend
@pytest.mark.parametrize("name", MINDS)
def test_it_says_what_the_answer_comes_from(name, pairs, text_model):
    decide, whole, each, others = MINDS[name]
    mind = Mind(text_model, pairs, decide)
    found = evaluate_minimal_pairs(
        text_model, MinimalPairs(pairs, {}), num_thoughts=SLOTS, verbose=0
    )
    assert found.accuracy.share == found.twin_accuracy.share == 1
    assert shares(found.no_swap) == (0, 1, 0)
    assert shares(found.all_thoughts) == (whole, 1 - whole, 0)
    assert [swap.donor.share for swap in found.each_thought] == each
    assert [swap.own.share for swap in found.each_thought] == [
        1 - share for share in each
    ]
    assert shares(found.other_problems) == (others, 1 - others, 0)
    # All are answered rightly.
    assert found.all_thoughts.donor_if_right == found.all_thoughts.donor
    assert found.no_swaps_because is found.control is None
    assert found.pairs == pairs
    # All, each of the slots, and another problem's.
    assert mind.swapped == len(pairs) * (1 + SLOTS + 1)
    for pair, text in zip(pairs, found.all_thoughts.answers):
        assert text == (pair.twin if whole else pair.problem).answer


@pytest.mark.any_backend
def test_each_kind_is_counted(text_model):
    """Of six pairs, two twins', one own, three other answers."""
    chosen = make_minimal_pairs(make_arithmetic(9), num_pairs=6).pairs
    made = MinimalPairs(chosen, {"a reason": 2})

    def decide(question, owners):
        row = [pair.problem.question for pair in chosen].index(question)
        if len(set(owners)) > 1 or owners[0] != chosen[row].twin.question:
            return question
        if row < 2:
            return chosen[row].twin.question
        return question if row == 2 else "nonsense"

    mind = Mind(text_model, chosen, None)
    mind.decide = lambda q, o: decide(q, o) if o[0] != q else q
    mind.answers["nonsense"] = "17"
    # The model answers no twin but the first one.
    for pair in chosen[1:]:
        mind.answers[pair.twin.question] = "18"
    mind.answers[chosen[1].problem.question] = "19"
    found = evaluate_minimal_pairs(
        text_model, made, num_thoughts=SLOTS, verbose=0
    )
    assert found.correct == (True, False, True, True, True, True)
    assert found.twin_correct == (True, *[False] * 5)
    assert found.accuracy.share == 5 / 6 and found.twin_accuracy.share == 1 / 6
    swap = found.all_thoughts
    assert swap.kinds == ("donor", "other", "own", "other", "other", "other")
    assert shares(swap) == (1 / 6, 1 / 6, 4 / 6)
    assert swap.donor.total == swap.own.total == 6
    # Only the first pair has two right answers.
    assert swap.donor_if_right.share == swap.donor_if_right.total == 1
    assert found.skipped == {"a reason": 2}
    entry = json.loads(json.dumps(found.to_dict()))
    assert entry["all_thoughts"]["kinds"] == list(swap.kinds)
    assert entry["pairs"][0]["twin"]["answer"] == chosen[0].twin.answer
    assert entry["accuracy"]["low"] == found.accuracy.low


@pytest.mark.any_backend
def test_pairs_can_be_tested_together(pairs, text_model):
    Mind(text_model, pairs, MINDS["thoughts of a question like its own"][0])
    found = evaluate_minimal_pairs(
        text_model, MinimalPairs(pairs, {}), num_thoughts=SLOTS, verbose=0
    )
    test = mcnemar(
        *(
            [kind == "donor" for kind in swap.kinds]
            for swap in (found.all_thoughts, found.other_problems)
        )
    )
    assert test.only_first == len(pairs) and test.p_value < 1e-4


@pytest.mark.any_backend
def test_a_donor_has_a_third_answer(text_model):
    """Neither the question's answer nor the twin's can come from it."""
    answers = [("1", "2"), ("2", "1"), ("1,0", "3"), ("3", "10")]
    chosen = tuple(
        MinimalPair(
            row,
            Problem(f"start {row}, +4", [], a),
            Problem(f"start {row}, +5", [], b),
            "4",
            "5",
        )
        for row, (a, b) in enumerate(answers)
    )
    owners_seen = []

    def decide(question, owners):
        if owners[0] != question and not alike(question[7:], owners[0][7:]):
            raise AssertionError
        owners_seen.append((question, owners))
        return owners[0]

    Mind(text_model, chosen, decide)
    found = evaluate_minimal_pairs(
        text_model, MinimalPairs(chosen, {}), num_thoughts=SLOTS, verbose=0
    )
    assert found.other_problems.kinds == ("donor",) * 4
    for text, donors in zip(found.other_problems.answers, answers):
        assert text not in [answer.replace(",", "") for answer in donors]
    # The first two have only each other.
    two = MinimalPairs(chosen[:2], {})
    found = evaluate_minimal_pairs(
        text_model, two, num_thoughts=SLOTS, verbose=0
    )
    assert found.other_problems is None
    three = MinimalPairs(chosen[:3], {})
    found = evaluate_minimal_pairs(
        text_model, three, num_thoughts=SLOTS, verbose=0
    )
    assert found.other_problems.donor.total == 3
    uneven = MinimalPairs(
        (*chosen[:2], chosen[0]._replace(twin=chosen[2].problem)), {}
    )
    found = evaluate_minimal_pairs(
        text_model, uneven, num_thoughts=SLOTS, verbose=0
    )
    assert found.other_problems.kinds == (None, None, "donor")
    assert found.other_problems.answers[:2] == (None, None)
    assert found.other_problems.donor.total == 1


@pytest.mark.any_backend
def test_other_thoughts_than_continuous_ones(capsys):
    """Of a model that pauses, or does not think, the accuracies are known."""
    problems = make_arithmetic(9)
    thinking = tiny.compiled(tiny.text_model(num_thoughts=2))
    pausing = tiny.compiled(
        tiny.text_model(num_thoughts=2, thought_kind="pause")
    )
    options = dict(num_pairs=4, max_length=2)
    found = evaluate_minimal_pairs(
        thinking, problems, control=pausing, **options
    )
    # One line: own answers, thoughts, all, two slots, another problem's; and
    # the control's own answers.
    total = 8 + 8 + 4 * (1 + 2) + 4 + 8
    out = capsys.readouterr().out
    assert f"minimal pairs: {total}/{total} answers" in out
    assert len(found.each_thought) == 2
    control = found.control
    assert control.no_swap is control.all_thoughts is None
    assert control.each_thought == () and control.other_problems is None
    assert "pauses" in control.no_swaps_because
    assert control.accuracy.total == 4 and control.pairs == found.pairs
    assert found.to_dict()["control"]["all_thoughts"] is None
    alone = evaluate_minimal_pairs(pausing, problems, verbose=0, **options)
    assert alone == control
    silent = evaluate_minimal_pairs(
        thinking, problems, num_thoughts=0, verbose=0, **options
    )
    assert "without thoughts" in silent.no_swaps_because
    assert silent.all_thoughts is None
    assert "out" not in capsys.readouterr().out


@pytest.mark.any_backend
def test_an_interrupted_call_goes_on(pairs, text_model):
    mind = Mind(text_model, pairs, lambda q, owners: owners[-1])
    made = MinimalPairs(pairs, {})
    whole = evaluate_minimal_pairs(
        text_model, made, num_thoughts=SLOTS, verbose=0
    )
    decide, asked = mind.decide, []

    def interrupted(question, owners):
        asked.append(question)
        if len(asked) == 3 * len(pairs):
            raise KeyboardInterrupt
        return decide(question, owners)

    mind.decide = interrupted
    with pytest.raises(KeyboardInterrupt) as error:
        evaluate_minimal_pairs(text_model, made, num_thoughts=SLOTS, verbose=0)
    assert set(error.value.partial) == {"own thoughts", "all thoughts"}
    before, mind.decide = len(asked), decide
    swapped = mind.swapped
    again = evaluate_minimal_pairs(
        text_model, made, num_thoughts=SLOTS, verbose=0
    )
    assert again == whole
    assert before == 3 * len(pairs)
    # All but one with all thoughts were done.
    assert mind.swapped - swapped == len(pairs) * (SLOTS + 1) + 1


@pytest.mark.any_backend
def test_pairs_are_checked_before_any_work(text_model):
    long = Problem("start 3, +4" + "0" * 99, [], "7")
    pair = MinimalPair(0, long, long, "3", "4")
    with pytest.raises(ValueError, match="must fit the backbone's maximum"):
        evaluate_minimal_pairs(
            text_model, MinimalPairs((pair,), {}), num_thoughts=1
        )


# === Real models ===


def test_a_model_that_says_what_its_last_thought_holds():
    """Thought 1 is the question's last token, a node; the others repeat it."""
    model = symbol_models.symbol_model()
    problems = [
        Problem(f"|<8><9>?<8><9>@<{node}>", [], f"<{node}>")
        for node in range(8)
    ]
    made = MinimalPairs(
        tuple(
            MinimalPair(row, problems[row], problems[row - 1], "", "")
            for row in range(8)
        ),
        {},
    )
    found = evaluate_minimal_pairs(
        model, made, num_thoughts=2, max_length=1, batch_size=3, verbose=0
    )
    assert found.accuracy.share == found.twin_accuracy.share == 1
    assert shares(found.no_swap) == (0, 1, 0)
    assert shares(found.all_thoughts) == (1, 0, 0)
    assert list(map(shares, found.each_thought)) == [
        (0, 1, 0),
        (1, 0, 0),
    ]
    assert shares(found.other_problems) == (1, 0, 0)


def pairs_with_its_own_answers(model, slots):
    """Pairs whose right answers are those that the model gives."""
    questions = [f"start 3, +{digit}" for digit in range(6)]
    answers = [
        extract_answer(response)
        for response in model.generate(
            questions, max_length=4, num_thoughts=slots
        )
    ]
    problems = list(map(Problem, questions, [[]] * 6, answers))
    return tuple(
        MinimalPair(row, problems[row], problems[row - 1], "", "")
        for row in range(6)
    )


@pytest.mark.any_backend
def test_the_answers_are_those_of_generate(text_model):
    """One question at a time, with the thoughts that `think` returns."""
    made = pairs_with_its_own_answers(text_model, 2)
    found = evaluate_minimal_pairs(
        text_model,
        MinimalPairs(made, {}),
        num_thoughts=2,
        max_length=4,
        batch_size=3,
        verbose=0,
    )
    assert found.accuracy.share == 1
    for row, pair in enumerate(made[:3]):
        question = pair.problem.question
        own, other = (
            text_model.think(p.question, 2) for p in (pair.problem, pair.twin)
        )
        swaps = [(found.all_thoughts, other)]
        for slot, swap in enumerate(found.each_thought):
            given = own.copy()
            given[:, slot] = other[:, slot]
            swaps.append((swap, given))
        for swap, given in swaps:
            expected = text_model.generate(
                question, max_length=4, num_thoughts=2, thoughts=given
            )
            assert swap.answers[row] == extract_answer(expected)
