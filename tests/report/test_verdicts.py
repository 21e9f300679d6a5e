"""Verdicts on whether thoughts carry the answer, how many, at what cost."""

import math

import pytest
from figures_by_hand import (
    HIGH,
    SAME,
    budget,
    controls,
    evaluation,
    share,
    swap,
)

from keras_coconut import Interval
from keras_coconut.analysis import MinimalPairEvaluation
from keras_coconut.report import comparing, needs, verdicts, words

pytestmark = pytest.mark.any_backend


def test_they_carry_it():
    found = verdicts.carry(
        evaluation(0.96),
        controls(none=0.1, removed=0.05, **HIGH),
        "continuous",
    )
    assert found.outcome == verdicts.CARRY
    assert "96.0% (93.9% to 97.4%) of 500 problems" in found.text
    assert "another problem's thoughts 10.0% (7.7% to 12.9%)" in found.text
    assert "Without thoughts it answers only 10.0%" in found.text
    assert "it answers fewer: 5.0%" in found.text
    assert "order of its thoughts matters: 50.0%" in found.text
    assert found.figures["own"] == share(0.96)
    assert set(found.figures) == {"own", "none", "removed", *HIGH}


def test_they_do_not_carry_it():
    found = verdicts.carry(
        evaluation(0.95),
        controls(none=0.95, removed=0.94, **SAME),
        "continuous",
    )
    assert found.outcome == verdicts.DO_NOT_CARRY
    assert "it answers about as many: noise 95.0%" in found.text
    assert (
        "No loss is significant, and one of more than 10.0 points is excluded."
    ) in found.text
    assert (
        "Without thoughts it answers about as many, 95.0% (92.7% to 96.6%): it "
        "writes its steps instead, 11 characters of text where it wrote 5 "
        "after thoughts."
    ) in found.text
    assert "order of its thoughts hardly matters" in found.text


def test_more_is_not_about_as_many():
    """A model whose thoughts' path was cut: 20% with thoughts, 81% without."""
    found = verdicts.carry(
        evaluation(0.2),
        controls(none=0.8, removed=0.4, **dict.fromkeys(SAME, 0.2)),
        "continuous",
    )
    assert found.outcome == verdicts.DO_NOT_CARRY
    assert "in their place it answers about as many: noise 20.0%" in found.text
    assert "Without thoughts it answers more, 80.0%" in found.text
    assert "response left at its positions, it answers more: 40.0%" in (
        found.text
    )
    high = dict.fromkeys(SAME, 0.2) | {"zeros": 0.5}
    found = verdicts.carry(
        evaluation(0.2), controls(none=0.2, **high), "continuous"
    )
    assert "in their place it answers about as many or more:" in found.text


def test_too_few_problems_decide_nothing():
    shares = dict(noise=0.75, other=0.75, mean=0.8, zeros=0.7)
    found = verdicts.carry(
        evaluation(0.9, count=20), controls(20, **shares), "continuous"
    )
    assert found.outcome == verdicts.UNDECIDED
    needed = comparing.problems_needed(
        evaluation(0.9, count=20),
        [evaluation(each, count=20) for each in shares.values()],
    )
    assert f"about {needed:,} problems would make this clear" in found.text
    assert (
        "Noise (75.0%), another problem's thoughts (75.0%), the mean thought "
        "(80.0%) and zeros (70.0%) are unclear: no loss is significant"
    ) in found.text


def test_one_that_is_unclear():
    found = verdicts.carry(
        evaluation(0.9, count=20), controls(20, noise=0.75), "continuous"
    )
    assert "Noise (75.0%) is unclear" in found.text


def test_a_significant_loss_of_a_size_that_is_unclear():
    """16 of 180 right answers are lost, and none is won (p = 3e-5)."""
    own = evaluation(0.9, count=200)
    found = verdicts.carry(
        own,
        controls(200, none=0.82, **dict.fromkeys(SAME, 0.82)),
        "continuous",
    )
    assert found.outcome == verdicts.UNDECIDED
    assert "It answers fewer with noise 82.0%" in found.text
    assert "the loss is significant, and whether it is more than" in found.text
    assert "is unclear" not in found.text and "as many" not in found.text
    needed = comparing.problems_needed(own, [evaluation(0.82, count=200)])
    assert f"about {needed} problems would make this clear" in found.text
    assert "Without thoughts it answers fewer, 82.0%" in found.text
    assert "The order of its thoughts matters: 82.0%" in found.text


@pytest.mark.parametrize("others", [{}, {"zeros": 0.9}])
def test_a_small_loss_that_is_significant(others):
    """20 of 450 right answers are lost, and none is won (p = 2e-6)."""
    replaced = {**dict.fromkeys(("noise", "other", "mean"), 0.86), **others}
    found = verdicts.carry(
        evaluation(0.9),
        controls(none=0.86, removed=0.86, shuffled=0.86, **replaced),
        "continuous",
    )
    assert found.outcome == verdicts.IN_PART
    assert "It answers a little fewer with noise 86.0%" in found.text
    assert "the loss is significant, but not more than 10.0" in found.text
    assert "as well" not in found.text
    assert ("about as many with zeros 90.0%" in found.text) == bool(others)
    assert found.text.count("about as many") == len(others)
    assert "Without thoughts it answers a little fewer, 86.0%" in found.text
    assert "at its positions, it answers a little fewer: 86" in found.text
    assert "order of its thoughts matters a little" in found.text


def test_a_small_loss_beside_a_great_one():
    found = verdicts.carry(
        evaluation(0.9), controls(noise=0.1, other=0.86), "continuous"
    )
    assert found.outcome == verdicts.UNDECIDED
    assert "would make this clear" not in found.text


def test_the_same_answers_with_other_thoughts():
    """60 of 200 right, the same ones each time."""
    own = evaluation(0.3, count=200)
    found = verdicts.carry(
        own, controls(200, **dict.fromkeys(SAME, 0.3)), "continuous"
    )
    assert found.outcome == verdicts.DO_NOT_CARRY


@pytest.mark.parametrize(
    ("shares", "text"),
    [
        (dict(noise=0.1, other=0.95, mean=0.95), "may only confuse the model"),
        (dict(noise=0.1, other=0.1, mean=0.95), "hardly needs them"),
        (dict(noise=0.95, other=0.1, mean=0.1), "replacements disagree"),
    ],
)
def test_replacements_that_disagree_decide_nothing(shares, text):
    found = verdicts.carry(evaluation(0.95), controls(**shares), "continuous")
    assert found.outcome == verdicts.UNDECIDED
    assert text in found.text
    assert "would make this clear" not in found.text


def test_better_without():
    found = verdicts.carry(
        evaluation(0.5), controls(**dict.fromkeys(HIGH, 0.9)), "continuous"
    )
    assert found.outcome == verdicts.DO_NOT_CARRY


def test_no_right_answers():
    found = verdicts.carry(
        evaluation(0.0), controls(**dict.fromkeys(HIGH, 0.0)), "continuous"
    )
    assert found.outcome == verdicts.NO_ANSWERS


def test_no_thoughts():
    found = verdicts.carry(evaluation(0.5), {}, "continuous")
    assert found.outcome == verdicts.NO_THOUGHTS


@pytest.mark.parametrize(
    ("none", "text"),
    [
        (0.2, "fewer; it may be that it was not trained without"),
        (0.95, "pauses contribute little or nothing"),
    ],
)
def test_pauses(none, text):
    found = verdicts.carry(
        evaluation(0.95), controls(none=none, removed=none), "pause"
    )
    assert found.outcome == verdicts.PAUSES
    assert "There is nothing in them to replace" in found.text
    assert text in found.text


def test_the_twins_answer():
    pairs = MinimalPairEvaluation(
        *(share(0.9, 200), share(0.9, 200)),
        *(swap(0.01), swap(0.77), (swap(0.4),), swap(0.02), None),
        *((), (), (), {}),
    )
    found = verdicts.carry(
        evaluation(0.96), controls(**HIGH), "continuous", pairs
    )
    assert "the answer is the twin's in 77.0%" in found.text
    assert "with its own thoughts in 1.0%" in found.text
    assert "unrelated problem it is that problem's in 2.0%" in found.text
    assert found.figures["twin's thoughts"] == share(0.77, 200)


# === How many, and at what cost ===


@pytest.mark.parametrize(
    ("accuracies", "count", "outcome"),
    [
        ((0.1, 0.4, 0.95), 500, "All 2"),
        ((0.1, 0.95, 0.95), 500, "1 of 2"),
        ((0.95, 0.95, 0.95), 500, "None"),
        # A little fewer is fewer.
        ((0.86, 0.9), 500, "The only one"),
        # With fewer thoughts it may be as accurate and then no longer.
        ((0.95, 0.4, 0.95), 500, "All 2, or none"),
        ((0.1, 0.95, 0.4, 0.95, 0.95), 500, "3 of 4, or 1"),
        ((0.95, 0.94, 0.4, 0.95), 500, "All 3, or none or 1"),
        ((0.9, 0.9, 0.95), 20, verdicts.UNDECIDED),
        ((0.0, 0.0, 0.0), 500, verdicts.NO_ANSWERS),
        ((0.1, 0.95), 500, "The only one"),
    ],
)
def test_how_many_are_needed(accuracies, count, outcome):
    found = needs.needed(budget(*accuracies, count=count), "continuous")
    assert found.outcome == outcome
    assert "answer is final after 1.00 ± 0.25 thoughts. In 50.0%" in found.text
    assert "of 2 problems it never changes" in found.text
    assert found.figures["accuracy, 0"] == share(accuracies[0], count)


def test_what_is_said_of_fewer():
    def text(*accuracies):
        return needs.needed(budget(*accuracies), "continuous").text

    all_fewer = text(0.1, 0.4, 0.95)
    assert "With fewer the model answers fewer problems." in all_fewer
    assert "may have forgotten to write" in all_fewer
    mixed = text(0.95, 0.4, 0.95)
    assert "With fewer the model" not in mixed
    assert (
        "With 1 it answers fewer problems, but with none about as many as with "
        "2."
    ) in mixed
    assert "With 1 thought or more the model answers about as" in text(
        0.1, 0.95, 0.95
    )
    assert "Without thoughts the model answers more problems than with 1" in (
        text(0.8, 0.2)
    )
    assert "but with none more than with 2." in text(0.9, 0.1, 0.5)
    assert "With 1 thought or more the model answers more problems than" in (
        text(0.1, 0.9, 0.5)
    )
    assert "Without thoughts the model answers about as many" in text(
        0.95, 0.95
    )


def test_fewer_that_are_unclear():
    found = needs.needed(budget(0.85, 0.3, 0.95, count=20), "continuous")
    assert found.outcome == "All 2"
    assert "With 1 it answers fewer problems. With none, these" in found.text


def test_how_many_pauses():
    found = needs.needed(budget(0.1, 0.95), "pause")
    assert found.question == "How many pauses are needed?"
    assert "thought" not in found.text


def test_the_cost():
    given = evaluation(0.9, 8.25), controls(none=0.5), 6
    found = needs.cost(*given, "continuous", evaluation(0.9, 2.0))
    assert found.text.startswith("With 6 thoughts an answer takes 8.2 tokens")
    of_pauses = needs.cost(*given, "pause")
    assert of_pauses.text.startswith("With 6 pauses an answer takes 8.2 tokens")
    assert found.outcome == "8.2 tokens and 12 ms"
    assert "Without any it takes 30.0 tokens and 12 ms." in found.text
    assert "The control model takes 2.0 tokens and 12 ms." in found.text
    assert found.figures["tokens, none"] == 30.0


# === Words ===


def test_words():
    assert words.mean(Interval(1.0, math.nan)) == "1.00"
    assert words.mean(Interval(math.nan, math.nan)) == "unknown"
    assert words.mean(Interval(-0.001, 0.02)) == "0.00 ± 0.02"
    assert words.listed(["a", "b", "c"]) == "a, b and c"
    assert words.counted(0, "thought") == "no thoughts"
    assert [words.seconds(each) for each in (0.0015, 0.012, 3.44, 125)] == [
        "1.5 ms",
        "12 ms",
        "3.4 s",
        "2 min 5 s",
    ]
