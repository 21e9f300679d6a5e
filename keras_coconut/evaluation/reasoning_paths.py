"""What kind of path a response to a ProsQA problem takes through the graph.

The six classes of the paper's section 5.1. Every response is in exactly one.
"""

import collections
import dataclasses
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from keras_coconut.checks import (
    check_count,
    check_instance,
    check_string,
    check_verbose,
    refuse,
    shown,
)
from keras_coconut.evaluation.figures import (
    Evaluation,
    extract_answer,
    normalize_answer,
)
from keras_coconut.evaluation.problems import answer
from keras_coconut.evaluation.request import check_request
from keras_coconut.evaluation.results_file import check_results_folder
from keras_coconut.graphs import distances_from
from keras_coconut.problems import Problem, as_problems

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
        ValueError: If the problem holds no graph or one that is damaged, or if
            an argument has a wrong type.

    Example:
    ```python
    classify_response(
        problem, "Tom is a terpus.\nEvery terpus is a lempus.\n### ..."
    )  # "correct_path"
    ```
    """
    problem = check_instance(
        "problem", problem, Problem, "a `keras_coconut.Problem`"
    )
    response = check_string("response", response)
    num_thoughts = check_count("num_thoughts", num_thoughts)
    graph = _read_graph("problem", problem)
    chain, marked, _ = response.rpartition("###")
    if not marked:  # It never came to an answer.
        chain = response
    if not chain.strip():
        right = normalize_answer(problem.answer)
        correct = extract_answer(response) == right
        return "correct_label" if correct else "incorrect_label"
    nodes = _read_nodes(chain, graph, num_thoughts)
    if nodes is None or any(
        edge not in graph.edges for edge in itertools.pairwise(nodes)
    ):
        return "hallucination"
    distances = distances_from(graph.root, graph.edges)
    if nodes[0] not in distances or (
        nodes[0] != graph.root and not num_thoughts
    ):
        return "hallucination"
    if nodes[-1] != graph.target:
        return "wrong_target"
    length = distances[nodes[0]] + len(nodes) - 1
    shortest = distances[graph.target]
    return "correct_path" if length == shortest else "longer_path"


def evaluate_reasoning(
    model,
    problems: Iterable[Problem],
    num_thoughts: Sequence[int] = tuple(range(7)),
    max_length: int | None = None,
    batch_size: int = 32,
    verbose="auto",
    results_folder=None,
) -> dict[int, tuple[Evaluation, dict[str, float]]]:
    """Forces each number of thoughts and classifies what follows.

    The model is told to end its thoughts after k of them and to finish in
    language (arXiv 2412.06769, section 5.1). Every argument is checked before
    anything is generated.

    Args:
        model: a `ContinuousThoughtLM` with a preprocessor.
        problems: iterable of ProsQA `Problem`s, at least one.
        num_thoughts: sequence of different ints. The numbers of thoughts to
            force. Defaults to 0 to 6.
        max_length, batch_size, verbose: see `evaluate_problems`. The progress
            line says which number of thoughts is being evaluated.
        results_folder: string or path-like. A folder, made if it is missing,
            with a results file for each number of thoughts, such as
            `thoughts_3.json`. It serves like `results_path` of
            `evaluate_problems`: what is finished is not generated again.
            Optional.

    Returns:
        A dictionary: for each number of thoughts, its `Evaluation` and the
        share of responses in each class.

    Raises:
        ValueError: If a problem holds no graph or does not fit the model with
            the most thoughts, or if an argument is not one of these.
        OSError: If `results_folder` cannot be written.

    Example:
    ```python
    for forced, (found, shares) in evaluate_reasoning(model, problems).items():
        print(forced, found.accuracy, shares["correct_path"])
    ```
    """
    verbose = check_verbose(verbose)
    counts = _check_forced(num_thoughts)
    problems = as_problems("problems", problems)
    for index, problem in enumerate(problems):
        _read_graph(f"problems[{index}]", problem)
    # What fits with the most thoughts fits with fewer.
    longest = check_request(
        model, problems, max(counts), max_length, batch_size
    )
    files = [f"thoughts_{count}" for count in counts]
    paths = check_results_folder(results_folder, files)
    results = {}
    for number, (count, file) in enumerate(zip(counts, files), start=1):
        found = answer(
            dataclasses.replace(longest, counts=[count] * len(problems)),
            f"thoughts forced: {count} ({number} of {len(counts)})",
            verbose,
            paths[file],
        )
        classes = collections.Counter(
            classify_response(problem, response, count)
            for problem, response in zip(problems, found.predictions)
        )
        shares = {name: classes[name] / len(problems) for name in CLASSES}
        results[count] = (found, shares)
    return results


def _check_forced(num_thoughts) -> list[int]:
    """Returns the numbers of thoughts to force."""
    expected = "a sequence of different whole numbers, such as `range(7)`"
    if isinstance(num_thoughts, str | bytes | dict | set):
        raise refuse("num_thoughts", expected, num_thoughts)
    try:
        counts = list(num_thoughts)
    except TypeError:
        raise refuse("num_thoughts", expected, num_thoughts) from None
    counts = [
        check_count(f"num_thoughts[{index}]", count)
        for index, count in enumerate(counts)
    ]
    if not counts or len(set(counts)) < len(counts):
        raise refuse("num_thoughts", expected, num_thoughts)
    return counts


class _Graph(NamedTuple):
    """A problem's graph, its nodes by name."""

    nodes: dict[str, int]
    edges: set[tuple[int, int]]
    root: int
    target: int


def _read_graph(name: str, problem: Problem) -> _Graph:
    """Returns a problem's graph; raises a `ValueError` if it has none."""
    extra: Mapping = problem.extra
    missing = [key for key in _GRAPH_KEYS if key not in extra]
    if missing:
        raise ValueError(
            f"`{name}.extra` must hold the graph's keys {list(_GRAPH_KEYS)}, "
            f"as ProsQA's do. Received: {shown(sorted(extra))}, without "
            f"{missing}"
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
    for edge in edges:
        if not isinstance(edge, list | tuple) or len(edge) != 2:
            raise refuse(
                f"{name}.extra['edges']", "a list of pairs of nodes", edge
            )
    return _Graph(
        {symbol: node for node, symbol in enumerate(symbols)},
        {
            tuple(
                check_count(f"{name}.extra['edges']", node, most=last)
                for node in edge
            )
            for edge in edges
        },
        *(
            check_count(f"{name}.extra[{key!r}]", extra[key], most=last)
            for key in ("root", "target")
        ),
    )


def _read_nodes(chain, graph: _Graph, num_thoughts) -> list[int] | None:
    """Returns the nodes along a chain; `None` if it cannot be followed."""
    if all(map(_SYMBOL.fullmatch, graph.nodes)):
        # A step is the node it leads to.
        names = _SYMBOL.findall(chain)
        if "".join(names) != "".join(chain.split()):
            return None
        nodes = [graph.nodes.get(name) for name in names]
        if not num_thoughts:
            nodes.insert(0, graph.root)
        return None if None in nodes else nodes
    nodes = []
    for line in filter(None, chain.split("\n")):
        match = _SENTENCE.fullmatch(line.strip())
        if match is None:
            return None
        start, end = (graph.nodes.get(name) for name in match.groups())
        if None in (start, end) or (nodes and nodes[-1] != start):
            return None
        nodes += [end] if nodes else [start, end]
    return nodes
