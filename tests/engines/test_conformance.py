"""With fast paths or without: the same numbers, for every family."""

import families
import keras
import numpy as np
import pytest
import slow
from families import batch
from variants import (
    frozen_layer,
    int8_with_lora,
    lora_in_one_layer,
    loss_functions,
)

import keras_coconut
from keras_coconut import engines

if keras.config.backend() != "torch":
    pytest.skip("fast paths serve PyTorch alone", allow_module_level=True)


WITHOUT_INT8 = {
    "gpt_neo_x": "KerasHub's `enable_lora` finds no layer in it",
    "smollm3": "KerasHub cannot quantize it",
}


def as_it_is(backbone):
    pass


@pytest.fixture
def either(monkeypatch):
    """Runs a function with fast paths and without; returns both results."""

    def run(function):
        results = []
        for enabled in (True, False):
            monkeypatch.setattr(engines, "enabled", enabled)
            results.append(function())
        return results

    return run


@pytest.mark.parametrize("family", list(families.FAMILIES))
@pytest.mark.parametrize(
    "change", [as_it_is, lora_in_one_layer, int8_with_lora, frozen_layer]
)
@pytest.mark.filterwarnings("ignore:The use of `x.T`:UserWarning")  # Keras'
def test_gradients(either, family, change):
    if change is int8_with_lora and family in WITHOUT_INT8:
        pytest.skip(WITHOUT_INT8[family])
    backbone = families.make(family)
    change(backbone)
    variables = backbone.trainable_variables
    ours, _ = loss_functions(backbone)
    fast, plain = either(lambda: slow.gradients(ours, variables))
    assert fast[0] == pytest.approx(plain[0], rel=1e-5, abs=1e-6)
    slow.assert_near(variables, fast[1], plain[1], 1e-5)


@pytest.mark.parametrize(
    "family, name",
    [
        *((family, "SGD") for family in families.FAMILIES),
        *((family, "AdamW") for family in ("gpt2", "llama3", "gemma2")),
    ],
)
def test_training_steps(either, family, name):
    def train():
        backbone = families.make(family)
        model = keras_coconut.ContinuousThoughtLM(backbone)
        model.compile(getattr(keras.optimizers, name)(1e-2))
        x = batch()
        losses = [float(model.train_on_batch(x)[0]) for _ in range(3)]
        return losses, backbone.get_weights()

    (fast_losses, fast), (losses, plain) = either(train)
    assert fast_losses == pytest.approx(losses, rel=1e-4)
    if name == "SGD":
        # AdamW turns rounding into steps where a gradient is next to nothing.
        for one, other in zip(fast, plain, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("family", ["gpt2", "llama3", "gemma2"])
def test_a_partial_gradient_and_then_all(either, family):
    import torch

    backbone = families.make(family)
    kernels = [v.value for v in backbone.trainable_variables]
    ours, _ = loss_functions(backbone)

    def run():
        for kernel in kernels:
            kernel.grad = None
        loss = ours()
        (first,) = torch.autograd.grad(loss, kernels[:1], retain_graph=True)
        loss.backward()
        np.testing.assert_allclose(first, kernels[0].grad, atol=1e-7)
        return [np.array(kernel.grad) for kernel in kernels]

    for one, other in zip(*either(run)):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("family", ["gpt2", "llama3", "gemma2"])
def test_a_second_derivative(either, family):
    import torch

    backbone = families.make(family)
    kernel = backbone.trainable_variables[3].value
    ours, _ = loss_functions(backbone)

    def run():
        # PyTorch's fused attention says that it has none on a CPU.
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            (slope,) = torch.autograd.grad(ours(), [kernel], create_graph=True)
            (second,) = torch.autograd.grad((slope**2).sum(), [kernel])
        return second.numpy()

    fast, plain = either(run)
    assert np.abs(plain).max() > 0
    np.testing.assert_allclose(fast, plain, atol=1e-4 * np.abs(plain).max())
