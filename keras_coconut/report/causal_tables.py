"""The tables of what is changed: edges of graphs, thoughts of twins."""

from collections.abc import Iterator

from keras_coconut.analysis import (
    CounterfactualEvaluation,
    MinimalPairEvaluation,
)
from keras_coconut.report import words
from keras_coconut.report.table import EMPTY, Table, both


def counterfactuals(result: CounterfactualEvaluation) -> Iterator[Table]:
    """Yields the table of answers after an edge is moved."""
    columns = {
        "accuracy": "right, original",
        "changed_accuracy": "right, answer turned around",
        "neutral_accuracy": "right, neutral change",
        "following": "follows the edge",
        "staying": "stays",
        "false_following": "turns around after a neutral change",
        "decoy_accuracy": "right, decoy",
        "decoy_following": "turns around with a decoy",
    }
    yield from _shares(result, columns, "answers after an edge is moved")


def minimal_pairs(result: MinimalPairEvaluation) -> Iterator[Table]:
    """Yields the tables of questions with the thoughts of their twins."""
    columns = {
        "accuracy": "right, question",
        "twin_accuracy": "right, twin",
    }
    yield from _shares(result, columns, "answers to questions and twins")
    for whose, found in both(result):
        if found.no_swaps_because is not None:
            continue
        swaps = {
            "its own": found.no_swap,
            "all of the twin's": found.all_thoughts,
        }
        for slot, swap in enumerate(found.each_thought, 1):
            swaps[f"the twin's thought {slot}"] = swap
        swaps["those of an unrelated problem"] = found.other_problems
        yield Table(
            f"{whose}whose answer it gives",
            ["thoughts", "the donor's", "its own", "another"],
            [
                [name, *map(words.share, (swap.donor, swap.own, swap.other))]
                for name, swap in swaps.items()
                if swap is not None
            ],
        )


def _shares(result, columns, caption):
    """Yields a table with a row for each share of both models."""
    named = [
        ("model", result),
        *([] if result.control is None else [("control", result.control)]),
    ]
    yield Table(
        caption,
        ["", *(name for name, _ in named)],
        [
            [
                title,
                *(
                    EMPTY if value is None else words.share(value)
                    for value in (getattr(found, key) for _, found in named)
                ),
            ]
            for key, title in columns.items()
        ],
        note=_skipped(result.skipped),
    )


def _skipped(skipped: dict[str, int]) -> str:
    """Returns how many problems have no pair, and why."""
    if not skipped:
        return ""
    reasons = "; ".join(
        f"{words.counted(count, 'problem')} ({reason})"
        for reason, count in skipped.items()
    )
    return f"No pair could be made of {reasons}."
