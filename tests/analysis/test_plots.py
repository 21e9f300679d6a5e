"""Plots: what they draw, that nothing overlaps, and that all can be read."""

import dataclasses
import functools
import io
import itertools
import math
import sys

import made_results as made
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.text import Text

from keras_coconut import Interval, Share
from keras_coconut.analysis import plots
from keras_coconut.analysis.plots import intervals, style
from keras_coconut.analysis.plots.graph_layout import lay_out
from keras_coconut.analysis.plots.tree import plot_search_tree
from keras_coconut.analysis.search.graph_nodes import group_nodes
from keras_coconut.graphs import ProblemGraph, distances_from, read_graph

pytestmark = pytest.mark.any_backend

INCHES = {"column": 3.3, "page": 6.9}


def controls(control=True, **options):
    found = made.controls() if control else {}
    return plots.plot_controls(made.evaluation(0.945), found, **options)


def methods(control=True, **options):
    return plots.plot_tokens(made.methods(), **options)


def stages(control=True, width="page"):
    return plots.plot_stages(made.history(), width=width, title="Coconut")


def search_tree(control=True, **options):
    tree = made.tree((0, 2), control)
    return plot_search_tree(tree, made.problems(), index=2, **options)


def of(plot, result, **chosen):
    def draw(control=True, **options):
        return plot(result(control=control, **chosen), **options)

    return draw


# By name, whether there is a control to draw.
PLOTS = {
    "controls": controls,
    "counterfactuals": of(plots.plot_counterfactuals, made.counterfactuals),
    "frontier_mass": of(plots.plot_frontier_mass, made.tree),
    "geometry": of(plots.plot_geometry, made.geometry),
    "groups": of(plots.plot_groups, made.superposition),
    "minimal_pairs": of(plots.plot_minimal_pairs, made.minimal_pairs),
    "parallelism": of(plots.plot_parallelism, made.tree),
    "probes": of(plots.plot_probes, made.probes),
    "search_tree": search_tree,
    "stages": stages,
    "thought_budget": of(plots.plot_thought_budget, made.budget),
    "tokens": methods,
}


@functools.cache
def drawn(name, control=True, width="page") -> Figure:
    """A plot, for several tests to look at."""
    return PLOTS[name](control=control, width=width)


# === What can be read ===


def drawn_texts(figure, monkeypatch) -> list[tuple]:
    """The texts that are drawn, with their boxes in pixels."""
    texts = []
    draw = Text.draw

    def watched(text, renderer):
        if text.get_visible() and text.get_text().strip():
            texts.append(text)
        return draw(text, renderer)

    # Of numbers on an axis there are some that are never drawn.
    with monkeypatch.context() as patch:
        patch.setattr(Text, "draw", watched)
        figure.draw_without_rendering()  # The layout.
        texts.clear()
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
    renderer = canvas.get_renderer()
    return [(text, text.get_window_extent(renderer)) for text in texts]


def overlapping(texts) -> list[tuple[str, str]]:
    return [
        (one.get_text(), other.get_text())
        for (one, box), (other, others) in itertools.combinations(texts, 2)
        if box.x0 < others.x1 - 1
        and others.x0 < box.x1 - 1
        and box.y0 < others.y1 - 1
        and others.y0 < box.y1 - 1
    ]


def check_readable(figure, monkeypatch):
    texts = drawn_texts(figure, monkeypatch)
    assert overlapping(texts) == []
    for text, box in texts:
        assert text.get_fontsize() >= 8, text
        # A pixel is less than a point.
        assert box.x0 >= -1 and box.x1 <= figure.bbox.width + 1, text
        assert box.y0 >= -1 and box.y1 <= figure.bbox.height + 1, text
    return [text.get_text() for text, _ in texts]


@pytest.mark.parametrize("width", INCHES)
@pytest.mark.parametrize("name", PLOTS)
def test_all_labels_can_be_read(name, width, monkeypatch):
    figure = drawn(name, width=width)
    assert isinstance(figure, Figure)
    assert figure.get_figwidth() == INCHES[width]
    texts = check_readable(figure, monkeypatch)
    assert len(texts) > 8


def test_overlaps_are_found(monkeypatch):
    figure = Figure(figsize=(3, 1))
    for x in (0.1, 0.2):
        figure.text(x, 0.5, f"a label at {x}")
    texts = drawn_texts(figure, monkeypatch)
    assert overlapping(texts) == [("a label at 0.1", "a label at 0.2")]


def luminance(color):
    return np.dot(to_rgb(color), (0.299, 0.587, 0.114))


def test_looks_differ_in_grey():
    """By lightness, or else by marker and hatch."""
    for one, other in itertools.combinations(style.SERIES, 2):
        assert one.marker != other.marker
        assert one[2:] != other[2:]
    grey = [luminance(look.color) for look in (style.MODEL, style.CONTROL)]
    assert abs(grey[0] - grey[1]) > 0.2
    assert style.MODEL.hatch != style.CONTROL.hatch != style.NULL.hatch


# === Intervals and controls ===


def drawn_intervals(figure) -> set[tuple[float, float]]:
    """The ends of all error bars."""
    found = set()
    for axes in figure.axes:
        for bars in axes.containers:
            if isinstance(bars, ErrorbarContainer):
                for lines in bars[2]:
                    for segment in lines.get_segments():
                        # Of what is missing there is nothing.
                        if len(segment) < 2:
                            continue
                        start, end = segment
                        along = int(start[0] == end[0])
                        found.add((start[along], end[along]))
    return {(round(low, 3), round(high, 3)) for low, high in found}


def ends(found, scale=1.0):
    if isinstance(found, Share):
        low, high = found.low, found.high
    else:
        low, high = found.mean - found.margin, found.mean + found.margin
    return round(scale * low, 3), round(scale * high, 3)


def expected_intervals(name):
    """Some of each kind, of the model and of the control."""
    if name == "controls":
        return [
            ends(each.interval, 100)
            for each in (made.evaluation(0.945), *made.controls().values())
        ]
    if name == "tokens":
        one = made.methods()["icot"].interval
        # 0.9, 0.99: the quantile of one degree of freedom is 12.706.
        return [ends(one, 100), (round(94.5 - 12.7062 * 4.5, 3), 151.678)]
    if name == "counterfactuals":
        found = made.counterfactuals()
        both = (found, found.control)
        return [
            ends(share, 100)
            for each in both
            for share in (each.accuracy, each.following, each.false_following)
        ]
    if name == "minimal_pairs":
        found = made.minimal_pairs()
        return [
            ends(swap.donor, 100)
            for each in (found, found.control)
            for swap in (each.no_swap, each.all_thoughts, *each.each_thought)
        ]
    if name == "frontier_mass":
        found = made.tree()
        return [
            ends(getattr(level.frontier_mass, group).share, 100)
            for each in (found, found.control)
            for level in each.levels
            for group in ("frontier", "within", "beyond", "unreachable")
        ]
    if name == "parallelism":
        found = made.tree()
        return [
            ends(mean, 100)
            for each in (found, found.control)
            for level in each.levels
            for mean in level.parallelism.means
        ]
    if name == "geometry":
        found = made.geometry()
        return [
            ends(getattr(vectors.slots[0], figure))
            for vectors in (found.thoughts, found.noise, found.control.thoughts)
            for figure in ("norm", "to_next", "across_problems")
        ]
    if name == "groups":
        found = made.superposition()
        return [
            ends(mean)
            for each in (found, found.control)
            for mean in (*each.attention[0], *each.inner_products[3])
        ]
    found = made.budget()
    return [
        ends(share, 100)
        for each in (found, found.control)
        for share in (
            each.forced[2].accuracy,
            each.first_match.shares[1],
            each.stable_match.shares[1],
        )
    ] + [ends(found.first_match.mean), ends(found.stable_match.mean)]


@pytest.mark.parametrize(
    "name", [n for n in PLOTS if n not in ("probes", "search_tree", "stages")]
)
def test_intervals_are_drawn(name):
    found = drawn_intervals(drawn(name))
    missing = [
        (low, high)
        for low, high in expected_intervals(name)
        if not any(
            abs(low - a) < 0.002 and abs(high - b) < 0.002 for a, b in found
        )
    ]
    assert missing == []


def cells(figure):
    return [[text.get_text() for text in axes.texts] for axes in figure.axes]


def test_probes_are_numbers_with_their_intervals():
    found = made.probes(slots=2, steps=2)
    model, control, null, _ = cells(plots.plot_probes(found))
    share = found.thoughts[0][0].accuracy
    half = 100 * (share.high - share.low) / 2
    assert model[0] == f"93*\n±{half:.0f}"
    # That of the first thought for the last step is missing.
    assert [text.partition("\n")[0] for text in model] == ["93*", "73", "93*"]
    assert [text.partition("\n")[0] for text in control] == ["35", "15", "35"]
    # The better one of both.
    assert [text.partition("\n")[0] for text in null] == ["12"] * 3


def test_only_what_beats_both_nulls_has_a_star():
    """That a step gains more than others is little if it is at chance."""
    found = made.probes(2, 2, control=False)
    probe = found.thoughts[0][0]
    high = made.share(0.92)
    row = (
        probe,
        dataclasses.replace(probe, majority=high),
        dataclasses.replace(probe, shuffled=high),
    )
    found = dataclasses.replace(found, thoughts=(row,))
    model, *_ = cells(plots.plot_probes(found))
    texts = [text.partition("\n")[0] for text in model]
    assert texts == ["93*", "93", "93"]


def test_probes_of_a_layer():
    found = made.probes(slots=2, steps=2)
    other = tuple(tuple(slot[:1]) for slot in found.thoughts)
    found = dataclasses.replace(found, layers={1: other}, control=None)
    assert len(cells(plots.plot_probes(found, layer=1))[0]) == 2
    with pytest.raises(ValueError, match=r"`layer` must be one of .* \[1\]"):
        plots.plot_probes(found, layer=0)


def labels(figure):
    """The texts of titles and legends."""
    found = [axes.get_title() for axes in figure.axes]
    for legend in figure.legends:
        found += [text.get_text() for text in legend.get_texts()]
    return found


@pytest.mark.parametrize(
    "name", [n for n in PLOTS if n not in ("controls", "tokens", "stages")]
)
def test_the_control_is_named_where_there_is_one(name):
    both, alone = drawn(name), drawn(name, control=False)
    assert any("control" in text for text in labels(both))
    assert not any("control" in text for text in labels(alone))
    assert len(drawn_intervals(both)) >= len(drawn_intervals(alone))


def test_a_control_that_pauses_has_accuracies_alone(monkeypatch):
    found = made.minimal_pairs(pauses=True)
    figure = plots.plot_minimal_pairs(found)
    check_readable(figure, monkeypatch)
    above, below = figure.axes
    assert len(above.patches) == 4
    bars = [bar for bar in below.patches if not math.isnan(bar.get_width())]
    assert len(bars) == 9  # The model's.
    figure = plots.plot_minimal_pairs(
        dataclasses.replace(found.control, control=None)
    )
    assert len(figure.axes) == 1


def test_nothing_right_is_nothing_to_follow():
    found = dataclasses.replace(
        made.counterfactuals(control=False),
        following=None,
        staying=None,
        false_following=None,
        decoy_following=None,
    )
    assert len(plots.plot_counterfactuals(found).axes) == 1


# === Budget, tokens, controls, stages ===


def test_classes_are_stacked_to_the_top():
    figure = plots.plot_thought_budget(made.budget(control=False))
    bars = figure.axes[1].patches
    tops = {}
    for bar in bars:
        place = round(bar.get_x(), 6)
        top = bar.get_y() + bar.get_height()
        tops[place] = max(tops.get(place, 0), top)
    np.testing.assert_allclose(list(tops.values()), 100, atol=1)


def test_a_budget_without_graphs(monkeypatch):
    budget = made.budget(counts=(0, 2, 6), classes=False)
    figure = plots.plot_thought_budget(budget, width="column")
    texts = check_readable(figure, monkeypatch)
    assert len(figure.axes) == 3
    assert "hallucination" not in texts
    # Bars stand side by side, whatever their numbers of thoughts.
    mean, margin = budget.stable_match.mean
    low, high = np.interp([mean - margin, mean + margin], [0, 2, 6], range(3))
    assert (round(low, 3), round(high, 3)) in drawn_intervals(figure)
    # The axis ends with the shares; what is above it is in the legend.
    assert figure.axes[2].spines["left"].get_bounds() == (0, 100)
    assert {"first match, mean", "stable match, mean"} <= set(texts)


def test_many_methods_with_long_names(monkeypatch):
    found = {f"method {number} " + "x" * 40: made.evaluation(0.5 + number / 30)
             for number in range(12)}  # fmt: skip
    figure = plots.plot_tokens(found)
    check_readable(figure, monkeypatch)
    (axes,) = figure.axes
    looks = {
        (bars[0].get_color(), bars[0].get_marker()) for bars in axes.containers
    }
    assert len(looks) == 12


def test_every_seed_is_a_dot():
    (axes,) = plots.plot_tokens({"a": made.methods()["cot"]}).axes
    (dots,) = [line for line in axes.lines if line.get_marker() == "."]
    np.testing.assert_allclose(dots.get_ydata(), [76, 79, 77.5])


def test_controls_of_other_names(monkeypatch):
    own = made.evaluation(1.0)
    found = {"none": made.evaluation(0.0), "a b\nc" + "x" * 99: own}
    texts = check_readable(plots.plot_controls(own, found), monkeypatch)
    assert {"no thoughts", "0.0%", "100.0%"} < set(texts)
    assert any(text.startswith("a b cxx") for text in texts)


def test_controls_of_other_problems():
    own, other = made.evaluation(1.0), made.evaluation(1.0, count=3)
    with pytest.raises(ValueError, match="must be of the same 200 problems"):
        plots.plot_controls(own, {"none": other})


@pytest.mark.parametrize(
    ("epochs", "length", "named"), [(8, 4, True), (60, 5, False), (50, 1, None)]
)
@pytest.mark.parametrize("width", INCHES)
def test_stages_of_any_length(epochs, length, named, width, monkeypatch):
    figure = plots.plot_stages(made.history(epochs, length), width=width)
    texts = check_readable(figure, monkeypatch)
    if named is not None:
        assert ("stage 0\n0 thoughts" in texts) is named
        assert ("0\n0" in texts) is not named
    left, right = figure.axes
    assert len(left.lines[0].get_xdata()) == epochs
    assert right.get_ylim()[1] > 100


# === The search tree ===


def graph_of(edges, target=2, neg_target=None, count=5):
    nodes = {f"n{number}": number for number in range(count)}
    return ProblemGraph(nodes, edges, 0, target, neg_target)


def test_the_layout_of_a_small_graph():
    graph = graph_of([(0, 1), (1, 2), (0, 3)], neg_target=4)
    found = lay_out(graph)
    assert found.depths == {0: 0, 1: 1, 2: 2, 3: 1}
    columns = {node: column for node, (column, _) in found.places.items()}
    assert columns == {0: 0, 1: 1, 3: 1, 2: 2, 4: 3}
    assert sorted(found.named) == [0, 1, 2, 3, 4]
    assert found.columns == 3


def test_edges_do_not_cross_without_need():
    # The children of the first node come after those of the second.
    edges = [(0, 1), (0, 2), (2, 3), (1, 4)]
    found = lay_out(graph_of(edges)).places
    assert (found[1][1] < found[2][1]) == (found[4][1] < found[3][1])


def test_neighbouring_columns_have_other_rows():
    for problem in made.problems()[:10]:
        graph = read_graph("problem", problem)
        found = lay_out(graph)
        assert set(found.places) == set(graph.nodes.values())
        assert len(set(found.places.values())) == len(graph.nodes)
        depths = distances_from(graph.root, graph.edges)
        for node, depth in depths.items():
            column, row = found.places[node]
            assert column == depth
            assert row % 1 == (0.5 if depth % 2 else 0)


def node_lines(axes):
    """By place, what is drawn for each node."""
    return {
        (line.get_xdata()[0], line.get_ydata()[0]): line
        for line in axes.lines
        if len(line.get_xdata()) == 1
    }


def test_nodes_are_as_large_as_their_values():
    tree, problem = made.tree((1,), control=False), made.problems()[4]
    (axes,) = plot_search_tree(tree, made.problems(), index=4).axes
    graph = read_graph("problem", problem)
    layout = lay_out(graph)
    found = node_lines(axes)
    assert set(found) == set(layout.places.values())
    values = tree.values[4][0]
    nodes = sorted(layout.places, key=lambda node: values[node])
    sizes = [found[layout.places[node]].get_markersize() for node in nodes]
    assert sizes == sorted(sizes) and sizes[-1] > 1.5 * sizes[0]
    depths = distances_from(graph.root, graph.edges)
    for node, place in layout.places.items():
        color = found[place].get_color()
        assert (color == style.MODEL.color) == (depths.get(node) == 1)
    marks = {node: found[p].get_marker() for node, p in layout.places.items()}
    assert marks[graph.root] == ">"
    assert marks[graph.target] == "D"
    assert marks[graph.neg_target] == "s"
    texts = [text.get_text() for text in axes.texts]
    best = max(graph.nodes.values(), key=lambda node: values[node])
    name = next(name for name, number in graph.nodes.items() if number == best)
    assert f"{name} {values[best]:.0%}" in texts


def test_the_frontier_is_that_of_the_tree():
    """After all walks of two steps, more nodes than after shortest ones."""
    problems = made.problems()
    tree = dataclasses.replace(made.tree((2,), control=False), visits="all")
    graphs = [read_graph("problem", problem) for problem in problems]
    index, graph, walked = next(
        (index, graph, walked)
        for index, graph in enumerate(graphs)
        for walked in [group_nodes(graph, 2, visits="all").frontier]
        if walked != group_nodes(graph, 2).frontier
        and distances_from(graph.root, graph.edges)[graph.target] > 1
    )
    (axes,) = plot_search_tree(tree, problems, index=index).axes
    found = node_lines(axes)
    dark = {
        node
        for node, place in lay_out(graph).places.items()
        if found[place].get_color() == style.MODEL.color
    }
    assert dark == walked


def test_the_right_path_is_marked():
    problems = made.problems()
    tree = made.tree((1,), control=False)
    (axes,) = plot_search_tree(tree, problems, index=1).axes
    graph = read_graph("problem", problems[1])
    places = lay_out(graph).places
    thick = {
        tuple(zip(*line.get_data()))
        for line in axes.lines
        if len(line.get_xdata()) == 2 and line.get_linewidth() > 1
    }
    depths = distances_from(graph.root, graph.edges)
    back = distances_from(graph.target, [(b, a) for a, b in graph.edges])
    length = depths[graph.target]
    right = {
        (places[a], places[b])
        for a, b in graph.edges
        if a in depths and b in back and depths[a] + 1 + back[b] == length
    }
    assert thick == right


def test_thoughts_beyond_the_solution_are_left_out():
    problems = made.problems()
    tree = made.tree((0, 3, 9), control=False)
    assert len(plot_search_tree(tree, problems).axes) == 2
    # Unless there are no others.
    tree = made.tree((9,), control=False)
    assert len(plot_search_tree(tree, problems).axes) == 1
    for plot in (plots.plot_parallelism, plots.plot_frontier_mass):
        with pytest.raises(ValueError, match="a level in which problems"):
            plot(tree)


def test_a_tree_of_other_problems():
    tree, problems = made.tree((1,)), made.problems()
    for others in (problems[:3], problems[::-1]):
        with pytest.raises(ValueError, match="`problems` must be those"):
            plot_search_tree(tree, others)
    with pytest.raises(ValueError, match="from 0 to 29"):
        plot_search_tree(tree, problems, index=30)


def test_long_names_are_shortened(monkeypatch):
    problem = made.problems()[0]
    names = problem.extra["idx_to_symbol"]
    symbols = [f"{name} and so on and on" for name in names]
    problem = dataclasses.replace(
        problem, extra={**problem.extra, "idx_to_symbol": symbols}
    )
    tree = made.tree((1,), control=False)
    tree = dataclasses.replace(tree, values=tree.values[:1])
    figure = plot_search_tree(tree, [problem], width="column")
    texts = check_readable(figure, monkeypatch)
    assert any("…" in text and text.endswith("%") for text in texts)


# === Whatever is missing ===


def test_missing_figures_leave_gaps():
    lines = intervals.spreads(
        [None, Interval(0.5, math.nan), made.share(0.0)], 100
    )
    assert np.isnan(lines[:, 0]).all()
    np.testing.assert_allclose(lines[:, 1], [50, np.nan, np.nan])
    assert lines[0, 2] == lines[1, 2] == 0 and lines[2, 2] > 0


def test_groups_that_no_problem_has(monkeypatch):
    found = made.superposition(control=False)
    none = dataclasses.replace(found, attention=(None,), inner_products=())
    check_readable(plots.plot_groups(none), monkeypatch)
    attention, products = plots.plot_groups(found).axes
    # Thoughts have the same number in both.
    names = [
        [text.get_text() for text in axes.get_xticklabels()]
        for axes in (attention, products)
    ]
    assert names == [["question", "1", "2", "3"], ["1", "2", "3", "4"]]


def test_attention_of_other_heads_is_the_mean():
    found = made.superposition()

    def with_heads(one, heads):
        per_head = tuple(
            entry
            and type(entry)(
                *(own._replace(mean=own.mean / heads) for own in entry)
            )
            for entry in one.attention
        )
        return dataclasses.replace(
            one, num_heads=heads, attention_per_head=per_head
        )

    for heads, label in ((8, "attention to edges"), (4, "attention per head")):
        drawn = dataclasses.replace(
            with_heads(found, 8), control=with_heads(found.control, heads)
        )
        axes = plots.plot_groups(drawn).axes[0]
        assert axes.get_ylabel() == label
        (line,) = {
            tuple(np.round(container.lines[0].get_ydata(), 6))
            for container in axes.containers[:1]
        }
        scale = 1 if heads == 8 else 8
        assert line[0] == pytest.approx(2.54 / scale, abs=1e-5)


def test_one_slot_and_one_problem(monkeypatch):
    found = made.geometry(slots=1, control=False)
    check_readable(plots.plot_geometry(found), monkeypatch)
    tree = made.tree((0,), control=False)
    check_readable(plots.plot_parallelism(tree), monkeypatch)
    for size in (1, 12):
        found = made.probes(size, size + 1, control=False)
        check_readable(plots.plot_probes(found, width="column"), monkeypatch)


def test_small_values_are_seen():
    tree = made.tree((0,), control=False)
    tree = dataclasses.replace(
        tree,
        levels=(
            dataclasses.replace(
                tree.levels[0],
                parallelism=tree.levels[0].parallelism._replace(
                    curves=tree.levels[0].parallelism.curves / 100,
                    means=(Interval(0.001, 0.0005),) * 3,
                ),
            ),
        ),
    )
    (axes,) = plots.plot_parallelism(tree).axes
    assert axes.get_ylim()[1] < 2


def test_a_plot_needs_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.backend_bases", None)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        controls()


def test_a_plot_is_whole_or_stays_what_it_was(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_text("the old one")
    path.chmod(0o640)
    save = Figure.savefig

    def full(figure, file, **options):
        save(figure, file, **options)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Figure, "savefig", full)
        with pytest.raises(OSError, match="No space left"):
            controls(path=path)
    assert path.read_text() == "the old one"
    assert [each.name for each in tmp_path.iterdir()] == ["a.png"]
    controls(path=path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.stat().st_mode & 0o777 == 0o640
    # A file without a suffix is of matplotlib's own kind.
    controls(path=tmp_path / "b")
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "a.png",
        "b.png",
    ]


def test_a_plot_is_written_and_pyplot_knows_nothing_of_it(tmp_path):
    from matplotlib import _pylab_helpers, rcParams

    before = dict(rcParams)
    figure = controls(path=tmp_path / "a.pdf")
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")
    # Fonts that publishers take: of type 42.
    assert b"/Type3" not in (tmp_path / "a.pdf").read_bytes()
    assert dict(rcParams) == before
    assert not _pylab_helpers.Gcf.figs
    figure.savefig(tmp_path / "a.png", dpi=60)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_a_notebook_shows_a_figure():
    """As IPython asks for it, and as wide as it is on paper."""
    from matplotlib.image import imread

    figure = drawn("tokens", width="column")
    picture = imread(io.BytesIO(figure._repr_png_()), format="png")
    assert picture.shape[1] == pytest.approx(110 * 3.3, abs=1)
    assert 0.01 < (picture[..., :3].min(axis=-1) < 0.9).mean() < 0.9
