"""Moved edges, against counting walks and the sentences of the question."""

import dataclasses
import itertools
import re

import numpy as np
import pytest
import tiny

from keras_coconut import Problem, load_prosqa, make_counterfactuals

pytestmark = pytest.mark.any_backend

WORDS = Problem(
    "Ann is a dog. Every dog is a cat. Bob is a cow. Every cow is a hen. "
    "Bob is a pig. Is Ann a hen or cat?",
    ["Ann is a dog.", "Every dog is a cat."],
    "Ann is a cat.",
    extra={
        "idx_to_symbol": ["Ann", "Bob", "dog", "cow", "cat", "hen", "pig"],
        "edges": [[0, 2], [2, 4], [1, 3], [3, 5], [1, 6]],
        "root": 0,
        "target": 4,
        "neg_target": 5,
    },
)


def read_question(problem):
    """The edges and the choices that a question states, by their names."""
    text = problem.question
    if "@" in text:
        edges = re.findall(r"\|(<\d+>)(<\d+>)", text)
        choices = re.search(r"\?(<\d+>)(<\d+>)@", text).groups()
    else:
        edges = re.findall(r"(?:Every )?(\w+) is a (\w+)\.", text)
        choices = re.search(r"a (\w+) or (\w+)\?", text).groups()
    return edges, set(choices)


def walks(names, edges):
    """Fewest steps between all pairs of names, by powers of the matrix."""
    number = {name: index for index, name in enumerate(names)}
    step = np.zeros((len(names),) * 2, int)
    for start, end in edges:
        step[number[start], number[end]] = 1
    fewest, reached = {}, np.eye(len(names), dtype=int)
    for length in range(len(names) + 1):
        for i, j in np.argwhere(reached).tolist():
            fewest.setdefault((names[i], names[j]), length)
        reached = (reached @ step > 0).astype(int)
    # After as many steps as there are nodes only a cycle goes on.
    assert not reached.any()
    return fewest


def check_problem(problem, symbolic):
    """Its text, its graph, its steps and its answer say the same."""
    extra = problem.extra
    names = extra["idx_to_symbol"]
    edges, choices = read_question(problem)
    assert sorted(edges) == sorted(
        (names[a], names[b]) for a, b in extra["edges"]
    )
    root, target, other = (
        names[extra[key]] for key in ("root", "target", "neg_target")
    )
    assert choices == {target, other}
    fewest = walks(names, edges)
    assert (root, target) in fewest and (root, other) not in fewest
    if symbolic:
        path = [root, *problem.steps]
        assert problem.answer == target
    else:
        pairs = [re.findall(r"(\w+) is a (\w+)\.", s)[0] for s in problem.steps]
        path = [root, *(end for _, end in pairs)]
        assert [start for start, _ in pairs] == path[:-1]
        assert all(step in problem.question for step in problem.steps)
        assert problem.answer == f"{root} is a {target}."
    assert path[-1] == target
    assert set(itertools.pairwise(path)) <= set(edges)
    assert len(path) - 1 == fewest[root, target]


@pytest.mark.parametrize("symbolic", [False, True])
def test_one_edge_turns_the_answer_around(symbolic):
    problems = load_prosqa(
        train=500, validation=0, test=0, symbolic=symbolic
    ).train
    made = make_counterfactuals(problems, num_pairs=250)
    assert len(made.pairs) == 250
    (reason,) = made.skipped
    assert reason == "no single edge turns its answer around"
    same_length = 0
    token = r"<\d+>" if symbolic else r"\w+"
    for pair in made.pairs:
        problem = pair.problem
        assert problem is problems[pair.place]
        if pair.decoy is not None:
            check_decoy(problem, pair.decoy)
        for other in filter(None, (pair.changed, pair.neutral, pair.decoy)):
            check_problem(other, symbolic)
            before, after = (
                re.findall(token, each.question) for each in (problem, other)
            )
            assert sum(map(str.__ne__, before, after)) == 1
            assert len(before) == len(after)
            moved = [
                (old, new)
                for old, new in zip(
                    problem.extra["edges"], other.extra["edges"]
                )
                if old != new
            ]
            ((old, new),) = moved
            assert old[0] == new[0]
        assert pair.changed.extra["target"] == problem.extra["neg_target"]
        assert pair.changed.extra["neg_target"] == problem.extra["target"]
        assert pair.neutral.answer == problem.answer
        # Only as far from the answer as before.
        assert len(pair.neutral.steps) == len(problem.steps)
        same_length += len(pair.changed.steps) == len(problem.steps)
    assert same_length > 200
    decoys = [pair.decoy for pair in made.pairs if pair.decoy is not None]
    assert 125 < len(decoys) < 250


def check_decoy(problem, decoy):
    """The other choice gets what the root does not reach; the answer stays."""
    assert decoy.answer == problem.answer
    assert len(decoy.steps) == len(problem.steps)
    for key in ("root", "target", "neg_target"):
        assert decoy.extra[key] == problem.extra[key]
    names = list(range(len(problem.extra["idx_to_symbol"])))
    root, target, other = (
        problem.extra[key] for key in ("root", "target", "neg_target")
    )
    before, after = (
        walks(names, [tuple(edge) for edge in each.extra["edges"]])
        for each in (problem, decoy)
    )
    new = [n for n in names if (n, other) in after and (n, other) not in before]
    assert new and not any((root, node) in before for node in new)
    # The right choice gets none.
    assert all((n, target) in before for n in names if (n, target) in after)


def every_move(problem):
    """Every graph in which the end of one edge is another concept."""
    extra = problem.extra
    edges = [tuple(edge) for edge in extra["edges"]]
    for place, (start, end) in enumerate(edges):
        for node in {b for _, b in edges}:
            if node != end and (start, node) not in edges:
                yield [*edges[:place], (start, node), *edges[place + 1 :]]


def turns_around(problem, edges):
    extra = problem.extra
    names = list(range(len(extra["idx_to_symbol"])))
    try:
        fewest = walks(names, edges)
    except AssertionError:
        return False
    root, target = extra["root"], extra["target"]
    return (root, target) not in fewest and (
        root,
        extra["neg_target"],
    ) in fewest


def test_what_is_skipped_has_no_such_edge():
    problems = load_prosqa(train=60, validation=0, test=0, num_nodes=14).train
    made = make_counterfactuals(problems)
    found = {pair.place for pair in made.pairs}
    possible = {
        index
        for index, problem in enumerate(problems)
        if any(turns_around(problem, edges) for edges in every_move(problem))
    }
    assert found <= possible
    without_neutral = made.skipped.get(
        "no edge can be moved without a difference", 0
    )
    assert len(possible - found) == without_neutral
    assert len(possible) < len(problems)


def test_a_case_by_hand():
    texts = set()
    for seed in range(30):
        ((pair,), skipped) = make_counterfactuals([WORDS], seed=seed)
        assert skipped == {}
        assert pair.changed.answer == "Ann is a hen."
        texts.add(pair.changed.question)
        # Bob's cow leads to the hen; what else he is does not matter.
        assert pair.neutral.question.startswith(
            "Ann is a dog. Every dog is a cat."
        )
        check_problem(pair.neutral, False)
        # Bob's cow already leads to the hen, and no pig is anything.
        assert pair.decoy is None
    # Of two steps, as before: by the dog or by the cow.
    assert texts == {
        WORDS.question.replace("Every dog is a cat", "Every dog is a hen"),
        WORDS.question.replace("Ann is a dog", "Ann is a cow"),
    }
    # A fox is a cat and a hen: as one, Ann would be both.
    both = dataclasses.replace(
        WORDS,
        question="Bob is a fox. Every fox is a cat. Every fox is a hen. "
        + WORDS.question,
        extra={
            **WORDS.extra,
            "idx_to_symbol": [*WORDS.extra["idx_to_symbol"], "fox"],
            "edges": [*WORDS.extra["edges"], [1, 7], [7, 4], [7, 5]],
        },
    )
    for seed in range(30):
        (pair,), _ = make_counterfactuals([both], seed=seed)
        check_problem(pair.changed, False)
        check_problem(pair.neutral, False)
    (pair,), _ = make_counterfactuals([tiny.edge_problem().to_dict()])
    check_problem(pair.changed, True)


def test_pairs_are_those_of_the_seed():
    problems = load_prosqa(train=30, validation=0, test=0).train
    first = make_counterfactuals(problems, seed=1)
    assert first == make_counterfactuals(iter(problems), seed=1)
    assert first != make_counterfactuals(problems, seed=2)
    few = make_counterfactuals(problems, num_pairs=4, seed=1)
    assert few.pairs == first.pairs[:4]


def changed(**extra):
    return dataclasses.replace(WORDS, extra={**WORDS.extra, **extra})


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        (changed(target=5, neg_target=4), "does not follow from its graph"),
        (changed(neg_target=2), "does not follow from its graph"),
        (
            changed(edges=[*WORDS.extra["edges"], [1, 6]]),
            "an edge stands in its graph twice",
        ),
        (
            changed(edges=[*WORDS.extra["edges"], [3, 6]]),
            "an edge does not stand in its question once",
        ),
        (
            dataclasses.replace(WORDS, answer="Ann is a hen."),
            "its answer does not name its target",
        ),
        (
            # Nothing leads to a hen but the hen itself, and two ways to cat.
            Problem(
                "Ann is a dog. Ann is a cat. Every dog is a cat. Bob is a hen.",
                [],
                "Ann is a cat.",
                extra={
                    "idx_to_symbol": ["Ann", "Bob", "dog", "cat", "hen"],
                    "edges": [[0, 2], [0, 3], [2, 3], [1, 4]],
                    "root": 0,
                    "target": 3,
                    "neg_target": 4,
                },
            ),
            "no single edge turns its answer around",
        ),
        (
            Problem(
                "Ann is a cat. Bob is a hen.",
                [],
                "Ann is a cat.",
                extra={
                    "idx_to_symbol": ["Ann", "Bob", "cat", "hen"],
                    "edges": [[0, 2], [1, 3]],
                    "root": 0,
                    "target": 2,
                    "neg_target": 3,
                },
            ),
            "no edge can be moved without a difference",
        ),
    ],
)
def test_problems_without_a_counterfactual(problem, reason):
    with pytest.raises(ValueError, match="Received: 1 problems without one"):
        make_counterfactuals([problem])
    made = make_counterfactuals([problem, WORDS])
    assert [pair.place for pair in made.pairs] == [1]
    ((found, count),) = made.skipped.items()
    assert reason in found and count == 1


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (tiny.problems(1)[0], r"`problems\[0\].extra` must hold the graph"),
        (
            changed(neg_target=None),
            r"`problems\[0\].extra` must be .*neg_target",
        ),
        (
            changed(neg_target=9),
            r"`problems\[0\].extra\['neg_target'\]` must be",
        ),
    ],
)
def test_damaged_graphs(problem, message):
    with pytest.raises(ValueError, match=message):
        make_counterfactuals([problem])


def test_a_decoy_by_hand():
    """Only what Bob is besides can become a cow, and lead to a hen."""
    problem = dataclasses.replace(
        WORDS,
        question="Zoe is a pig. " + WORDS.question,
        extra={
            **WORDS.extra,
            "idx_to_symbol": [*WORDS.extra["idx_to_symbol"], "Zoe"],
            "edges": [[7, 6], *WORDS.extra["edges"]],
        },
    )
    texts = set()
    for seed in range(20):
        (pair,), _ = make_counterfactuals([problem], seed=seed)
        check_problem(pair.decoy, False)
        check_decoy(problem, pair.decoy)
        texts.add(pair.decoy.question)
    assert texts == {
        problem.question.replace("Zoe is a pig", f"Zoe is a {end}")
        for end in ("cow", "hen")
    }
    # One that takes from the right choice what it gives to the other is best.
    both = dataclasses.replace(
        problem,
        question="Zoe is a cat. " + problem.question,
        extra={**problem.extra, "edges": [[7, 4], *problem.extra["edges"]]},
    )
    for seed in range(20):
        (pair,), _ = make_counterfactuals([both], seed=seed)
        assert pair.decoy.question.startswith(("Zoe is a cow", "Zoe is a hen"))
