"""The results of a report's sections as tables of text."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from keras_coconut.analysis import (
    SearchTree,
    Superposition,
    ThoughtBudget,
    ThoughtGeometry,
    ThoughtProbes,
)
from keras_coconut.evaluation import Evaluation
from keras_coconut.evaluation.controls import CONTROLS
from keras_coconut.problems import Problem
from keras_coconut.report import words
from keras_coconut.report.causal_tables import counterfactuals, minimal_pairs
from keras_coconut.report.patterns import is_selective, place
from keras_coconut.report.sections import Section
from keras_coconut.report.table import EMPTY, WHOSE, Table, both


def tables_of(
    name: str, sections: Mapping[str, Section], problems: Sequence[Problem]
) -> list[Table]:
    """Returns the tables of a section.

    Args:
        name: string, the section's name.
        sections: dictionary of all sections.
        problems: list of the problems of the costly parts.
    """
    result = sections[name].result
    if name == "decoded":
        return list(_decoded(result, problems))
    if name == "controls":
        return list(_controls(result, sections["answers"].result))
    make: Callable[[Any], Iterator[Table]] = _MAKERS[name]
    return list(make(result))


def _answers(result: Mapping[str, Evaluation]):
    yield Table(
        "Accuracy and cost of an answer",
        ["", "accuracy", "steps as given", "tokens", "time"],
        [
            [
                name,
                words.share(found.interval),
                f"{found.chain_match:.1%}",
                f"{found.tokens_generated:.1f}",
                words.seconds(found.seconds),
            ]
            for name, found in result.items()
        ],
    )


def _controls(
    result: Mapping[str, Mapping[str, Evaluation]],
    answers: Mapping[str, Evaluation],
):
    for name, found in result.items():
        if found:
            yield Table(
                f"{WHOSE[name]}accuracy in place of its own thoughts",
                ["", "accuracy", "p", "tokens", "what is there"],
                [
                    [
                        control,
                        words.share(each.interval),
                        f"{each.compare(answers[name]).p_value:.2g}",
                        f"{each.tokens_generated:.1f}",
                        CONTROLS[control],
                    ]
                    for control, each in found.items()
                ],
            )


def _budget(result: ThoughtBudget):
    for whose, found in both(result):
        rows = []
        for each in found.forced:
            stable = sum(
                needed <= each.num_thoughts
                for needed in found.stable_match.thoughts
            )
            p_value = each.against_full and each.against_full.p_value
            rows.append(
                [
                    str(each.num_thoughts),
                    words.share(each.accuracy),
                    EMPTY if p_value is None else f"{p_value:.2g}",
                    f"{stable / len(found.stable_match.thoughts):.1%}",
                    f"{each.evaluation.tokens_generated:.1f}",
                ]
            )
        head = ["thoughts", "accuracy", "p against most"]
        head += ["no longer changes", "tokens"]
        yield Table(f"{whose}forced numbers of thoughts", head, rows)


def _decoded(result, problems):
    for number, (problem, thoughts) in enumerate(zip(problems, result), 1):
        yield Table(
            f"Problem {number}",
            ["thought", "most probable tokens"],
            [
                [
                    str(slot),
                    ", ".join(
                        f"{t.token!r} {t.probability:.0%}" for t in tokens
                    ),
                ]
                for slot, tokens in enumerate(thoughts, 1)
            ],
            problem.question,
        )


def _geometry(result: ThoughtGeometry):
    for whose, found in both(result):
        rows = [
            [
                str(slot.slot + 1),
                words.mean(slot.norm),
                _mean(slot.to_next),
                _mean(slot.across_problems),
                words.mean(slot.nearest_embedding),
                f"{slot.centered_rank:.1f}",
                f"{null.centered_rank:.1f}",
            ]
            for slot, null in zip(found.thoughts.slots, found.noise.slots)
        ]
        head = ["thought", "norm", "cosine to the next", "across problems"]
        head += ["to the nearest token", "rank", "rank of noise"]
        yield Table(f"{whose}geometry of the thoughts", head, rows)


def _mean(value) -> str:
    return EMPTY if value is None else words.mean(value)


def _probes(result: ThoughtProbes):
    for whose, found in both(result):
        rows = []
        for step in range(max(map(len, found.thoughts))):
            probes = [slot[step] for slot in found.thoughts]
            known = [probe for probe in probes if probe is not None]
            if not known:
                continue
            cells = [
                EMPTY
                if probe is None
                else words.share(probe.accuracy) + " *" * is_selective(probe)
                for probe in probes
            ]
            most = f"{known[0].majority.share:.1%}"
            rows.append([str(step + 1), most, *cells])
        head = ["step", "most frequent"]
        head += [f"thought {slot + 1}" for slot in range(len(found.thoughts))]
        yield Table(f"{whose}accuracy of linear probes", head, rows)


def _tree(result: SearchTree):
    for whose, found in both(result):
        rows = []
        for level in found.levels:
            mass = level.frontier_mass
            if mass is None:
                continue
            rows.append(
                [
                    str(level.num_thoughts),
                    str(level.num_problems),
                    words.mean(mass.frontier.share),
                    f"{mass.frontier.chance:.2f}",
                    words.mean(mass.frontier.excess),
                    f"{mass.frontier.by_frequency:.2f}",
                    words.mean(mass.frontier.excess_by_frequency),
                    words.mean(mass.unreachable.share),
                    words.mean(mass.on_nodes),
                ]
            )
        head = ["thoughts", "problems", "on the frontier", "by chance"]
        head += ["more than by chance", "by statements"]
        head += ["more than by statements", "out of reach", "on any node"]
        yield Table(
            f"{whose}where the value of the nodes lies", head, rows, _NULLS
        )
        rows = [
            [
                str(level.num_thoughts),
                *map(words.mean, level.parallelism.means),
                words.mean(level.parallelism.gap),
                words.mean(level.parallelism.relative_gap),
                f"{level.parallelism.uniform_gap:.2f}",
            ]
            for level in found.levels
            if level.parallelism is not None
        ]
        head = ["thoughts", "best node", "best two", "best three"]
        head += ["three less one", "the same by the frontier's value"]
        head += ["if all nodes were alike"]
        yield Table(
            f"{whose}how many nodes of the frontier share its value", head, rows
        )


_NULLS = (
    "By chance: if all nodes were alike to the model. By statements: if it "
    "named nodes by how often the question's statements name them."
)


_PLACES = (
    "Attention is read at the question's last token and at each thought. The "
    "paper counts where a thought is made, one place earlier: its thought 1 is "
    "the question's last token here."
)


def _superposition(result: Superposition):
    for whose, found in both(result):
        # Attention is read from the question's last token on.
        layer = found.layer + 1
        for what, means, first in (
            (f"attention of layer {layer}", found.attention, 0),
            (
                f"attention of layer {layer}, mean of its heads",
                found.attention_per_head,
                0,
            ),
            ("inner products", found.inner_products, 1),
        ):
            rows = [
                [
                    place(number),
                    *(
                        words.mean(each)
                        for each in (
                            groups.not_reachable,
                            groups.reachable,
                            groups.frontier,
                            groups.optimal,
                        )
                    ),
                ]
                for number, groups in enumerate(means, first)
                if groups is not None
            ]
            if not rows:
                continue
            head = ["thought", "out of reach", "reachable", "frontier"]
            text = _PLACES if means is found.attention else ""
            yield Table(f"{whose}{what}", [*head, "optimal"], rows, text)


_MAKERS: dict[str, Any] = {
    "answers": _answers,
    "budget": _budget,
    "geometry": _geometry,
    "probes": _probes,
    "tree": _tree,
    "superposition": _superposition,
    "counterfactuals": counterfactuals,
    "minimal_pairs": minimal_pairs,
}
