"""Generation: batches of questions, each row to its own end of text."""

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import keras_hub
import numpy as np
from keras import ops

from keras_coconut.backbones import drop, max_sequence_length
from keras_coconut.checks import (
    check_count,
    check_text,
    check_verbose,
    refuse,
    shown,
)
from keras_coconut.execution import compilation
from keras_coconut.latent import rollout
from keras_coconut.latent.attention import Span
from keras_coconut.models.sampling import Draws, seeded
from keras_coconut.text import batches
from keras_coconut.text.arrays import per_row_counts, to_numpy
from keras_coconut.text.questions import (
    check_thoughts,
    plan_batches,
    reject_num_thoughts,
    tokenize,
)

# Generated when no `max_length` is given, room permitting.
_DEFAULT_MAX_LENGTH = 128
# A program is compiled for each length: few lengths, few programs.
_LENGTH_STEP = 32


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


def generate_tokens(
    model, questions, num_thoughts, thoughts, settings: Settings
) -> list:
    """Answers strings; see `ContinuousThoughtLM.generate_tokens`."""
    settings = _check(model, settings)
    draws = settings.draws.check(model, thoughts is not None)
    texts, ids, counts = tokenize(model, questions, num_thoughts, "inputs")
    draws.check_counts(model, counts)
    if thoughts is not None:
        thoughts = check_thoughts(model, thoughts, counts)
    skipped = _skipped(model, settings, len(ids))
    lengths = [sum(row) for row in zip(map(len, ids), counts, skipped)]
    limits = _limits(model, lengths, settings.max_length, texts)
    # Each sample has its own row.
    copies = draws.copies
    ids, counts, limits, skipped = (
        [one for one in of_questions for _ in range(copies)]
        for of_questions in (ids, counts, limits, skipped)
    )
    if any(skipped):
        settings = settings._replace(skipped_positions=np.array(skipped))
    else:
        settings = settings._replace(skipped_positions=None)
    if thoughts is not None:
        thoughts = np.repeat(thoughts, copies, axis=0)
    planned = plan_batches(ids, counts, settings.batch_size, thoughts)
    progress = keras.utils.Progbar(
        len(ids),
        verbose=settings.verbose,
        unit_name="question" if copies == 1 else "response",
    )
    responses = [[] for _ in ids]
    if settings.journal is not None:
        for row, response in settings.journal.responses.items():
            responses[row] = response
    for rows, generated in _generated(model, planned, limits, settings, draws):
        for row, response in zip(rows, generated):
            if responses[row]:
                continue
            responses[row] = response
            if settings.journal is not None:
                settings.journal.add(row, response)
            if settings.on_response is not None:
                settings.on_response(row // copies, response)
        progress.add(len(rows))
    if draws.num_samples is None:
        return responses
    return [
        responses[start : start + copies]
        for start in range(0, len(responses), copies)
    ]


def _generated(model, planned, limits, settings, draws):
    """Yields the numbers of each batch's rows, and their responses."""
    new_tokens = _max_new_tokens(model, limits, settings)
    first = _response_start(model, settings, limits)
    sampler_too, draws = draws.seed is not None, draws.begin()
    finished = {}
    if settings.journal is not None:
        finished = dict(settings.journal.responses)
    for number, (rows, x) in enumerate(planned):
        if all(row in finished for row in rows):
            continue
        model.check_data(x, keys=batches.QUESTION_KEYS)
        size, slots = x["thought_mask"].shape
        filled = rows + rows[-1:] * (size - len(rows))
        if settings.skipped_positions is not None:
            skipped = settings.skipped_positions[filled].astype("int32")
            x["skipped_positions"] = skipped
        if draws.thought_noise and slots:
            x["thought_noise"] = draws.noise(
                filled, slots, model.backbone.hidden_dim
            )
        if draws.thought_dropout:
            x["thought_dropout"] = np.ones([size], "int32")
        x = add_empty_slots(x, [first] * size, new_tokens)
        with model.one_at_a_time, seeded(model, draws, sampler_too, number):
            generated = _generate_batch(model, x, settings)
        row_limits = [limits[row] for row in rows]
        yield rows, cut(generated, settings.stop_token_ids, row_limits)


def generate_from_ids(model, x, num_thoughts, settings: Settings):
    """Answers a dictionary of ids; see `ContinuousThoughtLM.generate`.

    It is one batch, of which no progress can be shown.
    """
    settings = _check(model, settings)
    draws = settings.draws.check(model, "thoughts" in x)
    for (name, value), default in zip(draws._asdict().items(), Draws()):
        if value != default:
            raise ValueError(
                f"`{name}` must be left out for a dictionary of ids: repeat "
                "its rows, and give `thoughts`. Received: "
                f"{name}={shown(value)}"
            )
    reject_num_thoughts(num_thoughts)
    keys = (*batches.QUESTION_KEYS, "response_ids")
    model.check_data(x, keys=keys)
    more = ("thoughts", "skipped_positions")
    keys = *keys, *(key for key in more if key in x)
    x = {key: to_numpy(x[key]) for key in keys}
    first = x.pop("response_ids")
    if first.shape[1] != 1:
        raise ValueError(
            "`response_ids` must hold the end-of-thought token alone, (batch, "
            f"1). Received: shape={first.shape}"
        )
    lengths = x["question_mask"].sum(axis=1) + x["thought_mask"].sum(axis=1)
    lengths = lengths + x.get("skipped_positions", 0)
    limits = _limits(model, lengths, settings.max_length)
    new_tokens = _max_new_tokens(model, limits, settings)
    generated = _generate_batch(
        model, add_empty_slots(x, first.tolist(), new_tokens), settings
    )
    generated = cut(generated, settings.stop_token_ids, limits)
    return batches.pack_responses(
        [[int(token), *ids] for token, ids in zip(first[:, 0], generated)]
    )


def check_fits(model, questions, num_thoughts, max_length) -> None:
    """Raises a `ValueError` for questions that `generate` would refuse.

    Nothing is generated. The arguments are those of `generate_tokens`.
    """
    texts, ids, counts = tokenize(model, questions, num_thoughts)
    lengths = [len(row) + count for row, count in zip(ids, counts)]
    _limits(model, lengths, max_length, texts)


def respond(model, x, stop_token_ids):
    """Thinks, then samples responses; the compiled part of `generate`.

    Keys and values of question and thoughts are computed once; those of the
    response are written into a span of fixed size. Whatever belongs to a row
    travels in the sampler's cache, so that samplers which follow several
    beams of a row can copy and reorder it.

    Args:
        model: a `ContinuousThoughtLM`.
        x: the call contract's keys; `response_ids` (B, R) holds the tokens
            every response begins with, where `response_mask` is 1, and room.
            With `thought_noise`, float (B, K, D), see `perturbed`; with
            `thought_dropout`, of any value, the model drops while it thinks.
        stop_token_ids: tuple of ints, or `None`.

    Returns:
        Int tensor (B, R). What follows a row's stop token means nothing.
    """
    latent = model.latent_decoder
    forward = thinking = latent.passes()
    if "thought_dropout" in x:
        thinking = dataclasses.replace(forward, drop=drop)
    decoder = forward.decoder
    x = latent.convert(x, batches.KEYS)
    prompt, mask = x["response_ids"], ops.cast(x["response_mask"], "bool")
    thoughts = rollout.think(
        thinking, latent.method, decoder.embed(x["question_ids"]), x
    )
    cache = {
        "memory": tuple(thoughts.memory),
        "length": thoughts.length,
        "response": _empty_span(thoughts.memory[0], prompt.shape[1]),
    }
    if not model.markers:
        # The place of `<eot>` takes no position.
        cache["length"], cache["last"] = thoughts.length - 1, thoughts.last
    longest = max_sequence_length(model.backbone)

    def next(prompt, cache, index):
        # The sampler fills slot `index`; the token before it is the input.
        here = index - 1
        tokens = ops.slice(prompt, [0, here], [prompt.shape[0], 1])
        positions = ops.maximum(cache["length"] + here, 0)[:, None]
        if longest is not None:
            # Of what is written beyond a row's limit, and cut off.
            positions = ops.minimum(positions, longest - 1)
        hidden, response = forward.decode(
            decoder.embed(tokens),
            positions,
            cache["response"],
            here,
            cache["memory"],
        )
        if not model.markers:
            hidden = ops.where(here == 0, cache["last"], hidden)
            behind = ops.arange(prompt.shape[1]) > 0
            seen = ops.logical_and(response.mask, behind)
            response = response._replace(mask=seen)
        logits = decoder.logits(hidden)
        return logits[:, 0], hidden[:, 0], {**cache, "response": response}

    hidden_states = None
    if isinstance(model.sampler, keras_hub.samplers.ContrastiveSampler):
        # It compares with the hidden states of the tokens already there.
        _, first, _ = next(prompt, cache, 1)
        hidden_states = ops.repeat(first[:, None], prompt.shape[1], axis=1)
    return model.sampler(
        next=next,
        prompt=prompt,
        cache=cache,
        index=1,
        mask=mask,
        stop_token_ids=stop_token_ids,
        hidden_states=hidden_states,
        model=model,
    )


def _empty_span(like: Span, length: int) -> Span:
    """Returns a `Span` of unwritten slots with the rows of another."""
    batch, groups, _, size = ops.shape(like.keys[0])
    blank = tuple(
        ops.zeros((batch, groups, length, size), keys.dtype)
        for keys in like.keys
    )
    unwritten = ops.zeros((batch, length), "int32")
    return Span(blank, blank, ops.cast(unwritten, "bool"), unwritten)


def add_empty_slots(x, first, max_new_tokens):
    """Adds response keys: what every row begins with, and empty slots.

    An empty slot holds -1: the sampler looks for stop tokens in every slot, and
    0, the usual padding, may be one.

    Args:
        x: the question's and the thoughts' keys.
        first: list of token id lists, of one length, `<eot>` first.
        max_new_tokens: int, how many tokens may follow `<eot>`.
    """
    ids = np.full((len(first), 1 + max_new_tokens), -1, "int32")
    ids[:, : len(first[0])] = first
    mask = (ids >= 0).astype("int32")
    return {**x, "response_ids": ids, "response_mask": mask}


def _generate_batch(model, x, settings):
    """Returns an int array of the tokens after `<eot>`."""
    with model.one_at_a_time:
        generate = model.make_generate_function()
        new = _is_new_program(model, generate, x)
        length, slots = x["question_ids"].shape[1], x["thought_mask"].shape[1]
        what = (
            f"generation for questions of {length} tokens, {slots} thoughts "
            f"and {x['response_ids'].shape[1]} tokens of the response"
        )
        with compilation.announced(what, new):
            ids = generate(x, stop_token_ids=settings.stop_token_ids)
            return to_numpy(ids)[:, 1:]


def _is_new_program(model, generate, x) -> bool:
    """Whether a batch is the first of its shapes, where they are compiled."""
    if keras.config.backend() == "torch" or model.run_eagerly:
        return False
    of, shapes = model.__dict__.get("_generated_shapes", (None, None))
    if of is not generate:
        of, shapes = model.__dict__["_generated_shapes"] = (generate, set())
    found = tuple(sorted((key, value.shape) for key, value in x.items()))
    new = found not in shapes
    shapes.add(found)
    return new


def _check(model, settings: Settings) -> Settings:
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


def _response_start(model, settings: Settings, limits) -> list[int]:
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


def _skipped(model, settings: Settings, rows: int) -> list[int]:
    """Returns how many positions stay empty after each question."""
    if settings.skipped_positions is None:
        return [0] * rows
    return per_row_counts(
        "skipped_positions",
        settings.skipped_positions,
        rows,
        model.preprocessor.sequence_length,
    )


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
        tokenizer = model.preprocessor.tokenizer
        # Instruction-tuned models of some families have a second one.
        ends = (
            tokenizer.end_token_id,
            getattr(tokenizer, "end_token2_id", None),
        )
        return tuple(end for end in ends if end is not None)
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


def _max_new_tokens(model, limits, settings) -> int:
    """Returns the slots of a response, rounded up without a `max_length`."""
    longest = max(limits)
    one_go = (
        keras_hub.samplers.BeamSampler,
        keras_hub.samplers.ContrastiveSampler,
    )
    # With such a sampler, tokens after a limit influence those before it.
    if settings.max_length is not None or isinstance(model.sampler, one_go):
        return longest
    return -(-longest // _LENGTH_STEP) * _LENGTH_STEP


def _limits(model, lengths, max_length, texts=None):
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


def cut(ids, stop_token_ids, limits) -> list[list[int]]:
    """Cuts each row after its first stop token, or at its limit.

    Args:
        ids: int array (B, R), generated tokens.
        stop_token_ids: tuple of ints, or `None`.
        limits: list of ints, the most tokens of each row. Rows beyond the list
            only filled up the batch.
    """
    rows, stops = [], set(stop_token_ids or ())
    for row, limit in zip(ids.tolist(), limits):
        row = row[:limit]
        found = [i for i, token in enumerate(row) if token in stops]
        rows.append(row[: found[0] + 1] if found else row)
    return rows
