"""The arguments of an evaluation, checked before any work."""

import dataclasses
from collections.abc import Callable

import numpy as np

from keras_coconut.checks import check_count, check_instance, refuse
from keras_coconut.models.continuous_thought_lm import ContinuousThoughtLM
from keras_coconut.models.generation import check_fits
from keras_coconut.problems import Problem, as_problems
from keras_coconut.text.questions import read_questions


@dataclasses.dataclass(frozen=True)
class Request:
    """Problems for a model to answer, and how.

    `make_thoughts` returns the given thoughts (problems, K, D) when they are
    needed; `thoughts` says what they are, in a form that JSON can hold.
    `skipped` holds the positions that stay empty after each question, and
    `response_start` is how every response begins; `thoughts` names both.
    """

    model: ContinuousThoughtLM
    problems: list[Problem]
    counts: list[int]
    max_length: int | None
    batch_size: int
    make_thoughts: Callable[[], np.ndarray] | None = None
    thoughts: str | dict | None = None
    skipped: list[int] | None = None
    response_start: str = ""

    @property
    def questions(self) -> list[str]:
        """The questions of the problems."""
        return [problem.question for problem in self.problems]

    @property
    def num_thoughts(self) -> int | list[int]:
        """The thoughts of every problem: one number if all have the same."""
        same = len(set(self.counts)) == 1
        return self.counts[0] if same else list(self.counts)


def check_request(
    model, problems, num_thoughts=None, max_length=None, batch_size=32
) -> Request:
    """Returns a request without given thoughts, every argument checked.

    Args:
        model: a `ContinuousThoughtLM` with a preprocessor.
        problems: iterable of `Problem`s or of mappings, at least one.
        num_thoughts: int, or one int for each problem. Defaults to the model's
            `num_thoughts`.
        max_length, batch_size: see `evaluate_problems`.

    Raises:
        ValueError: If an argument is not one of these, or if a problem does
            not fit the model.
    """
    model = check_model(model)
    problems = as_problems("problems", problems)
    if max_length is not None:
        max_length = check_count("max_length", max_length, least=1)
    batch_size = check_count("batch_size", batch_size, least=1)
    questions = [problem.question for problem in problems]
    _, counts = read_questions(model, questions, num_thoughts)
    check_fits(model, questions, counts, max_length)
    return Request(model, problems, counts, max_length, batch_size)


def check_model(model, name: str = "model") -> ContinuousThoughtLM:
    """Returns a model that can answer strings, else raises a `ValueError`."""
    expected = "a `keras_coconut.ContinuousThoughtLM` with a preprocessor"
    check_instance(name, model, ContinuousThoughtLM, expected)
    if model.preprocessor is None:
        raise ValueError(
            f"`{name}` must be {expected}. Received: a model with "
            "preprocessor=None"
        )
    if getattr(model, "sampler", None) is None:
        raise ValueError(
            f"`{name}` must be compiled, which gives it a sampler. Received: a "
            "model with compile=False"
        )
    return model


def check_forced(num_thoughts) -> list[int]:
    """Returns the numbers of thoughts to force."""
    expected = "a sequence of different whole numbers, such as `range(7)`"
    if isinstance(num_thoughts, str | bytes | dict | set):
        raise refuse("num_thoughts", expected, num_thoughts)
    try:
        counts = list(num_thoughts)
    except TypeError:
        raise refuse("num_thoughts", expected, num_thoughts) from None
    counts = [
        check_count(f"num_thoughts[{index}]", count)
        for index, count in enumerate(counts)
    ]
    if not counts or len(set(counts)) < len(counts):
        raise refuse("num_thoughts", expected, num_thoughts)
    return counts
