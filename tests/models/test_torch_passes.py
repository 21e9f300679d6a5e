"""The passes in plain PyTorch do what they do through Keras' layers."""

import keras
import numpy as np
import pytest
import tiny
from keras import ops
from test_chain import Step, batch

if keras.config.backend() != "torch":
    pytest.skip("of PyTorch", allow_module_level=True)

import torch

from keras_coconut.models import (
    torch_chain,
    torch_layers,
    torch_passes,
    torch_products,
)


def both_ways(monkeypatch, make_model, counts, idle=0):
    """Returns loss and gradient, plainly and the general way."""
    found, chains = [], []
    run = torch_chain.Chain.run

    def counted(*args):
        chains.append(args)
        return run(*args)

    monkeypatch.setattr(torch_chain.Chain, "run", counted)
    for plain in (True, False):
        keras.utils.set_random_seed(3)
        model = make_model()
        if not plain:
            monkeypatch.setattr(torch_layers, "can_run", lambda _: False)
        before = len(chains)
        found.append(Step(model, batch(model, counts, idle)).gradient())
        assert (len(chains) > before) == plain
    return found


@pytest.mark.parametrize("onednn", [True, False])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize(
    "counts, idle", [([0, 1, 2, 3], 1), ([2] * 12, 0), ([1, 1], 0)]
)
def test_same_loss_and_gradient(monkeypatch, dropout, counts, idle, onednn):
    """With idle slots and without, by blocks of columns and at once."""
    linear = torch.ops.mkldnn._linear_pointwise if onednn else None
    monkeypatch.setattr(torch_products, "_linear", lambda: linear)
    monkeypatch.setattr(torch_products, "_BLOCK", 8)
    monkeypatch.setattr(torch_products, "_FEW_ROWS", 4)
    if dropout:
        # The same numbers are drawn for as many positions only.
        monkeypatch.setattr(torch_passes, "_leaves_out_padding", lambda _: 0)
    (loss, gradient), (general_loss, general) = both_ways(
        monkeypatch,
        lambda: tiny.text_model(dropout=dropout, seed=3),
        counts,
        idle,
    )
    assert loss == pytest.approx(general_loss, abs=1e-5)
    assert len(gradient) == len(general) > 20
    for one, other in zip(gradient, general):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("frozen", ["kernel", "gamma", "bias", "embeddings"])
def test_frozen_weights(monkeypatch, frozen):
    def make():
        model = tiny.text_model(seed=3)
        for weight in model.backbone.weights:
            weight.trainable = frozen not in weight.path
        return model

    (loss, gradient), (general_loss, general) = both_ways(
        monkeypatch, make, [1, 2]
    )
    assert loss == pytest.approx(general_loss, abs=1e-5)
    assert len(gradient) == len(general) < len(tiny.text_model().weights)
    for one, other in zip(gradient, general):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_padding_is_not_computed(monkeypatch):
    """What goes through the layers are the real positions and the thoughts."""
    model = tiny.text_model(seed=3)
    x, _, _ = batch(model, [1, 2, 2])
    computed = []
    run = torch_layers.Layers.run

    def counted(self, number, x, *args, **kwargs):
        computed.append(len(x))
        return run(self, number, x, *args, **kwargs)

    monkeypatch.setattr(torch_layers.Layers, "run", counted)
    model(x, training=True)
    real = [int(x[key].sum()) for key in ("question_mask", "response_mask")]
    assert all(
        count < x[key].size
        for count, key in zip(real, ("question_mask", "response_mask"))
    )
    # Two layers.
    question, response = ([count] * 2 for count in real)
    assert computed == [*question, *response]


def test_no_gradient_outlives_its_step(monkeypatch):
    """None of the last step is held while the next computes its loss."""
    model = tiny.text_model(seed=3)
    model.compile()
    x, _, _ = batch(model, [1, 2])
    held, after = [], []
    run = torch_layers.Layers.run

    def watched(self, number, x, *args, **kwargs):
        held.extend(w.value.grad for w in model.trainable_weights)
        return run(self, number, x, *args, **kwargs)

    monkeypatch.setattr(torch_layers.Layers, "run", watched)
    for _ in range(2):
        model.train_on_batch(x)
        after.extend(w.value.grad for w in model.trainable_weights)
    assert held and all(gradient is None for gradient in held)
    # A callback may look at them once the step is done.
    assert all(gradient is not None for gradient in after)


def test_half_precision(monkeypatch):
    (loss, gradient), (general_loss, general) = both_ways(
        monkeypatch,
        lambda: tiny.text_model(dtype="mixed_bfloat16", seed=3),
        [1, 2, 3],
    )
    assert loss == pytest.approx(general_loss, rel=0.02)
    # Some gradients, of the keys' biases for one, are nothing but rounding.
    largest = max(np.abs(g).max() for g in general)
    for one, other in zip(gradient, general):
        scale = np.abs(other).max() + 0.02 * largest
        np.testing.assert_allclose(one / scale, other / scale, atol=0.1)


def test_other_layers_go_the_general_way():
    model = tiny.text_model()
    assert torch_layers.can_run(model.backbone)
    model.backbone.enable_lora(2)
    assert not torch_layers.can_run(model.backbone)
    x, _, _ = batch(model, [1, 2])
    loss = ops.mean(model(x, training=True) ** 2)
    loss.backward()
    gradients = [v.value.grad for v in model.backbone.trainable_variables]
    assert gradients and all(g is not None for g in gradients)
