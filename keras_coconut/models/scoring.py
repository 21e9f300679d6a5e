"""`score`: what a model makes of responses that are given to it."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from keras_coconut.checks import (
    check_choice,
    check_count,
    check_text,
    refuse,
    shown,
)
from keras_coconut.models.continuation_reader import (
    Continuation,
    read_continuations,
)
from keras_coconut.models.unrolled_decoder import Intercept, UnrolledDecoder
from keras_coconut.text import arrays, batches, targets
from keras_coconut.text.arrays import Counts
from keras_coconut.text.questions import (
    read_questions,
    reject_num_thoughts,
    tokenize,
)
from keras_coconut.text.token_counts import count_tokens

ScoringMode = Literal["logits", "loss"]

# The model that it is mixed into: a task of KerasHub, which has no types.
_Task: Any = object


class Scoring(_Task):
    """A model that scores responses after its thoughts."""

    def score(
        self,
        inputs: str | Sequence[str] | Mapping[str, Any],
        responses: str | Sequence[str] | None = None,
        *,
        num_thoughts: int | Sequence[int] | None = None,
        scoring_mode: ScoringMode = "logits",
        target_ids: Any = None,
        layer_intercept_fn: Intercept | None = None,
    ) -> Any:
        """Scores responses: reads a question, thinks, reads the response.

        As `score` of KerasHub's causal language models, it is not compiled, and
        gradients flow through it. Position r of a response predicts its token
        r + 1.

        Args:
            inputs: a dictionary of the call contract's keys; or a string or a
                list of strings, the questions.
            responses: a string or a list of strings, a response to each
                question, as `generate` returns them. The end of text that
                follows is scored, too. Not for a dictionary, which has
                `response_ids`.
            num_thoughts: int, or one int for each question. Defaults to the
                model's `num_thoughts`; not for a dictionary, whose mask says
                it.
            scoring_mode: `"logits"`, or `"loss"` for the cross entropy of each
                token; its sum over a row is minus the logarithm of the
                response's probability. Defaults to `"logits"`.
            target_ids: int array (B, R), the token that each position should
                predict, -100 where it should predict none. Defaults to the
                response's own next tokens. Only for a dictionary, and with
                `"loss"`.
            layer_intercept_fn: function of activations (B, L, D) and of an int,
                called for the question, then for each thought (L is 1; with
                `num_iterations`, all thoughts in each iteration; given
                `thoughts`, all of them once), then for the response: with what
                enters the first layer and -1, and with the output of each layer
                and its number. What it returns, a tensor of that shape, takes
                their place. Defaults to `None`.

        Returns:
            Logits (B, R, V), or a float32 tensor (B, R) of losses, 0 where
            there is nothing to predict: at a row's last token and behind it.

        Raises:
            ValueError: If the batch cannot be read, or if an argument is given
                that the inputs decide.

        Example:
        ```python
        losses = model.score(
            ["1 + 2?", "4 + 5 + 6?"],
            ["### 3", "### 15"],
            num_thoughts=[0, 3],
            scoring_mode="loss",
        )
        keras.ops.sum(losses, axis=1)  # minus the logarithms of probabilities
        ```
        """
        check_choice("scoring_mode", scoring_mode, ["logits", "loss"])
        if layer_intercept_fn is not None and not callable(layer_intercept_fn):
            raise refuse(
                "layer_intercept_fn",
                "a function of activations and of a layer's number, or `None`",
                layer_intercept_fn,
            )
        if target_ids is not None and scoring_mode != "loss":
            raise ValueError(
                '`target_ids` must be left out unless `scoring_mode="loss"`. '
                f"Received: target_ids={shown(target_ids)}"
            )
        if isinstance(inputs, Mapping):
            x = arrays.with_arrays(inputs)
            _check_batch(self, x, responses, num_thoughts, target_ids)
        else:
            x = _tokenize(self, inputs, responses, num_thoughts, target_ids)
        if layer_intercept_fn is None:
            logits = self(x, training=False)
        else:
            logits = UnrolledDecoder(self, layer_intercept_fn)(x)
        if scoring_mode == "logits":
            return logits
        if target_ids is not None:
            target_ids = ops.convert_to_tensor(target_ids)
        y, weights = targets.complete_targets(
            {key: ops.convert_to_tensor(x[key]) for key in batches.KEYS},
            target_ids,
            None,
        )
        losses = keras.losses.sparse_categorical_crossentropy(
            y, ops.cast(logits, "float32"), from_logits=True
        )
        return losses * weights

    def score_continuations(
        self,
        questions: str | Sequence[str],
        continuations: Sequence[Sequence[str]],
        *,
        num_thoughts: Counts | None = None,
        prompts: str | Sequence[str] | None = None,
        batch_size: int = 32,
    ) -> list[list[np.ndarray]]:
        """Scores many continuations of each question.

        The model reads a question and thinks once, however many continuations
        it has, and keeps only the probabilities of their tokens. It is compiled
        on JAX and TensorFlow.

        Args:
            questions: a string or a list of strings.
            continuations: for each question a list of strings, at least one.
                They are read as `generate` returns them, without the end of
                text.
            num_thoughts: int, or one int for each question. Defaults to the
                model's `num_thoughts`.
            prompts: a string, or one for each question: what stands before its
                continuations and is not scored, except a last space that the
                tokenizer joins with what follows. May be empty. Defaults to
                `None`, which is empty.
            batch_size: int. Number of questions in a batch. Defaults to `32`.

        Returns:
            For each question a list with a float32 array for each
            continuation: the logarithms of the probabilities of its tokens.

        Raises:
            ValueError: If an argument is not one of these, if a token belongs
                both to a prompt and to its continuation, or if a continuation
                does not fit the backbone.

        Example:
        ```python
        scores = model.score_continuations(
            ["1 + 2?", "4 + 5?"],
            [["3", "4"], ["9", "10", "11"]],
            num_thoughts=2,
            prompts="### ",
        )
        [np.exp(tokens.sum()) for tokens in scores[0]]  # probabilities
        ```
        """
        texts, counts = read_questions(self, questions, num_thoughts)
        check_count("batch_size", batch_size, least=1)
        lines = _check_continuations(continuations, len(texts))
        prompts = _check_prompts(prompts, len(texts))
        flat = [
            (prompt, prompt + line, count)
            for prompt, own, count in zip(prompts, lines, counts)
            for line in own
        ]
        given = _count_given(self.preprocessor, flat)
        parts = iter(
            [
                Continuation(own, before, count)
                for (own, before), (_, _, count) in zip(given, flat)
            ]
        )
        return read_continuations(
            self,
            self.preprocessor.tokenize_questions(texts),
            [[next(parts) for _ in own] for own in lines],
            batch_size,
        )


def _count_given(preprocessor, flat) -> list[tuple[list[int], int]]:
    """Returns the token ids of texts, and how many of them are the prompt's.

    Most tokenizers join a space at its end with the word behind it.

    Args:
        preprocessor: a `ContinuousThoughtPreprocessor`.
        flat: list of prompts, of texts that begin with them, and of counts.
    """
    heads = dict.fromkeys(
        head for prompt, _, _ in flat for head in (prompt, prompt.rstrip(" "))
    )
    texts = [*heads, *(text for _, text, _ in flat)]
    ids, _ = count_tokens(preprocessor, texts, [()] * len(texts))
    known = dict(zip(texts, ids))
    counted = []
    for prompt, text, _ in flat:
        own = known[text]
        for head in (prompt, prompt.rstrip(" ")):
            before = known[head] if head else []
            if own[: len(before)] == before:
                counted.append((own, len(before)))
                break
        else:
            raise ValueError(
                "`prompts` must end where a token ends. Received: "
                f"{shown(prompt)}, whose last token goes on in {shown(text)}"
            )
    return counted


def _check_continuations(continuations, rows) -> list[list[str]]:
    """Returns the continuations of each question."""
    if not isinstance(continuations, list | tuple):
        raise refuse(
            "continuations",
            "a list with a list of strings for each question",
            continuations,
        )
    if len(continuations) != rows:
        raise ValueError(
            f"`continuations` must hold a list for each of the {rows} "
            f"questions. Received: {len(continuations)} of them"
        )
    checked = []
    for row, own in enumerate(continuations):
        name = f"continuations[{row}]"
        if not isinstance(own, list | tuple):
            raise refuse(name, "a list of strings", own)
        checked.append(arrays.check_questions(name, own))
    return checked


def _check_prompts(prompts, rows) -> list[str]:
    """Returns the prompt of each question."""
    if prompts is None or isinstance(prompts, str):
        return [check_text("prompts", prompts or "")] * rows
    expected = f"a string, or one for each of the {rows} questions"
    if not isinstance(prompts, list | tuple) or len(prompts) != rows:
        raise refuse("prompts", expected, prompts)
    return [
        check_text(f"prompts[{row}]", prompt)
        for row, prompt in enumerate(prompts)
    ]


def _check_batch(model, x, responses, num_thoughts, target_ids) -> None:
    if responses is not None:
        raise ValueError(
            "`responses` must be left out for a dictionary, which has "
            f"`response_ids`. Received: responses={shown(responses)}"
        )
    reject_num_thoughts(num_thoughts)
    model.check_call(x)
    if target_ids is not None:
        targets.check_targets(
            x, target_ids, None, model.backbone.vocabulary_size
        )


def _tokenize(model, questions, responses, num_thoughts, target_ids):
    """Returns the batch of questions and responses as strings."""
    if target_ids is not None:
        raise ValueError(
            "`target_ids` must be left out unless `inputs` is a dictionary: "
            f"they are the tokens of `responses`. Received: target_ids="
            f"{shown(target_ids)}"
        )
    texts, ids, counts = tokenize(model, questions, num_thoughts)
    responses = arrays.check_questions("responses", responses)
    if len(responses) != len(texts):
        raise ValueError(
            f"`responses` must hold one for each of the {len(texts)} questions."
            f" Received: {len(responses)} of them"
        )
    x = {
        **batches.pack_questions(ids, counts),
        **batches.pack_responses(
            model.preprocessor.tokenize_responses(responses)
        ),
    }
    model.check_data(x)
    return x
