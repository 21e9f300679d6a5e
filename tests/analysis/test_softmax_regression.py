"""The regression that probes are made of, against slower ones."""

import itertools
import threading
import time

import numpy as np
import pytest
import threadpoolctl
from scipy import optimize, special

from keras_coconut.analysis.probing import softmax_regression
from keras_coconut.analysis.probing.step_labels import Labels
from keras_coconut.analysis.probing.step_probes import Trainer
from keras_coconut.progress import Progress


@pytest.mark.any_backend
def test_regression_against_plain_descent():
    random = np.random.default_rng(0)
    x = random.normal(size=(30, 4))
    labels = random.integers(0, 3, 30)
    found = softmax_regression.fit(x, labels, 3, 2.0)
    weights, offsets = np.zeros((4, 3)), np.zeros(3)
    for _ in range(3000):
        exponents = np.exp(x @ weights + offsets)
        errors = exponents / exponents.sum(axis=1, keepdims=True)
        errors -= np.eye(3)[labels]
        weights -= 0.02 * (x.T @ errors + 2 * weights)
        offsets -= 0.02 * errors.sum(axis=0)
    np.testing.assert_allclose(found[:-1], weights, atol=5e-3)
    np.testing.assert_allclose(found[-1], offsets, atol=5e-3)
    right = np.argmax(x @ weights + offsets, axis=1)
    np.testing.assert_array_equal(softmax_regression.predict(x, found), right)


@pytest.mark.any_backend
def test_regression_where_directions_vary_unequally():
    """As hidden states do: a search in their own units ends too early."""
    random = np.random.default_rng(0)
    x = random.normal(size=(160, 120)) * np.geomspace(20, 0.2, 120)
    labels = random.integers(0, 20, 160)
    found = softmax_regression.fit(x, labels, 20, 1.0)

    def loss(flat):
        weights = flat.reshape(121, 20)
        logits = x @ weights[:-1] + weights[-1]
        chances = special.log_softmax(logits, axis=1)
        errors = np.exp(chances) - np.eye(20)[labels]
        slope = np.vstack([x.T @ errors + weights[:-1], errors.sum(axis=0)])
        cost = (weights[:-1] ** 2).sum() / 2 - chances[range(160), labels].sum()
        return cost, slope.ravel()

    # As many steps as it takes.
    exact = optimize.minimize(
        loss,
        np.zeros(121 * 20),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 9999, "maxfun": 9999, "ftol": 1e-13, "gtol": 1e-7},
    )
    # In its own units the search ended 23 times 1e-4 above.
    assert loss(found.ravel())[0] - exact.fun < 6e-4


@pytest.mark.any_backend
def test_what_the_training_rows_do_not_span_is_left_out():
    """With fewer rows than directions, nothing of the fit is lost."""
    random = np.random.default_rng(0)
    x = random.normal(2, 3, size=(20, 50))
    x[:, 7] = 5
    labels = random.integers(0, 3, 20)
    fold_of = np.arange(20) % 4
    for turned, held_out in softmax_regression.prepared(x, fold_of, 4):
        assert turned.shape == (20, 15)
        train = x[~held_out]
        spread = np.where(train.std(axis=0) > 0, train.std(axis=0), 1)
        plain = (x - train.mean(axis=0)) / spread
        found = [
            each @ weights[:-1] + weights[-1]
            for each in (turned, plain)
            for weights in [
                softmax_regression.fit(
                    each[~held_out], labels[~held_out], 3, 1.0
                )
            ]
        ]
        np.testing.assert_allclose(*found, atol=2e-2)


# === Threads ===


def blas_threads():
    """The numbers of threads of NumPy's and of SciPy's products."""
    return [
        library["num_threads"]
        for library in threadpoolctl.threadpool_info()
        if library["user_api"] == "blas"
    ]


def train(monkeypatch, fit):
    """Trains the probes of two slots with another `fit`."""
    monkeypatch.setattr(softmax_regression, "fit", fit)
    random = np.random.default_rng(0)
    numbers = random.integers(0, 2, (12, 1))
    trainer = Trainer(Labels(numbers, (2,)), np.arange(12) % 2, 2, 1.0, 0)
    with Progress("probes", 24, 0) as progress:
        trainer.table(
            random.normal(size=(12, 2, 4)), np.ones((12, 2), bool), progress
        )


@pytest.mark.any_backend
def test_probes_are_trained_on_one_thread(monkeypatch):
    found = []

    def fit(x, labels, num_labels, regularization):
        found.extend(blas_threads())
        return np.zeros((x.shape[1] + 1, num_labels))

    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        assert 2 in before
        train(monkeypatch, fit)
        assert set(found) == {1}
        assert blas_threads() == before


@pytest.mark.any_backend
def test_trainings_take_turns(monkeypatch):
    """Else the one that ends last could restore the limit of the other."""
    order = []

    def fit(x, labels, num_labels, regularization):
        order.append(threading.get_ident())
        time.sleep(0.01)
        return np.zeros((x.shape[1] + 1, num_labels))

    threads = [
        threading.Thread(target=train, args=(monkeypatch, fit))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(order)) == 2
    changes = sum(one != two for one, two in itertools.pairwise(order))
    assert changes == 1


@pytest.mark.any_backend
def test_threads_after_an_error(monkeypatch):
    def fit(*args):
        raise KeyboardInterrupt

    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        with pytest.raises(KeyboardInterrupt):
            train(monkeypatch, fit)
        assert blas_threads() == before
