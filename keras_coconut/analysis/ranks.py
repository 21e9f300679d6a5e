"""How many dimensions vectors fill."""

import numpy as np
from numpy.typing import ArrayLike

from keras_coconut.text.arrays import finite_numbers


def effective_rank(vectors: ArrayLike) -> float:
    """Returns the effective rank of vectors (Roy and Vetterli, 2007).

    It is `exp(-sum(p * log(p)))`, where `p` are the singular values of the
    matrix of the vectors, divided by their sum. It is 1 if all vectors lie on
    one line, and N for N orthogonal vectors of equal length.

    Args:
        vectors: float array (N, D), at least one vector.

    Returns:
        A float; 0 if all vectors are 0.

    Raises:
        ValueError: If `vectors` is not such an array.

    Example:
    ```python
    keras_coconut.effective_rank(np.eye(3))  # 3.0
    ```
    """
    vectors = finite_numbers("vectors", vectors).astype("float64")
    if vectors.ndim != 2 or not vectors.size:
        raise ValueError(
            "`vectors` must have the shape (N, D), at least one vector. "
            f"Received: shape={vectors.shape}"
        )
    values = np.linalg.svd(vectors, compute_uv=False)
    if not values[0]:
        return 0.0
    shares = values / values.sum()
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def ranks(vectors) -> tuple[float, float]:
    """Returns the effective rank of an array (N, D), and when centered."""
    centered = vectors - vectors.mean(axis=0)
    # Equal vectors: what rounding leaves has no rank.
    if np.abs(centered).max() <= 1e-6 * np.abs(vectors).max():
        centered = np.zeros_like(vectors)
    return effective_rank(vectors), effective_rank(centered)
