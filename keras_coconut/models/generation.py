"""Generation: batches of questions, each row to its own end of text."""

import keras
import numpy as np

from keras_coconut.checks import shown
from keras_coconut.execution import compilation
from keras_coconut.models.generation_settings import (
    Settings,
    check_settings,
    response_limits,
    response_slots,
    skipped_of_rows,
    start_tokens,
)
from keras_coconut.models.sampling import Draws, seeded
from keras_coconut.text import batches
from keras_coconut.text.arrays import to_numpy
from keras_coconut.text.questions import (
    check_thoughts,
    plan_batches,
    reject_num_thoughts,
    shared_slots,
    tokenize,
)


def generate_tokens(
    model, questions, num_thoughts, thoughts, settings: Settings
) -> list:
    """Answers strings; see `ContinuousThoughtLM.generate_tokens`."""
    settings = check_settings(model, settings)
    draws = settings.draws.check(model, thoughts is not None)
    texts, ids, counts = tokenize(model, questions, num_thoughts, "inputs")
    draws.check_counts(model, counts)
    if thoughts is not None:
        thoughts = check_thoughts(model, thoughts, counts)
    skipped = skipped_of_rows(model, settings, len(ids))
    lengths = [sum(row) for row in zip(map(len, ids), counts, skipped)]
    limits = response_limits(model, lengths, settings.max_length, texts)
    # Each sample has its own row.
    copies = draws.copies
    ids, counts, limits, skipped = (
        [one for one in of_questions for _ in range(copies)]
        for of_questions in (ids, counts, limits, skipped)
    )
    # Where steps are compiled, it takes no program of its own to skip some.
    given = any(skipped) or keras.config.backend() != "torch"
    settings = settings._replace(
        skipped_positions=np.array(skipped, "int32") if given else None
    )
    if thoughts is not None:
        thoughts = np.repeat(thoughts, copies, axis=0)
    # Dropout draws for every slot.
    own = thoughts is not None or draws.thought_dropout
    slots = None if own else shared_slots(model, counts)
    planned = plan_batches(ids, counts, settings.batch_size, thoughts, slots)
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
    new_tokens = response_slots(model, limits, settings)
    first = start_tokens(model, settings, limits)
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
            x["skipped_positions"] = settings.skipped_positions[filled]
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
    settings = check_settings(model, settings)
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
    limits = response_limits(model, lengths, settings.max_length)
    new_tokens = response_slots(model, limits, settings)
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
    response_limits(model, lengths, max_length, texts)


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
