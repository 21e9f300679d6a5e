"""The loss of an evaluation: the mean over the labels of all its batches.

Keras averages the losses of batches by their rows. Batches of as many rows have
different numbers of labels, and a last batch has rows that only fill it up.
"""

import contextlib
import threading

import keras

# Of the batch that a thread evaluates. A strategy of TensorFlow's runs a thread
# for each of its devices.
_batch = threading.local()


class _LossMean(keras.metrics.Mean):
    """A mean in which a batch weighs as much as its labels, where known."""

    def update_state(self, values, sample_weight=None):
        labels = getattr(_batch, "labels", None)
        if labels is not None:
            sample_weight = labels
        return super().update_state(values, sample_weight)


def track(model) -> None:
    """Replaces the mean with which Keras tracks the loss of a model."""
    # Not tracked: it would be among the metrics twice.
    model.__dict__["_loss_tracker"] = _LossMean(name="loss")


@contextlib.contextmanager
def weighed(model, labels):
    """Weighs the loss of a batch by its labels.

    Args:
        model: the `keras.Model`. A loss that is no mean over labels stays as
            Keras weighs it.
        labels: float tensor, the sum of the loss weights of the whole batch.
    """
    if getattr(model.loss, "reduction", None) == "mean_with_sample_weight":
        _batch.labels = labels
    try:
        yield
    finally:
        _batch.labels = None
