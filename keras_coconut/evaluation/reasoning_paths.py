"""What kind of path a response to a ProsQA problem takes through the graph.

The six classes of the paper's section 5.1; every output falls in exactly one.
"""

import collections
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from keras_coconut.evaluation.problems import (
    Evaluation,
    evaluate_problems,
    extract_answer,
    normalize_answer,
)
from keras_coconut.graphs import distances_from
from keras_coconut.problems import Problem

CLASSES = {
    "correct_path": "one of the shortest paths to the answer",
    "longer_path": "a valid path to the answer, but longer",
    "hallucination": "an edge that the graph lacks, or a break in the path",
    "wrong_target": "valid edges that end somewhere else",
    "correct_label": "only an answer, the right one",
    "incorrect_label": "only an answer, a wrong one",
}
_SENTENCE = re.compile(r"(?:Every )?(\w+) is an? (\w+)\.")
_SYMBOL = re.compile(r"<\d+>")
_GRAPH_KEYS = ("idx_to_symbol", "edges", "root", "target")


def classify_response(
    problem: Problem, response: str, num_thoughts: int = 0
) -> str:
    r"""Returns the class of a response to a ProsQA problem.

    Args:
        problem: a `Problem` with the published graph keys in its `extra`, in
            words or in symbols.
        response: string, as `generate` returns it.
        num_thoughts: int. How often the model thought before. After thoughts
            the path may begin in its middle; it is judged by whether the rest
            of it exists. Defaults to `0`.

    Returns:
        A key of `CLASSES`.

    Raises:
        ValueError: If the problem holds no graph.

    Example:
    ```python
    classify_response(
        problem, "Tom is a terpus.\nEvery terpus is a lempus.\n### ..."
    )  # "correct_path"
    ```
    """
    graph = _graph(problem)
    chain, marked, _ = response.rpartition("###")
    if not marked:  # It never came to an answer.
        chain = response
    if not chain.strip():
        right = normalize_answer(problem.answer)
        correct = extract_answer(response) == right
        return "correct_label" if correct else "incorrect_label"
    nodes = _nodes(chain, graph, num_thoughts)
    edges = {tuple(edge) for edge in graph["edges"]}
    if nodes is None or any(
        edge not in edges for edge in itertools.pairwise(nodes)
    ):
        return "hallucination"
    distances = distances_from(graph["root"], edges)
    if nodes[0] not in distances or (
        nodes[0] != graph["root"] and not num_thoughts
    ):
        return "hallucination"
    if nodes[-1] != graph["target"]:
        return "wrong_target"
    length = distances[nodes[0]] + len(nodes) - 1
    shortest = distances[graph["target"]]
    return "correct_path" if length == shortest else "longer_path"


def evaluate_reasoning(
    model,
    problems: Sequence[Problem],
    num_thoughts: Sequence[int] = tuple(range(7)),
    **kwargs,
) -> dict[int, tuple[Evaluation, dict[str, float]]]:
    """Forces each number of thoughts and classifies what follows.

    The model is told to end its thoughts after k of them and to finish in
    language (arXiv 2412.06769, section 5.1).

    Args:
        model: a `ContinuousThoughtLM` with a preprocessor.
        problems: sequence of ProsQA `Problem`s.
        num_thoughts: the numbers to force. Defaults to 0 to 6.
        **kwargs: See `evaluate_problems`.

    Returns:
        A dictionary: for each number of thoughts, its `Evaluation` and the
        share of responses in each class.

    Example:
    ```python
    for forced, (found, shares) in evaluate_reasoning(model, problems).items():
        print(forced, found.accuracy, shares["correct_path"])
    ```
    """
    for problem in problems:
        _graph(problem)
    results = {}
    for count in num_thoughts:
        found = evaluate_problems(model, problems, count, **kwargs)
        classes = collections.Counter(
            classify_response(problem, response, count)
            for problem, response in zip(problems, found.predictions)
        )
        shares = {name: classes[name] / len(problems) for name in CLASSES}
        results[count] = (found, shares)
    return results


def _graph(problem: Problem) -> Mapping[str, Any]:
    missing = [key for key in _GRAPH_KEYS if key not in problem.extra]
    if missing:
        raise ValueError(
            f"`problem.extra` must hold the graph's keys {list(_GRAPH_KEYS)}, "
            f"as ProsQA's do. Received: {sorted(problem.extra)}, without "
            f"{missing}"
        )
    return problem.extra


def _nodes(chain, graph, num_thoughts) -> list[int] | None:
    """Returns the nodes along a chain; `None` if it cannot be followed."""
    numbers = {name: i for i, name in enumerate(graph["idx_to_symbol"])}
    symbolic = all(map(_SYMBOL.fullmatch, numbers))
    if symbolic:
        # A step is the node it leads to.
        names = _SYMBOL.findall(chain)
        if "".join(names) != "".join(chain.split()):
            return None
        nodes = [numbers.get(name) for name in names]
        if not num_thoughts:
            nodes.insert(0, graph["root"])
        return None if None in nodes else nodes
    nodes = []
    for line in filter(None, chain.split("\n")):
        match = _SENTENCE.fullmatch(line.strip())
        if match is None:
            return None
        start, end = (numbers.get(name) for name in match.groups())
        if None in (start, end) or (nodes and nodes[-1] != start):
            return None
        nodes += [end] if nodes else [start, end]
    return nodes
