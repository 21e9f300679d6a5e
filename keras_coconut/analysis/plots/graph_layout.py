"""Where the nodes of a problem's graph are drawn. Without matplotlib."""

import collections
import itertools
from typing import NamedTuple

from keras_coconut.graphs import ProblemGraph, distances_from

# Columns between nodes that no path reaches; they have no names.
_CLOSE = 0.3
# Columns from the last node with a name to those.
_NEXT = 0.8


class GraphLayout(NamedTuple):
    """Places of nodes, from left to right by their depth.

    Attributes:
        places: dictionary from nodes to columns and rows, as numbers.
        depths: dictionary from the nodes that the root reaches to how many
            steps from it they are.
        named: list of the nodes whose names there is room for.
        aside: list of floats, the columns of the nodes that no path reaches.
        columns: float, the last column.
        rows: float, the number of rows.
    """

    places: dict[int, tuple[float, float]]
    depths: dict[int, int]
    named: list[int]
    aside: list[float]
    columns: float
    rows: float


def lay_out(graph: ProblemGraph) -> GraphLayout:
    """Places the nodes of a graph.

    A node's column is its depth: the fewest steps from the root. Nodes of
    neighbouring columns are never in the same row, so that their names may be
    wider than a column. Nodes that no path reaches stand behind the others.

    Args:
        graph: a `ProblemGraph`.

    Example:
    ```python
    from keras_coconut.graphs import read_graph

    lay_out(read_graph("problem", graph_problems[0])).places
    ```
    """
    depths = distances_from(graph.root, graph.edges)
    layers: list[list[int]] = [[] for _ in range(1 + max(depths.values()))]
    for node, depth in depths.items():
        layers[depth].append(node)
    _uncross(layers, graph.edges)
    rows = max(map(len, layers))
    places = {}
    for depth, layer in enumerate(layers):
        first = (rows - len(layer)) // 2 + 0.5 * (depth % 2)
        for row, node in enumerate(layer):
            places[node] = float(depth), first + row
    named = list(places)
    far = [node for node in graph.nodes.values() if node not in depths]
    last = float(len(layers) - 1)
    wrong = graph.neg_target
    if wrong is not None and wrong in far:
        far.remove(wrong)
        named.append(wrong)
        last += 1
        places[wrong] = last, (rows - 1) // 2 + 0.5 * (len(layers) % 2)
    for number, node in enumerate(far):
        column, row = divmod(number, max(rows, 4))
        places[node] = last + _NEXT + _CLOSE * column, float(row)
    aside = [places[node][0] for node in places if node not in depths]
    last = max(column for column, _ in places.values())
    height = 1 + max(row for _, row in places.values())
    return GraphLayout(places, depths, named, aside, last, height)


def _uncross(layers, edges) -> None:
    """Orders each layer by where its nodes' neighbours are."""
    neighbours = collections.defaultdict(set)
    for start, end in edges:
        neighbours[start].add(end)
        neighbours[end].add(start)
    pairs = [
        *itertools.pairwise(layers),
        *itertools.pairwise(layers[::-1]),
    ]
    for fixed, moved in pairs * 2:
        heights = {
            node: (row + 0.5) / len(fixed) for row, node in enumerate(fixed)
        }
        own = {node: (row + 0.5) / len(moved) for row, node in enumerate(moved)}

        def height(node, heights=heights, own=own):
            near = [heights[n] for n in neighbours[node] if n in heights]
            return sum(near) / len(near) if near else own[node]

        moved.sort(key=height)
