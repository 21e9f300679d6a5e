"""How many thoughts a model needs: forced numbers of them, and early stop."""

import dataclasses
import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from keras_coconut.analysis.beside_control import beside_control
from keras_coconut.analysis.early_stop import EarlyStop, find_matches
from keras_coconut.analysis.forced_counts import choose_counts
from keras_coconut.analysis.plain import to_plain
from keras_coconut.checks import (
    PathLike,
    Verbose,
    check_flag,
    check_path,
    check_verbose,
)
from keras_coconut.evaluation.figures import Evaluation
from keras_coconut.evaluation.problems import answer
from keras_coconut.evaluation.reasoning_paths import CLASSES, classify_response
from keras_coconut.evaluation.request import (
    Request,
    check_model,
    check_request,
)
from keras_coconut.evaluation.results_file import check_results_folder
from keras_coconut.evaluation.statistics import (
    McNemar,
    Share,
    holm,
    mcnemar,
    share_interval,
)
from keras_coconut.evaluation.unfinished import part_of
from keras_coconut.graphs import read_graph
from keras_coconut.models.continuous_thought_lm import ContinuousThoughtLM
from keras_coconut.problems import Problem, as_problems
from keras_coconut.progress import Progress

_ROLES = "model", "control"
# What an answer begins with.
_ANSWER = "###"


@dataclasses.dataclass(frozen=True)
class ForcedThoughts:
    """The answers after a forced number of thoughts.

    The tests are paired: `only_first` counts the problems that are answered
    after this number of thoughts alone. Their p-values are corrected by Holm's
    method for all numbers of thoughts.

    Attributes:
        num_thoughts: int.
        accuracy: `Share`, the accuracy with its Wilson interval.
        evaluation: `Evaluation`, with the tokens and seconds of a problem.
        classes: dictionary of `Share`s, how many responses are in each of
            `keras_coconut.evaluation.CLASSES`; only of problems with a graph.
            `None` if no problem has one.
        against_fewer: `McNemar`, against the next smaller number of thoughts.
            `None` for the smallest.
        against_full: `McNemar`, against the largest number of thoughts. `None`
            for the largest.

    Example:
    ```python
    found = keras_coconut.thought_budget(model, problems, num_thoughts=[0, 2])
    found.forced[0].accuracy.share, found.forced[0].against_full.p_value
    ```
    """

    num_thoughts: int
    accuracy: Share
    evaluation: Evaluation
    classes: dict[str, Share] | None
    against_fewer: McNemar | None
    against_full: McNemar | None


@dataclasses.dataclass(frozen=True)
class ThoughtBudget:
    """The result of `thought_budget`.

    Attributes:
        forced: tuple of `ForcedThoughts`, from the fewest thoughts to the most.
        first_match: `EarlyStop`, the least number of thoughts with the same
            answer as after the most.
        stable_match: `EarlyStop`, the least number from which the answer stays
            that one.
        control: the `ThoughtBudget` of the control model, or `None`.

    Example:
    ```python
    found = keras_coconut.thought_budget(model, problems, num_thoughts=[0, 2])
    found.to_dict()["forced"][0]["accuracy"]["share"]
    ```
    """

    forced: tuple[ForcedThoughts, ...]
    first_match: EarlyStop
    stable_match: EarlyStop
    control: "ThoughtBudget | None" = None

    def to_dict(self) -> dict[str, Any]:
        """Returns a dictionary for JSON."""
        return to_plain(self)


def thought_budget(
    model: ContinuousThoughtLM,
    problems: Iterable[Problem | Mapping],
    *,
    num_thoughts: Sequence[int] | None = None,
    answer_at_once: bool = False,
    control: ContinuousThoughtLM | None = None,
    max_length: int | None = None,
    batch_size: int = 32,
    verbose: Verbose = "auto",
    results_folder: PathLike | None = None,
) -> ThoughtBudget:
    """Answers with each number of thoughts, and finds how many are needed.

    The model stops thinking after k thoughts and finishes in language (arXiv
    2412.06769, section 5.1). A model that was not trained with earlier stages
    mixed in may have forgotten to write the remaining steps; a control model
    trained in the same way shows what of a curve that explains. The number of
    thoughts after which an answer no longer changes says how many are used. If
    it is 0, the thoughts may do nothing, or the model may write in language
    what it does not think; `answer_at_once` tells these apart.

    After an interruption, `partial` of the `KeyboardInterrupt` holds the
    `Evaluation`s so far, by `"model"` or `"control"` and by the number of
    thoughts.

    Args:
        model: a `ContinuousThoughtLM` with a preprocessor.
        problems: iterable of `Problem`s, at least one.
        num_thoughts: sequence of distinct ints. The numbers of thoughts to
            force. The largest is the full number, with whose answers the others
            are compared. Defaults to 0 to the model's `num_thoughts`.
        answer_at_once: bool. Whether the response begins with `###`, so that
            the answer follows the thoughts and no step is written. Defaults to
            `False`.
        control: a `ContinuousThoughtLM` that gets the same problems, such as
            one that pauses. Optional.
        max_length, batch_size, verbose: see `evaluate_problems`.
        results_folder: string or path-like. See `evaluate_reasoning`, with
            which its files can be shared unless `answer_at_once`. Those of the
            control are in its folder `control`. Optional.

    Returns:
        A `ThoughtBudget`.

    Raises:
        ValueError: If a problem does not fit a model with the most thoughts, if
            it holds a damaged graph, if `num_thoughts` is `None` and the model
            has none, or if an argument is invalid.
        OSError: If `results_folder` cannot be written.

    Example:
    ```python
    found = keras_coconut.thought_budget(model, problems, num_thoughts=range(3))
    for forced in found.forced:
        print(forced.num_thoughts, forced.accuracy)
    print(found.stable_match.mean)
    ```
    """
    verbose = check_verbose(verbose)
    answer_at_once = check_flag("answer_at_once", answer_at_once)
    model = check_model(model)
    counts = sorted(choose_counts(model, num_thoughts))
    problems = as_problems("problems", problems)
    for index, problem in enumerate(problems):
        if _has_graph(problem):
            read_graph(f"problems[{index}]", problem)
    # What fits with the most thoughts fits with fewer.
    options = counts[-1], max_length, batch_size
    requests = [check_request(model, problems, *options)]
    folders = [results_folder]
    if control is not None:
        control = check_model(control, "control")
        requests.append(check_request(control, problems, *options))
        if results_folder is not None:
            folder = check_path("results_folder", results_folder)
            folders.append(os.path.join(folder, "control"))
        else:
            folders.append(None)
    kind = "answer_" if answer_at_once else ""
    if answer_at_once:
        requests = [
            dataclasses.replace(
                request,
                response_start=_ANSWER,
                thoughts={"response_start": _ANSWER},
            )
            for request in requests
        ]
    names = [f"{kind}thoughts_{count}" for count in counts]
    paths = [check_results_folder(folder, names) for folder in folders]
    total = len(requests) * len(counts) * len(problems)
    answers: dict[str, dict[int, Evaluation]] = {}
    with Progress("thought budget", total, verbose, "answers", steady=True):
        for role, request, files in zip(_ROLES, requests, paths):
            with part_of(answers, role):
                answers[role] = _answer(
                    request,
                    counts,
                    "control, " if role == "control" else "",
                    verbose,
                    list(files.values()),
                )
    return beside_control([_compare(problems, own) for own in answers.values()])


def _answer(request: Request, counts, name, verbose, paths):
    """Returns the evaluation with each number of thoughts."""
    found: dict[int, Evaluation] = {}
    for count, path in zip(counts, paths):
        with part_of(found, count):
            found[count] = answer(
                dataclasses.replace(
                    request, counts=[count] * len(request.problems)
                ),
                f"{name}{count} thoughts",
                verbose,
                path,
            )
    return found


def _compare(problems, answers: dict[int, Evaluation]) -> ThoughtBudget:
    """Returns the figures of evaluations, from the fewest thoughts on."""
    counts, evaluations = list(answers), list(answers.values())
    of_fewer = _corrected(itertools.pairwise(evaluations), backwards=True)
    of_full = _corrected((each, evaluations[-1]) for each in evaluations[:-1])
    forced = tuple(
        ForcedThoughts(
            count,
            found.interval,
            found,
            _classify(problems, found.predictions, count),
            fewer,
            full,
        )
        for count, found, fewer, full in zip(
            counts, evaluations, [None, *of_fewer], [*of_full, None]
        )
    )
    return ThoughtBudget(forced, *find_matches(answers))


def _corrected(pairs, backwards=False) -> list[McNemar]:
    """Returns the tests of pairs of evaluations, corrected together."""
    tests = [
        mcnemar(*[each.correct for each in (pair[::-1] if backwards else pair)])
        for pair in pairs
    ]
    if not tests:
        return []
    p_values = holm([test.p_value for test in tests])
    return [t._replace(p_value=p) for t, p in zip(tests, p_values)]


def _classify(problems, responses, count) -> dict[str, Share] | None:
    """Returns the share of each class among problems that have a graph."""
    found = [
        classify_response(problem, response, num_thoughts=count)
        for problem, response in zip(problems, responses)
        if _has_graph(problem)
    ]
    if not found:
        return None
    return {
        name: share_interval([one == name for one in found]) for name in CLASSES
    }


def _has_graph(problem: Problem) -> bool:
    return "idx_to_symbol" in problem.extra
