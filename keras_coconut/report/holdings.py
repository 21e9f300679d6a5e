"""The verdict on what thoughts hold."""

from keras_coconut.analysis import SearchTree, Superposition, ThoughtProbes
from keras_coconut.report import words
from keras_coconut.report.comparing import above_zero
from keras_coconut.report.patterns import (
    Readable,
    frontiers,
    place,
    preferences,
    readable_steps,
    searched_levels,
)
from keras_coconut.report.verdicts import Verdict

NOTHING_FOUND = "Nothing was found"


def hold(
    probes: ThoughtProbes | None,
    tree: SearchTree | None,
    superposition: Superposition | None,
    thought_kind: str,
) -> Verdict:
    """Says what the thoughts hold.

    Args:
        probes: a `ThoughtProbes`, or `None` where there is none.
        tree: a `SearchTree`, or `None`.
        superposition: a `Superposition`, or `None`.
        thought_kind: `"continuous"` or `"pause"`.
    """
    noun = "thought"
    if thought_kind == "pause":
        noun = "state before a pause"
    held, said, figures = [], [], {}
    if probes is not None:
        steps = readable_steps(probes)
        held += _held(steps)
        said += _probed(steps, thought_kind, figures)
    if tree is not None:
        if searched_levels(tree):
            held.append("the frontier of the search")
        said += _searched(tree, figures)
    if superposition is not None:
        said += _resembled(superposition)
    if not said:
        said.append("Nothing was measured that would tell.")
    outcome = words.listed(held).capitalize() if held else NOTHING_FOUND
    if thought_kind == "pause":
        said.append(
            "A pause feeds nothing back: these are the states that Coconut "
            "would feed back in its place."
        )
    question = f"What do the {noun.replace('state', 'states')}"
    question += " hold?" if thought_kind == "pause" else "s hold?"
    return Verdict("hold", question, outcome, " ".join(said), figures)


def _held(steps: list[Readable]) -> list[str]:
    """Returns what readable steps show of thoughts, if anything."""
    later = [entry for entry in steps if entry.is_later]
    if not steps:
        return []
    if not later:
        return ["steps that may come from the question alone"]
    if any(entry.selective and entry.slot for entry in later):
        return ["steps of the reasoning"]
    return ["steps of the reasoning, mixed"]


def _probed(steps: list[Readable], thought_kind, figures) -> list[str]:
    is_pause = thought_kind == "pause"
    if not steps:
        noun = "state before a pause" if is_pause else "thought"
        return [
            f"No linear probe reads a step from any {noun} better than it "
            "would guess."
        ]
    said = []
    for step, slot, probe, _, before, _ in steps:
        figures[f"step {step + 1} from {slot + 1}"] = probe.accuracy
        where = "the state before pause" if is_pause else "thought"
        beside = f"the most frequent value: {probe.majority.share:.1%}"
        if not slot:
            beside += "; this is the question's last state"
        elif before is not None:
            beside += (
                f"; the question's last state: {words.share(before.accuracy)}"
            )
            figures[f"step {step + 1} from the question"] = before.accuracy
        said.append(
            f"step {step + 1} from {where} {slot + 1} in "
            f"{words.share(probe.accuracy)} of {probe.accuracy.total} problems "
            f"({beside})"
        )
    lines = [f"Linear probes read {words.listed(said)}."]
    selective = [entry for entry in steps if entry.selective]
    if selective:
        lines.append(
            f"{_steps(selective).capitalize()} "
            f"{'are' if len(selective) > 1 else 'is'} read better than any "
            "other step from there."
        )
    else:
        lines.append(
            "No step is read better than all others from the same place, so "
            "the probes do not show which step is there."
        )
    early = [entry for entry in steps if not entry.is_later]
    if early:
        lines.append(
            f"Of {_steps(early)} no later state is clearly read better than "
            "the question's last one, before anything is thought."
        )
    return lines


def _steps(entries) -> str:
    """Returns "step 1" or "steps 1 and 2"."""
    numbers = words.listed([str(entry.step + 1) for entry in entries])
    return f"step{'s' * (len(entries) > 1)} {numbers}"


def _searched(tree: SearchTree, figures) -> list[str]:
    said = []
    for number, mass in frontiers(tree).items():
        figures[f"frontier after {number}"] = mass.share
        figures[f"frontier after {number}, chance"] = mass.chance
        said.append(
            f"{100 * mass.share.mean:.0f}% after "
            f"{words.counted(number, 'thought')} (chance "
            f"{100 * mass.chance:.0f}%)"
        )
    if not said:
        return []
    return [
        "Of the value of all nodes, the frontier of the search has "
        f"{words.listed(said)}."
    ]


def _resembled(found: Superposition) -> list[str]:
    said = []
    for name, measured in preferences(found).items():
        # Of what was not measured nothing is said.
        if not measured:
            continue
        places = above_zero(measured)
        verb = "favours" if name == "attention" else "favour"
        if places:
            said.append(
                f"{name} {verb} the frontier over nodes out of reach at "
                f"{_places(places)}"
            )
        else:
            verb = "does" if name == "attention" else "do"
            said.append(f"{name} {verb} not favour the frontier at any thought")
    return [f"{words.listed(said).capitalize()}."] if said else []


def _places(numbers) -> str:
    """Returns "the question", "thought 1", "the question and thought 1"."""
    thoughts = [place(number) for number in numbers if number]
    said = [] if 0 not in numbers else ["the question"]
    if thoughts:
        noun = f"thought{'s' * (len(thoughts) > 1)}"
        said.append(f"{noun} {words.listed(thoughts)}")
    return words.listed(said)
