"""Early stop: after how many thoughts an answer no longer changes."""

import dataclasses
from collections.abc import Mapping

from keras_coconut.evaluation.figures import Evaluation, extract_answer
from keras_coconut.evaluation.statistics import (
    Interval,
    Share,
    mean_interval,
    share_interval,
)


@dataclasses.dataclass(frozen=True)
class EarlyStop:
    """After how many thoughts the answers are those of the full number.

    Attributes:
        thoughts: tuple of ints, the number of thoughts of each problem.
        mean: `Interval`, their mean over the problems.
        shares: dictionary from each number of thoughts to the `Share` of
            problems that need it.

    Example:
    ```python
    found = keras_coconut.thought_budget(model, problems, num_thoughts=[0, 2])
    found.stable_match.mean, found.stable_match.shares[0]
    ```
    """

    thoughts: tuple[int, ...]
    mean: Interval
    shares: dict[int, Share]


def find_matches(
    answers: Mapping[int, Evaluation],
) -> tuple[EarlyStop, EarlyStop]:
    """Returns the first and the stable matches of problems.

    Args:
        answers: the evaluation with each number of thoughts, from the fewest
            to the most, with which all are compared.
    """
    counts = list(answers)
    found = [_matches(counts, texts) for texts in _answers_of(answers.values())]
    first, stable = zip(*found)
    return _early_stop(first, counts), _early_stop(stable, counts)


def _answers_of(evaluations):
    """Yields the answers to each problem, one for each evaluation."""
    for responses in zip(*(found.predictions for found in evaluations)):
        yield [extract_answer(response) for response in responses]


def _matches(counts, answers) -> tuple[int, int]:
    """Returns the first match of a problem, and the stable match."""
    same = [text == answers[-1] for text in answers]
    first = same.index(True)
    # Behind the last answer that differs.
    stable = len(same) - same[::-1].index(False) if False in same else 0
    return counts[first], counts[stable]


def _early_stop(thoughts, counts) -> EarlyStop:
    shares = {
        count: share_interval([needed == count for needed in thoughts])
        for count in counts
    }
    return EarlyStop(tuple(thoughts), mean_interval(thoughts), shares)
