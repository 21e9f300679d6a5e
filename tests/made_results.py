"""Results of analyses as a real model might give them, made up for plots."""

import functools

import numpy as np

from keras_coconut import (
    CounterfactualEvaluation,
    EarlyStop,
    Evaluation,
    ForcedThoughts,
    Interval,
    MinimalPairEvaluation,
    SearchTree,
    Share,
    SlotGeometry,
    StepProbe,
    Superposition,
    ThoughtBudget,
    ThoughtGeometry,
    ThoughtProbes,
    ThoughtSwap,
    VectorGeometry,
    load_prosqa,
    mean_interval,
    share_interval,
)
from keras_coconut.analysis.pooled_means import PooledMean
from keras_coconut.analysis.search.graph_nodes import group_nodes
from keras_coconut.analysis.search.group_means import GroupMeans
from keras_coconut.analysis.search.node_table import NodeTable
from keras_coconut.analysis.search.node_values import WORDS
from keras_coconut.analysis.search.tree_figures import measure_level
from keras_coconut.evaluation import CLASSES, CONTROLS
from keras_coconut.graphs import read_graph

COUNT = 200


def flags(share, count=COUNT):
    return [index < round(share * count) for index in range(count)]


@functools.cache
def share(value, count=COUNT) -> Share:
    return share_interval(flags(value, count))


def evaluation(accuracy, tokens=10.0, count=COUNT) -> Evaluation:
    correct = tuple(flags(accuracy, count))
    return Evaluation(
        sum(correct) / count, 0.0, tokens, 0.1, ("7",) * count, correct
    )


def controls() -> dict[str, Evaluation]:
    shares = (0.16, 0.08, 0.11, 0.215, 0.0, 0.6, 0.145)
    return {name: evaluation(own) for name, own in zip(CONTROLS, shares)}


def methods() -> dict:
    """The eight methods, some with seeds, as in the published table."""
    return {
        "cot": [evaluation(a, 49.4 + a) for a in (0.76, 0.79, 0.775)],
        "no_cot": evaluation(0.765, 8.2),
        "icot": evaluation(0.98, 8.2),
        "pause": evaluation(0.755, 14.2),
        "coconut": [evaluation(a, 14.2 + a) for a in (0.96, 0.98, 0.97)],
        "no_curriculum": evaluation(0.76, 14.2),
        "no_thought": evaluation(0.955, 8.2),
        "pause_as_thought": [evaluation(a, 8 + a) for a in (0.9, 0.99)],
    }


@functools.cache
def problems():
    """Problems in words, as large as the published ones."""
    return load_prosqa(train=0, validation=0, test=30, seed=3).test


@functools.cache
def tree(counts=(0, 1, 3), control=True) -> SearchTree:
    """Most value is on the frontier; in the control it is anywhere."""
    found = None
    graphs = [read_graph("problem", problem) for problem in problems()]
    tables = [NodeTable.of(graph, WORDS, counts, "first") for graph in graphs]
    for strength in (2.0, 30.0) if control else (30.0,):
        random = np.random.default_rng(0)
        values = []
        for graph in graphs:
            rows = []
            for count in counts:
                near = group_nodes(graph, WORDS.depth(count))
                weights = [
                    1 + strength * (node in near.frontier)
                    + 2 * strength * (node in near.optimal)
                    for node in graph.nodes.values()
                ]  # fmt: skip
                rows.append(random.dirichlet(np.array(weights) / 8))
            values.append(np.array(rows))
        levels = tuple(
            measure_level(index, count, WORDS, tables, values)
            for index, count in enumerate(counts)
        )
        found = SearchTree(tuple(counts), levels, tuple(values), found)
    return found


def budget(counts=range(7), classes=True, control=True) -> ThoughtBudget:
    found = None
    for rise in (0.02, 0.13) if control else (0.13,):
        forced = []
        for place, count in enumerate(counts):
            right = min(0.15 + rise * place, 0.95)
            parts = (0.1, 0.4, 0.25, 0.1, 0.15)
            kinds = (right, *((1 - right) * part for part in parts))
            forced.append(
                ForcedThoughts(
                    count,
                    share(right),
                    evaluation(right),
                    dict(zip(CLASSES, map(share, kinds))) if classes else None,
                    None,
                    None,
                )
            )
        needed = np.arange(COUNT) % len(forced)
        stops = [
            EarlyStop(
                tuple(own.tolist()),
                mean_interval(own),
                {
                    count: share_interval(list(own == place))
                    for place, count in enumerate(counts)
                },
            )
            for own in (needed // 2, needed)
        ]
        found = ThoughtBudget(tuple(forced), *stops, found)
    return found


def superposition(entries=5, control=True) -> Superposition:
    """The published means of attention, and of inner products."""
    found = None
    for scale in (0.2, 1.0) if control else (1.0,):

        def means(*rows, scale=scale):
            return tuple(
                GroupMeans(
                    *(PooledMean(scale * m, 0.1 + 0.1 * m, 500, 90) for m in of)
                )
                if place < 4
                else None  # No solution is so long.
                for place, of in enumerate([*rows, *rows][:entries])
            )

        attention = means(
            *((2.12, 2.12, 2.54, 0.04), (0.71, 1.0, 1.72, 0.03)),
            *((0.38, 0.67, 1.67, 0.08), (0.29, 0.61, 2.23, 0.12)),
        )
        products = means(
            *((3.59, 5.09, 6.41, -0.37), (1.55, 2.69, 4.78, -0.26)),
            *((0.8, 2.11, 6.0, -0.09), (0.61, 2.27, 9.48, -0.25)),
        )
        found = Superposition(1, attention, products[:-1], found)
    return found


def geometry(slots=6, control=True) -> ThoughtGeometry:
    def vectors(scale):
        return VectorGeometry(
            tuple(
                SlotGeometry(
                    slot,
                    COUNT,
                    Interval(110.0 * scale + slot, 5.0),
                    Interval(31.0 * scale - slot, 2.0),
                    Interval(0.8 * scale - 0.05 * slot, 0.1)
                    if slot < slots - 1
                    else None,
                    Interval(0.5 * scale, 0.06),
                    Interval(0.3 * scale, 0.02),
                    40.0 / scale,
                    44.0 / scale,
                )
                for slot in range(slots)
            ),
            40.0 / scale,
            44.0 / scale,
        )

    found = None
    for scale in (0.8, 1.0) if control else (1.0,):
        found = ThoughtGeometry(vectors(scale), vectors(0.4), 3.1, found)
    return found


def probes(slots=6, steps=6, control=True) -> ThoughtProbes:
    """A thought holds the step of its own number; the last ones are few."""
    found = None
    for peak in (0.35, 0.93) if control else (0.93,):
        table = tuple(
            tuple(
                StepProbe(
                    share(max(peak - 0.2 * abs(slot - step), 0.1)),
                    share(0.12),
                    share(0.09),
                    10,
                    Interval(0.2, 0.1),
                    0,
                    0.001 if slot == step and peak > 0.9 else 1.0,
                )
                if step < slots + 2 and (slot, step) != (0, steps - 1)
                else None
                for step in range(steps)
            )
            for slot in range(slots)
        )
        found = ThoughtProbes(table, {0: table}, COUNT, found)
    return found


def swap(donor) -> ThoughtSwap:
    rest = (share(0.9 - donor), share(0.1), share(donor))
    return ThoughtSwap(share(donor), *rest, ("7",), ("donor",))


def minimal_pairs(thoughts=6, control=True, pauses=False):
    found = None
    for all_of_them, first in ((0.12, 0.1), (0.77, 0.485))[not control :]:
        swaps = (
            swap(0.01),
            swap(all_of_them),
            tuple(swap(first * 0.8**slot) for slot in range(thoughts)),
            swap(0.02),
            None,
        )
        if pauses and control and found is None:
            swaps = (None, None, (), None, "its thoughts are pauses")
        found = MinimalPairEvaluation(
            share(0.9), share(0.88), *swaps, (), (), (), {}, found
        )
    return found


def counterfactuals(control=True) -> CounterfactualEvaluation:
    found = None
    for following in (0.274, 0.713)[not control :]:
        shares = (0.9, following, 0.87, following, 0.95 - following, 0.04)
        found = CounterfactualEvaluation(
            *map(share, shares), (), (), (), (), (), {}, found,
            decoy_accuracy=share(0.8, 140),
            decoy_following=share(0.1, 130),
        )  # fmt: skip
    return found


def history(epochs=24, length=4) -> dict:
    stages = [epoch // length for epoch in range(epochs)]
    return {
        "loss": [0.2 + 0.6 / (1 + epoch % length) for epoch in range(epochs)],
        "stage": stages,
        "thoughts": [2 * stage for stage in stages],
        "val_answer_accuracy": [
            1 - 0.7 * 0.9**epoch for epoch in range(epochs)
        ],
    }
