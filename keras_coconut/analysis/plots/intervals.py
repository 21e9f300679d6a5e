"""Values drawn with their intervals, as lines and as bars."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from keras_coconut.analysis.plots.style import Look
from keras_coconut.evaluation.statistics import Share


def spreads(found: Iterable[Any], scale: float = 1.0) -> np.ndarray:
    """Returns an array (3, n): each value, and how far its interval goes.

    The last two rows are the distances to the lower and to the upper end. What
    is missing is NaN, which matplotlib leaves out.

    Args:
        found: `Share`s, or tuples with `mean` and `margin`; or `None`.
        scale: float, such as 100 for per cent.
    """
    columns = []
    for each in found:
        if each is None:
            columns.append((np.nan, np.nan, np.nan))
        elif isinstance(each, Share):
            below, above = each.share - each.low, each.high - each.share
            # Rounding may take a limit past the share.
            columns.append((each.share, max(below, 0), max(above, 0)))
        else:
            columns.append((each.mean, each.margin, each.margin))
    return scale * np.array(columns, "float64").reshape(-1, 3).T


def draw_line(
    axes: Any, x: Any, found: Iterable[Any], look: Look, scale: float = 1.0
) -> None:
    """Draws a line through values, with their intervals.

    Args:
        axes: the panel.
        x: array of places.
        found: see `spreads`.
        look: a `Look`.
        scale: float, such as 100 for per cent.
    """
    y, *distances = spreads(found, scale)
    axes.errorbar(x, y, yerr=distances, **look.of_line, elinewidth=1, capsize=2)


def draw_bars(
    axes: Any,
    places: Any,
    found: Iterable[Any],
    look: Look,
    thickness: float,
    *,
    flat: bool = False,
) -> None:
    """Draws bars in per cent, with their intervals.

    Args:
        axes: the panel.
        places: array, the middle of each bar.
        found: see `spreads`.
        look: a `Look`.
        thickness: float, of a bar.
        flat: bool. Whether the bars lie. Defaults to `False`.
    """
    values, *distances = spreads(found, 100)
    errors = dict(fmt="none", ecolor="black", elinewidth=1, capsize=2)
    places = np.asarray(places, "float64")
    if flat:
        axes.barh(places, values, thickness, **look.of_bar)
        axes.errorbar(values, places, xerr=distances, **errors)
    else:
        axes.bar(places, values, thickness, **look.of_bar)
        axes.errorbar(places, values, yerr=distances, **errors)
