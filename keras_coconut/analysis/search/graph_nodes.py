"""Groups of the nodes of a problem's graph: what a search has reached.

Everything here is Python; see `keras_coconut.graphs.read_graph`.
"""

import collections
from collections.abc import Iterable
from typing import Literal, NamedTuple, get_args

from keras_coconut.checks import check_choice, check_count
from keras_coconut.graphs import ProblemGraph, distances_from

Visits = Literal["first", "all"]
Distance = Literal["shortest", "longest"]


class NodeGroups(NamedTuple):
    """The nodes of a graph, as a search from the root has met them.

    Attributes:
        reachable: the nodes at most so many steps from the root.
        frontier: the nodes that are exactly so many steps from the root.
        optimal: the nodes of the frontier on a shortest path to the target.
        not_reachable: all nodes that are not `reachable`.
    """

    reachable: frozenset[int]
    frontier: frozenset[int]
    optimal: frozenset[int]
    not_reachable: frozenset[int]


def group_nodes(
    graph: ProblemGraph, steps: int, *, visits: Visits = "first"
) -> NodeGroups:
    """Groups the nodes by whether a search of some steps has reached them.

    Args:
        graph: a `ProblemGraph`.
        steps: int. Number of steps from the root.
        visits: `"first"`, in which a node is on the frontier once, as many
            steps from the root as its shortest path has; or `"all"`, in which
            it is there after every path of that many steps. The public
            notebook of arXiv 2505.12514 counts all. Defaults to `"first"`.

    Returns:
        A `NodeGroups`.

    Raises:
        ValueError: If `steps` or `visits` is not one of these.

    Example:
    ```python
    from keras_coconut.graphs import read_graph

    group_nodes(read_graph("problem", problem), 1).frontier
    ```
    """
    steps = check_count("steps", steps)
    check_visits(visits)
    depths = distances_from(graph.root, graph.edges)
    reachable = frozenset(n for n, depth in depths.items() if depth <= steps)
    first = frozenset(n for n, depth in depths.items() if depth == steps)
    frontier = first if visits == "first" else _after_walks(graph, steps)
    return NodeGroups(
        reachable,
        frontier,
        # On a shortest path no node comes later than it can.
        frozenset(first & solution_nodes(graph)),
        frozenset(graph.nodes.values()) - reachable,
    )


def check_visits(visits: Visits) -> Visits:
    """Returns `visits`, else raises a `ValueError`."""
    return check_choice("visits", visits, get_args(Visits))


def solution_length(graph: ProblemGraph) -> int | None:
    """Returns the fewest steps from root to target, `None` without a path.

    Example:
    ```python
    from keras_coconut.graphs import read_graph

    solution_length(read_graph("problem", problem))
    ```
    """
    return distances_from(graph.root, graph.edges).get(graph.target)


def solution_nodes(graph: ProblemGraph) -> frozenset[int]:
    """Returns the nodes on the shortest paths from root to target.

    Example:
    ```python
    from keras_coconut.graphs import read_graph

    solution_nodes(read_graph("problem", problem))
    ```
    """
    depths = distances_from(graph.root, graph.edges)
    length = depths.get(graph.target)
    left = distances_from(graph.target, _reversed(graph.edges))
    return frozenset(
        node
        for node, depth in depths.items()
        if node in left and depth + left[node] == length
    )


def nodes_that_reach(graph: ProblemGraph, node: int) -> frozenset[int]:
    """Returns the nodes from which a path leads to a node, itself included.

    Args:
        graph: a `ProblemGraph`.
        node: int, the node.

    Example:
    ```python
    from keras_coconut.graphs import read_graph

    graph = read_graph("problem", problem)
    nodes_that_reach(graph, graph.target)
    ```
    """
    return frozenset(distances_from(node, _reversed(graph.edges)))


def node_heights(
    graph: ProblemGraph, distance: Distance = "longest"
) -> dict[int, int]:
    """Returns the height of each node, its distance to a leaf.

    The text of the Coconut paper (arXiv 2412.06769, section 5) takes the
    shortest distance to any leaf, the captions of its figures the longest.

    Args:
        graph: a `ProblemGraph`.
        distance: `"shortest"` or `"longest"`. Defaults to `"longest"`.

    Returns:
        A dictionary from nodes to heights, 0 for leaves. Nodes that lead into
        a circle have no longest distance and are left out; so are nodes from
        which no leaf can be reached.

    Raises:
        ValueError: If `distance` is not one of these.

    Example:
    ```python
    from keras_coconut.graphs import read_graph

    node_heights(read_graph("problem", problem), "shortest")
    ```
    """
    check_choice("distance", distance, get_args(Distance))
    parents, left = collections.defaultdict(list), collections.Counter()
    for start, end in graph.edges:
        parents[end].append(start)
        left[start] += 1
    queue = collections.deque(
        node for node in graph.nodes.values() if not left[node]
    )
    heights = dict.fromkeys(queue, 0)
    while queue:
        node = queue.popleft()
        for parent in parents[node]:
            left[parent] -= 1
            is_next = not left[parent]
            if distance == "shortest":
                is_next = parent not in heights
            if is_next:
                # Breadth-first: the first child that is met is the lowest, the
                # last one the highest.
                heights[parent] = heights[node] + 1
                queue.append(parent)
    return heights


def _after_walks(graph, steps) -> frozenset[int]:
    """Returns the nodes in which a path of so many steps can end."""
    children = collections.defaultdict(set)
    for start, end in graph.edges:
        children[start].add(end)
    nodes = {graph.root}
    for _ in range(steps):
        nodes = set().union(*(children[node] for node in nodes))
        if not nodes:
            break
    return frozenset(nodes)


def _reversed(edges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    return [(end, start) for start, end in edges]
