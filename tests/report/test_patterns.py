"""Verdicts on what thoughts hold, on a moved edge, and on a control model."""

import dataclasses
import math

import pytest
from figures_by_hand import (
    edges,
    evaluation,
    level,
    probe,
    probes,
    share,
    similar,
    tree,
)

from keras_coconut import Interval
from keras_coconut.analysis import Superposition
from keras_coconut.analysis.pooled_means import PooledMean
from keras_coconut.analysis.search.group_means import GroupMeans
from keras_coconut.report import (
    control_model,
    following,
    holdings,
    patterns,
    tables,
    verdicts,
)
from keras_coconut.report.sections import Section

pytestmark = pytest.mark.any_backend

OWN_STEPS = probes(
    (probe(0.9, 0.5), probe(0.25, -0.5, 1.0)),
    (probe(0.5, -0.3, 1.0), probe(0.8, 0.3)),
)


def test_own_steps():
    found = holdings.hold(OWN_STEPS, None, None, "continuous")
    assert found.outcome == "Steps of the reasoning"
    assert "step 1 from thought 1 in 90.0%" in found.text
    assert "step 2 from thought 2 in 80.0%" in found.text
    assert ". Steps 1 and 2 are read better than any other" in found.text
    assert "Of step 1 no later state is clearly read better" in found.text
    # What the state holds before anything is thought stands beside it.
    assert "value: 20.0%; the question's last state: 25.0% (" in found.text
    assert "value: 20.0%; this is the question's last state)" in found.text
    assert found.figures["step 2 from the question"] == share(0.25)
    entries = patterns.readable_steps(OWN_STEPS)
    assert [(e.step, e.slot, e.selective, e.is_later) for e in entries] == [
        (0, 0, True, False),
        (1, 1, True, True),
    ]


def test_steps_that_are_not_selective():
    found = holdings.hold(
        probes(
            (probe(0.2), probe(0.5, -0.1, 1.0)),
            (probe(0.9, 0.01, 0.2), probe(0.9, -0.01, 1.0)),
        ),
        *(None, None, "continuous"),
    )
    assert found.outcome == "Steps of the reasoning, mixed"
    assert "No step is read better than all others" in found.text


@pytest.mark.parametrize("later", [0.5, 0.9, 0.92])
def test_steps_that_the_question_holds(later):
    found = holdings.hold(
        probes((probe(0.9, 0.5), None), (probe(later, 0.5), None)),
        *(None, None, "pause"),
    )
    assert found.outcome == "Steps that may come from the question alone"
    slot = 2 if later > 0.9 else 1
    assert f"step 1 from the state before pause {slot} in" in found.text


def test_a_step_that_a_later_thought_holds_better():
    found = holdings.hold(
        probes((probe(0.5, 0.1, 1.0), None), (probe(0.9, 0.5), None)),
        *(None, None, "continuous"),
    )
    assert found.outcome == "Steps of the reasoning"
    assert "no later state" not in found.text
    assert "Step 1 is read better" in found.text


def test_a_star_needs_more_than_other_steps():
    """Read better than other steps, but no better than by guessing."""
    assert patterns.is_selective(probe(0.9, 0.5))
    assert not patterns.is_selective(probe(0.21, 0.1))
    assert not patterns.is_selective(probe(0.9, 0.5, 0.06))
    shuffled = dataclasses.replace(probe(0.9, 0.5), shuffled=share(0.89))
    assert not patterns.is_selective(shuffled)
    assert not patterns.is_selective(probe(0.9, None, None))


def test_each_selective_cell_has_a_star():
    result = probes((probe(0.9, 0.5), None), (probe(0.8, 0.5), probe(0.21)))
    (table,) = tables.tables_of(
        "probes", {"probes": Section("probes", result)}, []
    )
    assert [row[:2] for row in table.rows] == [["1", "20.0%"], ["2", "20.0%"]]
    stars = [[cell.endswith(" *") for cell in row[2:]] for row in table.rows]
    assert stars == [[True, True], [False, False]]


def test_steps_that_cannot_be_read():
    found = holdings.hold(
        probes((probe(0.22, 0.1), None)), None, None, "continuous"
    )
    assert found.outcome == holdings.NOTHING_FOUND
    assert "No linear probe reads a step" in found.text


def test_many_probes_of_nothing():
    """120 of 500 are no chance (p = 0.03) unless they are the best of 30."""
    one = patterns.readable(probes((probe(0.24), None)))
    assert set(one) == {(0, 0)}
    many = probes(*[(probe(0.24),) * 5] * 6)
    assert not patterns.readable(many)
    assert not patterns.readable(probes((None,), (None,)))
    found = holdings.hold(many, None, None, "continuous")
    assert found.outcome == holdings.NOTHING_FOUND
    # What is there stays, among as many.
    slots = [[probe(0.2)] * 5 for _ in range(6)]
    slots[3][2] = probe(0.3)
    assert set(patterns.readable(probes(*slots))) == {(3, 2)}


def test_the_frontier():
    found = holdings.hold(
        None,
        tree(level(0, 0.1), level(1, 0.6)),
        similar(2.0, 2.0),
        "continuous",
    )
    assert found.outcome == "The frontier of the search"
    assert "60% after 1 thought (chance 10%)" in found.text
    assert (
        "Attention favours the frontier over nodes out of reach at the "
        "question and thought 1 and inner products favour the frontier over "
        "nodes out of reach at thought 1."
    ) in found.text
    assert found.figures["frontier after 1"] == Interval(0.6, 0.02)
    assert patterns.searched_levels(tree(level(0, 0.1))) == {}


def test_no_frontier():
    found = holdings.hold(
        None, tree(level(0, 0.6), level(1, 0.11)), similar(0.6, 0.6), "pause"
    )
    # What is known without thoughts is not in them.
    assert found.outcome == holdings.NOTHING_FOUND
    assert found.question == "What do the states before a pause hold?"
    assert (
        "Attention does not favour the frontier at any thought and inner "
        "products do not favour the frontier at any thought."
    ) in found.text


def test_one_level_of_many_may_be_chance():
    """p is 0.025: less than 0.05, but not for two levels."""
    level_1 = level(1, 0.123)
    assert 1 in patterns.searched_levels(tree(level(0, 0.1), level_1))
    several = tree(level(0, 0.1), level_1, level(2, 0.1), level(3, 0.1))
    assert patterns.searched_levels(several) == {}
    found = holdings.hold(None, several, None, "continuous")
    assert found.outcome == holdings.NOTHING_FOUND


def test_nothing_is_said_of_what_has_no_interval():
    """Figures of a single problem."""
    lone = tree(level(0, 0.1), level(1, 0.6, margin=math.nan))
    nothing = PooledMean(2.0, math.nan, 3, 1)
    groups = GroupMeans(nothing, nothing, nothing, nothing)
    found = holdings.hold(
        *(None, lone, Superposition(1, (groups, groups), (groups,))),
        "continuous",
    )
    assert found.outcome == holdings.NOTHING_FOUND
    assert "favour" not in found.text
    assert "after 1 thought" not in found.text
    assert "nan" not in found.text


def test_places_in_tables_and_verdicts():
    result = similar(2.0, 0.5, 2.0)
    attention, products = tables.tables_of(
        "superposition", {"superposition": Section("superposition", result)}, []
    )
    assert [row[0] for row in attention.rows] == ["question", "1", "2"]
    assert [row[0] for row in products.rows] == ["1", "2"]
    assert "its thought 1 is the question's last token here" in attention.text
    assert not products.text
    found = holdings.hold(None, None, result, "continuous")
    assert "at the question and thought 2 and inner" in found.text


# === The graph ===


def some(count, total):
    return [index < count for index in range(total)]


@pytest.mark.parametrize(
    ("followed", "misled", "outcome"),
    [
        (some(90, 100), some(2, 100), "Mostly"),
        (some(27, 100), some(2, 100), "Seldom"),
        (some(50, 100), some(2, 100), "In about half of the cases"),
        (some(10, 100), some(9, 100), following.NOT_MORE),
        (some(2, 100), some(30, 100), following.NOT_MORE),
        # Three of three against none: p is 0.25.
        (some(3, 3), some(0, 3), verdicts.UNDECIDED),
        # Overlapping intervals, but 8 problems against none.
        (some(30, 100), some(22, 100), "Seldom"),
    ],
)
def test_following(followed, misled, outcome):
    found = following.follow(edges(followed, misled))
    assert found.outcome == outcome
    assert found.figures["following"].share == sum(followed) / len(followed)
    assert "does not follow the edge" not in found.text
    more = "follows the edge more often than a neutral change." in found.text
    assert more == (outcome not in (following.NOT_MORE, verdicts.UNDECIDED))
    if outcome == "Mostly":
        assert "This does not prove a search" in found.text


def test_only_right_originals_count():
    found = edges(some(50, 100), some(0, 100))
    found = dataclasses.replace(found, correct=(True, *(False,) * 99))
    assert following.follow(found).outcome == verdicts.UNDECIDED


def test_no_right_originals():
    found = edges([True], [False])
    found = dataclasses.replace(found, following=None, false_following=None)
    assert following.follow(found).outcome == verdicts.NO_ANSWERS


def test_pairs_that_could_not_be_made():
    result = edges([True], [False], {"it has no other edge": 2, "too far": 1})
    (table,) = tables.tables_of(
        "counterfactuals", {"counterfactuals": Section("", result)}, []
    )
    assert table.note == (
        "No pair could be made of 2 problems (it has no other edge); 1 problem "
        "(too far)."
    )
    assert "turns around after a neutral change" in [r[0] for r in table.rows]


# === The control model ===


def measured(accuracy, carry, *others):
    return control_model.Measured(evaluation(accuracy), carry, *others)


MODEL = measured(
    *(0.96, verdicts.CARRY, OWN_STEPS),
    *(tree(level(0, 0.6), level(1, 0.6)), similar(2.0, 2.0)),
)


def test_no_control():
    found = control_model.control(MODEL, None, "")
    assert found.outcome == control_model.NO_CONTROL
    assert "`pause_as_thought`" in found.text


def test_a_control_that_shows_the_same():
    other = MODEL._replace(carry=verdicts.UNDECIDED)
    found = control_model.control(MODEL, other, "pause")
    assert found.outcome == control_model.SAME
    assert "These patterns prove nothing about the thoughts." in found.text
    assert not found.figures["lacking"]
    assert "a frontier above chance after 1" in found.figures["shared"]


def test_a_control_that_lacks_the_patterns():
    nothing = probes((probe(0.2, -0.1, 1.0), probe(0.2, -0.1, 1.0)))
    other = measured(
        *(0.5, verdicts.PAUSES, nothing),
        *(tree(level(0, 0.1), level(1, 0.1)), similar(0.5, 0.5)),
    )
    found = control_model.control(MODEL, other, "pause")
    assert found.outcome == control_model.LACKS
    assert not found.figures["shared"]
    # Not the frontier without thoughts, nor the accuracy.
    assert found.figures["lacking"] == [
        "a readable step 1",
        "a selective step 1",
        "a readable step 2",
        "a selective step 2",
        "a frontier above chance after 1",
        "attention that favours the frontier at the question",
        "attention that favours the frontier at thought 1",
        "inner products that favour the frontier at thought 1",
    ]
    assert "the control answers fewer" in found.text
    assert "prove nothing" not in found.text


def test_a_control_that_shows_a_part():
    other = MODEL._replace(
        carry=verdicts.PAUSES, tree=tree(level(0, 0.1), level(1, 0.3))
    )
    found = control_model.control(MODEL, other, "pause")
    assert found.outcome == control_model.IN_PART
    assert found.figures["lacking"] == ["a frontier above chance after 1"]
    assert "These patterns prove nothing" in found.text


@pytest.mark.parametrize(
    ("carry", "kind", "figure"),
    [
        (verdicts.CARRY, "continuous", "shared"),
        (verdicts.DO_NOT_CARRY, "continuous", "lacking"),
        (verdicts.UNDECIDED, "continuous", None),
        (verdicts.IN_PART, "continuous", None),
        # Nothing can take the place of pauses.
        (verdicts.PAUSES, "pause", None),
        (verdicts.NO_THOUGHTS, "pause", None),
    ],
)
def test_whether_thoughts_carry_the_answer_there(carry, kind, figure):
    found = control_model.control(MODEL, MODEL._replace(carry=carry), kind)
    named = [
        key
        for key in ("shared", "lacking", "unclear")
        if "answers that depend on what the thoughts hold" in found.figures[key]
    ]
    assert named == ([] if figure is None else [figure])


def test_a_control_that_answers_nothing():
    nothing = measured(0.0, verdicts.NO_ANSWERS, *MODEL[2:])
    bare = nothing._replace(tree=tree(level(0, 0.1), level(1, 0.1)))
    found = control_model.control(MODEL, bare, "pause")
    assert found.outcome == verdicts.UNDECIDED
    assert "no fair control" in found.text
    # What it shows without any right answer proves nothing all the more.
    found = control_model.control(MODEL, nothing, "pause")
    assert found.outcome == control_model.SAME


def test_a_difference_that_is_not_significant():
    """Both figures of the frontier overlap; one alone is above chance."""
    model = measured(0.9, verdicts.CARRY, None, tree(level(1, 0.13)))
    other = model._replace(tree=tree(level(1, 0.11)))
    assert patterns.searched_levels(model.tree)
    assert not patterns.searched_levels(other.tree)
    found = control_model.control(model, other, "pause")
    assert found.outcome == verdicts.UNDECIDED
    assert found.figures["unclear"] == ["a frontier above chance after 1"]
    assert "These problems do not tell whether it shows" in found.text


def test_margins_add_by_their_squares():
    """0.035 is less than 0.02 twice, but more than their hypotenuse."""
    model = measured(0.9, verdicts.CARRY, None, tree(level(1, 0.6)))
    other = model._replace(tree=tree(level(1, 0.565)))
    found = control_model.control(model, other, "pause")
    assert found.outcome == control_model.LACKS


def test_a_step_that_both_show_but_one_shows_less():
    def reading(accuracy):
        slots = (probe(0.2), None), (probe(accuracy), None)
        return measured(0.9, verdicts.CARRY, probes(*slots))

    for theirs, key in ((0.5, "lacking"), (0.88, "shared"), (0.99, "shared")):
        found = control_model.control(reading(0.9), reading(theirs), "pause")
        assert found.figures[key] == ["a readable step 1"]


def test_the_accuracy_alone_is_no_pattern():
    model, other = (
        measured(0.9, verdicts.DO_NOT_CARRY, None, tree(level(0, 0.6)))
        for _ in range(2)
    )
    found = control_model.control(model, other, "continuous")
    assert found.outcome == control_model.NO_PATTERNS
    assert "the control answers about as many or more" in found.text
    assert not found.figures["shared"]


def test_a_control_without_a_figure():
    model = measured(0.9, verdicts.CARRY, None, tree(level(1, 0.6)))
    lone = model._replace(tree=tree(level(1, 0.6, margin=math.nan)))
    found = control_model.control(model, lone, "pause")
    assert found.figures["unclear"] == ["a frontier above chance after 1"]


def test_nothing_to_compare():
    nothing = measured(0.0, verdicts.NO_ANSWERS)
    found = control_model.control(nothing, nothing, "continuous")
    assert found.outcome == control_model.NO_PATTERNS
