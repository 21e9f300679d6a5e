"""Groups of nodes, against walks and paths that are written down one by one."""

import itertools
import random

import pytest
import tiny

from keras_coconut import Problem
from keras_coconut.analysis.search.graph_nodes import (
    group_nodes,
    node_heights,
    nodes_that_reach,
    solution_length,
    solution_nodes,
)
from keras_coconut.graphs import ProblemGraph, read_graph

pytestmark = pytest.mark.any_backend

GRAPH = read_graph("problem", Problem("?", [], "", extra=tiny.GRAPH))
# Ann 0, Bob 1, a 2, b 3, c 4, d 5.


def make_graph(edges, root, target, nodes):
    names = {f"<{node}>": node for node in range(nodes)}
    return ProblemGraph(names, edges, root, target, None)


def random_graph(seed):
    """Without circles: edges lead to greater numbers."""
    numbers = random.Random(seed)
    edges = [
        (start, end)
        for start, end in itertools.combinations(range(9), 2)
        if numbers.random() < 0.25
    ]
    return make_graph(edges, 0, 8, 9)


def walks(graph, start):
    """Every path from a node, as lists of nodes."""
    yield [start]
    for first, second in graph.edges:
        if first == start:
            for rest in walks(graph, second):
                yield [start, *rest]


def test_groups_of_a_small_graph():
    groups = group_nodes(GRAPH, 1)
    assert groups.reachable == {0, 2, 5}
    assert groups.frontier == {2, 5}
    assert groups.optimal == {2}
    assert groups.not_reachable == {1, 3, 4}
    # c is two steps away and also three.
    assert group_nodes(GRAPH, 3).frontier == set()
    assert group_nodes(GRAPH, 3, visits="all").frontier == {4}
    assert group_nodes(GRAPH, 3, visits="all").optimal == set()
    assert solution_length(GRAPH) == 2
    assert solution_nodes(GRAPH) == {0, 2, 4}
    assert nodes_that_reach(GRAPH, GRAPH.target) == {0, 2, 3, 4}
    assert node_heights(GRAPH) == {0: 3, 1: 1, 2: 2, 3: 1, 4: 0, 5: 0}
    shortest = {0: 1, 1: 1, 2: 1, 3: 1, 4: 0, 5: 0}
    assert node_heights(GRAPH, "shortest") == shortest


@pytest.mark.parametrize("seed", range(8))
def test_groups_against_all_walks(seed):
    graph = random_graph(seed)
    found = [list(walks(graph, node)) for node in range(9)]
    solutions = [walk for walk in found[0] if walk[-1] == 8]
    length = min(map(len, solutions), default=None)
    best = [walk for walk in solutions if len(walk) == length]
    assert solution_length(graph) == (length and length - 1)
    assert solution_nodes(graph) == {node for walk in best for node in walk}
    for steps in range(9):
        ends = {walk[-1] for walk in found[0] if len(walk) == steps + 1}
        near = {walk[-1] for walk in found[0] if len(walk) <= steps + 1}
        before = {walk[-1] for walk in found[0] if len(walk) <= steps}
        optimal = {walk[steps] for walk in best if steps < len(walk)}
        for visits, frontier in (("all", ends), ("first", ends - before)):
            groups = group_nodes(graph, steps, visits=visits)
            assert groups.frontier == frontier
            assert groups.reachable == near
            assert groups.not_reachable == set(range(9)) - near
            assert groups.optimal == optimal
    leaves = {
        n for n in range(9) if all(n != start for start, _ in graph.edges)
    }
    to_leaves = [
        [len(walk) - 1 for walk in own if walk[-1] in leaves] for own in found
    ]
    assert node_heights(graph) == dict(enumerate(map(max, to_leaves)))
    assert node_heights(graph, "shortest") == dict(
        enumerate(map(min, to_leaves))
    )
    assert nodes_that_reach(graph, 8) == {
        node
        for node, own in enumerate(found)
        if any(walk[-1] == 8 for walk in own)
    }


def test_a_circle_has_no_longest_way_out():
    graph = make_graph([(0, 1), (1, 0), (1, 2), (3, 2)], 0, 2, 4)
    assert node_heights(graph) == {2: 0, 3: 1}
    assert node_heights(graph, "shortest") == {0: 2, 1: 1, 2: 0, 3: 1}
    assert group_nodes(graph, 2).frontier == {2}
    assert group_nodes(graph, 2, visits="all").frontier == {0, 2}
    # Twice the same edge is one.
    twice = make_graph([(0, 1), (0, 1)], 0, 1, 2)
    assert node_heights(twice) == {0: 1, 1: 0}


def test_a_target_out_of_reach():
    graph = make_graph([(0, 1), (2, 3)], 0, 3, 4)
    assert solution_length(graph) is None
    assert solution_nodes(graph) == set()
    assert group_nodes(graph, 1).optimal == set()


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (group_nodes, dict(steps=-1), "`steps` must be"),
        (group_nodes, dict(steps=1, visits="walks"), "`visits` must be one of"),
        (node_heights, dict(distance="mean"), "`distance` must be one of"),
    ],
)
def test_refusals(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(GRAPH, **arguments)
