"""The figures of a search tree, from the values of the nodes."""

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from keras_coconut.analysis.pooled_means import PooledMean, pool
from keras_coconut.analysis.search.node_table import GROUPS, NodeTable
from keras_coconut.analysis.search.node_values import StepText
from keras_coconut.evaluation.statistics import Interval, mean_interval

TOP = 3


class MassShare(NamedTuple):
    """The share of the nodes' value that a group of nodes has.

    Attributes:
        share: an `Interval`, the mean over problems.
        chance: float, the group's share of the nodes, which is its share of
            the value if all nodes are alike to the model.
        excess: an `Interval`, the mean over problems of how much more the share
            is than by chance. It is what to compare with 0 and with a control.
        by_frequency: float, the group's share of the statements, a second
            null: its share of the value if a model names nodes by how many
            statements of the question they begin, or end where the node valued
            is the end of a step.
        excess_by_frequency: an `Interval`, the mean over problems of how much
            more the share is than that.

    Example:
    ```python
    found = keras_coconut.search_tree(model, graph_problems, num_thoughts=[0])
    mass = found.levels[0].frontier_mass.frontier
    mass.share.mean, mass.chance, mass.excess
    ```
    """

    share: Interval
    chance: float
    excess: Interval
    by_frequency: float = math.nan
    excess_by_frequency: Interval = Interval(math.nan, math.nan)


class FrontierMass(NamedTuple):
    """Where the value of the nodes lies.

    Only nodes count that a right step can name. Where a step's start is valued
    these are the ones that begin a statement: no leaves.

    Attributes:
        frontier: the `MassShare` of nodes that exactly so many steps reach as
            the next step should.
        within: of nodes that at most so many steps reach.
        beyond: of nodes that only more steps reach.
        unreachable: of nodes that no path from the root reaches. With `within`
            and `beyond` it adds to 1.
        on_nodes: an `Interval`, the mean probability that the step names a
            node of the problem at all.

    Example:
    ```python
    found = keras_coconut.search_tree(model, graph_problems, num_thoughts=[0])
    mass = found.levels[0].frontier_mass
    mass.frontier.share, mass.unreachable.share
    ```
    """

    frontier: MassShare
    within: MassShare
    beyond: MassShare
    unreachable: MassShare
    on_nodes: Interval


class Parallelism(NamedTuple):
    """How many nodes of the frontier a model considers at once.

    Attributes:
        curves: float array (3, problems). The value of the best node of the
            frontier, of the best two and of the best three, each sorted over
            the problems. If there are fewer nodes, all count.
        means: their means over problems, three `Interval`s.
        gap: an `Interval`: how much the best three have more than the best
            one. It is wide if several nodes are considered, and narrow also if
            the frontier has little value at all.
        relative_gap: an `Interval`: the same, divided by the value of the whole
            frontier, over problems whose frontier has two or more nodes.
        uniform_gap: float, what `relative_gap` is if all nodes of a frontier
            have the same value, over the same problems.

    Example:
    ```python
    found = keras_coconut.search_tree(model, graph_problems, num_thoughts=[0])
    parallelism = found.levels[0].parallelism
    parallelism.relative_gap, parallelism.uniform_gap
    ```
    """

    curves: np.ndarray
    means: tuple[Interval, ...]
    gap: Interval
    relative_gap: Interval = Interval(math.nan, math.nan)
    uniform_gap: float = math.nan


class HeightValue(NamedTuple):
    """The mean value of the nodes of the frontier with one height.

    Leaves, of height 0, begin no statement: where a step's start is valued,
    their low value tells nothing of a search.

    Attributes:
        height: int, the distance to a leaf.
        reaching: the `PooledMean` of nodes from which a path leads to the
            target.
        not_reaching: the `PooledMean` of the others.

    Example:
    ```python
    found = keras_coconut.search_tree(model, graph_problems, num_thoughts=[0])
    for value in found.levels[0].heights["longest"]:
        print(value.height, value.reaching.mean, value.not_reaching.mean)
    ```
    """

    height: int
    reaching: PooledMean
    not_reaching: PooledMean


@dataclasses.dataclass(frozen=True)
class TreeLevel:
    """The search after one number of thoughts.

    Only problems count whose solution is at least `depth` steps long, and whose
    frontier has a node that a right step can name.

    Attributes:
        num_thoughts: int.
        depth: int. How many steps from the root the next step's node should
            be: those on the frontier.
        num_problems: int. The number of problems that count. If there are none,
            all figures below are `None`.
        frontier_mass: a `FrontierMass`, or `None`.
        parallelism: a `Parallelism`, or `None`.
        heights: dictionary from `"shortest"` and `"longest"`, the distance to a
            leaf that is meant, to a tuple of `HeightValue`s; or `None`.

    Example:
    ```python
    found = keras_coconut.search_tree(model, graph_problems, num_thoughts=[0])
    level = found.levels[0]
    level.num_thoughts, level.depth, level.num_problems
    ```
    """

    num_thoughts: int
    depth: int
    num_problems: int
    frontier_mass: FrontierMass | None = None
    parallelism: Parallelism | None = None
    heights: dict[str, tuple[HeightValue, ...]] | None = None


class _Row(NamedTuple):
    """A problem that counts: its `NodeTable` and values after some thoughts."""

    statements: dict[int, int]
    groups: dict[str, list[int]]
    frontier: list[int]
    values: np.ndarray
    table: NodeTable


def measure_level(
    index: int,
    count: int,
    text: StepText,
    tables: Sequence[NodeTable],
    values: Sequence[np.ndarray],
) -> TreeLevel:
    """Returns the figures after one number of thoughts.

    Args:
        index: int, the place of this number among the numbers of thoughts.
        count: int, the number of thoughts.
        text: a `StepText`.
        tables: the `NodeTable` of each problem.
        values: what `read_values` returned.
    """
    rows = [
        _Row(
            table.statements[index],
            groups,
            table.frontiers[index],
            own[index],
            table,
        )
        for table, own in zip(tables, values)
        if (groups := table.groups[index]) is not None
    ]
    level = TreeLevel(count, text.depth(count), len(rows))
    if not rows:
        return level
    return dataclasses.replace(
        level,
        frontier_mass=_frontier_mass(rows),
        parallelism=_parallelism(rows),
        heights={
            kind: _heights(rows, kind) for kind in ("shortest", "longest")
        },
    )


def _frontier_mass(rows) -> FrontierMass:
    frontier, within, beyond, unreachable = (
        _mass_share(rows, group) for group in GROUPS
    )
    # Also on the leaves, which are nodes of the problem.
    on_nodes = [float(np.nansum(row.values)) for row in rows]
    return FrontierMass(
        frontier, within, beyond, unreachable, mean_interval(on_nodes)
    )


def _mass_share(rows, group) -> MassShare:
    shares, nulls, excesses = [], [], []
    for row in rows:
        nodes = row.groups[group]
        number = sum(row.statements[node] for node in nodes)
        nulls.append(
            (
                len(nodes) / len(row.statements),
                number / sum(row.statements.values()),
            )
        )
        total = float(row.values[list(row.statements)].sum())
        # Of no value at all nothing can be shared.
        if total:
            shares.append(float(row.values[nodes].sum()) / total)
            excesses.append([shares[-1] - null for null in nulls[-1]])
    chance, by_frequency = np.mean(nulls, axis=0).tolist()
    excess, more_than_frequent = (
        _interval([both[kind] for both in excesses]) for kind in range(2)
    )
    return MassShare(
        _interval(shares), chance, excess, by_frequency, more_than_frequent
    )


def _parallelism(rows) -> Parallelism:
    cumulated = np.array(
        [np.cumsum(_best(row.values[row.groups["frontier"]])) for row in rows]
    ).T
    gaps, uniform = [], []
    for row, (best, _, best_three) in zip(rows, cumulated.T):
        nodes = row.groups["frontier"]
        whole = float(row.values[nodes].sum())
        if len(nodes) > 1 and whole:
            gaps.append(float(best_three - best) / whole)
            uniform.append((min(len(nodes), TOP) - 1) / len(nodes))
    return Parallelism(
        np.sort(cumulated, axis=1),
        tuple(mean_interval(curve.tolist()) for curve in cumulated),
        mean_interval((cumulated[-1] - cumulated[0]).tolist()),
        _interval(gaps),
        float(np.mean(uniform)) if uniform else math.nan,
    )


def _best(values) -> np.ndarray:
    """Returns the greatest values, and 0 for those that are missing."""
    best = np.zeros(TOP)
    greatest = np.sort(values)[::-1][:TOP]
    best[: len(greatest)] = greatest
    return best


def _heights(rows, kind) -> tuple[HeightValue, ...]:
    """Returns the mean values of the frontier's nodes by their height."""
    found: dict[tuple[int, bool], dict[int, list[float]]] = {}
    for number, row in enumerate(rows):
        heights, reaching = row.table.heights[kind], row.table.reaching
        for node in row.frontier:
            if node in heights:
                key = heights[node], node in reaching
                own = found.setdefault(key, {}).setdefault(number, [])
                own.append(row.values[node])

    def pooled(*key):
        return pool([np.array(own) for own in found.get(key, {}).values()])

    return tuple(
        HeightValue(height, pooled(height, True), pooled(height, False))
        for height in sorted({height for height, _ in found})
    )


def _interval(values) -> Interval:
    return mean_interval(values) if values else Interval(math.nan, math.nan)
