"""The slow, obvious model: KerasHub's own layers, from the start each time."""

import contextlib
import importlib

import keras
import numpy as np
from keras import ops


def embed(backbone, token_ids):
    x = backbone.token_embedding(ops.convert_to_tensor(token_ids))
    if "Gemma" in type(backbone).__name__:
        x = x * backbone.hidden_dim**0.5
    return x


def hidden_states(backbone, x):
    """Returns the hidden states of rows (B, L, D) without padding."""
    positions = getattr(backbone, "position_embedding", None)
    if hasattr(backbone, "embeddings"):
        positions = backbone.embeddings.position_embedding
    if positions is not None:
        x = x + positions(x)
    for layer in backbone.transformer_layers:
        x = layer(x)
    norm = getattr(backbone, "layer_norm", None) or backbone.norm
    return norm(x)


def logits(backbone, rows, length, thought_scale=1.0):
    """Returns the logits (B, length, V) of rows, computed from the start.

    Args:
        backbone: a backbone.
        rows: list of the ids of a question, of a number of thoughts, and of
            the ids of a response.
        length: int, positions of the longest row. What stands behind a row's
            last position is seen by nothing before it.
        thought_scale: float, the factor of a thought where it enters.

    Returns:
        The logits at all positions of each row, and what the layers read,
        (B, length, D), with the thoughts in it.
    """
    ids = np.zeros((len(rows), length), "int32")
    for row, (question, count, response) in enumerate(rows):
        start = len(question) + count
        ids[row, : len(question)] = question
        ids[row, start : start + len(response)] = response
    x = embed(backbone, ids)
    for slot in range(max(count for _, count, _ in rows)):
        # The hidden state before a thought's position becomes its input.
        shifted = ops.roll(hidden_states(backbone, x), 1, axis=1)
        is_thought = np.zeros((len(rows), length, 1), "bool")
        for row, (question, count, _) in enumerate(rows):
            is_thought[row, len(question) + slot] = slot < count
        x = ops.where(
            ops.convert_to_tensor(is_thought), shifted * thought_scale, x
        )
    last = hidden_states(backbone, x)
    return backbone.token_embedding(last, reverse=True), x


def gradients(function, variables):
    """Returns the value of a function and its gradient by all variables."""
    backend = keras.config.backend()
    if backend == "jax":
        import jax

        def run(values):
            with keras.StatelessScope(zip(variables, values)):
                return function()

        values = [v.value for v in variables]
        value, found = jax.jit(jax.value_and_grad(run))(values)
    elif backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            value = function()
        found = tape.gradient(
            value,
            [v.value for v in variables],
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        found = map(tf.convert_to_tensor, found)
    else:
        import torch

        value = function()
        found = torch.autograd.grad(
            value, [v.value for v in variables], materialize_grads=True
        )
    return ops.convert_to_numpy(value), [
        np.array(ops.convert_to_numpy(gradient)) for gradient in found
    ]


def assert_near(variables, found, expected, share):
    """Compares gradients, each by a share of its largest entry."""
    for variable, one, other in zip(variables, found, expected, strict=True):
        np.testing.assert_allclose(
            one,
            other,
            atol=share * np.abs(other).max() + share / 100,
            err_msg=variable.path,
        )


@contextlib.contextmanager
def unfused_attention():
    """KerasHub's attention as published, also where it would fuse it."""
    names = ["qwen.qwen_attention", "qwen3.qwen3_attention"]
    modules = [
        importlib.import_module(f"keras_hub.src.models.{name}")
        for name in names
    ]
    before = [module.fused_attention_op_available for module in modules]
    for module in modules:
        module.fused_attention_op_available = lambda: False
    try:
        yield
    finally:
        for module, function in zip(modules, before):
            module.fused_attention_op_available = function


def chances(model, rows):
    """Yields the logarithms of the probabilities of texts' tokens.

    Args:
        model: a `ContinuousThoughtLM`.
        rows: list of questions, numbers of thoughts, prompts that are given,
            and texts that follow them.
    """
    from keras_coconut.text import batches

    questions, counts, prompts, texts = map(list, zip(*rows))
    preprocessor = model.preprocessor
    tokenize = preprocessor.tokenize_responses
    ids, counts = preprocessor.fill_slots(
        preprocessor.tokenize_questions(questions),
        counts,
        [model.thought_kind] * len(rows),
    )
    responses = tokenize([p + text for p, text in zip(prompts, texts)])
    x = batches.pack_questions(ids, counts)
    logits = model.predict_on_batch({**x, **batches.pack_responses(responses)})
    logits = logits - logits.max(axis=-1, keepdims=True)
    found = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    for row, (prompt, response) in enumerate(zip(prompts, responses)):
        # Without `<eot>` and the end of text.
        first = len(tokenize([prompt])[0]) - 2 if prompt else 0
        last = len(response) - 2
        yield found[row, range(first, last), response[first + 1 : last + 1]]
