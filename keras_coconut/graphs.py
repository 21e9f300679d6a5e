"""Directed graphs, as ProsQA's problems hold them."""

import collections
from collections.abc import Iterable

from keras_coconut.checks import check_count, refuse


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
