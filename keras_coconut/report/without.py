"""What a model answers without its thoughts, and in another order."""

from collections.abc import Mapping

from keras_coconut.evaluation import Evaluation
from keras_coconut.report import words
from keras_coconut.report.comparing import compare, tolerance

# A response that is longer by less says no more.
_LONGER = 1.1


def without_thoughts(
    own: Evaluation, controls: Mapping[str, Evaluation]
) -> list[str]:
    """Says what the model answers if it does not think.

    Args:
        own: `Evaluation` with the model's own thoughts.
        controls: what `evaluate_controls` returns for the same problems.
    """
    said = []
    if "none" in controls:
        none = controls["none"]
        kind = compare(own, none)
        text = words.share(none.interval)
        if kind == "lower":
            said.append(f"Without thoughts it answers only {text}.")
        elif kind == "somewhat lower":
            limit = words.points(tolerance(own.interval))
            said.append(
                f"Without thoughts it answers fewer, {text}; whether by more "
                f"than {limit}, these problems do not tell."
            )
        elif kind == "a little lower":
            said.append(f"Without thoughts it answers a little fewer, {text}.")
        elif kind == "unclear":
            said.append(
                f"Without thoughts it answers {text}; whether that is as "
                "many, these problems do not tell."
            )
        else:
            many = words.as_many(own.interval, none.interval)
            said.append(f"Without thoughts it answers {many}, {text}:")
            said.append(_instead(own, none))
    if "removed" in controls:
        removed = controls["removed"]
        compared = {
            "lower": "fewer",
            "somewhat lower": "fewer",
            "a little lower": "a little fewer",
            "as high": words.as_many(own.interval, removed.interval),
            "unclear": "perhaps fewer",
        }[compare(own, removed)]
        said.append(
            "With its thoughts removed and the response left at its "
            f"positions, it answers {compared}: "
            f"{words.share(removed.interval)}."
        )
    return said


def _instead(own: Evaluation, none: Evaluation) -> str:
    """Says whether a model writes what it does not think."""
    # Not by their tokens, of which thoughts are some.
    written, longer = (
        sum(map(len, found.predictions)) / len(found.predictions)
        for found in (own, none)
    )
    if longer > _LONGER * written:
        return (
            f"it writes its steps instead, {longer:.0f} characters of text "
            f"where it wrote {written:.0f} after thoughts."
        )
    return (
        f"it needs neither thoughts nor more text, {longer:.0f} characters in "
        "all."
    )


def in_another_order(
    own: Evaluation, controls: Mapping[str, Evaluation]
) -> list[str]:
    """Says whether the order of the thoughts matters.

    Args:
        own, controls: see `without_thoughts`.
    """
    if "shuffled" not in controls:
        return []
    shuffled = controls["shuffled"]
    kind, text = compare(own, shuffled), words.share(shuffled.interval)
    if kind in ("lower", "somewhat lower"):
        return [f"The order of its thoughts matters: {text} in another order."]
    if kind == "a little lower":
        return [
            f"The order of its thoughts matters a little: {text} in another "
            "order."
        ]
    if kind == "as high":
        return [
            f"The order of its thoughts hardly matters: {text} in another "
            "order."
        ]
    return [f"In another order, its thoughts give {text}."]
