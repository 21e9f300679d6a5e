"""Patterns of thoughts: steps that are read, frontiers that stand out."""

import math
from typing import NamedTuple

from keras_coconut.analysis import (
    SearchTree,
    StepProbe,
    Superposition,
    ThoughtProbes,
)
from keras_coconut.analysis.search.group_means import GroupMeans
from keras_coconut.analysis.search.tree_figures import MassShare
from keras_coconut.evaluation import Interval, holm
from keras_coconut.report.comparing import (
    MOST_P_VALUE,
    above_zero,
    mean_difference,
    share_difference,
)


class Readable(NamedTuple):
    """The step that a probe reads best, and where.

    `selective` says whether it reads this step better than any other one from
    the same thought. `before` is the probe of the same step on the state at
    the end of the question, which is slot 0; `None` if there is none.
    `is_later` says whether some later state is read better than that.
    """

    step: int
    slot: int
    probe: StepProbe
    selective: bool
    before: StepProbe | None
    is_later: bool


def readable(probes: ThoughtProbes) -> dict[tuple[int, int], StepProbe]:
    """Returns the probes that read a step better than they would guess.

    By their slots and steps. They are right more often than the most frequent
    label and than probes of shuffled labels, by binomial tests against these
    shares that are corrected for their number by Holm's method.
    """
    every = {
        (slot, step): probe
        for slot, steps in enumerate(probes.thoughts)
        for step, probe in enumerate(steps)
        if probe is not None
    }
    if not every:
        return {}
    p_values = holm([_chance(probe) for probe in every.values()])
    return {
        place: probe
        for (place, probe), p_value in zip(every.items(), p_values)
        if p_value < MOST_P_VALUE
    }


def _chance(probe: StepProbe) -> float:
    """Returns the p-value of so many right guesses, 1 if they are no more."""
    from scipy import stats

    guessed = max(probe.majority.share, probe.shuffled.share)
    share, *_, total = probe.accuracy
    if share <= guessed:
        return 1.0
    return float(stats.binomtest(round(share * total), total, guessed).pvalue)


def is_selective(probe: StepProbe) -> bool:
    """Whether a step is read better than guessed and than any other there."""
    guessed = max(probe.majority.share, probe.shuffled.share)
    return (
        probe.accuracy.low > guessed
        and probe.p_value is not None
        and probe.p_value < MOST_P_VALUE
    )


def readable_steps(probes: ThoughtProbes) -> list[Readable]:
    """Returns the steps that are readable; see `readable`.

    Of several thoughts the one counts from which a step is read selectively,
    then the one from which it is read best.
    """
    found: dict[int, Readable] = {}
    for (slot, step), probe in readable(probes).items():
        before = probes.thoughts[0][step]
        entry = Readable(
            *(step, slot, probe, is_selective(probe), before),
            before is not None and _is_better(probe, before),
        )
        best = found.get(step, entry)
        is_later = entry.is_later or best.is_later
        best = max(best, entry, key=_rank)
        found[step] = best._replace(is_later=is_later)
    return [found[step] for step in sorted(found)]


def _rank(entry: Readable):
    return entry.selective, entry.probe.accuracy.share, -entry.slot


def _is_better(probe: StepProbe, before: StepProbe) -> bool:
    return share_difference(probe.accuracy, before.accuracy).low > 0


def is_known(value) -> bool:
    """Whether a mean has an interval."""
    return not math.isnan(value.mean) and not math.isnan(value.margin)


def frontiers(tree: SearchTree) -> dict[int, MassShare]:
    """Returns the frontier's share after each number of thoughts, if known."""
    return {
        level.num_thoughts: level.frontier_mass.frontier
        for level in tree.levels
        if level.frontier_mass is not None
        and is_known(level.frontier_mass.frontier.excess)
    }


def searched_levels(tree: SearchTree) -> dict[int, MassShare]:
    """Returns the frontier's share by thoughts, where above chance.

    Without thoughts there is nothing that they could hold. The tests are
    corrected for the number of levels; see `above_zero`.
    """
    known = frontiers(tree)
    counts = {level.num_thoughts: level.num_problems for level in tree.levels}
    above = above_zero(
        {
            number: (mass.excess, counts[number])
            for number, mass in known.items()
            if number
        }
    )
    return {number: known[number] for number in above}


# What is said of attention, which is read from the question's last token on,
# and of inner products, which are of thoughts.
_FIRST = {"attention": 0, "inner products": 1}


def place(number: int) -> str:
    """Returns where something is read: "question", or a thought's number."""
    return str(number) if number else "question"


def preferences(
    found: Superposition,
) -> dict[str, dict[int, tuple[Interval, int]]]:
    """Returns how much the frontier has more than nodes out of reach.

    `"attention"` is of the edges that leave the nodes, `"inner products"` of
    the nodes themselves. For each thought, counted from 1, with 0 for the
    question's last token, there is the difference of the means with its margin
    and the number of problems. What has no interval is left out.
    """
    means = {
        "attention": found.attention,
        "inner products": found.inner_products,
    }
    return {
        name: {
            number: _preference(groups)
            for number, groups in enumerate(means[name], first)
            if groups is not None
            and is_known(groups.frontier)
            and is_known(groups.not_reachable)
        }
        for name, first in _FIRST.items()
    }


def _preference(groups: GroupMeans) -> tuple[Interval, int]:
    frontier, rest = groups.frontier, groups.not_reachable
    return (
        mean_difference(
            Interval(frontier.mean, frontier.margin),
            Interval(rest.mean, rest.margin),
        ),
        min(frontier.problems, rest.problems),
    )
