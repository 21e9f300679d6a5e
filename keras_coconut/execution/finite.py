"""Whether all numbers of a model's weights are finite."""

import keras
from keras import ops


def first_not_finite(model) -> str | None:
    """Returns the path of the first weight that holds NaN or infinity.

    Returns `None` if all weights are finite.
    """
    for weight in model.weights:
        if not keras.backend.is_float_dtype(weight.dtype):
            continue  # Of a quantized layer.
        if not bool(ops.all(ops.isfinite(weight))):
            return weight.path
    return None
