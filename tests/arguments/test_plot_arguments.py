"""Long and odd values for the plots of results."""

import functools
import tempfile

import bad_values as bad
import made_results as made
import numpy as np
import pytest
import tiny
from bad_values import Call, given

from keras_coconut.analysis import plots

pytestmark = pytest.mark.any_backend

_FOLDER = tempfile.TemporaryDirectory()
FOLDER = _FOLDER.name
# Whose fields are wrong, too.
NO_EVALUATIONS = (
    *bad.NO_INSTANCE[:2],
    *([], [("a", made.evaluation(0.5))], bad.INTEGER, *bad.OBJECTS[:3]),
    *({"a": 3}, {"a": bad.TEXT}, {"a": bad.INTEGER}, {3: made.evaluation(0.5)}),
    *({"": made.evaluation(0.5)}, {bad.TEXT: 3}, {"a": {}}, bad.ARRAY),
)
OUTPUT = dict(path=(*given(bad.NO_PATH), "a.nope"), width=bad.NO_CHOICE)
ALSO = dict(width=["page"])


@pytest.fixture(autouse=True, scope="module")
def made_once():
    """Not under a session that ends with the first test."""
    bad.setting()


def of_result(plot, name, make, **others):
    """The row of a plot of one result."""
    make = functools.cache(make)
    return Call(
        lambda s: plot,
        lambda s: {name: make(), "path": f"{FOLDER}/a.svg", "width": "column"},
        {name: bad.NO_INSTANCE, **OUTPUT, **others},
        ALSO,
    )


tree = functools.partial(made.tree, (1,), control=False)
TABLE = {
    "plot_controls": Call(
        lambda s: plots.plot_controls,
        lambda s: dict(
            evaluation=made.evaluation(0.5),
            controls={"none": made.evaluation(0.1)},
            path=f"{FOLDER}/a.png",
        ),
        dict(
            evaluation=bad.NO_INSTANCE,
            controls=(*NO_EVALUATIONS, {"a": made.evaluation(0.5, count=3)}),
            **OUTPUT,
        ),
        dict(controls=[{}], **ALSO),
    ),
    "plot_counterfactuals": of_result(
        plots.plot_counterfactuals, "found", made.counterfactuals
    ),
    "plot_frontier_mass": of_result(plots.plot_frontier_mass, "tree", tree),
    "plot_geometry": of_result(plots.plot_geometry, "geometry", made.geometry),
    "plot_groups": of_result(
        plots.plot_groups, "superposition", made.superposition
    ),
    "plot_minimal_pairs": of_result(
        plots.plot_minimal_pairs, "found", made.minimal_pairs
    ),
    "plot_parallelism": of_result(plots.plot_parallelism, "tree", tree),
    "plot_probes": of_result(
        plots.plot_probes,
        "probes",
        made.probes,
        layer=(*given(bad.NO_SMALL_COUNT), 1),
    ),
    "plot_search_tree": Call(
        lambda s: plots.plot_search_tree,
        lambda s: dict(
            tree=tree(), problems=made.problems(), path=f"{FOLDER}/a.png"
        ),
        dict(
            tree=bad.NO_INSTANCE,
            problems=(
                *(*bad.NO_PROBLEMS, tiny.problems(1)),
                made.problems()[:1],
            ),
            index=(*bad.NO_SMALL_COUNT, 30),
            **OUTPUT,
        ),
        dict(index=[np.int64(1)], width=["column"]),
    ),
    "plot_thought_budget": of_result(
        plots.plot_thought_budget, "budget", made.budget
    ),
    "plot_tokens": Call(
        lambda s: plots.plot_tokens,
        lambda s: dict(results=made.methods(), path=f"{FOLDER}/a.png"),
        dict(
            results=(
                *(*NO_EVALUATIONS, {}, {"a": []}, {"a": [3]}),
                {"a": [made.evaluation(0.5), None]},
            ),
            **OUTPUT,
        ),
        ALSO,
    ),
}


@pytest.mark.parametrize("call", bad.calls(TABLE))
def test_good_arguments(call):
    bad.check_good(call)


@pytest.mark.parametrize(("call", "name"), bad.rows(TABLE))
def test_bad_arguments(call, name):
    bad.check_bad(call, name)


@pytest.mark.parametrize("length", [600, 5_000, 10**6])
def test_a_long_path(length, tmp_path):
    # Under a file, so that no folder can be made.
    file = tmp_path / "file"
    file.touch()
    path = f"{file}{'/a' * (length // 2)}"
    bad.check_long_path(TABLE["plot_controls"], "path", path)
