"""What a report is about, and what one of its parts is."""

import dataclasses
import random
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from keras_coconut.models.continuous_thought_lm import ContinuousThoughtLM
from keras_coconut.problems import Problem


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What a report is about, every argument checked.

    `sample` holds the numbers of the problems of the costly parts.
    """

    model: ContinuousThoughtLM
    control: ContinuousThoughtLM | None
    problems: list[Problem]
    sample: list[int]
    num_thoughts: int
    num_pairs: int
    max_length: int | None
    batch_size: int
    seed: int
    verbose: int

    @property
    def models(self) -> dict[str, ContinuousThoughtLM]:
        """The models by what the report calls them."""
        named = {"model": self.model}
        if self.control is not None:
            named["control"] = self.control
        return named

    @property
    def sampled(self) -> list[Problem]:
        """The problems of the costly parts."""
        return [self.problems[index] for index in self.sample]


class Part(NamedTuple):
    """A part of a report that may be measured.

    Attributes:
        name: string.
        size: int, the number of problems or pairs.
        units: int, how many the progress line counts for it.
        run: function without arguments that returns the result.
        left_out: string, why it does not apply. `None` if it does.
    """

    name: str
    size: int = 0
    units: int = 0
    run: Callable[[], Any] | None = None
    left_out: str | None = None


def has_graph(problem: Problem) -> bool:
    """Whether a problem holds a graph, as those of ProsQA do."""
    return "idx_to_symbol" in problem.extra


def with_graphs(problems: Iterable[Problem]) -> list[Problem]:
    """Returns the problems that hold a graph."""
    return [problem for problem in problems if has_graph(problem)]


def draw(count: int, size: int, seed: int) -> list[int]:
    """Returns the numbers of at most `size` of `count` problems, in order."""
    if count <= size:
        return list(range(count))
    return sorted(random.Random(seed).sample(range(count), size))
