"""What `generate` is asked for, and the lengths that follow from it."""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import keras_hub
import numpy as np

from keras_coconut.backbones import max_sequence_length
from keras_coconut.checks import (
    check_count,
    check_text,
    check_verbose,
    refuse,
    shown,
)
from keras_coconut.models.sampling import Draws
from keras_coconut.text.arrays import per_row_counts
from keras_coconut.text.questions import rounded_up

# Generated when no `max_length` is given, room permitting.
_DEFAULT_MAX_LENGTH = 128


class Settings(NamedTuple):
    """The arguments of `ContinuousThoughtLM.generate_tokens`, unchecked.

    `journal` keeps responses: `journal.responses` is a dictionary of those that
    are finished, by their number, and `journal.add(number, tokens)` is called
    with each other one. Of the numbers, those to the first question come first.
    A batch whose responses are all finished is left out; the others draw what
    they would draw without a journal.
    """

    max_length: Any = None
    stop_token_ids: Any = "auto"
    batch_size: Any = 32
    verbose: Any = 0
    draws: Draws = Draws()
    on_response: Callable[[int, list[int]], object] | None = None
    skipped_positions: Any = None
    response_start: Any = ""
    journal: Any = None


def check_settings(model, settings: Settings) -> Settings:
    """Returns settings as they are used; raises a `ValueError` for others."""
    if getattr(model, "sampler", None) is None:
        raise ValueError(
            "the model must be compiled before it generates, which gives it a "
            "`sampler`. Received: a model with compile=False"
        )
    on_response = settings.on_response
    if on_response is not None and not callable(on_response):
        raise refuse("on_response", "a function or `None`", on_response)
    return Settings(
        settings.max_length,
        _stop_token_ids(model, settings.stop_token_ids),
        check_count("batch_size", settings.batch_size, least=1),
        check_verbose(settings.verbose),
        settings.draws,
        on_response,
        settings.skipped_positions,
        check_text("response_start", settings.response_start),
        settings.journal,
    )


def start_tokens(model, settings: Settings, limits) -> list[int]:
    """Returns the tokens that every response begins with, `<eot>` first."""
    start = settings.response_start
    if not start.strip():
        if start:
            raise refuse("response_start", "a text that is not blank", start)
        return [model.preprocessor.end_of_thought_id]
    if isinstance(model.sampler, keras_hub.samplers.BeamSampler):
        # It would count the given tokens among those that it has chosen.
        raise ValueError(
            "`response_start` must be empty where beams are searched: compile "
            "with another sampler. Received: "
            f"response_start={shown(start)}"
        )
    # A space belongs to the token behind it, unless the tokens of the start
    # change with it, such as to the single token "### ".
    start = start.rstrip(" ")
    own, one, other = model.preprocessor.tokenize_responses(
        [start, f"{start} 0", f"{start} x"]
    )
    first = own[:-1]
    if one[: len(first)] != first:
        pairs = itertools.takewhile(lambda p: p[0] == p[1], zip(one, other))
        first = [token for token, _ in pairs]
    if len(first) > min(limits):
        raise ValueError(
            f"`response_start` must leave room for a further token within the "
            f"{min(limits)} tokens of a response. Received: "
            f"response_start={shown(start)} of {len(first) - 1} tokens"
        )
    return first


def skipped_of_rows(model, settings: Settings, rows: int) -> list[int]:
    """Returns how many positions stay empty after each question."""
    if settings.skipped_positions is None:
        return [0] * rows
    return per_row_counts(
        "skipped_positions",
        settings.skipped_positions,
        rows,
        model.preprocessor.sequence_length,
    )


def stop_tokens(tokenizer) -> tuple[int, ...]:
    """Returns the ids of the tokens that end a response."""
    # Instruction-tuned models of some families have a second one.
    ends = tokenizer.end_token_id, getattr(tokenizer, "end_token2_id", None)
    return tuple(end for end in ends if end is not None)


def _stop_token_ids(model, stop_token_ids):
    """Returns a tuple of ints, or `None` for a response that never stops."""
    if stop_token_ids is None:
        return None
    expected = '"auto", `None` or a tuple of token ids'
    if isinstance(stop_token_ids, str):
        if stop_token_ids != "auto":
            raise refuse("stop_token_ids", expected, stop_token_ids)
        if model.preprocessor is None:
            raise ValueError(
                "`stop_token_ids` must be `None` or a tuple of token ids for a "
                "model without a preprocessor. Received: 'auto'"
            )
        return stop_tokens(model.preprocessor.tokenizer)
    if isinstance(stop_token_ids, list | tuple):
        # Not through NumPy, which refuses lists of several lengths.
        ids = stop_token_ids
    elif np.ndim(stop_token_ids) == 1:
        ids = list(stop_token_ids)
    else:
        raise refuse("stop_token_ids", expected, stop_token_ids)
    most = model.backbone.vocabulary_size - 1
    ids = [
        check_count(f"stop_token_ids[{index}]", token, most=most)
        for index, token in enumerate(ids)
    ]
    return tuple(ids) or None


def response_slots(model, limits, settings) -> int:
    """Returns the slots of a response, rounded up without a `max_length`."""
    longest = max(limits)
    one_go = (
        keras_hub.samplers.BeamSampler,
        keras_hub.samplers.ContrastiveSampler,
    )
    # With such a sampler, tokens after a limit influence those before it.
    if settings.max_length is not None or isinstance(model.sampler, one_go):
        return longest
    return rounded_up(longest)


def response_limits(model, lengths, max_length, texts=None):
    """Returns the maximum number of tokens of each response."""
    if max_length is not None:
        max_length = check_count("max_length", max_length, least=1)
    longest = max_sequence_length(model.backbone)
    if longest is None:
        return [max_length or _DEFAULT_MAX_LENGTH] * len(lengths)
    # `<eot>`, where the model reads it.
    limits, longest = [], longest + (not model.markers)
    for row, length in enumerate(lengths):
        max_new_tokens = longest - int(length) - 1
        wanted = max_length or max(min(_DEFAULT_MAX_LENGTH, max_new_tokens), 1)
        if wanted > max_new_tokens:
            name = f" ({shown(texts[row][:60])}...)" if texts else ""
            raise ValueError(
                "question, thoughts and `max_length` must fit the backbone's "
                f"maximum length of {longest} positions. Received: row {row}"
                f"{name} with {length} positions of question and thoughts, "
                f"{int(model.markers)} of the end-of-thought token and "
                f"{shown(wanted)} of the response"
            )
        limits.append(wanted)
    return limits
