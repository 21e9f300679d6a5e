"""Strings to spans, and generated ids back to strings."""

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import keras
import keras_hub

from keras_coconut.checks import (
    check_count,
    check_flag,
    check_instance,
    check_text,
    refuse,
    shown,
)
from keras_coconut.curriculum import (
    Layout,
    ThoughtKind,
    check_thought_kind,
)
from keras_coconut.models import spans
from keras_coconut.models.thought_tokens import (
    BEGIN_OF_THOUGHT,
    END_OF_THOUGHT,
    MARKERS,
    THOUGHT,
    check_backbone,
    check_thought_tokens,
)
from keras_coconut.problems import Problem, as_problems


class TokenizedProblem(NamedTuple):
    """The token ids of a problem's parts, in the published text layout."""

    question: list[int]  # question, newline, <bot>
    steps: list[list[int]]  # each step and its newline
    answer: list[int]  # "### ", answer, end of text

    def lengths(self, layout: Layout) -> tuple[int, int, int]:
        """Returns the positions of question, thoughts and response."""
        shown = sum(len(step) for step in self.steps[layout.hidden_steps :])
        shown = max(shown - layout.hidden_tokens, 0)
        question, thoughts = len(self.question), layout.num_thoughts
        if layout.thought_kind == "pause":
            question, thoughts = question + thoughts, 0
        return question, thoughts, 1 + shown + len(self.answer)


@keras.saving.register_keras_serializable(package="keras_coconut")
class ContinuousThoughtPreprocessor(keras_hub.models.GPT2CausalLMPreprocessor):
    """Turns problems into the three spans, and generated ids into text.

    The text is laid out as in the published code: the question and a newline,
    `<bot>`, the thoughts, `<eot>`, each remaining step and a newline, `### `
    and the answer, end of text. Each part is tokenized by itself. Everything
    here is Python and NumPy; TensorFlow is not needed.

    Text is text: where a question, a step or an answer holds the characters of
    a control token, such as `<|endoftext|>`, they are tokenized as any others.

    Pauses are tokens that need no thinking: they end the question's span, after
    `<bot>`, and leave no thoughts to compute.

    Args:
        tokenizer: a `keras_hub.tokenizers.GPT2Tokenizer` with the marker
            tokens; see `keras_coconut.add_thought_tokens`.
        sequence_length: int. The most positions that question, thoughts and
            response of a problem may take together. A `ContinuousThoughtLM`
            lowers it to its backbone's maximum. Defaults to `1024`.
        separator: string. What stands behind the question and each step. For
            symbolic text it may be empty, so that a step is one token.
            Defaults to a newline, as published.
        markers: bool. Whether `<bot>` and `<eot>` stand around the thoughts.
            Without them no `<bot>` ends the question, and `<eot>` only holds
            the place before the response; see `ContinuousThoughtLM`. Defaults
            to `True`, as published.

    Call arguments:
        x: a `Problem`, a dictionary with its keys, or a list of them.
        hidden_steps: int, or one int for each problem. How many steps are left
            out, from the front. Defaults to `0`.
        num_thoughts: int, or one int for each problem. Defaults to `0`.
        hidden_tokens: int, or one int for each problem. How many tokens of the
            steps that are left are left out too. Defaults to `0`.
        thought_kind: `"continuous"`, or `"pause"` for pause tokens in the place
            of thoughts. Defaults to `"continuous"`.

    Returns:
        A tuple `(x, y, sample_weight)`: the five keys of the call contract,
        labels (B, R), and weights (B, R) that are 1 where a loss is taken.

    Raises:
        ValueError: If the tokenizer lacks the marker tokens, if a count is
            negative or not whole, or if a problem does not fit.

    Example:
    ```python
    preprocessor = keras_coconut.ContinuousThoughtPreprocessor(tokenizer)
    problem = keras_coconut.Problem("1 + 2 + 3?", ["1 + 2 = 3"], "6")
    # The first step replaced by two thoughts.
    x, y, sample_weight = preprocessor(problem, hidden_steps=1, num_thoughts=2)
    ```
    """

    def __init__(
        self,
        tokenizer,
        sequence_length=1024,
        separator="\n",
        markers=True,
        **kwargs,
    ):
        check_instance(
            "tokenizer",
            tokenizer,
            keras_hub.tokenizers.GPT2Tokenizer,
            "a `keras_hub.tokenizers.GPT2Tokenizer`",
        )
        sequence_length = check_count(
            "sequence_length", sequence_length, least=1
        )
        # The published layout leaves no choice of start and end tokens.
        kwargs.pop("add_start_token", None)
        kwargs.pop("add_end_token", None)
        super().__init__(tokenizer, sequence_length=sequence_length, **kwargs)
        self.separator = check_text("separator", separator)
        self.markers = check_flag("markers", markers)
        # While a preset loads, the vocabulary arrives after the constructor.
        if tokenizer.vocabulary is not None:
            check_thought_tokens(tokenizer)

    def load_preset_assets(self, preset):
        super().load_preset_assets(preset)
        check_thought_tokens(self.tokenizer)

    def fit_to(self, backbone) -> None:
        """Respects a backbone's sizes from now on.

        Raises:
            ValueError: If it is not a GPT-2, or if it lacks an embedding for
                some token.
        """
        check_backbone(backbone)
        vocabulary = self.tokenizer.vocabulary
        if vocabulary is not None:  # None while a saved model is being loaded.
            largest = max(vocabulary.values())
            if largest >= backbone.vocabulary_size:
                raise ValueError(
                    "`backbone` must have an embedding for every token of the "
                    f"preprocessor's vocabulary, whose largest id is {largest};"
                    " `keras_coconut.add_thought_tokens` grows it. Received: "
                    f"vocabulary_size={backbone.vocabulary_size}"
                )
        self.sequence_length = min(
            self.sequence_length, backbone.max_sequence_length
        )

    @property
    def begin_of_thought_id(self) -> int:
        """The token that ends a question and starts the latent mode."""
        return self.tokenizer.token_to_id(BEGIN_OF_THOUGHT)

    @property
    def end_of_thought_id(self) -> int:
        """The token that ends the latent mode and starts every response."""
        return self.tokenizer.token_to_id(END_OF_THOUGHT)

    @property
    def pause_id(self) -> int:
        """The learned token that takes the place of a thought as a pause."""
        return self.tokenizer.token_to_id(THOUGHT)

    def __call__(self, *args, **kwargs):
        # Past Keras, which has nothing to convert here, and which would add all
        # arguments, however many problems they are, to an error's message.
        return self.call(*args, **kwargs)

    def call(
        self,
        x,
        y=None,
        sample_weight=None,
        hidden_steps=0,
        num_thoughts=0,
        hidden_tokens=0,
        thought_kind="continuous",
    ):
        for name, value in (("y", y), ("sample_weight", sample_weight)):
            if value is not None:
                raise ValueError(
                    f"`{name}` must be left out: it follows from the problems. "
                    f"Received: {name}={shown(value)}"
                )
        check_thought_kind(thought_kind)
        single = isinstance(x, Problem) or (
            isinstance(x, Mapping) and isinstance(x.get("question"), str)
        )
        problems = as_problems("x", [x] if single else x)
        rows = len(problems)
        tokenized = self.tokenize_problems(problems)
        layouts = [
            Layout(*counts, thought_kind)
            for counts in zip(
                spans.per_row_counts("hidden_steps", hidden_steps, rows),
                self._num_thoughts(num_thoughts, rows),
                spans.per_row_counts("hidden_tokens", hidden_tokens, rows),
            )
        ]
        for problem, layout in zip(tokenized, layouts):
            self.check_length(problem, layout)
        return self.pack(tokenized, layouts)

    def tokenize_problems(
        self, problems: Sequence[Problem]
    ) -> list[TokenizedProblem]:
        """Returns the token ids of each problem's parts."""
        problems = as_problems("problems", problems)
        questions = self.tokenize_questions([p.question for p in problems])
        steps = self._tokenize(
            [
                step + self.separator
                for problem in problems
                for step in problem.steps
            ]
        )
        answers = self._tokenize([f"### {p.answer}" for p in problems])
        end = [self.tokenizer.end_token_id]
        tokenized, start = [], 0
        for problem, question, answer in zip(problems, questions, answers):
            stop = start + len(problem.steps)
            tokenized.append(
                TokenizedProblem(question, steps[start:stop], answer + end)
            )
            start = stop
        return tokenized

    def tokenize_questions(self, questions: Sequence[str]) -> list[list[int]]:
        """Returns the token ids of each question, `<bot>` at the end."""
        questions = spans.check_questions("questions", questions)
        begin = [self.begin_of_thought_id] if self.markers else []
        texts = [question + self.separator for question in questions]
        return [ids + begin for ids in self._tokenize(texts)]

    def pack(
        self,
        problems: Sequence[TokenizedProblem],
        layouts: Sequence[Layout],
        question_length: int | None = None,
        slots: int | None = None,
        response_length: int | None = None,
    ):
        """Returns `(x, y, sample_weight)` for problems under given layouts.

        The lengths `Q`, `K` and `R` are those of the longest row if `None`.
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
        x = spans.pack_questions(
            questions, num_thoughts, question_length, slots
        )
        x.update(spans.pack_responses(responses, response_length))
        return x, *spans.targets(x)

    def fill_slots(
        self,
        questions: Sequence[list[int]],
        num_thoughts: Sequence[int],
        kinds: Sequence[ThoughtKind],
    ) -> tuple[list[list[int]], list[int]]:
        """Writes pauses behind the questions whose thoughts are pauses.

        Returns:
            The token ids of the questions, and how often each is thought on.
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
            text = self.tokenizer.detokenize(problem.question[:12])
            raise ValueError(
                "question, thoughts and response must fit into "
                f"{self.sequence_length} positions. Received: the problem "
                f"{shown(text)}... with {shown(length)} ({shown(question)} of "
                f"the question, {shown(thoughts)} thoughts, {response} of the "
                "response)"
            )

    def generate_preprocess(self, x, num_thoughts=0, thought_kind="continuous"):
        """Turns question strings into the question's and thoughts' keys."""
        check_thought_kind(thought_kind)
        questions = spans.check_questions("x", x)
        rows = len(questions)
        counts = self._num_thoughts(num_thoughts, rows)
        return spans.pack_questions(
            *self.fill_slots(
                self.tokenize_questions(questions),
                counts,
                [thought_kind] * rows,
            )
        )

    def generate_postprocess(self, x) -> list[str]:
        """Turns generated token ids into strings.

        Args:
            x: a list with the ids of each response.

        Returns:
            A list of strings: the steps and the answer as the model wrote
            them, without control tokens.

        Raises:
            ValueError: If an id is not in the vocabulary.
        """
        if isinstance(x, str | bytes | Mapping) or not hasattr(x, "__iter__"):
            raise refuse("x", "a list with the token ids of each response", x)
        control = {self.tokenizer.token_to_id(token) for token in self._control}
        most = max(self.tokenizer.vocabulary.values())
        rows = []
        for row, ids in enumerate(x):
            if isinstance(ids, str | Mapping) or not hasattr(ids, "__iter__"):
                raise refuse(f"x[{row}]", "a list of token ids", ids)
            rows.append([check_count(f"x[{row}]", i, most=most) for i in ids])
        rows = [[i for i in ids if i not in control] for ids in rows]
        return [self.tokenizer.detokenize(row) if row else "" for row in rows]

    def _num_thoughts(self, counts, rows) -> list[int]:
        # Before there is a slot, or a pause, for each of too many.
        most = self.sequence_length
        return spans.per_row_counts("num_thoughts", counts, rows, most)

    @property
    def _control(self) -> tuple[str, ...]:
        """The tokens that steer, and that no text of a user's may hold."""
        return (*MARKERS, self.tokenizer.end_token)

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        if not texts:
            return []
        control = re.compile("|".join(map(re.escape, self._control)))
        # Where a control token stands in a text, its first character goes to
        # one piece and the others to the next: neither is the token.
        pieces, ends = [], []
        for text in texts:
            start = 0
            for found in control.finditer(text):
                pieces.append(text[start : found.start() + 1])
                start = found.start() + 1
            pieces.append(text[start:])
            ends.append(len(pieces))
        ids = self.tokenizer(pieces)
        return [
            list(itertools.chain.from_iterable(ids[start:end]))
            for start, end in zip([0, *ends], ends)
        ]

    def get_config(self):
        config = super().get_config()
        del config["add_start_token"], config["add_end_token"]
        return {
            **config,
            "separator": self.separator,
            "markers": self.markers,
        }


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
