"""Controls: the same trained model with other thoughts than its own.

Coconut's thoughts need not matter: a fine-tuned GPT-2 answers most of ProsQA
without any. An accuracy shows what the thoughts contribute only beside the
accuracy without them and with others in their place.
"""

import dataclasses
import functools
from collections.abc import Iterable, Sequence

import numpy as np

from keras_coconut.checks import check_count, check_verbose
from keras_coconut.evaluation.problems import Evaluation, answer
from keras_coconut.evaluation.request import check_request
from keras_coconut.evaluation.results_file import check_results_folder
from keras_coconut.models.thought_reader import read_thoughts
from keras_coconut.problems import Problem
from keras_coconut.progress import Progress
from keras_coconut.text.arrays import finite_numbers

# By name, what takes the thoughts' place.
CONTROLS = {
    "none": "no thoughts at all",
    "noise": "random directions, each as long as the thought it replaces",
    "other": "the thoughts of another problem",
    "mean": "the mean thought of each slot",
}


def evaluate_controls(
    model,
    problems: Iterable[Problem],
    num_thoughts: int | Sequence[int] | None = None,
    max_length: int | None = None,
    batch_size: int = 32,
    verbose="auto",
    seed: int = 0,
    results_folder=None,
) -> dict[str, Evaluation]:
    """Answers problems with the thoughts left out or replaced.

    Every argument is checked before anything is generated.

    Args:
        model: a `ContinuousThoughtLM` with a preprocessor.
        problems: iterable of `Problem`s, at least two.
        num_thoughts: int, or one int for each problem. Every problem must have
            room for the most thoughts of any. Defaults to the model's
            `num_thoughts`.
        max_length, batch_size, verbose: see `evaluate_problems`. The progress
            line says which control is being evaluated.
        seed: int. Of the noise and of who gets whose thoughts. Defaults to `0`.
        results_folder: string or path-like. A folder, made if it is missing,
            with a results file for each control, such as `noise.json`. It
            serves like `results_path` of `evaluate_problems`: what is finished
            is not generated again. Optional.

    Returns:
        A dictionary of `Evaluation`s: `"none"`, `"noise"`, `"other"` and
        `"mean"` (see `CONTROLS`). A model whose thoughts are pauses has none
        that could be replaced, and gets `"none"` alone; one that does not
        think gets an empty dictionary.

    Raises:
        ValueError: If there are fewer than two problems, if one does not fit
            the model, or if an argument is not one of these.
        OSError: If `results_folder` cannot be written.

    Example:
    ```python
    accuracy = evaluate_problems(model, problems).accuracy
    for name, found in evaluate_controls(model, problems).items():
        print(f"{name}: {found.accuracy:.1%} instead of {accuracy:.1%}")
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
    names = ["none"]
    if model.thought_kind == "continuous":
        names = list(CONTROLS)
    paths = check_results_folder(results_folder, names)

    @functools.cache
    def replaced():
        # All problems think as often as any, so that each has thoughts to give
        # for every slot of another.
        with Progress("think", len(own.problems), verbose) as progress:
            states = read_thoughts(
                model,
                own.questions,
                most,
                own.batch_size,
                on_batch=progress.add,
            )
        return replace_thoughts(states.thoughts, seed)

    found = {}
    for number, control in enumerate(names, start=1):
        request = dataclasses.replace(own, counts=[0] * len(own.counts))
        if control != "none":
            # The seed and the model tell what the thoughts are.
            request = dataclasses.replace(
                own,
                make_thoughts=lambda control=control: replaced()[control],
                thoughts={"control": control, "seed": seed},
            )
        line = f"control {number} of {len(names)}: {control}"
        found[control] = answer(request, line, verbose, paths[control])
    return found


def replace_thoughts(thoughts, seed: int = 0) -> dict[str, np.ndarray]:
    """Returns what each control puts in the place of thoughts.

    Args:
        thoughts: float array (problems, K, D), at least two problems.
        seed: int. Defaults to `0`.

    Returns:
        A dictionary of arrays (problems, K, D): `"noise"`, `"other"` and
        `"mean"`.

    Raises:
        ValueError: If `thoughts` is not such an array.

    Example:
    ```python
    questions = [problem.question for problem in problems]
    replace_thoughts(model.think(questions, 2))["mean"]
    ```
    """
    thoughts = finite_numbers("thoughts", thoughts).astype("float64")
    if thoughts.ndim != 3 or len(thoughts) < 2:
        raise ValueError(
            "`thoughts` must have the shape (problems, K, D), at least two "
            f"problems. Received: shape={thoughts.shape}"
        )
    random = np.random.default_rng(check_count("seed", seed))
    noise = random.normal(size=thoughts.shape)
    noise *= np.linalg.norm(thoughts, axis=-1, keepdims=True) / np.linalg.norm(
        noise, axis=-1, keepdims=True
    )
    # A cycle through all problems: none keeps its own.
    order = random.permutation(len(thoughts))
    others = np.empty_like(thoughts)
    others[order] = thoughts[np.roll(order, 1)]
    mean = np.broadcast_to(thoughts.mean(axis=0), thoughts.shape)
    return {"noise": noise, "other": others, "mean": mean}
