"""The parts of a report: which of them apply, and how each is measured."""

import functools
from collections.abc import Callable
from typing import Any

from keras_coconut import analysis, evaluation
from keras_coconut.evaluation.controls import CONTROLS
from keras_coconut.evaluation.unfinished import part_of
from keras_coconut.report.inputs import (
    Inputs,
    Part,
    has_graph,
    with_graphs,
)
from keras_coconut.report.probe_labels import choose_labels

# The most numbers of thoughts that are forced.
_MOST_FORCED = 7
_FOLDS = 5
# Problems whose thoughts are decoded.
_DECODED = 5
_NO_THOUGHTS = "the model does not think"
_NO_GRAPHS = "the problems hold no graphs, as those of ProsQA do"


def plan(inputs: Inputs) -> list[Part]:
    """Returns all parts of a report, in its order."""
    return [make(inputs) for make in _PARTS.values()]


# === For all problems ===


def _answers(inputs: Inputs) -> Part:
    def evaluate(model):
        return evaluation.evaluate_problems(
            model,
            inputs.problems,
            num_thoughts=inputs.num_thoughts,
            **_options(inputs),
        )

    count = len(inputs.problems)
    run = functools.partial(_for_each, inputs, evaluate)
    return Part("answers", count, len(inputs.models) * count, run)


def _for_each(inputs: Inputs, evaluate: Callable) -> dict[str, Any]:
    """Returns what a function of a model returns, by the models' names."""
    found: dict[str, Any] = {}
    for name, model in inputs.models.items():
        with part_of(found, name):
            found[name] = evaluate(model)
    return found


def _controls(inputs: Inputs) -> Part:
    count = len(inputs.problems)
    because = _needs_thoughts(inputs, 2, count)
    if because:
        return Part("controls", left_out=because)

    def evaluate(model):
        return evaluation.evaluate_controls(
            model,
            inputs.problems,
            num_thoughts=inputs.num_thoughts,
            seed=inputs.seed,
            **_options(inputs),
        )

    run = functools.partial(_for_each, inputs, evaluate)
    # All problems think, then answer with each control.
    units = sum(
        count * (1 + len(CONTROLS) if _is_continuous(model) else 2)
        for model in inputs.models.values()
    )
    return Part("controls", count, units, run)


def _budget(inputs: Inputs) -> Part:
    if not inputs.num_thoughts:
        return Part("budget", left_out=_NO_THOUGHTS)
    counts = forced(inputs.num_thoughts)
    run = functools.partial(
        analysis.thought_budget,
        inputs.model,
        inputs.sampled,
        num_thoughts=counts,
        control=inputs.control,
        **_options(inputs),
    )
    count = len(inputs.sample)
    return Part("budget", count, len(inputs.models) * len(counts) * count, run)


def forced(num_thoughts: int) -> list[int]:
    """Returns the numbers of thoughts to force, at most seven."""
    last = min(num_thoughts, _MOST_FORCED - 1)
    return [round(index * num_thoughts / last) for index in range(last + 1)]


def _decoded(inputs: Inputs) -> Part:
    if not inputs.num_thoughts:
        return Part("decoded", left_out=_NO_THOUGHTS)
    if not _is_continuous(inputs.model):
        because = "the thoughts are pauses, which decode to themselves"
        return Part("decoded", left_out=because)
    problems = inputs.sampled[:_DECODED]

    def run():
        questions = [problem.question for problem in problems]
        return analysis.decode_thoughts(
            inputs.model,
            questions,
            num_thoughts=inputs.num_thoughts,
            top_k=min(3, inputs.model.backbone.vocabulary_size),
            batch_size=inputs.batch_size,
        )

    return Part("decoded", len(problems), len(problems), run)


def _geometry(inputs: Inputs) -> Part:
    count = len(inputs.sample)
    because = _needs_thoughts(inputs, 2, count)
    if because:
        return Part("geometry", left_out=because)
    run = functools.partial(
        analysis.thought_geometry,
        inputs.model,
        inputs.sampled,
        num_thoughts=inputs.num_thoughts,
        control=inputs.control,
        seed=inputs.seed,
        **_options(inputs, writes=False),
    )
    return Part("geometry", count, len(inputs.models) * count, run)


def _probes(inputs: Inputs) -> Part:
    problems = inputs.sampled
    different = len({problem.question for problem in problems})
    because = _needs_thoughts(inputs, _FOLDS, different)
    labels, why = choose_labels(problems)
    if because or why:
        return Part("probes", left_out=because or why)
    run = functools.partial(
        analysis.thought_probes,
        inputs.model,
        problems,
        num_thoughts=inputs.num_thoughts,
        labels=labels,
        folds=_FOLDS,
        control=inputs.control,
        seed=inputs.seed,
        **_options(inputs, writes=False),
    )
    units = len(problems) * (1 + inputs.num_thoughts)
    return Part("probes", len(problems), len(inputs.models) * units, run)


# === For problems with a graph ===


def _tree(inputs: Inputs) -> Part:
    problems = with_graphs(inputs.sampled)
    if not problems:
        return Part("tree", left_out=_NO_GRAPHS)
    run = functools.partial(
        analysis.search_tree,
        inputs.model,
        problems,
        num_thoughts=forced(inputs.num_thoughts)
        if inputs.num_thoughts
        else [0],
        control=inputs.control,
        **_options(inputs, writes=False),
    )
    count = len(problems)
    return Part("tree", count, len(inputs.models) * count, run)


def _superposition(inputs: Inputs) -> Part:
    problems = with_graphs(inputs.sampled)
    if not problems or not inputs.num_thoughts:
        because = _NO_THOUGHTS if problems else _NO_GRAPHS
        return Part("superposition", left_out=because)
    run = functools.partial(
        analysis.superposition,
        inputs.model,
        problems,
        num_thoughts=inputs.num_thoughts,
        control=inputs.control,
        **_options(inputs, writes=False),
    )
    count = len(problems)
    return Part("superposition", count, len(inputs.models) * count, run)


def _counterfactuals(inputs: Inputs) -> Part:
    name = "counterfactuals"
    problems = with_graphs(inputs.problems)
    if not problems:
        return Part(name, left_out=_NO_GRAPHS)
    try:
        made = analysis.make_counterfactuals(
            problems, num_pairs=inputs.num_pairs, seed=inputs.seed
        )
    except ValueError as error:
        return Part(name, left_out=_in_words(error))
    run = functools.partial(
        analysis.evaluate_counterfactuals,
        inputs.model,
        made,
        num_pairs=inputs.num_pairs,
        num_thoughts=inputs.num_thoughts,
        control=inputs.control,
        **_options(inputs),
    )
    count = len(made.pairs)
    return Part(name, count, 3 * len(inputs.models) * count, run)


# === For arithmetic ===


def _minimal_pairs(inputs: Inputs) -> Part:
    name = "minimal_pairs"
    problems = [each for each in inputs.problems if not has_graph(each)]
    if not problems:
        because = "the problems are not arithmetic, but have graphs"
        return Part(name, left_out=because)
    if not inputs.num_thoughts:
        return Part(name, left_out=_NO_THOUGHTS)
    try:
        made = analysis.make_minimal_pairs(
            problems, num_pairs=inputs.num_pairs, seed=inputs.seed
        )
    except ValueError as error:
        return Part(name, left_out=_in_words(error))
    run = functools.partial(
        analysis.evaluate_minimal_pairs,
        inputs.model,
        made,
        num_pairs=inputs.num_pairs,
        num_thoughts=inputs.num_thoughts,
        control=inputs.control,
        seed=inputs.seed,
        **_options(inputs),
    )
    count = len(made.pairs)
    units = sum(
        count * (6 + inputs.num_thoughts if _is_continuous(model) else 2)
        for model in inputs.models.values()
    )
    return Part(name, count, units, run)


_PARTS = {
    "answers": _answers,
    "controls": _controls,
    "budget": _budget,
    "decoded": _decoded,
    "geometry": _geometry,
    "probes": _probes,
    "tree": _tree,
    "superposition": _superposition,
    "counterfactuals": _counterfactuals,
    "minimal_pairs": _minimal_pairs,
}
# Those that may refuse problems for what only they read.
OF_SOME = (
    "probes",
    "tree",
    "superposition",
    "counterfactuals",
    "minimal_pairs",
)


def _options(inputs: Inputs, writes=True) -> dict[str, Any]:
    options: dict[str, Any] = {
        "batch_size": inputs.batch_size,
        "verbose": inputs.verbose,
    }
    if writes:
        options["max_length"] = inputs.max_length
    return options


def _needs_thoughts(inputs, least, count) -> str | None:
    if not inputs.num_thoughts:
        return _NO_THOUGHTS
    if count < least:
        return f"it takes at least {least} problems; there are {count}"
    return None


def _is_continuous(model) -> bool:
    return model.thought_kind == "continuous"


def _in_words(error: Exception) -> str:
    """Returns an error as a reason, which begins with a small letter."""
    return " ".join(str(error).split())
