"""Thoughts, hidden states and attention, by Keras' compiled `predict`."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_coconut.checks import check_count, refuse
from keras_coconut.execution import varying_batches
from keras_coconut.text import batches
from keras_coconut.text.arrays import to_numpy, with_arrays
from keras_coconut.text.questions import (
    plan_batches,
    read_questions,
    shared_slots,
)


class ThoughtStates(NamedTuple):
    """Thoughts, with hidden states and attention of chosen layers.

    Attributes:
        thoughts: float (B, K, D), the last hidden state before each slot. In a
            model of continuous thoughts it is the slot's input: slot k holds
            thought k + 1.
        hidden_states: dictionary from a layer's number to its output at the
            thoughts, float (B, K, D).
        attention: dictionary from a layer's number to its attention weights,
            float (B, heads, K, Q + K), from each thought to the question, which
            is left-padded, and then to the thoughts.
        question_attention: dictionary from a layer's number to the attention of
            the question's last token to the question, float (B, heads, 1, Q).
            It makes the first thought.

    Example:
    ```python
    states = model.think("1 + 2 + 3?", num_thoughts=2, layers=[0])
    states.hidden_states[0]  # (1, 2, D)
    ```
    """

    thoughts: Any
    hidden_states: dict[int, Any]
    attention: dict[int, Any]
    question_attention: dict[int, Any]


def states_of(thoughts, mask) -> ThoughtStates:
    """Returns the `ThoughtStates` of `rollout.Thoughts`, 0 in idle slots."""

    def clear(values, axis):
        real = keras.ops.cast(mask, values.dtype)
        for place in range(1, len(values.shape)):
            if place != axis:
                real = keras.ops.expand_dims(real, place)
        return values * real

    return ThoughtStates(
        clear(thoughts.thoughts, 1),
        {n: clear(seen.hidden, 1) for n, seen in thoughts.watched.items()},
        {n: clear(seen.attention, 2) for n, seen in thoughts.watched.items()},
        {n: seen.attention for n, seen in thoughts.asked.items()},
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


def read_states(
    model, questions, num_thoughts, batch_size, layers=(), on_batch=None
) -> ThoughtStates:
    """Returns the states of strings; see `ContinuousThoughtLM.read_states`.

    `on_batch`, a function, is called after each batch with its number of
    questions.
    """
    check_count("batch_size", batch_size, least=1)
    texts, counts = read_questions(model, questions, num_thoughts)
    ids = model.preprocessor.tokenize_questions(texts)
    reader = reader_of(model, layers, ThoughtReader)
    found = []
    slots = shared_slots(model, counts) if max(counts) else None
    if layers:
        # The question is watched also where nothing is thought.
        slots = slots or max(1, *counts)
    for rows, x in plan_batches(ids, counts, batch_size, slots=slots):
        model.check_data(x, keys=batches.QUESTION_KEYS)
        # XLA on TensorFlow stops the process at a result of no slots.
        if x["thought_mask"].shape[1]:
            if model.thought_kind == "pause":
                x["pause_ids"] = np.full_like(
                    x["thought_mask"], model.preprocessor.pause_id
                )
            with model.one_at_a_time:
                states = ThoughtStates(*reader.predict_on_batch(x))
            found.append((rows, states))
        if on_batch is not None:
            on_batch(len(rows))
    return _join(model, len(texts), max(counts), layers, found)


def predict_thoughts(model, x) -> np.ndarray:
    """Returns thoughts; see `ContinuousThoughtLM.predict_thoughts`."""
    x = with_arrays(x)
    model.check_data(x, keys=batches.QUESTION_KEYS)
    x = {key: x[key] for key in batches.QUESTION_KEYS}
    # XLA on TensorFlow stops the process at a result of no slots.
    if not x["thought_mask"].shape[1]:
        shape = len(x["thought_mask"]), 0, model.backbone.hidden_dim
        return np.zeros(shape, "float32")
    with model.one_at_a_time:
        reader = reader_of(model, (), ThoughtReader)
        thoughts, *_ = reader.predict_on_batch(x)
    # Under a strategy of TensorFlow's, each device reads all rows.
    thoughts = to_numpy(thoughts)[: len(x["thought_mask"])]
    return thoughts.astype("float32")


def _join(model, rows, slots, layers, found) -> ThoughtStates:
    """Returns the states of all questions, in their order."""
    shape = rows, slots, model.backbone.hidden_dim
    watched = [s.question_attention[n] for _, s in found for n in layers[:1]]
    longest = max([weights.shape[3] for weights in watched], default=0)
    joined = ThoughtStates(
        np.zeros(shape, "float32"),
        {n: np.zeros(shape, "float32") for n in layers},
        {},
        {},
    )
    for chosen, states in found:
        # Neither rows that fill the batch, nor slots in which nobody thinks.
        real = slice(len(chosen))
        states = keras.tree.map_structure(to_numpy, states)
        own = min(states.thoughts.shape[1], slots)
        joined.thoughts[chosen, :own] = states.thoughts[real, :own]
        for n in layers:
            hidden = states.hidden_states[n][real, :own]
            joined.hidden_states[n][chosen, :own] = hidden
            asked = states.question_attention[n][real]
            heads, width = asked.shape[1], asked.shape[3]
            start, end = longest - width, longest + own
            joined.question_attention.setdefault(
                n, np.zeros((rows, heads, 1, longest), "float32")
            )[chosen, :, :, start:] = asked
            joined.attention.setdefault(
                n, np.zeros((rows, heads, slots, longest + slots), "float32")
            )[chosen, :, :own, start:end] = states.attention[n][
                real, :, :own, : width + own
            ]
    return joined


def reader_of(model, watched, kind):
    """Returns the model that reads with another one's weights, made once.

    Args:
        model: a `ContinuousThoughtLM`.
        watched: what is read; passed to `kind`.
        kind: class of the reader, a function of `latent_decoder` and `watched`.
    """
    with model.one_at_a_time:
        model.forget_old_programs()
        readers = model.__dict__.setdefault("_readers", {})
        if (kind, watched) not in readers:
            # Past Keras' tracking: the reader holds the model, not it the
            # reader.
            readers[kind, watched] = kind(model.latent_decoder, watched)
        return readers[kind, watched]


class ThoughtReader(keras.Model):
    """Returns the `ThoughtStates` of the question's and thoughts' keys.

    Args:
        latent_decoder: a `LatentDecoder`. Not the model that holds it: Keras
            on JAX would make a pass for each call to build its preprocessor.
        layers: tuple of ints, the layers whose states are returned.
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
