"""The search tree: values one by one, and models that are made by hand."""

import dataclasses
import functools
import json
import math

import numpy as np
import pytest
import slow
import tiny
from symbol_models import (
    DIM,
    NODES,
    SIZE,
    holding,
    symbol_model,
    symbol_problems,
)

from keras_coconut import Problem
from keras_coconut.analysis.search import node_values
from keras_coconut.analysis.search.node_table import NodeTable
from keras_coconut.analysis.search.node_values import (
    WORDS,
    StepText,
    read_values,
)
from keras_coconut.analysis.search.search_tree import search_tree
from keras_coconut.analysis.search.tree_figures import measure_level
from keras_coconut.graphs import distances_from, read_graph

QUESTION = (
    "Ann is a a. Every a is a c. Every a is a b. Every b is a c. Ann is a d. "
    "Bob is a d. Is Ann a c or d?"
)
PROBLEM = Problem(QUESTION, ["Ann is a a."], "Ann is a c.", extra=tiny.GRAPH)
GRAPH = read_graph("problem", PROBLEM)


@pytest.mark.parametrize(
    ("place", "options"),
    [
        ("start", {}),
        ("end", dict(markers=False)),
        ("start", dict(thought_kind="pause")),
    ],
)
def test_values_are_those_of_a_slow_loop(place, options):
    model = tiny.compiled(
        tiny.text_model(layers=1, longest=160, num_thoughts=2, **options)
    )
    found = search_tree(
        model,
        [PROBLEM],
        num_thoughts=[2, 0],
        step_text=StepText(place=place),
        verbose=0,
    )
    rows = [(QUESTION, 0, "Ann is a", f" {name}") for name in "abcd"]
    after = [(QUESTION, 2, "Every", f" {name}") for name in "abcd"]
    if place == "end":
        # The edges that do not begin with a name.
        after = [
            (QUESTION, 2, "Every", f" {start} is a {end}")
            for start, end in ("ac", "ab", "bc")
        ]
    expected = [
        math.exp(tokens.sum()) for tokens in slow.chances(model, rows + after)
    ]
    (values,) = found.values
    assert np.isnan(values[:, :2]).all()
    np.testing.assert_allclose(values[1, 2:], expected[:4], rtol=1e-4)
    if place == "start":
        np.testing.assert_allclose(values[0, 2:], expected[4:], rtol=1e-4)
    else:
        a_to_c, a_to_b, b_to_c = expected[4:]
        np.testing.assert_allclose(
            values[0, 2:], [0, a_to_b, a_to_c + b_to_c, 0], rtol=1e-4
        )


def measured(model, problems, thoughts, monkeypatch, **options):
    """The search tree of a model that thinks what it is told."""
    monkeypatch.setattr(
        node_values,
        "read_continuations",
        functools.partial(
            node_values.read_continuations, thoughts=np.array(thoughts)
        ),
    )
    return search_tree(
        model,
        problems,
        num_thoughts=range(np.shape(thoughts)[1] + 1),
        verbose=0,
        **options,
    )


def layers_of(problem, depths):
    """For each depth, a thought that holds the nodes so far from the root."""
    graph = read_graph("problem", problem)
    found = distances_from(graph.root, graph.edges)
    names = {node: name for name, node in graph.nodes.items()}
    return [
        holding([names[n] for n, depth in found.items() if depth == wanted])
        for wanted in depths
    ]


@pytest.fixture(scope="module")
def model():
    return symbol_model()


def test_breadth_first_thoughts_lie_on_the_frontier(model, monkeypatch):
    """And those of a search one step behind lie within it."""
    # A solution of four steps has nodes at every depth.
    problems = symbol_problems(8, min_steps=4)
    on_time = [layers_of(problem, (2, 3, 4)) for problem in problems]
    with monkeypatch.context() as patch:
        found = measured(model, problems, on_time, patch)
    assert [level.depth for level in found.levels] == [1, 2, 3, 4]
    for level in found.levels[1:]:
        assert level.num_problems == 8
        mass = level.frontier_mass
        assert mass.frontier.share.mean > 0.99
        assert mass.frontier.excess.mean == pytest.approx(
            mass.frontier.share.mean - mass.frontier.chance
        )
        assert mass.within.share.mean > 0.99
        assert max(mass.beyond.share.mean, mass.unreachable.share.mean) < 0.01
        assert mass.on_nodes.mean > 0.99
    # Without a thought the model says the root, which no step can name: all
    # other nodes are alike to it.
    for group in found.levels[0].frontier_mass[:4]:
        assert group.share.mean == pytest.approx(group.chance, abs=1e-4)
        assert group.excess.mean == pytest.approx(0, abs=1e-4)
    late = [layers_of(problem, (1, 2, 3)) for problem in problems]
    found = measured(model, problems, late, monkeypatch)
    for level in found.levels[1:]:
        mass = level.frontier_mass
        assert mass.frontier.share.mean < 0.01
        assert mass.within.share.mean > 0.99


PROBLEMS = symbol_problems(48)


@pytest.mark.parametrize("noise", [0, 1])
def test_constant_and_noisy_thoughts_are_at_chance(noise, model, monkeypatch):
    random = np.random.default_rng(0)
    thoughts = noise * random.normal(size=(len(PROBLEMS), 1, DIM))
    found = measured(model, PROBLEMS, thoughts, monkeypatch)
    level = found.levels[1]
    assert level.num_problems == len(PROBLEMS)
    for group in level.frontier_mass[:4]:
        mean, margin = group.excess
        assert abs(mean) <= 1.5 * margin + 1e-5
        assert (0.01 < margin < 0.2) if noise else margin < 1e-5


def test_a_frontier_of_given_weights(model, monkeypatch):
    """Parallelism: the best, the best two and the best three, sorted."""
    random = np.random.default_rng(1)
    thoughts, expected = [], []
    for problem in PROBLEMS:
        graph = read_graph("problem", problem)
        found = distances_from(graph.root, graph.edges)
        thought = np.zeros(DIM)
        thought[:NODES] = random.normal(size=NODES)
        thoughts.append([thought])
        # The final norm, and the softmax over all tokens.
        normed = (thought - thought.mean()) / math.sqrt(thought.var() + 1e-5)
        others = model.backbone.vocabulary_size - NODES
        chances = np.exp(SIZE * normed[:NODES])
        chances /= chances.sum() + others
        own = sorted(
            chances[int(name[1:-1])]
            for name, node in graph.nodes.items()
            if found.get(node) == 2
        )[::-1]
        expected.append(np.cumsum([*own, 0, 0, 0][:3]))
    tree = measured(model, PROBLEMS, thoughts, monkeypatch)
    found, expected = tree.levels[1].parallelism, np.transpose(expected)
    np.testing.assert_allclose(
        found.curves, np.sort(expected), rtol=1e-3, atol=1e-7
    )
    means = [interval.mean for interval in found.means]
    np.testing.assert_allclose(means, expected.mean(axis=1), rtol=1e-3)
    gap = (expected[2] - expected[0]).mean()
    assert found.gap.mean == pytest.approx(gap, rel=1e-3)


# === Figures from given values ===


def level_of(values, count=1, text=WORDS, visits="first", graphs=(GRAPH,)):
    tables = [NodeTable.of(graph, text, [count], visits) for graph in graphs]
    values = [np.array([own]) for own in values]
    return measure_level(0, count, text, tables, values)


NO = math.nan
# Ann, Bob, a, b, c, d.
VALUES = [NO, NO, 0.4, 0.1, 0.2, 0.1]


@pytest.mark.any_backend
def test_figures_of_a_small_graph():
    level = level_of([VALUES])
    assert (level.num_thoughts, level.depth, level.num_problems) == (1, 1, 1)
    mass = level.frontier_mass
    # One step from Ann are a and d, and no node is out of reach. No statement
    # begins with c or d; a begins two of three.
    shares = [group.share.mean for group in mass[:4]]
    assert shares == pytest.approx([0.8, 0.8, 0.2, 0])
    assert [group.chance for group in mass[:4]] == [0.5, 0.5, 0.5, 0]
    assert mass.frontier.excess.mean == pytest.approx(0.3)
    often = [group.by_frequency for group in mass[:4]]
    assert often == pytest.approx([2 / 3, 2 / 3, 1 / 3, 0])
    excess = mass.frontier.excess_by_frequency
    assert excess.mean == pytest.approx(0.8 - 2 / 3)
    # That a leaf is named is no share, but it is a node.
    assert mass.on_nodes.mean == pytest.approx(0.8)
    np.testing.assert_allclose(level.parallelism.curves, [[0.4]] * 3)
    # The target c is one step from a and two by way of b; d is a leaf.
    shortest, longest = level.heights["shortest"], level.heights["longest"]
    assert [entry.height for entry in shortest] == [0, 1]
    assert [entry.height for entry in longest] == [0, 2]
    for low, high in (shortest, longest):
        assert low.not_reaching[::2] == (0.1, 1)
        assert low.reaching.members == 0
        assert high.reaching[::2] == (0.4, 1)
        assert high.not_reaching.members == 0


@pytest.mark.any_backend
def test_visits_choose_the_frontier():
    # Three steps from Ann is c by way of b, but c is two steps away.
    graph = GRAPH._replace(target=3, edges=[*GRAPH.edges, (4, 3)])
    level = level_of([VALUES], 2, graphs=[graph])
    assert level.frontier_mass[0].chance == pytest.approx(2 / 3)
    # Of a solution that is too short nothing counts.
    level = level_of([VALUES], 3)
    assert level.num_problems == 0
    assert level.frontier_mass is level.parallelism is level.heights is None
    twice = [(0, 2), (2, 3), (0, 3), (3, 4), (4, 5)]
    graph = GRAPH._replace(target=5, edges=twice)
    for visits, share in (("first", 0.2), ("all", 0.3)):
        level = level_of([VALUES], 2, visits=visits, graphs=[graph])
        # After two steps c, and b on a detour; d is a leaf.
        mass = level.frontier_mass
        assert mass.frontier.share.mean == pytest.approx(share / 0.7)
        assert mass.within.share.mean == pytest.approx(1)


@pytest.mark.any_backend
def test_a_model_that_names_what_stands_often():
    """Its share is that of the statements, and more than chance."""
    edges = [(0, 2), (2, 3), (2, 4), (2, 5), (1, 3), (3, 5), (4, 5)]
    graph = GRAPH._replace(target=5, edges=edges)
    ends = dataclasses.replace(WORDS, place="end")
    # Statements that begin with a, b, c, d; then those that end with them.
    for text, counted in ((WORDS, [3, 1, 1, 0]), (ends, [1, 2, 1, 3])):
        values = [NO, NO, *np.array(counted) / 10]
        level = level_of([values], 1, text, graphs=[graph])
        for group in level.frontier_mass[:4]:
            assert group.share.mean == pytest.approx(group.by_frequency)
            assert group.excess_by_frequency.mean == pytest.approx(0)
        frontier = level.frontier_mass.frontier
        assert abs(frontier.excess.mean) > 0.04
    # The root's own step, which has an end in any case.
    level = level_of([[NO, NO, 0.1, 0.2, 0.1, 0.3]], 0, graphs=[graph])
    (frontier, *_) = level.frontier_mass
    assert frontier.by_frequency == pytest.approx(1 / 7)
    assert frontier.chance == 0.25


@pytest.mark.any_backend
def test_a_frontier_that_begins_no_statement_does_not_count():
    graph = GRAPH._replace(edges=[(0, 2), (2, 4), (1, 3), (3, 5)])
    level = level_of([VALUES], 2, graphs=[graph])
    # Two steps from Ann is c, the answer, and nothing comes after it.
    assert level.depth == 2 and level.num_problems == 0
    ends = dataclasses.replace(WORDS, place="end")
    assert level_of([VALUES], 1, ends, graphs=[graph]).num_problems == 1


@pytest.mark.any_backend
def test_the_gap_as_a_share_of_the_frontier():
    """However little value the frontier has, a flat one is at its null."""
    edges = [(0, 2), (0, 3), (2, 4), (3, 4), (4, 5), (1, 4)]
    wide = GRAPH._replace(target=5, edges=edges)
    for scale in (1, 1e-3):
        flat = [NO, NO, 0.2 * scale, 0.2 * scale, 0.1, 0.5]
        # The frontier of the other problem has one node, and no gap.
        level = level_of([flat, VALUES], graphs=[wide, GRAPH])
        found = level.parallelism
        assert found.gap.mean == pytest.approx(0.1 * scale)
        assert found.relative_gap.mean == pytest.approx(0.5)
        assert found.uniform_gap == 0.5
    peaked = [NO, NO, 0.3, 0.1, 0.1, 0.5]
    found = level_of([peaked], graphs=[wide]).parallelism
    assert found.relative_gap.mean == pytest.approx(0.25)
    found = level_of([VALUES]).parallelism
    assert math.isnan(found.relative_gap.mean) and math.isnan(found.uniform_gap)
    # Of five nodes, three have 3/5, and the best one 1/5.
    nodes = {str(node): node for node in range(7)}
    edges = [(0, n) for n in range(1, 6)] + [(n, 6) for n in range(1, 6)]
    graph = GRAPH._replace(nodes=nodes, target=6, edges=edges)
    found = level_of([[NO, *[0.1] * 5, 0.5]], graphs=[graph]).parallelism
    assert found.relative_gap.mean == pytest.approx(0.4)
    assert found.uniform_gap == pytest.approx(0.4)


@pytest.mark.any_backend
def test_no_value_at_all_is_shared_by_nobody():
    level = level_of([[NO, NO, 0, 0, 0, 0], VALUES], graphs=[GRAPH] * 2)
    assert level.num_problems == 2
    assert level.frontier_mass.frontier.share.mean == pytest.approx(0.8)
    assert level.frontier_mass.on_nodes.mean == pytest.approx(0.4)
    level = level_of([[NO, NO, 0, 0, 0, 0]])
    assert math.isnan(level.frontier_mass.frontier.share.mean)


@pytest.mark.any_backend
def test_heights_are_means_over_nodes_of_all_problems():
    values = [VALUES, [NO, NO, 0.8, 0.1, 0.2, 0.3]]
    (low, high) = level_of(values, graphs=[GRAPH] * 2).heights["longest"]
    assert low.not_reaching.mean == pytest.approx(0.2)
    assert high.reaching.mean == pytest.approx(0.6)
    assert high.reaching.problems == 2
    # Student's t with one degree of freedom.
    assert high.reaching.margin == pytest.approx(12.706 * 0.2, rel=1e-3)


@pytest.mark.any_backend
def test_the_control_is_measured_in_the_same_way(capsys):
    model, control = symbol_model(by_hand=False), symbol_model()
    model.num_thoughts = 1
    problems = symbol_problems(3)
    found = search_tree(model, problems, control=control, batch_size=2)
    assert found.num_thoughts == (0, 1)
    (line,) = [
        line for line in capsys.readouterr().out.split("\n") if "6/6" in line
    ]
    assert line.startswith("search tree: 6/6 problems")
    for each, tree in ((model, found), (control, found.control)):
        alone = search_tree(each, problems, num_thoughts=(0, 1), verbose=0)
        for own, other in zip(alone.values, tree.values):
            np.testing.assert_allclose(own, other, rtol=1e-4)
    assert found.control.control is None
    assert found.visits == found.control.visits == "first"
    text = json.dumps(found.to_dict(), allow_nan=False)
    assert len(json.loads(text)["control"]["values"]) == 3


@pytest.mark.any_backend
def test_refusals():
    model = symbol_model()
    problems = symbol_problems(1)
    no_edges = Problem("?", [], "", extra={**tiny.GRAPH, "edges": []})
    for match, change in {
        "must hold the graph's keys": dict(problems=tiny.problems(1)),
        "must hold an edge": dict(problems=[no_edges]),
        "must all be in words": dict(problems=[*problems, PROBLEM]),
        "`num_thoughts` must be a sequence": dict(num_thoughts=None),
        "`control` must be": dict(control=tiny),
        "must fit": dict(num_thoughts=[0, 250]),
        "`step_text` must be": dict(step_text="Every"),
    }.items():
        given = dict(problems=problems, num_thoughts=[1], verbose=0)
        with pytest.raises(ValueError, match=match):
            search_tree(model, **{**given, **change})


@pytest.mark.any_backend
@pytest.mark.parametrize(
    "change",
    [
        dict(template="a"),
        dict(template="{end}{end}", place="end"),
        dict(template="{end}"),
        dict(first="{end} {start}"),
        dict(first="{start}{start}{end}"),
        dict(place="middle"),
        dict(template=3),
    ],
)
def test_step_texts_that_say_no_node(change):
    with pytest.raises(ValueError, match=f"`{'|'.join(change)}` must be"):
        StepText(**change)


@pytest.mark.any_backend
def test_depths_of_steps():
    assert [StepText().depth(k) for k in range(3)] == [1, 1, 2]
    ends = dataclasses.replace(StepText(), place="end")
    assert [ends.depth(k) for k in range(3)] == [1, 2, 3]


@pytest.mark.any_backend
def test_a_name_that_ends_within_a_token_is_refused():
    """Its value would be that of other tokens than the model writes."""
    model = tiny.compiled(tiny.text_model(layers=1, longest=160))
    graph = GRAPH._replace(
        nodes={"sta": 0, "Bob": 1, "a": 2, "b": 3, "c": 4, "d": 5}
    )
    text = StepText("{start}rt {end}", "{start}rt {end}")
    with pytest.raises(ValueError, match="must not join"):
        read_values(
            model,
            [QUESTION],
            [graph._replace(edges=[(2, 0), (0, 2)])],
            text,
            [1],
            1,
        )


@pytest.mark.any_backend
def test_a_name_that_ends_within_the_separators_token_is_refused():
    model = tiny.compiled(tiny.text_model(layers=1, longest=160))
    model.preprocessor.separator = "rt"
    graph = GRAPH._replace(
        nodes={"sta": 0, "Bob": 1, "a": 2, "b": 3, "c": 4, "d": 5},
        edges=[(2, 0), (0, 2)],
    )
    text = StepText("{end}", "{end}", place="end")
    with pytest.raises(ValueError, match="must not join"):
        read_values(model, [QUESTION], [graph], text, [1], 1)


@pytest.mark.any_backend
def test_nodes_out_of_reach_are_beyond_nothing():
    graph = GRAPH._replace(
        nodes={**GRAPH.nodes, "e": 6}, edges=[*GRAPH.edges, (1, 6)]
    )
    ends = dataclasses.replace(WORDS, place="end")
    level = level_of([[*VALUES, 0.2]], 0, ends, graphs=[graph])
    # 0.5 on a and d, 0.3 on b and c, 0.2 on e.
    shares = [group.share.mean for group in level.frontier_mass[:4]]
    assert shares == pytest.approx([0.5, 0.5, 0.3, 0.2])
    chances = [group.chance for group in level.frontier_mass[:4]]
    assert chances == pytest.approx([0.4, 0.4, 0.4, 0.2])
