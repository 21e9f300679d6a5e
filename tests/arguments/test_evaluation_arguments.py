"""Long and odd values for the evaluation and the analysis.

Which values are wrong for their own sake, the tests of each module say.
"""

import dataclasses
import tempfile

import bad_values as bad
import numpy as np
import pytest
import tiny
from bad_values import Call, given, no_thoughts

from keras_coconut import Curriculum
from keras_coconut.analysis.causal.counterfactual_edges import (
    make_counterfactuals,
)
from keras_coconut.analysis.causal.edge_following import (
    evaluate_counterfactuals,
)
from keras_coconut.analysis.causal.minimal_pairs import make_minimal_pairs
from keras_coconut.analysis.causal.twin_thoughts import evaluate_minimal_pairs
from keras_coconut.analysis.monitoring.measurements import Measurements
from keras_coconut.analysis.plots import plot_stages
from keras_coconut.analysis.thoughts import decode_thoughts
from keras_coconut.evaluation.answer_accuracy import AnswerAccuracy
from keras_coconut.evaluation.controls import (
    evaluate_controls,
    replace_thoughts,
)
from keras_coconut.evaluation.problems import (
    Evaluation,
    evaluate_problems,
    extract_answer,
    normalize_answer,
)
from keras_coconut.evaluation.reasoning_paths import (
    classify_response,
    evaluate_reasoning,
)
from keras_coconut.evaluation.samples import (
    evaluate_samples,
    majority_vote,
    pass_at_k,
)
from keras_coconut.evaluation.statistics import (
    holm,
    mcnemar,
    mean_interval,
    share_interval,
)

pytestmark = pytest.mark.any_backend

PROBLEMS = [
    dataclasses.replace(problem, extra=tiny.GRAPH)
    for problem in tiny.problems(3)
]
EVALUATION = Evaluation(0.5, 0.0, 1.0, 0.1, ("7", "8"), (True, False))
# Of which there may be others, of another size.
NO_THOUGHTS = [
    v
    for v in no_thoughts(3, 2)
    if getattr(v, "shape", 0) not in ((3, 2, 17), (4, 2, 16))
]
HISTORY = {"loss": [1.0], "stage": [0], "thoughts": [0]}
NO_LISTS = (3, True, "abc", b"a", {}, [], bad.INTEGER, *bad.OBJECTS)
NO_FLAGS = (*NO_LISTS, [1], ["True"], [bad.TEXT], [bad.INTEGER])
NO_NUMBERS = (*NO_LISTS[:-2], [bad.INTEGER], [bad.TEXT], [np.nan], [[1]])


_FOLDER = tempfile.TemporaryDirectory()
FOLDER = _FOLDER.name


@pytest.fixture(autouse=True, scope="module")
def made_once():
    """Not under a session that ends with the first test."""
    bad.setting()


ANSWERING = Call(
    None,
    lambda s: dict(model=s.model, problems=PROBLEMS, max_length=1, verbose=0),
    dict(
        model=bad.NO_INSTANCE,
        problems=bad.NO_PROBLEMS,
        num_thoughts=(*bad.NO_COUNTS, 65),
        max_length=given(bad.NO_COUNT_FROM_1),
        batch_size=bad.NO_COUNT_FROM_1,
        verbose=bad.NO_VERBOSE,
    ),
    dict(verbose=[np.False_], batch_size=[np.int64(2)]),
)


def more(call, function, **bad_values):
    return call._replace(
        function=lambda s: function, bad={**call.bad, **bad_values}
    )


CAUSAL = Call(
    None,
    lambda s: dict(
        model=s.model,
        problems=[tiny.edge_problem()],
        max_length=1,
        verbose=0,
    ),
    {
        **ANSWERING.bad,
        "num_pairs": bad.NO_COUNT_FROM_1,
        "num_thoughts": (*given(bad.NO_COUNT), 65),
        "control": given(bad.NO_INSTANCE),
        "seed": bad.NO_COUNT,
    },
    dict(num_pairs=[np.int64(2)], num_thoughts=[np.int64(0)]),
)

TABLE = {
    "evaluate_problems": more(
        ANSWERING,
        evaluate_problems,
        thoughts=no_thoughts(3, 1),
        results_path=given(bad.NO_PATH),
    ),
    "evaluate_controls": more(
        ANSWERING,
        evaluate_controls,
        seed=bad.NO_COUNT,
        results_folder=given(bad.NO_PATH),
    ),
    "evaluate_reasoning": more(
        ANSWERING,
        evaluate_reasoning,
        num_thoughts=[
            *(3, "012", [], [0, 0], [[0]], [-1], [1.0], ["1"], [65], {1: 2}),
            *([bad.INTEGER], [bad.TEXT], *bad.OBJECTS[:-1], range(10**6)),
        ],
        results_folder=given(bad.NO_PATH),
    )._replace(
        good=lambda s: dict(ANSWERING.good(s), num_thoughts=[0, 1]),
        # Whatever is too many is the problem's and not the number's.
        named=dict(num_thoughts="`num_thoughts|must fit"),
    ),
    "evaluate_samples": more(
        ANSWERING,
        evaluate_samples,
        num_samples=bad.NO_COUNT_FROM_1,
        ks=[3, "12", [], [0], [3], [1.0], ["1"], {1: 2}, [bad.INTEGER]],
        seed=given(bad.NO_COUNT),
        thought_noise=[-0.5, 1e38, "1", None, [0.5], np.nan, np.inf, bad.ARRAY],
        thought_dropout=bad.NO_FLAG,
        results_path=given(bad.NO_PATH),
    )._replace(
        good=lambda s: dict(
            ANSWERING.good(s), num_samples=2, thought_noise=0.5, seed=0
        ),
    ),
    "majority_vote": Call(
        lambda s: majority_vote,
        lambda s: dict(responses=["### 1"]),
        dict(responses=[*NO_LISTS, [1], ["a", None], [bad.TEXT, 3]]),
        dict(responses=[("a",), [bad.TEXT], [bad.HALF]]),
    ),
    "pass_at_k": Call(
        lambda s: pass_at_k,
        lambda s: dict(num_samples=4, num_correct=1, k=2),
        dict(
            num_samples=bad.NO_COUNT_FROM_1,
            num_correct=(*bad.NO_COUNT, 5, bad.INTEGER),
            k=(*bad.NO_COUNT_FROM_1, 5, bad.INTEGER),
        ),
        dict(num_samples=[np.int64(4)], k=[np.uint8(1)]),
        # Fewer samples than are right, or than are chosen.
    ),
    "replace_thoughts": Call(
        lambda s: replace_thoughts,
        lambda s: dict(thoughts=np.ones((3, 2, 4))),
        dict(
            thoughts=NO_THOUGHTS,
            seed=bad.NO_COUNT,
            num_thoughts=(*given(bad.NO_COUNTS), 3, [0, 1, 3]),
        ),
        dict(
            seed=[bad.INTEGER, np.int64(1)],
            num_thoughts=[np.int64(1), np.array([0, 1, 2]), None],
        ),
    ),
    "classify_response": Call(
        lambda s: classify_response,
        lambda s: dict(problem=PROBLEMS[0], response="### c"),
        dict(
            problem=(*bad.NO_INSTANCE, tiny.problems(1)[0]),
            response=[v for v in bad.NO_TEXT if v is not bad.HALF],
            num_thoughts=bad.NO_COUNT,
        ),
        dict(response=[bad.TEXT, bad.HALF], num_thoughts=[np.int64(1)]),
    ),
    "AnswerAccuracy": Call(
        lambda s: AnswerAccuracy,
        lambda s: dict(problems=PROBLEMS, curriculum=Curriculum(1)),
        dict(
            problems=bad.NO_PROBLEMS,
            every=bad.NO_COUNT_FROM_1,
            max_length=given(bad.NO_COUNT_FROM_1),
            batch_size=bad.NO_COUNT_FROM_1,
            best_preset=given(bad.NO_PATH),
            curriculum=given(bad.NO_INSTANCE),
            verbose=bad.NO_VERBOSE,
        ),
    ),
    "Measurements": Call(
        lambda s: Measurements,
        lambda s: dict(measures=["controls"], problems=PROBLEMS),
        dict(
            measures=[
                *(3, "controls", b"controls", [], {}, None, set(), [3]),
                *(["controls", "controls"], [bad.TEXT], {"a": bad.TEXT}),
                *({3: len}, {"": len}, {"a": 3}, {bad.TEXT: None}),
                *bad.OBJECTS,
            ],
            every=bad.NO_COUNT_FROM_1,
            problems=(*bad.NO_PROBLEMS, PROBLEMS[:1]),
            max_length=given(bad.NO_COUNT_FROM_1),
            batch_size=bad.NO_COUNT_FROM_1,
            log_dir=given(bad.NO_PATH),
            verbose=bad.NO_VERBOSE,
        ),
        dict(measures=[("controls",), {bad.TEXT: len}]),
    ),
    "Evaluation.from_dict": Call(
        lambda s: lambda **entry: Evaluation.from_dict(entry),
        lambda s: EVALUATION.to_dict(),
        {
            **dict.fromkeys(
                ("accuracy", "chain_match", "tokens_generated"),
                (-1, "1", None, True, np.nan, bad.INTEGER, bad.TEXT),
            ),
            "predictions": (*NO_LISTS, [bad.TEXT], [3, bad.TEXT], ["a"] * 9),
            "correct": (*NO_LISTS, [1, 0], [bad.TEXT, True], [True] * 9),
            bad.TEXT: [3],
        },
        named={bad.TEXT: "`entry`"},
    ),
    "extract_answer": Call(
        lambda s: extract_answer,
        lambda s: dict(response="a # b"),
        dict(response=[v for v in bad.NO_TEXT if v is not bad.HALF]),
    ),
    "normalize_answer": Call(
        lambda s: normalize_answer,
        lambda s: dict(answer="a # b"),
        dict(answer=[v for v in bad.NO_TEXT if v is not bad.HALF]),
    ),
    "Evaluation.compare": Call(
        lambda s: EVALUATION.compare,
        lambda s: dict(other=EVALUATION),
        dict(
            other=(
                *bad.NO_INSTANCE,
                Evaluation(0.0, 0.0, 1.0, 0.1, ("7",), (False,)),
            )
        ),
    ),
    "holm": Call(
        lambda s: holm,
        lambda s: dict(p_values=[0.5, 0]),
        dict(p_values=(*NO_NUMBERS, [1.5], [0.5, -0.1])),
        dict(p_values=[np.array([0, 1], "float32")]),
    ),
    "mean_interval": Call(
        lambda s: mean_interval,
        lambda s: dict(values=[1, 2.0]),
        dict(values=NO_NUMBERS),
        dict(values=[np.array([1, 2], "float32")]),
    ),
    "share_interval": Call(
        lambda s: share_interval,
        lambda s: dict(flags=[True, False]),
        dict(flags=NO_FLAGS),
        dict(flags=[np.array([True])]),
    ),
    "mcnemar": Call(
        lambda s: mcnemar,
        lambda s: dict(first=[True], second=[False]),
        dict(first=NO_FLAGS, second=NO_FLAGS),
        dict(first=[np.array([True])]),
    ),
    "decode_thoughts": Call(
        lambda s: decode_thoughts,
        lambda s: dict(
            model=s.model, questions=["1?", "2?", "3?"], num_thoughts=1
        ),
        dict(
            model=bad.NO_INSTANCE,
            questions=bad.NO_QUESTIONS,
            num_thoughts=(*bad.NO_COUNTS, 65),
            top_k=(*bad.NO_SMALL_COUNT, 0),
            batch_size=bad.NO_COUNT_FROM_1,
        ),
        dict(top_k=[np.int64(1)]),
    ),
    "make_minimal_pairs": Call(
        lambda s: make_minimal_pairs,
        lambda s: dict(problems=tiny.problems(6)),
        dict(
            problems=bad.NO_PROBLEMS,
            num_pairs=given(bad.NO_COUNT_FROM_1),
            modulus=given((*bad.NO_SMALL_COUNT, 0, 1)),
            seed=bad.NO_COUNT,
        ),
        dict(num_pairs=[np.int64(2)], modulus=[np.int64(10)]),
    ),
    "evaluate_minimal_pairs": CAUSAL._replace(
        function=lambda s: evaluate_minimal_pairs,
        good=lambda s: dict(CAUSAL.good(s), problems=tiny.problems(6)),
    ),
    "make_counterfactuals": Call(
        lambda s: make_counterfactuals,
        lambda s: dict(problems=[tiny.edge_problem()]),
        dict(
            problems=(*bad.NO_PROBLEMS, tiny.problems(1), [PROBLEMS[0]]),
            num_pairs=given(bad.NO_COUNT_FROM_1),
            seed=bad.NO_COUNT,
        ),
        dict(num_pairs=[np.int64(2)]),
    ),
    "evaluate_counterfactuals": CAUSAL._replace(
        function=lambda s: evaluate_counterfactuals
    ),
    "plot_stages": Call(
        lambda s: plot_stages,
        lambda s: dict(history=HISTORY, path=f"{FOLDER}/coconut.png"),
        dict(
            history=[
                *bad.NO_INSTANCE,
                *(dict(HISTORY, loss=[v]) for v in (bad.INTEGER, bad.TEXT)),
                *(dict(HISTORY, stage=[v]) for v in (bad.INTEGER, -1, True)),
            ],
            path=(*given(bad.NO_PATH), "a.nope"),
            width=bad.NO_CHOICE,
            accuracy_key=[v for v in (*bad.NO_TEXT, "") if v is not bad.HALF],
            title=[v for v in bad.NO_TEXT if v is not bad.HALF],
        ),
        dict(path=[None], width=["column"]),
        named=dict(history=r"`history"),
    ),
}


@pytest.mark.parametrize("call", bad.calls(TABLE))
def test_good_arguments(call):
    bad.check_good(call)


@pytest.mark.parametrize(("call", "name"), bad.rows(TABLE))
def test_bad_arguments(call, name):
    bad.check_bad(call, name)


@pytest.mark.parametrize(("call", "name"), bad.rows(TABLE, bad.PATHS))
@pytest.mark.parametrize("length", [600, 5_000, 10**6])
def test_a_long_path(call, name, length, tmp_path):
    # Under a file, so that no folder can be made.
    file = tmp_path / "file"
    file.touch()
    bad.check_long_path(call, name, f"{file}{'/a' * (length // 2)}")
