"""Answers with the thoughts of other problems, and whose answers they are."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from keras_coconut.evaluation.figures import (
    Evaluation,
    extract_answer,
    normalize_answer,
)
from keras_coconut.evaluation.problems import answer
from keras_coconut.evaluation.request import Request
from keras_coconut.evaluation.statistics import Share, share_interval
from keras_coconut.evaluation.unfinished import part_of
from keras_coconut.models.thought_reader import read_states
from keras_coconut.progress import Progress

# A donor is a number in the list of all problems, then all twins.
Donors = Sequence[int | None]


@dataclasses.dataclass(frozen=True)
class ThoughtSwap:
    """The answers to questions with the thoughts of other problems.

    Attributes:
        donor: `Share` of answers that are right for the problem that has given
            the thoughts, the donor.
        own: `Share` of answers that are right for the question itself.
        other: `Share` of all other answers.
        donor_if_right: `Share`, as `donor`, among the questions where the model
            answers both problems correctly with their own thoughts. `None` if
            there are none.
        answers: tuple of strings, one for each pair. `None` for a pair without
            a donor, which does not count.
        kinds: tuple, for each answer `"donor"`, `"own"`, `"other"` or `None`.

    Example:
    ```python
    found = keras_coconut.evaluate_minimal_pairs(model, problems)
    found.all_thoughts.donor, found.all_thoughts.kinds[0]
    ```
    """

    donor: Share
    own: Share
    other: Share
    donor_if_right: Share | None
    answers: tuple[str | None, ...]
    kinds: tuple[str | None, ...]


class Swapping:
    """Answers the questions of pairs with other thoughts.

    Args:
        request: a `Request` of all problems, then all twins.
        prefix: string. What stands before the name of a part.
        verbose: int. See `evaluate_problems`.
    """

    def __init__(self, request: Request, prefix: str, verbose: int):
        self.request, self.prefix, self.verbose = request, prefix, verbose
        self.count = len(request.problems) // 2
        self._parts: dict[str, Evaluation] = {}
        own = self._answer("own thoughts", request)
        self.responses = own.predictions
        self.right = own.correct[: self.count], own.correct[self.count :]
        self._all_right = own.correct

    def _answer(self, name, request) -> Evaluation:
        with part_of(self._parts, name):
            found = answer(request, f"{self.prefix}{name}", self.verbose)
            self._parts[name] = found
        return found

    def think(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the thoughts of the problems and those of the twins."""
        request = self.request
        name, total = f"{self.prefix}think", len(request.problems)
        with Progress(name, total, self.verbose) as progress:
            states = read_states(
                request.model,
                request.questions,
                request.counts,
                request.batch_size,
                on_batch=progress.add,
            )
        return states.thoughts[: self.count], states.thoughts[self.count :]

    def swap(self, name: str, thoughts, donors: Donors) -> ThoughtSwap:
        """Answers the questions that have a donor with these thoughts."""
        rows = [row for row, donor in enumerate(donors) if donor is not None]
        given = thoughts[rows]
        found = self._answer(
            name,
            dataclasses.replace(
                self.request,
                problems=[self.request.problems[row] for row in rows],
                counts=[self.request.counts[row] for row in rows],
                make_thoughts=lambda: given,
            ),
        )
        responses: list[str | None] = [None] * self.count
        for row, response in zip(rows, found.predictions):
            responses[row] = response
        return self.judge(responses, donors)

    def judge(self, responses, donors: Donors) -> ThoughtSwap:
        """Compares responses with the answers of question and donor."""
        problems, right = self.request.problems, self._all_right
        answers: list[str | None] = []
        kinds: list[str | None] = []
        if_right = []
        for row, (response, donor) in enumerate(zip(responses, donors)):
            if response is None or donor is None:
                answers.append(None)
                kinds.append(None)
                continue
            text, kind = extract_answer(response), "other"
            if text == normalize_answer(problems[donor].answer):
                kind = "donor"
            elif text == normalize_answer(problems[row].answer):
                kind = "own"
            answers.append(text)
            kinds.append(kind)
            if right[row] and right[donor]:
                if_right.append(kind == "donor")
        known = [kind for kind in kinds if kind is not None]
        donor_share, own, other = (
            share_interval([kind == each for kind in known])
            for each in ("donor", "own", "other")
        )
        return ThoughtSwap(
            donor_share,
            own,
            other,
            share_interval(if_right) if if_right else None,
            tuple(answers),
            tuple(kinds),
        )
