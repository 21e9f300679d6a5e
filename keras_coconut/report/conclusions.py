"""The verdicts of a report, from the results of its sections."""

from collections.abc import Mapping

from keras_coconut.report import (
    control_model,
    following,
    holdings,
    needs,
    verdicts,
)
from keras_coconut.report.sections import Section
from keras_coconut.report.verdicts import Verdict


def draw(
    model, control, num_thoughts: int, sections: Mapping[str, Section]
) -> tuple[Verdict, ...]:
    """Returns the verdicts.

    Args:
        model: a `ContinuousThoughtLM`.
        control: a `ContinuousThoughtLM`, or `None`.
        num_thoughts: int.
        sections: dictionary of `Section`s.
    """
    results = {name: section.result for name, section in sections.items()}
    kind = model.thought_kind
    answers, controls = results["answers"], results["controls"] or {}
    own = answers["model"]
    carried = verdicts.carry(
        own, controls.get("model", {}), kind, results["minimal_pairs"]
    )
    found = [carried]
    probes, tree, similar = named = tuple(
        results[name] for name in ("probes", "tree", "superposition")
    )
    if any(each is not None for each in named):
        found.append(holdings.hold(probes, tree, similar, kind))
    if results["budget"] is not None:
        found.append(needs.needed(results["budget"], kind))
    if results["counterfactuals"] is not None:
        found.append(following.follow(results["counterfactuals"]))
    found.append(
        needs.cost(
            own,
            controls.get("model", {}),
            num_thoughts,
            kind,
            answers.get("control"),
        )
    )
    theirs = None
    if control is not None:
        carried_there = verdicts.carry(
            answers["control"],
            controls.get("control", {}),
            control.thought_kind,
        )
        theirs = control_model.Measured(
            answers["control"],
            carried_there.outcome,
            *(None if each is None else each.control for each in named),
        )
    ours = control_model.Measured(own, carried.outcome, *named)
    control_kind = "" if control is None else control.thought_kind
    found.append(control_model.control(ours, theirs, control_kind))
    return tuple(found)
