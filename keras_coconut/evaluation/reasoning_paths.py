"""The kind of path that a response to a ProsQA problem takes through the graph.

The six classes of the paper's section 5.1. Every response is in exactly one.
"""

import collections
import dataclasses
import functools
import itertools
from collections.abc import Iterable, Mapping, Sequence

from keras_coconut.checks import (
    PathLike,
    Verbose,
    check_count,
    check_instance,
    check_string,
    check_verbose,
)
from keras_coconut.evaluation.figures import (
    Evaluation,
    extract_answer,
    normalize_answer,
)
from keras_coconut.evaluation.problems import answer
from keras_coconut.evaluation.request import check_forced, check_request
from keras_coconut.evaluation.results_file import check_results_folder
from keras_coconut.evaluation.unfinished import part_of
from keras_coconut.graphs import (
    SENTENCE,
    SYMBOL,
    ProblemGraph,
    distances_from,
    read_graph,
)
from keras_coconut.models.continuous_thought_lm import ContinuousThoughtLM
from keras_coconut.problems import Problem, as_problems
from keras_coconut.progress import Progress

CLASSES = {
    "correct_path": "one of the shortest paths to the answer",
    "longer_path": "a valid path to the answer, but longer",
    "hallucination": "an edge that the graph lacks, or a break in the path",
    "wrong_target": "valid edges that end somewhere else",
    "correct_label": "only an answer, the right one",
    "incorrect_label": "only an answer, a wrong one",
}


def classify_response(
    problem: Problem, response: str, *, num_thoughts: int = 0
) -> str:
    r"""Returns the class of a response to a ProsQA problem.

    Args:
        problem: a `Problem` with the published graph keys in its `extra`, in
            words or in symbols.
        response: string, as `generate` returns it.
        num_thoughts: int. Number of thoughts before the response. After
            thoughts the path may begin in the middle; then only the rest of it
            is checked. Defaults to `0`.

    Returns:
        A string, the class of the response: one of
        `keras_coconut.evaluation.CLASSES`.

    Raises:
        ValueError: If the problem holds no graph or a damaged one, or if an
            argument has a wrong type.

    Example:
    ```python
    keras_coconut.classify_response(
        problem, "Tom is a terpus.\nEvery terpus is a lempus.\n### ..."
    )  # "correct_path"
    ```
    """
    problem = check_instance(
        "problem", problem, Problem, "a `keras_coconut.Problem`"
    )
    response = check_string("response", response)
    num_thoughts = check_count("num_thoughts", num_thoughts)
    graph = read_graph("problem", problem)
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
    model: ContinuousThoughtLM,
    problems: Iterable[Problem | Mapping],
    *,
    num_thoughts: Sequence[int] = tuple(range(7)),
    max_length: int | None = None,
    batch_size: int = 32,
    verbose: Verbose = "auto",
    results_folder: PathLike | None = None,
) -> dict[int, tuple[Evaluation, dict[str, float]]]:
    """Answers with each number of thoughts, and classifies the responses.

    The model stops thinking after k thoughts and finishes in language (arXiv
    2412.06769, section 5.1). Every argument is checked before anything is
    generated.

    Args:
        model: a `ContinuousThoughtLM` with a preprocessor.
        problems: iterable of ProsQA `Problem`s, at least one.
        num_thoughts: sequence of distinct ints. The numbers of thoughts to
            force. Defaults to 0 to 6.
        max_length, batch_size, verbose: see `evaluate_problems`. One progress
            line counts all answers, and says with how many thoughts they are
            made.
        results_folder: string or path-like. A folder, created if it is missing,
            with a results file for each number of thoughts, such as
            `thoughts_3.json`. It works like `results_path` of
            `evaluate_problems`: finished responses are not generated again.
            After an interruption they are not in any case, and `partial` of
            the `KeyboardInterrupt` holds the results so far. Optional.

    Returns:
        A dictionary that maps each number of thoughts to a pair: its
        `Evaluation`, and the fraction of responses in each class.

    Raises:
        ValueError: If a problem holds no graph or does not fit the model with
            the most thoughts, or if an argument is invalid.
        OSError: If `results_folder` cannot be written.

    Example:
    ```python
    results = keras_coconut.evaluate_reasoning(model, problems)
    for forced, (found, shares) in results.items():
        print(forced, found.accuracy, shares["correct_path"])
    ```
    """
    verbose = check_verbose(verbose)
    counts = check_forced(num_thoughts)
    problems = as_problems("problems", problems)
    for index, problem in enumerate(problems):
        read_graph(f"problems[{index}]", problem)
    # What fits with the most thoughts fits with fewer.
    longest = check_request(
        model, problems, max(counts), max_length, batch_size
    )
    files = [f"thoughts_{count}" for count in counts]
    paths = check_results_folder(results_folder, files)
    results: dict[int, tuple[Evaluation, dict[str, float]]] = {}
    total = len(counts) * len(problems)
    with Progress("reasoning", total, verbose, "answers", steady=True):
        for count, file in zip(counts, files):
            request = dataclasses.replace(
                longest, counts=[count] * len(problems)
            )
            classify = functools.partial(_classified, problems, count)
            with part_of(results, count, classify):
                found = answer(
                    request, f"{count} thoughts", verbose, paths[file]
                )
            results[count] = classify(found, range(len(problems)))
    return results


def _classified(problems, count, found, answered):
    """Returns an evaluation, and the fraction of responses in each class."""
    classes = collections.Counter(
        classify_response(problems[row], response, num_thoughts=count)
        for row, response in zip(answered, found.predictions)
    )
    return found, {name: classes[name] / len(answered) for name in CLASSES}


def _read_nodes(chain, graph: ProblemGraph, num_thoughts) -> list[int] | None:
    """Returns the nodes along a chain; `None` if it cannot be followed."""
    if graph.in_symbols:
        # A step is the node it leads to.
        names = SYMBOL.findall(chain)
        if "".join(names) != "".join(chain.split()):
            return None
        if not graph.nodes.keys() >= {*names}:
            return None
        nodes = [graph.nodes[name] for name in names]
        return nodes if num_thoughts else [graph.root, *nodes]
    nodes = []
    for line in filter(None, chain.split("\n")):
        match = SENTENCE.fullmatch(line.strip())
        if match is None:
            return None
        if not graph.nodes.keys() >= {*match.groups()}:
            return None
        start, end = (graph.nodes[name] for name in match.groups())
        if nodes and nodes[-1] != start:
            return None
        nodes += [end] if nodes else [start, end]
    return nodes
