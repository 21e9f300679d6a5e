"""KerasHub's standard checks of a task, for every family.

`TestCase` of KerasHub holds them. Its `run_task_test` maps the preprocessor
over a `tf.data.Dataset`, which ours, in Python, leaves to `CurriculumDataset`;
that check and those of saving and of types are written out here for batches.
"""

import importlib
import importlib.util
import sys
import types

import families
import keras
import numpy as np
import pytest
import tiny
import tiny_tokenizers
from keras import ops, tree

import keras_coconut

BACKEND = keras.config.backend()


def chosen(*names):
    """Families with a tokenizer; those not named are marked `thorough`."""
    return [
        family
        for family in families.chosen(*names)
        if getattr(family, "values", [family])[0] in tiny_tokenizers.KINDS
    ]


# Programs are compiled for each: one stands for the rest, not the one of most
# other tests.
FAMILIES = chosen("llama3")


@pytest.fixture(scope="module")
def checks():
    """KerasHub's test case, whose methods are called one by one."""
    # It imports grain, which none of the checks here needs.
    missing = "grain" not in sys.modules and not _is_installed("grain")
    if missing:
        sys.modules["grain"] = types.ModuleType("grain")
    try:
        module = importlib.import_module("keras_hub.src.tests.test_case")
    finally:
        if missing:
            del sys.modules["grain"]
    return module.TestCase("run_task_test")


def _is_installed(name):
    return importlib.util.find_spec(name) is not None


def arguments(family):
    """What a task of one small layer is made of."""
    backbone = families.make(family)
    config = backbone.get_config()
    tokenizer = tiny_tokenizers.preprocessor(family).tokenizer
    config["vocabulary_size"] = tokenizer.vocabulary_size()
    config["num_layers"] = 1
    keras.utils.set_random_seed(0)
    return dict(
        backbone=type(backbone).from_config(config),
        # Behind the seed: with it TensorFlow forgets what the tokenizers of
        # the oldest KerasHub hold.
        preprocessor=tiny_tokenizers.preprocessor(family),
    )


def batch(preprocessor):
    return preprocessor(
        tiny.problems(4), num_thoughts=[2, 0, 1, 1], hidden_steps=0
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_serialization(checks, family):
    task = keras_coconut.ContinuousThoughtLM(
        **arguments(family), num_thoughts=2
    )
    checks.run_serialization_test(task)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_task(family):
    """As `run_task_test`: structure, predict, fit, a task not compiled."""
    tf = pytest.importorskip("tensorflow")
    made = arguments(family)
    task = tiny.compiled(keras_coconut.ContinuousThoughtLM(**made))
    preprocessor = task.preprocessor
    x, y, weights = batch(preprocessor)
    tree.assert_same_structure(x, task._inputs_struct, check_types=False)
    dataset = tf.data.Dataset.from_tensor_slices((x, y, weights)).batch(2)
    shape = (*x["response_ids"].shape, task.backbone.vocabulary_size)
    output = task.predict(x, verbose=0)
    assert output.shape == shape
    for data in (dataset, dataset.map(lambda x, y, w: x)):
        np.testing.assert_allclose(
            task.predict(data, verbose=0), output, atol=1e-4
        )
    task.preprocessor = None
    np.testing.assert_allclose(
        task.predict(dataset, verbose=0), output, atol=1e-4
    )
    task.preprocessor = preprocessor
    task.fit(x, y, sample_weight=weights, batch_size=2, verbose=0)
    task.fit(dataset, shuffle=False, verbose=0)
    after = task.predict(x, verbose=0)
    assert np.isfinite(after).all() and np.abs(after - output).max() > 1e-4
    task = keras_coconut.ContinuousThoughtLM(**made, compile=False)
    with pytest.raises(ValueError, match="You must call `compile"):
        task.fit(dataset, shuffle=False, verbose=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_saving(family, tmp_path):
    """As `run_model_saving_test`, and the same of a preset."""
    task = keras_coconut.ContinuousThoughtLM(**arguments(family))
    x, _, _ = batch(task.preprocessor)
    expected = tiny.logits(task, x)
    task.save(tmp_path / "model.keras")
    task.save_to_preset(tmp_path / "preset")
    for again in (
        keras.models.load_model(tmp_path / "model.keras"),
        keras_coconut.ContinuousThoughtLM.from_preset(tmp_path / "preset"),
    ):
        assert type(again) is keras_coconut.ContinuousThoughtLM
        np.testing.assert_allclose(tiny.logits(again, x), expected, atol=1e-5)
        again, _, _ = batch(again.preprocessor)
        for key, value in x.items():
            np.testing.assert_array_equal(again[key], value)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "bfloat16"])
@pytest.mark.parametrize("family", chosen("gpt2"))
def test_precision(family, policy):
    """As `run_precision_test`, and the numbers are near those of float32."""
    made = arguments(family)
    task = keras_coconut.ContinuousThoughtLM(**made)
    x, _, _ = batch(task.preprocessor)
    config = made["backbone"].get_config()
    config["dtype"] = policy
    backbone = type(made["backbone"]).from_config(config)
    low = keras_coconut.ContinuousThoughtLM(backbone, task.preprocessor)
    low.set_weights(task.get_weights())
    policy = keras.dtype_policies.get(policy)
    # The layers of KerasHub's SmolLM3 stay in float32 whatever the policy.
    stays = family == "smollm3"
    for weight in [] if stays else backbone.weights:
        assert weight.dtype == policy.variable_dtype
    layers = [] if stays else backbone.transformer_layers
    for layer in (low, low.latent_decoder, *layers):
        assert layer.compute_dtype == policy.compute_dtype
        assert layer.variable_dtype == policy.variable_dtype
    real = x["response_mask"].astype(bool)
    found = ops.convert_to_numpy(ops.cast(low(x), "float32"))[real]
    expected = ops.convert_to_numpy(task(x))[real]
    assert np.isfinite(found).all()
    assert np.abs(found - expected).max() < 0.1 * np.abs(expected).max() + 0.05
