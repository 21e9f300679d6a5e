"""The plot of the geometry of thoughts, beside noise and a control."""

from typing import TYPE_CHECKING

import numpy as np

from keras_coconut.analysis.geometry import ThoughtGeometry
from keras_coconut.analysis.plots.intervals import (
    draw_line,
)
from keras_coconut.analysis.plots.output import (
    Width,
    check_output,
    finish,
)
from keras_coconut.analysis.plots.style import (
    CONTROL,
    MODEL,
    NULL,
    add_legend,
    line_key,
    make_panels,
    set_numbers,
    set_title,
)
from keras_coconut.checks import PathLike, check_instance
from keras_coconut.evaluation.statistics import Interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NOISE = NULL._replace(color="0.45")
_TITLES = {
    "norm": "norm",
    "norm_in_embeddings": "norm, in\nembeddings",
    "effective_rank": "effective rank",
    "centered_rank": "effective rank\nwithout the mean",
    "to_next": "cosine to the\nnext thought",
    "across_problems": "cosine to\nother problems",
    "nearest_embedding": "cosine to the\nnearest token",
}


def plot_geometry(
    geometry: ThoughtGeometry,
    *,
    path: PathLike | None = None,
    width: Width = "page",
) -> "Figure":
    """Plots norms, ranks and cosines of the thoughts, slot by slot.

    Means over the problems have 95% intervals; a rank is one number for all of
    them. Noise of the same norms, and the control, are in the same panels.

    Args:
        geometry: a `ThoughtGeometry`.
        path: string or path-like. An image to write too, such as a `.png` or
            `.pdf` file. Optional.
        width: `"column"` (3.3 inches) or `"page"` (6.9 inches). Defaults to
            `"page"`.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is missing.
        ValueError: If an argument is invalid.
        OSError: If the file cannot be written.

    Example:
    ```python
    found = keras_coconut.thought_geometry(model, problems)
    keras_coconut.plot_geometry(found, path="geometry.pdf")
    ```
    """
    expected = "a `keras_coconut.ThoughtGeometry`"
    check_instance("geometry", geometry, ThoughtGeometry, expected)
    output = check_output(path, width)
    kinds = [
        (geometry.noise, _NOISE, "noise"),
        (geometry.thoughts, MODEL, "model"),
    ]
    if geometry.control is not None:
        kinds.append((geometry.control.thoughts, CONTROL, "control"))
    columns = 4 if output.is_wide else 2
    figure, panels = make_panels(output, len(_TITLES), columns, 1.5)
    for axes, (name, title) in zip(panels, _TITLES.items()):
        for number, (vectors, look, _) in enumerate(kinds):
            found = [getattr(slot, name) for slot in vectors.slots]
            if name.endswith("rank"):
                # Without an interval.
                found = [Interval(rank, np.nan) for rank in found]
            slots = [slot.slot for slot in vectors.slots]
            places = np.array(slots) + 0.1 * (number - 1)
            draw_line(axes, places, found, look)
        numbers = range(1, 1 + len(geometry.thoughts.slots))
        set_numbers(axes, numbers, "thought")
        axes.set_xlim(-0.5, len(numbers) - 0.5)
        axes.margins(y=0.12)
        if not name.startswith(("to_", "across", "nearest")):
            axes.set_ylim(0, 1.1 * axes.get_ylim()[1])
        set_title(axes, title)
    keys = [line_key(look, label) for _, look, label in kinds]
    add_legend(figure, [*keys[1:], keys[0]])
    return finish(figure, output)
