"""The callback: what is evaluated, kept, and said before the first epoch."""

import json

import keras
import numpy as np
import pytest
import tiny
from keras import ops

import keras_coconut
from keras_coconut.evaluation import answer_accuracy
from keras_coconut.evaluation.answer_accuracy import AnswerAccuracy
from keras_coconut.evaluation.problems import Evaluation, evaluate_problems

# Stage 0, 1 and 2 for an epoch each, then stage 3 with two thoughts.
CURRICULUM = keras_coconut.Curriculum(2)


def figures(accuracy):
    correct = tuple(i < round(10 * accuracy) for i in range(10))
    return Evaluation(accuracy, 0.0, 0.0, 0.0, ("7",) * 10, correct)


class Evaluated:
    """Takes the place of `evaluate_problems`, and takes no time."""

    def __init__(self):
        self.calls = []
        self.accuracies = []

    def __call__(self, model, problems, **options):
        weights = ops.convert_to_numpy(model.backbone.weights[0])
        self.calls.append({**options, "problems": problems, "weights": weights})
        return figures(self.accuracies.pop(0) if self.accuracies else 0.5)


@pytest.fixture
def text_model(small_text_model):
    return small_text_model


@pytest.fixture
def evaluated(monkeypatch):
    evaluated = Evaluated()
    monkeypatch.setattr(answer_accuracy, "evaluate_problems", evaluated)
    return evaluated


def make_dataset(model, curriculum=CURRICULUM):
    return keras_coconut.CurriculumDataset(
        tiny.problems(4), model.preprocessor, curriculum, batch_size=4
    )


def run(callback, model, epochs, first=0, dataset=None):
    """The callback's part of a `fit`; returns the logs of each epoch."""
    if dataset is not None:
        model.__dict__["_training_dataset"] = dataset
    callback.set_model(model)
    callback.set_params({"epochs": epochs, "steps": 1, "verbose": 0})
    callback.on_train_begin()
    history = []
    for epoch in range(first, epochs):
        if dataset is not None:
            dataset.set_epoch(epoch)
        callback.on_epoch_begin(epoch)
        callback.on_train_batch_begin(0)
        callback.on_epoch_end(epoch, logs := {})
        history.append(logs["val_answer_accuracy"])
    model.__dict__.pop("_training_dataset", None)
    return history


def test_answers_while_training(text_model):
    dataset = make_dataset(
        text_model, keras_coconut.Curriculum(1, extra_stage=False)
    )
    history = text_model.fit(
        dataset,
        epochs=4,
        verbose=0,
        callbacks=[
            keras_coconut.CurriculumScheduler(dataset),
            AnswerAccuracy(tiny.problems(4), every=3, max_length=6),
        ],
    ).history
    accuracy = history["val_answer_accuracy"]
    assert len(accuracy) == 4 and accuracy[0] == accuracy[1]
    expected = evaluate_problems(
        text_model, tiny.problems(4), max_length=6, verbose=0
    )
    assert accuracy[3] == expected.accuracy
    callback = AnswerAccuracy(tiny.problems(4), max_length=6)
    callback.set_model(text_model)
    callback.on_epoch_end(0, logs := {})
    assert logs["val_answer_accuracy"] == expected.accuracy


@pytest.mark.parametrize(
    ("every", "epochs", "first", "best", "expected"),
    [
        (1, 4, 0, False, [0, 1, 2, 3]),
        (3, 8, 0, False, [0, 2, 5, 7]),
        (3, 6, 0, False, [0, 2, 5]),
        (100, 6, 0, False, [0, 5]),
        # The last stage begins with epoch 3: a model of it is always kept.
        (100, 6, 0, True, [0, 3, 5]),
        (3, 8, 0, True, [0, 2, 3, 5, 7]),
        (100, 9, 6, True, [6, 8]),
        (np.int64(2), 4, 0, False, [0, 1, 3]),
    ],
)
def test_which_epochs_are_evaluated(
    text_model, tmp_path, evaluated, every, epochs, first, best, expected
):
    options = {}
    if best:
        options = dict(best_preset=tmp_path / "best", curriculum=CURRICULUM)
    callback = AnswerAccuracy(tiny.problems(2), every=every, **options)
    text_model.num_thoughts = 1
    found = []
    on_epoch_end = callback.on_epoch_end

    def watched(epoch, logs):
        before = len(evaluated.calls)
        on_epoch_end(epoch, logs)
        found.extend([epoch] * (len(evaluated.calls) - before))

    callback.on_epoch_end = watched
    history = run(callback, text_model, epochs, first)
    assert found == expected
    assert len(history) == epochs - first and None not in history
    assert (tmp_path / "best" / "validation.json").exists() == best


def test_a_second_fit_begins_anew(text_model, evaluated):
    callback = AnswerAccuracy(tiny.problems(2), every=3)
    text_model.num_thoughts = 0
    run(callback, text_model, 4)
    evaluated.accuracies = [0.2, 0.3, 0.4]
    assert run(callback, text_model, 4) == [0.2, 0.2, 0.3, 0.4]


@pytest.mark.thorough
@pytest.mark.parametrize("order", ["before", "after"])
def test_the_stages_own_number_of_thoughts(evaluated, order):
    model = tiny.shared()
    dataset = make_dataset(
        model, keras_coconut.Curriculum(1, extra_stage=False)
    )
    callbacks = [
        keras_coconut.CurriculumScheduler(dataset),
        AnswerAccuracy(tiny.problems(2), max_length=4),
        keras.callbacks.ModelCheckpoint(
            "unused.weights.h5",
            monitor="val_answer_accuracy",
            save_best_only=True,
            initial_value_threshold=2.0,
            mode="max",
        ),
        keras.callbacks.EarlyStopping(
            "val_answer_accuracy", mode="max", patience=9
        ),
    ]
    if order == "before":
        callbacks[:2] = callbacks[1::-1]
    history = model.fit(
        dataset, epochs=3, verbose=0, callbacks=callbacks
    ).history
    assert [call["num_thoughts"] for call in evaluated.calls] == [0, 1, 1]
    assert history["val_answer_accuracy"] == [0.5] * 3


def test_without_a_scheduler_the_data_says_how_often(text_model, evaluated):
    text_model.num_thoughts = 7
    run(AnswerAccuracy(tiny.problems(2)), text_model, 1)
    assert evaluated.calls[-1]["num_thoughts"] == 7
    text_model.num_thoughts = None
    callback = AnswerAccuracy(tiny.problems(2), curriculum=CURRICULUM)
    run(callback, text_model, 3)
    assert [call["num_thoughts"] for call in evaluated.calls[1:]] == [0, 1, 2]


@pytest.mark.filterwarnings("ignore:`callbacks` holds no")
def test_a_model_that_is_not_told_how_often(text_model):
    """Said at the first batch: no callback may set it any more."""
    dataset = make_dataset(text_model)
    x, y, weights = dataset[0]
    before = ops.convert_to_numpy(text_model.backbone.weights[0])
    with pytest.raises(ValueError, match="`num_thoughts` must be given"):
        text_model.fit(
            x,
            y,
            sample_weight=weights,
            verbose=0,
            callbacks=[AnswerAccuracy(tiny.problems(2))],
        )
    np.testing.assert_array_equal(
        ops.convert_to_numpy(text_model.backbone.weights[0]), before
    )


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore:`callbacks` holds no")
@pytest.mark.parametrize("fails", [False, True])
def test_the_dataset_counts_for_its_own_fit_only(evaluated, fails):
    model = tiny.shared()
    dataset = make_dataset(model)
    dataset.stage = 2

    class Fail(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if fails:
                raise KeyboardInterrupt

    def thoughts():
        return evaluated.calls[-1]["num_thoughts"]

    callbacks = [AnswerAccuracy(tiny.problems(2)), Fail()]
    model.num_thoughts = 1
    try:
        model.fit(dataset, verbose=0, callbacks=callbacks)
    except KeyboardInterrupt:
        assert fails
    assert thoughts() == 2
    # By hand, in a loop of one's own.
    run(AnswerAccuracy(tiny.problems(2)), model, 1)
    assert thoughts() == 1
    other = keras_coconut.Curriculum(3)
    run(AnswerAccuracy(tiny.problems(2), curriculum=other), model, 1)
    assert len(evaluated.calls) == 3
    # In a `fit` of arrays.
    x, y, weights = dataset[0]
    model.fit(
        x,
        y,
        sample_weight=weights,
        verbose=0,
        callbacks=[AnswerAccuracy(tiny.problems(2), curriculum=other)],
    )
    assert thoughts() == 1
    # And in one of another dataset.
    last = make_dataset(model, keras_coconut.Curriculum(1))
    model.fit(last, verbose=0, callbacks=callbacks[:1])
    assert thoughts() == 0
    with pytest.raises(ValueError, match="`curriculum` must be that of the"):
        model.fit(
            last,
            verbose=0,
            callbacks=[AnswerAccuracy(tiny.problems(2), curriculum=other)],
        )


LONG = keras_coconut.Problem("x" * 40, ["1"], "2")


@pytest.mark.parametrize(
    ("epochs", "fits"), [(7, True), (8, False), (20, False)]
)
def test_a_problem_that_will_not_fit(text_model, evaluated, epochs, fits):
    """40 letters, 2 marks, 1 token that begins the 16 of the response."""
    curriculum = keras_coconut.Curriculum(6, epochs_per_stage=1)
    dataset = make_dataset(text_model, curriculum)
    for options in (dict(dataset=dataset), {}):
        callback = AnswerAccuracy(
            [*tiny.problems(2), LONG],
            max_length=16,
            curriculum=None if options else curriculum,
        )
        if epochs == 7:
            # Up to stage 6 there are 6 thoughts, one more than fits.
            callback.max_length = 15
        text_model.num_thoughts = None
        if fits:
            run(callback, text_model, epochs, **options)
            continue
        with pytest.raises(ValueError, match="up to stage 7.*row 2") as error:
            run(callback, text_model, epochs, **options)
        assert len(str(error.value)) < 500
    assert bool(evaluated.calls) == fits


def test_it_is_said_before_the_first_epoch(text_model):
    dataset = make_dataset(text_model, keras_coconut.Curriculum(6))
    begun = []
    watch = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: begun.append(epoch)
    )
    with pytest.raises(ValueError, match="must fit the model"):
        text_model.fit(
            dataset,
            epochs=8,
            verbose=0,
            callbacks=[
                keras_coconut.CurriculumScheduler(dataset),
                watch,
                AnswerAccuracy([LONG], max_length=16),
            ],
        )
    assert not begun


def test_problems_from_a_generator(text_model, evaluated):
    text_model.num_thoughts = 0
    callback = AnswerAccuracy(problem for problem in tiny.problems(3))
    run(callback, text_model, 3)
    assert [len(call["problems"]) for call in evaluated.calls] == [3, 3, 3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(problems=[]), "`problems` must hold at least one"),
        (dict(problems=iter(())), "`problems` must hold at least one"),
        (dict(problems=3), "`problems` must be"),
        (dict(every=0), "`every` must be"),
        (dict(every=1.5), "`every` must be"),
        (dict(max_length=0), "`max_length` must be"),
        (dict(batch_size="8"), "`batch_size` must be"),
        (dict(verbose=None), "`verbose` must be"),
        (dict(best_preset="best"), "`curriculum` must be.*None"),
        (dict(best_preset="best", curriculum=3), "`curriculum` must be"),
        (dict(curriculum="coconut"), "`curriculum` must be"),
        (dict(best_preset=3, curriculum=CURRICULUM), "`best_preset` must be"),
    ],
)
def test_arguments(change, message):
    with pytest.raises(ValueError, match=message) as error:
        AnswerAccuracy(**{"problems": tiny.problems(1), **change})
    assert len(str(error.value)) < 500


def test_another_curriculum_than_the_datasets(text_model, evaluated):
    dataset = make_dataset(text_model)
    callback = AnswerAccuracy(
        tiny.problems(2), curriculum=keras_coconut.Curriculum(3)
    )
    with pytest.raises(ValueError, match="`curriculum` must be that of the"):
        run(callback, text_model, 4, dataset=dataset)
    callback = AnswerAccuracy(
        tiny.problems(2), curriculum=keras_coconut.Curriculum(2)
    )
    assert len(run(callback, text_model, 4, dataset=dataset)) == 4


# === The best model of the last stage ===


def test_the_best_of_the_last_stage_is_kept(text_model, tmp_path, evaluated):
    curriculum = keras_coconut.Curriculum(1, extra_stage=False)
    dataset = make_dataset(text_model, curriculum)
    best = tmp_path / "runs" / "best"
    best.mkdir(parents=True)
    # Left by an earlier run, which must not count.
    (best / "validation.json").write_text('{"accuracy": 1.0}')
    # The last stage begins with epoch 1; its best comes with epoch 3.
    accuracies = [1.0, 0.2, 0.1, 0.5, 0.4]
    evaluated.accuracies = list(accuracies)
    callback = AnswerAccuracy(
        tiny.problems(1), best_preset=best, curriculum=curriculum
    )
    history = text_model.fit(
        dataset,
        epochs=5,
        verbose=0,
        callbacks=[
            keras_coconut.CurriculumScheduler(dataset),
            callback,
            keras.callbacks.TensorBoard(str(tmp_path / "logs")),
        ],
    )
    assert history.history["val_answer_accuracy"] == accuracies
    kept = keras_coconut.ContinuousThoughtLM.from_preset(str(best))
    np.testing.assert_array_equal(
        ops.convert_to_numpy(kept.backbone.weights[0]),
        evaluated.calls[3]["weights"],
    )
    found = json.loads((best / "validation.json").read_text())
    assert Evaluation.from_dict(found).accuracy == 0.5
    written = b"".join(
        path.read_bytes() for path in tmp_path.glob("logs/validation/*")
    )
    assert b"answer_accuracy" in written


@pytest.fixture
def best(tmp_path):
    return tmp_path / "runs" / "best"


def keeping(best, **options):
    return AnswerAccuracy(
        tiny.problems(2), best_preset=best, curriculum=CURRICULUM, **options
    )


def kept_accuracy(best):
    return json.loads((best / "validation.json").read_text())["accuracy"]


def test_a_fit_that_resumes_goes_on_from_the_best(text_model, best, evaluated):
    text_model.num_thoughts = 2
    evaluated.accuracies = [0.1, 0.2, 0.3, 0.6]
    run(keeping(best), text_model, 4)
    assert kept_accuracy(best) == 0.6
    evaluated.accuracies = [0.5, 0.6]
    run(keeping(best), text_model, 6, first=4)
    assert kept_accuracy(best) == 0.6
    evaluated.accuracies = [0.7, 0.5]
    run(keeping(best), text_model, 8, first=6)
    assert kept_accuracy(best) == 0.7
    # A new run does not have to beat it.
    evaluated.accuracies = [0.1, 0.2, 0.3, 0.4]
    run(keeping(best), text_model, 4)
    assert kept_accuracy(best) == 0.4


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"accuracy": 0.5}',
        json.dumps({**figures(0.5).to_dict(), "accuracy": "0.5"}),
        json.dumps({**figures(0.5).to_dict(), "accuracy": float("nan")}),
        json.dumps({**figures(0.5).to_dict(), "accuracy": 0.6}),
    ],
)
def test_damaged_figures_are_named(text_model, best, evaluated, text):
    text_model.num_thoughts = 2
    run(keeping(best), text_model, 4)
    (best / "validation.json").write_text(text)
    evaluated.calls.clear()
    with pytest.raises(ValueError, match=r"validation\.json") as error:
        run(keeping(best), text_model, 6, first=4)
    assert len(str(error.value)) < 500
    assert not evaluated.calls
    # A new run replaces them.
    run(keeping(best), text_model, 4)
    assert kept_accuracy(best) == 0.5


def test_a_fit_too_short_for_the_last_stage(text_model, best, evaluated):
    text_model.num_thoughts = 0
    with pytest.warns(UserWarning, match="`epochs` must be at least 4 for `be"):
        run(keeping(best), text_model, 3)
    assert not (best / "validation.json").exists()
    run(keeping(best, every=50), text_model, 4)  # A warning is an error here.
    assert kept_accuracy(best) == 0.5


@pytest.mark.parametrize(
    "where", ["runs", "runs/best", "runs/best/validation.json"]
)
def test_a_folder_that_cannot_be_written(
    text_model, tmp_path, best, evaluated, where
):
    text_model.num_thoughts = 0
    # A file where a folder is needed, or a folder where a file is.
    if where.endswith("json"):
        (tmp_path / where).mkdir(parents=True)
    else:
        (tmp_path / where).parent.mkdir(exist_ok=True)
        (tmp_path / where).write_text("")
    with pytest.raises(OSError, match="runs"):
        run(keeping(best), text_model, 4)
    assert not evaluated.calls


def test_data_that_stays_at_stage_0_is_not_the_last(
    text_model, best, evaluated
):
    dataset = make_dataset(text_model)
    dataset.set_epoch = lambda epoch: None
    run(keeping(best), text_model, 5, dataset=dataset)
    assert {call["num_thoughts"] for call in evaluated.calls} == {0}
    assert not (best / "validation.json").exists()


def test_silent_within_fit_unless_asked(text_model, capsys):
    text_model.num_thoughts = 1
    options = dict(problems=tiny.problems(2), max_length=3)
    run(AnswerAccuracy(**options), text_model, 1)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""
    run(AnswerAccuracy(**options, verbose="auto"), text_model, 1)
    assert "evaluate: 2/2 problems" in capsys.readouterr().out


def test_a_model_that_is_not_finite_is_not_kept(
    text_model, tmp_path, evaluated, caplog
):
    evaluated.accuracies = [0.1, 0.2, 0.3, 0.4, 0.9]
    best = tmp_path / "best"
    callback = AnswerAccuracy(
        tiny.problems(4), best_preset=best, curriculum=CURRICULUM
    )
    run(callback, text_model, 4)
    kept = json.loads((best / "validation.json").read_text())
    assert kept["accuracy"] == 0.4
    weight = text_model.backbone.weights[3]
    values = np.array(ops.convert_to_numpy(weight))
    values.flat[0] = np.nan
    weight.assign(values)
    callback.on_epoch_begin(4)
    callback.on_epoch_end(4, {})
    assert json.loads((best / "validation.json").read_text()) == kept
    assert weight.path in caplog.text and "are finite" in caplog.text


# Stage 1, the last, begins with one thought in epoch 2.
ONE_BY_ONE = keras_coconut.Curriculum(
    1,
    thoughts_per_step=2,
    epochs_per_stage=2,
    extra_stage=False,
    one_thought_at_a_time=True,
)


def test_a_stage_that_has_its_thoughts_later(text_model, best, evaluated):
    dataset = make_dataset(text_model, ONE_BY_ONE)

    def callback():
        return AnswerAccuracy(
            tiny.problems(2), every=9, best_preset=best, curriculum=ONE_BY_ONE
        )

    with pytest.warns(UserWarning, match="`epochs` must be at least 4 for"):
        run(callback(), text_model, 3, dataset=dataset)
    assert not (best / "validation.json").exists()
    evaluated.accuracies = [0.5, 0.6]
    run(callback(), text_model, 4, dataset=dataset)
    assert kept_accuracy(best) == 0.6
    # What an earlier run left does not count where the last thought begins.
    evaluated.accuracies = [0.2]
    run(callback(), text_model, 4, first=3, dataset=dataset)
    assert kept_accuracy(best) == 0.2
