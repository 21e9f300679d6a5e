"""The implicit search of a model: the value of each node after its thoughts."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from keras_coconut.analysis.beside_control import beside_control
from keras_coconut.analysis.forced_counts import choose_counts
from keras_coconut.analysis.plain import to_plain
from keras_coconut.analysis.search.graph_nodes import Visits, check_visits
from keras_coconut.analysis.search.node_table import NodeTable
from keras_coconut.analysis.search.node_values import (
    SYMBOLS,
    WORDS,
    StepText,
    read_values,
)
from keras_coconut.analysis.search.tree_figures import (
    TreeLevel,
    measure_level,
)
from keras_coconut.checks import Verbose, check_instance, check_verbose
from keras_coconut.evaluation.request import (
    check_model,
    check_request,
)
from keras_coconut.graphs import ProblemGraph, read_graph
from keras_coconut.models.continuous_thought_lm import ContinuousThoughtLM
from keras_coconut.problems import Problem, as_problems
from keras_coconut.progress import Progress


@dataclasses.dataclass(frozen=True)
class SearchTree:
    """What `search_tree` returns.

    Attributes:
        num_thoughts: tuple of ints.
        levels: tuple of `TreeLevel`s, one for each number of thoughts.
        values: tuple of float arrays, one for each problem, (numbers of
            thoughts, nodes), the nodes in the order of `idx_to_symbol`. NaN for
            a node that no step can name, since it has no parents.
        control: the `SearchTree` of the control, or `None`. The patterns of a
            search also appear in models that think nothing: they mean
            something only where the control lacks them.
        visits: `"first"` or `"all"`, which nodes count as the frontier; see
            `search_tree`.

    Example:
    ```python
    found = keras_coconut.search_tree(model, graph_problems, num_thoughts=[0])
    found.levels[0].frontier_mass.frontier.share
    found.to_dict()  # For JSON.
    ```
    """

    num_thoughts: tuple[int, ...]
    levels: tuple[TreeLevel, ...]
    values: tuple[np.ndarray, ...] = dataclasses.field(repr=False)
    control: "SearchTree | None" = None
    visits: Visits = "first"

    def to_dict(self) -> dict[str, Any]:
        """Returns all figures as values that JSON can hold."""
        return to_plain(self)


def search_tree(
    model: ContinuousThoughtLM,
    problems: Iterable[Problem | Mapping],
    *,
    num_thoughts: Sequence[int] | None = None,
    control: ContinuousThoughtLM | None = None,
    step_text: StepText | None = None,
    visits: Visits = "first",
    batch_size: int = 32,
    verbose: Verbose = "auto",
) -> SearchTree:
    """Measures which nodes of a graph a model considers after its thoughts.

    After k thoughts the model switches to language. The value of a node is the
    probability that the next step names it, the product over its tokens (arXiv
    2412.06769, section 5). From the values follow three pictures of a search:
    how they are shared among the nodes of the frontier (parallelism), how they
    depend on the distance to a leaf (height), and how much of them lies on the
    frontier at all (frontier mass). Frontier mass alone has nulls for all
    figures, the frontier's share of the nodes and of the statements. Height and
    parallelism mean something beside a control.

    In words, after k thoughts the next step reads "Every [A] is a [B].", and A
    is valued: the frontier is k steps from the root. Without thoughts it is the
    root's own step, "[root] is a [B].", and B is valued. No statement begins
    with a leaf, which is left out of frontier mass and parallelism where A is
    valued. In symbols, where a step is the node that it leads to, the frontier
    after k thoughts is k + 1 steps from the root.

    Args:
        model: a `ContinuousThoughtLM` with a preprocessor.
        problems: iterable of ProsQA `Problem`s, at least one, in words or in
            symbols.
        num_thoughts: sequence of distinct ints. Defaults to 0 to the model's
            `num_thoughts`.
        control: a `ContinuousThoughtLM` with a preprocessor to measure in the
            same way, such as one that was trained with pauses in place of
            thoughts. Optional.
        step_text: a `StepText`, how the problems' steps are written. Defaults
            to that of ProsQA, in words or in symbols.
        visits: `"first"` or `"all"`. `"first"` counts a node as the frontier
            once, at its shortest distance from the root; `"all"` after every
            path of that length. Defaults to `"first"`.
        batch_size: int. Number of problems in a batch. Defaults to `32`.
        verbose: `"auto"`, 0, 1 or 2. Whether to show the progress. Defaults to
            `"auto"`.

    Returns:
        A `SearchTree`.

    Raises:
        ValueError: If a problem holds no graph or does not fit a model, or if
            an argument is invalid.

    Example:
    ```python
    found = keras_coconut.search_tree(model, graph_problems, num_thoughts=[1])
    (level,) = found.levels
    mass = level.frontier_mass.frontier
    print(f"{mass.share.mean:.0%} on the frontier, {mass.chance:.0%} by chance")
    print(level.parallelism.means)
    ```
    """
    models = [check_model(model)]
    if control is not None:
        models.append(check_model(control, "control"))
    problems = as_problems("problems", problems)
    graphs = read_graphs(problems)
    counts = choose_counts(models[0], num_thoughts)
    step_text = _choose_text(step_text, graphs)
    check_visits(visits)
    verbose = check_verbose(verbose)
    for each in models:
        check_request(each, problems, max(counts), batch_size=batch_size)
    tables = [
        NodeTable.of(graph, step_text, counts, visits) for graph in graphs
    ]
    found: list[SearchTree] = []
    with Progress(
        "search tree", len(models) * len(problems), verbose
    ) as progress:
        for each in models:
            values = read_values(
                each,
                [problem.question for problem in problems],
                graphs,
                step_text,
                counts,
                batch_size,
                progress.add,
            )
            levels = tuple(
                measure_level(index, count, step_text, tables, values)
                for index, count in enumerate(counts)
            )
            found.append(
                SearchTree(tuple(counts), levels, tuple(values), visits=visits)
            )
    return beside_control(found)


def read_graphs(problems: Sequence[Problem]) -> list[ProblemGraph]:
    """Returns the graphs of problems, each with an edge."""
    graphs = []
    for index, problem in enumerate(problems):
        graph = read_graph(f"problems[{index}]", problem)
        if not graph.edges:
            raise ValueError(
                f"`problems[{index}].extra['edges']` must hold an edge. "
                "Received: none"
            )
        graphs.append(graph)
    return graphs


def _choose_text(step_text, graphs) -> StepText:
    """Returns how the steps of problems are written."""
    if step_text is not None:
        expected = "a `keras_coconut.StepText`"
        return check_instance("step_text", step_text, StepText, expected)
    in_symbols = {graph.in_symbols for graph in graphs}
    if len(in_symbols) > 1:
        raise ValueError(
            "`problems` must all be in words or all in symbols. Received: some "
            "of each"
        )
    return SYMBOLS if in_symbols.pop() else WORDS
