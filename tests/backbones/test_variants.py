"""Backbones as users have them: LoRA, int8, frozen layers, lower precision.

Against KerasHub's own layers run from the start, which have the same weights.
"""

import families
import keras
import pytest
import slow
from variants import (
    frozen_layer,
    int8_with_lora,
    lora_in_one_layer,
    loss_functions,
)

thorough = pytest.mark.thorough
FAMILIES = ["gpt2", "llama3", "gemma2"]
# With every backend in each run of the tests: what changes a layer itself.
OFTEN = [("gpt2", lora_in_one_layer), ("llama3", int8_with_lora)]


@pytest.mark.parametrize(
    ("family", "change"),
    [
        pytest.param(
            family,
            change,
            marks=() if (family, change) in OFTEN else thorough,
        )
        for family in FAMILIES
        for change in (lora_in_one_layer, int8_with_lora, frozen_layer)
    ],
)
@pytest.mark.filterwarnings("ignore:The use of `x.T`:UserWarning")  # Keras'
def test_changed_backbones(family, change):
    # One layer of six with LoRA once was an error.
    layers = 6 if change is lora_in_one_layer else 2
    backbone = families.make(family, num_layers=layers)
    change(backbone)
    variables = backbone.trainable_variables
    assert variables
    found, expected = (
        slow.gradients(function, variables)
        for function in loss_functions(backbone)
    )
    assert found[0] == pytest.approx(expected[0], rel=1e-4, abs=1e-5)
    slow.assert_near(variables, found[1], expected[1], 1e-4)


@pytest.mark.parametrize(
    "family",
    [
        family if family == "gpt2" else pytest.param(family, marks=thorough)
        for family in FAMILIES
    ],
)
def test_bfloat16_is_as_near_as_kerashub(family):
    """To the gradient in float32, over all weights."""
    exact = families.make(family, num_layers=2)
    variables = exact.trainable_variables
    _, expected = slow.gradients(loss_functions(exact)[1], variables)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        backbone = families.make(family, num_layers=2)
    finally:
        keras.config.set_dtype_policy("float32")
    backbone.set_weights(exact.get_weights())
    far = []
    for function in loss_functions(backbone):
        _, gradients = slow.gradients(function, backbone.trainable_variables)
        far.append(
            sum(
                float(((one - other) ** 2).sum())
                for one, other in zip(gradients, expected, strict=True)
            )
            ** 0.5
        )
    size = sum(float((other**2).sum()) for other in expected) ** 0.5
    ours, kerashub = far
    assert 0 < ours < 1.5 * kerashub
    # Else no distance would mean anything.
    assert kerashub < 0.5 * size
