"""The matrix products inside a KerasHub layer, taken apart."""

import math

import keras
from keras import ops


def product(dense, x):
    """Returns `dense(x)` without its activation."""
    if dense.activation is keras.activations.linear:
        return dense(x)
    # A layer of the same variables. The layer itself stays as it is: another
    # thread may be calling it, and a program that is traced meanwhile would
    # keep what it saw. `copy.copy` would save and load the layer.
    linear = object.__new__(type(dense))
    linear.__dict__.update(dense.__dict__, activation=keras.activations.linear)
    return linear(x)


def is_plain(dense) -> bool:
    """Whether a layer is one matrix and a bias: no LoRA, no quantization."""
    return (
        type(dense) in (keras.layers.Dense, keras.layers.EinsumDense)
        and dense.bias is not None
        and not dense.lora_enabled
        and dense.quantization_mode is None
    )


def as_matrix(dense, kernel):
    """Returns a plain layer's kernel as (inputs, outputs).

    Heads and their sizes, as the attention's kernels have them, side by side.
    """
    return ops.reshape(kernel, (-1, math.prod(dense.bias.shape)))
