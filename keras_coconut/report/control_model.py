"""The verdict on a control model: whether it shows the same patterns."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

from keras_coconut.analysis import SearchTree, Superposition, ThoughtProbes
from keras_coconut.evaluation import Evaluation, Interval, Share
from keras_coconut.report import words
from keras_coconut.report.comparing import (
    above_zero,
    compare,
    mean_difference,
    share_difference,
)
from keras_coconut.report.patterns import (
    frontiers,
    is_known,
    is_selective,
    preferences,
    readable,
    readable_steps,
    searched_levels,
)
from keras_coconut.report.verdicts import (
    CARRY,
    DO_NOT_CARRY,
    UNDECIDED,
    Verdict,
)

NO_CONTROL = "No control model"
SAME = "The same: the patterns prove nothing"
IN_PART = "The same in part"
LACKS = "It lacks the patterns"
NO_PATTERNS = "There are no patterns to compare"


Comparison = Literal["shared", "lacking", "unclear"]


class Measured(NamedTuple):
    """What was measured of a model; `None` where it was not.

    `carry` is the outcome of the verdict `carry`.
    """

    answers: Evaluation
    carry: str
    probes: ThoughtProbes | None = None
    tree: SearchTree | None = None
    superposition: Superposition | None = None


def control(model: Measured, other: Measured | None, kind: str) -> Verdict:
    """Says what a control model shows of the model's patterns.

    Args:
        model: the `Measured` figures of the model.
        other: those of the control, or `None` if there is none.
        kind: string, the control's `thought_kind`.
    """
    question = "Does a control model show the same?"
    if other is None:
        return Verdict(
            "control",
            question,
            NO_CONTROL,
            "Search trees, readable steps and attention to the frontier also "
            "appear in models whose thoughts do nothing. Train one with "
            "pauses in place of thoughts, the method `pause_as_thought`, and "
            "give it as `control`: until then these patterns prove nothing.",
            {},
        )
    found = _patterns(model, other, kind)
    shared, lacking, unclear = (
        [name for name, each in found.items() if each == sought]
        for sought in ("shared", "lacking", "unclear")
    )
    figures = {
        "accuracy": model.answers.interval,
        "accuracy of the control": other.answers.interval,
        "shared": shared,
        "lacking": lacking,
        "unclear": unclear,
    }
    said = [_accuracy(model.answers, other.answers, kind)]
    if not found:
        outcome = NO_PATTERNS
        said.append("The model shows no pattern that the control could lack.")
        return Verdict("control", question, outcome, " ".join(said), figures)
    if lacking and not other.answers.accuracy:
        # It may lack them because it has learnt nothing.
        outcome = UNDECIDED
        said.append(
            "It answers no problem correctly, so it is no fair control: what "
            "it lacks says nothing about thoughts."
        )
    elif lacking:
        outcome = LACKS if not shared and not unclear else IN_PART
    else:
        outcome = UNDECIDED if unclear else SAME
    if lacking:
        said.append(f"It lacks, or shows less of: {words.listed(lacking)}.")
    if shared:
        said.append(
            f"It shows as well: {words.listed(shared)}. These patterns prove "
            "nothing about the thoughts."
        )
    if unclear:
        said.append(
            "These problems do not tell whether it shows: "
            f"{words.listed(unclear)}."
        )
    return Verdict("control", question, outcome, " ".join(said), figures)


def _accuracy(own: Evaluation, other: Evaluation, kind: str) -> str:
    """Says how accurate both models are, which is no pattern of thoughts."""
    whose = (
        "whose thoughts are pauses"
        if kind == "pause"
        else "whose thoughts are continuous too"
    )
    compared = {
        "lower": "fewer",
        "somewhat lower": "fewer",
        "a little lower": "a little fewer",
        "as high": "about as many or more",
        "unclear": "perhaps fewer",
    }[compare(own, other)]
    return (
        f"The control, {whose}, answers {words.share(other.interval)} of the "
        f"problems, the model {words.share(own.interval)}: the control answers "
        f"{compared}."
    )


# === Patterns, figure by figure ===


def _patterns(
    model: Measured, other: Measured, kind: str
) -> dict[str, Comparison]:
    """Returns the model's patterns, and whether the control shows each."""
    found: dict[str, Comparison] = {}
    # Nothing can take the place of pauses, so they cannot show it.
    decided = (CARRY, DO_NOT_CARRY)
    if kind == "continuous" and model.carry == CARRY and other.carry in decided:
        found["answers that depend on what the thoughts hold"] = (
            "shared" if other.carry == CARRY else "lacking"
        )
    if model.probes is not None and other.probes is not None:
        found.update(_steps(model.probes, other.probes))
    if model.tree is not None and other.tree is not None:
        found.update(_levels(model.tree, other.tree))
    if model.superposition is not None and other.superposition is not None:
        found.update(_preferences(model.superposition, other.superposition))
    return found


def _judge(difference: Interval | Share | None, is_shown: bool) -> Comparison:
    """Returns whether a control shows a pattern.

    Args:
        difference: of the model's figure and the control's. `None` if the
            control has none.
        is_shown: bool, whether the control's figure is a pattern by itself.
    """
    if difference is None:
        return "unclear"
    if isinstance(difference, Interval):
        size, low = difference.mean, difference.mean - difference.margin
    else:
        size, low = difference.share, difference.low
    if low > 0:
        return "lacking"
    # That a difference is not significant does not make both alike.
    return "shared" if is_shown or size <= 0 else "unclear"


def _steps(own: ThoughtProbes, other: ThoughtProbes) -> Iterator:
    shown = {step for _, step in readable(other)}
    for entry in readable_steps(own):
        theirs = [
            probe
            for slot in other.thoughts
            for probe in slot[entry.step : entry.step + 1]
            if probe is not None
        ]
        number = entry.step + 1
        best = max(theirs, key=lambda each: each.accuracy, default=None)
        yield (
            f"a readable step {number}",
            _judge(
                None
                if best is None
                else share_difference(entry.probe.accuracy, best.accuracy),
                entry.step in shown,
            ),
        )
        mine = entry.probe.selectivity
        if entry.selective and mine is not None and is_known(mine):
            known = [
                probe.selectivity
                for probe in theirs
                if probe.selectivity is not None and is_known(probe.selectivity)
            ]
            yield (
                f"a selective step {number}",
                _judge(
                    mean_difference(mine, max(known)) if known else None,
                    any(map(is_selective, theirs)),
                ),
            )


def _levels(own: SearchTree, other: SearchTree) -> Iterator:
    theirs, shown = frontiers(other), searched_levels(other)
    for number, mass in searched_levels(own).items():
        difference = None
        if number in theirs:
            difference = mean_difference(mass.excess, theirs[number].excess)
        yield (
            f"a frontier above chance after {number}",
            _judge(difference, number in shown),
        )


def _preferences(own: Superposition, other: Superposition) -> Iterator:
    theirs = preferences(other)
    for name, measured in preferences(own).items():
        shown = above_zero(theirs[name])
        verb = "favours" if name == "attention" else "favour"
        for number in above_zero(measured):
            difference = None
            if number in theirs[name]:
                difference = mean_difference(
                    measured[number][0], theirs[name][number][0]
                )
            where = f"thought {number}" if number else "the question"
            yield (
                f"{name} that {verb} the frontier at {where}",
                _judge(difference, number in shown),
            )
