"""Linear classification: softmax regression, cross-validated. Needs SciPy."""

from collections.abc import Iterator

import numpy as np

# Enough for tens of labels. With hundreds the search may end a little early.
_MOST_ITERATIONS = 200
# The relative change of the loss at which it ends: less changes hardly a
# prediction.
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

    rows, ones = np.arange(len(x)), np.ones((len(x), 1))
    x = np.hstack([x, ones])
    penalty = np.full((x.shape[1], 1), regularization)
    penalty[-1] = 0
    # In units in which the loss curves about as much along each direction, the
    # search takes a fraction of the steps. At equal chances of all labels, the
    # curvature along a column is its sum of squares times this share.
    share = (num_labels - 1) / num_labels**2
    curvature = share * (x**2).sum(axis=0)[:, None] + penalty
    unit = 1 / np.sqrt(np.where(curvature > 0, curvature, 1))
    x, penalty = x * unit[:, 0], penalty * unit**2

    def loss(flat):
        weights = flat.reshape(len(unit), num_labels)
        logits = x @ weights
        logits -= logits.max(axis=1, keepdims=True)
        exponents = np.exp(logits)
        sums = exponents.sum(axis=1, keepdims=True)
        cost = (np.log(sums[:, 0]) - logits[rows, labels]).sum()
        cost += (penalty * weights**2).sum() / 2
        errors = exponents / sums
        errors[rows, labels] -= 1
        return cost, (x.T @ errors + penalty * weights).ravel()

    found = optimize.minimize(
        loss,
        np.zeros(x.shape[1] * num_labels),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": _MOST_ITERATIONS, "ftol": _FINE_ENOUGH},
    )
    return found.x.reshape(len(unit), num_labels) * unit


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
