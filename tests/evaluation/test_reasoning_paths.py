"""The six classes, on a graph made by hand."""

import itertools

import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_coconut import Problem, progress
from keras_coconut.evaluation.reasoning_paths import (
    CLASSES,
    classify_response,
    evaluate_reasoning,
)

pytestmark = pytest.mark.any_backend

PROBLEM = Problem(
    "Is Ann a c or d?", ["Ann is a a."], "Ann is a c.", extra=tiny.GRAPH
)
SYMBOLIC = Problem(
    "?",
    ["<2>"],
    "<4>",
    extra={**tiny.GRAPH, "idx_to_symbol": [f"<{node}>" for node in range(6)]},
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
    assert (
        classify_response(PROBLEM, response, num_thoughts=thoughts) == expected
    )
    # A step of a symbolic problem is the node that it leads to; a path of
    # one such node says where it leads and not where it comes from.
    if path[0] == 0:
        response = "".join(f"<{node}>" for node in path[1:]) + "### <4>"
        assert classify_response(SYMBOLIC, response, num_thoughts=0) == expected


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
    assert (
        classify_response(SYMBOLIC, "<4>### <4>", num_thoughts=1)
        == "correct_path"
    )
    assert classify_response(SYMBOLIC, "<2><9>### <4>") == "hallucination"
    assert classify_response(SYMBOLIC, "<2>|### <4>") == "hallucination"


def test_every_output_falls_in_one_class():
    # All sequences of up to three nodes, with and without thoughts.
    for length in range(4):
        for nodes in itertools.product(range(6), repeat=length):
            response = "".join(f"<{node}>" for node in nodes) + "### <4>"
            for thoughts in (0, 2):
                found = classify_response(
                    SYMBOLIC, response, num_thoughts=thoughts
                )
                assert found in CLASSES


def force(model, responses):
    """Lets a model answer each question as it does after k thoughts."""
    forced = []

    def generate(questions, num_thoughts, on_response, **options):
        assert len(set(num_thoughts)) == 1
        forced.append(num_thoughts[0])
        tokens = model.preprocessor.tokenizer([responses[num_thoughts[0]]])
        for index in range(len(questions)):
            on_response(index, tokens[0])
        return tokens * len(questions)

    model.__dict__["generate_tokens"] = generate
    return forced


RESPONSES = [
    words(0, 2, 4) + "### Ann is a c.",
    words(2, 4) + "### Ann is a c.",
    "### Ann is a c.",
]


@pytest.mark.parametrize("kind", [list, tuple, np.array, iter])
def test_each_number_of_thoughts_is_forced(text_model, kind):
    forced = force(text_model, RESPONSES)
    found = evaluate_reasoning(
        text_model, [PROBLEM] * 2, num_thoughts=kind(range(3)), verbose=0
    )
    assert forced == [0, 1, 2] == list(found)
    assert all(type(count) is int for count in found)
    assert [shares["correct_path"] for _, shares in found.values()] == [1, 1, 0]
    assert found[2][1]["correct_label"] == 1
    assert all(sum(shares.values()) == 1 for _, shares in found.values())
    assert [entry.accuracy for entry, _ in found.values()] == [1, 1, 1]


def test_one_line_says_which_number_is_forced(text_model, capsys, monkeypatch):
    force(text_model, RESPONSES)
    monkeypatch.setattr(progress, "_NEXT_LINE", 0)
    evaluate_reasoning(text_model, [PROBLEM] * 2, num_thoughts=[0, 2])
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(" - ")[0] for line in lines] == [
        "reasoning: 0/4 answers",
        "reasoning (0 thoughts): 0/4 answers",
        "reasoning (0 thoughts): 1/4 answers",
        "reasoning (0 thoughts): 2/4 answers",
        "reasoning (2 thoughts): 2/4 answers",
        "reasoning (2 thoughts): 3/4 answers",
        "reasoning (2 thoughts): 4/4 answers",
        "reasoning: 4/4 answers",
    ]


def test_a_folder_keeps_what_is_finished(text_model, tmp_path):
    forced = force(text_model, RESPONSES[:2])
    options = dict(results_folder=tmp_path / "forced", verbose=0)
    with pytest.raises(IndexError):
        evaluate_reasoning(
            text_model, [PROBLEM] * 2, num_thoughts=range(3), **options
        )
    assert forced.pop() == 2
    forced = force(text_model, RESPONSES)
    found = evaluate_reasoning(
        text_model, [PROBLEM] * 2, num_thoughts=range(3), **options
    )
    assert forced == [2]
    assert {path.name for path in (tmp_path / "forced").iterdir()} == {
        f"thoughts_{count}.json" for count in range(3)
    }
    del options["results_folder"]
    again = evaluate_reasoning(
        text_model, [PROBLEM] * 2, num_thoughts=range(3), **options
    )
    assert [shares for _, shares in again.values()] == [
        shares for _, shares in found.values()
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(model=None), "`model` must be"),
        (dict(problems=[]), "`problems` must hold at least one"),
        (dict(problems=tiny.problems(2)), r"`problems\[0\]\.extra` must hold"),
        (dict(num_thoughts=3), "`num_thoughts` must be a sequence"),
        (dict(num_thoughts=np.int64(3)), "`num_thoughts` must be a sequence"),
        (dict(num_thoughts="012"), "`num_thoughts` must be a sequence"),
        (dict(num_thoughts=None), "`num_thoughts` must be a sequence"),
        (dict(num_thoughts=[]), "`num_thoughts` must be a sequence"),
        (dict(num_thoughts=[0, 1, 0]), "`num_thoughts` must be a sequence"),
        (dict(num_thoughts=[0, -1]), r"`num_thoughts\[1\]` must be"),
        (dict(num_thoughts=[0, 1.0]), r"`num_thoughts\[1\]` must be"),
        (dict(num_thoughts=[[0], [1]]), r"`num_thoughts\[0\]` must be"),
        (dict(num_thoughts=[0, 60]), "must fit"),
        (dict(max_length=0), "`max_length` must be"),
        (dict(batch_size=0), "`batch_size` must be"),
        (dict(verbose="no"), "`verbose` must be"),
        (dict(results_folder=3), "`results_folder` must be"),
    ],
)
def test_arguments_are_refused_before_any_work(text_model, change, message):
    text_model.__dict__["generate_tokens"] = None
    arguments = dict(model=text_model, problems=[PROBLEM], num_thoughts=[0, 1])
    with pytest.raises(ValueError, match=message) as error:
        evaluate_reasoning(**{**arguments, **change})
    assert len(str(error.value)) < 500


def test_a_problem_without_a_graph():
    with pytest.raises(ValueError, match="edges.*without.*idx_to_symbol"):
        classify_response(Problem("a?", [], "b"), "### b")


@pytest.mark.parametrize(
    "change",
    [
        dict(idx_to_symbol="Ann"),
        dict(idx_to_symbol=[1, 2, 3, 4, 5, 6]),
        dict(idx_to_symbol=[]),
        dict(idx_to_symbol={"0": "Ann"}),
        dict(edges=None),
        dict(edges=[[0, 1, 2]]),
        dict(edges=[[0, 6]]),
        dict(edges=[[0, -1]]),
        dict(edges=[["Ann", "a"]]),
        dict(edges=[0, 1]),
        dict(edges=[[True, False]]),
        dict(root=6),
        dict(root="Ann"),
        dict(target=None),
        dict(target=-1),
        dict(target="x" * 10**6),
    ],
)
def test_a_damaged_graph(change):
    problem = Problem("?", [], "Ann is a c.", extra={**tiny.GRAPH, **change})
    with pytest.raises(ValueError, match=r"`problem\.extra") as error:
        classify_response(problem, "Ann is a a.\n### Ann is a c.")
    assert next(iter(change)) in str(error.value)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((None, "### c", 0), "problem"),
        ((PROBLEM.to_dict(), "### c", 0), "problem"),
        ((PROBLEM, None, 0), "response"),
        ((PROBLEM, ["### c"], 0), "response"),
        ((PROBLEM, "### c", -1), "num_thoughts"),
        ((PROBLEM, "### c", "1"), "num_thoughts"),
        ((PROBLEM, "### c", True), "num_thoughts"),
    ],
)
def test_arguments_of_a_classification(arguments, name):
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        problem, response, num_thoughts = arguments
        classify_response(problem, response, num_thoughts=num_thoughts)


NODES = st.integers(0, 6)
ANYTHING = st.none() | st.integers() | st.text(max_size=3) | st.booleans()
NAMES = st.lists(
    st.sampled_from(["Ann", "a", "b", "<0>", "<1>", "<2>"])
    | st.text(max_size=3),
    max_size=6,
)
GRAPHS = st.fixed_dictionaries(
    {
        "idx_to_symbol": NAMES | ANYTHING,
        "edges": st.lists(
            st.lists(NODES, min_size=2, max_size=2) | st.lists(ANYTHING),
            max_size=6,
        )
        | ANYTHING,
        "root": NODES | ANYTHING,
        "target": NODES | ANYTHING,
    }
)
PIECES = st.sampled_from(
    [
        "Ann is a a.",
        "Every a is a b.",
        "<0>",
        "<1>",
        "<2>",
        "###",
        "\n",
        " ",
        "Ann",
    ]
)
RESPONSES_OF_ANY_KIND = st.lists(PIECES | st.text(max_size=3), max_size=8).map(
    "".join
)


@settings(derandomize=True, deadline=None, max_examples=500)
@given(GRAPHS, RESPONSES_OF_ANY_KIND, st.integers(0, 3), st.text(max_size=3))
def test_any_response_to_any_graph(graph, response, num_thoughts, answer):
    problem = Problem("?", [], answer, extra=graph)
    try:
        found = classify_response(problem, response, num_thoughts=num_thoughts)
    except ValueError as error:
        assert "`problem.extra" in str(error)
        assert len(str(error)) < 500
    else:
        assert found in CLASSES


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.data())
def test_any_path_through_a_sound_graph(data):
    """Against all paths that there are, found one by one."""
    pairs = [(a, b) for a in range(5) for b in range(a + 1, 5)]
    edges = data.draw(st.lists(st.sampled_from(pairs), unique=True))
    target = data.draw(st.integers(1, 4))
    graph = {
        "idx_to_symbol": [f"<{node}>" for node in range(5)],
        "edges": [list(edge) for edge in edges],
        "root": 0,
        "target": target,
    }
    path = data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=4))
    paths = [[0]]
    for way in paths:
        paths += [[*way, b] for a, b in edges if a == way[-1]]
    response = "".join(f"<{node}>" for node in path) + "### ?"
    found = classify_response(Problem("?", [], "?", extra=graph), response)
    if [0, *path] not in paths:
        assert found == "hallucination"
    elif path[-1] != target:
        assert found == "wrong_target"
    else:
        shortest = min(len(way) for way in paths if way[-1] == target)
        longer = len(path) + 1 > shortest
        assert found == ("longer_path" if longer else "correct_path")
