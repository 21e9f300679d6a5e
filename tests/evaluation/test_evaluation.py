"""Accuracy, chains, tokens; against responses made by hand."""

import json

import keras
import numpy as np
import pytest
import tiny
from keras import ops

import keras_coconut
from keras_coconut.evaluation import answer_accuracy
from keras_coconut.evaluation.answer_accuracy import AnswerAccuracy
from keras_coconut.evaluation.problems import (
    Evaluation,
    evaluate_problems,
    extract_answer,
)


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


class Scripted:
    """Stands for a model: says what it is told."""

    num_thoughts = 2
    thought_kind = "continuous"
    weights = ()

    def __init__(self, preprocessor, responses):
        self.preprocessor = preprocessor
        self.responses = responses
        self.calls = 0

    def generate_tokens(self, questions, **kwargs):
        assert kwargs["num_thoughts"] == 2
        self.calls += 1
        end = [self.preprocessor.tokenizer.end_token_id]
        tokenizer = self.preprocessor.tokenizer
        return [
            tokenizer([response])[0] + end * (response != "endless")
            for response in self.responses
        ]


def test_every_figure(text_model):
    problems = [
        keras_coconut.Problem("a", ["7", "4"], "1,000"),
        keras_coconut.Problem("b", ["7"], "2"),
        keras_coconut.Problem("c", [], "3"),
        keras_coconut.Problem("d", ["1"], "4"),
    ]
    responses = ["7\n4\n### 1000", "8\n### 2", "### 33", "endless"]
    model = Scripted(text_model.preprocessor, responses)
    found = evaluate_problems(model, problems)
    assert found.accuracy == 0.5
    assert found.chain_match == 0.5
    assert found.predictions == tuple(responses)
    assert found.correct == (True, True, False, False)
    lengths = [len(ids) for ids in text_model.preprocessor.tokenizer(responses)]
    assert found.tokens_generated == 2 + np.mean(lengths)
    assert found.seconds > 0
    # Pauses are read all at once; none of them is generated.
    model.thought_kind = "pause"
    found = evaluate_problems(model, problems)
    assert found.tokens_generated == np.mean(lengths)


def test_results_are_generated_once(text_model, tmp_path):
    problems = tiny.problems(2)
    model = Scripted(text_model.preprocessor, ["7\n### 7", "### 1"])
    path = tmp_path / "results.json"
    first = evaluate_problems(model, problems, results_path=path)
    assert evaluate_problems(model, problems, results_path=path) == first
    assert model.calls == 1
    with pytest.raises(ValueError, match="same max_length.*None and not 5"):
        evaluate_problems(model, problems, max_length=5, results_path=path)
    with pytest.raises(ValueError, match="same problems"):
        evaluate_problems(model, problems[::-1], results_path=path)
    model.weights = [np.ones(3)]
    with pytest.raises(ValueError, match="same weights"):
        evaluate_problems(model, problems, results_path=path)
    with pytest.raises(ValueError, match="at least one problem"):
        evaluate_problems(model, [])


def test_answers_while_training(text_model):
    dataset = keras_coconut.CurriculumDataset(
        tiny.problems(8),
        text_model.preprocessor,
        keras_coconut.Curriculum(1, extra_stage=False),
        batch_size=8,
    )
    tiny.compiled(text_model)
    history = text_model.fit(
        dataset,
        epochs=3,
        verbose=0,
        callbacks=[
            keras_coconut.CurriculumScheduler(dataset),
            AnswerAccuracy(tiny.problems(4), every=2, max_length=6),
        ],
    ).history
    accuracy = history["val_answer_accuracy"]
    assert len(accuracy) == 3 and accuracy[1] == accuracy[2]
    expected = evaluate_problems(text_model, tiny.problems(4), max_length=6)
    callback = AnswerAccuracy(tiny.problems(4), max_length=6)
    callback.set_model(text_model)
    callback.on_epoch_end(0, logs := {})
    assert logs["val_answer_accuracy"] == expected.accuracy


def test_the_best_of_the_last_stage_is_kept(text_model, tmp_path, monkeypatch):
    curriculum = keras_coconut.Curriculum(1, extra_stage=False)
    dataset = keras_coconut.CurriculumDataset(
        tiny.problems(8), text_model.preprocessor, curriculum, batch_size=8
    )
    # The last stage begins with epoch 1; its best comes with epoch 3.
    accuracies = iter([1.0, 0.2, 0.1, 0.5, 0.4])

    def evaluate(model, problems, **kwargs):
        weights = model.backbone.weights[0]
        seen.append(ops.convert_to_numpy(weights))
        found = Evaluation(next(accuracies), 0.0, 0.0, 0.0, ("7",), (True,))
        return found

    seen = []
    monkeypatch.setattr(answer_accuracy, "evaluate_problems", evaluate)
    best = tmp_path / "best"
    best.mkdir()
    # Left by an earlier run, which must not count.
    (best / "validation.json").write_text('{"accuracy": 1.0}')
    history = tiny.compiled(text_model).fit(
        dataset,
        epochs=5,
        verbose=0,
        callbacks=[
            keras_coconut.CurriculumScheduler(dataset),
            AnswerAccuracy(
                tiny.problems(1), best_preset=best, curriculum=curriculum
            ),
            keras.callbacks.TensorBoard(str(tmp_path / "logs")),
        ],
    )
    assert history.history["val_answer_accuracy"] == [1.0, 0.2, 0.1, 0.5, 0.4]
    kept = keras_coconut.ContinuousThoughtLM.from_preset(str(best))
    np.testing.assert_array_equal(
        ops.convert_to_numpy(kept.backbone.weights[0]), seen[3]
    )
    figures = json.loads((best / "validation.json").read_text())
    assert Evaluation.from_dict(figures).accuracy == 0.5
    written = b"".join(
        path.read_bytes() for path in tmp_path.glob("logs/validation/*")
    )
    assert b"answer_accuracy" in written


def test_the_best_needs_a_curriculum():
    with pytest.raises(ValueError, match="curriculum.*None"):
        AnswerAccuracy(tiny.problems(1), best_preset="best")
