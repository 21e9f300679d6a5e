"""Weights updated in blocks on PyTorch end as those updated all at once."""

import types

import keras
import numpy as np
import pytest
import tiny

from keras_coconut import engines
from keras_coconut.curriculum import Layout
from keras_coconut.engines import blockwise_adam

if keras.config.backend() != "torch":
    # Elsewhere Keras updates weights one by one.
    pytest.skip("of Keras' torch optimizers", allow_module_level=True)


def updated(optimizer, in_blocks):
    random = np.random.default_rng(0)
    shapes = [(3, 4), (5,), (2, 2, 2), (7,), (1,)]
    weights = [
        keras.Variable(random.normal(size=shape), dtype="float32")
        for shape in shapes
    ]
    optimizer.build(weights)
    stepping = blockwise_adam.in_blocks(optimizer) if in_blocks else optimizer
    for _ in range(3):
        gradients = [
            keras.ops.convert_to_tensor(random.normal(size=shape), "float32")
            for shape in shapes
        ]
        stepping.apply(gradients, weights)
    assert int(stepping.iterations) == int(optimizer.iterations)
    return [keras.ops.convert_to_numpy(weight) for weight in weights]


@pytest.mark.parametrize("block", [1, 40, 10**9])
@pytest.mark.parametrize(
    "name, kwargs",
    [
        ("AdamW", {"weight_decay": 0.1, "global_clipnorm": 1.0}),
        ("AdamW", {"gradient_accumulation_steps": 2}),
        ("Adam", {"amsgrad": True}),
        ("Nadam", {}),
        ("SGD", {"momentum": 0.9}),
    ],
)
def test_same_weights(monkeypatch, name, kwargs, block):
    monkeypatch.setattr(blockwise_adam, "_BLOCK", block)
    make = getattr(keras.optimizers, name)
    whole = updated(make(0.1, **kwargs), in_blocks=False)
    parts = updated(make(0.1, **kwargs), in_blocks=True)
    for one, other in zip(parts, whole):
        np.testing.assert_array_equal(one, other)


def test_the_optimizer_itself_stays_as_it_is():
    optimizer = keras.optimizers.AdamW(1e-3)
    model = tiny.compiled(tiny.text_model(), optimizer)
    x = model.preprocessor(tiny.problems(2), num_thoughts=1)
    model.train_on_batch(*x)
    assert model.optimizer is optimizer
    assert "_parallel_update_step" not in vars(optimizer)
    assert type(optimizer).__module__.startswith("keras.")


def test_the_model_updates_in_blocks(monkeypatch):
    """Of at most the size given, and no block inside a block."""
    monkeypatch.setattr(blockwise_adam, "_BLOCK", 1024)
    model = tiny.text_model()
    optimizer = keras.optimizers.AdamW(1e-3)
    sizes = []
    update = type(optimizer)._parallel_update_step

    def counted(self, gradients, *args):
        sizes.append([gradient.nbytes for gradient in gradients])
        return update(self, gradients, *args)

    monkeypatch.setattr(type(optimizer), "_parallel_update_step", counted)
    for _ in range(2):
        model.compile(optimizer)
    tokenized = model.preprocessor.tokenize_problems(tiny.problems()[:2])
    model.train_on_batch(
        *model.preprocessor.pack(tokenized, [Layout(0, 1)] * 2)
    )
    # A block ends with the part that fills it.
    assert all(sum(block[:-1]) < 1024 for block in sizes)
    assert max(max(block) for block in sizes) <= 1024
    whole = sum(4 * np.prod(w.shape) for w in model.trainable_variables)
    assert sum(map(sum, sizes)) == whole


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_blocks_serve_on_a_cpu_alone(device):
    """On a GPU a step with blocks took 1.5 times as long as one without."""
    import torch

    optimizer = keras.optimizers.AdamW()
    weight = types.SimpleNamespace(value=torch.zeros(2, device=device))
    model = types.SimpleNamespace(
        optimizer=optimizer,
        trainable_variables=[weight],
        zero_grad=lambda: None,
    )
    with engines.fast_updates(model):
        assert (model.optimizer is optimizer) == (device != "cpu")
    assert model.optimizer is optimizer
