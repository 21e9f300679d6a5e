"""The pictures of a report, as data inside the page. Needs matplotlib."""

import base64
import io
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from keras_coconut import analysis
from keras_coconut.report import words
from keras_coconut.report.sections import Section

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Pixels that a browser gives to an inch.
_PER_INCH = 96


class Picture(NamedTuple):
    """A picture as a data URI, its width in pixels, and what it shows.

    `caption` stands below it, `alt` in its place where it cannot be seen.
    """

    uri: str
    width: int
    alt: str
    caption: str


def pictures_of(
    name: str, sections: Mapping[str, Section], problems
) -> list[Picture]:
    """Returns the pictures of a section.

    Args:
        name: string, the section's name.
        sections: dictionary of all sections.
        problems: list of the problems of the costly parts.
    """
    if name not in _DRAWN:
        return []
    return [_encode(*drawn) for drawn in _DRAWN[name](sections, problems)]


def _encode(figure: "Figure", alt: str, caption: str = "") -> Picture:
    """Returns a figure as SVG, the same for the same figures."""
    import matplotlib

    file = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "report card"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    text = base64.b64encode(file.getvalue()).decode()
    width = round(figure.get_figwidth() * _PER_INCH)
    return Picture(f"data:image/svg+xml;base64,{text}", width, alt, caption)


def _controls(sections, problems) -> Iterator:
    answers = sections["answers"].result
    for name, found in sections["controls"].result.items():
        if found:
            shares = ", ".join(
                f"{control} {each.accuracy:.0%}"
                for control, each in found.items()
            )
            whose = "the model" if name == "model" else "the control model"
            yield (
                analysis.plot_controls(answers[name], found),
                f"Bars with intervals, accuracy of {whose}: own thoughts "
                f"{answers[name].accuracy:.0%}, {shares}.",
                f"T{whose[1:]}",
            )


def _budget(sections, problems) -> Iterator:
    budget = sections["budget"].result
    shares = ", ".join(
        f"{each.num_thoughts}: {each.accuracy.share:.0%}"
        for each in budget.forced
    )
    yield (
        analysis.plot_thought_budget(budget),
        f"Curves, accuracy by the number of thoughts: {shares}.",
    )


def _geometry(sections, problems) -> Iterator:
    geometry = sections["geometry"].result
    yield (
        analysis.plot_geometry(geometry),
        "Curves by thought: lengths, cosines and ranks of the thoughts beside "
        "those of noise. The table has the figures.",
    )


def _probes(sections, problems) -> Iterator:
    yield (
        analysis.plot_probes(sections["probes"].result),
        "Accuracy of the probe of each step from each thought. The table has "
        "the figures.",
    )


def _tree(sections, problems) -> Iterator:
    tree = sections["tree"].result
    graphs = [each for each in problems if "idx_to_symbol" in each.extra]
    yield (
        analysis.plot_search_tree(tree, graphs, index=0),
        f"The graph of the problem {graphs[0].question} with the value of "
        f"each node and the path to the answer, {graphs[0].answer}.",
    )
    levels = [level for level in tree.levels if level.frontier_mass]
    if not levels:
        return
    shares = ", ".join(
        f"{level.num_thoughts}: {level.frontier_mass.frontier.share.mean:.0%} "
        f"(chance {level.frontier_mass.frontier.chance:.0%})"
        for level in levels
    )
    yield (
        analysis.plot_frontier_mass(tree),
        "Share of the nodes' value on the frontier, by the number of "
        f"thoughts: {shares}.",
    )
    yield (
        analysis.plot_parallelism(tree),
        "Curves over the problems: value of the best, the best two and the "
        "best three nodes of the frontier.",
    )


def _superposition(sections, problems) -> Iterator:
    found = sections["superposition"].result
    if any(found.attention) or any(found.inner_products):
        yield (
            analysis.plot_groups(found),
            "Attention and inner products by group of nodes, for each "
            "thought. The tables have the figures.",
        )


def _counterfactuals(sections, problems) -> Iterator:
    found = sections["counterfactuals"].result
    yield (
        analysis.plot_counterfactuals(found),
        "Bars with intervals: right before the change "
        f"{words.share(found.accuracy)}, after it "
        f"{words.share(found.changed_accuracy)}.",
    )


def _minimal_pairs(sections, problems) -> Iterator:
    found = sections["minimal_pairs"].result
    if found.all_thoughts is not None:
        yield (
            analysis.plot_minimal_pairs(found),
            "Bars with intervals: the answer is that of the question whose "
            f"thoughts it gets in {words.share(found.all_thoughts.donor)} of "
            "pairs; by single thoughts in the table.",
        )


_DRAWN = {
    "controls": _controls,
    "budget": _budget,
    "geometry": _geometry,
    "probes": _probes,
    "tree": _tree,
    "superposition": _superposition,
    "counterfactuals": _counterfactuals,
    "minimal_pairs": _minimal_pairs,
}
