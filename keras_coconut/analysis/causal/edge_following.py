"""Whether answers follow the graph: those to problems with one edge moved."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from keras_coconut.analysis.beside_control import beside_control
from keras_coconut.analysis.causal.counterfactual_edges import (
    CounterfactualEdge,
    CounterfactualEdges,
    make_counterfactuals,
)
from keras_coconut.analysis.plain import to_plain
from keras_coconut.checks import Verbose, check_count, check_verbose
from keras_coconut.evaluation.figures import (
    Evaluation,
    extract_answer,
    normalize_answer,
)
from keras_coconut.evaluation.problems import answer
from keras_coconut.evaluation.request import (
    check_model,
    check_request,
)
from keras_coconut.evaluation.statistics import Share, share_interval
from keras_coconut.evaluation.unfinished import part_of
from keras_coconut.models.continuous_thought_lm import ContinuousThoughtLM
from keras_coconut.problems import Problem
from keras_coconut.progress import Progress

_KINDS = ("problem", "changed", "neutral")


@dataclasses.dataclass(frozen=True)
class CounterfactualEvaluation:
    """The result of `evaluate_counterfactuals`.

    `following` stands beside two nulls. `false_following`: a model that is
    easily put off gives the other answer after any change. `decoy_following`: a
    model that goes by what leads to a choice, and not by the root, gives the
    other answer also if the root does not reach what is new.

    Attributes:
        accuracy: `Share` of the original problems answered correctly.
        changed_accuracy: `Share` of the problems answered correctly in which an
            edge is moved that turns the answer around.
        neutral_accuracy: `Share` of the problems answered correctly in which an
            edge is moved that does not matter.
        following: `Share`, among the originals answered correctly, of those
            whose answer turns around with the edge. `None` if none is right.
        staying: `Share`, among the same, of those whose answer stays although
            the edge has turned it around.
        false_following: `Share`, among the same, of those whose answer turns
            around though the moved edge does not matter.
        correct: tuple of bools, whether each original is answered correctly.
        changed_correct: tuple of bools, whether each changed problem is.
        neutral_correct: tuple of bools, whether each neutral one is.
        answers: tuple, for each pair the answers to the original, the changed
            and the neutral problem.
        pairs: tuple of `CounterfactualEdge`s.
        skipped: dictionary from reasons to numbers of problems without a
            counterfactual edge.
        control: the `CounterfactualEvaluation` of the control model, or `None`.
        decoy_accuracy: `Share` of the problems answered correctly in which an
            edge is moved to lead to the other choice, out of the root's reach.
            `None` if there are none.
        decoy_following: `Share`, among the originals answered correctly that
            have a decoy, of those whose answer turns around with it. `None` if
            there are none.
        decoy_correct: tuple, for each pair whether its decoy is answered
            correctly, `None` if it has none.
        decoy_answers: tuple, for each pair the answer to its decoy, or `None`.
        without_decoy: int, the number of pairs in which no edge can be moved
            in this way.

    Example:
    ```python
    found = keras_coconut.evaluate_counterfactuals(model, graph_problems)
    found.to_dict()["changed_accuracy"]["share"]
    ```
    """

    accuracy: Share
    changed_accuracy: Share
    neutral_accuracy: Share
    following: Share | None
    staying: Share | None
    false_following: Share | None
    correct: tuple[bool, ...]
    changed_correct: tuple[bool, ...]
    neutral_correct: tuple[bool, ...]
    answers: tuple[tuple[str, str, str], ...]
    pairs: tuple[CounterfactualEdge, ...]
    skipped: dict[str, int]
    control: "CounterfactualEvaluation | None" = None
    decoy_accuracy: Share | None = None
    decoy_following: Share | None = None
    decoy_correct: tuple[bool | None, ...] = ()
    decoy_answers: tuple[str | None, ...] = ()
    without_decoy: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Returns a dictionary for JSON."""
        return to_plain(self)


def evaluate_counterfactuals(
    model: ContinuousThoughtLM,
    problems: Iterable[Problem | Mapping] | CounterfactualEdges,
    *,
    num_pairs: int = 200,
    num_thoughts: int | None = None,
    control: ContinuousThoughtLM | None = None,
    max_length: int | None = None,
    batch_size: int = 32,
    seed: int = 0,
    verbose: Verbose = "auto",
) -> CounterfactualEvaluation:
    """Answers ProsQA problems before and after an edge of the graph is moved.

    The moved edge changes the right answer; see `make_counterfactuals`. A model
    that has memorized the problem, or that relies on what does not change,
    keeps its answer. A model that follows the edge does not necessarily search
    from the root: on `load_prosqa`'s problems, the rule "choose the option that
    more nodes lead to" follows nine of ten moved edges. A decoy tells these
    apart. It adds nodes that lead to the other option but that the root does
    not reach. The rule changes its answer for about 30% of the decoys, a search
    for none; neither does for a neutral change.

    Args:
        model: a `ContinuousThoughtLM` with a preprocessor. Its thoughts may be
            of any kind, and it may have none.
        problems: iterable of ProsQA `Problem`s, at least one, in words or in
            symbols; or the `CounterfactualEdges` that `make_counterfactuals`
            has made of them.
        num_pairs: int. Maximum number of pairs, from the first problem on.
            Defaults to `200`.
        num_thoughts: int. Defaults to the model's `num_thoughts`.
        control: a `ContinuousThoughtLM` that gets the same problems, such as
            one that pauses. Optional.
        max_length, batch_size, verbose: see `evaluate_problems`.
        seed: int. Chooses the edges. Defaults to `0`.

    Returns:
        A `CounterfactualEvaluation`.

    Raises:
        ValueError: If a problem holds no graph or a damaged one, if no problem
            has a counterfactual edge, if one does not fit a model, or if an
            argument is invalid.

    Example:
    ```python
    found = keras_coconut.evaluate_counterfactuals(model, graph_problems)
    print(found.following, found.false_following, found.decoy_following)
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
    if not isinstance(made, CounterfactualEdges):
        made = make_counterfactuals(made, num_pairs=num_pairs, seed=seed)
    made = made._replace(pairs=made.pairs[:num_pairs])
    asked = [getattr(pair, kind) for kind in _KINDS for pair in made.pairs]
    asked += [pair.decoy for pair in made.pairs if pair.decoy is not None]
    requests = [
        check_request(each, asked, num_thoughts, max_length, batch_size)
        for each in models
    ]
    total = len(requests) * len(asked)
    found: list[CounterfactualEvaluation] = []
    answers: dict[str, Evaluation] = {}
    with Progress(
        "counterfactual edges", total, verbose, "answers", steady=True
    ):
        for request in requests:
            name = "control" if found else "model"
            with part_of(answers, name):
                answers[name] = answer(request, name, verbose)
            found.append(_compare(made, answers[name]))
    return beside_control(found)


def _compare(
    made: CounterfactualEdges, found: Evaluation
) -> CounterfactualEvaluation:
    """Returns the figures of an evaluation of all kinds of problems."""
    count = len(made.pairs)
    texts = list(map(extract_answer, found.predictions))
    # Originals, changed ones, neutral ones; then the decoys there are.
    answers = tuple(
        zip(
            texts[:count],
            texts[count : 2 * count],
            texts[2 * count : 3 * count],
        )
    )
    left = zip(texts[3 * count :], found.correct[3 * count :])
    decoys: list[tuple[str | None, bool | None]] = [
        (None, None) if pair.decoy is None else next(left)
        for pair in made.pairs
    ]
    decoy_answers, decoy_correct = zip(*decoys)
    decoys_right = [flag for flag in decoy_correct if flag is not None]
    right, changed, neutral = (
        found.correct[start * count : (start + 1) * count]
        for start in range(len(_KINDS))
    )
    followed, stayed, misled, lured = [], [], [], []
    for pair, (_, after, beside), with_decoy, is_right in zip(
        made.pairs, answers, decoy_answers, right
    ):
        if is_right:
            old = normalize_answer(pair.problem.answer)
            new = normalize_answer(pair.changed.answer)
            followed.append(after == new)
            stayed.append(after == old)
            misled.append(beside == new)
            if with_decoy is not None:
                lured.append(with_decoy == new)
    return CounterfactualEvaluation(
        share_interval(right),
        share_interval(changed),
        share_interval(neutral),
        share_interval(followed) if followed else None,
        share_interval(stayed) if stayed else None,
        share_interval(misled) if misled else None,
        right,
        changed,
        neutral,
        answers,
        made.pairs,
        made.skipped,
        decoy_accuracy=share_interval(decoys_right) if decoys_right else None,
        decoy_following=share_interval(lured) if lured else None,
        decoy_correct=decoy_correct,
        decoy_answers=decoy_answers,
        without_decoy=count - len(decoys_right),
    )
