"""Whether answers follow the thoughts: those of a twin in place of its own."""

import dataclasses
import itertools
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from keras_coconut.analysis.beside_control import beside_control
from keras_coconut.analysis.causal.minimal_pairs import (
    MinimalPair,
    MinimalPairs,
    make_minimal_pairs,
)
from keras_coconut.analysis.causal.thought_swaps import (
    Donors,
    Swapping,
    ThoughtSwap,
)
from keras_coconut.analysis.plain import to_plain
from keras_coconut.checks import Verbose, check_count, check_verbose
from keras_coconut.evaluation.figures import normalize_answer
from keras_coconut.evaluation.request import (
    Request,
    check_model,
    check_request,
)
from keras_coconut.evaluation.statistics import Share, share_interval
from keras_coconut.models.continuous_thought_lm import ContinuousThoughtLM
from keras_coconut.problems import Problem
from keras_coconut.progress import Progress

_PAUSES = "its thoughts are pauses, which nothing can replace"
_NO_THOUGHTS = "it answers without thoughts"


@dataclasses.dataclass(frozen=True)
class MinimalPairEvaluation:
    """The result of `evaluate_minimal_pairs`.

    `all_thoughts` and `each_thought` stand beside two nulls. `no_swap` says how
    often the answer is the twin's although no thought has been swapped.
    `other_problems` says how often unrelated thoughts carry their answer over:
    if hardly ever, thoughts work only with a question like their own; if as
    often as the twin's, they hold the answer itself.

    Attributes:
        accuracy: `Share` of the questions answered correctly.
        twin_accuracy: `Share` of the twins answered correctly.
        no_swap: `ThoughtSwap`, with the question's own thoughts.
        all_thoughts: `ThoughtSwap`, with all thoughts of the twin.
        each_thought: tuple of `ThoughtSwap`s, with the twin's thought in one
            slot. The thoughts after it stay the question's own; they are not
            thought again.
        other_problems: `ThoughtSwap`, with all thoughts of a problem that has
            another answer than question and twin. `None` if no pair has such a
            donor.
        no_swaps_because: string. Why the model's thoughts cannot be swapped;
            all four are then empty or `None`. `None` if they can.
        correct: tuple of bools, whether each question is answered correctly.
        twin_correct: tuple of bools, whether each twin is.
        pairs: tuple of `MinimalPair`s.
        skipped: dictionary from reasons to numbers of problems without a twin.
        control: the `MinimalPairEvaluation` of the control model, or `None`.

    Example:
    ```python
    found = keras_coconut.evaluate_minimal_pairs(model, problems)
    [swap.donor.share for swap in found.each_thought]
    ```
    """

    accuracy: Share
    twin_accuracy: Share
    no_swap: ThoughtSwap | None
    all_thoughts: ThoughtSwap | None
    each_thought: tuple[ThoughtSwap, ...]
    other_problems: ThoughtSwap | None
    no_swaps_because: str | None
    correct: tuple[bool, ...]
    twin_correct: tuple[bool, ...]
    pairs: tuple[MinimalPair, ...]
    skipped: dict[str, int]
    control: "MinimalPairEvaluation | None" = None

    def to_dict(self) -> dict[str, Any]:
        """Returns a dictionary for JSON."""
        return to_plain(self)


def evaluate_minimal_pairs(
    model: ContinuousThoughtLM,
    problems: Iterable[Problem | Mapping] | MinimalPairs,
    *,
    num_pairs: int = 200,
    num_thoughts: int | None = None,
    control: ContinuousThoughtLM | None = None,
    max_length: int | None = None,
    batch_size: int = 32,
    seed: int = 0,
    verbose: Verbose = "auto",
) -> MinimalPairEvaluation:
    """Answers questions with the thoughts of their twins.

    A twin is the same problem with one number changed and another answer; see
    `make_minimal_pairs`. If the thoughts carry the answer, the question with
    the twin's thoughts gets the twin's answer. If the model reads the answer
    from the question, it stays the question's own.

    Args:
        model: a `ContinuousThoughtLM` with a preprocessor.
        problems: iterable of `Problem`s, at least one; or the `MinimalPairs`
            that `make_minimal_pairs` has made of them.
        num_pairs: int. Maximum number of pairs, from the first problem on.
            Defaults to `200`.
        num_thoughts: int. Defaults to the model's `num_thoughts`.
        control: a `ContinuousThoughtLM` that gets the same pairs, such as one
            trained without a curriculum. Of one that pauses only the accuracies
            are known. Optional.
        max_length, batch_size, verbose: see `evaluate_problems`.
        seed: int. Chooses the numbers that are changed, and the donors of
            `other_problems`. Defaults to `0`.

    Returns:
        A `MinimalPairEvaluation`.

    Raises:
        ValueError: If no problem has a twin, if one does not fit a model, or if
            an argument is invalid.

    Example:
    ```python
    found = keras_coconut.evaluate_minimal_pairs(model, problems, num_pairs=5)
    print(found.all_thoughts.donor)
    print(found.other_problems.donor)
    ```
    """
    verbose = check_verbose(verbose)
    seed = check_count("seed", seed)
    num_pairs = check_count("num_pairs", num_pairs, least=1)
    if num_thoughts is not None:
        num_thoughts = check_count("num_thoughts", num_thoughts)
    models = [check_model(model)]
    if control is not None:
        models.append(check_model(control, "control"))
    made = problems
    if not isinstance(made, MinimalPairs):
        made = make_minimal_pairs(made, num_pairs=num_pairs, seed=seed)
    made = made._replace(pairs=made.pairs[:num_pairs])
    both = [pair.problem for pair in made.pairs]
    both += [pair.twin for pair in made.pairs]
    requests = [
        check_request(each, both, num_thoughts, max_length, batch_size)
        for each in models
    ]
    donors = _draw_donors(made.pairs, seed)
    total = sum(_count_work(request, donors) for request in requests)
    found: list[MinimalPairEvaluation] = []
    with Progress("minimal pairs", total, verbose, "answers", steady=True):
        for request in requests:
            prefix = "control, " if found else ""
            found.append(_evaluate(request, made, donors, prefix, verbose))
    return beside_control(found)


def _draw_donors(pairs: Sequence[MinimalPair], seed) -> list[int | None]:
    """Returns for each pair a problem with a third answer."""
    numbers = random.Random(seed)
    order = numbers.sample(range(len(pairs)), len(pairs))
    answers = [normalize_answer(pair.problem.answer) for pair in pairs]
    donors: list[int | None] = []
    for own, pair in zip(answers, pairs):
        refused = own, normalize_answer(pair.twin.answer)
        first = numbers.randrange(len(order))
        candidates = itertools.chain(order[first:], order[:first])
        others = (row for row in candidates if answers[row] not in refused)
        donors.append(next(others, None))
    return donors


def _no_swaps_because(request: Request) -> str | None:
    if request.model.thought_kind != "continuous":
        return _PAUSES
    return None if any(request.counts) else _NO_THOUGHTS


def _count_work(request: Request, donors: Donors) -> int:
    """Returns how many answers there will be, and questions to think about."""
    both, count = len(request.problems), len(donors)
    if _no_swaps_because(request):
        return both
    others = count - donors.count(None)
    return 2 * both + count + count * request.counts[0] + others


def _evaluate(
    request: Request, made: MinimalPairs, donors: Donors, prefix, verbose
) -> MinimalPairEvaluation:
    """Returns the figures of one model."""
    swapping = Swapping(request, prefix, verbose)
    right, twin_right = swapping.right
    count = len(made.pairs)
    because = _no_swaps_because(request)
    no_swap, all_thoughts, each_thought, others = None, None, [], None
    if because is None:
        own, twins = swapping.think()
        of_twins = range(count, 2 * count)
        no_swap = swapping.judge(swapping.responses[:count], of_twins)
        all_thoughts = swapping.swap("all thoughts", twins, of_twins)
        for slot in range(request.counts[0]):
            given = own.copy()
            given[:, slot] = twins[:, slot]
            name = f"thought {slot + 1}"
            each_thought.append(swapping.swap(name, given, of_twins))
        if donors.count(None) < count:
            # Those without a donor are left out.
            given = own[[donor or 0 for donor in donors]]
            others = swapping.swap("another problem's", given, donors)
    return MinimalPairEvaluation(
        share_interval(right),
        share_interval(twin_right),
        no_swap,
        all_thoughts,
        tuple(each_thought),
        others,
        because,
        right,
        twin_right,
        made.pairs,
        made.skipped,
    )
