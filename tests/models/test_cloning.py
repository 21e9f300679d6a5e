"""`keras.models.clone_model` gives the task back, not its graph."""

import keras
import keras_hub
import numpy as np
import pytest
import tiny
from keras import ops

import keras_coconut


def logits(model, x):
    return ops.convert_to_numpy(model(x))


@pytest.mark.parametrize(
    "compiled, markers",
    [
        (True, True),
        *(
            pytest.param(*case, marks=pytest.mark.thorough)
            for case in ((True, False), (False, True), (False, False))
        ),
    ],
)
def test_a_clone_is_another_model_of_the_same_kind(compiled, markers):
    model = tiny.text_model(layers=1, markers=markers)
    model.num_thoughts, model.thought_kind = 2, "continuous"
    if compiled:
        tiny.compiled(model, keras.optimizers.SGD(0.25), sampler="beam")
    else:
        model = keras_coconut.ContinuousThoughtLM(
            model.backbone, model.preprocessor, num_thoughts=2, compile=False
        )
    clone = keras.models.clone_model(model)
    assert type(clone) is keras_coconut.ContinuousThoughtLM
    assert clone.compiled == compiled
    assert clone.markers is markers
    assert clone.num_thoughts == 2
    if compiled:
        assert float(clone.optimizer.learning_rate) == 0.25
        assert clone.optimizer is not model.optimizer
        assert isinstance(clone.sampler, keras_hub.samplers.BeamSampler)
    x, _, _ = model.preprocessor(tiny.problems(4), num_thoughts=2)
    mine = logits(model, x)
    assert np.abs(logits(clone, x) - mine).max() > 1e-3  # New weights.
    clone.set_weights(model.get_weights())
    np.testing.assert_allclose(logits(clone, x), mine, atol=1e-6)
    for weight in clone.trainable_variables:
        weight.assign(np.zeros(weight.shape))
    np.testing.assert_allclose(logits(model, x), mine, atol=1e-6)


@pytest.mark.thorough
def test_a_clone_reads_the_question():
    model = tiny.text_model(layers=1)
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    x, _, _ = model.preprocessor(tiny.problems(4), num_thoughts=2)
    other = {**x, "question_ids": np.where(x["question_mask"], 5, 0)}
    assert np.abs(logits(clone, x) - logits(clone, other)).max() > 0.1


@pytest.mark.thorough
def test_a_clone_trains_and_answers():
    model = tiny.compiled(tiny.text_model(layers=1))
    clone = keras.models.clone_model(model)
    data = model.preprocessor(tiny.problems(4), num_thoughts=1)
    for one in (model, clone):
        one.set_weights(model.get_weights())
    losses = [
        one.fit(*data[:1], verbose=0).history["loss"] for one in (model, clone)
    ]
    np.testing.assert_allclose(*losses, rtol=1e-6)
    assert clone.generate("start 3", num_thoughts=1, max_length=4) == (
        model.generate("start 3", num_thoughts=1, max_length=4)
    )


def frozen(model):
    return [not layer.trainable for layer in model.backbone._flatten_layers()]


def test_frozen_layers_stay_frozen():
    model = tiny.text_model(layers=2)
    model.backbone.token_embedding.trainable = False
    model.backbone.transformer_layers[0].trainable = False
    model.backbone.transformer_layers[1]._self_attention_layer.trainable = False
    clone = keras.models.clone_model(model)
    assert frozen(clone) == frozen(model) and any(frozen(model))
    assert len(clone.trainable_weights) == len(model.trainable_weights)

    def frozen_otherwise(layer):
        layer = type(layer).from_config(layer.get_config())
        layer.layer_norm.trainable = False
        return layer

    clone = keras.models.clone_model(model, clone_function=frozen_otherwise)
    assert sum(frozen(clone)) == 1
    model.trainable = False
    assert not keras.models.clone_model(model).trainable


def test_the_one_layer_that_trains_trains_in_the_clone():
    model = tiny.text_model(layers=2)
    model.backbone.trainable = False
    model.backbone.transformer_layers[-1].trainable = True
    before = frozen(model)
    clone = keras.models.clone_model(model)
    assert frozen(clone) == before and not all(before)
    keras.models.clone_model(model, clone_function=lambda layer: layer)
    assert frozen(model) == before


def test_layers_are_cloned_as_told():
    model = tiny.text_model(layers=1)
    same = keras.models.clone_model(model, clone_function=lambda layer: layer)
    assert same.backbone is model.backbone
    assert same is not model
    with pytest.raises(ValueError, match="`call_function` must be left out"):
        keras.models.clone_model(model, call_function=lambda layer, x: layer(x))


@pytest.mark.thorough
@pytest.mark.parametrize(
    "enable",
    [
        lambda backbone: backbone.enable_lora(2),
        lambda backbone: backbone.token_embedding.enable_lora(2),
        lambda backbone: backbone.transformer_layers[
            0
        ]._feedforward_intermediate_dense.enable_lora(2),
    ],
    ids=["backbone", "embedding", "dense"],
)
def test_lora_would_be_lost(enable):
    model = tiny.text_model(layers=1)
    enable(model.backbone)
    with pytest.raises(ValueError, match="before `enable_lora`.*clone") as e:
        keras.models.clone_model(model)
    assert len(str(e.value)) < 500

    def with_lora(layer):
        layer = type(layer).from_config(layer.get_config())
        enable(layer)
        return layer

    for keep in (with_lora, lambda layer: layer):
        clone = keras.models.clone_model(model, clone_function=keep)
        clone.set_weights(model.get_weights())
        x, _, _ = model.preprocessor(tiny.problems(4), num_thoughts=2)
        np.testing.assert_allclose(
            logits(clone, x), logits(model, x), atol=1e-6
        )


@pytest.mark.filterwarnings("ignore:Layer .*does not have a `quantize")
@pytest.mark.filterwarnings("ignore:(?s).*`x.T` on tensors")  # Keras' own.
def test_a_quantized_model_stays_quantized():
    model = tiny.text_model(layers=1)
    model.backbone.quantize("int8")
    clone = keras.models.clone_model(model)
    assert [w.dtype for w in clone.weights] == [w.dtype for w in model.weights]
    assert "int8" in [w.dtype for w in clone.weights]
    clone.set_weights(model.get_weights())
    x, _, _ = model.preprocessor(tiny.problems(4), num_thoughts=2)
    np.testing.assert_allclose(logits(clone, x), logits(model, x), atol=1e-6)


def test_the_constructor_shows_its_own_arguments():
    import inspect

    shown = inspect.signature(keras_coconut.ContinuousThoughtLM).parameters
    assert list(shown)[:3] == ["backbone", "preprocessor", "num_thoughts"]
