"""Turns strings into spans, and generated ids back into strings."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import keras_hub
import numpy as np
from keras_hub.src.utils import preset_utils

from keras_coconut.backbones.families import (
    check_backbone,
    max_sequence_length,
)
from keras_coconut.checks import (
    PathLike,
    check_count,
    check_flag,
    check_path,
    check_text,
    refuse,
    shown,
)
from keras_coconut.curriculum import (
    Layout,
    ThoughtKind,
    check_thought_kind,
)
from keras_coconut.problems import Problem, as_problems
from keras_coconut.text import arrays, batches
from keras_coconut.text.marker_tokens import (
    add_thought_tokens,
    check_thought_tokens,
    choose_marker_tokens,
)
from keras_coconut.text.registration import register
from keras_coconut.text.span_packer import SpanPacker
from keras_coconut.text.tokenization import (
    check_tokenizer,
    constructor_config,
    decode,
    encode,
    fingerprint,
    has_start_token,
    is_loaded,
    largest_id,
    unsaved_config,
)
from keras_coconut.text.tokenized_problems import TokenizedProblem


@register
class ContinuousThoughtPreprocessor(
    SpanPacker, keras_hub.models.CausalLMPreprocessor
):
    """Turns problems into the three spans, and generated ids into text.

    The layout is that of the published code: the question and a newline,
    `<bot>`, the thoughts, `<eot>`, each remaining step and a newline, `### `
    and the answer, end of text. Each part is tokenized separately. Everything
    here is Python and NumPy; TensorFlow is not needed.

    If a question, a step or an answer contains the characters of a control
    token, such as `<|endoftext|>`, they become ordinary tokens.

    Pauses are tokens: they follow `<bot>` at the end of the question's span,
    and there are no thoughts to compute.

    Args:
        tokenizer: a KerasHub tokenizer of a known family with the marker
            tokens; see `keras_coconut.add_thought_tokens`.
        sequence_length: int. Maximum number of positions of question, thoughts
            and response of a problem together. A `ContinuousThoughtLM` lowers
            it to its backbone's maximum, if there is one. Defaults to `1024`.
        separator: string. The text after the question and after each step. For
            symbolic text it may be empty, so that a step is one token.
            Defaults to a newline, as published.
        markers: bool. Whether `<bot>` and `<eot>` surround the thoughts.
            Without them the question does not end with `<bot>`, and `<eot>`
            only keeps the position before the response; see
            `ContinuousThoughtLM`. Defaults to `True`, as published.
        marker_tokens: a tuple of three strings, the tokens for `<bot>`, `<eot>`
            and the pause. Defaults to those that
            `keras_coconut.add_thought_tokens` adds or finds.
        add_start_token: bool. Whether a question begins with the tokenizer's
            start token. Defaults to `None`, the habit of the family: `True` for
            OPT, Llama, Mistral, Phi 3 and Gemma.

    Call arguments:
        x: a `Problem`, a dictionary with its keys, or a list of them.
        hidden_steps: int, or one int for each problem. Number of steps to leave
            out, from the front. Defaults to `0`.
        num_thoughts: int, or one int for each problem. Defaults to `0`.
        hidden_tokens: int, or one int for each problem. Number of tokens to
            leave out from the front of the remaining steps. Defaults to `0`.
        thought_kind: `"continuous"`, or `"pause"` for pause tokens in place of
            thoughts. Defaults to `"continuous"`.

    Returns:
        A tuple `(x, y, sample_weight)`: a dictionary with the five keys of the
        call contract (see `ContinuousThoughtLM`), labels (B, R), and loss
        weights (B, R), 1 for labelled positions and 0 elsewhere.

    Raises:
        ValueError: If the tokenizer lacks the marker tokens, if a count is
            negative or not an integer, or if a problem does not fit.

    Example:
    ```python
    preprocessor = keras_coconut.ContinuousThoughtPreprocessor(tokenizer)
    problem = keras_coconut.Problem("1 + 2 + 3?", ["1 + 2 = 3"], "6")
    # The first step replaced by two thoughts.
    x, y, sample_weight = preprocessor(problem, hidden_steps=1, num_thoughts=2)
    ```
    """

    sequence_length: int

    def __init__(
        self,
        tokenizer: keras_hub.models.Tokenizer,
        sequence_length: int = 1024,
        *,
        separator: str = "\n",
        markers: bool = True,
        marker_tokens: Sequence[str] | None = None,
        add_start_token: bool | None = None,
        **kwargs: Any,
    ) -> None:
        check_tokenizer(tokenizer)
        sequence_length = check_count(
            "sequence_length", sequence_length, least=1
        )
        if add_start_token is None:
            add_start_token = has_start_token(tokenizer)
        elif (
            check_flag("add_start_token", add_start_token)
            and tokenizer.start_token is None
        ):
            raise ValueError(
                "`add_start_token` must be left out for a tokenizer without a "
                f"start token. Received: a {type(tokenizer).__name__}"
            )
        super().__init__(
            tokenizer,
            sequence_length=sequence_length,
            add_start_token=bool(add_start_token),
            **kwargs,
        )
        self.separator = check_text("separator", separator)
        self.markers = check_flag("markers", markers)
        # `None` while a preset loads, whose vocabulary comes last.
        self.marker_tokens: Any = marker_tokens
        self._largest_id = 0
        self._choose_markers()

    @classmethod
    def from_preset(
        cls,
        preset: PathLike,
        config_file: str = "preprocessor.json",
        **kwargs: Any,
    ) -> "ContinuousThoughtPreprocessor":
        """Makes the preprocessor from a preset of its own or a plain preset.

        For a plain KerasHub preset the marker tokens are added to the
        tokenizer, and a question begins with a start token if the preset's own
        preprocessor and its family have one.

        Args:
            preset: string or path-like. A built-in preset name, a `kaggle://`
                or `hf://` handle, or a local folder.
            config_file: string. The preset's config file of the preprocessor.
                Defaults to `"preprocessor.json"`.
            **kwargs: Passed to the constructor. A `tokenizer` replaces that of
                a plain preset.

        Raises:
            ValueError: If the preset's tokenizer is of an unknown family, or if
                its vocabulary cannot grow and lacks the marker tokens.

        Example:
        ```python
        preprocessor = keras_coconut.ContinuousThoughtPreprocessor.from_preset(
            "gpt2_base_en", markers=False
        )
        ```
        """
        preset = check_path("preset", preset)
        config_file = check_path("config_file", config_file)
        # KerasHub would look for a subclass of ours with the backbone's family.
        loader = preset_utils.get_preset_loader(preset)
        saved = {}
        if preset_utils.check_file_exists(preset, config_file):
            saved = preset_utils.load_json(preset, config_file)
        kind = keras.saving.get_registered_object(saved.get("registered_name"))
        if isinstance(kind, type) and issubclass(kind, cls):
            return loader.load_preprocessor(cls, config_file, **kwargs)
        if "tokenizer" not in kwargs:
            kwargs["tokenizer"] = add_thought_tokens(
                keras_hub.models.Tokenizer.from_preset(preset),
                marker_tokens=kwargs.get("marker_tokens"),
            )
        if saved.get("config", {}).get("add_start_token") is False:
            kwargs["add_start_token"] = kwargs.get("add_start_token") or False
        return cls(**kwargs)

    def load_preset_assets(self, preset: Any) -> None:
        super().load_preset_assets(preset)
        self._choose_markers()

    def _choose_markers(self) -> None:
        self.marker_tokens = choose_marker_tokens(
            self.tokenizer, self.marker_tokens
        )
        # While a preset loads, the vocabulary arrives after the constructor.
        if is_loaded(self.tokenizer):
            check_thought_tokens(self.tokenizer, self.marker_tokens)

    def fit_to(self, backbone: keras_hub.models.Backbone) -> None:
        """Adapts the preprocessor to the sizes of a backbone.

        Raises:
            ValueError: If the backbone is of an unknown family, or if it lacks
                an embedding for some token.
        """
        check_backbone(backbone)
        if is_loaded(self.tokenizer):  # A saved model loads it later.
            largest = largest_id(self.tokenizer)
            if largest >= backbone.vocabulary_size:
                raise ValueError(
                    "`backbone` must have an embedding for every token of the "
                    f"preprocessor's vocabulary, whose largest id is {largest};"
                    " `keras_coconut.add_thought_tokens` grows it. Received: "
                    f"vocabulary_size={backbone.vocabulary_size}"
                )
        # A table may have more rows than the vocabulary tokens.
        self._largest_id = backbone.vocabulary_size - 1
        longest = max_sequence_length(backbone)
        if longest is not None:
            self.sequence_length = min(self.sequence_length, longest)

    @property
    def begin_of_thought_id(self) -> int:
        """The id of `<bot>`, which ends a question."""
        return self.tokenizer.token_to_id(self.marker_tokens[0])

    @property
    def end_of_thought_id(self) -> int:
        """The id of `<eot>`, which starts every response."""
        return self.tokenizer.token_to_id(self.marker_tokens[1])

    @property
    def pause_id(self) -> int:
        """The id of the pause, a learned token in place of a thought."""
        return self.tokenizer.token_to_id(self.marker_tokens[2])

    def __call__(self, *args, **kwargs):
        # Past Keras, which has nothing to convert here, and which would add all
        # arguments, however many problems they are, to an error's message.
        return self.call(*args, **kwargs)

    def call(
        self,
        x: Problem | Mapping | Iterable[Problem | Mapping],
        y: None = None,
        sample_weight: None = None,
        hidden_steps: arrays.Counts = 0,
        num_thoughts: arrays.Counts = 0,
        hidden_tokens: arrays.Counts = 0,
        thought_kind: ThoughtKind = "continuous",
    ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
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
                arrays.per_row_counts("hidden_steps", hidden_steps, rows),
                self._num_thoughts(num_thoughts, rows),
                arrays.per_row_counts("hidden_tokens", hidden_tokens, rows),
            )
        ]
        for problem, layout in zip(tokenized, layouts):
            self.check_length(problem, layout)
        return self.pack(tokenized, layouts)

    def tokenize_problems(
        self, problems: Sequence[Problem]
    ) -> list[TokenizedProblem]:
        """Returns the token ids of the parts of each problem."""
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
        questions = arrays.check_questions("questions", questions)
        start = [self.tokenizer.start_token_id] if self.add_start_token else []
        begin = [self.begin_of_thought_id] if self.markers else []
        texts = [question + self.separator for question in questions]
        return [
            start + ids + begin for ids in self._tokenize(texts, starts=True)
        ]

    def tokenize_responses(self, responses: Sequence[str]) -> list[list[int]]:
        """Returns the token ids of each response, `<eot>` to end of text.

        Each line is tokenized separately, like a problem's steps and answer.
        """
        responses = arrays.check_questions("responses", responses)
        lines = [self._split(response) for response in responses]
        ids = iter(self._tokenize([line for row in lines for line in row]))
        return [
            [
                self.end_of_thought_id,
                *(token for _ in row for token in next(ids)),
                self.tokenizer.end_token_id,
            ]
            for row in lines
        ]

    def _split(self, response: str) -> list[str]:
        """Returns the lines of a response, each followed by the separator."""
        if not self.separator:
            return [response]
        *lines, last = response.split(self.separator)
        lines = [line + self.separator for line in lines]
        return [*lines, last] if last else lines

    def fingerprint(self) -> str:
        """Returns a text with all settings that affect a problem's tokens."""
        texts = (self.separator, self.markers, self.add_start_token)
        # KerasHub has some of them in a set, whose order changes.
        control = sorted(self._control)
        return f"{texts} {control} {fingerprint(self.tokenizer)}"

    def generate_preprocess(
        self,
        x: Sequence[str],
        num_thoughts: arrays.Counts = 0,
        *,
        thought_kind: ThoughtKind = "continuous",
    ) -> dict[str, np.ndarray]:
        """Turns question strings into the question's and thoughts' keys."""
        check_thought_kind(thought_kind)
        questions = arrays.check_questions("x", x)
        rows = len(questions)
        counts = self._num_thoughts(num_thoughts, rows)
        return batches.pack_questions(
            *self.fill_slots(
                self.tokenize_questions(questions),
                counts,
                [thought_kind] * rows,
            )
        )

    def generate_postprocess(self, x: Iterable[Iterable[int]]) -> list[str]:
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
        known = largest_id(self.tokenizer)
        most = max(known, self._largest_id)
        rows = []
        for row, ids in enumerate(x):
            if isinstance(ids, str | Mapping) or not hasattr(ids, "__iter__"):
                raise refuse(f"x[{row}]", "a list of token ids", ids)
            ids = [check_count(f"x[{row}]", i, most=most) for i in ids]
            rows.append([i for i in ids if i <= known and i not in control])
        return decode(self.tokenizer, rows)

    @property
    def _control(self) -> tuple[str, ...]:
        """The control tokens, which a user's text never becomes."""
        return (*self.marker_tokens, *self.tokenizer.special_tokens)

    def _tokenize(self, texts: list[str], starts=False) -> list[list[int]]:
        return encode(self.tokenizer, texts, self._control, starts)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["add_end_token"]
        config["tokenizer"]["config"].update(unsaved_config(self.tokenizer))
        return {
            **config,
            "separator": self.separator,
            "markers": self.markers,
            "marker_tokens": self.marker_tokens and list(self.marker_tokens),
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any]
    ) -> "ContinuousThoughtPreprocessor":
        tokenizer = config.get("tokenizer")
        if isinstance(tokenizer, dict):
            inner = constructor_config(tokenizer["config"])
            config = {**config, "tokenizer": {**tokenizer, "config": inner}}
        return super().from_config(config)
