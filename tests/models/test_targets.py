"""Labels and loss weights that are given beside a batch."""

import keras
import numpy as np
import pytest
import tiny

METHODS = [
    "fit",
    pytest.param("evaluate", marks=pytest.mark.thorough),
    pytest.param("batches", marks=pytest.mark.thorough),
]


@pytest.fixture
def model():
    return tiny.shared()


@pytest.fixture
def data(model):
    """Responses of two lengths, so that some are padded."""
    return model.preprocessor(tiny.problems(6), num_thoughts=1)


class Batches(keras.utils.PyDataset):
    def __init__(self, *data):
        super().__init__()
        self.data = data

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return self.data


def loss(how, x, y=None, weights=None):
    """The loss of a model before any step."""
    model = tiny.shared()
    if how == "batches":
        data = tuple(part for part in (x, y, weights) if part is not None)
        return model.evaluate(Batches(*data), verbose=0)[0]
    kwargs = dict(batch_size=8, verbose=0)
    if how == "evaluate":
        return model.evaluate(x, y, sample_weight=weights, **kwargs)[0]
    history = model.fit(x, y, sample_weight=weights, **kwargs).history
    return history["loss"][0]


def by_hand(x, y, weights):
    """The mean of each position's own loss, by its weight."""
    model = tiny.shared()
    logits = model.predict_on_batch(x).astype("float64")
    logits -= logits.max(axis=-1, keepdims=True)
    of_all = np.log(np.exp(logits).sum(axis=-1))
    of_label = np.take_along_axis(logits, y[..., None], axis=-1)[..., 0]
    return ((of_all - of_label) * weights).sum() / weights.sum()


@pytest.mark.parametrize("how", METHODS)
def test_labels_alone(data, how):
    """Padding has no loss, whoever brings the labels."""
    x, y, weights = data
    assert not weights.all()
    expected = by_hand(x, y, weights)
    assert loss(how, x) == pytest.approx(expected, abs=1e-4)
    assert loss(how, x, y) == pytest.approx(expected, abs=1e-4)
    assert loss(how, x, y, weights) == pytest.approx(expected, abs=1e-4)


@pytest.mark.thorough
@pytest.mark.parametrize("how", METHODS)
def test_labels_without_a_loss(data, how):
    """-100, as in the published code."""
    x, y, weights = data
    hidden = weights.astype("bool") & (np.arange(y.shape[1]) % 2 == 0)
    expected = by_hand(x, y, weights * ~hidden)
    marked = np.where(hidden, -100, y).astype("int32")
    assert loss(how, x, marked) == pytest.approx(expected, abs=1e-4)
    assert loss(how, x, marked, weights) == pytest.approx(expected, abs=1e-4)


@pytest.mark.thorough
@pytest.mark.parametrize("how", ["fit", "evaluate"])
def test_weights_alone(data, how):
    x, y, weights = data
    halved = weights * np.where(np.arange(y.shape[1]) < 3, 0.5, 1)
    expected = by_hand(x, y, halved)
    halved = halved.astype("float32")
    assert loss(how, x, None, halved) == pytest.approx(expected, abs=1e-4)
    assert loss(how, x, None, weights * 0) == 0


@pytest.mark.parametrize(
    "shape", [(6,), pytest.param((6, 1), marks=pytest.mark.thorough)]
)
@pytest.mark.parametrize("how", METHODS)
def test_one_weight_a_row(data, how, shape):
    x, y, weights = data
    rows = np.array([0, 1, 2, 0.5, 0, 1], "float32")
    expected = by_hand(x, y, weights * rows[:, None])
    rows = rows.reshape(shape)
    assert loss(how, x, y, rows) == pytest.approx(expected, abs=1e-4)
    if how != "batches":
        assert loss(how, x, None, rows) == pytest.approx(expected, abs=1e-4)


def test_train_on_batch(model, data):
    x, y, weights = data
    rows = np.array([0, 1, 2, 0.5, 0, 1], "float32")
    found, _ = model.train_on_batch(x, sample_weight=rows)
    expected = by_hand(x, y, weights * rows[:, None])
    assert float(found) == pytest.approx(expected, abs=1e-4)


def test_validation_data(model, data):
    x, y, weights = data
    rows = np.array([0, 1, 2, 0.5, 0, 1], "float32")
    for validation, expected in (
        ((x, y), weights),
        ((x, None, rows), weights * rows[:, None]),
        ((x, y, weights), weights),
        (x, weights),
    ):
        expected = by_hand(x, y, expected)
        model.optimizer.learning_rate = 0.0
        history = model.fit(x, validation_data=validation, verbose=0).history
        assert history["val_loss"][0] == pytest.approx(expected, abs=1e-3)


BAD = {
    "class_weight": (
        dict(class_weight={0: 1.0}),
        "`class_weight` must be left",
    ),
    "labels outside": (
        lambda x, y, w: dict(y=np.full_like(y, 9999)),
        "`y` must lie within the vocabulary.*-100.*9999",
    ),
    "negative labels": (
        lambda x, y, w: dict(y=np.full_like(y, -1)),
        "`y` must lie within.*-1",
    ),
    "float labels": (
        lambda x, y, w: dict(y=y.astype("float32")),
        "`y` must hold whole numbers",
    ),
    "labels where nothing counts": (
        lambda x, y, w: dict(y=np.where(w > 0, -100, y)),
        "`y` must have a label before the last token",
    ),
    "labels of another shape": (
        lambda x, y, w: dict(y=y[:, :-1]),
        "`y` must hold a label for each position",
    ),
    "weights of another shape": (
        lambda x, y, w: dict(y=y, sample_weight=w[:, :-1]),
        "`sample_weight` must hold a number for each row",
    ),
    "weights that are NaN": (
        lambda x, y, w: dict(y=y, sample_weight=w * np.nan),
        "`sample_weight` must hold finite numbers.*nan",
    ),
    "weights of strings": (
        lambda x, y, w: dict(sample_weight=np.full(len(y), "a")),
        "`sample_weight` must hold finite numbers",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_targets(model, data, case):
    kwargs, message = BAD[case]
    kwargs = kwargs if isinstance(kwargs, dict) else kwargs(*data)
    before = model.get_weights()
    with pytest.raises(ValueError, match=message) as error:
        model.fit(data[0], verbose=0, **kwargs)
    assert len(str(error.value)) < 500
    if "y" in kwargs:
        given = kwargs.values()
        with pytest.raises(ValueError, match=message):
            model.fit(Batches(data[0], *given), verbose=0)
    with pytest.raises(ValueError, match=message):
        model.train_on_batch(data[0], **kwargs)
    for one, two in zip(before, model.get_weights()):
        np.testing.assert_array_equal(one, two)
