"""Linear probes: what of the reasoning can be read from each thought."""

import dataclasses
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from keras_coconut.analysis.beside_control import beside_control
from keras_coconut.analysis.plain import to_plain
from keras_coconut.analysis.probing import softmax_regression
from keras_coconut.analysis.probing.step_labels import read_labels
from keras_coconut.analysis.probing.step_probes import (
    Probes,
    StepProbe,
    Trainer,
    corrected,
)
from keras_coconut.checks import (
    Verbose,
    check_count,
    check_installed,
    check_number,
    check_verbose,
    shown,
)
from keras_coconut.evaluation.request import check_model, check_request
from keras_coconut.models.continuous_thought_lm import ContinuousThoughtLM
from keras_coconut.models.thought_reader import check_layers, read_states
from keras_coconut.problems import Problem, as_problems
from keras_coconut.progress import Progress
from keras_coconut.text.arrays import Counts


@dataclasses.dataclass(frozen=True)
class ThoughtProbes:
    """The result of `thought_probes`.

    `thoughts[slot][step]` is a `StepProbe`, or `None` if fewer problems than
    folds think in the slot and have the step.

    Attributes:
        thoughts: tuple of tuples of `StepProbe`s, from the thoughts: the last
            hidden state before each slot.
        layers: dictionary from a layer's number to such tuples, from the output
            of the layer in each slot, where it has read the thought.
        num_problems: int.
        control: the `ThoughtProbes` of the control model, or `None`.

    Example:
    ```python
    found = keras_coconut.thought_probes(model, problems, folds=2)
    [step.accuracy.share for step in found.question if step]
    found.to_dict()["thoughts"][0][0]["accuracy"]["low"]
    ```
    """

    thoughts: Probes
    layers: dict[int, Probes]
    num_problems: int
    control: "ThoughtProbes | None" = None

    @property
    def question(self) -> tuple[StepProbe | None, ...]:
        """The probes of the question's last state, which is in slot 0.

        What they read needs no thoughts.
        """
        return self.thoughts[0]

    def to_dict(self) -> dict[str, Any]:
        """Returns a dictionary for JSON."""
        return to_plain(self)


def thought_probes(
    model: ContinuousThoughtLM,
    problems: Iterable[Problem | Mapping],
    *,
    num_thoughts: Counts | None = None,
    labels: Callable[[Problem], Sequence[Hashable]] | None = None,
    layers: Sequence[int] | None = None,
    folds: int = 5,
    regularization: float = 1.0,
    control: ContinuousThoughtLM | None = None,
    seed: int = 0,
    batch_size: int = 32,
    verbose: Verbose = "auto",
) -> ThoughtProbes:
    """Predicts the value of each reasoning step from each thought.

    A probe is a softmax regression from the vectors in a slot to the labels of
    a step. It is cross-validated: each problem is predicted by a probe that was
    trained on others, and equal questions share a fold. The intervals take the
    problems as independent.

    That a step can be read from a thought does not show that it was computed
    there, or that the answer depends on it. Compare a probe with its
    `majority` and `shuffled`, with its `selectivity`, with the `question`, from
    which much can be read before any thought, and with a `control` model.

    While probes are trained, NumPy and SciPy multiply matrices on one thread in
    the whole process.

    Args:
        model: a `ContinuousThoughtLM` with a preprocessor.
        problems: iterable of `Problem`s, with at least as many different
            questions as `folds`.
        num_thoughts: int, or one int for each problem. Defaults to the model's
            `num_thoughts`, also for the control.
        labels: function of a `Problem` that returns a list of labels, one for
            each step: strings or ints, or `None` for a step without a label.
            Defaults to the text of each step; for ProsQA to the node that the
            step leads to.
        layers: list of ints. Backbone layers, counted from 0, whose hidden
            states are probed too. Defaults to `None`.
        folds: int, at least 2. Defaults to `5`.
        regularization: float. Half of it, times the squared weights, is added
            to the summed cross entropy of the probe, whose inputs are scaled to
            a variance of 1. Defaults to `1.0`.
        control: a `ContinuousThoughtLM`, such as one that pauses. Optional.
        seed: int. Seed of the folds and of the shuffled labels. Defaults to
            `0`.
        batch_size, verbose: see `evaluate_problems`.

    Returns:
        A `ThoughtProbes`.

    Raises:
        ValueError: If no problem thinks or has a label, if there are too few
            problems, if one does not fit a model, or if an argument is invalid.
        ImportError: If SciPy or threadpoolctl is not installed.

    Example:
    ```python
    found = keras_coconut.thought_probes(model, problems, folds=2)
    for slot, steps in enumerate(found.thoughts):
        for step, probe in enumerate(steps):
            if probe is not None:
                print(slot, step, probe.accuracy, probe.selectivity)
    ```
    """
    check_installed("thought_probes", "scipy", "threadpoolctl")
    verbose = check_verbose(verbose)
    seed = check_count("seed", seed)
    folds = check_count("folds", folds, least=2)
    regularization = check_number("regularization", regularization, above=0)
    problems = as_problems("problems", problems)
    questions = [problem.question for problem in problems]
    if len(set(questions)) < folds:
        raise ValueError(
            "`problems` must hold at least as many different questions as "
            f"`folds`. Received: {len(set(questions))} and folds={shown(folds)}"
        )
    requests = [
        check_request(model, problems, num_thoughts, batch_size=batch_size)
    ]
    watched = check_layers(model, layers)
    counts = requests[0].counts
    if not any(counts):
        raise ValueError(
            "`num_thoughts` must be at least 1 for one of the problems. "
            f"Received: num_thoughts={shown(num_thoughts)} and "
            f"model.num_thoughts={model.num_thoughts}"
        )
    if control is not None:
        control = check_model(control, "control")
        check_layers(control, layers)
        requests.append(
            check_request(control, problems, counts, batch_size=batch_size)
        )
    known = read_labels(problems, labels)
    used = np.arange(max(counts)) < np.asarray(counts)[:, None]
    trainer = Trainer(
        known,
        softmax_regression.divide(questions, folds, seed),
        folds,
        regularization,
        seed,
    )
    found: list[ThoughtProbes] = []
    total = len(problems) + int(used.sum()) * (1 + len(watched))
    total *= len(requests)
    with Progress("thought probes", total, verbose, "states") as progress:
        for request in requests:
            states = read_states(
                request.model,
                request.questions,
                counts,
                request.batch_size,
                watched,
                on_batch=progress.add,
            )
            tables = [
                trainer.table(vectors, used, progress)
                for vectors in (
                    states.thoughts,
                    *(states.hidden_states[layer] for layer in watched),
                )
            ]
            thoughts, *others = corrected(tables)
            by_layer = dict(zip(watched, others))
            found.append(ThoughtProbes(thoughts, by_layer, len(problems)))
    return beside_control(found)
