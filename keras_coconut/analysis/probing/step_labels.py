"""Labels of reasoning steps, which probes predict."""

import re
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

from keras_coconut.checks import is_flag, refuse
from keras_coconut.problems import Problem

_NAME = re.compile(r"<\d+>|\w+")


class Labels(NamedTuple):
    """The labels of problems by numbers.

    `numbers` is int (B, T), the number of each step's label, or -1 where it has
    none. `sizes` holds the number of different labels of each step.
    """

    numbers: np.ndarray
    sizes: tuple[int, ...]


def step_labels(problem: Problem) -> list[Hashable]:
    """Returns the text of each step, or the node of a graph it leads to.

    Args:
        problem: a `Problem`. If its `extra` holds a graph, as ProsQA's do, a
            step's label is the last name of a node in it, if there is one.

    Example:
    ```python
    step_labels(keras_coconut.Problem("1 + 2 + 3?", ["3", "6"], "6"))
    ```
    """
    symbols = problem.extra.get("idx_to_symbol")
    if not isinstance(symbols, list | tuple):
        return list(problem.steps)
    names = {name for name in symbols if isinstance(name, str)}
    return [
        next((n for n in reversed(_NAME.findall(step)) if n in names), step)
        for step in problem.steps
    ]


def read_labels(problems: Sequence[Problem], labels=None) -> Labels:
    """Returns the labels of problems, by a function or `step_labels`.

    Args:
        problems: list of `Problem`s.
        labels: function of a `Problem`; see `thought_probes`. Optional.

    Raises:
        ValueError: If `labels` is no function, if it returns anything but a
            list of labels, or if no problem has one.
    """
    if labels is not None and not callable(labels):
        raise refuse("labels", "a function of a `Problem`, or `None`", labels)
    rows = []
    for problem in problems:
        found = (labels or step_labels)(problem)
        rows.append(_check(found))
    most = max(map(len, rows))
    numbers = np.full((len(rows), most), -1)
    known: list[dict] = [{} for _ in range(most)]
    for row, found in enumerate(rows):
        for step, label in enumerate(found):
            if label is not None:
                # In the order in which they come.
                number = known[step].setdefault(label, len(known[step]))
                numbers[row, step] = number
    if not (numbers >= 0).any():
        raise ValueError(
            "`labels` must give at least one label to the steps of the "
            "problems. Received: none for any of them"
        )
    return Labels(numbers, tuple(map(len, known)))


def _check(found) -> list:
    expected = (
        "a function that returns a list of strings, of whole numbers or `None`,"
        " one for each step"
    )
    if isinstance(found, str | bytes | dict | set):
        raise refuse("labels", expected, found)
    try:
        found = list(found)
    except TypeError:
        raise refuse("labels", expected, found) from None
    for label in found:
        whole = isinstance(label, int | np.integer) and not is_flag(label)
        if not (label is None or whole or isinstance(label, str)):
            raise refuse("labels", expected, found)
    return found
