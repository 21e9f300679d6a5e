"""ProsQA: every answer true, and as the published file is.

The checks read the text and walk its graph by matrix powers; nothing of the
generator is used. The figures are those of the published validation split (300
problems).
"""

import itertools
import math
import re

import numpy as np
import pytest

from keras_coconut.datasets.prosqa import load_prosqa, symbolic_words
from keras_coconut.datasets.registry import load_dataset
from keras_coconut.text.word_tokenizer import make_word_tokenizer

pytestmark = pytest.mark.any_backend

PUBLISHED = {"nodes": 22.82, "edges": 36.26, "steps": 3.75, "paths": 1.613}


def read_words(text):
    """Returns the edges, the name and the two choices in a question's text."""
    *statements, question = re.split(r"(?<=\.) ", text)
    edges = []
    for statement in statements:
        every, start, end = re.fullmatch(
            r"(Every )?(\w+) is a (\w+)\.", statement
        ).groups()
        # Names are never "every", concepts always.
        assert (every is None) == start[0].isupper()
        edges.append((start, end))
    return edges, *re.fullmatch(
        r"Is (\w+) a (\w+) or (\w+)\?", question
    ).groups()


def read_symbols(text):
    statements, question = text.split("?")
    edges = re.findall(r"\|(<\d+>)(<\d+>)", statements)
    assert "".join(f"|{a}{b}" for a, b in edges) == statements
    a, b, name = re.fullmatch(r"(<\d+>)(<\d+>)@(<\d+>)", question).groups()
    return edges, name, a, b


def paths_by_length(edges, start):
    """Number of paths of each length from a node, to each node."""
    nodes = sorted({node for edge in edges for node in edge})
    step = np.zeros((len(nodes), len(nodes)), int)
    for a, b in edges:
        step[nodes.index(a), nodes.index(b)] += 1
    assert step.max() == 1  # No statement stands twice.
    row, found = np.eye(len(nodes), dtype=int)[nodes.index(start)], []
    while row.any():
        found.append(dict(zip(nodes, row.tolist())))
        row = row @ step
        assert len(found) <= len(nodes)  # Else there is a circle.
    return found


@pytest.mark.parametrize("symbolic", [False, True])
def test_every_answer_is_true_and_every_wrong_target_unreachable(symbolic):
    problems = load_prosqa(
        train=400, validation=0, test=0, symbolic=symbolic, seed=3
    ).train
    figures = {"nodes": [], "edges": [], "steps": [], "paths": []}
    first = 0
    for problem in problems:
        read = read_symbols if symbolic else read_words
        edges, name, *choices = read(problem.question)
        graph = problem.extra
        symbols = graph["idx_to_symbol"]
        assert sorted(edges) == sorted(
            (symbols[a], symbols[b]) for a, b in graph["edges"]
        )
        right, wrong = symbols[graph["target"]], symbols[graph["neg_target"]]
        assert name == symbols[graph["root"]]
        assert sorted(choices) == sorted((right, wrong))
        first += choices[0] == right
        counts = paths_by_length(edges, name)
        reached = [
            length for length, found in enumerate(counts) if found[right]
        ]
        assert not any(found[wrong] for found in counts)
        assert len(problem.steps) == min(reached)
        assert 3 <= len(problem.steps) <= 6
        # The steps are a path, from the root to the answer.
        if symbolic:
            path = [name, *problem.steps]
            assert problem.answer == right
        else:
            steps = [
                re.fullmatch(r"(?:Every )?(\w+) is a (\w+)\.", step).groups()
                for step in problem.steps
            ]
            path = [steps[0][0], *(end for _, end in steps)]
            assert all(a[1] == b[0] for a, b in itertools.pairwise(steps))
            assert problem.answer == f"{name} is a {right}."
        assert path[0] == name and path[-1] == right
        assert all(edge in edges for edge in itertools.pairwise(path))
        figures["nodes"].append(len(symbols))
        figures["edges"].append(len(edges))
        figures["steps"].append(len(problem.steps))
        figures["paths"].append(counts[min(reached)][right])
    assert abs(first / len(problems) - 0.5) < 0.1
    for what, published in PUBLISHED.items():
        values = np.array(figures[what])
        error = values.std() / np.sqrt(len(values))
        # Within 5% of it, as far as so few problems can tell.
        assert abs(values.mean() - published) < 0.05 * published + 2 * error


def test_deeper_and_larger_graphs():
    problems = load_prosqa(
        train=0,
        validation=0,
        test=10,
        num_nodes=60,
        min_steps=8,
        max_steps=12,
        symbolic=True,
    ).test
    assert {len(problem.steps) for problem in problems} <= set(range(8, 13))
    wider = load_prosqa(train=50, validation=0, test=0, mean_parents=3.0).train
    usual = load_prosqa(train=50, validation=0, test=0).train
    edges = [
        np.mean([len(problem.extra["edges"]) for problem in problems])
        for problems in (wider, usual)
    ]
    assert edges[0] > 1.4 * edges[1]


def test_symbols_are_one_token_each():
    tokenizer = make_word_tokenizer(symbolic_words(28))
    splits = load_dataset("prosqa_symbolic", train=20, validation=5, test=5)
    for problem in splits.train:
        assert len(problem.steps) in (3, 4)
        assert [len(ids) for ids in tokenizer(list(problem.steps))] == [1] * (
            len(problem.steps)
        )
        edges = len(problem.extra["edges"])
        assert len(tokenizer([problem.question])[0]) == 3 * edges + 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(min_steps=0), "min_steps.*from 1 to.*0"),
        (dict(min_steps=4, max_steps=3), "max_steps.*at least 4.*3"),
        (dict(num_nodes=5), "num_nodes.*from 6 to.*5"),
        (dict(num_nodes=41), "at most 40.*symbolic.*41"),
        (dict(mean_parents=0.0), "above 0"),
        (dict(mean_parents="2"), "mean_parents.*'2'"),
        (dict(mean_parents=math.nan), "mean_parents.*nan"),
        (dict(mean_parents=1e300), "mean_parents.*at most"),
        (dict(num_nodes=10**9), "num_nodes.*10000"),
        (dict(num_nodes=None), "num_nodes.*None"),
        (dict(min_steps=10**5000), "min_steps.*bits"),
        (dict(max_steps="6"), "max_steps.*'6'"),
        (dict(symbolic=1), "symbolic.*`True` or `False`.*1"),
        (dict(seed=None), "seed.*None"),
        (dict(seed=-1), "seed.*-1"),
        (dict(verbose="yes"), "verbose.*'yes'"),
        (dict(test=1.5), "test.*1.5"),
        (dict(validation=None), "validation.*None"),
        (dict(train=-1), "train.*-1"),
        (
            dict(num_nodes=8, min_steps=5, max_steps=6, mean_parents=0.1),
            "path of 5 to 6 steps.*num_nodes=8",
        ),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        load_prosqa(**{"train": 5, "validation": 0, "test": 0, **arguments})
    assert len(str(error.value)) < 500


def test_numbers_and_flags_of_numpy():
    assert load_prosqa(
        train=np.int64(3),
        validation=np.uint8(1),
        test=np.int32(0),
        seed=np.int64(2),
        num_nodes=np.int64(20),
        min_steps=np.int8(2),
        max_steps=np.int8(4),
        mean_parents=np.float64(1.5),
        symbolic=np.True_,
        verbose=np.int64(0),
    ) == load_prosqa(
        train=3,
        validation=1,
        test=0,
        seed=2,
        num_nodes=20,
        min_steps=2,
        max_steps=4,
        mean_parents=1.5,
        symbolic=True,
    )


@pytest.mark.parametrize("num_nodes", [0, 10**9, None, "40", 2.5])
def test_bad_numbers_of_symbols(num_nodes):
    with pytest.raises(ValueError, match="`num_nodes` must be a whole number"):
        symbolic_words(num_nodes)
