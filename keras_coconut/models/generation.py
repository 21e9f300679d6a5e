"""Generation: batches of questions, each row to its own end of text."""

import keras
import keras_hub
import numpy as np
from keras import ops

from keras_coconut.checks import check_count, check_verbose, refuse, shown
from keras_coconut.models import compilation, decoder, embeddings, spans
from keras_coconut.models.passes import make_passes, read_and_think
from keras_coconut.models.questions import (
    check_not_told,
    check_thoughts,
    plan_batches,
    tokenize,
)

# Generated when no `max_length` is given, room permitting.
_DEFAULT_MAX_LENGTH = 128
# Samplers that follow several beams, or compare with all that was written.
_IN_ONE_GO = (
    keras_hub.samplers.BeamSampler,
    keras_hub.samplers.ContrastiveSampler,
)
# A program is compiled for each room: few rooms, few programs.
_ROOM_STEP = 32
# Tokens of the first round, and how many times more each further round has.
_FIRST_ROOM = 64
_MORE_ROOM = 4


def generate_tokens(
    model,
    questions,
    max_length,
    num_thoughts,
    stop_token_ids,
    batch_size,
    verbose,
    thoughts,
    on_response=None,
) -> list[list[int]]:
    """Answers strings; see `ContinuousThoughtLM.generate_tokens`."""
    _check_compiled(model)
    batch_size = check_count("batch_size", batch_size, least=1)
    if on_response is not None and not callable(on_response):
        raise refuse("on_response", "a function or `None`", on_response)
    texts, ids, counts = tokenize(model, questions, num_thoughts)
    if thoughts is not None:
        thoughts = check_thoughts(model, thoughts, counts)
    stop_token_ids = _stop_token_ids(model, stop_token_ids)
    lengths = [len(row) + count for row, count in zip(ids, counts)]
    limits = _limits(model, lengths, max_length, texts)
    progress = keras.utils.Progbar(
        len(texts), verbose=check_verbose(verbose), unit_name="question"
    )
    responses = [[] for _ in texts]
    first = model.preprocessor.end_of_thought_id
    waiting = list(range(len(texts)))
    longest = max(limits)
    if max_length is None:
        longest = _round_up(model, longest)
    for room in _rooms(model, len(texts), batch_size, longest, stop_token_ids):
        rows_of_batches = plan_batches(
            [ids[row] for row in waiting],
            [counts[row] for row in waiting],
            batch_size,
            None if thoughts is None else thoughts[waiting],
        )
        unfinished = []
        for chosen, x in rows_of_batches:
            rows = [waiting[index] for index in chosen]
            model.check_data(x, keys=spans.QUESTION_KEYS)
            begun = [[first, *responses[row]] for row in rows]
            x = add_response_room(x, begun, room)
            generated = _generate_batch(
                model, x, stop_token_ids, [limits[row] for row in rows]
            )
            for row, response in zip(rows, generated):
                responses[row] = response
            going_on = [
                row
                for row in rows
                if len(responses[row]) < limits[row]
                and responses[row][-1] not in (stop_token_ids or ())
            ]
            unfinished += going_on
            if on_response is not None:
                for row in rows:
                    if row not in going_on:
                        on_response(row, responses[row])
            progress.add(len(rows) - len(going_on))
        waiting = unfinished
        if not waiting:
            break
    return responses


def check_fits(model, questions, num_thoughts, max_length) -> None:
    """Raises a `ValueError` for questions that `generate` would refuse.

    Nothing is generated. The arguments are those of `generate_tokens`.
    """
    texts, ids, counts = tokenize(model, questions, num_thoughts)
    lengths = [len(row) + count for row, count in zip(ids, counts)]
    _limits(model, lengths, max_length, texts)


def _check_compiled(model) -> None:
    if getattr(model, "sampler", None) is None:
        raise ValueError(
            "the model must be compiled before it generates, which gives it a "
            "`sampler`. Received: a model with compile=False"
        )


def _rooms(model, questions, batch_size, longest, stop_token_ids) -> list[int]:
    """Returns how many tokens the responses may take, round by round.

    A batch is done when its longest response is. So all responses begin in a
    small room, and those that need more of it go on together, from where they
    are: those that are finished do not wait for them. That takes a second look
    at the question, and is not worth it for a single batch.
    """
    if (
        questions <= batch_size
        or not stop_token_ids
        or isinstance(model.sampler, _IN_ONE_GO)
    ):
        return [longest]
    rooms, room = [], _FIRST_ROOM
    while room < longest:
        rooms.append(room)
        room *= _MORE_ROOM
    return [*rooms, longest]


def _round_up(model, room) -> int:
    """Returns the room that is compiled where a context leaves so much.

    What is written beyond a row's limit is cut off.
    """
    if isinstance(model.sampler, _IN_ONE_GO):
        # What is written behind the limit would choose what stands before it.
        return room
    return -(-room // _ROOM_STEP) * _ROOM_STEP


def generate_from_ids(
    model,
    x,
    max_length,
    num_thoughts,
    stop_token_ids,
    batch_size=32,
    verbose=0,
):
    """Answers a dictionary of ids; see `ContinuousThoughtLM.generate`.

    It is one batch, of which no progress can be shown.
    """
    _check_compiled(model)
    check_not_told(num_thoughts)
    check_count("batch_size", batch_size, least=1)
    check_verbose(verbose)
    stop_token_ids = _stop_token_ids(model, stop_token_ids)
    keys = (*spans.QUESTION_KEYS, "response_ids")
    model.check_data(x, keys=keys)
    if "thoughts" in x:
        keys = (*keys, "thoughts")
    x = {key: spans.to_numpy(x[key]) for key in keys}
    first = x.pop("response_ids")
    if first.shape[1] != 1:
        raise ValueError(
            "`response_ids` must hold the end-of-thought token alone, (batch, "
            f"1). Received: shape={first.shape}"
        )
    lengths = x["question_mask"].sum(axis=1) + x["thought_mask"].sum(axis=1)
    limits = _limits(model, lengths, max_length)
    room = max(limits)
    if max_length is None:
        room = _round_up(model, room)
    x = add_response_room(x, first.tolist(), room)
    generated = _generate_batch(model, x, stop_token_ids, limits)
    return spans.pack_responses(
        [[int(token), *ids] for token, ids in zip(first[:, 0], generated)]
    )


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
        stop_token_ids: tuple of ints, or `None`.

    Returns:
        Int tensor (B, R). What follows a row's stop token means nothing.
    """
    backbone = model.backbone
    prompt, mask = x["response_ids"], ops.cast(x["response_mask"], "bool")
    question = embeddings.embed_tokens(backbone, x["question_ids"])
    passes = make_passes(backbone, training=False)
    _, memory, length, last = read_and_think(passes, question, x, model.markers)
    cache = {
        "memory": tuple(memory),
        "length": length,
        "response": decoder.empty_span(backbone, memory[0], prompt.shape[1]),
    }
    if not model.markers:
        # The place of `<eot>` takes no position.
        cache["length"], cache["last"] = length - 1, last
    longest = backbone.max_sequence_length - 1

    def next(prompt, cache, index):
        # The sampler fills slot `index`; the token before it is the input.
        here = index - 1
        tokens = ops.slice(prompt, [0, here], [prompt.shape[0], 1])
        positions = ops.clip(cache["length"] + here, 0, longest)[:, None]
        hidden, response = decoder.decode_token(
            backbone,
            embeddings.embed_tokens(backbone, tokens),
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
        logits = embeddings.logits(backbone, hidden)
        return logits[:, 0], hidden[:, 0], {**cache, "response": response}

    hidden_states = None
    if isinstance(model.sampler, keras_hub.samplers.ContrastiveSampler):
        # It compares with the hidden states of what stands there already.
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


def add_response_room(x, begun, room):
    """Adds response keys: what every row begins with, and empty slots.

    An empty slot holds -1: the sampler looks for stop tokens in every slot, and
    0, the usual padding, may be one.

    Args:
        x: the question's and the thoughts' keys, whose last rows may be more
            than those that begin; they are copies of the one before.
        begun: list of token id lists, of one length, `<eot>` first.
        room: int, how many tokens may follow `<eot>`.
    """
    begun = begun + begun[-1:] * (len(x["question_ids"]) - len(begun))
    ids = np.full((len(begun), 1 + room), -1, "int32")
    ids[:, : len(begun[0])] = begun
    mask = (ids >= 0).astype("int32")
    return {**x, "response_ids": ids, "response_mask": mask}


def _generate_batch(model, x, stop_token_ids, limits):
    """Returns the tokens of each row that has a limit, up to its end."""
    with model.one_at_a_time:
        generate = model.make_generate_function()
        new = _is_new_program(model, generate, x)
        length, slots = x["question_ids"].shape[1], x["thought_mask"].shape[1]
        what = (
            f"generation for questions of {length} tokens, {slots} thoughts "
            f"and {x['response_ids'].shape[1]} tokens of the response"
        )
        with compilation.announced(what, new):
            generated = generate(x, stop_token_ids=stop_token_ids)
            ids = spans.to_numpy(generated)
    return cut(ids[:, 1:], stop_token_ids, limits)


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
        return (model.preprocessor.tokenizer.end_token_id,)
    if isinstance(stop_token_ids, list | tuple):
        # Before NumPy, which stumbles over lists of several lengths.
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


def _limits(model, lengths, max_length, texts=None):
    """Returns the most tokens of each response."""
    if max_length is not None:
        max_length = check_count("max_length", max_length, least=1)
    # `<eot>`, where the model reads it.
    longest, limits = model.backbone.max_sequence_length, []
    longest += not model.markers
    for row, length in enumerate(lengths):
        room = longest - int(length) - 1
        wanted = max_length or max(min(_DEFAULT_MAX_LENGTH, room), 1)
        if wanted > room:
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
