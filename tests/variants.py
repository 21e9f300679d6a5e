"""Backbones as users have them: LoRA, int8, frozen layers."""

import warnings

import numpy as np
import slow
from families import LENGTH, batch, rows
from keras import ops

import keras_coconut


def randomize(variables):
    """Half of LoRA's weights begin at 0, where the others have no gradient."""
    random = np.random.default_rng(1)
    for variable in variables:
        variable.assign(random.normal(0, 0.1, variable.shape))


def lora_in_one_layer(backbone):
    backbone.trainable = False
    denses = [
        layer
        for layer in backbone.transformer_layers[0]._flatten_layers()
        if hasattr(layer, "enable_lora")
    ]
    denses[0].trainable = True
    denses[0].enable_lora(2)
    backbone.trainable = True
    for layer in backbone._flatten_layers(include_self=False):
        layer.trainable = layer is denses[0]
    randomize(lora_weights(backbone))


def lora_in_all_layers(backbone):
    backbone.enable_lora(2)
    randomize(lora_weights(backbone))


def int8_with_lora(backbone):
    with warnings.catch_warnings():
        # Keras warns of each layer that has nothing to quantize.
        warnings.filterwarnings("ignore", ".*quantize", UserWarning)
        backbone.quantize("int8")
    lora_in_all_layers(backbone)


def frozen_layer(backbone):
    backbone.transformer_layers[0].trainable = False


def lora_weights(backbone):
    found = [v for v in backbone.trainable_variables if "lora" in v.path]
    assert found
    return found


def loss_functions(backbone):
    """Ours and the slow one: sums over weighted logits of the responses."""
    model = keras_coconut.ContinuousThoughtLM(backbone)
    x = batch()
    weights = np.random.default_rng(3).normal(size=(3, 7, 50)) / 50
    weights = (weights * x["response_mask"][..., None]).astype("float32")
    placed = np.zeros((3, LENGTH, 50), "float32")
    for row, (question, count, response) in enumerate(rows()):
        start = len(question) + count
        placed[row, start : start + len(response)] = weights[
            row, : len(response)
        ]
    x = {key: ops.convert_to_tensor(value) for key, value in x.items()}
    weights, placed = map(ops.convert_to_tensor, (weights, placed))

    def ours():
        return ops.sum(ops.cast(model(x), "float32") * weights)

    def slowly():
        logits, _ = slow.logits(backbone, rows(), LENGTH)
        return ops.sum(ops.cast(logits, "float32") * placed)

    return ours, slowly
