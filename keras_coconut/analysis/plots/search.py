"""Plots of what a search tree sums up: parallelism and frontier mass."""

from typing import TYPE_CHECKING

import numpy as np

from keras_coconut.analysis.plots.intervals import (
    draw_bars,
    spreads,
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
    SERIES,
    add_legend,
    bar_key,
    line_key,
    make_grid,
    make_panels,
    set_numbers,
    set_title,
)
from keras_coconut.analysis.search.node_table import GROUPS
from keras_coconut.analysis.search.search_tree import SearchTree
from keras_coconut.analysis.search.tree_figures import TOP
from keras_coconut.checks import PathLike, check_instance

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TREE = "a `keras_coconut.SearchTree`"
# Of the best node, the best two and the best three.
_LINES = ("-", "--", "-.")
_TITLES = {
    "frontier": "on the frontier",
    "within": "on or before it",
    "beyond": "beyond it",
    "unreachable": "not reachable",
}


def plot_parallelism(
    tree: SearchTree, *, path: PathLike | None = None, width: Width = "page"
) -> "Figure":
    """Plots how many nodes of the frontier a model considers at once.

    A panel for each number of thoughts shows the value of the best node, of the
    best two and of the best three, each sorted over the problems. Wide gaps
    mean that several nodes are considered. Right of the curves are their means
    with 95% intervals. The control's panels are below the model's.

    Args:
        tree: a `SearchTree`.
        path: string or path-like. An image to write too, such as a `.png` or
            `.pdf` file. Optional.
        width: `"column"` (3.3 inches) or `"page"` (6.9 inches). Defaults to
            `"page"`.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is missing.
        ValueError: If no problem counts in any level, or if an argument is
            invalid.
        OSError: If the file cannot be written.

    Example:
    ```python
    tree = keras_coconut.search_tree(model, graph_problems, num_thoughts=[0, 1])
    keras_coconut.plot_parallelism(tree).savefig("parallelism.png")
    ```
    """
    levels = _check_levels(tree)
    output = check_output(path, width)
    models = [("", tree)]
    if tree.control is not None:
        models.append(("control, ", tree.control))
    blocks = -(-len(levels) // (4 if output.is_wide else 2))
    # As many in each block, or nearly so.
    columns = -(-len(levels) // blocks)
    figure, grid = make_grid(
        output, blocks * len(models), columns, 1.35, sharex=True, sharey=True
    )
    for axes in grid.flat:
        axes.set_visible(False)
    for place, index in enumerate(levels):
        for kind, (name, of) in enumerate(models):
            row = place // columns * len(models) + kind
            axes = grid[row, place % columns]
            axes.set_visible(True)
            count = tree.num_thoughts[index]
            set_title(axes, f"{name}{_thoughts(count)}")
            _draw_curves(axes, of.levels[index].parallelism)
            # Shared axes hide the numbers of all rows but the last one.
            is_lowest = kind == len(models) - 1 and (
                place + columns >= len(levels)
            )
            axes.tick_params(labelbottom=is_lowest)
            if is_lowest:
                axes.set_xlabel("problems, sorted (%)")
            if place % columns == 0:
                axes.set_ylabel("value (%)")
    # The same for all, as the axes are shared.
    axes.set_ylim(0, min(104, axes.get_ylim()[1]))
    labels = ["best node", *(f"best {count}" for count in range(2, TOP + 1))]
    add_legend(
        figure,
        [
            line_key(look._replace(line=line), label)
            for look, line, label in zip(SERIES, _LINES, labels)
        ],
    )
    return finish(figure, output)


def plot_frontier_mass(
    tree: SearchTree, *, path: PathLike | None = None, width: Width = "page"
) -> "Figure":
    """Plots which nodes have the value, beside the control and chance.

    A panel for each group of nodes shows its share of the value after each
    number of thoughts, with 95% intervals over the problems. Two lines across
    the bars are the nulls: the group's share of the nodes, which is chance, and
    dotted its share of the statements.

    Args:
        tree: a `SearchTree`.
        path: string or path-like. An image to write too, such as a `.png` or
            `.pdf` file. Optional.
        width: `"column"` (3.3 inches) or `"page"` (6.9 inches). Defaults to
            `"page"`.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is missing.
        ValueError: If no problem counts in any level, or if an argument is
            invalid.
        OSError: If the file cannot be written.

    Example:
    ```python
    tree = keras_coconut.search_tree(model, graph_problems, num_thoughts=[0, 1])
    keras_coconut.plot_frontier_mass(tree, path="mass.pdf", width="column")
    ```
    """
    levels = _check_levels(tree)
    output = check_output(path, width)
    columns = 4 if output.is_wide else 2
    figure, panels = make_panels(output, len(GROUPS), columns, 1.6, sharey=True)
    models = [(tree, MODEL)]
    if tree.control is not None:
        models.append((tree.control, CONTROL))
    thickness = 0.8 / len(models)
    places = np.arange(len(levels))
    for number, (axes, group) in enumerate(zip(panels, GROUPS)):
        for index, (of, look) in enumerate(models):
            masses = [
                getattr(of.levels[level].frontier_mass, group)
                for level in levels
            ]
            draw_bars(
                axes,
                places - 0.4 + (index + 0.5) * thickness,
                [mass.share for mass in masses],
                look,
                thickness,
            )
        for null, line in (("chance", "-"), ("by_frequency", ":")):
            axes.hlines(
                [100 * getattr(mass, null) for mass in masses],
                places - 0.46,
                places + 0.46,
                color="black",
                lw=1.5,
                linestyles=line,
            )
        set_title(axes, _TITLES[group])
        counts = [tree.num_thoughts[level] for level in levels]
        set_numbers(axes, counts, "thoughts")
        axes.set_ylim(0, 104)
        if number % columns == 0:
            axes.set_ylabel("share of the value (%)")
    keys = [bar_key(MODEL, "model")]
    if tree.control is not None:
        keys.append(bar_key(CONTROL, "control"))
    for line, label in (
        ("-", "chance by nodes"),
        (":", "chance by statements"),
    ):
        look = NULL._replace(color="black", marker="", line=line)
        keys.append(line_key(look, label))
    add_legend(figure, keys)
    return finish(figure, output)


def _check_levels(tree: SearchTree) -> list[int]:
    """Returns the levels of a search tree in which problems count."""
    check_instance("tree", tree, SearchTree, _TREE)
    levels = [
        index for index, level in enumerate(tree.levels) if level.num_problems
    ]
    if not levels:
        raise ValueError(
            "`tree` must have a level in which problems count. Received: "
            f"levels after {list(tree.num_thoughts)} thoughts, more than all "
            "solutions have steps"
        )
    return levels


def _draw_curves(axes, parallelism) -> None:
    """Draws the sorted curves, and right of them their means."""
    places = np.linspace(0, 100, parallelism.curves.shape[1] + 2)[1:-1]
    found = spreads(parallelism.means, 100).T
    rows = zip(parallelism.curves, found, SERIES, _LINES)
    for number, (curve, (mean, *margin), look, line) in enumerate(rows):
        style = look._replace(line=line).of_line
        own = {**style, "marker": look.marker if len(curve) == 1 else ""}
        axes.plot(places, 100 * curve, **own)
        axes.errorbar(
            108 + 8 * number,
            mean,
            yerr=np.reshape(margin, (2, 1)),
            **style,
            ecolor="black",
            elinewidth=1,
            capsize=2,
        )
    axes.axvline(103, color="0.6", lw=0.6)
    axes.set_xlim(0, 129)
    axes.set_xticks([0, 50, 100])


def _thoughts(count) -> str:
    return f"{count} thought{'s'[: count != 1]}"
