"""Directed graphs, as ProsQA's problems hold them."""

import collections
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from keras_coconut.checks import check_count, check_string, refuse, shown
from keras_coconut.problems import Problem

_KEYS = ("idx_to_symbol", "edges", "root", "target")
# How a node is written in a problem in symbols.
SYMBOL = re.compile(r"<\d+>")
# How an edge is written in a problem in words.
SENTENCE = re.compile(r"(?:Every )?(\w+) is an? (\w+)\.")


class ProblemGraph(NamedTuple):
    """The graph of a ProsQA problem.

    `nodes` gives the number of each symbol. `edges` are in the order of the
    file. `neg_target` is `None` in problems that do not name a wrong answer.
    """

    nodes: dict[str, int]
    edges: list[tuple[int, int]]
    root: int
    target: int
    neg_target: int | None

    @property
    def in_symbols(self) -> bool:
        """Whether the nodes are symbols, such as `<7>`, and not words."""
        return all(map(SYMBOL.fullmatch, self.nodes))


def read_graph(name: str, problem: Problem) -> ProblemGraph:
    """Returns the graph that a ProsQA problem holds in its `extra`.

    Args:
        name: string. How an error calls the problem.
        problem: a `Problem`, in words or in symbols.

    Raises:
        ValueError: If the problem holds no graph or a damaged one.

    Example:
    ```python
    read_graph("problem", problem).edges  # [(0, 2), (2, 4), ...]
    ```
    """
    extra: Mapping = problem.extra
    missing = [key for key in _KEYS if key not in extra]
    if missing:
        raise ValueError(
            f"`{name}.extra` must hold the graph's keys {list(_KEYS)}, as "
            f"ProsQA's do. Received: {shown(sorted(extra))}, without {missing}"
        )
    symbols, edges = extra["idx_to_symbol"], extra["edges"]
    for key, values in (("idx_to_symbol", symbols), ("edges", edges)):
        if not isinstance(values, list | tuple):
            raise refuse(f"{name}.extra[{key!r}]", "a list", values)
    if not symbols:
        raise refuse(f"{name}.extra['idx_to_symbol']", "not empty", symbols)
    for symbol in symbols:
        check_string(f"{name}.extra['idx_to_symbol']", symbol)
    last = len(symbols) - 1

    def node(key, value):
        return check_count(f"{name}.extra[{key!r}]", value, most=last)

    for edge in edges:
        if not isinstance(edge, list | tuple) or len(edge) != 2:
            raise refuse(
                f"{name}.extra['edges']", "a list of pairs of nodes", edge
            )
    return ProblemGraph(
        {symbol: number for number, symbol in enumerate(symbols)},
        [(node("edges", start), node("edges", end)) for start, end in edges],
        node("root", extra["root"]),
        node("target", extra["target"]),
        None
        if extra.get("neg_target") is None
        else node("neg_target", extra["neg_target"]),
    )


def distances_from(
    root: int, edges: Iterable[tuple[int, int]]
) -> dict[int, int]:
    """Returns the fewest steps from a node to each that it leads to.

    Args:
        root: int, the node.
        edges: iterable of pairs of nodes, start and end.

    Raises:
        ValueError: If a node is not a whole number of at least 0, or if an
            edge is not a pair.

    Example:
    ```python
    distances_from(0, [(0, 1), (1, 2), (0, 2), (3, 2)])  # {0: 0, 1: 1, 2: 1}
    ```
    """
    root = check_count("root", root)
    children = collections.defaultdict(list)
    for start, end in _pairs(edges):
        children[start].append(end)
    distances, queue = {root: 0}, collections.deque([root])
    while queue:
        node = queue.popleft()
        for child in children[node]:
            if child not in distances:
                distances[child] = distances[node] + 1
                queue.append(child)
    return distances


def _pairs(edges):
    if not hasattr(edges, "__iter__"):
        raise refuse("edges", "an iterable of pairs of nodes", edges)
    for index, edge in enumerate(edges):
        try:
            start, end = edge
        except (TypeError, ValueError):
            raise refuse(f"edges[{index}]", "a pair of nodes", edge) from None
        # Plain numbers, as nearly always, need no further look.
        if type(start) is not int or start < 0:
            start = check_count(f"edges[{index}][0]", start)
        if type(end) is not int or end < 0:
            end = check_count(f"edges[{index}][1]", end)
        yield start, end
