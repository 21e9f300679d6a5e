"""Controls: the same trained model with other thoughts than its own.

Coconut's thoughts need not matter: a fine-tuned GPT-2 answers most of ProsQA
with none. An accuracy is worth what it loses when the thoughts are taken away
or replaced, so these figures belong beside it.
"""

from collections.abc import Sequence

import numpy as np

from keras_coconut.evaluation.problems import Evaluation, evaluate_problems
from keras_coconut.problems import Problem

# By name, what stands in the thoughts' place.
CONTROLS = {
    "none": "no thoughts at all",
    "noise": "random directions, each as long as the thought it replaces",
    "other": "the thoughts of another problem",
    "mean": "the mean thought of each slot",
}


def evaluate_controls(
    model,
    problems: Sequence[Problem],
    num_thoughts: int | None = None,
    max_length: int | None = None,
    batch_size: int = 32,
    verbose: int = 0,
    seed: int = 0,
) -> dict[str, Evaluation]:
    """Answers problems with the thoughts left out or replaced.

    Args:
        model: a `ContinuousThoughtLM` with a preprocessor.
        problems: sequence of `Problem`s, at least two.
        num_thoughts: int. Defaults to the model's `num_thoughts`.
        max_length, batch_size, verbose: see `evaluate_problems`.
        seed: int. Of the noise and of who gets whose thoughts. Defaults to `0`.

    Returns:
        A dictionary of `Evaluation`s: `"none"`, `"noise"`, `"other"` and
        `"mean"` (see `CONTROLS`). A model whose thoughts are pauses has none
        that could be replaced, and gives `"none"` alone; one that does not
        think gives an empty dictionary.

    Raises:
        ValueError: If there are fewer than two problems.

    Example:
    ```python
    accuracy = evaluate_problems(model, problems).accuracy
    for name, found in evaluate_controls(model, problems).items():
        print(f"{name}: {found.accuracy:.1%} instead of {accuracy:.1%}")
    ```
    """
    problems = list(problems)
    if len(problems) < 2:
        raise ValueError(
            "`problems` must hold at least two problems, so that one can get "
            f"the thoughts of another. Received: {len(problems)}"
        )
    if num_thoughts is None:
        num_thoughts = model.num_thoughts
    if not num_thoughts:
        return {}
    options = dict(
        max_length=max_length, batch_size=batch_size, verbose=verbose
    )
    found = {"none": evaluate_problems(model, problems, 0, **options)}
    if model.thought_kind != "continuous":
        return found
    thoughts = model.think(
        [problem.question for problem in problems], num_thoughts, batch_size
    )
    for name, replaced in replace_thoughts(thoughts, seed).items():
        found[name] = evaluate_problems(
            model, problems, num_thoughts, thoughts=replaced, **options
        )
    return found


def replace_thoughts(thoughts, seed: int = 0) -> dict[str, np.ndarray]:
    """Returns by control what stands in place of thoughts (problems, K, D)."""
    thoughts = np.asarray(thoughts)
    random = np.random.default_rng(seed)
    noise = random.normal(size=thoughts.shape)
    noise *= np.linalg.norm(thoughts, axis=-1, keepdims=True) / np.linalg.norm(
        noise, axis=-1, keepdims=True
    )
    # A cycle through all problems: nobody keeps its own.
    order = random.permutation(len(thoughts))
    others = np.empty_like(thoughts)
    others[order] = thoughts[np.roll(order, 1)]
    mean = np.broadcast_to(thoughts.mean(axis=0), thoughts.shape)
    return {"noise": noise, "other": others, "mean": mean}
