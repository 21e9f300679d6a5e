"""The plot of a superposition: what thoughts attend to and resemble."""

from typing import TYPE_CHECKING

import numpy as np

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
    SERIES,
    add_legend,
    line_key,
    make_grid,
    set_numbers,
    set_title,
)
from keras_coconut.analysis.search.superposition import Superposition
from keras_coconut.checks import PathLike, check_instance

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_GROUPS = {
    "optimal": MODEL,
    "frontier": CONTROL,
    "reachable": SERIES[3],
    "not_reachable": SERIES[2],
}


def plot_groups(
    superposition: Superposition,
    *,
    path: PathLike | None = None,
    width: Width = "page",
) -> "Figure":
    """Plots attention and inner products by group, thought by thought.

    Points are means over all edges or nodes of a group in all problems, with
    95% intervals over the problems. Attention is read at the question's last
    token too, which comes before the first thought. The control's panels are
    below the model's, at the same scale; attention is the mean over heads if
    the two have different numbers of them, else the sum.

    Args:
        superposition: a `Superposition`.
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
    found = keras_coconut.superposition(model, graph_problems, num_thoughts=2)
    keras_coconut.plot_groups(found, width="column").savefig("groups.png")
    ```
    """
    check_instance(
        "superposition",
        superposition,
        Superposition,
        "a `keras_coconut.Superposition`",
    )
    output = check_output(path, width)
    models = [("model", superposition)]
    if superposition.control is not None:
        models.append(("control", superposition.control))
    # Sums over other numbers of heads have other scales.
    by_head = len({found.num_heads for _, found in models}) > 1
    figure, grid = make_grid(output, len(models), 2, 1.7, sharey="col")
    for row, (name, found) in zip(grid, models):
        attention, label = found.attention, "attention to edges"
        if by_head:
            attention, label = found.attention_per_head, "attention per head"
        # The first entry is read at the question's last token.
        _draw_groups(row[0], attention, ["question"])
        row[0].set_ylabel(label)
        _draw_groups(row[1], found.inner_products, [])
        row[1].set_ylabel("inner products")
        if len(models) > 1:
            set_title(row[0], name)
            set_title(row[1], name)
    for axes in grid[:-1].flat:
        axes.set_xlabel("")
    add_legend(
        figure,
        [
            line_key(look, name.replace("_", " "))
            for name, look in _GROUPS.items()
        ],
    )
    return finish(figure, output)


def _draw_groups(axes, entries, names) -> None:
    """Draws the means of each group; thoughts follow what has `names`."""
    # Without the last ones, which no solution is long enough for.
    while entries and entries[-1] is None:
        entries = entries[:-1]
    for number, (name, look) in enumerate(_GROUPS.items()):
        found = [entry and getattr(entry, name) for entry in entries]
        # Side by side, so that no interval covers another.
        places = np.arange(len(entries)) + 0.08 * (number - 1.5)
        draw_line(axes, places, found, look)
    axes.axhline(0, color="0.6", lw=0.6, zorder=0)
    thoughts = range(1, len(entries) - len(names) + 1)
    set_numbers(axes, [*names[: len(entries)], *thoughts], "thought")
    axes.set_xlim(-0.4, max(len(entries), 1) - 0.6)
