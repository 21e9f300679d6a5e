"""The model under test, its baseline, and the batches both read."""

import keras
import keras_hub
import numpy as np

import keras_coconut
from benchmarks.shapes import LONGEST
from keras_coconut import engines


def make_backbone(shape):
    sizes = dict(
        vocabulary_size=shape.vocabulary,
        num_layers=shape.layers,
        hidden_dim=shape.hidden,
        intermediate_dim=shape.intermediate or 4 * shape.hidden,
        dropout=0.0,
        dtype=shape.dtype,
    )
    if shape.family == "gpt2":
        return keras_hub.models.GPT2Backbone(
            num_heads=shape.heads, max_sequence_length=LONGEST, **sizes
        )
    return keras_hub.models.Llama3Backbone(
        num_query_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads or shape.heads,
        tie_word_embeddings=True,
        **sizes,
    )


def make_coconut(shape, mode, rematerialize=False):
    model = keras_coconut.ContinuousThoughtLM(
        make_backbone(shape),
        rematerialize=rematerialize,
        num_iterations=shape.iterations or None,
    )
    return _compiled(model, mode)


class Baseline(keras.Model):
    """A model with the optimizer that a `ContinuousThoughtLM` trains with."""

    def train_step(self, *args):
        with engines.fast_updates(self):
            return super().train_step(*args)


def make_baseline(shape, mode):
    """The same backbone, once over as many tokens, logits on the response.

    KerasHub's own forward pass, teacher-forced: no thought waits for another.
    Optimizer, products and precision are those of the model beside it.
    """
    backbone = make_backbone(shape)
    inputs = backbone.input
    hidden = backbone(inputs)[:, -shape.response :]
    logits = backbone.token_embedding(hidden, reverse=True)
    return _compiled(Baseline(inputs, logits), mode)


def _compiled(model, mode):
    model.compile(
        keras.optimizers.AdamW(1e-4, weight_decay=0.01),
        keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, reduction="mean_with_sample_weight"
        ),
        weighted_metrics=[],
        jit_compile=mode in ("xla", "compile"),
        run_eagerly=mode == "eager" and keras.config.backend() != "torch",
    )
    return model


def make_batches(shape, batches, seed=0, used=None):
    """Random tokens: `(x, y, sample_weight)` for the model and its baseline.

    `used` is how many of the thought slots a row thinks in; all if `None`.
    """
    random = np.random.default_rng(seed)
    rows = shape.batch * batches
    thinks = np.arange(shape.thoughts) < (
        shape.thoughts if used is None else used
    )

    def ids(length):
        return random.integers(0, shape.vocabulary, (rows, length), "int32")

    padding = np.linspace(0, shape.padding * shape.question, shape.batch)
    padding = np.tile(padding.astype(int), batches)[:, None]
    question_mask = (np.arange(shape.question)[None] >= padding).astype("int32")
    x = {
        "question_ids": ids(shape.question),
        "question_mask": question_mask,
        "thought_mask": np.tile(thinks.astype("int32"), (rows, 1)),
        "response_ids": ids(shape.response),
        "response_mask": np.ones((rows, shape.response), "int32"),
    }
    y = np.roll(x["response_ids"], -1, axis=1)
    weights = np.ones_like(y, "float32")
    weights[:, -1] = 0
    masks = ("question_mask", "thought_mask", "response_mask")
    baseline = {
        "token_ids": np.concatenate(
            [x["question_ids"], ids(shape.thoughts), x["response_ids"]], axis=1
        ),
        "padding_mask": np.concatenate([x[key] for key in masks], axis=1),
    }
    return (x, y, weights), (baseline, y, weights)
