"""Moves of one edge of a graph: those that turn its answer, and others."""

from collections.abc import Collection
from typing import NamedTuple

from keras_coconut.graphs import ProblemGraph, distances_from


class Move(NamedTuple):
    """An edge, by its place in the list, with another end.

    `distance` is how far the root then is from the other choice.
    """

    place: int
    end: int
    distance: int = 0


def find_moves(
    graph: ProblemGraph, distances: dict[int, int]
) -> tuple[list[Move], list[Move]]:
    """Returns the moves that turn the answer around, and the neutral ones.

    Args:
        graph: a `ProblemGraph` with a `neg_target`.
        distances: what `distances_from` returns for its root.
    """
    assert graph.neg_target is not None  # It has been checked.
    edges = set(graph.edges)
    # What leads to a node is what the turned edges reach from it.
    turned = [(end, start) for start, end in edges]
    to_target = distances_from(graph.target, turned)
    to_other = distances_from(graph.neg_target, turned)
    # In words, a name is the start of edges and never the end.
    ends = sorted({end for _, end in edges})
    before = {start: distances_from(start, turned) for start, _ in edges}
    moves, neutral = [], []
    for place, (start, end) in enumerate(graph.edges):
        # Neither the same edge again nor a cycle.
        new_ends = [
            node
            for node in ends
            if (start, node) not in edges and node not in before[start]
        ]
        if start not in distances or end not in to_target:
            neutral += [
                Move(place, node)
                for node in new_ends
                if node not in to_target and node not in to_other
            ]
            continue
        reached = distances_from(graph.root, edges - {(start, end)})
        if graph.target not in reached:
            moves += [
                Move(place, node, reached[start] + 1 + to_other[node])
                for node in new_ends
                if node in to_other and node not in to_target
            ]
    return moves, neutral


def find_decoys(graph: ProblemGraph) -> list[Move]:
    """Returns the moves that give the other choice most new ancestors.

    Most beside those of the right choice, and none that the root reaches: the
    right answer stays.

    Args:
        graph: a `ProblemGraph` with a `neg_target`.
    """
    edges = set(graph.edges)
    reached = distances_from(graph.root, edges)
    to_target, to_other = _leading(graph, edges)
    ends = {end for _, end in edges}
    found: dict[int, list[Move]] = {}
    for place, (start, end) in enumerate(graph.edges):
        if start in reached or start in to_other:
            continue
        before = _ancestors(start, edges)
        for node in sorted((to_other & ends) - to_target - before):
            moved = edges - {(start, end)} | {(start, node)}
            of_target, of_other = _leading(graph, moved)
            more = len(of_other) - len(of_target)
            found.setdefault(more, []).append(Move(place, node))
    return found[max(found)] if found else []


def _leading(graph, edges) -> tuple[set[int], set[int]]:
    """Returns the nodes that lead to each choice, the right one first."""
    return (
        _ancestors(graph.target, edges),
        _ancestors(graph.neg_target, edges),
    )


def _ancestors(node: int, edges: Collection[tuple[int, int]]) -> set[int]:
    return set(distances_from(node, [(end, start) for start, end in edges]))
