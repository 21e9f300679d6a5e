"""Long and odd values for the analysis of searches in graphs.

Which values are wrong for their own sake, the tests of each module say.
"""

import bad_values as bad
import numpy as np
import pytest
import tiny
from bad_values import Call, given

from keras_coconut.analysis.search.node_values import SYMBOLS, StepText
from keras_coconut.analysis.search.search_tree import search_tree
from keras_coconut.analysis.search.superposition import superposition

pytestmark = pytest.mark.any_backend

# Whatever has no graph, too.
NO_GRAPHS = (*bad.NO_PROBLEMS, tiny.problems(1))
NO_TEMPLATE = (*bad.NO_TEXT, "", "{start}", "{end}{end}", "{end}{start}")


@pytest.fixture(autouse=True, scope="module")
def made_once():
    """Not under a session that ends with the first test."""
    bad.setting()


def measuring(s):
    return dict(model=s.model, problems=[tiny.edge_problem()], verbose=0)


MEASURED = dict(
    model=bad.NO_INSTANCE,
    problems=NO_GRAPHS,
    control=given(bad.NO_INSTANCE),
    visits=bad.NO_CHOICE,
    batch_size=bad.NO_COUNT_FROM_1,
    verbose=bad.NO_VERBOSE,
)
TABLE = {
    "search_tree": Call(
        lambda s: search_tree,
        lambda s: {**measuring(s), "num_thoughts": [0, 1]},
        dict(
            MEASURED,
            num_thoughts=[
                *(3, "012", [], [0, 0], [[0]], [-1], [1.0], ["1"], [65]),
                *({1: 2}, [bad.INTEGER], [bad.TEXT], *bad.OBJECTS[1:-1]),
                range(10**6),
            ],
            step_text=given(bad.NO_INSTANCE),
        ),
        dict(
            num_thoughts=[None, (np.int64(1),), range(2)],
            step_text=[SYMBOLS],
            visits=["first", "all"],
        ),
        # Whatever is too many is the problem's and not the number's.
        dict(num_thoughts="`num_thoughts|must fit"),
    ),
    "superposition": Call(
        lambda s: superposition,
        lambda s: {**measuring(s), "num_thoughts": 1},
        dict(
            MEASURED,
            num_thoughts=(*given(bad.NO_COUNT), 65),
            layer=(*given(bad.NO_SMALL_COUNT), 1),
        ),
        dict(
            num_thoughts=[None, 0, np.int64(1)],
            layer=[None, np.int64(0)],
            visits=["first", "all"],
        ),
        dict(num_thoughts="`num_thoughts|must fit"),
    ),
    "StepText": Call(
        lambda s: StepText,
        lambda s: dict(template="{start} {end}"),
        dict(
            template=NO_TEMPLATE,
            first=NO_TEMPLATE,
            place=bad.NO_CHOICE,
        ),
        dict(first=["{end}"], place=["start", "end"]),
    ),
    "StepText.depth": Call(
        lambda s: StepText().depth,
        lambda s: dict(num_thoughts=1),
        dict(num_thoughts=bad.NO_COUNT),
        dict(num_thoughts=[0, np.int64(2)]),
    ),
    "ContinuousThoughtLM.score_continuations": Call(
        lambda s: s.model.score_continuations,
        lambda s: dict(
            questions=["1?", "2?", "3?"],
            continuations=[["1"], ["2", "3"], ["4"]],
            num_thoughts=1,
        ),
        dict(
            questions=[q for q in bad.NO_QUESTIONS if np.shape(q) != (2,)],
            continuations=[
                *(3, "abc", [], [["1"]], [["1"], ["2"], []], {1: 2}),
                *([["1"], ["2"], [3]], [["1"], ["2"], [" "]], ["1", "2", "3"]),
                *([["1"], ["2"], [bad.HALF]], [["1"], ["2"], None]),
                *(bad.INTEGER, *bad.OBJECTS),
            ],
            num_thoughts=(*bad.NO_COUNTS, 65),
            prompts=[
                *(3, True, [], ["a"], ["a", "b", 3], ["a", "b", bad.HALF]),
                *(["a", "b", None], bad.HALF, bad.INTEGER, *bad.OBJECTS[1:-1]),
            ],
            batch_size=bad.NO_COUNT_FROM_1,
        ),
        dict(
            prompts=[None, "", "### ", ["", "a", "b"]],
            num_thoughts=[None, [0, 1, 2]],
            continuations=[(("1",), ["2"], np.array(["4"]).tolist())],
        ),
        # A number of questions may be wrong for what belongs to them.
        dict(questions="`questions|`continuations|`num_thoughts"),
    ),
}


@pytest.mark.parametrize("call", bad.calls(TABLE))
def test_good_arguments(call):
    bad.check_good(call)


@pytest.mark.parametrize(("call", "name"), bad.rows(TABLE))
def test_bad_arguments(call, name):
    bad.check_bad(call, name)
