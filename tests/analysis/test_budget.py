"""Forced numbers of thoughts and early stop, by answers made by hand."""

import dataclasses
import itertools
import json

import pytest
import tiny

import keras_coconut
from keras_coconut import evaluation
from keras_coconut.analysis.budget import thought_budget

# The answers to four problems after 0, 1, 2 and 3 thoughts; all are 7.
ANSWERS = {
    "a": "7777",  # Right from the start.
    "b": "5677",
    "c": "7577",  # The same as at the end, another, and the same again.
    "d": "7775",  # Right until the last.
}
PROBLEMS = [keras_coconut.Problem(name, [], "7") for name in ANSWERS]


def script(model, answers):
    """Lets a model answer as it is told, by its number of thoughts."""
    asked = []

    def generate(questions, num_thoughts, on_response, **options):
        asked.append(num_thoughts[0])
        responses = [
            f"### {answers[question][count]}"
            for question, count in zip(questions, num_thoughts)
        ]
        generated = model.preprocessor.tokenizer(responses)
        for index, tokens in enumerate(generated):
            on_response(index, tokens)
        return generated

    model.__dict__["generate_tokens"] = generate
    return asked


@pytest.fixture
def control():
    return tiny.compiled(tiny.text_model(layers=1, thought_kind="pause"))


@pytest.mark.any_backend
def test_answers_made_by_hand(text_model, control):
    asked = script(text_model, ANSWERS)
    script(control, dict.fromkeys(ANSWERS, "7777"))
    found = thought_budget(
        text_model,
        PROBLEMS,
        num_thoughts=[3, 0, 2, 1],
        control=control,
        verbose=0,
    )
    assert asked == [0, 1, 2, 3] == [f.num_thoughts for f in found.forced]
    assert [f.accuracy.share for f in found.forced] == [0.75, 0.5, 1, 0.75]
    for forced in found.forced:
        right = forced.evaluation.correct
        assert forced.accuracy == evaluation.share_interval(right)
        assert forced.classes is None
    assert found.first_match.thoughts == (0, 2, 0, 3)
    assert found.stable_match.thoughts == (0, 2, 2, 3)
    assert found.first_match.mean == evaluation.mean_interval([0, 2, 0, 3])
    shares = found.stable_match.shares
    assert list(shares) == [0, 1, 2, 3]
    assert [share.share for share in shares.values()] == [0.25, 0, 0.5, 0.25]
    # The control answers the same after any number.
    assert found.control.stable_match.thoughts == (0, 0, 0, 0)
    assert found.control.control is None
    text = json.dumps(found.to_dict(), allow_nan=False)
    assert json.loads(text)["control"]["forced"][3]["accuracy"]["total"] == 4


@pytest.mark.any_backend
def test_an_interruption_keeps_the_models_answers_and_the_controls(
    text_model, control
):
    script(text_model, ANSWERS)
    script(control, dict.fromkeys(ANSWERS, "7777"))
    answer_all = control.__dict__["generate_tokens"]

    def generate(questions, num_thoughts, **options):
        if num_thoughts[0]:
            raise KeyboardInterrupt
        return answer_all(questions, num_thoughts, **options)

    control.__dict__["generate_tokens"] = generate
    with pytest.raises(KeyboardInterrupt) as caught:
        thought_budget(
            text_model,
            PROBLEMS,
            num_thoughts=[0, 1],
            control=control,
            verbose=0,
        )
    partial = caught.value.partial
    assert {role: list(own) for role, own in partial.items()} == {
        "model": [0, 1],
        "control": [0],
    }
    assert partial["control"][0].accuracy == 1


@pytest.mark.any_backend
def test_the_model_says_how_many(text_model, monkeypatch):
    asked = script(text_model, ANSWERS)
    monkeypatch.setattr(text_model, "num_thoughts", 2)
    thought_budget(text_model, PROBLEMS, verbose=0)
    assert asked == [0, 1, 2]
    monkeypatch.setattr(text_model, "num_thoughts", None)
    with pytest.raises(ValueError, match="the model has no `num_thoughts`"):
        thought_budget(text_model, PROBLEMS, verbose=0)


@pytest.mark.any_backend
def test_paired_tests_are_corrected(text_model):
    """Twelve problems; each thought turns some of them from wrong to right."""
    numbers = [0, 1, 2]
    names = [f"question {index}" for index in range(12)]
    right_from = [0] + [1] * 3 + [2] * 8
    answers = {
        name: ["7" if count >= first else "5" for count in numbers]
        for name, first in zip(names, right_from)
    }
    script(text_model, answers)
    problems = [keras_coconut.Problem(name, [], "7") for name in names]
    few, some, full = thought_budget(
        text_model, problems, num_thoughts=numbers, verbose=0
    ).forced
    assert few.against_fewer is None and full.against_full is None
    # Three more are right: p = 2 / 2**3, and it is the larger of two.
    assert some.against_fewer == (3, 0, pytest.approx(2 / 2**3))
    assert full.against_fewer == (8, 0, pytest.approx(2 * 2 / 2**8))
    assert some.against_full == (0, 8, pytest.approx(2 / 2**8))
    assert few.against_full == (0, 11, pytest.approx(2 * 2 / 2**11))


@pytest.mark.any_backend
def test_classes_of_problems_with_a_graph(text_model, tmp_path):
    graphs = [
        keras_coconut.Problem(name, [], "Ann is a c.", extra=tiny.GRAPH)
        for name in ("a", "b")
    ]
    script(text_model, dict.fromkeys("abcd", ("Ann is a c.", "Ann is a d.")))
    options = dict(num_thoughts=[0, 1], verbose=0)
    found = thought_budget(
        text_model, [*graphs, PROBLEMS[2]], results_folder=tmp_path, **options
    )
    classes = [forced.classes for forced in found.forced]
    assert classes[0]["correct_label"].share == 1
    assert classes[1]["incorrect_label"].share == 1
    assert classes[1]["incorrect_label"].total == 2
    # The files are those of `evaluate_reasoning`, which need no new answers.
    thought_budget(text_model, graphs, results_folder=tmp_path / "g", **options)
    text_model.__dict__["generate_tokens"] = None
    again = evaluation.evaluate_reasoning(
        text_model, graphs, results_folder=tmp_path / "g", **options
    )
    assert again[1][1]["incorrect_label"] == 1
    broken = {**tiny.GRAPH, "root": 99}
    problem = keras_coconut.Problem("a", [], "c", extra=broken)
    with pytest.raises(ValueError, match=r"problems\[0\].extra\['root'\]"):
        thought_budget(text_model, [problem], **options)


@pytest.mark.any_backend
def test_the_control_has_a_folder_of_its_own(text_model, control, tmp_path):
    for model in (text_model, control):
        script(model, ANSWERS)
    options = dict(num_thoughts=[0, 1], control=control, verbose=0)
    options["results_folder"] = tmp_path / "budget"
    found = thought_budget(text_model, PROBLEMS, **options)
    files = sorted((tmp_path / "budget").rglob("*.json"))
    assert [
        file.relative_to(tmp_path / "budget").as_posix() for file in files
    ] == [
        "control/thoughts_0.json",
        "control/thoughts_1.json",
        "thoughts_0.json",
        "thoughts_1.json",
    ]
    for model in (text_model, control):
        model.__dict__["generate_tokens"] = None
    assert thought_budget(text_model, PROBLEMS, **options) == found


@pytest.mark.any_backend
def test_one_line_for_all(text_model, control, capsys):
    for model in (text_model, control):
        script(model, ANSWERS)
    thought_budget(text_model, PROBLEMS, num_thoughts=range(3), control=control)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("thought budget: 0/24 answers")
    assert lines[-1].startswith("thought budget: 24/24 answers")
    assert all(line.startswith("thought budget") for line in lines)


def test_a_real_model():
    """Against evaluations one by one."""
    text_model = tiny.compiled(tiny.text_model(layers=1))
    problems = [
        dataclasses.replace(problem, answer=answer)
        for problem, answer in zip(tiny.problems(6), itertools.cycle("37"))
    ]
    options = dict(max_length=4, verbose=0)
    found = thought_budget(text_model, problems, num_thoughts=[0, 2], **options)
    for forced in found.forced:
        alone = keras_coconut.evaluate_problems(
            text_model, problems, num_thoughts=forced.num_thoughts, **options
        )
        assert forced.evaluation.predictions == alone.predictions
        assert forced.accuracy == alone.interval
    changed = [
        evaluation.extract_answer(first) != evaluation.extract_answer(last)
        for first, last in zip(
            *(forced.evaluation.predictions for forced in found.forced)
        )
    ]
    assert any(changed)
    assert [2 * flag for flag in changed] == list(found.first_match.thoughts)


@pytest.mark.any_backend
def test_the_answer_at_once(text_model, tmp_path):
    """After the thoughts nothing is written but the answer."""
    problems = tiny.problems(6)
    options = dict(max_length=4, verbose=0, num_thoughts=[0, 2])
    options["results_folder"] = tmp_path
    found = thought_budget(text_model, problems, answer_at_once=True, **options)
    free = thought_budget(text_model, problems, **options)
    for forced, other in zip(found.forced, free.forced):
        own = forced.evaluation.predictions
        assert own != other.evaluation.predictions
        assert all(response.startswith("###") for response in own)
        tokens = text_model.generate_tokens(
            [problem.question for problem in problems],
            4,
            num_thoughts=forced.num_thoughts,
            response_start="###",
        )
        written = text_model.preprocessor.generate_postprocess(tokens)
        assert list(own) == written
    assert {file.name for file in tmp_path.iterdir()} == {
        *(f"thoughts_{count}.json" for count in (0, 2)),
        *(f"answer_thoughts_{count}.json" for count in (0, 2)),
    }


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(control="gpt2"), "`control` must be"),
        (dict(answer_at_once=1), "`answer_at_once` must be"),
        (dict(num_thoughts=[1, 1]), "`num_thoughts` must be"),
        (dict(num_thoughts=[99]), "`num_thoughts`|must fit"),
        (dict(results_folder=3), "`results_folder` must be a path"),
    ],
)
def test_arguments_are_refused_before_any_work(text_model, change, message):
    text_model.__dict__["generate_tokens"] = None
    with pytest.raises(ValueError, match=message):
        thought_budget(text_model, PROBLEMS, **{"num_thoughts": [0], **change})
