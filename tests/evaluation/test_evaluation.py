"""Accuracy, chains, tokens; against responses made by hand."""

import dataclasses
import math

import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import PROBLEMS, RESPONSES, Script

import keras_coconut
from keras_coconut.evaluation.figures import judge
from keras_coconut.evaluation.problems import (
    Evaluation,
    evaluate_problems,
    extract_answer,
    normalize_answer,
)

FOUND = Evaluation(0.5, 1.0, 3.5, 0.25, ("7", "8"), (True, False))


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("7\n4\n### 9", "9"),
        ("### Tom is a lempus.", "Tom is a lempus."),
        ("#### 1,234 ", "1234"),
        ("no mark at all", "no mark at all"),
        ("# 1 # 2", "2"),
        ("", ""),
    ],
)
def test_extract_answer(response, answer):
    assert extract_answer(response) == answer


@pytest.mark.parametrize("function", [extract_answer, normalize_answer])
def test_only_strings_hold_answers(function):
    for value in (None, 3, b"7", ["7"]):
        with pytest.raises(ValueError, match="must be a string"):
            function(value)


def test_every_figure(text_model):
    script = Script(text_model, RESPONSES)
    found = evaluate_problems(text_model, PROBLEMS, num_thoughts=2, verbose=0)
    assert found.accuracy == 0.5
    assert found.chain_match == 0.5
    assert found.predictions == tuple(RESPONSES.values())
    assert found.correct == (True, True, False, False)
    tokenizer = text_model.preprocessor.tokenizer
    lengths = [len(ids) for ids in tokenizer(list(RESPONSES.values()))]
    assert found.tokens_generated == 2 + np.mean(lengths)
    assert found.seconds > 0
    assert script.options[0]["num_thoughts"] == [2] * 4
    # Pauses are read all at once; none of them is generated.
    text_model.thought_kind = "pause"
    found = evaluate_problems(text_model, PROBLEMS, num_thoughts=2, verbose=0)
    assert found.tokens_generated == np.mean(lengths)


@pytest.mark.parametrize(
    "counts",
    [
        [0, 1, 2, 4],
        (0, 1, 2, 4),
        np.array([0, 1, 2, 4], "int64"),
        np.array([0, 1, 2, 4], "uint8"),
    ],
    ids=lambda counts: type(counts).__name__,
)
def test_a_number_of_thoughts_for_each_problem(text_model, counts):
    script = Script(text_model, RESPONSES)
    found = evaluate_problems(
        text_model, PROBLEMS, num_thoughts=counts, verbose=0
    )
    assert script.options[0]["num_thoughts"] == [0, 1, 2, 4]
    tokenizer = text_model.preprocessor.tokenizer
    lengths = [len(ids) for ids in tokenizer(list(RESPONSES.values()))]
    assert found.tokens_generated == 7 / 4 + np.mean(lengths)


@pytest.mark.parametrize("number", [np.int64(2), np.uint8(2), np.array(2)])
def test_numbers_of_numpy(text_model, number, tmp_path):
    Script(text_model, RESPONSES)
    options = dict(verbose=0, results_path=tmp_path / "r.json")
    found = evaluate_problems(
        text_model,
        PROBLEMS,
        num_thoughts=number,
        max_length=number * 5,
        batch_size=number,
        **options,
    )
    assert (
        evaluate_problems(
            text_model, PROBLEMS, num_thoughts=2, max_length=10, **options
        )
        == found
    )


def test_problems_from_a_generator_or_of_dictionaries(text_model):
    Script(text_model, RESPONSES)
    found = evaluate_problems(text_model, PROBLEMS, num_thoughts=2, verbose=0)
    for given_problems in (
        (problem for problem in PROBLEMS),
        [problem.to_dict() for problem in PROBLEMS],
    ):
        other = evaluate_problems(
            text_model, given_problems, num_thoughts=2, verbose=0
        )
        assert other.predictions == found.predictions
        assert other.correct == found.correct


def test_the_models_own_number_of_thoughts(text_model):
    script = Script(text_model, RESPONSES)
    with pytest.raises(ValueError, match="`num_thoughts` must be given"):
        evaluate_problems(text_model, PROBLEMS, verbose=0)
    assert not script.options
    text_model.num_thoughts = 3
    evaluate_problems(text_model, PROBLEMS, verbose=0)
    assert script.options[0]["num_thoughts"] == [3] * 4


def test_a_progress_line_unless_silent(text_model, capsys):
    problems = tiny.problems(4)
    options = dict(num_thoughts=1, max_length=4)
    evaluate_problems(text_model, problems, **options)
    assert "evaluate: 4/4 problems" in capsys.readouterr().out
    evaluate_problems(text_model, problems, verbose=0, **options)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


LONG = keras_coconut.Problem("x" * 40, ["1"], "2")


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(model=None), "`model` must be a `keras_coconut.Cont"),
        (dict(model="gpt2"), "`model` must be"),
        (dict(problems=[]), "`problems` must hold at least one"),
        (dict(problems=None), "`problems` must be"),
        (dict(problems="p.json"), "`problems` must be"),
        (dict(problems=[*PROBLEMS, 3]), r"`problems\[4\]`"),
        (dict(num_thoughts=-1), "`num_thoughts` must be"),
        (dict(num_thoughts=1.5), "`num_thoughts` must be"),
        (dict(num_thoughts="2"), "`num_thoughts` must be"),
        (dict(num_thoughts=True), "`num_thoughts` must be"),
        (dict(num_thoughts=[1, 2]), "`num_thoughts` must be"),
        (dict(num_thoughts=[1, 2, 3, -4]), "`num_thoughts` must be"),
        (dict(num_thoughts=[[1], [2], [3], [4]]), "`num_thoughts` must be"),
        (dict(num_thoughts=60), "must fit the backbone's maximum length"),
        (dict(max_length=0), "`max_length` must be"),
        (dict(max_length="8"), "`max_length` must be"),
        (dict(max_length=2.0), "`max_length` must be"),
        (dict(max_length=64), "must fit the backbone's maximum length"),
        (dict(problems=[*PROBLEMS, LONG]), "must fit .* row 4"),
        (dict(batch_size=0), "`batch_size` must be"),
        (dict(batch_size=None), "`batch_size` must be"),
        (dict(verbose=3), "`verbose` must be"),
        (dict(verbose="yes"), "`verbose` must be"),
        (dict(verbose=None), "`verbose` must be"),
        (dict(thoughts="none"), "`thoughts` must be an array"),
        (dict(thoughts=[[1], [1, 2]]), "`thoughts` must be an array"),
        (dict(thoughts=np.zeros((4, 2, 7))), "`thoughts` must hold .*16"),
        (dict(thoughts=np.zeros((3, 2, 16))), "`thoughts` must hold .*4, at"),
        (dict(thoughts=np.zeros((4, 1, 16))), "`thoughts` must hold .*least 2"),
        (dict(thoughts=np.full((4, 2, 16), np.nan)), "`thoughts` .* finite"),
        (dict(thoughts=np.zeros((4, 2, 16), "complex64")), "`thoughts` must"),
        (dict(results_path=3), "`results_path` must be a path"),
        (dict(results_path=""), "`results_path` must be a path"),
    ],
    ids=lambda value: "" if isinstance(value, str) else "-".join(value),
)
def test_arguments_are_refused_before_any_work(text_model, change, message):
    script = Script(text_model, RESPONSES)
    arguments = dict(
        model=text_model, problems=PROBLEMS, num_thoughts=2, max_length=20
    )
    with pytest.raises(ValueError, match=message) as error:
        evaluate_problems(**{**arguments, **change})
    assert len(str(error.value)) < 500
    assert not script.options


def test_pauses_cannot_be_replaced(text_model):
    text_model.thought_kind = "pause"
    with pytest.raises(ValueError, match="`thoughts` must be left out"):
        evaluate_problems(
            text_model, PROBLEMS, num_thoughts=2, thoughts=np.zeros((4, 2, 16))
        )


def test_a_model_without_preprocessor_or_sampler(model, text_model):
    with pytest.raises(ValueError, match="`model` must .* preprocessor=None"):
        evaluate_problems(model, PROBLEMS, num_thoughts=2)
    text_model = keras_coconut.ContinuousThoughtLM(
        text_model.backbone, text_model.preprocessor, compile=False
    )
    with pytest.raises(ValueError, match="`model` must be compiled"):
        evaluate_problems(text_model, PROBLEMS, num_thoughts=2)


def test_there_and_back():
    assert Evaluation.from_dict(FOUND.to_dict()) == FOUND


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(accuracy="0.5"), "`accuracy` must be a finite number"),
        (dict(accuracy=math.nan), "`accuracy` must be a finite number"),
        (dict(accuracy=None), "`accuracy` must be a finite number"),
        (dict(accuracy=True), "`accuracy` must be a finite number"),
        (dict(accuracy=1.5), "`accuracy` must be a finite number"),
        (dict(accuracy=1.0), "`accuracy` must be the share of `correct`, 0.5"),
        (dict(chain_match=-0.1), "`chain_match` must be a finite number"),
        (dict(tokens_generated=-1), "`tokens_generated` must be"),
        (dict(seconds=math.inf), "`seconds` must be"),
        (dict(predictions=["7"]), "one entry for each problem.* 1 and 2"),
        (dict(predictions="78"), "`predictions` must be a list of strings"),
        (dict(predictions=["7", None]), r"predictions\[1\]=None"),
        (dict(correct=[1, 0]), r"`correct` .*booleans.* correct\[0\]=1"),
        (dict(predictions=[], correct=[]), "at least one"),
        (dict(more=1), "unknown .*more"),
        (dict(accuracy=...), r"missing \['accuracy'\]"),
    ],
)
def test_what_is_no_evaluation(change, message):
    entry = {**FOUND.to_dict(), **change}
    entry = {key: value for key, value in entry.items() if value is not ...}
    with pytest.raises(ValueError, match=message) as error:
        Evaluation.from_dict(entry)
    assert len(str(error.value)) < 500
    with pytest.raises(ValueError, match="`entry` must be a dictionary"):
        Evaluation.from_dict([entry])


@settings(derandomize=True, deadline=None, max_examples=200)
@given(
    st.lists(
        st.tuples(st.lists(st.text(), max_size=3), st.text(), st.text()),
        min_size=1,
        max_size=4,
    )
)
def test_any_response_can_be_judged(rows):
    problems = [
        keras_coconut.Problem("?", steps, answer) for steps, answer, _ in rows
    ]
    responses = [response for _, _, response in rows]
    figures = judge(problems, responses, "\n")
    found = Evaluation(
        tokens_generated=1.0,
        seconds=0.0,
        predictions=tuple(responses),
        **figures,
    )
    assert Evaluation.from_dict(found.to_dict()) == found
    # A response that says the answer is right, whatever stands before it.
    said = [f"{row[2]}### {row[1]}" for row in rows]
    for row, right in zip(rows, judge(problems, said, "\n")["correct"]):
        assert right or "#" in row[1]


def test_generated_and_replayed_thoughts_agree(text_model):
    """A real model: given its own thoughts, it answers as it does itself."""
    problems = tiny.problems(5)
    counts = [3, 0, 1, 2, 3]
    options = dict(max_length=6, verbose=0, batch_size=2)
    own = evaluate_problems(
        text_model, problems, num_thoughts=counts, **options
    )
    thoughts = text_model.think([p.question for p in problems], counts)
    replayed = evaluate_problems(
        text_model, problems, num_thoughts=counts, thoughts=thoughts, **options
    )
    assert dataclasses.replace(replayed, seconds=own.seconds) == own


@pytest.mark.any_backend
def test_two_evaluations_of_the_same_problems():
    def evaluation(*correct):
        share = sum(correct) / len(correct)
        predictions = ("7",) * len(correct)
        return keras_coconut.Evaluation(share, 0, 1, 0, predictions, correct)

    own = evaluation(True, True, True, False)
    other = evaluation(False, True, False, False)
    assert own.interval == keras_coconut.share_interval([True] * 3 + [False])
    assert own.compare(other) == (2, 0, 0.5)
    assert other.compare(own) == (0, 2, 0.5)
    with pytest.raises(ValueError, match="`other` must be of the same 4.*2"):
        own.compare(evaluation(True, False))


def test_a_second_stop_token_is_not_counted(text_model):
    """As instruction-tuned models of Llama 3 have one."""
    tokenizer = text_model.preprocessor.tokenizer
    Script(text_model, RESPONSES)
    before = evaluate_problems(text_model, PROBLEMS, num_thoughts=2, verbose=0)
    end, other = tokenizer.end_token_id, tokenizer.token_to_id("0")
    responses = dict.fromkeys("abcd", "x")
    lengths = []

    def generate_tokens(questions, on_response, **options):
        for index, _ in enumerate(questions):
            tokens = [*tokenizer(responses["a"]), (end, other)[index % 2]]
            lengths.append(len(tokens) - 1)
            on_response(index, tokens)

    text_model.__dict__["generate_tokens"] = generate_tokens
    tokenizer.end_token2_id = other
    try:
        found = evaluate_problems(
            text_model, PROBLEMS, num_thoughts=2, verbose=0
        )
    finally:
        del tokenizer.end_token2_id
    assert found.tokens_generated == 2 + np.mean(lengths)
    assert before.tokens_generated != found.tokens_generated
