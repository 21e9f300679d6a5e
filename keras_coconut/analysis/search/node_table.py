"""What a problem's graph says of its nodes, before anything is measured."""

from collections.abc import Sequence
from typing import NamedTuple

from keras_coconut.analysis.search.graph_nodes import (
    Visits,
    group_nodes,
    node_heights,
    nodes_that_reach,
    solution_length,
)
from keras_coconut.analysis.search.node_values import (
    StepText,
    candidates,
    statement_counts,
)
from keras_coconut.graphs import ProblemGraph

GROUPS = ("frontier", "within", "beyond", "unreachable")


class NodeTable(NamedTuple):
    """What a problem's graph says of its nodes, before anything is measured.

    `statements` holds for each number of thoughts what `statement_counts`
    returns; `groups` those of its nodes that are in each of `GROUPS`, `None`
    where the problem does not count; `frontiers` all nodes of the frontier that
    have a value, leaves too.
    """

    statements: list[dict[int, int]]
    groups: list[dict[str, list[int]] | None]
    frontiers: list[list[int]]
    heights: dict[str, dict[int, int]]
    reaching: frozenset[int]

    @classmethod
    def of(
        cls,
        graph: ProblemGraph,
        text: StepText,
        counts: Sequence[int],
        visits: Visits,
    ) -> "NodeTable":
        """Returns the table of a graph after some numbers of thoughts."""
        statements = [statement_counts(graph, text, count) for count in counts]
        valued = candidates(graph)
        far = group_nodes(graph, len(graph.nodes)).not_reachable
        length = solution_length(graph)
        groups: list[dict[str, list[int]] | None] = []
        frontiers: list[list[int]] = []
        for count, nodes in zip(counts, statements):
            depth = text.depth(count)
            near = group_nodes(graph, depth, visits=visits)
            is_over = length is None or depth > length
            # A target that is a leaf begins no statement.
            if is_over or near.frontier.isdisjoint(nodes):
                groups.append(None)
                frontiers.append([])
                continue
            frontiers.append([n for n in valued if n in near.frontier])
            chosen = (
                near.frontier,
                near.reachable,
                near.not_reachable - far,
                far,
            )
            groups.append(
                {
                    name: [node for node in nodes if node in own]
                    for name, own in zip(GROUPS, chosen)
                }
            )
        heights = {
            kind: node_heights(graph, kind) for kind in ("shortest", "longest")
        }
        return cls(
            statements,
            groups,
            frontiers,
            heights,
            nodes_that_reach(graph, graph.target),
        )
