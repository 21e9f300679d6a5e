"""How all plots look: panels, colours, marks and legends.

The colours are those of Okabe and Ito, which colour-blind people can tell
apart. Printed in grey some are alike, so that each also has a marker, a line
and a hatch of its own. No text is smaller than 8 points at its printed size.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from keras_coconut.analysis.plots.output import Output

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FONT_SIZE = 8
# Of a letter at this size, on average, of what stands before a label, and of a
# legend's row.
_LETTER, _KEY, _ROW = 0.064, 0.5, 0.17


class Look(NamedTuple):
    """How one of several things is drawn, in any kind of plot."""

    color: str
    marker: str
    line: str
    hatch: str

    @property
    def of_line(self) -> dict[str, Any]:
        """The arguments of a line with markers."""
        return dict(
            color=self.color,
            marker=self.marker,
            linestyle=self.line,
            markersize=4.5,
            linewidth=1.3,
            markeredgecolor="black",
            markeredgewidth=0.4,
        )

    @property
    def of_bar(self) -> dict[str, Any]:
        """The arguments of a bar."""
        return dict(
            facecolor=self.color,
            hatch=self.hatch,
            edgecolor="black",
            linewidth=0.5,
        )


MODEL = Look("#0072B2", "o", "-", "")
CONTROL = Look("#E69F00", "s", "--", "////")
NULL = Look("0.8", "D", ":", "....")
# As many as Okabe and Ito have, the first ones farthest apart in grey.
SERIES = (
    MODEL,
    CONTROL,
    Look("#000000", "^", "-.", ""),
    Look("#CC79A7", "D", ":", "xxxx"),
    Look("#009E73", "v", "-", "\\\\\\\\"),
    Look("#F0E442", "P", "--", ""),
    Look("#D55E00", "X", "-.", "...."),
    Look("#56B4E9", "p", ":", "----"),
)


def make_panels(
    output: Output,
    count: int,
    columns: int,
    height: float,
    **shared: Any,
) -> tuple["Figure", list[Any]]:
    """Returns a figure with panels, row by row.

    Args:
        output: an `Output`.
        count: int, the number of panels.
        columns: int, the most that stand side by side.
        height: float, of a row in inches.
        shared: other arguments of `Figure.subplots`.
    """
    columns = min(columns, count)
    rows = -(-count // columns)
    figure, axes = make_grid(output, rows, columns, height, **shared)
    for unused in axes.flat[count:]:
        unused.remove()
    return figure, list(axes.flat[:count])


def make_grid(
    output: Output,
    rows: int,
    columns: int,
    height: float,
    **shared: Any,
) -> tuple["Figure", np.ndarray]:
    """Returns a figure and its axes (rows, columns).

    Args:
        output: an `Output`.
        rows, columns: ints.
        height: float, of a row in inches.
        shared: other arguments of `Figure.subplots`.
    """
    from keras_coconut.analysis.plots.notebook_figure import NotebookFigure

    figure = NotebookFigure(
        figsize=(output.inches, rows * height + 0.1), layout="constrained"
    )
    axes = figure.subplots(rows, columns, squeeze=False, **shared)
    for each in axes.flat:
        style_axes(each)
    return figure, axes


def style_axes(axes: Any) -> None:
    """Sets the sizes of an axes' texts, and removes what nobody reads."""
    axes.tick_params(labelsize=FONT_SIZE, length=2.5, pad=2)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set_size(FONT_SIZE)
        axis.labelpad = 2
        axis.offsetText.set_size(FONT_SIZE)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for spine in axes.spines.values():
        spine.set_linewidth(0.6)


def set_title(axes: Any, text: str) -> None:
    """Writes a panel's title."""
    axes.set_title(text, fontsize=FONT_SIZE, pad=4)


def set_numbers(axes: Any, numbers: Sequence[int | str], label: str) -> None:
    """Writes whole numbers, or names, along the x-axis, at 0, 1, ..."""
    axes.set_xticks(range(len(numbers)), [str(number) for number in numbers])
    axes.set_xlabel(label)


def add_legend(figure: "Figure", handles: Sequence[Any]) -> None:
    """Puts a legend below all panels, where it covers nothing.

    Args:
        figure: a `Figure`.
        handles: sequence of artists that have labels.
    """
    longest = max(len(str(handle.get_label())) for handle in handles)
    width = figure.get_figwidth()
    columns = max(1, int((width - 0.2) // (_KEY + _LETTER * longest)))
    rows = -(-len(handles) // columns)
    # Not at the panels' cost.
    figure.set_figheight(figure.get_figheight() + 0.12 + _ROW * rows)
    figure.legend(
        handles=list(handles),
        loc="outside lower center",
        # As many in each row, or nearly so.
        ncols=-(-len(handles) // rows),
        fontsize=FONT_SIZE,
        frameon=False,
        columnspacing=1.2,
        handlelength=2.2,
    )


def line_key(look: Look, label: str) -> Any:
    """Returns what a legend shows for a line."""
    from matplotlib.lines import Line2D

    return Line2D([], [], **look.of_line, label=label)


def bar_key(look: Look, label: str) -> Any:
    """Returns what a legend shows for a bar."""
    from matplotlib.patches import Patch

    return Patch(**look.of_bar, label=label)
