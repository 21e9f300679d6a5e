"""Thoughts, and what layers hold at them, by Keras' compiled `predict`."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_coconut.checks import check_count, refuse
from keras_coconut.models import varying_batches
from keras_coconut.text import batches
from keras_coconut.text.arrays import to_numpy
from keras_coconut.text.questions import plan_batches, tokenize


class ThoughtStates(NamedTuple):
    """What a model thinks, and what chosen layers hold at its thoughts.

    Attributes:
        thoughts: float (B, K, D), the input of each thought's slot.
        hidden_states: dictionary of a layer's number and its output at the
            thoughts, float (B, K, D).
        attention: dictionary of a layer's number and its attention weights,
            float (B, heads, K, Q + K): of each thought to the question, which
            is left-padded, and to the thoughts.
    """

    thoughts: Any
    hidden_states: dict[int, Any]
    attention: dict[int, Any]


def states_of(thoughts, mask) -> ThoughtStates:
    """Returns the `ThoughtStates` of `rollout.Thoughts`, 0 in idle slots."""

    def clear(values, axis):
        shape = [1] * len(values.shape)
        shape[0], shape[axis] = -1, mask.shape[1]
        real = keras.ops.reshape(keras.ops.cast(mask, values.dtype), shape)
        return values * real

    return ThoughtStates(
        clear(thoughts.thoughts, 1),
        {n: clear(seen.hidden, 1) for n, seen in thoughts.watched.items()},
        {n: clear(seen.attention, 2) for n, seen in thoughts.watched.items()},
    )


def check_layers(model, layers) -> tuple[int, ...]:
    """Returns numbers of layers; raises a `ValueError` for others."""
    if layers is None:
        return ()
    if isinstance(layers, str) or not isinstance(layers, Sequence):
        raise refuse("layers", "a list of numbers of layers, or `None`", layers)
    most = len(model.backbone.transformer_layers) - 1
    return tuple(
        check_count(f"layers[{index}]", layer, most=most)
        for index, layer in enumerate(layers)
    )


def read_thoughts(
    model, questions, num_thoughts, batch_size, layers=(), on_batch=None
) -> ThoughtStates:
    """Returns the thoughts of strings; see `ContinuousThoughtLM.think`.

    `on_batch`, a function, is called with the number of questions in each
    batch that has been thought on.
    """
    check_count("batch_size", batch_size, least=1)
    if model.thought_kind != "continuous":
        raise ValueError(
            "`thought_kind` must be 'continuous' for a model to think: pauses "
            "are tokens and leave nothing to return. Received: thought_kind="
            f"{model.thought_kind!r}"
        )
    texts, ids, counts = tokenize(model, questions, num_thoughts)
    reader = _reader(model, layers)
    found = []
    for rows, x in plan_batches(ids, counts, batch_size):
        model.check_data(x, keys=batches.QUESTION_KEYS)
        # XLA on TensorFlow stops the process at a result of no slots.
        if x["thought_mask"].shape[1]:
            with model.one_at_a_time:
                states = ThoughtStates(*reader.predict_on_batch(x))
            found.append((rows, states))
        if on_batch is not None:
            on_batch(len(rows))
    return _join(model, len(texts), max(counts), layers, found)


def _join(model, rows, slots, layers, found) -> ThoughtStates:
    """Returns the states of all questions, in their order."""
    shape = rows, slots, model.backbone.hidden_dim
    longest = max(
        [s.attention[n].shape[3] - s.attention[n].shape[2] for _, s in found
         for n in layers[:1]],
        default=0,
    )  # fmt: skip
    joined = ThoughtStates(
        np.zeros(shape, "float32"),
        {n: np.zeros(shape, "float32") for n in layers},
        {},
    )
    for chosen, states in found:
        own, count = states.thoughts.shape[1], len(chosen)
        joined.thoughts[chosen, :own] = to_numpy(states.thoughts)[:count]
        for n in layers:
            hidden = to_numpy(states.hidden_states[n])
            joined.hidden_states[n][chosen, :own] = hidden[:count]
            weights = to_numpy(states.attention[n])
            heads, width = weights.shape[1], weights.shape[3]
            whole = joined.attention.setdefault(
                n, np.zeros((rows, heads, slots, longest + slots), "float32")
            )
            start = longest - (width - own)
            whole[chosen, :, :own, start : start + width] = weights[:count]
    return joined


def _reader(model, layers):
    with model.one_at_a_time:
        readers = model.__dict__.setdefault("_readers", {})
        if layers not in readers:
            # Past Keras' tracking: the reader holds the model, not it the
            # reader.
            readers[layers] = ThoughtReader(model.latent_decoder, layers)
        return readers[layers]


class ThoughtReader(keras.Model):
    """Returns the `ThoughtStates` of the question's and thoughts' keys.

    Args:
        latent_decoder: a `LatentDecoder`. Not the model that holds it: Keras
            on JAX would make a pass for each call to build its preprocessor.
        layers: tuple of ints, the layers to look at.
    """

    def __init__(self, latent_decoder, layers):
        super().__init__()
        self.latent_decoder = latent_decoder
        self.watched = layers
        self.built = True

    def call(self, inputs):
        thoughts = self.latent_decoder.think(inputs, self.watched)
        return tuple(states_of(thoughts, inputs["thought_mask"]))

    def make_predict_function(self, force=False):
        make = super().make_predict_function
        varying_batches.make_step(self, "predict_function", make, force)
        return self.predict_function
