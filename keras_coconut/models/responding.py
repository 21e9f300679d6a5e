"""Thinks, then samples responses: the compiled part of generation."""

import dataclasses

import keras_hub
from keras import ops

from keras_coconut.backbones import drop, max_sequence_length
from keras_coconut.latent import rollout
from keras_coconut.latent.attention import Span
from keras_coconut.text import batches


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
