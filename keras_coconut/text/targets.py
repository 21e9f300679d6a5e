"""Labels and loss weights of a batch, derived or given."""

from collections.abc import Mapping

import numpy as np
from keras import ops

from keras_coconut.checks import shown
from keras_coconut.text.arrays import (
    shape_of,
    to_array,
    to_numpy,
    with_arrays,
)

# The label where no loss is taken, as in the published code.
_NO_LABEL = -100


def targets(x):
    """Returns the labels (B, R) and loss weights (B, R) of a batch.

    Position `r` predicts `response_ids[:, r + 1]`; the last position predicts
    nothing and has weight 0.
    """
    backend = np if isinstance(x["response_ids"], np.ndarray) else ops
    labels = backend.roll(x["response_ids"], -1, axis=1)
    weights = backend.roll(x["response_mask"], -1, axis=1)
    last = backend.arange(weights.shape[1]) < weights.shape[1] - 1
    if backend is np:
        return labels, (weights * last).astype("float32")
    weights = ops.cast(weights, "float32")
    return labels, weights * ops.cast(last, "float32")


def complete_targets(x, y, sample_weight):
    """Returns labels (B, R) and loss weights (B, R), given or of the batch.

    Args:
        x: the batch.
        y: int tensor (B, R), -100 where no loss is taken; or `None`.
        sample_weight: float tensor (B, R); or (B,) or (B, 1), a factor for
            each row of the batch's own weights; or `None`.
    """
    labels, weights = targets(x)
    if sample_weight is not None:
        rank = len(sample_weight.shape)
        if rank == 1:
            sample_weight = ops.expand_dims(sample_weight, 1)
        sample_weight = ops.cast(sample_weight, "float32")
        by_row = rank == 1 or sample_weight.shape[1] == 1
        weights = weights * sample_weight if by_row else sample_weight
    if y is not None:
        known = ops.not_equal(y, _NO_LABEL)
        labels = ops.where(known, y, 0)
        weights = weights * ops.cast(known, "float32")
    return labels, weights


def check_targets(x, y, sample_weight, vocabulary_size: int) -> None:
    """Raises a `ValueError` for labels or weights that do not fit a batch."""
    if y is None and sample_weight is None:
        return
    shape = shape_of("response_ids", x["response_ids"])
    if y is not None:
        y = to_array("y", y)
        if y.shape != shape:
            raise ValueError(
                f"`y` must hold a label for each position, {shape}. Received: "
                f"shape={y.shape}"
            )
        if not np.issubdtype(y.dtype, np.integer):
            raise ValueError(
                f"`y` must hold whole numbers. Received: dtype={y.dtype}"
            )
        wrong = y[(y != _NO_LABEL) & ((y < 0) | (y >= vocabulary_size))]
        if wrong.size:
            raise ValueError(
                "`y` must lie within the vocabulary, 0 to "
                f"{vocabulary_size - 1}, or be {_NO_LABEL} where no loss is "
                f"taken. Received: {wrong[0]}"
            )
        if sample_weight is None:
            _check_that_labels_count(x, y)
    if sample_weight is not None:
        weights = to_array("sample_weight", sample_weight)
        if weights.shape not in (shape, shape[:1], (shape[0], 1)):
            raise ValueError(
                "`sample_weight` must hold a number for each row, "
                f"{shape[:1]}, or for each position, {shape}. Received: "
                f"shape={weights.shape}"
            )
        finite = np.zeros(weights.shape, "bool")
        # Also bfloat16, which is no type of NumPy's own.
        if weights.dtype.kind in "biufV":
            with np.errstate(over="ignore"):
                finite = np.isfinite(weights.astype("float32"))
        if not finite.all():
            raise ValueError(
                "`sample_weight` must hold finite numbers. Received: "
                f"{shown(weights[~finite][0])}"
            )


def _check_that_labels_count(x, y) -> None:
    """Raises a `ValueError` if all labels are where the weights are 0."""
    keys = ("response_ids", "response_mask")
    _, weights = targets({key: to_numpy(x[key]) for key in keys})
    labelled = y != _NO_LABEL
    if labelled.any() and not weights[labelled].any():
        raise ValueError(
            "`y` must have a label before the last token of a response, which "
            "predicts nothing unless `sample_weight`, (B, R), says so. "
            "Received: labels where a response ends or is padded"
        )


def as_arrays(x, y=None, sample_weight=None) -> tuple:
    """Returns data for Keras with arrays in place of lists.

    Keras treats lists differently, and repeats them in its errors.

    Args:
        x, y, sample_weight: what `fit` was given.
    """
    y, sample_weight = (
        to_array(name, values) if isinstance(values, list | tuple) else values
        for name, values in (("y", y), ("sample_weight", sample_weight))
    )
    return with_arrays(x), y, sample_weight


def labels_for_weights(x, y, sample_weight):
    """Returns labels of arrays where Keras needs them to keep weights.

    Args:
        x, y, sample_weight: what `as_arrays` returned.
    """
    if y is None and sample_weight is not None and isinstance(x, Mapping):
        keys = ("response_ids", "response_mask")
        y, _ = targets({key: to_numpy(x[key]) for key in keys})
    return y
