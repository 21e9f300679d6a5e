"""What probes read from thoughts: the labels of steps, where they come back."""

from collections.abc import Callable, Sequence

from keras_coconut.analysis.probing.step_labels import read_labels, step_labels
from keras_coconut.problems import Problem


def choose_labels(
    problems: Sequence[Problem],
) -> tuple[Callable[[Problem], list] | None, str | None]:
    """Returns labels of steps that a probe can learn, or why there are none.

    Of arithmetic the label is the result of the step. A step counts if its
    labels come back: on average in four problems.
    """
    try:
        known = read_labels(problems, _results)
    except ValueError:
        return None, "the problems have no steps"
    kept = [
        4 * size <= int((numbers >= 0).sum())
        for size, numbers in zip(known.sizes, known.numbers.T)
    ]
    if not any(kept):
        return None, (
            "hardly a step has the same value in several problems, without "
            "which a probe learns nothing"
        )

    def labels(problem):
        return [
            label if keep else None
            for label, keep in zip(_results(problem), kept)
        ]

    return labels, None


def _results(problem: Problem) -> list:
    return [
        label.rsplit("=", 1)[-1].strip(" <>.")
        if isinstance(label, str) and "=" in label
        else label
        for label in step_labels(problem)
    ]
