"""The plot of probes: which step can be read from which thought."""

from typing import TYPE_CHECKING

import numpy as np

from keras_coconut.analysis.plots.output import (
    Width,
    check_output,
    finish,
)
from keras_coconut.analysis.plots.style import (
    FONT_SIZE,
    make_panels,
    set_title,
)
from keras_coconut.analysis.probing.probes import ThoughtProbes
from keras_coconut.analysis.probing.step_probes import StepProbe
from keras_coconut.checks import (
    PathLike,
    check_count,
    check_instance,
    refuse,
)
from keras_coconut.evaluation.statistics import Share

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Inches that a number takes in a cell, what stands beside the cells, of a row
# of them, and of the colours' key.
_CELL, _MARGIN, _ROW, _BAR = 0.3, 0.5, 0.33, 0.55


def plot_probes(
    probes: ThoughtProbes,
    *,
    layer: int | None = None,
    path: PathLike | None = None,
    width: Width = "page",
) -> "Figure":
    """Plots the accuracy of each probe, slot by step, beside its null.

    A cell holds the accuracy in per cent and, below it, half the width of its
    Wilson interval. A star marks a step whose probe gains more than that of
    every other step from the same thought (p < 0.05, corrected), and whose
    interval is above both nulls. The null is the better of the most frequent
    label and of shuffled labels. Cells that are too small for
    numbers have none.

    Args:
        probes: a `ThoughtProbes`.
        layer: int. One of `probes.layers`, to plot the probes of that layer's
            output. Defaults to `None`: those of the thoughts.
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
    found = keras_coconut.thought_probes(model, problems, folds=2, layers=[0])
    keras_coconut.plot_probes(found, path="probes.pdf")
    keras_coconut.plot_probes(found, layer=0, width="column")
    ```
    """
    expected = "a `keras_coconut.ThoughtProbes`"
    check_instance("probes", probes, ThoughtProbes, expected)
    if layer is not None:
        layer = check_count("layer", layer)
        if layer not in probes.layers:
            known = sorted(probes.layers)
            raise refuse("layer", f"one of `probes.layers`, {known}", layer)
    output = check_output(path, width)
    found = _table(probes, layer)
    tables = [("model", _map(found, _accuracy), found)]
    if probes.control is not None:
        of_control = _table(probes.control, layer)
        tables.append(("control", _map(of_control, _accuracy), of_control))
    tables.append(("null", _map(found, _null), None))
    slots, steps = len(found), max(map(len, found))
    room = int(output.inches / (_MARGIN + _CELL * steps) + 1e-6)
    columns = max(1, min(room, len(tables)))
    figure, panels = make_panels(
        output, len(tables), columns, _ROW * slots + 0.45
    )
    inches = (output.inches / columns - _MARGIN) / steps
    for number, (title, shares, marked) in enumerate(tables):
        axes = panels[number]
        picture = _draw_table(axes, shares)
        _write_cells(axes, shares, marked, inches)
        set_title(axes, title)
        if number % columns == 0:
            axes.set_ylabel("thought")
    figure.set_figheight(figure.get_figheight() + _BAR)
    bar = figure.colorbar(
        picture, ax=panels, location="bottom", shrink=0.6, aspect=40, pad=0.03
    )
    bar.set_label("accuracy (%), * read better than others", size=FONT_SIZE)
    bar.ax.tick_params(labelsize=FONT_SIZE, length=2.5)
    return finish(figure, output)


def _table(probes, layer):
    return probes.thoughts if layer is None else probes.layers[layer]


def _accuracy(probe: StepProbe) -> Share:
    return probe.accuracy


def _null(probe: StepProbe) -> Share:
    return max(probe.majority, probe.shuffled)


def _is_best(probe: StepProbe) -> bool:
    if probe.p_value is None or probe.p_value >= 0.05:
        return False
    return probe.accuracy.low > _null(probe).share


def _map(table, function) -> list[list[Share | None]]:
    return [[probe and function(probe) for probe in slot] for slot in table]


def _draw_table(axes, shares):
    """Draws shares as colours."""
    values = [
        [np.nan if share is None else 100 * share.share for share in row]
        for row in shares
    ]
    # Dark to light, in colour as in grey.
    picture = axes.imshow(
        np.array(values), vmin=0, vmax=100, cmap="cividis", aspect="auto"
    )
    axes.set_facecolor("white")
    slots, steps = np.shape(values)
    axes.set_xticks(range(steps), [str(step + 1) for step in range(steps)])
    axes.set_yticks(range(slots), [str(slot + 1) for slot in range(slots)])
    axes.set_xlabel("step")
    return picture


def _write_cells(axes, shares, marked, inches) -> None:
    """Writes the numbers into cells that are so many inches wide."""
    for slot, row in enumerate(shares):
        for step, share in enumerate(row):
            if share is None:
                continue
            text = f"{100 * share.share:.0f}"
            if marked is not None and _is_best(marked[slot][step]):
                text += "*"
            if inches >= 0.9 * _CELL:
                text += f"\n±{50 * (share.high - share.low):.0f}"
            if inches >= 0.7 * _CELL:
                axes.text(
                    step,
                    slot,
                    text,
                    ha="center",
                    va="center",
                    fontsize=FONT_SIZE,
                    linespacing=0.95,
                    color="black" if share.share > 0.5 else "white",
                )
