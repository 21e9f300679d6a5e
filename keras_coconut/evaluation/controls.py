"""Controls: the same trained model with thoughts other than its own.

Coconut's thoughts do not always matter: a fine-tuned GPT-2 answers most of
ProsQA without any. To see what the thoughts contribute, compare the accuracy
with that without thoughts, and with that of other thoughts in their place.
"""

import dataclasses
import functools
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import ArrayLike

from keras_coconut.checks import (
    PathLike,
    Verbose,
    check_count,
    check_verbose,
)
from keras_coconut.evaluation.problems import Evaluation, answer
from keras_coconut.evaluation.request import Request, check_request
from keras_coconut.evaluation.results_file import check_results_folder
from keras_coconut.evaluation.unfinished import part_of
from keras_coconut.models.continuous_thought_lm import ContinuousThoughtLM
from keras_coconut.models.thought_reader import read_states
from keras_coconut.problems import Problem
from keras_coconut.progress import Progress
from keras_coconut.text.arrays import (
    Counts,
    finite_numbers,
    per_row_counts,
)

# By name, what takes the thoughts' place.
CONTROLS = {
    "none": "no thoughts at all",
    "noise": "random directions, each as long as the thought it replaces",
    "other": "the thoughts of another problem",
    "mean": "the mean thought of each slot",
    "zeros": "zeros",
    "shuffled": "the problem's own thoughts in another order",
    "removed": "no thoughts, the response at the positions it had with them",
}
# Of a model that pauses: nothing is given in place of a pause.
_OF_PAUSES = ("none", "removed")


def evaluate_controls(
    model: ContinuousThoughtLM,
    problems: Iterable[Problem | Mapping],
    *,
    num_thoughts: Counts | None = None,
    max_length: int | None = None,
    batch_size: int = 32,
    verbose: Verbose = "auto",
    seed: int = 0,
    results_folder: PathLike | None = None,
) -> dict[str, Evaluation]:
    """Answers problems with the thoughts left out or replaced.

    Every argument is checked before anything is generated. The order of the
    thoughts matters if the model is wrong more often with `"shuffled"`. With
    `"none"` the response also moves forward; `"removed"` leaves it in place,
    and nothing attends to the positions in between.

    Args:
        model: a `ContinuousThoughtLM` with a preprocessor.
        problems: iterable of `Problem`s, at least two.
        num_thoughts: int, or one int for each problem. Every problem must fit
            with the largest of these numbers. Defaults to the model's
            `num_thoughts`.
        max_length, batch_size, verbose: see `evaluate_problems`. One progress
            line counts all answers, and says which control is being evaluated.
        seed: int. Seed of the noise, of the exchange of thoughts and of their
            order. Defaults to `0`.
        results_folder: string or path-like. A folder, created if it is missing,
            with a results file for each control, such as `noise.json`. It works
            like `results_path` of `evaluate_problems`: finished responses are
            not generated again. After an interruption they are not in any case,
            and `partial` of the `KeyboardInterrupt` holds the results so far.
            Optional.

    Returns:
        A dictionary of `Evaluation`s by the names of
        `keras_coconut.evaluation.CONTROLS`: `"none"` without thoughts,
        `"noise"`, `"other"` with another problem's thoughts, `"mean"` with the
        mean thought of each slot, `"zeros"`, `"shuffled"` with the problem's
        own thoughts in another order, and `"removed"`. If the model's thoughts
        are pauses, there are only `"none"` and `"removed"`; if it does not
        think, the dictionary is empty. `Evaluation.compare` tests a control
        against the model's own answers.

    Raises:
        ValueError: If there are fewer than two problems, if one does not fit
            the model, or if an argument is invalid.
        OSError: If `results_folder` cannot be written.

    Example:
    ```python
    own = keras_coconut.evaluate_problems(model, problems)
    for name, found in keras_coconut.evaluate_controls(model, problems).items():
        print(f"{name}: {found.accuracy:.1%} instead of {own.accuracy:.1%}")
        print(found.interval, found.compare(own).p_value)
    ```
    """
    verbose = check_verbose(verbose)
    seed = check_count("seed", seed)
    own = check_request(model, problems, num_thoughts, max_length, batch_size)
    if len(own.problems) < 2:
        raise ValueError(
            "`problems` must hold at least two problems, so that one can get "
            f"the thoughts of another. Received: {len(own.problems)}"
        )
    if not any(own.counts):
        return {}
    most = max(own.counts)
    if min(own.counts) < most:
        check_request(model, own.problems, most, max_length, batch_size)
    continuous = model.thought_kind == "continuous"
    names = list(CONTROLS if continuous else _OF_PAUSES)
    paths = check_results_folder(results_folder, names)

    @functools.cache
    def replaced():
        # All problems think as often as any, so that each has thoughts to give
        # for every slot of another.
        with Progress("think", len(own.problems), verbose) as progress:
            states = read_states(
                model,
                own.questions,
                most,
                own.batch_size,
                on_batch=progress.add,
            )
        return replace_thoughts(states.thoughts, seed, num_thoughts=own.counts)

    def thoughts_of(control: str) -> np.ndarray:
        return replaced()[control]

    found: dict[str, Evaluation] = {}
    # All problems think before they get thoughts in place of their own.
    total = len(own.problems) * (len(names) + continuous)
    with Progress(
        "controls", total, verbose, "answers", steady=True
    ) as progress:
        for control in names:
            make = functools.partial(thoughts_of, control)
            request = _replaced(own, control, make, seed)
            with part_of(found, control):
                found[control] = answer(
                    request, control, verbose, paths[control]
                )
        # Files may have made it needless to think.
        progress.skip(total - progress.done)
    return found


def _replaced(own: Request, control: str, make_thoughts, seed: int) -> Request:
    """Returns the request of a control."""
    if control in _OF_PAUSES:
        request = dataclasses.replace(own, counts=[0] * len(own.counts))
        if control == "none":
            return request
        return dataclasses.replace(
            request,
            skipped=own.counts,
            thoughts={"control": control, "positions": own.num_thoughts},
        )
    # The seed and the model tell what the thoughts are.
    return dataclasses.replace(
        own,
        make_thoughts=make_thoughts,
        thoughts={"control": control, "seed": seed},
    )


def replace_thoughts(
    thoughts: ArrayLike, seed: int = 0, *, num_thoughts: Counts | None = None
) -> dict[str, np.ndarray]:
    """Returns the thoughts that each control uses in place of the given ones.

    Args:
        thoughts: float array (problems, K, D), at least two problems.
        seed: int. Defaults to `0`.
        num_thoughts: int, or one int for each problem. How many of its thoughts
            a problem uses, the first ones: only these change their order.
            Defaults to all.

    Returns:
        A dictionary of arrays (problems, K, D): `"noise"`, random directions
        with the norms of the thoughts; `"other"`, the thoughts of another
        problem; `"mean"`, the mean over the problems; `"zeros"`; and
        `"shuffled"`, a problem's own thoughts in a random order, which is never
        their own if there are two or more.

    Raises:
        ValueError: If `thoughts` is not such an array.

    Example:
    ```python
    questions = [problem.question for problem in problems]
    keras_coconut.replace_thoughts(model.think(questions, 2))["mean"]
    ```
    """
    thoughts = finite_numbers("thoughts", thoughts).astype("float64")
    if thoughts.ndim != 3 or len(thoughts) < 2:
        raise ValueError(
            "`thoughts` must have the shape (problems, K, D), at least two "
            f"problems. Received: shape={thoughts.shape}"
        )
    seed = check_count("seed", seed)
    rows, slots, _ = thoughts.shape
    counts = per_row_counts(
        "num_thoughts",
        slots if num_thoughts is None else num_thoughts,
        rows,
        slots,
    )
    # What is drawn first stays the same for a seed: files hold its results.
    random = np.random.default_rng(seed)
    noise = random.normal(size=thoughts.shape)
    noise *= np.linalg.norm(thoughts, axis=-1, keepdims=True) / np.linalg.norm(
        noise, axis=-1, keepdims=True
    )
    # A cycle through all problems: none keeps its own.
    order = random.permutation(len(thoughts))
    others = np.empty_like(thoughts)
    others[order] = thoughts[np.roll(order, 1)]
    mean = np.broadcast_to(thoughts.mean(axis=0), thoughts.shape)
    shuffled = thoughts.copy()
    for row, count in enumerate(counts):
        order = _another_order(random, count)
        shuffled[row, :count] = thoughts[row, order]
    return {
        "noise": noise,
        "other": others,
        "mean": mean,
        "zeros": np.zeros_like(thoughts),
        "shuffled": shuffled,
    }


def _another_order(random: np.random.Generator, count: int) -> np.ndarray:
    """Returns an order of `count` things that is not the one they have."""
    own = order = np.arange(count)
    while count > 1 and (order == own).all():
        order = random.permutation(count)
    return order
