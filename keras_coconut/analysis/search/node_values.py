"""The value that a model gives to each node after some thoughts."""

import collections
import dataclasses
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np

from keras_coconut.checks import (
    check_choice,
    check_count,
    check_text,
    refuse,
)
from keras_coconut.graphs import ProblemGraph
from keras_coconut.models.continuation_reader import (
    Continuation,
    read_continuations,
)
from keras_coconut.text.token_counts import count_tokens

Place = Literal["start", "end"]


@dataclasses.dataclass(frozen=True)
class StepText:
    """How a step through a graph is written, and which of its nodes is valued.

    The words before the node are its context and do not count: after thoughts
    the paper's figures show the probabilities of the first concept behind
    "Every" (arXiv 2412.06769, section 5).

    Args:
        template: string. A step from the node `{start}` to the node `{end}`.
            Defaults to `"Every {start} is a {end}."`.
        first: string. The first step, from the root. Defaults to
            `"{start} is a {end}."`.
        place: `"start"` or `"end"`. The node of `template` that is valued.
            With `"end"` the value is the sum over all edges that lead to the
            node, each with the probability of the text from its start to its
            end. In the first step it is always the end, after the root.
            Defaults to `"start"`, as in the paper.

    Raises:
        ValueError: If a template does not hold `{end}` once, or `{start}` more
            than once or behind it, or if it lacks the node that is valued.

    Example:
    ```python
    words = keras_coconut.StepText(place="end")
    symbols = keras_coconut.StepText("{end}", "{end}", place="end")
    ```
    """

    template: str = "Every {start} is a {end}."
    first: str = "{start} is a {end}."
    place: Place = dataclasses.field(default="start", kw_only=True)

    def __post_init__(self):
        for name in ("template", "first"):
            text = check_text(name, getattr(self, name))
            start, end = text.find("{start}"), text.find("{end}")
            if (
                text.count("{end}") != 1
                or text.count("{start}") > 1
                or start > end
            ):
                raise refuse(
                    name,
                    "a text with `{end}`, before it perhaps `{start}`",
                    text,
                )
        check_choice("place", self.place, get_args(Place))
        if self.place == "start" and "{start}" not in self.template:
            raise refuse(
                "template",
                'a text with `{start}`, unless `place` is "end"',
                self.template,
            )

    def depth(self, num_thoughts: int) -> int:
        """Returns how many steps from the root the valued node should be.

        Args:
            num_thoughts: int. Number of thoughts before the step.

        Example:
        ```python
        keras_coconut.StepText().depth(2)  # 2: "Every [grandchild] is a"
        ```
        """
        num_thoughts = check_count("num_thoughts", num_thoughts)
        if num_thoughts and self.place == "start":
            return num_thoughts
        return num_thoughts + 1


WORDS = StepText()
SYMBOLS = StepText("{end}", "{end}", place="end")


class _Line(NamedTuple):
    """A step as text, and the numbers of characters around what is scored."""

    text: str
    before: int
    behind: int


def candidates(graph: ProblemGraph) -> list[int]:
    """Returns the nodes that a step can name: those with a parent."""
    return sorted({end for _, end in graph.edges})


def statement_counts(
    graph: ProblemGraph, text: StepText, count: int
) -> dict[int, int]:
    """Returns the nodes that a right step can name, with their statements.

    The number is that of the graph's statements in which the node stands where
    the step names it: those that it begins, or those that it ends. A node with
    none is left out; no step begins with a leaf.

    Args:
        graph: a `ProblemGraph`.
        text: a `StepText`.
        count: int, the number of thoughts before the step.

    Example:
    ```python
    from keras_coconut.graphs import read_graph

    graph = read_graph("problem", problem)
    statement_counts(graph, keras_coconut.StepText(), 1)
    ```
    """
    begins = bool(count) and text.place == "start"
    named = collections.Counter(
        start if begins else end for start, end in graph.edges
    )
    return {node: named[node] for node in candidates(graph) if named[node]}


def read_values(
    model,
    questions: Sequence[str],
    graphs: Sequence[ProblemGraph],
    step_text: StepText,
    counts: Sequence[int],
    batch_size: int,
    on_batch: Callable[[int], object] | None = None,
) -> list[np.ndarray]:
    """Returns the value of each node of each problem.

    Args:
        model: a `ContinuousThoughtLM`.
        questions: the questions.
        graphs: the `ProblemGraph` of each.
        step_text: a `StepText`.
        counts: the numbers of thoughts.
        batch_size: int. Number of questions in a batch.
        on_batch: function of the number of questions of each batch. Optional.

    Returns:
        For each question a float64 array (counts, nodes), NaN for the nodes
        that no step can name.
    """
    separator = model.preprocessor.separator
    flat, owners = [], []
    for graph in graphs:
        owners.append([])
        for index, count in enumerate(counts):
            for node, line in _lines(graph, step_text, count, separator):
                flat.append(line)
                owners[-1].append((index, node))
    ids, places = count_tokens(
        model.preprocessor,
        [line.text for line in flat],
        [(line.before, line.behind) for line in flat],
    )
    scored = iter(zip(ids, places))
    continuations = []
    for of_graph in owners:
        continuations.append([])
        for index, _ in of_graph:
            tokens, (before, behind) = next(scored)
            continuations[-1].append(
                Continuation(tokens[:behind], before, counts[index])
            )
    found = read_continuations(
        model,
        model.preprocessor.tokenize_questions(questions),
        continuations,
        batch_size,
        on_batch=on_batch,
    )
    values = []
    for graph, of_graph, chances in zip(graphs, owners, found):
        of_nodes = np.full((len(counts), len(graph.nodes)), np.nan)
        of_nodes[:, candidates(graph)] = 0.0
        for (index, node), scores in zip(of_graph, chances):
            of_nodes[index, node] += np.exp(np.sum(scores, dtype="float64"))
        values.append(of_nodes)
    return values


def _lines(graph, text: StepText, count: int, separator: str):
    """Yields nodes, and the steps whose probabilities add to their values."""
    names = {number: name for name, number in graph.nodes.items()}
    nodes = candidates(graph)
    if not count:
        for node in nodes:
            yield (
                node,
                _line(text.first, names[graph.root], names[node], separator),
            )
        return
    if "{start}" not in text.template:
        for node in nodes:
            yield node, _line(text.template, "", names[node], separator)
        return
    if text.place == "start":
        before, behind = text.template.split("{start}")
        for node in nodes:
            scored = before + names[node]
            # What follows shows where the tokenizer ends the name.
            whole = scored + behind.split("{end}")[0].rstrip(" ")
            yield node, _Line(whole, len(before.rstrip(" ")), len(scored))
        return
    known = set(nodes)
    for start, end in dict.fromkeys(graph.edges):
        # A node without parents is a name, of which there is not "every".
        if start in known:
            before = text.template.split("{start}")[0]
            line = _line(text.template, names[start], names[end], separator)
            yield end, line._replace(before=len(before.rstrip(" ")))


def _line(template, start, end, separator) -> _Line:
    """Returns a step of which the end is scored."""
    before, behind = template.replace("{start}", start, 1).split("{end}")
    return _Line(
        before + end + behind + separator,
        len(before.rstrip(" ")),
        len(before + end),
    )
