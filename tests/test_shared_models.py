"""The model that tests share is as new, or another one."""

import keras
import numpy as np
import pytest
import tiny

import keras_coconut


def test_it_is_shared_and_begins_anew():
    model = tiny.shared()
    weights = model.get_weights()
    model.fit(
        tiny.problems(4),
        curriculum=keras_coconut.Curriculum(0, extra_stage=False),
        verbose=0,
    )
    model.num_thoughts = 2
    for _ in range(5):
        assert tiny.shared() is model
    assert model.num_thoughts is None and "_last_epoch" not in vars(model)
    assert int(model.optimizer.iterations) == 0
    for one, other in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.skipif(keras.config.backend() != "torch", reason="of PyTorch")
def test_no_gradient_is_left():
    model = tiny.shared()
    kernel = model.trainable_variables[0].value
    kernel.sum().backward()
    assert kernel.grad is not None
    tiny.shared()
    assert kernel.grad is None


def test_what_makes_another_of_it():
    def replace_a_method(model):
        model.__dict__["generate_tokens"] = None

    def freeze(model):
        model.backbone.token_embedding.trainable = False

    for change in (
        replace_a_method,
        freeze,
        tiny.compiled,
        lambda model: model.compile(sampler="top_k"),
        lambda model: model.backbone.enable_lora(2),
    ):
        model = tiny.shared()
        change(model)
        other = tiny.shared()
        assert other is not model and tiny.shared() is other
