"""Models that say what they are told, by the thoughts that they get."""

import keras_hub
import numpy as np
import tiny

import keras_coconut
from keras_coconut.datasets.prosqa import load_prosqa, symbolic_words


class Carrying:
    """Takes the place of a model's `generate_tokens`: thoughts are answers.

    A problem's own thoughts give its answer. Other thoughts give the answer of
    the problem that they belong to, and thoughts of no problem give none. With
    `cut`, thoughts do not count. Without thoughts the answer is right if
    `without` says so, after steps in words.

    Args:
        model: a `ContinuousThoughtLM` with a preprocessor.
        problems: list of `Problem`s, also twins: all that may be asked.
        cut: bool.
        without: bool.
    """

    def __init__(self, model, problems, cut=False, without=False):
        self.cut, self.without = cut, without
        self._tokenizer = model.preprocessor.tokenizer
        self._answers = {each.question: each for each in problems}
        self._known = None
        if model.thought_kind == "continuous":
            questions = list(self._answers)
            self._known = model.think(questions, model.num_thoughts)
        model.__dict__["generate_tokens"] = self

    def __call__(
        self, questions, num_thoughts, thoughts=None, on_response=None, **_
    ):
        generated = []
        for index, question in enumerate(questions):
            given = None if thoughts is None else thoughts[index]
            text = self._say(question, num_thoughts[index], given)
            (tokens,) = self._tokenizer([text])
            generated.append([*tokens, self._tokenizer.end_token_id])
            on_response(index, generated[-1])
        return generated

    def _say(self, question, count, given):
        own = self._answers[question]
        if not count and not self.cut:
            if not self.without:
                return "### none"
            return f"{'7 ' * 9}### {own.answer}"
        if self.cut or given is None:
            return f"### {own.answer}"
        distances = np.abs(self._known - given).max(axis=(1, 2))
        nearest = int(distances.argmin())
        if distances[nearest] > 1e-4:
            return "### none"
        return f"### {list(self._answers.values())[nearest].answer}"


def problems(count=40):
    """Problems of two operations, and all that the report may ask."""
    made = keras_coconut.make_arithmetic(count, num_operations=2, seed=0)
    pairs, _ = keras_coconut.make_minimal_pairs(made, num_pairs=count)
    return made, [*made, *(pair.twin for pair in pairs)]


def model(**kwargs):
    """A tiny model that thinks twice."""
    made = tiny.compiled(tiny.text_model(layers=1, longest=160, **kwargs))
    made.num_thoughts = 2
    return made


def graph_problems(count=12):
    """Problems in symbols, with small graphs."""
    return load_prosqa(
        train=0,
        validation=0,
        test=count,
        symbolic=True,
        num_nodes=12,
        min_steps=2,
        max_steps=3,
    ).test


def graph_model(**kwargs):
    """A tiny model of random weights that reads such problems."""
    tokenizer = keras_coconut.make_word_tokenizer(symbolic_words(12))
    preprocessor = keras_coconut.ContinuousThoughtPreprocessor(
        tokenizer, separator="", markers=False
    )
    backbone = keras_hub.models.GPT2Backbone(
        tokenizer.vocabulary_size(), 1, 2, 16, 32, 0.0, 128
    )
    made = keras_coconut.ContinuousThoughtLM(backbone, preprocessor, **kwargs)
    made.num_thoughts = 1
    return tiny.compiled(made)
