"""The plot of a search tree over the graph of its problem."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from keras_coconut.analysis.plots.graph_layout import GraphLayout, lay_out
from keras_coconut.analysis.plots.output import (
    Width,
    check_output,
    finish,
)
from keras_coconut.analysis.plots.style import (
    FONT_SIZE,
    MODEL,
    add_legend,
    make_grid,
    set_title,
)
from keras_coconut.analysis.search.graph_nodes import (
    group_nodes,
    solution_nodes,
)
from keras_coconut.analysis.search.search_tree import SearchTree, read_graphs
from keras_coconut.checks import PathLike, check_count, check_instance
from keras_coconut.graphs import ProblemGraph
from keras_coconut.problems import Problem, as_problems

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Inches between rows: half of it takes a name, half of it the largest node.
_ROW = 0.3
# Points of a node's diameter without any value, and of how much wider one with
# all value is; and from the middle of any node to its name.
_SMALL, _WIDER, _BELOW = 3.5, 7.5, 5.5
# Columns left and right of the first and the last one, for their names.
_BESIDE = 0.5
# Inches between names, and the least value that a name is shortened for.
_GAP, _LARGE = 0.16, 0.05


class _Marked(NamedTuple):
    """A problem's graph with what is marked in it."""

    graph: ProblemGraph
    layout: GraphLayout
    path: frozenset[int]
    names: dict[int, str]


def plot_search_tree(
    tree: SearchTree,
    problems: Iterable[Problem | Mapping],
    *,
    index: int = 0,
    path: PathLike | None = None,
    width: Width = "page",
) -> "Figure":
    """Plots the value of each node over the graph of one problem.

    A panel for each number of thoughts shows the graph from the root on the
    left, by depth. A node is as large as its value, which stands beside its
    name where there is room; nodes of the frontier, which `tree.visits` says,
    are dark. Thick lines are
    the shortest paths from root to target. The control's panels are beside the
    model's, or below them.

    Numbers of thoughts that are too many for the problem's solution are left
    out, unless all are.

    Args:
        tree: a `SearchTree`.
        problems: iterable of the `Problem`s that it is of.
        index: int. Which of the problems is plotted. Defaults to `0`.
        path: string or path-like. An image to write too, such as a `.png` or
            `.pdf` file. Optional.
        width: `"column"` (3.3 inches) or `"page"` (6.9 inches). Defaults to
            `"page"`.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is missing.
        ValueError: If `problems` are not those of the tree, or if an argument
            is invalid.
        OSError: If the file cannot be written.

    Example:
    ```python
    tree = keras_coconut.search_tree(model, graph_problems, num_thoughts=[0, 1])
    keras_coconut.plot_search_tree(tree, graph_problems, path="tree.pdf")
    ```
    """
    expected = "a `keras_coconut.SearchTree`"
    check_instance("tree", tree, SearchTree, expected)
    problems = as_problems("problems", problems)
    graphs = read_graphs(problems)
    sizes = [len(graph.nodes) for graph in graphs]
    if sizes != [values.shape[1] for values in tree.values]:
        raise ValueError(
            "`problems` must be those that `tree` was measured with. Received: "
            f"{len(problems)} problems for a tree of {len(tree.values)}, or "
            "graphs with other numbers of nodes"
        )
    index = check_count("index", index, most=len(problems) - 1)
    output = check_output(path, width)
    graph = graphs[index]
    marked = _Marked(
        graph,
        lay_out(graph),
        solution_nodes(graph),
        {number: name for name, number in graph.nodes.items()},
    )
    levels = _levels(tree, marked)
    models = [("", tree)]
    if tree.control is not None:
        models.append(("control, ", tree.control))
    panels = [(level, *model) for level in levels for model in models]
    columns = 2 if output.is_wide and len(panels) > 1 else 1
    figure, grid = make_grid(
        output,
        -(-len(panels) // columns),
        columns,
        _ROW * marked.layout.rows + 0.35,
    )
    pitch = output.inches / columns - 0.15
    pitch /= marked.layout.columns + 2 * _BESIDE
    for axes in grid.flat[len(panels) :]:
        axes.remove()
    for axes, (level, name, found) in zip(grid.flat, panels):
        depth = tree.levels[level].depth
        frontier = group_nodes(graph, depth, visits=tree.visits).frontier
        _draw_graph(axes, marked, found.values[index][level], frontier, pitch)
        count = tree.num_thoughts[level]
        set_title(axes, f"{name}{count} thought{'s'[: count != 1]}")
    for axes in grid.flat[len(panels) - columns : len(panels)]:
        _number_columns(axes, marked.layout)
    add_legend(figure, _keys(marked))
    return finish(figure, output)


def _levels(tree, marked) -> list[int]:
    """Returns the levels that the problem's solution is long enough for."""
    length = marked.layout.depths.get(marked.graph.target, -1)
    every = range(len(tree.levels))
    return [n for n in every if tree.levels[n].depth <= length] or list(every)


def _draw_graph(axes, marked, values, frontier, pitch) -> None:
    """Draws the graph; its columns are `pitch` inches apart."""
    graph, layout, path, _ = marked
    for start, end in dict.fromkeys(graph.edges):
        on_path = {start, end} <= path and (
            layout.depths[end] == layout.depths[start] + 1
        )
        x, y = zip(layout.places[start], layout.places[end])
        color, line_width = ("black", 2.0) if on_path else ("0.72", 0.5)
        axes.plot(x, y, color=color, lw=line_width, zorder=1 + on_path)
    for node, (column, row) in layout.places.items():
        value = float(np.nan_to_num(values[node]))
        diameter = _SMALL + _WIDER * np.sqrt(value)
        axes.plot(
            column,
            row,
            _marker(graph, node),
            markersize=diameter,
            color=MODEL.color if node in frontier else "white",
            markeredgecolor="black",
            markeredgewidth=_edge(graph, node),
            zorder=3,
        )
        if node in layout.named:
            axes.annotate(
                _fitting(marked.names[node], value, 2 * pitch - _GAP),
                (column, row),
                (0, -_BELOW),
                textcoords="offset points",
                ha="center",
                va="top",
                fontsize=FONT_SIZE,
                zorder=4,
                bbox=dict(facecolor="white", alpha=0.6, pad=0, lw=0),
            )
    axes.set_xlim(-_BESIDE, layout.columns + _BESIDE)
    axes.set_ylim(layout.rows - 0.1, -0.6)
    axes.set_yticks([])
    axes.set_xticks([])
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)


def _number_columns(axes, layout) -> None:
    """Writes below a panel how many steps lead to each column."""
    last = max(layout.depths.values())
    ticks = {step: str(step) for step in range(last + 1)}
    if layout.aside:
        ticks[(min(layout.aside) + max(layout.aside)) / 2] = "never"
    axes.set_xticks(list(ticks), list(ticks.values()))
    axes.set_xlabel("steps from the root")
    axes.spines["bottom"].set_visible(True)
    axes.spines["bottom"].set_bounds(0, last)


def _marker(graph, node) -> str:
    if node == graph.root:
        return ">"
    if node == graph.target:
        return "D"
    return "s" if node == graph.neg_target else "o"


def _edge(graph, node) -> float:
    return 1.5 if node in (graph.target, graph.neg_target) else 0.7


def _fitting(name, value, inches) -> str:
    """Returns a node's name with its value, as far as there is room."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(size=FONT_SIZE)

    def fits(text):
        points, *_ = text_to_path.get_text_width_height_descent(
            text, font, False
        )
        return points / 72 < inches

    number = f" {value:.0%}" if value >= 0.005 else ""
    if value < _LARGE and not fits(name + number):
        number = ""
    if fits(name + number):
        return name + number
    short = name[:40]
    while len(short) > 1 and not fits(f"{short}…{number}"):
        short = short[:-1]
    return f"{short}…{number}"


def _keys(marked) -> list:
    """Returns what the legend shows."""
    from matplotlib.lines import Line2D

    def node(marker, label, edge=0.7, color="white"):
        return Line2D(
            [], [], ls="", marker=marker, color=color, ms=6, label=label,
            markeredgecolor="black", markeredgewidth=edge,
        )  # fmt: skip

    keys = [
        Line2D([], [], color="black", lw=2, label="right path"),
        node(">", "root"),
        node("o", "frontier", color=MODEL.color),
        node("o", "other nodes"),
        node("D", "target", 1.5),
    ]
    if marked.graph.neg_target is not None:
        keys.append(node("s", "wrong target", 1.5))
    return keys
