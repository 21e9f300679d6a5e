"""The six classes, on a graph made by hand."""

import itertools

import pytest
import tiny

from keras_coconut import Problem
from keras_coconut.evaluation import reasoning_paths
from keras_coconut.evaluation.problems import Evaluation
from keras_coconut.evaluation.reasoning_paths import (
    CLASSES,
    classify_response,
    evaluate_reasoning,
)

PROBLEM = Problem(
    "Is Ann a c or d?", ["Ann is a a."], "Ann is a c.", tiny.GRAPH
)
SYMBOLIC = Problem(
    "?",
    ["<2>"],
    "<4>",
    {**tiny.GRAPH, "idx_to_symbol": [f"<{node}>" for node in range(6)]},
)


def words(*path):
    names = tiny.GRAPH["idx_to_symbol"]
    return "".join(
        f"{'' if start < 2 else 'Every '}{names[start]} is a {names[end]}.\n"
        for start, end in itertools.pairwise(path)
    )


@pytest.mark.parametrize(
    ("path", "thoughts", "expected"),
    [
        ((0, 2, 4), 0, "correct_path"),
        ((0, 2, 3, 4), 0, "longer_path"),
        ((0, 5), 0, "wrong_target"),
        ((0, 2), 0, "wrong_target"),  # Broken off.
        ((0, 4), 0, "hallucination"),  # No such edge.
        ((1, 5), 0, "hallucination"),  # Somebody else.
        ((2, 4), 0, "hallucination"),  # The first step is missing.
        ((2, 4), 1, "correct_path"),  # It was a thought.
        ((3, 4), 2, "longer_path"),  # Ann, a, b, c: three steps.
        ((3, 4), 1, "longer_path"),
        ((1, 5), 1, "hallucination"),  # Nothing leads from Ann to Bob.
        ((2, 3), 1, "wrong_target"),
    ],
)
def test_paths(path, thoughts, expected):
    response = words(*path) + "### Ann is a c."
    assert classify_response(PROBLEM, response, thoughts) == expected
    # A step of a symbolic problem is the node that it leads to; a path of
    # one such node says where it leads and not where it comes from.
    if path[0] == 0:
        response = "".join(f"<{node}>" for node in path[1:]) + "### <4>"
        assert classify_response(SYMBOLIC, response, 0) == expected


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ("### Ann is a c.", "correct_label"),
        ("### Ann is a d.", "incorrect_label"),
        ("", "incorrect_label"),
        ("Ann is a a.\nnonsense\n### Ann is a c.", "hallucination"),
        ("Ann is a a.\nEvery b is a c.\n### Ann is a c.", "hallucination"),
        ("Ann is a z.\n### Ann is a c.", "hallucination"),
        # Never came to an answer: judged by its path.
        ("Ann is a a.\nEvery a is a c.\n", "correct_path"),
    ],
)
def test_words(response, expected):
    assert classify_response(PROBLEM, response) == expected


def test_symbols():
    assert classify_response(SYMBOLIC, "<4>### <4>", 1) == "correct_path"
    assert classify_response(SYMBOLIC, "<2><9>### <4>") == "hallucination"
    assert classify_response(SYMBOLIC, "<2>|### <4>") == "hallucination"


def test_every_output_falls_in_one_class():
    # All sequences of up to three nodes, with and without thoughts.
    for length in range(4):
        for nodes in itertools.product(range(6), repeat=length):
            response = "".join(f"<{node}>" for node in nodes) + "### <4>"
            for thoughts in (0, 2):
                found = classify_response(SYMBOLIC, response, thoughts)
                assert found in CLASSES


def test_each_number_of_thoughts_is_forced(monkeypatch):
    forced = []

    def evaluate(model, problems, count, **kwargs):
        forced.append(count)
        responses = (words(*(0, 2, 4)[count:]) + "### Ann is a c.",) * 2
        return Evaluation(1.0, 0.0, 0.0, 0.0, responses, (True, True))

    monkeypatch.setattr(reasoning_paths, "evaluate_problems", evaluate)
    found = evaluate_reasoning(None, [PROBLEM] * 2, range(3))
    assert forced == [0, 1, 2]
    assert [shares["correct_path"] for _, shares in found.values()] == [1, 1, 0]
    assert found[2][1]["correct_label"] == 1
    assert all(sum(shares.values()) == 1 for _, shares in found.values())


def test_a_problem_without_a_graph():
    with pytest.raises(ValueError, match="edges.*without.*idx_to_symbol"):
        classify_response(Problem("a?", [], "b"), "### b")
