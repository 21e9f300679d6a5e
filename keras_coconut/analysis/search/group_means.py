"""Means over groups of nodes and of edges, in all problems."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from keras_coconut.analysis.pooled_means import PooledMean, pool
from keras_coconut.analysis.search.graph_nodes import (
    Visits,
    group_nodes,
    solution_length,
)
from keras_coconut.graphs import ProblemGraph

Edge = tuple[int, int]


class GroupMeans(NamedTuple):
    """A mean for each group of nodes, or of edges by the node they leave.

    Attributes:
        reachable: a `PooledMean`, of nodes at most so many steps from the root.
        frontier: of those exactly so many steps away.
        optimal: of those of the frontier on a shortest path to the target; for
            edges, of those along such a path.
        not_reachable: of all others.

    Example:
    ```python
    found = keras_coconut.superposition(model, graph_problems, num_thoughts=1)
    means = found.inner_products[0]
    means.frontier.mean, means.not_reachable.mean
    ```
    """

    reachable: PooledMean
    frontier: PooledMean
    optimal: PooledMean
    not_reachable: PooledMean


class GraphGroups(NamedTuple):
    """The groups of a graph's edges and nodes, after 0, 1, ... steps.

    An entry is a dictionary from the names of `GroupMeans` to lists, or `None`
    where the solution has too few steps. `edges` begins with no step, `nodes`
    with one.
    """

    edges: list[dict[str, list[Edge]] | None]
    nodes: list[dict[str, list[int]] | None]


def graph_groups(
    graph: ProblemGraph, num_thoughts: int, visits: Visits
) -> GraphGroups:
    """Returns the groups of a graph for each of some thoughts.

    Args:
        graph: a `ProblemGraph`.
        num_thoughts: int.
        visits: see `group_nodes`.
    """
    length = solution_length(graph) or 0
    return GraphGroups(
        [
            _edges(graph, steps, visits) if steps < length else None
            for steps in range(num_thoughts + 1)
        ],
        [
            {
                name: sorted(nodes)
                for name, nodes in group_nodes(graph, steps, visits=visits)
                ._asdict()
                .items()
            }
            if steps <= length
            else None
            for steps in range(1, num_thoughts + 1)
        ],
    )


def _edges(graph, steps, visits) -> dict[str, list[Edge]]:
    edges = list(dict.fromkeys(graph.edges))
    groups = group_nodes(graph, steps, visits=visits)
    of_groups = {
        name: [edge for edge in edges if edge[0] in nodes]
        for name, nodes in groups._asdict().items()
    }
    ends = group_nodes(graph, steps + 1).optimal
    of_groups["optimal"] = [
        edge for edge in of_groups["optimal"] if edge[1] in ends
    ]
    return of_groups


class Members:
    """The values of the members of each group, problem by problem.

    Args:
        num_thoughts: int.
    """

    def __init__(self, num_thoughts: int):
        def empty(entries):
            return [{n: [] for n in GroupMeans._fields} for _ in entries]

        self._edges = empty(range(num_thoughts + 1))
        self._nodes = empty(range(num_thoughts))

    def add_edges(
        self,
        groups: GraphGroups,
        attention: np.ndarray,
        spans: dict[Edge, tuple[int, int]],
    ) -> None:
        """Adds a problem's attention to its edges.

        Args:
            groups: the problem's `GraphGroups`.
            attention: float array (1 + K, Q), summed over heads.
            spans: the first token of each edge, and the one behind its last.
        """
        for own, entry, weights in zip(self._edges, groups.edges, attention):
            for name, edges in (entry or {}).items():
                sums = [weights[slice(*spans[edge])].sum() for edge in edges]
                own[name].append(np.array(sums))

    def add_nodes(self, groups: GraphGroups, products: np.ndarray) -> None:
        """Adds a problem's inner products (nodes, K)."""
        for own, entry, values in zip(self._nodes, groups.nodes, products.T):
            for name, nodes in (entry or {}).items():
                own[name].append(values[nodes])

    def means(
        self,
    ) -> tuple[tuple[GroupMeans | None, ...], tuple[GroupMeans | None, ...]]:
        """Returns the means of edges and of nodes."""
        return _means(self._edges), _means(self._nodes)


def _means(entries: Iterable) -> tuple[GroupMeans | None, ...]:
    return tuple(
        GroupMeans(*(pool(own[name]) for name in GroupMeans._fields))
        if own["reachable"]
        else None
        for own in entries
    )
