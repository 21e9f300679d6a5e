"""Trainings that go wrong: what is said, and what a run that goes back does."""

import logging
import os
import pathlib
import threading

import keras
import launched
import numpy as np
import pytest
import tiny
from keras import ops

import keras_coconut
from keras_coconut.training.health_measures import measure_thoughts
from keras_coconut.training.saves import Saves

# One epoch in each of the stages 0, 1 and the extra one, of six steps.
CURRICULUM = keras_coconut.Curriculum(max_stage=1)
EPOCHS, STEPS = 3, 6


class Poison(keras.callbacks.Callback):
    """Changes a weight before a step, counted from 0 in the whole run.

    Args:
        change: function of the weight's value.
        step: int.
        times: int. How often; a run that goes back comes there again.
    """

    async_safe = True

    def __init__(self, change, step, times=1):
        super().__init__()
        self.change, self.step = change, step
        # Not plain: a run that goes back does not forget it.
        self.left = iter(range(times))

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if self.epoch * STEPS + batch == self.step:
            if next(self.left, None) is not None:
                gamma = self.model.backbone.layer_norm.gamma
                value = np.array(ops.convert_to_numpy(gamma))
                gamma.assign(self.change(value))


def to_nan(gamma):
    return np.full_like(gamma, np.nan)


def times_100(gamma):
    return gamma * 100


def make(rate=3e-3, problems=24, dropout=0.2):
    keras.utils.set_random_seed(3)
    model = tiny.text_model(layers=1, dropout=dropout)
    dataset = keras_coconut.CurriculumDataset(
        tiny.problems(problems), model.preprocessor, CURRICULUM, batch_size=4
    )
    return tiny.compiled(model, keras.optimizers.AdamW(rate)), dataset


def train(
    *callbacks, folder=None, every=4, made=None, monitor=None, epochs=EPOCHS
):
    model, dataset = made or make()
    callbacks = [keras_coconut.CurriculumScheduler(dataset), *callbacks]
    if monitor is not None:
        callbacks.append(monitor)
    if folder is not None:
        options = dict(every=every, allow_changes=("callbacks",))
        callbacks.append(keras_coconut.ResumableTraining(folder, **options))
    history = model.fit(dataset, epochs=epochs, verbose=0, callbacks=callbacks)
    return model, history


def monitor(on_trouble="warn", **kwargs):
    kwargs.setdefault("thoughts_every", None)
    return keras_coconut.HealthMonitor(on_trouble, **kwargs)


def values(model):
    variables = [*model.variables, *model.optimizer.variables]
    return [np.array(ops.convert_to_numpy(v)) for v in variables]


pytestmark = pytest.mark.filterwarnings("ignore:`epochs` must be at least")


@pytest.fixture
def messages():
    """The texts that are logged, as they come."""
    found = []

    class Handler(logging.Handler):
        def emit(self, record):
            found.append(record.getMessage())

    handler = Handler(logging.WARNING)
    logger = logging.getLogger("keras_coconut")
    logger.addHandler(handler)
    yield found
    logger.removeHandler(handler)


def named(dataset, epoch, *steps):
    """What a message says of the problems of steps, counted from 0."""
    dataset.set_epoch(epoch)
    return "; ".join(
        f"step {step + 1} had the problems "
        + ", ".join(map(str, dataset.problem_numbers(step)))
        for step in steps
    )


@pytest.mark.thorough
def test_nothing_is_said_of_a_training_that_is_well(messages):
    plain, expected = train()
    watched, history = train(monitor=monitor(thoughts_every=3))
    assert not messages
    for mine, theirs in zip(values(watched), values(plain), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    norms = history.history.pop("thought_norm")
    spreads = history.history.pop("thought_spread")
    assert history.history == expected.history
    # Stage 0 has no thoughts.
    assert np.isnan([norms[0], spreads[0]]).all()
    assert len(norms) == len(spreads) == EPOCHS
    assert all(0 < spread < 1 for spread in spreads[1:]) and min(norms[1:]) > 0


@pytest.mark.thorough
def test_a_loss_that_is_not_finite(messages):
    _, dataset = make()
    train(Poison(to_nan, 8), monitor=monitor())
    # Once an epoch: of the third, no step is well.
    assert len(messages) == 2
    assert messages[0].startswith("epoch 2: the loss is nan. ")
    assert messages[0].endswith(named(dataset, 1, 1, 2))
    assert messages[1].endswith(named(dataset, 2, 0))


@pytest.mark.thorough
def test_a_loss_that_is_a_spike(messages):
    kept = {}

    def restored(gamma):
        return kept["gamma"]

    def spike(gamma):
        kept["gamma"] = gamma
        return gamma * 100

    train(
        Poison(spike, 14),
        Poison(restored, 15),
        monitor=monitor(spike=3),
        made=make(rate=1e-5),
    )
    # Too few losses of the stage to compare with.
    assert not messages
    one_stage = make(rate=1e-5, problems=72)
    train(
        Poison(spike, 14), Poison(restored, 15), monitor=monitor(spike=3),
        made=one_stage, epochs=1,
    )  # fmt: skip
    (message,) = messages
    assert " is usual. " in message
    assert message.endswith(named(one_stage[1], 0, 13, 14))


@pytest.mark.thorough
def test_it_ends_with_an_error(tmp_path):
    _, dataset = make()
    expected = "epoch 2: the loss is nan.*" + named(dataset, 1, 1, 2)
    with pytest.raises(keras_coconut.TrainingTroubleError, match=expected):
        train(Poison(to_nan, 8), monitor=monitor("raise"), folder=tmp_path)
    # From the last good save; nothing of the trouble is in it.
    resumed, history = train(folder=tmp_path)
    undisturbed, expected = train()
    assert history.history == expected.history
    for mine, theirs in zip(values(resumed), values(undisturbed), strict=True):
        np.testing.assert_array_equal(mine, theirs)


class Memory(keras.callbacks.Callback):
    """Remembers numbers, as callbacks of users do."""

    def __init__(self):
        super().__init__()
        self.steps = []

    def on_train_batch_begin(self, batch, logs=None):
        self.steps.append(batch)


# Inside an epoch, in the first step after a save, in the last of an epoch, and
# in the first of the whole run.
@pytest.mark.parametrize(
    "step",
    [
        10,
        *(pytest.param(at, marks=pytest.mark.thorough) for at in (8, 11, 0)),
    ],
)
def test_what_goes_back_as_if_nothing_had_been_is_the_undisturbed_run(
    tmp_path, messages, step
):
    undisturbed, expected = train()
    watch = monitor("go_back", rate_factor=1, skip_batches=False)
    memory, log = Memory(), tmp_path / "log.csv"
    model, history = train(
        Poison(to_nan, step),
        memory,
        keras.callbacks.CSVLogger(log, append=True),
        monitor=watch,
        folder=tmp_path / "saves",
    )
    assert watch.num_returns == len(messages) == 1
    assert messages[0].endswith("The run goes back to its last save")
    assert history.history == expected.history
    assert memory.steps == [*range(STEPS)] * EPOCHS
    rows = log.read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["epoch", "0", "1", "2"]
    for mine, theirs in zip(values(model), values(undisturbed), strict=True):
        np.testing.assert_array_equal(mine, theirs)


class Late(keras.callbacks.Callback):
    """Hears of steps while the next run takes its own.

    Args:
        step: int, the step whose loss is noted when two more have begun. What
            comes after it waits for the next run, or half a second.
    """

    async_safe = True

    def __init__(self, step):
        super().__init__()
        self.step, self.ended = step, []
        # Not plain: a run that goes back does not forget them.
        self.first_run = iter([True])
        self.went_on, self.next_run = threading.Event(), threading.Event()

    def on_train_batch_begin(self, batch, logs=None):
        if batch == 1 and not next(self.first_run, False):
            self.next_run.set()
        if batch == self.step + 2:
            self.went_on.set()

    def on_train_batch_end(self, batch, logs=None):
        if batch == self.step:
            self.went_on.wait(0.5)
        if batch > self.step:
            self.next_run.wait(0.5)
        self.ended = [*self.ended, batch]


@pytest.mark.skipif(
    keras.config.backend() == "tensorflow",
    reason="Keras calls callbacks from no thread on TensorFlow",
)
def test_calls_in_threads_end_with_the_run_that_made_them(tmp_path, messages):
    """What a thread still has to say is of the run that went back."""
    steps = 20
    watch = monitor("go_back", rate_factor=1, skip_batches=False)
    late, made = Late(3), make(problems=4 * steps)
    train(
        Poison(to_nan, 3),
        late,
        monitor=watch,
        folder=tmp_path,
        every=1000,
        made=made,
        epochs=1,
    )
    assert watch.num_returns == len(messages) == 1
    assert sorted(late.ended) == [*range(steps)]


class LateError(Late):
    """Raises once, in the run that goes back."""

    def __init__(self, step):
        super().__init__(step)
        self.errors = iter([RuntimeError("of a callback")])

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)
        if batch > self.step:
            error = next(self.errors, None)
            if error:
                raise error


@pytest.mark.skipif(
    keras.config.backend() == "tensorflow",
    reason="Keras calls callbacks from no thread on TensorFlow",
)
def test_an_error_in_a_thread_of_a_run_that_goes_back(tmp_path):
    watch = monitor("go_back", rate_factor=1, skip_batches=False)
    with pytest.raises(RuntimeError, match="of a callback"):
        train(
            Poison(to_nan, 3),
            LateError(3),
            monitor=watch,
            folder=tmp_path,
            every=1000,
            made=make(problems=80),
            epochs=1,
        )


@pytest.mark.skipif(
    keras.config.backend() == "torch",
    reason="Keras runs one step at a time on PyTorch",
)
@pytest.mark.parametrize("on_trouble", ["warn", "go_back"])
def test_the_last_execution_of_an_epoch_has_fewer_steps(
    tmp_path, messages, on_trouble
):
    """Five batches in executions of two: Keras counts a sixth."""
    model, dataset = make(problems=20)
    made = tiny.compiled(model, steps_per_execution=2), dataset
    train(
        Poison(to_nan, 4),
        monitor=monitor(on_trouble, skip_batches=False),
        folder=tmp_path if on_trouble == "go_back" else None,
        made=made,
        epochs=1,
    )
    assert len(messages) == 1
    assert named(dataset, 0, 2, 3, 4) in messages[0]


def test_it_goes_on_without_the_batches_and_with_a_lower_rate(
    tmp_path, messages
):
    watch, memory = monitor("go_back", rate_factor=0.25), Memory()
    model, history = train(
        Poison(to_nan, 10), memory, monitor=watch, folder=tmp_path
    )
    assert watch.skipped_steps == {(1, 3), (1, 4)}
    assert memory.steps == [*range(6), 0, 1, 2, 5, *range(6)]
    # It starts anew with each stage; the rate stays.
    assert int(model.optimizer.iterations) == STEPS
    rate = float(ops.convert_to_numpy(model.optimizer.learning_rate))
    assert rate == pytest.approx(0.25 * 3e-3)
    assert history.epoch == [0, 1, 2]
    assert np.isfinite(history.history["loss"]).all()
    for value in values(model):
        assert np.isfinite(value.astype("float32")).all()


@pytest.mark.thorough
def test_each_return_lowers_the_rate_once(tmp_path, messages):
    """Twice from one save, and once from a later one, which holds the rate."""
    watch = monitor("go_back", rate_factor=0.5, skip_batches=False)
    model, _ = train(
        Poison(to_nan, 5, times=2),
        Poison(to_nan, 15),
        monitor=watch,
        folder=tmp_path,
    )
    assert watch.num_returns == len(messages) == 3
    rate = float(ops.convert_to_numpy(model.optimizer.learning_rate))
    assert rate == pytest.approx(3e-3 / 8)


@pytest.mark.thorough
def test_it_gives_up(tmp_path, messages):
    with pytest.raises(
        keras_coconut.TrainingTroubleError, match="has gone back 2 times"
    ):
        train(
            Poison(to_nan, 8, times=99),
            monitor=monitor("go_back", most_returns=2, skip_batches=False),
            folder=tmp_path,
        )
    assert len(messages) == 2


@pytest.mark.parametrize(
    "watched", [True, pytest.param(False, marks=pytest.mark.thorough)]
)
def test_no_save_is_made_of_weights_that_are_not_finite(
    tmp_path, messages, watched
):
    watch = monitor() if watched else None
    train(Poison(to_nan, 5), monitor=watch, folder=tmp_path)
    assert sum("is not saved any more" in text for text in messages) == 1
    # Before the poison: after step 4.
    saves = Saves(str(tmp_path), keep=2)
    newest = saves.newest()
    saves.close()
    assert newest["steps"] == 4
    for value in newest["model"]["variables"]["model"]:
        assert np.isfinite(value.astype("float32")).all()
    assert len([n for n in os.listdir(tmp_path) if n.endswith(".save")]) == 2


@pytest.mark.thorough
def test_thoughts_that_explode(messages):
    train(
        Poison(times_100, 14),
        monitor=monitor(thoughts_every=2, spike=None),
        made=make(rate=1e-5),
    )
    (message,) = messages
    assert message.startswith("epoch 3: the mean norm of thoughts is ")


@pytest.mark.thorough
def test_thoughts_that_collapse(messages):
    def one_direction(gamma):
        return gamma * 1e-6

    made = make(rate=1e-9)
    made[0].backbone.layer_norm.beta.assign(np.ones(16))
    train(
        Poison(one_direction, 8),
        monitor=monitor(thoughts_every=2, spike=None),
        made=made,
    )
    assert [text[: text.index("is")] for text in messages] == [
        "epoch 2: the spread of thoughts ",
        "epoch 3: the spread of thoughts ",
    ]


def test_norm_and_spread_by_hand():
    one, other = np.array([3.0, 4.0]), np.array([-6.0, -8.0])
    across = np.array([8.0, -6.0])
    thoughts = np.array([[one, one], [other, one * 2], [across, one]])
    mask = np.array([[1, 1], [1, 1], [0, 0]], bool)
    # Opposite in slot 0, the same direction in slot 1.
    norm, spread = measure_thoughts(thoughts, mask)
    assert norm == pytest.approx((5 + 10 + 5 + 10) / 4)
    assert spread == pytest.approx((1 + 0) / 2)
    mask[2, 0] = True
    # The mean of three directions in slot 0 is that of `across`, a third long.
    _, spread = measure_thoughts(thoughts, mask)
    assert spread == pytest.approx((1 - 1 / 9) / 2)
    # A slot that one row uses says nothing.
    assert measure_thoughts(thoughts[:1], mask[:1]) == (5, 1)


@pytest.mark.thorough
def test_what_cannot_be_watched(tmp_path):
    model, dataset = make()
    with pytest.raises(ValueError, match="`callbacks` must hold a `Resumable"):
        train(monitor=monitor("go_back"))
    x, y, weights = dataset[0]
    with pytest.raises(ValueError, match="needs a `fit` on a `CurriculumData"):
        model.fit(x, y, sample_weight=weights, callbacks=[monitor()])
    schedule = keras.optimizers.schedules.CosineDecay(1e-3, 100)
    with pytest.raises(ValueError, match="`rate_factor` must be 1.*=0.5"):
        train(monitor=monitor("go_back"), folder=tmp_path, made=make(schedule))
    train(
        monitor=monitor("go_back", rate_factor=1),
        folder=tmp_path,
        made=make(schedule),
        epochs=1,
    )


@pytest.mark.thorough
@pytest.mark.parametrize("step", [11, 7])
def test_batches_at_the_end_or_start_of_an_epoch_are_left_out(tmp_path, step):
    """The epoch keeps its figures: those of the steps that were taken."""
    watch = monitor("go_back")
    _, history = train(
        Poison(to_nan, step), monitor=watch, folder=tmp_path, every=3
    )
    assert watch.skipped_steps == {(1, step - 7), (1, step - 6)}
    assert history.epoch == [0, 1, 2]
    for name in ("loss", "stage", "thoughts"):
        assert len(history.history[name]) == EPOCHS
    assert np.isfinite(history.history["loss"]).all()
    assert min(history.history["loss"]) > 0


@pytest.mark.thorough
def test_a_second_fit_leaves_nothing_out(tmp_path):
    watch = monitor("go_back")
    train(Poison(to_nan, 10), monitor=watch, folder=tmp_path / "one")
    assert watch.skipped_steps
    memory = Memory()
    train(memory, monitor=watch, folder=tmp_path / "two")
    assert watch.num_returns == 0 and watch.skipped_steps == set()
    assert memory.steps == [*range(STEPS)] * EPOCHS


@pytest.mark.thorough
def test_a_save_that_leads_to_trouble_again_is_left(tmp_path, messages):
    """The weights are ruined before a save, and are finite."""
    one_stage = make(rate=1e-5, problems=72)
    watch = monitor("go_back", spike=3, skip_batches=False, rate_factor=1)

    class Ruin(Poison):
        """Behind the look at a save, in the step before it is noticed."""

        def on_train_batch_end(self, batch, logs=None):
            if batch == self.step and next(self.left, None) is not None:
                gamma = self.model.backbone.layer_norm.gamma
                value = np.array(ops.convert_to_numpy(gamma))
                gamma.assign(self.change(value))

        def on_train_batch_begin(self, batch, logs=None):
            pass

    Ruin.async_safe = False
    _, history = train(
        Ruin(times_100, 14),
        monitor=watch,
        folder=tmp_path / "ruined",
        every=1,
        made=one_stage,
        epochs=1,
    )
    assert watch.num_returns == 2
    assert history.history["loss"][0] < 10


@pytest.mark.thorough
def test_each_kind_is_named_once_an_epoch(messages):
    train(
        Poison(times_100, 14),
        Poison(to_nan, 16),
        monitor=monitor(spike=3),
        made=make(rate=1e-5, problems=72),
        epochs=1,
    )
    assert ["usual" in text for text in messages] == [True, False]
    assert "the loss is nan" in messages[1]


@pytest.mark.thorough
def test_a_rate_that_a_callback_sets(tmp_path):
    scheduler = keras.callbacks.LearningRateScheduler(lambda epoch: 1e-3)
    with pytest.raises(ValueError, match="rate_factor.*LearningRateScheduler"):
        train(scheduler, monitor=monitor("go_back"), folder=tmp_path)
    train(
        scheduler,
        monitor=monitor("go_back", rate_factor=1),
        folder=tmp_path,
        epochs=1,
    )


@pytest.mark.skipif(
    keras.config.backend() != "torch", reason="of processes under torchrun"
)
def test_two_processes_go_back_together(tmp_path):
    script = pathlib.Path(__file__).parent / "goes_back_run.py"
    found = launched.torchrun(2, script, tmp_path)
    assert [each["returns"] for each in found] == [1, 1]
    _, expected = train(made=make(dropout=0.0))
    for each in found:
        np.testing.assert_allclose(
            each["loss"], expected.history["loss"], atol=1e-4
        )
