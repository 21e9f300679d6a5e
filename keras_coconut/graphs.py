"""Directed graphs, as ProsQA's problems hold them."""

import collections
from collections.abc import Iterable


def distances_from(
    root: int, edges: Iterable[tuple[int, int]]
) -> dict[int, int]:
    """Returns the fewest steps from a node to each that it leads to.

    Args:
        root: int, the node.
        edges: pairs of nodes, start and end.

    Example:
    ```python
    distances_from(0, [(0, 1), (1, 2), (0, 2), (3, 2)])  # {0: 0, 1: 1, 2: 1}
    ```
    """
    children = collections.defaultdict(list)
    for start, end in edges:
        children[start].append(end)
    distances, queue = {root: 0}, collections.deque([root])
    while queue:
        node = queue.popleft()
        for child in children[node]:
            if child not in distances:
                distances[child] = distances[node] + 1
                queue.append(child)
    return distances
