"""What a resumed run finds again: logs, stages, rates and random states."""

import os
import time

import keras
import keras_hub
import numpy as np
import pytest
import tiny
from test_resumable_training import (
    CURRICULUM,
    EPOCHS,
    InterruptAt,
    Interruption,
    interrupted,
    make,
    train,
)

import keras_coconut
from keras_coconut.execution import replicas
from keras_coconut.training import callback_state, run_state

# What differs among backends runs with each.
thorough = pytest.mark.thorough


def board(tmp_path):
    return keras.callbacks.TensorBoard(str(tmp_path / "logs"))


def logger(tmp_path, name="log.csv"):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    return keras.callbacks.CSVLogger(str(path), append=True)


def events(tmp_path):
    found = (tmp_path / "logs").rglob("events*")
    return {path.name: path.stat().st_size for path in found}


@thorough
def test_logs_stay_beside_another_callback_that_logs(tmp_path):
    saves = tmp_path / "saves"
    interrupted(saves, 5, callbacks=[logger(tmp_path), board(tmp_path)])
    kept = events(tmp_path)
    rows = (tmp_path / "log.csv").read_text()
    assert kept and rows.count("\n") == 2
    # The save was made before step 4, after the first epoch.
    interrupted(
        saves,
        7,
        callbacks=[
            logger(tmp_path, "new.csv"),
            logger(tmp_path),
            keras.callbacks.ModelCheckpoint(tmp_path / "best.keras"),
            board(tmp_path),
        ],
    )
    assert kept.keys() < events(tmp_path).keys()
    assert min(events(tmp_path).values()) > 0
    text = (tmp_path / "log.csv").read_text()
    assert text.startswith(rows) and text.count("\n") == 3


@thorough
def test_logs_stay_of_a_callback_that_was_away(tmp_path):
    saves = tmp_path / "saves"
    interrupted(saves, 5, callbacks=[board(tmp_path)])
    kept = events(tmp_path)
    # Names hold the second in which they began.
    time.sleep(1.1)
    interrupted(saves, 9)
    interrupted(saves, 11, callbacks=[board(tmp_path)])
    assert kept and kept.items() <= events(tmp_path).items()


@thorough
def test_logs_of_another_run_in_the_same_folder(tmp_path):
    folder = tmp_path / "logs" / "train"
    folder.mkdir(parents=True)
    names = (
        "events.out.tfevents.1.host.1.0.v2",
        "events.out.tfevents.9.x.2.0.v2",
    )
    for name, text in zip(names, ("another run's", "")):
        (folder / name).write_text(text)
    interrupted(tmp_path / "saves", 5, callbacks=[board(tmp_path)])
    (folder / names[0]).write_text("cut")
    (folder / names[1]).write_text("and more")
    interrupted(tmp_path / "saves", 7, callbacks=[board(tmp_path)])
    assert [(folder / name).read_text() for name in names] == [
        "cut",
        "and more",
    ]


@thorough
def test_logs_of_one_name(tmp_path):
    logs = [logger(tmp_path, f"{folder}/log.csv") for folder in "ab"]
    interrupted(tmp_path / "saves", 7, callbacks=logs)
    sizes = callback_state.log_sizes(logs)
    assert len(sizes) == 2 and min(sizes.values()) > 0
    for log in logs:
        with open(log.filename, "a") as file:
            file.write("another line")
    again = [logger(tmp_path, f"{folder}/log.csv") for folder in "ab"]
    interrupted(tmp_path / "saves", 7, callbacks=again)
    assert callback_state.log_sizes(again) == sizes


@thorough
def test_a_save_of_an_earlier_version_numbers_its_logs(tmp_path):
    logs = [logger(tmp_path, f"{folder}/log.csv") for folder in "ab"]
    for log in logs:
        with open(log.filename, "w") as file:
            file.write("12345")
    saved = {"0/train/events": 1, "3/log.csv": 4, "5/log.csv": 2}
    before = ["log.csv", "log.csv/1"]
    callback_state.cut_logs(logs, saved, 0.0, [], before)
    assert [os.path.getsize(log.filename) for log in logs] == [4, 2]


@pytest.mark.skipif(
    keras.config.backend() != "torch", reason="PyTorch's own generators"
)
def test_a_save_of_an_earlier_version_lists_its_generators():
    import torch

    state = run_state.take_random()
    drawn = torch.rand(3)
    (devices,) = state["torch"]
    state["torch"] = [list(devices.values())]
    run_state.give_random(state)
    assert torch.equal(torch.rand(3), drawn)


def test_a_callback_keeps_its_own_tensors():
    callback = keras.callbacks.Callback()
    callback.average = keras.ops.zeros(())
    callback.logs = {"f1": keras.ops.ones(()), "all": [keras.ops.zeros((2,))]}
    callback.best = [keras.ops.ones(()), 3.0]
    states = callback_state.CallbackStates([callback])
    callback.best = [keras.ops.zeros(()), 2.0]
    ((_, state, _),) = states.get()
    assert state == {"best": [0.0, 2.0]}
    states.reset()
    assert keras.ops.is_tensor(callback.average)
    assert callback.best == [1.0, 3.0]


@thorough
def test_a_finished_run_is_in_its_last_stage(tmp_path):
    def run():
        model, dataset = make()
        validation = keras_coconut.CurriculumDataset(
            tiny.problems(4), model.preprocessor, CURRICULUM, batch_size=4
        )
        model.fit(
            dataset,
            validation_data=validation,
            epochs=EPOCHS,
            verbose=0,
            callbacks=[
                keras_coconut.CurriculumScheduler(dataset, validation),
                keras_coconut.ResumableTraining(tmp_path, every=2),
            ],
        )
        return (
            model.evaluate(validation, verbose=0),
            model.evaluate(tiny.problems(4), batch_size=4, verbose=0),
            dataset.stage,
            validation.stage,
        )

    first, again = run(), run()
    assert first == again
    assert first[2:] == (CURRICULUM.last_stage,) * 2


def test_figures_that_are_tensors(tmp_path):
    """History has them again, and so has a scheduler that looks at others."""

    def adding():
        return keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: logs.update(
                f1=keras.ops.convert_to_tensor(0.25 * epoch)
            )
        )

    interrupted(tmp_path, 7, callbacks=[adding()])
    _, history = train(tmp_path, callbacks=[adding()])
    assert list(map(float, history.history["f1"])) == [
        0.25 * epoch for epoch in range(EPOCHS)
    ]
    assert len(history.history["loss"]) == EPOCHS


@thorough
def test_a_rate_that_each_step_lowers(tmp_path):
    """Interrupted within an epoch, and called again with the same model."""

    class Lowering(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            rate = self.model.optimizer.learning_rate
            rate.assign(rate * 0.9)

    made = make()
    interrupted(tmp_path, 5, made=made, callbacks=[Lowering()])
    model, _ = train(tmp_path, made=made, callbacks=[Lowering()])
    expected, _ = train(tmp_path / "undisturbed", callbacks=[Lowering()])
    assert float(model.optimizer.learning_rate) == pytest.approx(
        float(expected.optimizer.learning_rate)
    )


class TwoGenerators(keras_hub.samplers.Sampler):
    """Draws from a generator of a name of its own."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.rng = keras.random.SeedGenerator(3)
        self.seed_generator = keras.random.SeedGenerator(4)


@thorough
def test_all_generators_of_a_sampler(tmp_path):
    def made():
        model, dataset = make()
        model.compile(sampler=TwoGenerators())
        return model, dataset

    def states(model):
        sampler = model.sampler
        return [
            np.array(keras.ops.convert_to_numpy(each.state)).tolist()
            for each in (sampler.rng, sampler.seed_generator)
        ]

    class Draw(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.sampler.rng.next()

    model, _ = train(tmp_path / "a", made=made(), callbacks=[Draw()])
    interrupted(tmp_path / "b", 7, made=made(), callbacks=[Draw()])
    again, _ = train(tmp_path / "b", made=made(), callbacks=[Draw()])
    assert states(again) == states(model) != states(made()[0])


@thorough
def test_validation_steps_are_refused():
    model, dataset = make()
    scheduler = keras_coconut.CurriculumScheduler(dataset, dataset)
    for arguments in (
        {"x": dataset, "validation_data": dataset, "callbacks": [scheduler]},
        {
            "x": tiny.problems(4),
            "validation_data": tiny.problems(4),
            "curriculum": CURRICULUM,
        },
    ):
        with pytest.raises(ValueError, match="`validation_steps` must be left"):
            model.fit(**arguments, validation_steps=1, verbose=0)


# === Other settings and other validation problems ===


def measured(tmp_path, count=8, options=None, at=None, **scheduling):
    """A run that measures its answers; interrupted before the third epoch."""
    model, dataset = make()
    validation = keras_coconut.CurriculumDataset(
        tiny.problems(count), model.preprocessor, CURRICULUM, batch_size=4
    )
    callbacks = [
        keras_coconut.CurriculumScheduler(dataset, validation, **scheduling),
        keras_coconut.AnswerAccuracy(tiny.problems(count), max_length=2),
        keras_coconut.ResumableTraining(tmp_path, every=2, **(options or {})),
    ]
    if at is not None:
        callbacks.insert(0, InterruptAt(at))
    return model.fit(
        dataset,
        validation_data=validation,
        epochs=EPOCHS,
        verbose=0,
        callbacks=callbacks,
    )


@thorough
def test_other_settings_and_problems_are_refused(tmp_path):
    changes = {"allow_changes": ["callbacks", "validation"]}
    with pytest.raises(Interruption):
        measured(tmp_path, options=changes, at=7)
    with pytest.raises(ValueError, match="must hold the saves of") as error:
        measured(tmp_path, 3, {}, reset_optimizer="never", promote_after=1)
    for text in (
        "CurriculumScheduler.reset_optimizer='stage'",
        "CurriculumScheduler.reset_optimizer='never'",
        "CurriculumScheduler.promote_after=1",
        "`validation` was CurriculumScheduler=",
        "AnswerAccuracy=",
        "may differ in `allow_changes`: callbacks, validation",
    ):
        assert text in str(error.value)
    history = measured(tmp_path, 3, changes, reset_optimizer="never")
    assert history.epoch == list(range(EPOCHS))


@thorough
def test_a_save_without_settings_and_validation_is_compared_no_further():
    model, dataset = make()
    callbacks = [
        keras_coconut.CurriculumScheduler(dataset),
        keras_coconut.AnswerAccuracy(tiny.problems(2)),
        keras_coconut.HealthMonitor(),
    ]
    now = run_state.describe_run(model, dataset, callbacks)
    assert now["callbacks"]["HealthMonitor.on_trouble"] == "warn"
    saved = {name: part for name, part in now.items() if name != "validation"}
    saved["callbacks"] = {"classes": now["callbacks"]["classes"]}
    assert run_state.differences(saved, now) == {}
    saved["callbacks"] = {"classes": ["CurriculumScheduler"]}
    assert list(run_state.differences(saved, now)) == ["callbacks"]


@thorough
def test_callbacks_of_one_class_that_swap_places_keep_their_states():
    def stopping(monitor):
        callback = keras.callbacks.EarlyStopping(monitor, mode="min")
        callback.on_train_begin()
        return callback

    names = ["loss", "val_loss"]
    callbacks = [stopping(name) for name in names]
    states = callback_state.CallbackStates(callbacks)
    for callback, best in zip(callbacks, (0.25, 0.5)):
        callback.best = best
    saved = states.get()
    # Earlier versions told them apart by their order.
    for found, expected in (
        (saved, {"loss": 0.25, "val_loss": 0.5}),
        ([state[:2] for state in saved], {"val_loss": 0.25, "loss": 0.5}),
    ):
        swapped = [stopping(name) for name in names[::-1]]
        callback_state.CallbackStates(swapped).set(found)
        assert {one.monitor: one.best for one in swapped} == expected


# === Logs, and who writes them ===


@thorough
def test_logs_are_on_the_disk_before_a_save_knows_them(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(callback_state, "sync", synced.append)
    log = logger(tmp_path)
    with open(log.filename, "w") as file:
        file.write("12345")
    assert callback_state.log_sizes([log]) == {"log.csv": 5}
    assert synced == [log.filename, str(tmp_path)]


@thorough
def test_a_log_that_was_cut_begins_anew_under_another_name(tmp_path):
    saves = tmp_path / "saves"
    interrupted(saves, 8, callbacks=[logger(tmp_path)])
    (tmp_path / "log.csv").write_text("")
    with pytest.raises(ValueError, match="Restore the file, or begin a new"):
        train(saves, callbacks=[logger(tmp_path)])
    _, history = train(saves, callbacks=[logger(tmp_path, "new.csv")])
    assert history.epoch == list(range(EPOCHS))
    assert "\n5," in (tmp_path / "new.csv").read_text()


@pytest.mark.parametrize("process", [0, 1])
def test_the_first_process_alone_writes(tmp_path, monkeypatch, process):
    monkeypatch.setattr(replicas, "num_processes", lambda: 2)
    monkeypatch.setattr(replicas, "process_index", lambda: process)
    everywhere = [keras.callbacks.EarlyStopping("loss")]
    first = [logger(tmp_path), keras.callbacks.RemoteMonitor()]
    orbax = getattr(keras.callbacks, "OrbaxCheckpoint", None)
    if orbax is not None:
        # On JAX its processes write one checkpoint together.
        jax = keras.config.backend() == "jax"
        (everywhere if jax else first).append(orbax.__new__(orbax))
    found = callback_state.of_this_process([*everywhere, *first])
    assert found == ([*everywhere, *first] if process == 0 else everywhere)
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(ValueError, match="hold a `ResumableTraining` where"):
        callback_state.of_this_process([backup])
