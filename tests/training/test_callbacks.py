"""Keras' callbacks beside a `CurriculumScheduler`, before and behind it."""

import csv

import keras
import numpy as np
import pytest
import tiny

import keras_coconut
from keras_coconut.models.continuous_thought_lm import ContinuousThoughtLM

# Stages 0, 1 and the extra one, two epochs each.
CURRICULUM = keras_coconut.Curriculum(
    max_stage=1, thoughts_per_step=2, epochs_per_stage=2
)
STAGES = [0, 0, 1, 1, 2, 2]
THOUGHTS = [0, 0, 2, 2, 2, 2]


class EpochEnds(keras.callbacks.Callback):
    """What the model is at the end of each epoch."""

    def __init__(self):
        super().__init__()
        self.weights, self.thoughts, self.rates = [], [], []

    def on_epoch_end(self, epoch, logs=None):
        self.weights.append(self.model.get_weights())
        self.thoughts.append(self.model.num_thoughts)
        self.rates.append(float(self.model.optimizer.learning_rate))


def train(callbacks, first, optimizer=None, **kwargs):
    """Trains with the scheduler first, or last, among the callbacks."""
    if optimizer is None:
        model = tiny.shared()
    else:
        model = tiny.compiled(tiny.text_model(layers=1), optimizer)
    dataset = keras_coconut.CurriculumDataset(
        tiny.problems(12), model.preprocessor, CURRICULUM, batch_size=4
    )
    scheduler = keras_coconut.CurriculumScheduler(dataset)
    order = [scheduler, *callbacks] if first else [*callbacks, scheduler]
    given = list(order)
    kwargs = {"epochs": len(STAGES), "verbose": 0, **kwargs}
    history = model.fit(dataset, callbacks=order, **kwargs).history
    assert order == given
    return model, history


@pytest.fixture(
    params=[
        pytest.param(True, id="scheduler first"),
        pytest.param(False, id="last", marks=pytest.mark.thorough),
    ]
)
def first(request):
    return request.param


def assert_same_weights(mine, theirs, **kwargs):
    for one, two in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(one, two, **kwargs)


@pytest.mark.thorough
def test_averages_of_the_weights(first):
    """Swapped for what is evaluated; training goes on as without."""

    def make():
        return keras.optimizers.AdamW(1e-2, use_ema=True, ema_momentum=0.5)

    ends = EpochEnds()
    _, plain = train([ends], True, make())
    swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    model, history = train([swap], first, make())
    np.testing.assert_allclose(history["loss"], plain["loss"], rtol=1e-5)
    # What comes back are averages of the last stage's steps, begun anew.
    assert all(
        np.isfinite(w).all() and w.any() for w in model.get_weights()[:-1]
    )
    apart = [
        np.abs(mine - theirs).max()
        for mine, theirs in zip(model.get_weights(), ends.weights[-1])
    ]
    assert 0 < max(apart) < 0.05


def test_best_weights_of_another_stage(first):
    ends = EpochEnds()
    stopping = keras.callbacks.EarlyStopping(
        "thoughts", mode="min", patience=9, restore_best_weights=True
    )
    model, _ = train([ends, stopping], first)
    assert stopping.best_epoch == 0
    assert_same_weights(model.get_weights(), ends.weights[0])
    assert model.num_thoughts == THOUGHTS[0]
    assert ends.thoughts == THOUGHTS


@pytest.mark.thorough
def test_training_that_stops_early_keeps_its_stage(first):
    stopping = keras.callbacks.EarlyStopping("stage", mode="min", patience=2)
    model, history = train([stopping], first)
    assert history["stage"] == STAGES[:3]
    assert model.num_thoughts == THOUGHTS[2]


@pytest.mark.thorough
def test_a_learning_rate_that_falls(first):
    """A change of the stage does not put it back."""
    ends = EpochEnds()
    falling = keras.callbacks.ReduceLROnPlateau(
        "loss", factor=0.5, patience=1, min_delta=1e9
    )
    train([falling, ends], first)
    expected = [1e-2 * 0.5**epoch for epoch in range(len(STAGES))]
    np.testing.assert_allclose(ends.rates, expected, rtol=1e-5)


@pytest.mark.thorough
def test_a_learning_rate_for_each_epoch(first):
    ends = EpochEnds()
    by_epoch = keras.callbacks.LearningRateScheduler(lambda e: 1e-3 * (e + 1))
    train([by_epoch, ends], first)
    expected = [1e-3 * (epoch + 1) for epoch in range(len(STAGES))]
    np.testing.assert_allclose(ends.rates, expected, rtol=1e-5)


@pytest.mark.parametrize(
    "name",
    [
        "at-{epoch}.keras",
        pytest.param("at-{epoch}.weights.h5", marks=pytest.mark.thorough),
    ],
)
def test_a_checkpoint_thinks_as_its_weights_were_trained_to(
    tmp_path, first, name
):
    ends = EpochEnds()
    checkpoint = keras.callbacks.ModelCheckpoint(
        tmp_path / name, save_weights_only=name.endswith(".weights.h5")
    )
    train([checkpoint, ends], first)
    for epoch in (0, 2, 5):
        path = tmp_path / name.format(epoch=epoch + 1)
        if name.endswith(".keras"):
            model = keras.models.load_model(path)
        else:
            model = tiny.text_model(layers=1, seed=5)
            model.optimizer.build(model.trainable_variables)
            model.load_weights(path)
        assert isinstance(model, ContinuousThoughtLM)
        assert_same_weights(model.get_weights(), ends.weights[epoch])
        assert model.num_thoughts == THOUGHTS[epoch]


@pytest.mark.thorough
def test_the_best_checkpoint_of_all_stages(tmp_path, first):
    path = tmp_path / "best.weights.h5"
    best = keras.callbacks.ModelCheckpoint(
        path,
        monitor="thoughts",
        mode="min",
        save_best_only=True,
        save_weights_only=True,
    )
    model, _ = train([best], first)
    assert model.num_thoughts == 2
    model.load_weights(path)
    assert model.num_thoughts == 0


def test_a_backup(tmp_path, first):
    class Interrupt(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 3:
                raise KeyboardInterrupt

    def backup():
        return keras.callbacks.BackupAndRestore(tmp_path / "backup")

    whole, _ = train([], True)
    whole = whole.get_weights()
    with pytest.raises(KeyboardInterrupt):
        train([backup(), Interrupt()], first)
    # Not the one for all tests: the callback leaves its epoch in the model.
    model = tiny.compiled(tiny.text_model(layers=1, seed=7))
    model.optimizer.build(model.trainable_variables)
    dataset = keras_coconut.CurriculumDataset(
        tiny.problems(12), model.preprocessor, CURRICULUM, batch_size=4
    )
    scheduler = keras_coconut.CurriculumScheduler(dataset)
    order = [scheduler, backup()] if first else [backup(), scheduler]
    history = model.fit(
        dataset, epochs=len(STAGES), callbacks=order, verbose=0
    ).history
    assert history["stage"] == STAGES[3:]
    assert_same_weights(model.get_weights(), whole, atol=1e-6)


@pytest.mark.thorough
def test_a_loss_that_is_no_number(first):
    class Spoil(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 3:
                weight = self.model.trainable_variables[0]
                weight.assign(weight * np.nan)

    ends = EpochEnds()
    model, history = train(
        [keras.callbacks.TerminateOnNaN(), Spoil(), ends], first
    )
    assert len(ends.thoughts) == 4
    assert np.isfinite(history["loss"][:3]).all()
    assert not np.isfinite(history["loss"][3])
    assert model.num_thoughts == THOUGHTS[3]


@pytest.mark.thorough
def test_a_table_of_epochs(tmp_path, first):
    train([keras.callbacks.CSVLogger(tmp_path / "epochs.csv")], first)
    with open(tmp_path / "epochs.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["stage"]) for row in rows] == STAGES
    assert [int(row["thoughts"]) for row in rows] == THOUGHTS


@pytest.mark.thorough
def test_tensorboard(tmp_path, first):
    from tensorboard.backend.event_processing import event_accumulator

    train([keras.callbacks.TensorBoard(tmp_path)], first)
    events = event_accumulator.EventAccumulator(
        str(tmp_path / "train"), size_guidance={"tensors": 0}
    )
    events.Reload()
    found = [
        float(np.frombuffer(e.tensor_proto.tensor_content, "float32")[0])
        if e.tensor_proto.tensor_content
        else e.tensor_proto.float_val[0]
        for e in events.Tensors("epoch_stage")
    ]
    assert found == STAGES


def test_the_number_of_thoughts_within_an_epoch():
    """On JAX the variables are empty there unless somebody asks."""
    seen = []

    class Asks(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(self.model.num_thoughts)

    _, asked = train([Asks()], True)
    assert seen == [count for count in THOUGHTS for _ in range(3)]
    _, unasked = train([], True)
    np.testing.assert_allclose(asked["loss"], unasked["loss"], rtol=1e-6)


@pytest.mark.thorough
def test_validation_that_no_scheduler_knows(text_model):
    tiny.compiled(text_model)

    def fit(validation, known):
        dataset = keras_coconut.CurriculumDataset(
            tiny.problems(8), text_model.preprocessor, CURRICULUM, batch_size=8
        )
        scheduler = keras_coconut.CurriculumScheduler(
            dataset, validation if known else None
        )
        text_model.fit(
            dataset,
            epochs=5,
            validation_data=validation,
            callbacks=[scheduler],
            verbose=0,
        )

    def make():
        return keras_coconut.CurriculumDataset(
            tiny.problems(8), text_model.preprocessor, CURRICULUM, batch_size=8
        )

    with pytest.warns(UserWarning, match="`validation_data` is no .*stage 0"):
        fit(make(), known=False)
    fit(make(), known=True)
    chosen = make()
    chosen.stage = 2
    fit(chosen, known=False)


class OfAUser(keras_coconut.CurriculumDataset):
    """A dataset that somebody has derived."""


@pytest.mark.parametrize("kind", [keras_coconut.CurriculumDataset, OfAUser])
def test_a_scheduler_of_another_dataset(text_model, kind):
    """`History` would tell of stages that no batch was of."""
    one, other = (
        make(tiny.problems(8), text_model.preprocessor, CURRICULUM)
        for make in (kind, keras_coconut.CurriculumDataset)
    )
    scheduler = keras_coconut.CurriculumScheduler(other)
    with pytest.raises(ValueError, match="`callbacks` must hold.*another"):
        text_model.fit(one, epochs=5, callbacks=[scheduler], verbose=0)
    assert text_model.num_thoughts is None


class Order(keras.callbacks.Callback):
    """Which thoughts the model had when an epoch began."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_epoch_begin(self, epoch, logs=None):
        self.seen.append(self.model.num_thoughts)


@pytest.mark.thorough
@pytest.mark.parametrize("form", [list, tuple, keras.callbacks.CallbackList])
def test_the_scheduler_comes_first_in_a_list_alone(form):
    """A `CallbackList` has told its callbacks of the model in its own order."""
    model = tiny.compiled(tiny.text_model(layers=1))
    dataset = keras_coconut.CurriculumDataset(
        tiny.problems(4),
        model.preprocessor,
        keras_coconut.Curriculum(1, extra_stage=False),
        batch_size=4,
    )
    order, scheduler = Order(), keras_coconut.CurriculumScheduler(dataset)
    callbacks = [order, scheduler]
    if form is keras.callbacks.CallbackList:
        callbacks = form(callbacks, add_history=True, model=model, epochs=3)
        expected = [None, 0, 1]
    else:
        callbacks, expected = form(callbacks), [0, 1, 1]
    model.fit(dataset, epochs=3, callbacks=callbacks, verbose=0)
    assert order.seen == expected


@pytest.mark.thorough
@pytest.mark.parametrize("of_problems", [False, True])
def test_a_warning_names_the_line_that_calls_fit(text_model, of_problems):
    def make():
        return keras_coconut.CurriculumDataset(
            tiny.problems(8), text_model.preprocessor, CURRICULUM, batch_size=8
        )

    with pytest.warns(UserWarning) as warned:
        if of_problems:
            curriculum = keras_coconut.Curriculum(1, extra_stage=False)
            text_model.fit(
                tiny.problems(8),
                curriculum=curriculum,
                epochs=1,
                validation_data=make(),
                verbose=0,
            )
        else:
            text_model.fit(make(), validation_data=make(), verbose=0)
    files = {
        name: one.filename
        for one in warned
        for name in ("callbacks", "validation_data")
        if str(one.message).startswith(f"`{name}`")
    }
    assert files["validation_data"] == __file__
    assert files.get("callbacks") == (None if of_problems else __file__)
