"""A run that is interrupted, or killed, and resumed is the undisturbed run."""

import datetime
import json
import os
import shutil

import keras
import killed_run
import numpy as np
import pytest
import tiny
from keras import ops

import keras_coconut

BACKEND = keras.config.backend()
# Stages 0, 1 and the extra one, two epochs each, of three steps.
CURRICULUM = keras_coconut.Curriculum(
    max_stage=1, epochs_per_stage=2, mixing_probability=0.3
)
EPOCHS, STEPS = 6, 3


class Interruption(Exception):
    pass


class InterruptAt(keras.callbacks.Callback):
    """Ends a `fit` before a step, counted from 0 in the whole run."""

    async_safe = True

    def __init__(self, step):
        super().__init__()
        self.step = step

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if self.epoch * STEPS + batch == self.step:
            raise Interruption


def make(dropout=0.2, problems=12, optimizer=None, **kwargs):
    keras.utils.set_random_seed(3)
    model = tiny.text_model(layers=1, dropout=dropout)
    kwargs = {"batch_size": 4, "seed": 1, **kwargs}
    dataset = keras_coconut.CurriculumDataset(
        tiny.problems(problems), model.preprocessor, CURRICULUM, **kwargs
    )
    tiny.compiled(model, optimizer or keras.optimizers.AdamW(3e-2))
    return model, dataset


def train(folder, step=-1, callbacks=(), options=None, made=None, **kwargs):
    model, dataset = made or make()
    options = {"every": 2, **(options or {})}
    history = model.fit(
        dataset,
        epochs=EPOCHS,
        verbose=0,
        callbacks=[
            keras_coconut.CurriculumScheduler(dataset),
            *callbacks,
            InterruptAt(step),
            keras_coconut.ResumableTraining(folder, **options),
        ],
        **kwargs,
    )
    return model, history


def interrupted(folder, step, **kwargs):
    with pytest.raises(Interruption):
        train(folder, step, **kwargs)


def values(model):
    variables = [*model.variables, *model.optimizer.variables]
    return [np.array(ops.convert_to_numpy(v)) for v in variables]


def assert_same(one, other):
    for mine, theirs in zip(values(one), values(other), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return train(tmp_path_factory.mktemp("undisturbed"))


def test_saving_changes_nothing(undisturbed):
    model, dataset = make()
    history = model.fit(
        dataset,
        epochs=EPOCHS,
        verbose=0,
        callbacks=[keras_coconut.CurriculumScheduler(dataset)],
    )
    assert history.history == undisturbed[1].history
    assert_same(model, undisturbed[0])


# Before anything, inside epochs, at their beginning, and inside the first epoch
# of a stage, at whose beginning the optimizer starts anew.
@pytest.mark.parametrize(
    "steps",
    [
        [3, 7, 8],
        pytest.param([0, 5], marks=pytest.mark.thorough),
        pytest.param([17], marks=pytest.mark.thorough),
    ],
)
def test_interrupted_and_resumed(tmp_path, undisturbed, steps):
    for step in steps:
        interrupted(tmp_path, step)
    model, history = train(tmp_path)
    assert history.history == undisturbed[1].history
    assert history.epoch == list(range(EPOCHS))
    json.dumps(history.history)  # As what Keras puts there.
    assert_same(model, undisturbed[0])


@pytest.mark.thorough
def test_promoted_and_resumed(tmp_path):
    """The stage follows from figures, of which a resumed run knows nothing."""

    def run(folder, step=-1):
        keras.utils.set_random_seed(3)
        model = tiny.text_model(layers=1, dropout=0.2)
        curriculum = keras_coconut.Curriculum(
            max_stage=1,
            thoughts_per_step=2,
            epochs_per_stage=3,
            one_thought_at_a_time=True,
        )
        dataset, validation = (
            keras_coconut.CurriculumDataset(
                tiny.problems(12), model.preprocessor, curriculum, batch_size=4
            )
            for _ in range(2)
        )
        tiny.compiled(model, keras.optimizers.AdamW(3e-2))
        history = model.fit(
            dataset,
            epochs=EPOCHS,
            verbose=0,
            validation_data=validation,
            callbacks=[
                keras_coconut.CurriculumScheduler(
                    dataset,
                    validation,
                    promote_after=1,
                    monitor="val_masked_accuracy",
                ),
                # Never better after the first epoch of a stage.
                keras.callbacks.LambdaCallback(
                    on_epoch_end=lambda epoch, logs: logs.update(
                        val_masked_accuracy=0.0
                    )
                ),
                InterruptAt(step),
                keras_coconut.ResumableTraining(folder, every=2),
            ],
        )
        return model, history

    model, history = run(tmp_path / "undisturbed")
    assert history.history["stage"] == [0, 0, 1, 1, 1, 2]
    assert history.history["thoughts"] == [0, 0, 1, 2, 2, 2]
    # Inside the second epochs of stages, at their beginning, inside the first.
    for step in (4, 6, 8, 12, 14, 17):
        with pytest.raises(Interruption):
            run(tmp_path / "killed", step)
    again, resumed = run(tmp_path / "killed")
    assert resumed.history == history.history
    assert_same(again, model)


def test_killed_and_resumed(tmp_path):
    undisturbed = killed_run.finish(tmp_path / "undisturbed")
    folder = tmp_path / "killed"
    # In a step, with half a save written, and behind a validation.
    moments = ("step 8", "save 3", "epoch 5")
    for when in moments if BACKEND == "torch" else moments[:2]:
        assert killed_run.kill(folder, when), when
    resumed = killed_run.finish(folder)
    for result in (undisturbed, resumed):
        del result["seconds"]
    assert resumed == undisturbed


@pytest.mark.thorough
def test_a_finished_run_is_not_trained_again(tmp_path, undisturbed):
    trained, _ = train(tmp_path)
    taken = []
    callback = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: taken.append(batch)
    )
    model, history = train(
        tmp_path,
        callbacks=[callback],
        options={"allow_changes": "callbacks"},
    )
    assert not taken
    assert history.history == undisturbed[1].history
    assert model.num_thoughts == CURRICULUM.num_thoughts(CURRICULUM.last_stage)
    assert_same(model, trained)


@pytest.mark.thorough
def test_a_run_that_stopped_early_is_finished(tmp_path):
    def stopping():
        return keras.callbacks.EarlyStopping("stage", mode="min", patience=1)

    _, history = train(tmp_path, callbacks=[stopping()])
    assert len(history.epoch) == 2
    _, again = train(tmp_path, callbacks=[stopping()])
    assert again.history == history.history


@pytest.mark.thorough
def test_callbacks_hear_of_each_step_once(tmp_path):
    class Heard(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.began, self.ended = [], []

        def on_train_batch_begin(self, batch, logs=None):
            self.began.append(batch)

        def on_train_batch_end(self, batch, logs=None):
            self.ended.append((batch, sorted(logs)))

    interrupted(tmp_path, 5, callbacks=[Heard()])
    heard = Heard()
    train(tmp_path, callbacks=[heard])
    # The save was made before step 4; what was heard until then came back.
    assert heard.began == [0, 1, 2] * EPOCHS
    assert [batch for batch, _ in heard.ended] == heard.began
    assert {tuple(logs) for _, logs in heard.ended} == {
        ("loss", "sparse_categorical_accuracy", "stage", "thoughts")
    }


@pytest.mark.thorough
def test_logs_hold_each_epoch_once(tmp_path):
    def logging():
        return [
            keras.callbacks.CSVLogger(str(tmp_path / "log.csv"), append=True),
            keras.callbacks.TensorBoard(
                str(tmp_path / "logs"), write_graph=False, update_freq=1
            ),
        ]

    # The save was made before step 10, within epoch 3.
    interrupted(tmp_path / "saves", 13, callbacks=logging(), **EVERY_5)
    train(tmp_path / "saves", callbacks=logging(), **EVERY_5)
    rows = (tmp_path / "log.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == [
        "epoch",
        *map(str, range(EPOCHS)),
    ]
    steps = scalars(tmp_path / "logs" / "train")
    assert steps["epoch_loss"] == list(range(EPOCHS))
    # Keras counts batches from 1.
    assert steps["batch_loss"] == [1 + i for i in range(EPOCHS * STEPS)]


EVERY_5 = {"options": {"every": 5}}


def scalars(folder):
    """The steps of each scalar in TensorBoard's files, in order."""
    from tensorboard.backend.event_processing import event_file_loader

    found = {}
    for path in sorted(folder.iterdir(), key=os.path.getmtime):
        for event in event_file_loader.EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                found.setdefault(value.tag, []).append(event.step)
    return found


@pytest.mark.thorough
def test_every_so_often(tmp_path):
    numbers = []

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            names = [n for n in os.listdir(tmp_path) if n.startswith("save-")]
            numbers.append(max(int(name.split("-")[1]) for name in names))

    options = {"every": datetime.timedelta(days=1), "keep": 1}
    train(tmp_path, callbacks=[Look()], options=options)
    assert numbers == [0] * EPOCHS
    (save,) = (n for n in os.listdir(tmp_path) if n.startswith("save-"))
    assert int(save.split("-")[1]) == EPOCHS * STEPS


def test_a_save_opens_on_another_backend(tmp_path):
    """The steps that follow a save of another backend are as they were."""
    other = {"torch": "jax", "jax": "tensorflow", "tensorflow": "torch"}[
        BACKEND
    ]
    without = {"KILLED_RUN_DROPOUT": "0"}
    there = killed_run.finish(
        tmp_path / "there",
        KERAS_BACKEND=other,
        KILLED_RUN_KEEP="99",
        **without,
    )
    # As if it had been killed behind step 8, before a model was the best.
    shutil.copytree(
        tmp_path / "there",
        tmp_path / "here",
        ignore=shutil.ignore_patterns("best", "result.json"),
    )
    saves = sorted((tmp_path / "here" / "saves").glob("save-*"))
    numbers = [int(save.name.split("-")[1]) for save in saves]
    assert numbers[:5] == [0, 2, 4, 6, 8]
    for save in saves[5:]:
        save.unlink()
    here = killed_run.finish(tmp_path / "here", **without)
    assert here["epochs"] == there["epochs"]
    # The epoch in which it was killed, and the one after it.
    for epoch in (1, 2):
        assert here["history"]["loss"][epoch] == pytest.approx(
            there["history"]["loss"][epoch], abs=1e-4
        )


class FallingRate(keras.callbacks.Callback):
    """Halves the learning rate behind every epoch."""

    def on_epoch_end(self, epoch, logs=None):
        rate = float(ops.convert_to_numpy(self.model.optimizer.learning_rate))
        self.model.optimizer.learning_rate = rate / 2


def test_the_same_fit_again_in_one_process(tmp_path, capsys):
    """With the model and the optimizer of the run that was interrupted."""
    undisturbed, history = train(
        tmp_path / "undisturbed", callbacks=[FallingRate()]
    )
    made = make()
    for step in (8, 13):
        interrupted(
            tmp_path / "run", step, callbacks=[FallingRate()], made=made
        )
    capsys.readouterr()
    # A rate that the user sets is another run's.
    optimizer = made[0].optimizer
    left = float(ops.convert_to_numpy(optimizer.learning_rate))
    optimizer.learning_rate = 0.5
    with pytest.raises(ValueError, match="learning_rate=.*0.5"):
        train(tmp_path / "run", callbacks=[FallingRate()], made=made)
    optimizer.learning_rate = left
    for said in ("resumes epoch 5 at step 1 ", "has finished, in epoch 6"):
        model, again = train(
            tmp_path / "run", callbacks=[FallingRate()], made=made
        )
        assert again.history == history.history
        assert_same(model, undisturbed)
        assert said in capsys.readouterr().err


def test_the_training_data_as_validation(tmp_path):
    """None of its batches is skipped there, where those of the epoch are."""

    def run(folder, step=-1):
        model, dataset = make()
        return train(
            folder, step, made=(model, dataset), validation_data=dataset
        )

    _, history = run(tmp_path / "undisturbed")
    with pytest.raises(Interruption):
        run(tmp_path / "run", 8)
    _, again = run(tmp_path / "run")
    assert again.history == history.history


def test_executions_of_another_number_of_steps(tmp_path):
    if BACKEND == "torch":
        pytest.skip("Keras runs one step at a time on PyTorch")

    def made(count):
        model, dataset = make()
        return tiny.compiled(model, steps_per_execution=count), dataset

    options = {"allow_changes": ["optimizer"], "every": 2}
    _, history = train(tmp_path / "undisturbed", made=made(2), options=options)
    # In the second, partial execution of the third epoch.
    interrupted(tmp_path / "run", 8, made=made(2), options=options)
    with pytest.raises(ValueError, match="after step 2 .*execution`=3"):
        train(tmp_path / "run", made=made(3), options=options)
    _, again = train(tmp_path / "run", made=made(2), options=options)
    assert again.history == history.history


# === What is refused ===


@pytest.mark.thorough
@pytest.mark.parametrize(
    "made, named",
    [
        (dict(problems=11), "problems"),
        (dict(seed=2), "batches"),
        (dict(batch_size=6), "batches"),
        (dict(dropout=0.1), "backbone"),
        (dict(optimizer=keras.optimizers.Adam(3e-2)), "optimizer"),
        (dict(optimizer=keras.optimizers.AdamW(1e-2)), "optimizer"),
    ],
)
def test_the_saves_of_another_run(tmp_path, made, named):
    interrupted(tmp_path, 1)
    before = sorted(os.listdir(tmp_path))
    model, dataset = make(**made)
    start = model.get_weights()
    with pytest.raises(ValueError, match=f"`{named}` was .* and is") as error:
        train(tmp_path, made=(model, dataset))
    assert "delete this one to begin anew" in str(error.value)
    for one, other in zip(model.get_weights(), start, strict=True):
        np.testing.assert_array_equal(one, other)
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.thorough
def test_a_change_that_is_allowed(tmp_path):
    interrupted(tmp_path, 5)
    optimizer = keras.optimizers.AdamW(1e-3)
    _, history = train(
        tmp_path,
        made=make(optimizer=optimizer),
        options={"allow_changes": ["optimizer"]},
    )
    assert float(optimizer.learning_rate) == pytest.approx(1e-3)
    assert history.epoch == list(range(EPOCHS))


@pytest.mark.thorough
def test_a_rate_that_fell_stays_where_something_else_changes(tmp_path):
    interrupted(tmp_path, 8, callbacks=[FallingRate()])
    optimizer = keras.optimizers.AdamW(3e-2, weight_decay=0.1)
    _, _ = train(
        tmp_path,
        callbacks=[FallingRate()],
        made=make(optimizer=optimizer),
        options={"allow_changes": ["optimizer"]},
    )
    rate = float(ops.convert_to_numpy(optimizer.learning_rate))
    assert rate == pytest.approx(3e-2 / 2**EPOCHS)


@pytest.mark.thorough
def test_weights_that_train_no_more(tmp_path):
    interrupted(tmp_path, 1)
    model, dataset = make()
    model.backbone.token_embedding.trainable = False
    model.compile(keras.optimizers.AdamW(3e-2))
    with pytest.raises(ValueError, match="`trainable` was"):
        train(tmp_path, made=(model, dataset))


@pytest.mark.thorough
def test_a_damaged_save(tmp_path):
    interrupted(tmp_path, 5)
    newest = max(tmp_path.glob("*.save"))
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    with pytest.raises(ValueError, match=newest.name):
        train(tmp_path)
    newest.unlink()
    interrupted(tmp_path, 5)


@pytest.mark.thorough
def test_callbacks_that_do_not_go_with_it(tmp_path):
    model, dataset = make()
    saving = keras_coconut.ResumableTraining(tmp_path)

    def fit(x, callbacks):
        callbacks = [*callbacks, keras_coconut.CurriculumScheduler(dataset)]
        model.fit(x, epochs=EPOCHS, callbacks=callbacks, verbose=0)

    given = [keras_coconut.CurriculumScheduler(dataset), saving]
    given = keras.callbacks.CallbackList(given, model=model)
    with pytest.raises(ValueError, match="a list with `ResumableTraining`"):
        model.fit(dataset, callbacks=given, verbose=0)
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    for others in ([backup], [keras_coconut.ResumableTraining(tmp_path)]):
        with pytest.raises(ValueError, match="one callback that resumes"):
            fit(dataset, [saving, *others])
    with pytest.raises(ValueError, match="needs `ContinuousThoughtLM.fit`"):
        fit(dataset[0][0], [saving])
    log = keras.callbacks.CSVLogger(str(tmp_path / "log.csv"))
    with pytest.raises(ValueError, match="`append=True`"):
        fit(dataset, [saving, log])


@pytest.mark.thorough
def test_two_runs_in_one_folder(tmp_path):
    class Second(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            with pytest.raises(ValueError, match="must not be in use"):
                train(tmp_path)

    interrupted(tmp_path, 1, callbacks=[Second()])


@pytest.mark.thorough
@pytest.mark.parametrize(
    "arguments",
    [
        {"every": 0},
        {"every": 1.5},
        {"every": datetime.timedelta(0)},
        {"keep": 0},
        {"allow_changes": "weights"},
        {"folder": 1},
    ],
)
def test_arguments(tmp_path, arguments):
    (name,) = arguments
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        keras_coconut.ResumableTraining(**{"folder": tmp_path, **arguments})


@pytest.mark.thorough
def test_the_folder_is_looked_at_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        train(tmp_path / "file" / "saves")


@pytest.mark.thorough
def test_a_log_that_was_cut(tmp_path):
    def logging():
        return [keras.callbacks.CSVLogger(str(tmp_path / "a.csv"), append=True)]

    interrupted(tmp_path / "saves", 8, callbacks=logging())
    (tmp_path / "a.csv").write_text("")
    with pytest.raises(ValueError, match="a.csv` must hold what it held"):
        train(tmp_path / "saves", callbacks=logging())


# === What a second look found ===


def losses_of(values):
    """Takes the place of the logged loss, epoch by epoch."""

    class Told(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["told"] = values[epoch]

    return Told()


@pytest.mark.thorough
def test_patience_counts_on(tmp_path):
    """An improvement that is too small stays one."""

    def stopping():
        callback = keras.callbacks.EarlyStopping(
            "told", mode="min", min_delta=0.01, patience=2
        )
        # The third epoch is the second without an improvement.
        return [losses_of([1.0, 0.995, 0.992, 0.99, 0.98, 0.97]), callback]

    interrupted(tmp_path, 4, callbacks=stopping())
    _, history = train(tmp_path, callbacks=stopping())
    assert len(history.epoch) == 3


@pytest.mark.thorough
def test_other_logs_stay(tmp_path):
    """Those of another run, and of a callback that was not there."""
    other = tmp_path / "logs" / "other"
    other.mkdir(parents=True)
    (other / "events.out.tfevents.1.host.1.0.v2").write_text("another run's")
    log = tmp_path / "log.csv"
    log.write_text("epoch,loss\n")

    def board():
        return keras.callbacks.TensorBoard(str(tmp_path / "logs"))

    interrupted(tmp_path / "saves", 5, callbacks=[board()])
    with open(other / "events.out.tfevents.1.host.1.0.v2", "a") as file:
        file.write(" and more")
    logger = keras.callbacks.CSVLogger(str(log), append=True)
    interrupted(tmp_path / "saves", 7, callbacks=[board(), logger])
    (kept,) = other.iterdir()
    assert kept.read_text() == "another run's and more"
    assert log.read_text().startswith("epoch,loss\n")


@pytest.mark.thorough
def test_an_epoch_that_became_shorter(tmp_path):
    interrupted(tmp_path, 2)
    with pytest.raises(ValueError, match="which has 2 now"):
        train(
            tmp_path,
            made=make(batch_size=6),
            options={"allow_changes": "batches"},
        )


@pytest.mark.thorough
def test_a_rate_that_each_epoch_lowers(tmp_path):
    def lowering(rates):
        def lower(epoch, rate):
            rates.append(rate)
            return rate * 0.5

        return [keras.callbacks.LearningRateScheduler(lower)]

    soon = {"every": datetime.timedelta(microseconds=1)}
    undisturbed, rates = [], []
    train(tmp_path / "a", callbacks=lowering(undisturbed), options=soon)
    for step in (3, 6):
        interrupted(tmp_path / "b", step, callbacks=lowering([]), options=soon)
    train(tmp_path / "b", callbacks=lowering(rates), options=soon)
    assert rates == undisturbed[2:]


@pytest.mark.thorough
def test_another_dtype(tmp_path):
    interrupted(tmp_path, 1)
    model = tiny.text_model(layers=1, dropout=0.2, dtype="mixed_bfloat16")
    made = tiny.compiled(model, keras.optimizers.AdamW(3e-2)), make()[1]
    with pytest.raises(ValueError, match="`backbone` was .*float32.* and is"):
        train(tmp_path, made=made)


@pytest.mark.thorough
def test_one_callback_without_a_list():
    model, dataset = make()
    scheduler = keras_coconut.CurriculumScheduler(dataset)
    model.fit(dataset, epochs=EPOCHS, callbacks=scheduler, verbose=0)


@pytest.mark.thorough
def test_workers_leave_the_lock(tmp_path):
    """They outlive a run that is killed."""
    import multiprocessing

    from keras_coconut.training.saves import Saves

    saves = Saves(str(tmp_path), 2)
    context = multiprocessing.get_context("fork")
    begun, ends = context.Event(), context.Event()

    def work():
        begun.set()
        ends.wait()

    with np.testing.suppress_warnings() as quiet:
        quiet.filter(RuntimeWarning)
        quiet.filter(DeprecationWarning)
        worker = context.Process(target=work)
        worker.start()
    begun.wait()
    saves._lock.close()  # As the death of this process does.
    try:
        Saves(str(tmp_path), 2).close()
    finally:
        ends.set()
        worker.join()
