"""Generation: batches of questions, each row to its own end of text."""

import keras_hub
import numpy as np
from keras import ops

from keras_coconut.models import decoder, spans

# A program is compiled for each question length: few lengths, few programs.
_LENGTH_STEP = 32


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
    _, memory, length = model._think(x, training=False, remember=True)
    cache = {
        "memory": tuple(memory),
        "length": length,
        "response": decoder.empty_span(backbone, memory[0], prompt.shape[1]),
    }
    longest = backbone.max_sequence_length - 1

    def next(prompt, cache, index):
        # The sampler fills slot `index`; the token before it is the input.
        here = index - 1
        tokens = ops.slice(prompt, [0, here], [prompt.shape[0], 1])
        positions = ops.minimum(cache["length"] + here, longest)[:, None]
        hidden, response = decoder.decode_token(
            backbone,
            decoder.embed_tokens(backbone, tokens),
            positions,
            cache["response"],
            here,
            cache["memory"],
        )
        logits = decoder.logits(backbone, hidden)
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


def plan_batches(questions, num_thoughts, batch_size):
    """Groups tokenized questions of like length into batches of few shapes.

    Args:
        questions: list of token id lists.
        num_thoughts: list of ints, one for each question.
        batch_size: int.

    Returns:
        A list of `(rows, x)`: the indices of the questions and their packed
        keys. A last, smaller batch is filled up with copies of its last row;
        `rows` tells how many count.
    """
    order = sorted(range(len(questions)), key=lambda row: len(questions[row]))
    batches = []
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        size = min(batch_size, len(order))
        filled = rows + rows[-1:] * (size - len(rows))
        longest = max(len(questions[row]) for row in rows)
        x = spans.pack_questions(
            [questions[row] for row in filled],
            [num_thoughts[row] for row in filled],
            question_length=-(-longest // _LENGTH_STEP) * _LENGTH_STEP,
        )
        batches.append((rows, x))
    return batches


def add_response_room(x, first_token_id, max_length):
    """Adds response keys: the first token of every row, and empty slots.

    An empty slot holds -1: the sampler looks for stop tokens in every slot, and
    0, the usual padding, may be one.
    """
    rows = len(x["question_ids"])
    ids = np.full((rows, 1 + max_length), -1, "int32")
    ids[:, 0] = first_token_id
    mask = (ids >= 0).astype("int32")
    return {**x, "response_ids": ids, "response_mask": mask}


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
