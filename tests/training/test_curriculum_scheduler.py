"""All stages in one `fit()`."""

import json
import warnings

import keras
import numpy as np
import pytest
import tiny
from keras import ops

import keras_coconut
from keras_coconut.latent.forward import Forward
from keras_coconut.training.curriculum_scheduler import restart_optimizer

CURRICULUM = keras_coconut.Curriculum(
    max_stage=2, initial_epochs=2, epochs_per_stage=2
)
EPOCHS = 8  # Two in each of the stages 0, 1, 2 and the extra one.


@pytest.fixture
def text_model():
    """One layer: enough for the stages, and quick to compile."""
    return tiny.text_model(layers=1)


def make_dataset(model, curriculum=CURRICULUM, **kwargs):
    kwargs.setdefault("batch_size", 8)
    return keras_coconut.CurriculumDataset(
        tiny.problems(24), model.preprocessor, curriculum, **kwargs
    )


def train(model, dataset=None, epochs=EPOCHS, scheduler=None, **kwargs):
    dataset = dataset or make_dataset(model)
    scheduler = scheduler or keras_coconut.CurriculumScheduler(dataset)
    callbacks = [*kwargs.pop("callbacks", []), scheduler]
    return model.fit(
        dataset, epochs=epochs, callbacks=callbacks, verbose=0, **kwargs
    ).history


class ThoughtsOfEachStage(keras.callbacks.Callback):
    """Counts the passes over one thought that are run in each epoch.

    In a compiled program, the program itself reports each pass.
    """

    def __init__(self, monkeypatch):
        super().__init__()
        self.count = 0
        self.epochs = []
        decode = Forward.decode

        def counted(*args, **kwargs):
            tiny.call_while_running(self.add)
            return decode(*args, **kwargs)

        monkeypatch.setattr(Forward, "decode", counted)

    def add(self):
        self.count += 1

    def on_epoch_begin(self, epoch, logs=None):
        self.count = 0  # Keras may have run the model to build it.

    def on_epoch_end(self, epoch, logs=None):
        tiny.wait()
        self.epochs.append(self.count)


@pytest.mark.parametrize(
    "eager", [pytest.param(True, marks=pytest.mark.thorough), False]
)
def test_thoughts_are_computed_as_scheduled(text_model, monkeypatch, eager):
    if eager and keras.config.backend() == "jax":
        pytest.skip("JAX compiles loops in an eager model too")
    count = ThoughtsOfEachStage(monkeypatch)
    steps, scheduled = 2, [0, 2, 4, 4]
    dataset = make_dataset(
        text_model,
        keras_coconut.Curriculum(max_stage=2, thoughts_per_step=2),
        steps_per_epoch=steps,
    )
    tiny.compiled(text_model, run_eagerly=eager)
    train(text_model, dataset, epochs=4, callbacks=[count])

    def passes(thoughts):
        # A traced chain is pulled back through all thoughts but the first.
        back = 0 if keras.config.backend() == "torch" else thoughts - 1
        return steps * (thoughts + max(back, 0))

    assert count.epochs == [passes(thoughts) for thoughts in scheduled]


@pytest.mark.thorough
def test_history_progress_bar_and_model(text_model, capsys):
    dataset = make_dataset(text_model)
    scheduler = keras_coconut.CurriculumScheduler(dataset)
    tiny.compiled(text_model)
    history = text_model.fit(
        dataset, epochs=EPOCHS, callbacks=[scheduler], verbose=2
    ).history
    assert history["stage"] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert history["thoughts"] == [0, 0, 1, 1, 2, 2, 2, 2]
    assert text_model.num_thoughts == 2
    printed = capsys.readouterr().out
    assert "stage: 3" in printed and "thoughts: 2" in printed


def test_pauses_train_through_all_stages(text_model):
    curriculum = keras_coconut.method_curriculum("pause_as_thought", CURRICULUM)
    dataset = make_dataset(text_model, curriculum)
    tiny.compiled(text_model)
    pause = text_model.preprocessor.pause_id
    embedding = text_model.backbone.token_embedding.embeddings
    before = ops.convert_to_numpy(embedding)[pause]
    history = train(text_model, dataset)
    assert history["thoughts"] == [0, 0, 1, 1, 2, 2, 2, 2]
    assert history["loss"][-1] < history["loss"][0]
    assert text_model.thought_kind == "pause"
    assert np.abs(ops.convert_to_numpy(embedding)[pause] - before).max() > 1e-3


def test_losses_are_those_of_every_backend():
    """Recorded by tests/parity/make_curriculum_losses.py.

    Each backend within 5e-5 of the record, and so within 1e-4 of each other.
    """
    with open(tiny.PARITY / "curriculum_losses.json") as file:
        recorded = json.load(file)
    found = tiny.curriculum_losses()
    np.testing.assert_allclose(found, recorded["losses"], atol=5e-5)


@pytest.mark.parametrize(
    "mode",
    [
        "stage",
        *(
            pytest.param(m, marks=pytest.mark.thorough)
            for m in ("epoch", "never")
        ),
    ],
)
def test_the_optimizer_starts_anew(text_model, mode):
    seen = []

    class Iterations(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(int(self.model.optimizer.iterations))

    dataset = make_dataset(text_model)
    train(
        tiny.compiled(text_model),
        dataset,
        scheduler=keras_coconut.CurriculumScheduler(
            dataset, reset_optimizer=mode
        ),
        callbacks=[Iterations()],
    )
    assert (
        seen
        == {
            "stage": [3, 6, 3, 6, 3, 6, 3, 6],
            "epoch": [3] * 8,
            "never": [3, 6, 9, 12, 15, 18, 21, 24],
        }[mode]
    )


class NamesByPlace(keras.optimizers.SGD):
    """An optimizer of one's own, whose state is named by its place."""

    def build(self, variables):
        if not self.built:
            super().build(variables)
            self.own = [
                self.add_variable(v.shape, "ones", name=f"own_{place}")
                for place, v in enumerate(variables)
            ]

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient, variable, learning_rate)
        own = self.own[self._get_variable_index(variable)]
        self.assign_sub(own, gradient)


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: keras.optimizers.AdamW(1e-2, clipnorm=1.0),
        *(
            pytest.param(make, marks=pytest.mark.thorough)
            for make in (
                lambda: keras.optimizers.Adagrad(1e-2),
                lambda: keras.optimizers.Nadam(1e-2),
                lambda: keras.optimizers.SGD(
                    keras.optimizers.schedules.CosineDecay(1e-2, 100),
                    momentum=0.9,
                ),
                lambda: keras.optimizers.Adam(
                    1e-2, gradient_accumulation_steps=2
                ),
                lambda: NamesByPlace(1e-2),
            )
        ),
    ],
)
def test_restarted_is_new(text_model, optimizer):
    """Whatever a new optimizer starts with, which is not always zeros."""
    tiny.compiled(text_model, optimizer())
    x, _, _ = text_model.preprocessor(tiny.problems()[:8])
    text_model.fit(x, epochs=3, verbose=0)
    restart_optimizer(text_model.optimizer, text_model)
    new = optimizer()
    new.build(text_model.trainable_variables)
    for mine, theirs in zip(text_model.optimizer.variables, new.variables):
        np.testing.assert_allclose(
            ops.convert_to_numpy(mine), ops.convert_to_numpy(theirs), atol=1e-7
        )


@pytest.mark.thorough
def test_restarted_weight_by_weight(text_model, monkeypatch):
    """So that no second state of all weights must fit on the device."""
    from keras_coconut.execution import replicas

    tiny.compiled(text_model)
    text_model.optimizer.build(text_model.trainable_variables)
    for variable in text_model.optimizer.variables[2:]:
        variable.assign(np.ones(variable.shape))
    most, build = [0], replicas.build_optimizer

    def counted(optimizer, weights):
        most[0] = max(most[0], len(weights))
        build(optimizer, weights)

    monkeypatch.setattr(replicas, "build_optimizer", counted)
    restart_optimizer(text_model.optimizer, text_model)
    assert most == [1]
    for variable in text_model.optimizer.variables[2:]:
        assert not ops.convert_to_numpy(variable).any()
    # Two weights of one name: their state is told apart by its place.
    (kind,) = {type(weight) for weight in text_model.trainable_variables}
    monkeypatch.setattr(kind, "path", "the same", raising=False)
    text_model.optimizer.variables[4].assign(
        np.ones(text_model.optimizer.variables[4].shape)
    )
    restart_optimizer(text_model.optimizer, text_model)
    assert most == [len(text_model.trainable_variables)]
    assert not ops.convert_to_numpy(text_model.optimizer.variables[4]).any()


@pytest.mark.thorough
def test_averages_of_the_weights_stay(text_model):
    """`SwapEMAWeights` may have put them into the weights' place."""
    optimizer = keras.optimizers.AdamW(1e-2, use_ema=True)
    tiny.compiled(text_model, optimizer)
    x, _, _ = text_model.preprocessor(tiny.problems()[:8])
    text_model.fit(x, epochs=3, verbose=0)
    averages = optimizer._model_variables_moving_average
    before = [ops.convert_to_numpy(variable) for variable in averages]
    restart_optimizer(optimizer, text_model)
    assert int(optimizer.iterations) == 0
    for variable, value in zip(averages, before):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable), value)
    for momentum in optimizer._momentums:
        assert not ops.convert_to_numpy(momentum).any()


def test_the_scale_of_a_loss_stays(text_model):
    inner = keras.optimizers.Adam(1e-2)
    optimizer = keras.optimizers.LossScaleOptimizer(inner, initial_scale=8.0)
    tiny.compiled(text_model, optimizer)
    x, _, _ = text_model.preprocessor(tiny.problems()[:8])
    text_model.fit(x, epochs=3, verbose=0)
    scale = float(optimizer.dynamic_scale)
    steps = int(optimizer.step_counter)
    assert steps == 3
    restart_optimizer(optimizer, text_model)
    assert (float(optimizer.dynamic_scale), steps) == (scale, 3)
    assert int(inner.iterations) == 0


class Undescribed(keras.optimizers.SGD):
    """An optimizer whose config lacks an argument of its constructor."""

    def __init__(self, momentum_of_mine):
        super().__init__(1e-2, momentum=momentum_of_mine)


@pytest.mark.thorough
def test_what_cannot_start_anew_is_said_before_training(text_model):
    tiny.compiled(text_model, Undescribed(0.9))
    dataset = make_dataset(text_model)
    before = text_model.get_weights()
    with pytest.raises(ValueError, match="reset_optimizer.*Undescribed"):
        text_model.fit(
            dataset,
            epochs=EPOCHS,
            verbose=0,
            callbacks=[keras_coconut.CurriculumScheduler(dataset)],
        )
    for mine, theirs in zip(text_model.get_weights(), before):
        np.testing.assert_array_equal(mine, theirs)
    text_model.fit(
        dataset,
        epochs=dataset.curriculum.num_epochs,
        verbose=0,
        callbacks=[
            keras_coconut.CurriculumScheduler(dataset, reset_optimizer="never")
        ],
    )


@pytest.mark.thorough
def test_a_learning_rate_set_by_hand_stays(text_model):
    tiny.compiled(text_model)
    x, _, _ = text_model.preprocessor(tiny.problems()[:8])
    text_model.fit(x, verbose=0)
    text_model.optimizer.learning_rate = 3e-4
    restart_optimizer(text_model.optimizer, text_model)
    assert np.isclose(float(text_model.optimizer.learning_rate), 3e-4)


@pytest.mark.thorough
def test_an_interrupted_run_ends_as_an_unbroken_one(tmp_path):
    class Interrupt(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 5:
                raise KeyboardInterrupt

    whole = train(tiny.compiled(tiny.text_model(layers=1)))
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(KeyboardInterrupt):
        train(
            tiny.compiled(tiny.text_model(layers=1)),
            callbacks=[backup, Interrupt()],
        )
    resumed = tiny.compiled(tiny.text_model(layers=1, seed=9))
    # `BackupAndRestore` needs a built model.
    resumed.optimizer.build(resumed.trainable_variables)
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    rest = train(resumed, callbacks=[backup])
    assert rest["stage"] == [2, 3, 3]
    np.testing.assert_allclose(rest["loss"], whole["loss"][5:], atol=1e-5)


@pytest.mark.thorough
def test_validation_follows_the_stages(text_model):
    dataset = make_dataset(text_model)
    validation = make_dataset(text_model, shuffle=False)
    scheduler = keras_coconut.CurriculumScheduler(dataset, validation)
    history = train(
        tiny.compiled(text_model),
        dataset,
        scheduler=scheduler,
        validation_data=validation,
    )
    assert len(history["val_loss"]) == EPOCHS
    assert validation.stage == 3
    expected = text_model.evaluate(validation, verbose=0)[0]
    np.testing.assert_allclose(history["val_loss"][-1], expected, atol=1e-5)


@pytest.mark.parametrize("steps_per_execution", [2, 5])
def test_steps_per_execution(text_model, steps_per_execution):
    if keras.config.backend() == "torch":
        pytest.skip("Keras runs one step at a time on PyTorch, and says so")
    tiny.compiled(text_model, steps_per_execution=steps_per_execution)
    history = train(text_model)
    assert history["thoughts"] == [0, 0, 1, 1, 2, 2, 2, 2]
    assert int(text_model.optimizer.iterations) == 6


@pytest.mark.thorough
def test_mixed_stages_train(text_model):
    curriculum = keras_coconut.Curriculum(2, mixing_probability=0.5)
    dataset = make_dataset(text_model, curriculum)
    history = train(tiny.compiled(text_model), dataset, epochs=4)
    assert np.isfinite(history["loss"]).all()


@pytest.mark.thorough
def test_epochs_that_never_reach_the_last_stage(text_model):
    with pytest.warns(
        UserWarning, match="`epochs` must be at least 7.*stage 1"
    ):
        train(tiny.compiled(text_model), epochs=3)


@pytest.mark.thorough
def test_a_dataset_without_its_scheduler(text_model):
    tiny.compiled(text_model)
    with pytest.warns(UserWarning, match="no `keras_coconut.CurriculumSched"):
        text_model.fit(make_dataset(text_model), epochs=1, verbose=0)
    chain = keras_coconut.Curriculum(0, extra_stage=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text_model.fit(make_dataset(text_model, chain), epochs=1, verbose=0)


@pytest.mark.thorough
def test_a_dataset_of_another_vocabulary(text_model, record):
    dataset = make_dataset(text_model)
    other = keras_coconut.ContinuousThoughtLM(tiny.parity_backbone(record))
    scheduler = keras_coconut.CurriculumScheduler(dataset)
    with pytest.raises(ValueError, match="vocabulary, 0 to 60"):
        other.fit(dataset, epochs=8, callbacks=[scheduler], verbose=0)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("fit", dict(steps_per_epoch=2)),
        ("fit", dict(batch_size=4)),
        ("fit", dict(shuffle=False)),
        ("fit", dict(validation_batch_size=4)),
        ("evaluate", dict(batch_size=4)),
        ("predict", dict(batch_size=4)),
    ],
)
def test_what_the_dataset_decides(text_model, method, arguments):
    tiny.compiled(text_model)
    dataset = make_dataset(text_model)
    (name,) = arguments
    given = dict(arguments)
    if name == "validation_batch_size":
        given["validation_data"] = dataset
        given["callbacks"] = [keras_coconut.CurriculumScheduler(dataset)]
    with pytest.raises(ValueError, match=f"`{name}` must be left out for a da"):
        getattr(text_model, method)(dataset, verbose=0, **given)


@pytest.mark.thorough
def test_a_callback_that_has_a_dataset_is_no_scheduler(text_model):
    class Own(keras.callbacks.Callback):
        def __init__(self, dataset):
            super().__init__()
            self.dataset, self.thoughts = dataset, []

        def on_epoch_begin(self, epoch, logs=None):
            self.thoughts.append(self.model.num_thoughts)

    tiny.compiled(text_model)
    dataset = make_dataset(text_model)
    with pytest.warns(UserWarning, match="no `keras_coconut.CurriculumSched"):
        text_model.fit(dataset, callbacks=[Own(dataset)], verbose=0)
    # Another dataset is the callback's own affair; the scheduler comes first.
    own = Own(make_dataset(text_model))
    train(text_model, dataset, callbacks=[own])
    assert own.thoughts == [0, 0, 1, 1, 2, 2, 2, 2]


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(dataset=3), "`dataset` must be.*int"),
        (dict(validation_dataset=3), "`validation_dataset` must be.*int"),
        (dict(reset_optimizer="often"), "reset_optimizer.*'often'"),
    ],
)
def test_bad_arguments(text_model, arguments, message):
    arguments = {"dataset": make_dataset(text_model), **arguments}
    with pytest.raises(ValueError, match=message):
        keras_coconut.CurriculumScheduler(**arguments)


GRADUAL = keras_coconut.Curriculum(
    max_stage=2,
    thoughts_per_step=2,
    epochs_per_stage=2,
    one_thought_at_a_time=True,
)


@pytest.mark.thorough
def test_thoughts_one_at_a_time(text_model):
    dataset = make_dataset(text_model, GRADUAL)
    validation = make_dataset(text_model, GRADUAL)
    seen = []

    class Seen(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if not batch:
                masks = [d[0][0]["thought_mask"] for d in (dataset, validation)]
                counts = {int(c) for mask in masks for c in mask.sum(axis=1)}
                seen.append((self.model.num_thoughts, counts))

    tiny.compiled(text_model)
    history = train(
        text_model,
        dataset,
        scheduler=keras_coconut.CurriculumScheduler(dataset, validation),
        validation_data=validation,
        callbacks=[Seen()],
    )
    expected = [0, 0, 1, 2, 3, 4, 4, 4]
    assert history["stage"] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert history["thoughts"] == expected
    assert seen == [(count, {count}) for count in expected]


class Figures(keras.callbacks.Callback):
    """Adds a figure of each epoch, behind the scheduler."""

    def __init__(self, name, values):
        super().__init__()
        self.name, self.values = name, values

    def on_epoch_end(self, epoch, logs=None):
        logs[self.name] = self.values[epoch]


NAN = float("nan")


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("name", "values", "stages"),
    [
        # Better until the most epochs of a stage are spent.
        ("my_loss", [9, 8, 9, 7, 6, 5, 4, 3, 2, 1, 0, 0], "000011112222"),
        # A stage begins with no best figure.
        ("my_loss", [5, 6, 5, 9, 9, 9, 8, 9, 9, 1, 1, 1], "000111222333"),
        ("my_accuracy", [9, 8, 9, 7, 6, 5, 4, 3, 2, 1, 0, 0], "000111222333"),
        ("my_accuracy", [1, 2, 3, 4, 1, 2, 1, 5, 4, 4, 9, 1], "000011112222"),
        ("my_loss", [NAN, NAN, 1, 1, NAN, 1, 2, 3, 4, 4, 4, 4], "001112223333"),
    ],
)
def test_promotion_by_hand(text_model, name, values, stages):
    """After two epochs without a better figure, and after four at most."""
    curriculum = keras_coconut.Curriculum(max_stage=2, epochs_per_stage=4)
    dataset = make_dataset(text_model, curriculum, steps_per_epoch=1)
    scheduler = keras_coconut.CurriculumScheduler(
        dataset, promote_after=2, monitor=name
    )
    tiny.compiled(text_model)
    history = train(
        text_model,
        dataset,
        epochs=len(values),
        scheduler=scheduler,
        callbacks=[Figures(name, values)],
    )
    assert "".join(map(str, history["stage"])) == stages


@pytest.mark.thorough
def test_no_promotion_before_the_stage_has_its_thoughts(text_model):
    curriculum = keras_coconut.Curriculum(
        max_stage=1,
        thoughts_per_step=3,
        epochs_per_stage=5,
        one_thought_at_a_time=True,
    )
    dataset = make_dataset(text_model, curriculum, steps_per_epoch=1)
    tiny.compiled(text_model)
    history = train(
        text_model,
        dataset,
        epochs=7,
        scheduler=keras_coconut.CurriculumScheduler(
            dataset, promote_after=1, monitor="my_loss"
        ),
        callbacks=[Figures("my_loss", [1] * 7)],
    )
    # The first figure with all three is the one to compare with.
    assert history["stage"] == [0, 0, 1, 1, 1, 1, 2]
    assert history["thoughts"] == [0, 0, 1, 2, 3, 3, 3]


@pytest.mark.thorough
def test_promotion_restarts_the_optimizer_and_skips_stages_without_epochs(
    text_model,
):
    iterations = []

    class Iterations(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            iterations.append(int(self.model.optimizer.iterations))

    curriculum = keras_coconut.Curriculum(
        max_stage=2, epochs_per_stage=(0, 4, 4), initial_epochs=4
    )
    dataset = make_dataset(text_model, curriculum, steps_per_epoch=2)
    tiny.compiled(text_model)
    history = train(
        text_model,
        dataset,
        epochs=6,
        scheduler=keras_coconut.CurriculumScheduler(
            dataset, promote_after=1, monitor="my_loss"
        ),
        callbacks=[Iterations(), Figures("my_loss", [1] * 6)],
    )
    assert history["stage"] == [0, 0, 2, 2, 3, 3]
    assert iterations == [2, 4] * 3


@pytest.mark.thorough
def test_promotion_needs_its_figure(text_model):
    dataset = make_dataset(text_model, steps_per_epoch=1)
    scheduler = keras_coconut.CurriculumScheduler(dataset, promote_after=1)
    tiny.compiled(text_model)
    message = r"`monitor` must be a figure.*'val_loss', where there are.*'loss'"
    with pytest.raises(ValueError, match=message):
        train(text_model, dataset, epochs=2, scheduler=scheduler)


@pytest.mark.thorough
def test_a_second_fit_is_promoted_anew(text_model):
    dataset = make_dataset(text_model, steps_per_epoch=1)
    scheduler = keras_coconut.CurriculumScheduler(
        dataset, promote_after=1, monitor="my_loss"
    )
    tiny.compiled(text_model)
    for _ in range(2):
        history = train(
            text_model,
            dataset,
            epochs=4,
            scheduler=scheduler,
            callbacks=[Figures("my_loss", [1] * 4)],
        )
        assert history["stage"] == [0, 0, 1, 1]


@pytest.mark.thorough
def test_promotion_by_figures_that_are_repeated_is_refused(text_model):
    from keras_coconut.evaluation.answer_accuracy import AnswerAccuracy

    dataset = make_dataset(text_model, steps_per_epoch=1)
    scheduler = keras_coconut.CurriculumScheduler(
        dataset, promote_after=1, monitor="val_answer_accuracy"
    )
    tiny.compiled(text_model)
    answers = AnswerAccuracy(tiny.problems(2), every=2, max_length=2)
    with pytest.raises(ValueError, match="`every` must be 1.*every=2"):
        train(text_model, dataset, scheduler=scheduler, callbacks=[answers])
