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
from keras_coconut.evaluation.statistics import mcnemar, mean_interval

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
    "replace_thoughts": Call(
        lambda s: replace_thoughts,
        lambda s: dict(thoughts=np.ones((3, 2, 4))),
        dict(thoughts=NO_THOUGHTS, seed=bad.NO_COUNT),
        dict(seed=[bad.INTEGER, np.int64(1)]),
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
    "mean_interval": Call(
        lambda s: mean_interval,
        lambda s: dict(values=[1, 2.0]),
        dict(values=NO_NUMBERS),
        dict(values=[np.array([1, 2], "float32")]),
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
    "plot_stages": Call(
        lambda s: plot_stages,
        lambda s: dict(history=HISTORY, path=f"{FOLDER}/coconut.png"),
        dict(
            history=[
                *bad.NO_INSTANCE,
                *(dict(HISTORY, loss=[v]) for v in (bad.INTEGER, bad.TEXT)),
                *(dict(HISTORY, stage=[v]) for v in (bad.INTEGER, -1, True)),
            ],
            path=(*bad.NO_PATH, "a.nope"),
            accuracy_key=[v for v in (*bad.NO_TEXT, "") if v is not bad.HALF],
            title=[v for v in bad.NO_TEXT if v is not bad.HALF],
        ),
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
