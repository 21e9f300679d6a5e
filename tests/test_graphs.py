"""Distances in graphs, against counting walks."""

import numpy as np
import pytest

from keras_coconut.graphs import distances_from

pytestmark = pytest.mark.any_backend


def test_distances_are_those_of_the_shortest_walks():
    random = np.random.default_rng(0)
    for _ in range(20):
        step = random.random((8, 8)) < 0.2
        edges = [tuple(edge) for edge in np.argwhere(step).tolist()]
        expected, reached = {}, np.eye(8, dtype=int)[0]
        for distance in range(8):
            for node in np.flatnonzero(reached).tolist():
                expected.setdefault(node, distance)
            reached = reached @ step
        assert distances_from(0, edges) == expected
        # In any order and form, numbers of NumPy included.
        assert distances_from(np.int64(0), np.array(edges)[::-1]) == expected
        assert distances_from(0, iter(map(list, edges))) == expected


@pytest.mark.parametrize(
    ("root", "edges", "message"),
    [
        (None, [], "`root` must be a whole number.*None"),
        (-1, [], "`root` must be a whole number.*-1"),
        ("a", [], "`root` must be a whole number.*'a'"),
        (True, [], "`root` must be a whole number.*True"),
        (0, None, "`edges` must be an iterable of pairs.*None"),
        (0, 3, "`edges` must be an iterable of pairs.*3"),
        (0, [3], r"`edges\[0\]` must be a pair.*3"),
        (0, [(0, 1), (0, 1, 2)], r"`edges\[1\]` must be a pair"),
        (0, [(0,)], r"`edges\[0\]` must be a pair"),
        (0, ["ab"], r"`edges\[0\]\[0\]` must be a whole number.*'a'"),
        (0, [(0, None)], r"`edges\[0\]\[1\]` must be a whole number.*None"),
        (0, [([], 1)], r"`edges\[0\]\[0\]` must be a whole number"),
        (0, [(0, -1)], r"`edges\[0\]\[1\]` must be a whole number.*-1"),
        (0, [range(10**6)], r"`edges\[0\]` must be a pair"),
    ],
)
def test_bad_arguments(root, edges, message):
    with pytest.raises(ValueError, match=message) as error:
        distances_from(root, edges)
    assert len(str(error.value)) < 500
