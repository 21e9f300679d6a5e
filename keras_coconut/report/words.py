"""Figures in words: shares, means, counts and lists."""

import math
from collections.abc import Sequence

from keras_coconut.evaluation.statistics import Interval, Share

# What stands in the slots of a model, by its kind of thoughts.
NOUNS = {"continuous": "thought", "pause": "pause"}


def share(value: Share) -> str:
    """Returns a share with its interval: "96.0% (93.9% to 97.4%)"."""
    return f"{value.share:.1%} ({value.low:.1%} to {value.high:.1%})"


def as_many(own: Share, *others: Share) -> str:
    """Says how many problems are answered where no loss counts.

    Args:
        own: `Share` that the others are compared with.
        others: `Share`s that are as high as `own`, or higher.
    """
    higher = [other.low > own.high for other in others]
    if all(higher):
        return "more"
    return "about as many or more" if any(higher) else "about as many"


def mean(value: Interval, digits: int = 2) -> str:
    """Returns a mean with its margin: "2.10 ± 0.25"."""
    if math.isnan(value.mean):
        return "unknown"
    text = f"{value.mean:z.{digits}f}"
    if math.isnan(value.margin):
        return text
    return f"{text} ± {value.margin:.{digits}f}"


def points(value: float) -> str:
    """Returns a difference of shares: "10.0 points"."""
    return f"{100 * value:.1f} points"


def seconds(value: float) -> str:
    """Returns a time: "12 ms", "3.4 s" or "2 min 5 s"."""
    if value < 0.00995:
        return f"{1000 * value:.2g} ms"
    if value < 0.0995:
        return f"{1000 * value:.0f} ms"
    if value < 99.5:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s"


def counted(count: int, noun: str) -> str:
    """Returns a number of things: "1 thought", "no thoughts"."""
    return f"{count or 'no'} {noun}{'' if count == 1 else 's'}"


def listed(items: Sequence[str], joined: str = "and") -> str:
    """Returns a list in words: "a, b and c"."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {joined} {items[-1]}"
