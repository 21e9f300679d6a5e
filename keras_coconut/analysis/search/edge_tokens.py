"""Which tokens of a question are an edge, and which tokens are a node."""

import re
from collections.abc import Sequence

from keras_coconut.checks import shown
from keras_coconut.graphs import SENTENCE, ProblemGraph
from keras_coconut.text.token_counts import count_tokens

Edge = tuple[int, int]
_IN_SYMBOLS = re.compile(r"\|(<\d+>)(<\d+>)")


def edge_tokens(
    preprocessor,
    questions: Sequence[str],
    graphs: Sequence[ProblemGraph],
    name: str = "problems",
) -> list[dict[Edge, tuple[int, int]]]:
    """Returns the place of each edge among the tokens of its question.

    In words an edge is a sentence, in symbols a bar and two nodes.

    Args:
        preprocessor: a `ContinuousThoughtPreprocessor`.
        questions: the questions.
        graphs: the `ProblemGraph` of each.
        name: string. How an error calls the problems.

    Returns:
        For each question a dictionary from edges to the numbers of their first
        token and of the one behind their last, as `tokenize_questions` counts.

    Raises:
        ValueError: If a question does not hold an edge of its graph, or if a
            token belongs to an edge and to what stands beside it.
    """
    placed = []
    for index, (question, graph) in enumerate(zip(questions, graphs)):
        pattern = _IN_SYMBOLS if graph.in_symbols else SENTENCE
        places = {
            found.groups(): found.span() for found in pattern.finditer(question)
        }
        names = {number: symbol for symbol, number in graph.nodes.items()}
        own = {}
        for start, end in graph.edges:
            pair = names[start], names[end]
            if pair not in places:
                raise ValueError(
                    f"`{name}[{index}].question` must hold each edge of its "
                    'graph, as "Every lorpus is a rorpus." or "|<1><2>". '
                    f"Received: none from {shown(pair[0])} to {shown(pair[1])}"
                )
            own[start, end] = places[pair]
        placed.append(own)
    texts = [question + preprocessor.separator for question in questions]
    _, counts = count_tokens(
        preprocessor,
        texts,
        [
            # The space before a sentence belongs to its first token.
            [
                len(text[:place].rstrip(" ")) if place == first else place
                for first, last in own.values()
                for place in (first, last)
            ]
            for text, own in zip(texts, placed)
        ],
        starts=True,
    )
    shift = int(preprocessor.add_start_token)
    return [
        {
            edge: (own[2 * number] + shift, own[2 * number + 1] + shift)
            for number, edge in enumerate(edges)
        }
        for edges, own in zip(placed, counts)
    ]


def node_tokens(preprocessor, graph: ProblemGraph) -> list[list[int]]:
    """Returns the tokens of each node, as within a text.

    Args:
        preprocessor: a `ContinuousThoughtPreprocessor`.
        graph: a `ProblemGraph`.
    """
    space = "" if graph.in_symbols else " "
    names = {number: symbol for symbol, number in graph.nodes.items()}
    ids, _ = count_tokens(
        preprocessor,
        [space + names[node] for node in sorted(names)],
        [()] * len(names),
    )
    return ids
