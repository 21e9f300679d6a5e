"""Accuracy, chains, tokens; against responses made by hand."""

import numpy as np
import pytest
import tiny

import keras_coconut
from keras_coconut.evaluation.answer_accuracy import AnswerAccuracy
from keras_coconut.evaluation.problems import (
    evaluate_problems,
    extract_answer,
    extract_steps,
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


def test_extract_steps():
    assert extract_steps("7\n4\n### 9") == ["7", "4"]
    assert extract_steps("### 9") == []


class Scripted:
    """Stands for a model: says what it is told."""

    num_thoughts = 2

    def __init__(self, preprocessor, responses):
        self.preprocessor = preprocessor
        self.responses = responses

    def generate_tokens(self, questions, **kwargs):
        assert kwargs["num_thoughts"] == 2
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
    lengths = [len(ids) for ids in text_model.preprocessor.tokenizer(responses)]
    assert found.tokens_generated == 2 + np.mean(lengths)
    assert found.seconds > 0


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
