"""Attention and inner products by group, and thoughts that are made by hand."""

import json
import math
import re

import numpy as np
import pytest
import tiny
import tiny_tokenizers
from keras import ops
from symbol_models import (
    DIM,
    SIZE,
    embedding,
    holding,
    symbol_model,
    symbol_problems,
)

from keras_coconut import Problem, ThoughtStates
from keras_coconut.analysis.pooled_means import pool
from keras_coconut.analysis.search.edge_tokens import edge_tokens, node_tokens
from keras_coconut.analysis.search.graph_nodes import solution_length
from keras_coconut.analysis.search.group_means import GroupMeans
from keras_coconut.analysis.search.superposition import superposition
from keras_coconut.graphs import read_graph

GROUPS = GroupMeans._fields


def after(edges, root, steps):
    """The nodes in which a path of so many steps can end."""
    nodes = {root}
    for _ in range(steps):
        nodes = {end for start, end in edges if start in nodes}
    return nodes


def last_attention(model, question):
    """The first layer's attention of a question's last token, by KerasHub."""
    backbone = model.backbone
    (ids,) = model.preprocessor.tokenize_questions([question])
    x = backbone.token_embedding(ops.convert_to_tensor([ids]))
    x = x + backbone.position_embedding(x)
    layer = backbone.transformer_layers[0]
    x = layer._self_attention_layer_norm(x)
    query = ops.convert_to_numpy(layer._self_attention_layer.query_dense(x))
    keys = ops.convert_to_numpy(layer._self_attention_layer.key_dense(x))
    scores = np.einsum("hs,ths->ht", query[0, -1], keys[0])
    weights = np.exp(scores / math.sqrt(query.shape[-1]))
    return (weights / weights.sum(axis=1, keepdims=True)).sum(axis=0)


def slow(model, problems, count):
    """The same figures problem by problem, edge by edge and node by node."""
    edges = [{name: [] for name in GROUPS} for _ in range(count + 1)]
    nodes = [{name: [] for name in GROUPS} for _ in range(count)]
    table = ops.convert_to_numpy(model.backbone.token_embedding.embeddings)
    tokenizer = model.preprocessor.tokenizer
    for problem in problems:
        extra, names = problem.extra, problem.extra["idx_to_symbol"]
        pairs = [(names[a], names[b]) for a, b in extra["edges"]]
        root, target = names[extra["root"]], names[extra["target"]]
        length = next(n for n in range(9) if target in after(pairs, root, n))
        states = model.read_states(problem.question, count, layers=[0])
        attention = states.attention[0][0].sum(axis=0)
        tokens = re.findall(r"<\d+>|.", problem.question)
        weights = [
            last_attention(model, problem.question),
            # Q is longer than the question, which ends where Q does.
            *attention[:, -count - len(tokens) : -count],
        ]
        for steps in range(count + 1):
            ends = after(pairs, root, steps)
            reached = set().union(
                *(after(pairs, root, n) for n in range(steps + 1))
            )
            # On a shortest path, as many steps from both of its ends.
            best = [
                {
                    node
                    for node in after(pairs, root, n)
                    if target in after(pairs, node, length - n)
                }
                for n in (steps, steps + 1)
            ]
            if steps < length:
                for place, token in enumerate(tokens):
                    if token != "|":
                        continue
                    start, end = tokens[place + 1 : place + 3]
                    value = weights[steps][place : place + 3].sum()
                    is_best = start in best[0] and end in best[1]
                    add(edges[steps], value, start, reached, ends, is_best)
            if 0 < steps <= length:
                for node in names:
                    token = tokenizer.token_to_id(node)
                    value = table[token] @ states.thoughts[0, steps - 1]
                    add(
                        nodes[steps - 1],
                        value,
                        node,
                        reached,
                        ends,
                        node in best[0],
                    )
    return edges, nodes


def add(groups, value, node, reached, ends, is_best):
    if node not in reached:
        groups["not_reachable"].append(value)
        return
    groups["reachable"].append(value)
    if node in ends:
        groups["frontier"].append(value)
        if is_best:
            groups["optimal"].append(value)


@pytest.mark.parametrize("kind", ["continuous", "pause"])
def test_figures_are_those_of_a_slow_loop(kind):
    model = symbol_model(by_hand=False, thought_kind=kind)
    # Of as many edges: each shape is compiled for itself.
    problems = [
        problem
        for problem in symbol_problems(40)
        if len(problem.extra["edges"]) == 20
    ]
    assert len(problems) > 2
    found = superposition(
        model, problems, num_thoughts=2, layer=0, batch_size=3, verbose=0
    )
    assert found.layer == 0
    edges, nodes = slow(model, problems, 2)
    for measured, expected in (
        (found.attention, edges),
        (found.inner_products, nodes),
    ):
        for means, values in zip(measured, expected, strict=True):
            for name, mean in means._asdict().items():
                assert mean.members == len(values[name])
                assert mean.mean == pytest.approx(
                    np.mean(values[name]), abs=1e-4
                )


def thinking(model, monkeypatch, make):
    """Gives a model the states that `make` returns for each question."""

    def read_states(questions, count, *, batch_size, layers):
        states = [make(question) for question in questions]
        thoughts, attention = map(np.array, zip(*states))
        assert thoughts.shape[1] == count
        asked = np.full_like(attention[:, :, :1, :-count], 1 / 129)
        (layer,) = layers
        return ThoughtStates(thoughts, {}, {layer: attention}, {layer: asked})

    monkeypatch.setitem(model.__dict__, "read_states", read_states)


def test_a_superposition_of_the_frontier_is_reported_as_put_in(monkeypatch):
    """Thoughts hold the frontier, half as much of what is known, and attend."""
    model, problems = symbol_model(), symbol_problems(6, min_steps=3)
    by_question = {problem.question: problem for problem in problems}

    def make(question):
        extra = by_question[question].extra
        names = extra["idx_to_symbol"]
        pairs = [(names[a], names[b]) for a, b in extra["edges"]]
        root = names[extra["root"]]
        tokens = re.findall(r"<\d+>|.", question)
        thoughts, weights = [], np.zeros((2, 2, 128 + 2))
        known = {root}
        for slot in range(2):
            ends = after(pairs, root, slot + 1)
            thoughts.append(holding(ends) + holding(known - ends) / 2)
            known |= ends
            start = 128 - len(tokens)
            for place, token in enumerate(tokens):
                if token == "|" and tokens[place + 1] in ends:
                    # Both heads attend, to the node that the edge leads to.
                    weights[:, slot, start + place + 2] = 0.25
        return thoughts, weights

    thinking(model, monkeypatch, make)
    found = superposition(model, problems, num_thoughts=2, verbose=0)
    for means in found.inner_products:
        assert means.frontier.mean == means.optimal.mean == SIZE**2
        assert means.frontier.margin == means.optimal.margin == 0
        assert means.not_reachable[:2] == (0, 0)
        assert SIZE**2 / 2 < means.reachable.mean < SIZE**2
        assert means.reachable.margin > 0
    for means in found.attention[1:]:
        assert means.frontier.mean == means.optimal.mean == 0.5
        assert means.not_reachable.mean == 0
        assert 0 < means.reachable.mean < 0.5


@pytest.mark.any_backend
@pytest.mark.parametrize("noise", [False, True])
def test_constant_and_noisy_thoughts_are_at_chance(noise, monkeypatch):
    """A node's symbol is drawn for each problem anew: groups are alike."""
    model, problems = symbol_model(), symbol_problems(80)
    random = np.random.default_rng(0)
    constant = random.normal(size=(1, DIM))

    def make(question):
        thoughts = random.normal(size=(1, DIM)) if noise else constant
        return thoughts, np.full((2, 1, 129), 1 / 129)

    thinking(model, monkeypatch, make)
    found = superposition(model, problems, num_thoughts=1, verbose=0)
    (means,) = found.inner_products
    for one in means:
        margins = one.margin + means.not_reachable.margin
        assert abs(one.mean - means.not_reachable.mean) <= margins < SIZE
    # Three tokens of an edge, two heads.
    for one in found.attention[1]:
        assert one.mean == pytest.approx(6 / 129)
        assert one.margin == pytest.approx(0, abs=1e-9)


@pytest.mark.any_backend
def test_heads_of_other_models_are_compared_by_their_mean(monkeypatch):
    """Eight heads that attend as one does have eight times its sum."""
    found = []
    for heads in (1, 8):
        model, problems = symbol_model(), symbol_problems(3)

        def make(question, heads=heads):
            return np.zeros((1, DIM)), np.full((heads, 1, 129), 1 / 129)

        thinking(model, monkeypatch, make)
        found.append(superposition(model, problems, num_thoughts=1, verbose=0))
    few, many = found
    assert (few.num_heads, many.num_heads) == (1, 8)
    for one, eight, mean in zip(
        few.attention, many.attention, many.attention_per_head, strict=True
    ):
        assert eight.frontier.mean == pytest.approx(8 * one.frontier.mean)
        np.testing.assert_allclose(mean, one, atol=1e-9)
    assert few.attention_per_head == few.attention
    json.dumps(many.to_dict(), allow_nan=False)


@pytest.mark.any_backend
def test_only_solutions_of_as_many_steps_count():
    model = symbol_model()
    problems = symbol_problems(12)
    lengths = [
        solution_length(read_graph("problem", problem)) for problem in problems
    ]
    found = superposition(model, problems, num_thoughts=5, verbose=0)
    for steps, means in enumerate(found.attention):
        counted = sum(steps < length for length in lengths)
        assert (means.frontier.problems if means else 0) == counted
    for steps, means in enumerate(found.inner_products, 1):
        counted = sum(steps <= length for length in lengths)
        assert (means.frontier.problems if means else 0) == counted
    assert found.attention[-1] is found.inner_products[-1] is None


@pytest.mark.any_backend
def test_the_control_is_measured_in_the_same_way():
    model = symbol_model(by_hand=False, layers=2, num_thoughts=1)
    control = symbol_model(by_hand=False, thought_kind="pause")
    problems = symbol_problems(3)
    found = superposition(model, problems, control=control, verbose=0)
    assert (found.layer, found.control.layer) == (1, 0)
    alone = superposition(control, problems, num_thoughts=1, verbose=0)
    np.testing.assert_allclose(
        found.control.inner_products, alone.inner_products, rtol=1e-4
    )
    text = json.dumps(found.to_dict(), allow_nan=False)
    assert json.loads(text)["control"]["attention"][0]["frontier"]["members"]
    # Without thoughts there is the question's last token alone.
    none = superposition(model, problems, num_thoughts=0, verbose=0)
    assert len(none.attention) == 1
    assert none.inner_products == ()
    np.testing.assert_allclose(none.attention[0], found.attention[0], rtol=1e-4)


WORDS = "Ann is a a. Every a is a c. Bob is an d. Is Ann a c or d?"
EXTRA = {
    "idx_to_symbol": ["Ann", "Bob", "a", "c", "d"],
    "edges": [[0, 2], [2, 3], [1, 4]],
    "root": 0,
    "target": 3,
}
SYMBOLS = "|<3><1>|<1><2>?<2><4>@<3>"
IN_SYMBOLS = {
    "idx_to_symbol": ["<3>", "<1>", "<2>", "<4>"],
    "edges": [[1, 2], [0, 1]],
    "root": 0,
    "target": 2,
}


@pytest.mark.any_backend
@pytest.mark.parametrize("kind", ["gpt2", "llama", "llama3", "gemma"])
def test_tokens_of_edges_and_nodes(kind):
    """Decoded, they are the sentences and the names."""
    preprocessor = tiny_tokenizers.preprocessor(kind)
    graphs = [
        read_graph("problem", Problem("?", [], "", extra=extra))
        for extra in (EXTRA, IN_SYMBOLS)
    ]
    spans = edge_tokens(preprocessor, [WORDS, SYMBOLS], graphs)
    expected = [
        {
            (0, 2): "Ann is a a.",
            (2, 3): "Every a is a c.",
            (1, 4): "Bob is an d.",
        },
        {(0, 1): "|<3><1>", (1, 2): "|<1><2>"},
    ]
    ids = preprocessor.tokenize_questions([WORDS, SYMBOLS])
    for own, texts, row in zip(spans, expected, ids, strict=True):
        found = {
            edge: preprocessor.generate_postprocess([row[start:stop]])[0]
            for edge, (start, stop) in own.items()
        }
        # The space before a sentence belongs to it, as where it is written.
        first, *others = found
        # Llama has one before a question, too.
        assert found[first].lstrip(" ") == texts[first]
        assert {edge: found[edge].lstrip(" ") for edge in others} == {
            edge: texts[edge] for edge in others
        }
        if texts[first].startswith("Ann"):
            assert all(found[edge].startswith(" ") for edge in others)
    for graph in graphs:
        names = preprocessor.generate_postprocess(
            node_tokens(preprocessor, graph)
        )
        space = "" if graph.in_symbols else " "
        assert names == [space + name for name in graph.nodes]


@pytest.mark.any_backend
def test_a_question_without_its_edges_is_refused():
    model = tiny.compiled(tiny.text_model(layers=1, longest=160))
    other = Problem("Ann is a c. Is Ann a c or d?", [], "c", extra=EXTRA)
    for match, change in {
        r"`problems\[1\].question` must hold each edge": dict(
            problems=[Problem(WORDS, [], "", extra=EXTRA), other]
        ),
        "must hold the graph's keys": dict(problems=tiny.problems(1)),
        "`layer` must be": dict(layer=1),
        "`visits` must be": dict(visits="none"),
        "`num_thoughts` must be": dict(num_thoughts=[1]),
        "must fit": dict(num_thoughts=150),
    }.items():
        given = dict(
            problems=[Problem(WORDS, [], "", extra=EXTRA)],
            num_thoughts=1,
            verbose=0,
        )
        with pytest.raises(ValueError, match=match):
            superposition(model, **{**given, **change})


@pytest.mark.any_backend
def test_a_node_of_several_tokens_is_their_mean(monkeypatch):
    model = tiny.compiled(tiny.text_model(layers=1, longest=160))
    thought = np.random.default_rng(0).normal(size=(1, 16))
    thinking(model, monkeypatch, lambda _: (thought, np.zeros((2, 1, 97))))
    problem = Problem(WORDS, [], "", extra=EXTRA)
    found = superposition(model, [problem], num_thoughts=1, verbose=0)
    table = ops.convert_to_numpy(model.backbone.token_embedding.embeddings)
    (means,) = found.inner_products
    for names, mean in (
        (["Ann", "a"], means.reachable),
        (["a"], means.frontier),
        (["Bob", "c", "d"], means.not_reachable),
    ):
        ids = model.preprocessor.tokenize_responses([f" {n}" for n in names])
        vectors = [table[row[1:-1]].mean(axis=0) for row in ids]
        expected = np.mean(np.array(vectors) @ thought[0])
        assert mean.mean == pytest.approx(expected, abs=1e-5)


# === Pooled means ===


@pytest.mark.any_backend
def test_pooled_means():
    values = [np.array([1.0, 2.0, 3.0]), np.array([]), np.array([5.0])]
    mean = pool(values)
    assert mean.mean == 11 / 4
    assert (mean.members, mean.problems) == (4, 2)
    # By hand: sums 6 and 5, of which 3 and 1 means are expected.
    rest = [6 - 3 * 11 / 4, 5 - 11 / 4]
    variance = sum(r * r for r in rest) * 2 / 1 / 16
    assert mean.margin == pytest.approx(12.7062 * math.sqrt(variance), rel=1e-4)
    assert math.isnan(pool(values[:2]).margin)
    assert pool(values[:2]).mean == 2
    assert math.isnan(pool([]).mean)
    assert pool([]).members == 0


@pytest.mark.any_backend
def test_the_interval_covers_the_mean():
    """Of nodes that are alike within a problem; nodes alone would say less."""
    random, covered = np.random.default_rng(0), 0
    for _ in range(300):
        values = [
            random.normal() + 0.1 * random.normal(size=random.integers(1, 6))
            for _ in range(30)
        ]
        mean = pool(values)
        covered += abs(mean.mean) <= mean.margin
    assert 0.9 <= covered / 300 <= 0.985


def test_embeddings_of_the_model_by_hand():
    """What the tests above put in is what its layer looks up."""
    model = symbol_model()
    tokenizer = model.preprocessor.tokenizer
    ids = np.array([[tokenizer.token_to_id("<3>")]])
    found = model.backbone.token_embedding(ids)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(found)[0, 0], embedding("<3>")
    )
