"""A small backbone of each family, and rows for it to read."""

import functools

import keras
import keras_hub
import numpy as np
import pytest

_models = keras_hub.models
_COMMON = {"vocabulary_size": 50, "num_layers": 3, "hidden_dim": 32}
# Deep enough for layers of several kinds to alternate.
_DEEP = {**_COMMON, "num_layers": 7}
_GROUPED = {"num_query_heads": 4, "num_key_value_heads": 2}
_GEMMA = {**_COMMON, **_GROUPED, "intermediate_dim": 96, "head_dim": 16}
# Shorter than the rows of the tests.
WINDOW = 5


FAMILIES = {
    "gpt2": functools.partial(
        _models.GPT2Backbone,
        num_heads=4,
        intermediate_dim=48,
        max_sequence_length=64,
        dropout=0.0,
        **_DEEP,
    ),
    "opt": functools.partial(
        _models.OPTBackbone,
        num_heads=4,
        intermediate_dim=48,
        max_sequence_length=64,
        dropout=0.0,
        **_COMMON,
    ),
    "gpt_neo_x": functools.partial(
        _models.GPTNeoXBackbone,
        num_heads=4,
        intermediate_dim=48,
        rotary_percentage=0.5,
        dropout=0.0,
        max_sequence_length=64,
        **_COMMON,
    ),
    "llama": functools.partial(
        _models.LlamaBackbone, intermediate_dim=48, **_GROUPED, **_COMMON
    ),
    "llama3": functools.partial(
        _models.Llama3Backbone,
        intermediate_dim=48,
        tie_word_embeddings=True,
        rope_frequency_adjustment_factor=8.0,
        rope_low_freq_factor=1.0,
        rope_high_freq_factor=4.0,
        rope_pretraining_sequence_length=16,
        **_GROUPED,
        **_DEEP,
    ),
    "mistral": functools.partial(
        _models.MistralBackbone,
        intermediate_dim=48,
        sliding_window=WINDOW,
        **_GROUPED,
        **_COMMON,
    ),
    "qwen": functools.partial(
        _models.QwenBackbone,
        intermediate_dim=48,
        use_sliding_window_attention=True,
        sliding_window_size=WINDOW,
        **_GROUPED,
        **_COMMON,
    ),
    "qwen3": functools.partial(
        _models.Qwen3Backbone,
        intermediate_dim=48,
        head_dim=16,
        sliding_window_size=WINDOW,
        **_GROUPED,
        **_COMMON,
    ),
    "phi3": functools.partial(
        _models.Phi3Backbone, intermediate_dim=48, **_GROUPED, **_COMMON
    ),
    "phi3_su": functools.partial(
        _models.Phi3Backbone,
        intermediate_dim=48,
        max_sequence_length=64,
        pretraining_sequence_length=32,
        rope_scaling_type="su",
        rope_scaling_short_factor=[1.0, 1.1, 1.2, 1.3],
        rope_scaling_long_factor=[2.0, 2.1, 2.2, 2.3],
        **_GROUPED,
        **_COMMON,
    ),
    "gemma": functools.partial(_models.GemmaBackbone, **_GEMMA),
    "gemma2": functools.partial(
        _models.GemmaBackbone,
        query_head_dim_normalize=False,
        use_post_ffw_norm=True,
        use_post_attention_norm=True,
        attention_logit_soft_cap=5.0,
        final_logit_soft_cap=3.0,
        use_sliding_window_attention=True,
        sliding_window_size=WINDOW,
        **_GEMMA,
    ),
    "gemma3": functools.partial(
        _models.Gemma3Backbone,
        image_size=16,
        vision_encoder=None,
        intermediate_dim=48,
        head_dim=16,
        use_post_ffw_norm=True,
        use_post_attention_norm=True,
        use_sliding_window_attention=True,
        sliding_window_size=WINDOW,
        **_GROUPED,
        **_DEEP,
    ),
    "smollm3": functools.partial(
        _models.SmolLM3Backbone,
        intermediate_dim=48,
        num_attention_heads=4,
        num_key_value_heads=2,
        attention_bias=False,
        attention_dropout=0.0,
        rope_layer_enabled_list=[True, True, True, False] * 2,
        layer_types=["full_attention"] * 7,
        mlp_bias=False,
        layer_norm_epsilon=1e-5,
        max_position_embeddings=128,
        rope_theta=1e4,
        partial_rotary_factor=1.0,
        **_DEEP,
    ),
}


def make(family: str, **changes):
    """Returns a backbone whose every weight matters.

    Args:
        family: a key of `FAMILIES`.
        **changes: other arguments of the backbone, such as `num_layers=2`
            where the depth does not matter: tracing takes seconds a layer.
    """
    keras.utils.set_random_seed(0)
    backbone = FAMILIES[family](**changes)
    rng = np.random.default_rng(0)
    for weight in backbone.trainable_variables:
        # Norms near one, so that nothing vanishes or explodes in deep models.
        scale = 0.1 if len(weight.shape) == 1 else 0.15
        weight.assign(weight + scale * rng.normal(size=weight.shape))
    return backbone


def chosen(*families: str) -> list:
    """Returns all families; those not named are marked `thorough`."""
    assert set(families) <= set(FAMILIES)
    return [
        family
        if family in families
        else pytest.param(family, marks=pytest.mark.thorough)
        for family in FAMILIES
    ]


LENGTH = 24
# Rows of several lengths: the question is padded on the left, the response on
# the right, and idle slots stand between the thoughts and it.
QUESTIONS, THOUGHTS, RESPONSES = (9, 5, 7), (3, 1, 0), (4, 6, 2)


def tokens(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 50, shape).astype("int32")


def rows():
    return [
        (tokens(q, seed).tolist(), k, tokens(r, 10 + seed).tolist())
        for seed, (q, k, r) in enumerate(zip(QUESTIONS, THOUGHTS, RESPONSES))
    ]


def batch():
    from keras_coconut.text import batches

    questions, counts, responses = zip(*rows())
    x = batches.pack_questions(questions, counts, 11, slots=4)
    return {**x, **batches.pack_responses(responses, 7)}
