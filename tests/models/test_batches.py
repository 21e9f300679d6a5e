"""Every batch is looked at before its step, whatever it comes from."""

import keras
import numpy as np
import pytest
import tiny

import keras_coconut
from keras_coconut.text.word_tokenizer import make_word_tokenizer

ROWS = 12


@pytest.fixture
def model(small_text_model):
    return small_text_model


def arrays(model, count=ROWS):
    x, _, _ = model.preprocessor(tiny.problems(count), num_thoughts=2)
    return x


def spoil(x, row):
    """An id outside the vocabulary, which is read as NaN on JAX."""
    x = {key: value.copy() for key, value in x.items()}
    x["question_ids"][row, -1] = 9999
    return x


class Slices(keras.utils.PyDataset):
    def __init__(self, x, **kwargs):
        super().__init__(**kwargs)
        self.x = x

    def __len__(self):
        return ROWS // 4

    def __getitem__(self, index):
        rows = slice(4 * index, 4 * index + 4)
        return ({key: value[rows] for key, value in self.x.items()},)


def as_generator(x):
    return (batch for batch in Slices(x))


def as_tf_data(x):
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices((x,)).batch(4)


def as_loader(x):
    import torch

    rows = [({key: value[i] for key, value in x.items()},) for i in range(ROWS)]
    return torch.utils.data.DataLoader(rows, batch_size=4)


SOURCES = {
    "dataset": Slices,
    "dataset with workers": lambda x: Slices(x, workers=2),
    "generator": as_generator,
    "tf.data": as_tf_data,
    "DataLoader": as_loader,
}


@pytest.mark.filterwarnings("ignore:.*shuffle=True.*")
@pytest.mark.parametrize(
    ("source", "row"),
    [
        ("dataset", 0),
        ("dataset", ROWS - 1),
        ("tf.data", ROWS - 1),
        *(
            pytest.param(source, row, marks=pytest.mark.thorough)
            for source, row in [
                ("tf.data", 0),
                ("dataset with workers", 0),
                ("dataset with workers", ROWS - 1),
                ("generator", 0),
                ("generator", ROWS - 1),
                ("DataLoader", 0),
                ("DataLoader", ROWS - 1),
            ]
        ),
    ],
)
def test_an_id_outside_the_vocabulary(model, source, row):
    before = model.get_weights()
    x = SOURCES[source](spoil(arrays(model), row))
    with pytest.raises(ValueError, match="question_ids.*0 to 265.*9999") as e:
        model.fit(x, verbose=0)
    assert len(str(e.value)) < 500
    after = model.get_weights()
    assert all(np.isfinite(weight).all() for weight in after)
    if row == 0:
        for one, two in zip(before, after):
            np.testing.assert_array_equal(one, two)
    # The model goes on.
    loss = model.fit(arrays(model), verbose=0).history["loss"]
    assert np.isfinite(loss).all()


def test_an_id_in_the_second_of_two_steps_at_once():
    """Neither step is taken."""
    model = tiny.text_model(layers=1)
    tiny.compiled(model, steps_per_execution=2)
    before = model.get_weights()
    bad, good = spoil(arrays(model), 4), Slices(arrays(model))
    # `fit` looks at the first batch of all before it begins.
    with pytest.raises(ValueError, match="question_ids.*0 to 265.*9999"):
        model.fit(Slices(bad), shuffle=False, verbose=0)
    for one, two in zip(before, model.get_weights()):
        np.testing.assert_array_equal(one, two)
    assert int(model.optimizer.iterations) == 0
    for variable in model.optimizer.variables[2:]:
        assert not np.asarray(variable).any()
    if keras.config.backend() == "torch":
        with pytest.raises(ValueError, match="1 with the PyTorch backend"):
            model.fit(good, shuffle=False, verbose=0)
        return
    loss = model.fit(good, shuffle=False, verbose=0).history["loss"]
    assert np.isfinite(loss).all() and int(model.optimizer.iterations) == 3


@pytest.mark.parametrize("method", ["evaluate", "predict"])
def test_where_nothing_is_trained(model, method):
    x = Slices(spoil(arrays(model), ROWS - 1))
    with pytest.raises(ValueError, match="question_ids.*9999"):
        getattr(model, method)(x, verbose=0)
    getattr(model, method)(Slices(arrays(model)), verbose=0)


@pytest.mark.parametrize(
    "method", ["train_on_batch", "test_on_batch", "predict_on_batch"]
)
def test_single_batches(model, method):
    before = model.get_weights()
    with pytest.raises(ValueError, match="question_ids.*9999"):
        getattr(model, method)(spoil(arrays(model), 1))
    for one, two in zip(before, model.get_weights()):
        np.testing.assert_array_equal(one, two)
    getattr(model, method)(arrays(model))


def test_validation_in_a_later_epoch(model):
    validation = Slices(spoil(arrays(model), ROWS - 1))
    with pytest.raises(ValueError, match="question_ids.*9999"):
        model.fit(Slices(arrays(model)), validation_data=validation, verbose=0)
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


def test_a_dataset_of_another_preprocessor():
    """Whose first batch would do, and whose second would not."""
    words = ["start", *(f"word{i} " for i in range(60))]
    other = keras_coconut.ContinuousThoughtPreprocessor(
        make_word_tokenizer(words)
    )
    problems = [
        keras_coconut.Problem("start 1", ["1"], "2"),
        keras_coconut.Problem("word58 word59 ", ["1"], "2"),
    ]
    small = keras_coconut.ContinuousThoughtLM(
        tiny.text_model(layers=1).backbone, compile=False
    )
    tiny.compiled(small)
    dataset = keras_coconut.CurriculumDataset(
        problems[1:] + problems[:1],
        other,
        keras_coconut.Curriculum(0, extra_stage=False),
        batch_size=1,
        shuffle=False,
    )
    with pytest.raises(ValueError, match="must lie within the vocabulary"):
        small.fit(dataset, verbose=0)


def changed(**changes):
    def change(x):
        return {
            **x,
            **{key: function(x[key]) for key, function in changes.items()},
        }

    return change


BAD = {
    "float ids": (
        changed(question_ids=lambda v: v.astype("float32")),
        "question_ids.*whole numbers.*float32",
    ),
    "a mask of 2": (
        changed(question_mask=lambda v: v * 2),
        "question_mask.*0 and 1.*2",
    ),
    "a mask of -1": (
        changed(response_mask=lambda v: -v),
        "response_mask.*0 and 1.*-1",
    ),
    "holes in the question": (
        changed(question_mask=lambda v: v * (np.arange(v.shape[1]) != 2)),
        "question_mask.*no holes",
    ),
    "holes in the response": (
        changed(response_mask=lambda v: v * (np.arange(v.shape[1]) != 1)),
        "response_mask.*no holes",
    ),
    "an idle slot before a thought": (
        changed(thought_mask=lambda v: v * (np.arange(v.shape[1]) != 0)),
        "thought_mask.*no holes",
    ),
    "a row without a token": (
        changed(question_mask=lambda v: v * (np.arange(len(v)) > 0)[:, None]),
        "question_mask.*at least one token.*row 0",
    ),
    "an id below 0": (
        changed(response_ids=lambda v: v - 300),
        "response_ids.*0 to 265",
    ),
    "a dimension too few": (
        changed(thought_mask=lambda v: v[:, 0]),
        "thought_mask.*two dimensions",
    ),
    "another batch size": (
        changed(thought_mask=lambda v: v[:1]),
        "thought_mask.*batch size",
    ),
    "a key missing": (
        lambda x: {k: v for k, v in x.items() if k != "thought_mask"},
        "must be a dictionary with the keys",
    ),
    "no dictionary": (lambda x: x["question_ids"], "must be a dictionary"),
    "too long": (
        lambda x: {
            **x,
            "response_ids": np.full((ROWS, 70), 5, "int32"),
            "response_mask": np.ones((ROWS, 70), "int32"),
        },
        "maximum length of 64",
    ),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("tensors", [False, True], ids=["arrays", "tensors"])
def test_a_call(model, case, tensors):
    change, message = BAD[case]
    x = change(arrays(model))
    if tensors:
        x = keras.tree.map_structure(keras.ops.convert_to_tensor, x)
    with pytest.raises(ValueError, match=message) as error:
        model(x)
    assert len(str(error.value)) < 500
    if "question" in message or "thought_mask" in message:
        with pytest.raises(ValueError, match=message):
            model.think(x if isinstance(x, dict) else {"question_ids": x})
    with pytest.raises(ValueError, match=message):
        model.fit(x, verbose=0)


def test_a_call_in_a_gradient(model):
    """What is traced or recorded is looked at by its shape alone."""
    data = model.preprocessor(tiny.problems(3), num_thoughts=2)
    found = tiny.gradients(model, *data, model.trainable_variables[:2])
    assert all(np.isfinite(gradient).all() for gradient in found)


@pytest.mark.filterwarnings("ignore:.*shuffle=True.*")
def test_lists_and_dictionaries_alone(model):
    """A generator may yield what any other source may."""
    x = arrays(model)
    expected = model.evaluate(x, verbose=0, batch_size=ROWS)
    lists = {key: value.tolist() for key, value in x.items()}
    assert model.evaluate(lists, verbose=0, batch_size=ROWS) == expected
    alone = (batch for batch in [x])
    assert model.evaluate(alone, verbose=0, steps=1) == expected
    some = (batch for (batch,) in Slices(x))
    model.fit(some, steps_per_epoch=ROWS // 4, verbose=0)
    ragged = {**lists, "question_ids": [[1], [1, 2]] * 100_000}
    with pytest.raises(ValueError, match="`question_ids`") as error:
        model.fit(ragged, verbose=0)
    assert len(str(error.value)) < 500


def test_lists_without_thoughts(model):
    x, _, _ = model.preprocessor(tiny.problems(4))
    lists = {key: value.tolist() for key, value in x.items()}
    assert model.evaluate(lists, verbose=0) == model.evaluate(x, verbose=0)


def test_lists_in_single_batches(model):
    """What takes arrays takes lists, labels and weights included."""
    x, y, weights = model.preprocessor(tiny.problems(4), num_thoughts=2)
    lists = {key: value.tolist() for key, value in x.items()}
    logits = tiny.logits(model, x)
    np.testing.assert_allclose(tiny.logits(model, lists), logits, atol=1e-5)
    losses = []
    for data in ((x, y, weights), (lists, y.tolist(), weights.tolist())):
        model.reset_metrics()  # Those of the tests before.
        losses.append(model.test_on_batch(*data)[0])
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)
    found = model.evaluate(
        lists, y.tolist(), sample_weight=weights.tolist(), verbose=0
    )
    assert found[0] == pytest.approx(losses[0], abs=1e-5)
    for read in (
        model.think,
        model.predict_thoughts,
        lambda x: model.score(x, scoring_mode="loss"),
    ):
        expected, found = (
            keras.ops.convert_to_numpy(read(batch)) for batch in (x, lists)
        )
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_one_number_of_skipped_positions_for_all_rows(model):
    with pytest.raises(ValueError, match="`skipped_positions`.*each of 12"):
        model({**arrays(model), "skipped_positions": np.int32(2)})
