"""Tokenized problems to the arrays of a batch."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_coconut.checks import refuse, shown
from keras_coconut.curriculum import Layout, ThoughtKind, check_thought_kind
from keras_coconut.text import arrays, batches
from keras_coconut.text.targets import targets
from keras_coconut.text.tokenization import decode
from keras_coconut.text.tokenized_problems import TokenizedProblem

# The preprocessor that it is mixed into: KerasHub's, which has no types.
_Preprocessor: Any = object


class SpanPacker(_Preprocessor):
    """The part of the preprocessor that follows the tokenizer."""

    def pack(
        self,
        problems: Sequence[TokenizedProblem],
        layouts: Sequence[Layout],
        *,
        question_length: int | None = None,
        slots: int | None = None,
        response_length: int | None = None,
    ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
        """Returns `(x, y, sample_weight)` for problems under given layouts.

        With `None`, the lengths `Q`, `K` and `R` are those of the longest row.
        """
        _check_rows("problems", problems, TokenizedProblem)
        _check_rows("layouts", layouts, Layout, len(problems))
        questions, num_thoughts = self.fill_slots(
            [problem.question for problem in problems],
            [layout.num_thoughts for layout in layouts],
            [layout.thought_kind for layout in layouts],
        )
        responses = []
        for problem, layout in zip(problems, layouts):
            shown = sum(problem.steps[layout.hidden_steps :], [])
            shown = shown[layout.hidden_tokens :]
            responses.append([self.end_of_thought_id, *shown, *problem.answer])
        x = batches.pack_questions(
            questions, num_thoughts, question_length, slots
        )
        x.update(batches.pack_responses(responses, response_length))
        return x, *targets(x)

    def fill_slots(
        self,
        questions: Sequence[list[int]],
        num_thoughts: Sequence[int],
        kinds: Sequence[ThoughtKind],
    ) -> tuple[list[list[int]], list[int]]:
        """Appends pauses to the questions whose thoughts are pauses.

        Returns:
            The token ids of the questions, and the number of thoughts for each.
        """
        _check_rows("questions", questions, list)
        _check_rows("kinds", kinds, str, len(questions))
        num_thoughts = self._num_thoughts(num_thoughts, len(questions))
        filled, counts = [], []
        for question, count, kind in zip(questions, num_thoughts, kinds):
            pauses = 0
            if check_thought_kind(kind, "kinds") == "pause":
                pauses = count
            filled.append(question + [self.pause_id] * pauses)
            counts.append(count - pauses)
        return filled, counts

    def check_length(self, problem: TokenizedProblem, layout: Layout) -> None:
        """Raises a `ValueError` for a problem longer than `sequence_length`."""
        _check_rows("problem", [problem], TokenizedProblem)
        _check_rows("layout", [layout], Layout)
        question, thoughts, response = problem.lengths(layout)
        response -= not self.markers
        length = question + thoughts + response
        if length > self.sequence_length:
            (text,) = decode(self.tokenizer, [problem.question[:12]])
            raise ValueError(
                "question, thoughts and response must fit into "
                f"{self.sequence_length} positions. Received: the problem "
                f"{shown(text)}... with {shown(length)} ({shown(question)} of "
                f"the question, {shown(thoughts)} thoughts, {response} of the "
                "response)"
            )

    def _num_thoughts(self, counts, rows) -> list[int]:
        # Before there is a slot, or a pause, for each of too many.
        most = self.sequence_length
        return arrays.per_row_counts("num_thoughts", counts, rows, most)


def _check_rows(name: str, values, kind: type, rows: int | None = None) -> None:
    """Raises a `ValueError` unless there is one of a kind for each row."""
    expected = f"a list of `{kind.__name__}`s"
    if not isinstance(values, Sequence) or isinstance(values, str | bytes):
        raise refuse(name, expected, values)
    if len(values) != (rows or len(values) or 1):
        raise ValueError(
            f"`{name}` must hold one for each row"
            f"{f', {rows} of them' if rows else ''}, at least one. Received: "
            f"{len(values)}"
        )
    for index, value in enumerate(values):
        if not isinstance(value, kind):
            raise refuse(f"{name}[{index}]", f"a `{kind.__name__}`", value)
