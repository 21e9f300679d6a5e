"""The sections of a report: what each is about, and its result."""

import dataclasses
from typing import Any, NamedTuple


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of a report: a result, or why there is none.

    Attributes:
        name: string.
        result: what the function returned that measures it; of `answers` and
            `controls` a dictionary of such results for `"model"` and, if there
            is one, `"control"`. `None` if the section is left out.
        count: int, the number of problems or pairs.
        seconds: float, what it took for all models.
        left_out: string, why the section does not apply. `None` if it does.

    Example:
    ```python
    card = keras_coconut.report_card(model, problems)
    for name, section in card.sections.items():
        print(name, section.seconds, section.left_out)
    ```
    """

    name: str
    result: Any = None
    count: int = 0
    seconds: float = 0.0
    left_out: str | None = None


class About(NamedTuple):
    """A section's title, and what it shows and beside which null."""

    title: str
    text: str


ABOUT = {
    "answers": About(
        "Answers",
        "Accuracy with the model's own thoughts. Shares have Wilson 95% "
        "intervals. A continuous thought counts as one token, a pause as none.",
    ),
    "controls": About(
        "Thoughts left out or replaced",
        "The same model and problems, without thoughts or with other thoughts "
        "in their place. The p-value is that of McNemar's exact test against "
        "the model's own thoughts.",
    ),
    "budget": About(
        "How many thoughts",
        "The model stops thinking after a forced number of thoughts and "
        "finishes in language. “No longer changes” is the share of problems "
        "whose answer, from this number on, is that of the most thoughts. "
        "Without any the model may write what it does not think.",
    ),
    "decoded": About(
        "What thoughts decode to",
        "The most probable tokens of each thought, by the language head. A "
        "token that can be decoded need not be what the model uses.",
    ),
    "geometry": About(
        "Geometry",
        "Lengths, angles and ranks of the thoughts. Thoughts that are alike in "
        "all problems cannot hold what differs between them. The null is noise "
        "with the lengths of the thoughts.",
    ),
    "probes": About(
        "Steps that can be read",
        "Accuracy of linear probes on problems that they were not trained on, "
        "beside that of the most frequent value. Thought 1 is the question's "
        "last state. A star marks a step that is read better than any other "
        "from the same thought (corrected p below 0.05), and better than it "
        "would be guessed. That a step can be read does not show that it is "
        "used.",
    ),
    "tree": About(
        "Search tree",
        "The probability that the next step in language names each node. "
        "Chance is the group's share of the nodes. Such patterns also appear "
        "in models whose thoughts do nothing.",
    ),
    "superposition": About(
        "Superposition",
        "Attention from thoughts to the edges of the graph, and inner products "
        "with its nodes, by group. Nodes out of reach are the null.",
    ),
    "counterfactuals": About(
        "Counterfactual edges",
        "One edge of the graph is moved so that the right answer turns around. "
        "The null is a moved edge that does not matter.",
    ),
    "minimal_pairs": About(
        "Minimal pairs",
        "A question gets the thoughts of its twin, in which one number is "
        "another. The nulls are its own thoughts, and those of an unrelated "
        "problem.",
    ),
}
