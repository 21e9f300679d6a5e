"""A larger vocabulary changes nothing else, in any family."""

import functools

import families
import keras
import numpy as np
import pytest
from keras import ops

from keras_coconut.backbones.growth import grow
from keras_coconut.versions import is_older

SIZE = 50
NEW = [SIZE, SIZE + 1, SIZE + 3]


# Growing leaves a backbone as it is.
made = functools.cache(families.make)
# Tied, untied, within another layer, and without dtypes for its layers.
SOME = ["gpt2", "llama", "opt", "smollm3"]


def outputs(backbone):
    """Hidden states and logits of the tokens that were there before."""
    ids = np.random.default_rng(0).integers(0, SIZE, (2, 9))
    mask = np.ones_like(ids)
    mask[0, 6:] = 0
    hidden = backbone({"token_ids": ids, "padding_mask": mask})
    logits = backbone.token_embedding(hidden, reverse=True)
    return [
        ops.convert_to_numpy(hidden),
        ops.convert_to_numpy(logits)[..., :SIZE],
    ]


def tables(backbone):
    """The embedding and, where it is untied, the head: one row a token."""
    embedding = backbone.token_embedding
    found = [embedding.embeddings]
    if not embedding.tie_weights:
        found.append(ops.transpose(embedding.reverse_embeddings))
    return [ops.convert_to_numpy(ops.cast(t, "float32")) for t in found]


def rounds_by_width():
    if keras.config.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return is_older(tf.__version__, "2.21")


@pytest.mark.parametrize("family", families.chosen(*SOME))
def test_old_outputs_stay_and_new_rows_start_right(family):
    backbone = made(family)
    prototype = 7 if family in SOME else None
    before = [weight.copy() for weight in backbone.get_weights()]
    grown = grow(backbone, NEW, prototype)
    assert grown.vocabulary_size == SIZE + 4
    for old, new in zip(outputs(backbone), outputs(grown), strict=True):
        # In TensorFlow 2.20 a product with more columns may round the last of
        # the old ones anew.
        reach = 1e-6 if rounds_by_width() else 0
        np.testing.assert_allclose(old, new, rtol=0, atol=reach)
    assert len(tables(grown)) == len(tables(backbone))
    for old, new in zip(tables(backbone), tables(grown)):
        row = old.mean(axis=0) if prototype is None else old[prototype]
        np.testing.assert_array_equal(new[:SIZE], old)
        np.testing.assert_allclose(new[NEW], np.tile(row, (3, 1)), atol=1e-7)
    # The backbone that was given is as it was.
    assert backbone.vocabulary_size == SIZE
    for old, new in zip(before, backbone.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("family", SOME)
def test_rows_beyond_the_tokens_are_used(family):
    backbone = made(family)
    grown = grow(backbone, [SIZE - 3, SIZE - 2])
    assert grown is not backbone and grown.vocabulary_size == SIZE
    for old, new in zip(tables(backbone), tables(grown)):
        row = old[: SIZE - 3].mean(axis=0)
        np.testing.assert_array_equal(new[: SIZE - 3], old[: SIZE - 3])
        np.testing.assert_allclose(new[SIZE - 3 : -1], [row, row], atol=1e-7)
        np.testing.assert_array_equal(new[-1], old[-1])


@pytest.mark.thorough
@pytest.mark.parametrize("family", SOME)
def test_what_is_frozen_stays_frozen(family):
    backbone = families.make(family)
    for index, layer in enumerate(backbone.transformer_layers):
        layer.trainable = index != 1
    backbone.token_embedding.trainable = False
    first = backbone.transformer_layers[0]
    next(
        layer for layer in first._flatten_layers(include_self=False)
    ).trainable = False
    grown = grow(backbone, NEW)
    flags = [weight.trainable for weight in backbone.weights]
    assert [weight.trainable for weight in grown.weights] == flags
    assert True in flags and flags.count(False) > 3
    assert len(grown.trainable_weights) == len(backbone.trainable_weights)
    backbone.trainable = False
    assert not grow(backbone, NEW).trainable_weights


@pytest.mark.thorough
@pytest.mark.parametrize("family", SOME)
@pytest.mark.parametrize("dtype", ["bfloat16", "mixed_bfloat16"])
def test_dtypes_stay(family, dtype):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        backbone = families.make(family)
    finally:
        keras.config.set_dtype_policy(policy)
    grown = grow(backbone, NEW)
    assert keras.config.dtype_policy() is policy
    assert [weight.dtype for weight in grown.weights] == [
        weight.dtype for weight in backbone.weights
    ]
    assert grown.token_embedding.compute_dtype == "bfloat16"
    for old, new in zip(outputs(backbone), outputs(grown), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize`")
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_adapters_and_quantized_weights_must_wait(family):
    backbone = families.make(family)
    backbone.quantize("int8")
    with pytest.raises(ValueError, match="`backbone`.*before `quantize`"):
        grow(backbone, NEW)
    backbone = families.make(family)
    backbone.enable_lora(2)
    with pytest.raises(ValueError, match="`backbone`.*before `enable_lora`"):
        grow(backbone, NEW)
