"""Counterfactual edges: a ProsQA problem whose answer one edge turns around."""

import collections
import itertools
import random
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from keras_coconut.analysis.causal.edge_moves import find_decoys, find_moves
from keras_coconut.checks import check_count, refuse, shown
from keras_coconut.graphs import ProblemGraph, distances_from, read_graph
from keras_coconut.problems import Problem, as_problems


class CounterfactualEdge(NamedTuple):
    """A ProsQA problem, and the same with the end of one edge moved.

    In `changed` the moved edge makes the other choice the right answer. In
    `neutral` an edge is moved that does not matter to the answer. In `decoy`
    the moved edge leads to the other choice, but the root does not reach it, so
    that the answer stays; `None` if no edge can be moved in this way. `place`
    is the problem's index in the list that it comes from.

    Example:
    ```python
    pairs, _ = keras_coconut.make_counterfactuals(graph_problems)
    pairs[0].problem.answer, pairs[0].changed.answer
    ```
    """

    place: int
    problem: Problem
    changed: Problem
    neutral: Problem
    decoy: Problem | None = None


class CounterfactualEdges(NamedTuple):
    """Counterfactual edges, and how many problems have none and why.

    `skipped` maps each reason to the number of problems.

    Example:
    ```python
    made = keras_coconut.make_counterfactuals(graph_problems)
    len(made.pairs), made.skipped
    ```
    """

    pairs: tuple[CounterfactualEdge, ...]
    skipped: dict[str, int]


def make_counterfactuals(
    problems: Iterable[Problem | Mapping],
    *,
    num_pairs: int | None = None,
    seed: int = 0,
) -> CounterfactualEdges:
    """Moves one edge of each graph so that the right answer changes.

    An edge from a to b becomes an edge from a to c: one word of one sentence,
    or one symbol, is another. The graph stays without cycles. Of all such
    changes one is drawn that keeps the number of steps to the answer as near
    as possible to what it was. A breadth-first search says which node is
    reached; the changed problem's steps are a shortest path.

    Beside it stands a neutral change: the edge lies on no path to the answer,
    and its new end leads to neither choice. If there is one, it is an edge that
    the root reaches.

    A third change is a decoy: the other choice gets nodes that lead to it, as
    in the change that turns the answer around, but none that the root reaches.
    What is drawn gives it as many more than the right choice as possible. A
    rule that counts what leads to a choice, and never looks at the root, then
    turns around as well.

    Args:
        problems: iterable of ProsQA `Problem`s, at least one, in words or in
            symbols, with the published graph keys in their `extra`.
        num_pairs: int. Number of problems with changes, from the first problem
            on. Defaults to `None`: as many as there are.
        seed: int. Chooses among the edges. Defaults to `0`.

    Returns:
        `CounterfactualEdges`: the problems with their changes, and the number
        of problems without for each reason.

    Raises:
        ValueError: If an argument is invalid, if a problem holds no graph or a
            damaged one, or if no problem has such a change.

    Example:
    ```python
    pairs, skipped = keras_coconut.make_counterfactuals(graph_problems)
    pairs[0].problem.answer  # "Tom is a lempus."
    pairs[0].changed.answer  # "Tom is a scrompus."
    pairs[0].neutral.answer  # "Tom is a lempus."
    ```
    """
    problems = as_problems("problems", problems)
    if num_pairs is not None:
        num_pairs = check_count("num_pairs", num_pairs, least=1)
    numbers = random.Random(check_count("seed", seed))
    # Of its own, so that the other changes do not depend on it.
    of_decoys = random.Random(seed)
    graphs = [
        read_graph(f"problems[{index}]", problem)
        for index, problem in enumerate(problems)
    ]
    for index, graph in enumerate(graphs):
        if graph.neg_target is None:
            raise refuse(
                f"problems[{index}].extra",
                "a graph with a wrong answer, `neg_target`",
                sorted(problems[index].extra),
            )
    pairs: list[CounterfactualEdge] = []
    skipped: collections.Counter[str] = collections.Counter()
    for index, (problem, graph) in enumerate(zip(problems, graphs)):
        if len(pairs) == num_pairs:
            break
        try:
            changed, neutral = _change(problem, graph, numbers)
            decoy = _decoy(problem, graph, of_decoys)
        except _Skip as reason:
            skipped[str(reason)] += 1
        else:
            pairs.append(
                CounterfactualEdge(index, problem, changed, neutral, decoy)
            )
    if not pairs:
        raise ValueError(
            "`problems` must hold a problem whose answer one edge turns "
            f"around. Received: {len(problems)} problems without one: "
            f"{shown(dict(skipped))}"
        )
    return CounterfactualEdges(tuple(pairs), dict(skipped))


class _Skip(Exception):
    """Why a problem has no counterfactual edge."""


def _change(problem, graph: ProblemGraph, numbers) -> tuple[Problem, Problem]:
    """Returns the changed and the neutral problem."""
    target, other = graph.target, graph.neg_target
    assert other is not None  # It has been checked.
    distances = distances_from(graph.root, graph.edges)
    if target not in distances or other in distances:
        raise _Skip("its answer does not follow from its graph")
    if len(set(graph.edges)) < len(graph.edges):
        raise _Skip("an edge stands in its graph twice")
    statements = _statements(problem, graph)
    moves, neutral = find_moves(graph, distances)
    if not moves:
        raise _Skip("no single edge turns its answer around")
    if not neutral:
        raise _Skip("no edge can be moved without a difference")
    # As hard as before, if that can be.
    steps = distances[target]
    least = min(abs(move.distance - steps) for move in moves)
    move = numbers.choice(
        [m for m in moves if abs(m.distance - steps) == least]
    )
    changed = _written(problem, graph, statements, move, other)
    move = numbers.choice(
        [m for m in neutral if graph.edges[m.place][0] in distances] or neutral
    )
    return changed, _written(problem, graph, statements, move, target)


def _decoy(problem, graph: ProblemGraph, numbers) -> Problem | None:
    """Returns the problem with an edge that misleads what counts ancestors."""
    moves = find_decoys(graph)
    if not moves:
        return None
    statements = _statements(problem, graph)
    move = numbers.choice(moves)
    return _written(problem, graph, statements, move, graph.target)


# === Text ===


def _statements(problem, graph) -> list[re.Match]:
    """Returns each edge's statement in the question; its group is the end."""
    names = list(graph.nodes)
    found = []
    for start, end in graph.edges:
        a, b = re.escape(names[start]), re.escape(names[end])
        pattern = rf"\|{a}({b})"
        if not _is_symbolic(graph):
            pattern = rf"(?:Every )?\b{a} is an? ({b})\."
        matches = list(re.finditer(pattern, problem.question))
        if len(matches) != 1:
            raise _Skip("an edge does not stand in its question once")
        found += matches
    return found


def _written(problem, graph, statements, move, target) -> Problem:
    """Returns a problem with one edge moved, and with its right answer."""
    names = list(graph.nodes)
    edges = list(graph.edges)
    edges[move.place] = (edges[move.place][0], move.end)
    path = _shortest_path(graph.root, target, edges)
    steps = [names[node] for node in path[1:]]
    if not _is_symbolic(graph):
        places = map(edges.index, itertools.pairwise(path))
        steps = [
            _with_end(statements[place], names[edges[place][1]])
            for place in places
        ]
    answer, right = problem.answer, names[graph.target]
    if answer.count(right) != 1:
        raise _Skip("its answer does not name its target")
    (other,) = {graph.target, graph.neg_target} - {target}
    start, end = statements[move.place].span(1)
    return Problem(
        problem.question[:start] + names[move.end] + problem.question[end:],
        steps,
        answer.replace(right, names[target]),
        extra={
            **problem.extra,
            "edges": [list(edge) for edge in edges],
            "target": target,
            "neg_target": other,
        },
    )


def _with_end(statement: re.Match, end: str) -> str:
    text = statement[0]
    start, stop = (place - statement.start() for place in statement.span(1))
    return text[:start] + end + text[stop:]


def _is_symbolic(graph) -> bool:
    return all(re.fullmatch(r"<\d+>", name) for name in graph.nodes)


def _shortest_path(root, target, edges) -> list[int]:
    distances = distances_from(root, edges)
    path = [target]
    while path[-1] != root:
        before = distances[path[-1]] - 1
        path.append(
            next(
                start
                for start, end in edges
                if end == path[-1] and distances.get(start) == before
            )
        )
    return path[::-1]
