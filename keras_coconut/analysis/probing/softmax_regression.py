"""Linear classification: softmax regression, cross-validated. Needs SciPy."""

from collections.abc import Iterator

import numpy as np

_MOST_ITERATIONS = 200
# The relative change of the loss at which it ends: less changes no prediction.
_FINE_ENOUGH = 1e-6


def fit(x, labels, num_labels: int, regularization: float) -> np.ndarray:
    """Fits weights to labelled vectors.

    It minimizes the summed cross entropy plus half the squared weights times
    `regularization`, which the offsets do not share.

    Args:
        x: float array (N, D).
        labels: int array (N,), from 0.
        num_labels: int, C.
        regularization: float, above 0.

    Returns:
        Float array (D + 1, C), the weights and, last, the offsets.
    """
    from scipy import optimize

    rows, size = np.arange(len(x)), x.shape[1]

    def loss(flat):
        weights = flat.reshape(size + 1, num_labels)
        logits = x @ weights[:-1] + weights[-1]
        logits -= logits.max(axis=1, keepdims=True)
        exponents = np.exp(logits)
        sums = exponents.sum(axis=1, keepdims=True)
        cost = (np.log(sums[:, 0]) - logits[rows, labels]).sum()
        cost += regularization / 2 * (weights[:-1] ** 2).sum()
        errors = exponents / sums
        errors[rows, labels] -= 1
        of_weights = x.T @ errors + regularization * weights[:-1]
        return cost, np.vstack([of_weights, errors.sum(axis=0)]).ravel()

    found = optimize.minimize(
        loss,
        np.zeros((size + 1) * num_labels),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": _MOST_ITERATIONS, "ftol": _FINE_ENOUGH},
    )
    return found.x.reshape(size + 1, num_labels)


def predict(x, weights) -> np.ndarray:
    """Returns the most probable label of each vector (N, D)."""
    return np.argmax(x @ weights[:-1] + weights[-1], axis=1)


def divide(groups: list, folds: int, seed: int) -> np.ndarray:
    """Returns an int array (N,), the fold of each row.

    Args:
        groups: list of hashable values, one for each row. Rows of one group
            share their fold.
        folds: int.
        seed: int.
    """
    distinct = list(dict.fromkeys(groups))
    order = np.random.default_rng(seed).permutation(len(distinct))
    places = dict(zip(distinct, order.tolist()))
    return np.array([places[group] % folds for group in groups])


def prepared(x, fold_of, folds: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields the vectors as the probe of each fold reads them, and its rows.

    All are centered and scaled as the training rows need, and turned into the
    space that the training rows span: with weights that are kept small,
    nothing is learned outside of it.

    Args:
        x: float array (N, D).
        fold_of: int array (N,).
        folds: int.

    Returns:
        For each fold the vectors (N, at most D), and a bool array (N,), true in
        the rows of the fold, which it must not be trained on.
    """
    for fold in range(folds):
        held_out = fold_of == fold
        train = x[~held_out]
        if not len(train):
            continue
        spread = train.std(axis=0)
        # What never varies, but for its rounding, says nothing.
        varies = spread > 1e-6 * np.abs(train).max(initial=0)
        scaled = (x - train.mean(axis=0)) * varies / np.where(varies, spread, 1)
        _, _, directions = np.linalg.svd(scaled[~held_out], full_matrices=False)
        yield scaled @ directions.T, held_out
