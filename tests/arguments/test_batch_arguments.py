"""Every argument of what takes batches, and every key of a batch."""

import bad_values as bad
import numpy as np
import pytest
from bad_values import Call, batch, given, no_thoughts

from keras_coconut.text import batches

SHAPE = (3, 12)


# What runs before a batch is computed is the same on every backend.
pytestmark = pytest.mark.thorough


@pytest.fixture(autouse=True, scope="module")
def made_once():
    """Not under a session that ends with the first test."""
    bad.setting()


def wrong(shape):
    """What is no array of whole numbers of a shape, such as ids or masks."""
    return [
        *(None, 3, "a", b"a", [], {}, {1}, object(), bad.TEXT, bad.HALF),
        *(np.ones(shape, "float32"), np.ones(shape, "complex64")),
        *(np.full(shape, "1"), np.full(shape, None), np.full(shape, 1 << 40)),
        *(-np.ones(shape, "int32"), np.ones(shape[:1], "int32")),
        *(np.ones((*shape, 1), "int32"), np.ones((2, shape[1]), "int32")),
        *(np.ones((0, shape[1]), "int32"), [[1], [1, 2]], bad.ARRAY),
        *(np.zeros((1000, 1000), "int32"), np.full(shape, bad.INTEGER)),
        *([[1.5] * shape[1]] * shape[0], [["1"] * shape[1]] * shape[0]),
    ]


NO_BATCHES = [
    *bad.NO_INSTANCE,
    *([batch], (1, 2), {1: 2, "a": 3}, {"x": bad.ARRAY}, {bad.TEXT: 1}),
]
NO_CLASS_WEIGHTS = [{0: 1.0}, 3, "balanced", bad.TEXT, bad.ARRAY]
# Of a batch that is read after it was refused.
ARRAYS = dict(
    x=NO_BATCHES,
    y=given(wrong(SHAPE)),
    sample_weight=no_thoughts(*SHAPE),
)

# Batches are given: no curriculum belongs to them.
PROBLEMS = dict(
    curriculum=given(bad.NO_INSTANCE), stage=given(bad.NO_SMALL_COUNT)
)


def labels():
    """Of which `SHAPE` is the shape of no batch."""
    x = batch()
    assert x["response_ids"].shape != SHAPE
    return dict(x=x)


def quietly(name, **more):
    return lambda s: lambda **k: getattr(s.model, name)(**k, **more)


TABLE = {
    "ContinuousThoughtLM.fit": Call(
        quietly("fit", verbose=0, epochs=0),
        lambda s: labels(),
        dict(
            **ARRAYS,
            batch_size=given(bad.NO_COUNT_FROM_1),
            class_weight=NO_CLASS_WEIGHTS,
            curriculum=given(bad.NO_INSTANCE),
        ),
        dict(batch_size=[np.int64(2), None]),
        named=dict(x="`x`|`curriculum`"),
    ),
    "ContinuousThoughtLM.evaluate": Call(
        quietly("evaluate", verbose=0),
        lambda s: labels(),
        dict(**ARRAYS, batch_size=given(bad.NO_COUNT_FROM_1), **PROBLEMS),
        dict(batch_size=[np.int64(2), None]),
        named=dict(x="`x`|`curriculum`"),
    ),
    "ContinuousThoughtLM.predict": Call(
        quietly("predict", verbose=0),
        lambda s: labels(),
        dict(x=NO_BATCHES, batch_size=given(bad.NO_COUNT_FROM_1), **PROBLEMS),
        dict(batch_size=[np.int64(2), None]),
        named=dict(x="`x`|`curriculum`"),
    ),
    "ContinuousThoughtLM.predict_thoughts": Call(
        quietly("predict_thoughts"),
        lambda s: labels(),
        dict(x=NO_BATCHES),
    ),
    "ContinuousThoughtLM.train_on_batch": Call(
        # It trains: no good call, which the tests of `fit` make.
        quietly("train_on_batch"),
        lambda s: labels(),
        dict(**ARRAYS, class_weight=NO_CLASS_WEIGHTS),
    ),
}


@pytest.mark.parametrize(
    "call", [c for c in bad.calls(TABLE) if "train_on" not in c.id]
)
def test_good_arguments(call):
    bad.check_good(call)


@pytest.mark.parametrize(("call", "name"), bad.rows(TABLE))
def test_bad_arguments(call, name):
    bad.check_bad(call, name)


READERS = ["think", "predict_thoughts"]
METHODS = ["__call__", "predict_on_batch", "train_on_batch", *READERS]


@pytest.mark.parametrize("key", [*batches.KEYS, "thoughts"])
@pytest.mark.parametrize("method", METHODS)
def test_keys(method, key):
    if method in READERS and key not in batches.QUESTION_KEYS:
        pytest.skip(f"`{method}` reads the question alone")
    values = no_thoughts(3, 2)
    if key in batches.KEYS:
        values = [..., *wrong(batch()[key].shape)]

    def call(**x):
        getattr(bad.setting().model, method)(x)

    # Ids and mask are compared with each other, and all with the first key.
    named = "`(question|thought|response)_|`x`|`thoughts`"
    bad.check_bad(
        Call(
            lambda s: call, lambda s: batch(), {key: values}, named={key: named}
        ),
        key,
    )
