"""ProsQA, generated: which of two concepts does somebody belong to?

A problem is a directed acyclic graph in words, "Every lorpus is a rorpus. Tom
is a lorpus." and so on, with a question whose answer takes a search: "Is Tom a
lempus or scrompus?" (arXiv 2412.06769, appendix A.2, Algorithm 1).

The published files differ from Algorithm 1 as it is printed: they look as if
the second branch ended at 0.8 and not at 0.7, and as if nodes without parents
became parents in the third branch only. The constants below follow the files;
`python -m benchmarks.datasets` compares.
"""

import itertools
import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from keras_coconut.checks import check_count, check_flag, check_number, shown
from keras_coconut.datasets import tfds_builders
from keras_coconut.datasets.splits import Splits, draw_splits
from keras_coconut.graphs import distances_from
from keras_coconut.problems import Problem

NAMES = (
    "Alex Bob Carol Davis Eva Fae Gabriel Jack Max Oliver Polly Rex Sally Sam "
    "Stella Tom Wren"
).split()
CONCEPTS = (
    "bompus boompus brimpus chorpus dumpus felpus fompus gerpus gorpus grimpus "
    "gwompus hilpus impus jelpus jompus kerpus lempus lorpus numpus quimpus "
    "rempus rompus rorpus scrompus shumpus sterpus storpus terpus timpus "
    "tumpus vumpus worpus wumpus yerpus yimpus yumpus zhorpus zumpus"
).split()

# Algorithm 1: how many parents, and from where they are drawn.
_MEAN_PARENTS = 1.5
_DESCENDANTS_OF_FIRST = 0.35
_DESCENDANTS_OF_SECOND = 0.8
_DEPTH_WEIGHT = 1.5
# More than anybody draws: a mistyped count must not fill the memory.
_MOST_NODES = 10_000
# Graphs drawn in a row without a question, before giving up.
_MOST_GRAPHS = 10_000


def load_prosqa(
    *,
    train: int = 17_886,
    validation: int = 300,
    test: int = 500,
    seed: int = 0,
    num_nodes: int = 28,
    min_steps: int = 3,
    max_steps: int = 6,
    mean_parents: float = _MEAN_PARENTS,
    symbolic: bool = False,
    verbose: int = 0,
) -> Splits:
    """Generates ProsQA problems in three splits.

    The defaults give the sizes and the statistics of the published dataset. To
    test out of distribution, ask for longer chains, larger graphs or more
    branching.

    Args:
        train, validation, test: ints. Number of problems in each split.
        seed: int, at least 0. Defaults to `0`.
        num_nodes: int, at most 10,000. Number of nodes that are drawn.
            Unconnected nodes are left out; about 23 of 28 remain. Defaults to
            `28`.
        min_steps, max_steps: ints. The fewest and the most edges of the
            shortest path from root to answer. Default to `3` and `6`.
        mean_parents: float. Average number of parents of a node, before the
            limits of Algorithm 1. Defaults to `1.5`.
        symbolic: bool. Whether a node is written as a symbol, such as `<7>`,
            and a step as the node that it leads to. Suits models trained from
            scratch; see `symbolic_words`. Defaults to `False`.
        verbose: `"auto"`, 0, 1 or 2. Whether to show a progress bar. Defaults
            to `0`.

    Returns:
        `Splits`. `Problem.extra` holds the published graph keys: `edges`,
        `root`, `target`, `neg_target` and `idx_to_symbol`.

    Raises:
        ValueError: If an argument is out of range, or if no such graph is
            found.

    Example:
    ```python
    splits = keras_coconut.load_prosqa(train=1_000, validation=100, test=100)
    far = keras_coconut.load_prosqa(
        train=0,
        validation=0,
        test=20,
        num_nodes=60,
        min_steps=8,
        max_steps=12,
        symbolic=True,
    )
    ```
    """
    seed = check_count("seed", seed)
    symbolic = check_flag("symbolic", symbolic)
    min_steps = check_count("min_steps", min_steps, 1, _MOST_NODES - 3)
    max_steps = check_count("max_steps", max_steps, least=min_steps)
    # Two names and one node for each step of the path, and the other answer.
    num_nodes = check_count("num_nodes", num_nodes, min_steps + 3, _MOST_NODES)
    if not symbolic and num_nodes > len(CONCEPTS) + 2:
        raise ValueError(
            f"`num_nodes` must be at most {len(CONCEPTS) + 2}, as many as "
            "there are names for, unless `symbolic` is true. Received: "
            f"num_nodes={num_nodes}"
        )
    mean_parents = check_number(
        "mean_parents", mean_parents, above=0, most=_MOST_NODES
    )
    return draw_splits(
        _draw(seed, num_nodes, min_steps, max_steps, mean_parents, symbolic),
        train,
        validation,
        test,
        verbose,
    )


def symbolic_words(num_nodes: int = 40) -> list[str]:
    """Returns the words of symbolic problems, for `make_word_tokenizer`.

    Each node, each punctuation mark and the answer's `### ` become one token
    each. With `ContinuousThoughtPreprocessor(tokenizer, separator="")` a step
    is a single token, that of the node it leads to.

    Args:
        num_nodes: int, at most 10,000; see `load_prosqa`. Defaults to `40`.

    Raises:
        ValueError: If `num_nodes` is out of range.

    Example:
    ```python
    words = keras_coconut.symbolic_words()
    tokenizer = keras_coconut.make_word_tokenizer(words)
    ```
    """
    num_nodes = check_count("num_nodes", num_nodes, 1, _MOST_NODES)
    return [_symbol(node) for node in range(num_nodes)] + [
        "|",
        "?",
        "@",
        "### ",
    ]


def _draw(
    seed, num_nodes, min_steps, max_steps, mean_parents, symbolic
) -> Iterator[Problem]:
    numbers = random.Random(seed)
    parents = np.random.default_rng(seed)
    tries = 0
    while True:
        # Many at once: a single draw from NumPy costs as much as a hundred.
        for counts in parents.poisson(mean_parents, (256, num_nodes)).tolist():
            graph = _graph(numbers, counts)
            question = _question(numbers, graph, min_steps, max_steps)
            if question is not None:
                tries = 0
                write = _in_symbols if symbolic else _in_words
                problem = write(
                    numbers, num_nodes, *_connected(graph, *question)
                )
                if problem is not None:
                    yield problem
            tries += 1
            if tries == _MOST_GRAPHS:
                raise ValueError(
                    "`num_nodes`, `mean_parents` and the steps must allow for "
                    f"a path of {min_steps} to {shown(max_steps)} steps. "
                    f"Received: num_nodes={num_nodes}, "
                    f"mean_parents={mean_parents}, for which {_MOST_GRAPHS} "
                    "graphs in a row had none"
                )


class _Graph:
    """A graph while it is drawn.

    `parents` holds each node's, `labels` whether it descends from node 0 (bit
    1) and node 1 (bit 2), `depths` the longest path that leads to it.
    """

    def __init__(self):
        self.parents: list[list[int]] = [[], []]
        self.labels = [1, 2]
        self.depths = [0, 0]

    def edges(self):
        return [
            (parent, node)
            for node, parents in enumerate(self.parents)
            for parent in parents
        ]


def _graph(numbers, counts) -> _Graph:
    """Algorithm 1, with the numbers of parents drawn before."""
    graph = _Graph()
    first, second = [0], [1]
    candidates: Sequence[int]
    for node in range(2, len(counts)):
        branch = numbers.random()
        if branch <= _DESCENDANTS_OF_FIRST:
            candidates = first
        elif branch <= _DESCENDANTS_OF_SECOND:
            candidates = second
        else:
            candidates = range(node)
        parents = _weighted_sample(
            numbers, candidates, graph.depths, counts[node]
        )
        label = 0
        for parent in parents:
            label |= graph.labels[parent]
        graph.parents.append(parents)
        graph.labels.append(label)
        graph.depths.append(
            1 + max((graph.depths[parent] for parent in parents), default=-1)
        )
        if label == 1:
            first.append(node)
        elif label == 2:
            second.append(node)
    return graph


def _weighted_sample(numbers, candidates, depths, count):
    """Draws without replacement; a deep node is more likely than a high one."""
    left = list(candidates)
    weights = [_DEPTH_WEIGHT * depths[node] + 1 for node in left]
    chosen = []
    for _ in range(min(count, len(left))):
        (index,) = numbers.choices(range(len(left)), weights)
        chosen.append(left.pop(index))
        weights.pop(index)
    return chosen


def _question(numbers, graph, min_steps, max_steps):
    """Returns `(root, target, neg_target, path)`; `None` if there is none.

    The answer is a leaf of one side, as far from its root as any; the other
    choice is a leaf of the other side. The side with the longer way is asked.
    """
    edges = graph.edges()
    starts = {start for start, _ in edges}
    leaves = {
        root: [
            node
            for node, label in enumerate(graph.labels)
            if node > 1 and node not in starts and label == root + 1
        ]
        for root in (0, 1)
    }
    if not leaves[0] or not leaves[1]:
        return None
    distances = {root: distances_from(root, edges) for root in (0, 1)}
    furthest = {
        root: max(distances[root][leaf] for leaf in leaves[root])
        for root in (0, 1)
    }
    root = numbers.choice((0, 1))
    if furthest[0] != furthest[1]:
        root = int(furthest[1] > furthest[0])
    if not min_steps <= furthest[root] <= max_steps:
        return None
    target = numbers.choice(
        [
            leaf
            for leaf in leaves[root]
            if distances[root][leaf] == furthest[root]
        ]
    )
    # One of the shortest paths, from its end.
    path = [target]
    while path[-1] != root:
        distance = distances[root][path[-1]] - 1
        path.append(
            numbers.choice(
                [
                    parent
                    for parent in graph.parents[path[-1]]
                    if distances[root].get(parent) == distance
                ]
            )
        )
    return root, target, numbers.choice(leaves[1 - root]), path[::-1]


def _connected(graph, root, target, neg_target, path):
    """Leaves out nodes without edges and renumbers the others."""
    edges = graph.edges()
    used = sorted({node for edge in edges for node in edge})
    number = {node: index for index, node in enumerate(used)}
    extra = {
        "edges": [[number[a], number[b]] for a, b in edges],
        "root": number[root],
        "target": number[target],
        "neg_target": number[neg_target],
    }
    return len(used), [number[node] for node in path], extra


def _in_words(numbers, num_nodes, used, path, extra: dict[str, Any]):
    """Returns the problem in words; `None` if it needs too many of them."""
    ends = {end for _, end in extra["edges"]}
    roots = [node for node in range(used) if node not in ends]
    others = [node for node in range(used) if node in ends]
    if len(roots) > len(NAMES) or len(others) > len(CONCEPTS):
        return None
    symbols = {
        **dict(zip(roots, numbers.sample(NAMES, len(roots)))),
        **dict(zip(others, numbers.sample(CONCEPTS, len(others)))),
    }

    def sentence(start, end):
        every = "" if start in roots else "Every "
        return f"{every}{symbols[start]} is a {symbols[end]}."

    statements = [sentence(*edge) for edge in extra["edges"]]
    numbers.shuffle(statements)
    choices = [symbols[extra["target"]], symbols[extra["neg_target"]]]
    numbers.shuffle(choices)
    name = symbols[extra["root"]]
    statements.append(f"Is {name} a {choices[0]} or {choices[1]}?")
    return Problem(
        " ".join(statements),
        [sentence(*edge) for edge in itertools.pairwise(path)],
        f"{name} is a {symbols[extra['target']]}.",
        extra={
            "idx_to_symbol": [symbols[node] for node in range(used)],
            **extra,
        },
    )


def _in_symbols(numbers, num_nodes, used, path, extra: dict[str, Any]):
    symbols = list(map(_symbol, numbers.sample(range(num_nodes), used)))
    statements = [f"|{symbols[a]}{symbols[b]}" for a, b in extra["edges"]]
    numbers.shuffle(statements)
    choices = [symbols[extra["target"]], symbols[extra["neg_target"]]]
    numbers.shuffle(choices)
    root = symbols[extra["root"]]
    return Problem(
        f"{''.join(statements)}?{choices[0]}{choices[1]}@{root}",
        [symbols[node] for node in path[1:]],
        symbols[extra["target"]],
        extra={"idx_to_symbol": symbols, **extra},
    )


def _symbol(node) -> str:
    return f"<{node}>"


if tfds_builders.AVAILABLE:

    class Prosqa(tfds_builders.ProblemsBuilder):
        """ProsQA as published."""

        DATASET = "prosqa"
        DESCRIPTION = __doc__
        HOMEPAGE = "https://github.com/facebookresearch/coconut"
        CITATION = "arXiv:2412.06769"

        def extra_features(self):
            return tfds_builders.graph_features()
