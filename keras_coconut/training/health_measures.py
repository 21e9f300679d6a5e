"""The measurements of `HealthMonitor`: thoughts, and losses from threads."""

import threading

import numpy as np


def measure_thoughts(thoughts, mask) -> tuple[float, float]:
    """Returns the mean norm of thoughts, and their spread.

    Args:
        thoughts: float array (B, K, D).
        mask: bool array (B, K), which of them are real.

    Returns:
        A tuple of floats. The spread of a slot is 1 minus the squared length of
        the mean of its directions, over the rows that use it: 0 if they are the
        same, 1 if they cancel out. It is averaged over the slots that two rows
        use at least; 1 if there are none.
    """
    thoughts = np.where(mask[..., None], thoughts, 0).astype("float64")
    norms = np.linalg.norm(thoughts, axis=-1)
    rows = mask.sum(axis=0)
    units = thoughts / np.where(norms == 0, 1, norms)[..., None]
    means = units.sum(axis=0) / np.maximum(rows, 1)[:, None]
    spread = 1 - np.sum(means**2, axis=-1)
    several = rows > 1
    return (
        float(norms.sum() / mask.sum()),
        float(spread[several].mean()) if several.any() else 1.0,
    )


class LossNotes:
    """The mean losses of an epoch, as threads note them."""

    def __init__(self):
        self._lock = threading.Lock()
        self._means = {}

    def clear(self):
        with self._lock:
            self._means = {}

    def take(self, batch, mean):
        """Notes the mean loss after a batch, the last one of its step."""
        if mean is not None:
            with self._lock:
                self._means[batch] = float(mean)

    def of(self, begun):
        """Returns the mean loss after the first step, and its last batch.

        Both are `None` until the step is over.
        """
        first, *later = begun
        with self._lock:
            for batch in sorted(self._means):
                if batch >= first and not (later and batch >= later[0]):
                    return self._means.pop(batch), batch
        return None, None
