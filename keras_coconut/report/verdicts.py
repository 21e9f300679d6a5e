"""Verdicts: what the figures of a model say, in sentences."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from keras_coconut.analysis import MinimalPairEvaluation
from keras_coconut.evaluation import Evaluation
from keras_coconut.report import words
from keras_coconut.report.comparing import (
    FEWER,
    compare,
    problems_needed,
    tolerance,
)
from keras_coconut.report.without import in_another_order, without_thoughts

CARRY = "They carry it"
DO_NOT_CARRY = "They do not carry it"
IN_PART = "They carry it at most in part"
UNDECIDED = "Undecided"
PAUSES = "Pauses cannot carry it"
NO_THOUGHTS = "It does not think"
NO_ANSWERS = "No right answers"

# What may take the place of thoughts, and how a sentence calls it.
REPLACED = {
    "noise": "noise",
    "other": "another problem's thoughts",
    "mean": "the mean thought",
    "zeros": "zeros",
}


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The answer to one question about a model.

    Attributes:
        name: string, a short name of the question.
        question: string.
        outcome: string, the answer in a few words.
        text: string, the answer in sentences, with intervals.
        figures: dictionary. The figures that the answer rests on, by name.

    Example:
    ```python
    card = keras_coconut.report_card(model, problems)
    for verdict in card.verdicts:
        print(verdict.question, verdict.outcome)
    ```
    """

    name: str
    question: str
    outcome: str
    text: str
    figures: dict[str, Any]


def carry(
    own: Evaluation,
    controls: Mapping[str, Evaluation],
    thought_kind: str,
    pairs: MinimalPairEvaluation | None = None,
) -> Verdict:
    """Says whether the thoughts carry the answer.

    They do if the accuracy is lower with any other thoughts in their place,
    and do not if it is as high with all of them. If with some or all it is a
    little lower, but with none much, they carry it at most in part; see
    `compare`.

    Args:
        own: `Evaluation` with the model's own thoughts.
        controls: what `evaluate_controls` returns for the same problems.
        thought_kind: `"continuous"` or `"pause"`.
        pairs: `MinimalPairEvaluation` of the model. Optional.
    """
    accuracy = own.interval
    figures = {
        "own": accuracy,
        **{name: found.interval for name, found in controls.items()},
    }
    if not controls:
        outcome, said = (
            NO_THOUGHTS,
            [
                "The model answers without thoughts, "
                f"{words.share(accuracy)} of {accuracy.total} problems."
            ],
        )
    elif not accuracy.share:
        outcome, said = (
            NO_ANSWERS,
            [
                f"The model answers none of the {accuracy.total} problems "
                "correctly, so there is no answer to carry."
            ],
        )
    elif thought_kind == "pause":
        outcome, said = PAUSES, _pauses(own, controls)
    else:
        outcome, said = _replaced(own, controls)
        said += without_thoughts(own, controls)
        none = controls.get("none")
        if outcome == CARRY and none and compare(own, none) == "as high":
            said.append(
                "So the thoughts carry the answer where there are any, and the "
                "model can do without them."
            )
        said += in_another_order(own, controls)
        if pairs is not None and pairs.all_thoughts is not None:
            figures["twin's thoughts"] = pairs.all_thoughts.donor
            said += _swapped(pairs, figures)
    question = "Do the thoughts carry the answer?"
    return Verdict("carry", question, outcome, " ".join(said), figures)


def _replaced(own: Evaluation, controls) -> tuple[str, list[str]]:
    """Returns the outcome of replaced thoughts, and the sentences."""
    others = {name: controls[name] for name in REPLACED if name in controls}
    found = {name: compare(own, other) for name, other in others.items()}

    def those(kind):
        return words.listed(
            [
                f"{REPLACED[name]} {words.share(others[name].interval)}"
                for name, each in found.items()
                if each == kind
            ]
        )

    first = (
        "With its own thoughts the model answers "
        f"{words.share(own.interval)} of {len(own.correct)} problems correctly."
    )
    many = words.as_many(
        own.interval,
        *[
            others[name].interval
            for name, each in found.items()
            if each == "as high"
        ],
    )
    kinds = set(found.values())
    limit = words.points(tolerance(own.interval))
    if kinds == {"lower"}:
        return CARRY, [
            first,
            f"With other thoughts in their place it answers fewer: "
            f"{those('lower')}. None of these intervals overlaps its own.",
        ]
    if kinds == {"as high"}:
        return DO_NOT_CARRY, [
            first,
            f"With other thoughts in their place it answers {many}: "
            f"{those('as high')}. No loss is significant, and one of more than "
            f"{limit} is excluded.",
        ]
    said = [first]
    if "lower" in kinds:
        said.append(f"It answers fewer with {those('lower')}.")
    if "somewhat lower" in kinds:
        said.append(
            f"It answers fewer with {those('somewhat lower')}: the loss is "
            f"significant, and whether it is more than {limit}, these problems "
            "do not tell."
        )
    if "a little lower" in kinds:
        said.append(
            f"It answers a little fewer with {those('a little lower')}: the "
            f"loss is significant, but not more than {limit}."
        )
    if "as high" in kinds:
        said.append(f"It answers {many} with {those('as high')}.")
    if kinds <= {"a little lower", "as high"}:
        return IN_PART, said
    if "unclear" in kinds:
        said.append(
            f"{_unclear(others, found)} unclear: no loss is significant, and "
            f"one of more than {limit} is not excluded."
        )
    elif "somewhat lower" not in kinds:
        said.append(_disagree(found))
        return UNDECIDED, said
    needed = problems_needed(own, others.values())
    number = "no number of" if needed is None else f"about {needed:,}"
    said.append(f"With such shares, {number} problems would make this clear.")
    return UNDECIDED, said


def _unclear(others, found) -> str:
    """Returns "Noise (30.0%) is" or "Noise (30.0%) and zeros (20.0%) are"."""
    said = [
        f"{REPLACED[name]} ({others[name].accuracy:.1%})"
        for name, kind in found.items()
        if kind == "unclear"
    ]
    text = words.listed(said)
    return f"{text[0].upper()}{text[1:]} {'is' if len(said) == 1 else 'are'}"


def _disagree(found) -> str:
    """Says what it may mean that replacements do not agree."""
    if found.get("other") == "as high":
        return (
            "Another problem's thoughts serve about as well as its own, so "
            "they hold little of this problem that the answer needs; thoughts "
            "unlike any of its own may only confuse the model."
        )
    if found.get("mean") == "as high":
        return (
            "The mean thought, which is the same for all problems, serves "
            "about as well as its own: the model follows thoughts that say "
            "something else, and hardly needs them."
        )
    return "The replacements disagree."


def _pauses(own: Evaluation, controls) -> list[str]:
    """Says what a model that pauses does with its pauses."""
    accuracy = own.interval
    said = [
        "Its thoughts are pauses: one token, the same in every problem. There "
        "is nothing in them to replace, and no result is fed back. The "
        f"verdict rests on leaving them out. With pauses the model answers "
        f"{words.share(accuracy)} of {accuracy.total} problems.",
        *without_thoughts(own, controls),
    ]
    kinds = {compare(own, found) for found in controls.values()}
    if kinds <= set(FEWER):
        said.append(
            "Without them it answers fewer; it may be that it was not trained "
            "without them."
        )
    elif kinds == {"as high"}:
        said.append("The pauses contribute little or nothing to the answer.")
    return said


def _swapped(pairs: MinimalPairEvaluation, figures) -> list[str]:
    """Says whether an answer follows the thoughts of a twin."""
    swap, null = pairs.all_thoughts, pairs.no_swap
    assert swap is not None and null is not None  # They come together.
    figures["twin's answer without a swap"] = null.donor
    said = (
        "With the thoughts of a twin question, in which one number is "
        f"another, the answer is the twin's in {words.share(swap.donor)} of "
        f"{swap.donor.total} pairs; with its own thoughts in "
        f"{words.share(null.donor)}"
    )
    if pairs.other_problems is not None:
        others = pairs.other_problems.donor
        figures["unrelated problem's thoughts"] = others
        said += (
            "; with those of an unrelated problem it is that problem's in "
            f"{words.share(others)}"
        )
    return [f"{said}."]
