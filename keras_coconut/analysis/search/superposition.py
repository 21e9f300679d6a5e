"""Whether a thought holds several nodes at once: attention, inner products."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from keras_coconut import backbones
from keras_coconut.analysis.beside_control import beside_control
from keras_coconut.analysis.plain import to_plain
from keras_coconut.analysis.search.edge_tokens import edge_tokens, node_tokens
from keras_coconut.analysis.search.graph_nodes import Visits, check_visits
from keras_coconut.analysis.search.group_means import (
    GroupMeans,
    Members,
    graph_groups,
)
from keras_coconut.analysis.search.search_tree import read_graphs
from keras_coconut.checks import Verbose, check_count, check_verbose
from keras_coconut.evaluation.request import check_model, check_request
from keras_coconut.models.continuous_thought_lm import ContinuousThoughtLM
from keras_coconut.problems import Problem, as_problems
from keras_coconut.progress import Progress
from keras_coconut.text.arrays import to_numpy

# Batches whose attention is held at once.
_AT_ONCE = 4


@dataclasses.dataclass(frozen=True)
class Superposition:
    """What `superposition` returns.

    Attributes:
        layer: int, the layer whose attention was measured, counted from 0.
        attention: tuple of `GroupMeans`. Entry i is of thought i, and groups
            edges by whether i steps reach the node they leave; entry 0 is of
            the question's last token. `None` if no problem's solution is i + 1
            steps long. The published table counts thoughts where they are made:
            its thought i + 1 is entry i.
        inner_products: tuple of `GroupMeans`. Entry i is of thought i + 1, and
            groups nodes by whether i + 1 steps reach them. `None` if no
            problem's solution is so long.
        control: the `Superposition` of the control, or `None`. Such patterns
            also appear in models whose thoughts do nothing: they mean something
            only where the control lacks them.
        num_heads: int, the number of heads that `attention` is the sum over.
        attention_per_head: `attention`, as the mean over heads. Compare this
            one with models that have another number of heads, since the sum
            grows with it.

    Example:
    ```python
    found = keras_coconut.superposition(model, graph_problems, num_thoughts=1)
    found.inner_products[0].frontier.mean
    found.to_dict()  # For JSON.
    ```
    """

    layer: int
    attention: tuple[GroupMeans | None, ...]
    inner_products: tuple[GroupMeans | None, ...]
    control: "Superposition | None" = None
    num_heads: int | None = None
    attention_per_head: tuple[GroupMeans | None, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Returns all figures as values that JSON can hold."""
        return to_plain(self)


def superposition(
    model: ContinuousThoughtLM,
    problems: Iterable[Problem | Mapping],
    *,
    num_thoughts: int | None = None,
    control: ContinuousThoughtLM | None = None,
    layer: int | None = None,
    visits: Visits = "all",
    batch_size: int = 32,
    verbose: Verbose = "auto",
) -> Superposition:
    """Measures how thoughts attend to edges and resemble nodes, by group.

    A thought that holds several nodes at once should attend to the edges that
    leave them, and its inner products with their embeddings should be large
    (arXiv 2505.12514, section 5). Groups are reachable nodes, those on the
    frontier of a breadth-first search, those of the frontier on a shortest path
    to the target, and nodes that are not reachable. Attention to an edge is the
    sum over all heads and over the edge's tokens in the question; the mean over
    heads stands beside it. An inner product is with the mean embedding of the
    node's tokens.

    A problem counts only while its solution has as many steps. Means are over
    all nodes or edges of a group, in all problems.

    Args:
        model: a `ContinuousThoughtLM` with a preprocessor.
        problems: iterable of ProsQA `Problem`s, at least one, in words or in
            symbols.
        num_thoughts: int. Defaults to the model's `num_thoughts`.
        control: a `ContinuousThoughtLM` with a preprocessor to measure in the
            same way, such as one that was trained with pauses in place of
            thoughts. Optional.
        layer: int. The layer whose attention is measured, counted from 0.
            Defaults to the last one of each model.
        visits: `"first"` or `"all"`. `"first"` counts a node as the frontier
            once, at its shortest distance from the root; `"all"` after every
            path of that length, as in the published table. Defaults to
            `"all"`.
        batch_size: int. Number of problems in a batch. Defaults to `32`.
        verbose: `"auto"`, 0, 1 or 2. Whether to show the progress. Defaults to
            `"auto"`.

    Returns:
        A `Superposition`.

    Raises:
        ValueError: If a problem holds no graph or does not fit a model, if a
            question does not hold the edges of its graph as ProsQA writes
            them, or if an argument is invalid.

    Example:
    ```python
    found = keras_coconut.superposition(model, graph_problems, num_thoughts=1)
    for name, mean in found.inner_products[0]._asdict().items():
        print(f"{name}: {mean.mean:.2f} +- {mean.margin:.2f}")
    ```
    """
    models = [check_model(model)]
    if control is not None:
        models.append(check_model(control, "control"))
    problems = as_problems("problems", problems)
    graphs = read_graphs(problems)
    if num_thoughts is not None:
        num_thoughts = check_count("num_thoughts", num_thoughts)
    check_visits(visits)
    verbose = check_verbose(verbose)
    layers = [_choose_layer(each, layer) for each in models]
    request = check_request(model, problems, num_thoughts, None, batch_size)
    count = request.counts[0]
    for each in models[1:]:
        check_request(each, problems, count, None, batch_size)
    # Whether a question has its edges is seen before anything is computed.
    places = [
        edge_tokens(each.preprocessor, request.questions, graphs)
        for each in models
    ]
    groups = [graph_groups(graph, count, visits) for graph in graphs]
    total = len(models) * len(problems)
    found: list[Superposition] = []
    with Progress("superposition", total, verbose) as progress:
        for each, chosen, spans in zip(models, layers, places):
            members, vectors = Members(count), _embed(each, graphs)
            for rows, read, thoughts, summed in _read(
                each, request.questions, count, chosen, batch_size
            ):
                for row, weights, states in zip(rows, read, thoughts):
                    members.add_edges(groups[row], weights, spans[row])
                    members.add_nodes(groups[row], vectors[row] @ states.T)
                heads = summed
                progress.add(len(rows))
            attention, products = members.means()
            found.append(
                Superposition(
                    chosen,
                    attention,
                    products,
                    num_heads=heads,
                    attention_per_head=_divided(attention, heads),
                )
            )
    return beside_control(found)


def _choose_layer(model, layer) -> int:
    """Returns the number of the layer whose attention is measured."""
    last = len(model.backbone.transformer_layers) - 1
    return last if layer is None else check_count("layer", layer, most=last)


def _read(model, questions, count, layer, batch_size):
    """Yields rows, their attention to the question, thoughts, and heads.

    The attention is a list of arrays (1 + K, Q) without padding, of the
    question's last token and of the thoughts, summed over heads. The thoughts
    are (rows, K, D); the last value is the number of heads.
    """
    lengths = list(
        map(len, model.preprocessor.tokenize_questions(list(questions)))
    )
    order = sorted(range(len(questions)), key=lengths.__getitem__)
    for start in range(0, len(order), batch_size * _AT_ONCE):
        rows = order[start : start + batch_size * _AT_ONCE]
        texts = [questions[row] for row in rows]
        states = model.read_states(
            texts, count, batch_size=batch_size, layers=[layer]
        )
        last = states.question_attention[layer]
        weights = states.attention[layer][..., : last.shape[-1]]
        attention = []
        for index, row in enumerate(rows):
            own = [
                each[index].sum(axis=0)[:, each.shape[-1] - lengths[row] :]
                for each in (last, weights)
            ]
            attention.append(np.concatenate(own))
        yield rows, attention, states.thoughts, last.shape[1]


def _divided(entries, heads) -> tuple[GroupMeans | None, ...]:
    """Returns sums over heads as means."""
    return tuple(
        entry
        and GroupMeans(
            *(
                one._replace(mean=one.mean / heads, margin=one.margin / heads)
                for one in entry
            )
        )
        for entry in entries
    )


def _embed(model, graphs) -> list[np.ndarray]:
    """Returns (nodes, D) for each graph, means over the tokens of a node."""
    ids = [node_tokens(model.preprocessor, graph) for graph in graphs]
    known = sorted({t for graph in ids for node in graph for t in node})
    # One look-up: each shape would be compiled for itself.
    embed = backbones.describe(model.backbone).embed
    found = to_numpy(embed(np.array([known], "int32")))[0].astype("float32")
    vectors = dict(zip(known, found))
    return [
        np.stack([np.mean([vectors[t] for t in n], axis=0) for n in graph])
        for graph in ids
    ]
