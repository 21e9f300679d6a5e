"""The figures of an evaluation, and how a response is judged."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

from keras_coconut.checks import (
    check_instance,
    check_number,
    check_string,
    refuse,
    shown,
)
from keras_coconut.evaluation.statistics import (
    McNemar,
    Share,
    mcnemar,
    share_interval,
)
from keras_coconut.problems import Problem


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The result of `evaluate_problems`.

    Attributes:
        accuracy: float. Fraction of problems whose answer is correct.
        chain_match: float. Fraction of problems whose generated steps equal the
            reference steps.
        tokens_generated: float. Mean number of tokens per problem. A continuous
            thought counts as one; pauses and the end of text do not count.
        seconds: float. Mean time per problem.
        predictions: tuple of strings. The responses, in the order of the
            problems.
        correct: tuple of bools. Whether the answer to each problem is correct.

    Example:
    ```python
    found = keras_coconut.evaluate_problems(model, problems)
    wrong = [
        problem.question
        for problem, right in zip(problems, found.correct)
        if not right
    ]
    ```
    """

    accuracy: float
    chain_match: float
    tokens_generated: float
    seconds: float
    predictions: tuple[str, ...]
    correct: tuple[bool, ...]

    @property
    def interval(self) -> Share:
        """The accuracy with its 95% interval (Wilson). Needs SciPy."""
        return share_interval(self.correct)

    def compare(self, other: "Evaluation") -> McNemar:
        """Tests two evaluations of the same problems, paired. Needs SciPy.

        Args:
            other: an `Evaluation`, such as that of the model's own thoughts.

        Returns:
            A `McNemar`. Its `only_first` counts the problems that only this
            evaluation answers, `only_second` those that only `other` does.

        Raises:
            ValueError: If `other` is no evaluation of as many problems.

        Example:
        ```python
        own = keras_coconut.evaluate_problems(model, problems)
        none = keras_coconut.evaluate_problems(model, problems, num_thoughts=0)
        none.compare(own).p_value
        ```
        """
        check_instance(
            "other", other, Evaluation, "a `keras_coconut.Evaluation`"
        )
        if len(other.correct) != len(self.correct):
            raise ValueError(
                f"`other` must be of the same {len(self.correct)} problems. "
                f"Received: one of {len(other.correct)}"
            )
        return mcnemar(self.correct, other.correct)

    def to_dict(self) -> dict:
        """Returns a dictionary for JSON, which `from_dict` reads."""
        return {
            **dataclasses.asdict(self),
            "predictions": list(self.predictions),
            "correct": list(self.correct),
        }

    @classmethod
    def from_dict(cls, entry: Mapping) -> "Evaluation":
        """Makes an evaluation from a dictionary, such as one read from JSON.

        Args:
            entry: mapping with the attributes as its keys, and no others.

        Returns:
            An `Evaluation`.

        Raises:
            ValueError: If a key is missing or unknown, if a value has a wrong
                type or is out of range, or if `accuracy` does not match
                `correct`.

        Example:
        ```python
        found = keras_coconut.evaluate_problems(model, problems)
        keras_coconut.Evaluation.from_dict(found.to_dict())
        ```
        """
        names = [field.name for field in dataclasses.fields(cls)]
        if not isinstance(entry, Mapping):
            raise refuse("entry", f"a dictionary with the keys {names}", entry)
        if set(entry) != set(names):
            missing = [name for name in names if name not in entry]
            unknown = [key for key in entry if key not in names]
            raise ValueError(
                f"`entry` must have the keys {names}. Received: missing "
                f"{missing}, unknown {shown(unknown)}"
            )
        values = {
            name: check_number(name, entry[name], least=0, most=most)
            for name, most in (
                ("accuracy", 1),
                ("chain_match", 1),
                ("tokens_generated", None),
                ("seconds", None),
            )
        }
        predictions = _check_list("predictions", entry["predictions"], str)
        correct = _check_list("correct", entry["correct"], bool)
        if not predictions or len(predictions) != len(correct):
            raise ValueError(
                "`predictions` and `correct` must have one entry for each "
                f"problem, at least one. Received: {len(predictions)} and "
                f"{len(correct)}"
            )
        share = sum(correct) / len(correct)
        if not math.isclose(values["accuracy"], share, abs_tol=1e-9):
            raise ValueError(
                f"`accuracy` must be the share of `correct`, {share}. "
                f"Received: accuracy={values['accuracy']}"
            )
        return cls(**values, predictions=predictions, correct=correct)


def judge(
    problems: Sequence[Problem], responses: Sequence[str], separator: str
) -> dict:
    """Returns the figures of an `Evaluation` that follow from its responses.

    Args:
        problems: sequence of `Problem`s, at least one.
        responses: the response to each of them.
        separator: string. What follows each step; see
            `ContinuousThoughtPreprocessor`.
    """
    correct = tuple(
        extract_answer(response) == normalize_answer(problem.answer)
        for problem, response in zip(problems, responses)
    )
    chains = sum(
        response.partition("###")[0]
        == "".join(step + separator for step in problem.steps)
        for problem, response in zip(problems, responses)
    )
    return {
        "accuracy": sum(correct) / len(problems),
        "chain_match": chains / len(problems),
        "correct": correct,
    }


def extract_answer(response: str) -> str:
    """Returns the answer in a response.

    It is the text after the last `#`, without commas and outer spaces.

    Args:
        response: string, as `generate` returns it.

    Returns:
        A string, normalized for comparison with `Problem.answer`.

    Raises:
        ValueError: If `response` is not a string.

    Example:
    ```python
    keras_coconut.extract_answer("7 4 ### 1,009")  # "1009"
    ```
    """
    response = check_string("response", response)
    return normalize_answer(response.rsplit("#", 1)[-1])


def normalize_answer(answer: str) -> str:
    """Returns an answer as evaluation compares it.

    Args:
        answer: string, such as `Problem.answer`.

    Returns:
        A string, without commas and outer spaces.

    Raises:
        ValueError: If `answer` is not a string.

    Example:
    ```python
    keras_coconut.evaluation.normalize_answer(" 1,009")  # "1009"
    ```
    """
    return check_string("answer", answer).replace(",", "").strip()


def _check_list(name, values, kind):
    expected = f"a list of {'strings' if kind is str else 'booleans'}"
    if not isinstance(values, list | tuple):
        raise refuse(name, expected, values)
    for index, value in enumerate(values):
        if not isinstance(value, kind):
            raise ValueError(
                f"`{name}` must be {expected}. Received: "
                f"{name}[{index}]={shown(value)}"
            )
    return tuple(values)
