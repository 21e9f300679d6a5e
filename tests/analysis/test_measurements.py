"""The callback: what is measured when, logged, written and resumed."""

import builtins
import dataclasses
import glob
import io
import itertools
import math
from typing import NamedTuple

import keras
import numpy as np
import pytest
import tiny
from keras import ops

import keras_coconut
from keras_coconut.analysis.causal.minimal_pairs import make_minimal_pairs
from keras_coconut.analysis.monitoring import logged_values
from keras_coconut.analysis.monitoring.logged_values import read_result
from keras_coconut.analysis.monitoring.measurements import Measurements
from keras_coconut.evaluation.statistics import Interval, Share

any_backend = pytest.mark.any_backend
PROBLEMS = tiny.problems(4)
# Stages 0, 1 and 2 for an epoch each.
CURRICULUM = keras_coconut.Curriculum(2, extra_stage=False)


def figure():
    import matplotlib.figure

    drawn = matplotlib.figure.Figure(figsize=(2, 1))
    drawn.subplots().plot([1, 2])
    return drawn


def evaluation(accuracy):
    return keras_coconut.Evaluation(
        accuracy, 0.0, 3.0, 0.1, ("7",) * 2, (accuracy > 0.5,) * 2
    )


def make_dataset(model, curriculum=CURRICULUM):
    return keras_coconut.CurriculumDataset(
        PROBLEMS, model.preprocessor, curriculum, batch_size=4
    )


def fit(model, *callbacks, dataset=None, epochs=3, **options):
    dataset = dataset or make_dataset(model)
    return model.fit(
        dataset,
        epochs=epochs,
        verbose=0,
        callbacks=[keras_coconut.CurriculumScheduler(dataset), *callbacks],
        **options,
    ).history


def run(callback, epochs, first=0):
    """The callback's part of a `fit` of a model that is none."""
    callback.set_model(None)
    callback.set_params({"epochs": epochs})
    callback.on_train_begin()
    history = []
    for epoch in range(first, epochs):
        callback.on_epoch_begin(epoch)
        callback.on_epoch_end(epoch, logs := {"loss": 1.0})
        history.append(logs)
    return history


# === What is logged of a result ===


class Pair(NamedTuple):
    share: Share
    count: int


@dataclasses.dataclass(frozen=True)
class Result:
    accuracy: Share
    slots: tuple
    values: np.ndarray
    control: object = None


@any_backend
@pytest.mark.parametrize(
    ("result", "numbers"),
    [
        (0.5, {"m": 0.5}),
        (np.float32(0.5), {"m": 0.5}),
        (np.array(3), {"m": 3.0}),
        (True, {"m": 1.0}),
        (10**400, {"m": math.inf}),
        (Share(0.25, 0.1, 0.4, 8), {"m": 0.25}),
        (Interval(0.5, 0.1), {"m": 0.5}),
        (evaluation(0.75), {"m": 0.75}),
        (
            {"noise": evaluation(0.5), "other one": 1},
            {"m_noise": 0.5, "m_other_one": 1.0},
        ),
        (
            {2: (evaluation(1.0), {"path": 0.5})},
            {"m_2": 1.0, "m_2_path": 0.5},
        ),
        (Pair(Share(0.5, 0, 1, 2), 3), {"m_share": 0.5, "m_count": 3.0}),
        (
            Result(
                Share(0.5, 0, 1, 2),
                (Interval(1.0, 0.1), Interval(2.0, 0.1)),
                np.ones(3),
                Result(Share(0.25, 0, 1, 2), (), np.ones(2)),
            ),
            {
                "m_accuracy": 0.5,
                "m_slots_0": 1.0,
                "m_slots_1": 2.0,
                "m_control_accuracy": 0.25,
            },
        ),
        ({"a": [1, 2, 3], "b": np.ones(2), "c": [{"x": 1}] * 33}, None),
        (["1", "2"] * 250, None),
        (make_minimal_pairs(keras_coconut.make_arithmetic(12)).pairs, None),
        (keras_coconut.make_arithmetic(2), None),
        ({}, {}),
        (None, None),
        (object(), None),
        ([], None),
        ({"a": {"b c": 1}, "a_b": {"c": 2}}, None),
    ],
    ids=tiny.short,
)
def test_numbers_of_a_result(result, numbers):
    if numbers is None:
        with pytest.raises(ValueError, match="`measures"):
            read_result("m", result)
        return
    logged = read_result("m", result)
    assert logged.numbers == numbers
    assert all(type(value) is float for value in logged.numbers.values())


def test_a_tensor_is_a_number():
    tensor = ops.convert_to_tensor(0.5)
    assert read_result("m", {"t": tensor}).numbers == {"m_t": 0.5}


@any_backend
def test_samples_texts_and_figures_of_a_result():
    drawn = figure()
    found = keras_coconut.SampledEvaluation(
        2, 0.25, 0.5, {1: 0.25, 2: 0.5}, 3.0, 0.1, (("a", "b"),), (), ("a",)
    )
    logged = read_result(
        "m", {"s": found, "t": "text", "l": ["a", "b"], "f": drawn}
    )
    assert logged.numbers == {
        "m_s": 0.25,
        "m_s_majority": 0.5,
        "m_s_pass_at_1": 0.25,
        "m_s_pass_at_2": 0.5,
    }
    assert logged.texts == {"m_t": "text", "m_l": "a\n\nb"}
    assert logged.figures == {"m_f": drawn}


# === When ===


@any_backend
@pytest.mark.parametrize(
    ("every", "epochs", "first", "expected"),
    [
        (1, 3, 0, [0, 1, 2]),
        (3, 8, 0, [0, 2, 5, 7]),
        (100, 6, 2, [2, 5]),
        (np.int64(2), 4, 0, [0, 1, 3]),
    ],
)
def test_which_epochs_are_measured(every, epochs, first, expected):
    measured = itertools.count()
    callback = Measurements({"n": lambda _: next(measured)}, every, verbose=0)
    history = run(callback, epochs, first)
    values = [logs["val_n"] for logs in history]
    found = [
        epoch
        for epoch, (value, before) in enumerate(
            zip(values, [None, *values]), first
        )
        if value != before
    ]
    assert found == expected
    for epoch, logs in enumerate(history, first):
        assert (logs["measurements_seconds"] > 0) == (epoch in expected)
        assert (logs["measurements_share"] > 0) == (epoch in expected)


@any_backend
def test_the_cost_is_printed(capsys, monkeypatch):
    clock = itertools.count(step=3)
    monkeypatch.setattr(
        "keras_coconut.analysis.monitoring.measurements.time.perf_counter",
        lambda: next(clock),
    )
    callback = Measurements({"a": lambda _: 1, "b": lambda _: 2})
    (logs,) = run(callback, 1)
    assert logs["measurements_seconds"] == 3
    assert logs["measurements_share"] == 1
    assert capsys.readouterr().out == (
        "\nepoch 1: measuring a, b took 3.0s, 100% of the 3.0s of the epoch "
        "itself\n"
    )


@any_backend
def test_what_another_callback_takes_is_not_the_epochs_own(capsys, monkeypatch):
    clock = iter(range(0, 1000, 3))
    monkeypatch.setattr(
        "keras_coconut.analysis.monitoring.measurements.time.perf_counter",
        lambda: next(clock),
    )
    first, second = (Measurements({"m": lambda _: 1}) for _ in range(2))
    second.measures = {"n": lambda _: 2}
    logs = {}
    for callback in (first, second):
        callback.on_train_begin()
        callback.on_epoch_begin(0)
    for callback in (first, second):
        callback.on_epoch_end(0, logs)
    # Of 6 s and, for the second, of 9 s less the 3 s of the first.
    assert logs["measurements_seconds"] == 6
    assert logs["measurements_share"] == 0.5 + 0.5
    assert "50% of the 6.0s" in capsys.readouterr().out.splitlines()[-1]


@any_backend
def test_a_number_that_is_gone_is_nan():
    results = iter([{"a": 1, "b": 2}, {"a": 3}, {"a": 4, "b": 5, "c": 6}])
    history = run(Measurements({"m": lambda _: next(results)}, verbose=0), 3)
    assert [logs["val_m_a"] for logs in history] == [1, 3, 4]
    assert [history[0]["val_m_b"], history[2]["val_m_b"]] == [2, 5]
    assert math.isnan(history[1]["val_m_b"])
    assert "val_m_c" not in history[1]


@any_backend
def test_taken_names_and_failing_measures():
    for measures, text in (
        ({"a": lambda _: {"b": 1}, "a_b": lambda _: 2}, "'a_b'"),
        ({"n": lambda _: None}, r"`measures\['n'\]`"),
    ):
        with pytest.raises(ValueError, match=text):
            run(Measurements(measures, verbose=0), 1)
    callback = Measurements({"loss": lambda _: 1}, verbose=0)
    callback.set_model(None)
    callback.on_train_begin()
    with pytest.raises(ValueError, match="'val_loss'"):
        callback.on_epoch_end(0, {"val_loss": 1.0})
    callback = Measurements({"bad": lambda _: 1 / 0}, verbose=0)
    with pytest.raises(ZeroDivisionError) as error:
        run(callback, 1)
    assert error.value.__notes__ == ["The measure is measures['bad']."]


# === In a fit ===


@any_backend
def test_ready_measures_of_each_stage(text_model, tmp_path):
    thoughts = []
    callback = Measurements(
        {
            "controls": "controls",
            "decoded": "decoded_thoughts",
            "alike": "thought_cosines",
            "thoughts": lambda model: thoughts.append(model.num_thoughts) or 1,
        },
        problems=PROBLEMS,
        max_length=4,
        log_dir=tmp_path,
        verbose=0,
    )
    history = fit(text_model, callback)
    assert thoughts == [0, 1, 2]
    expected = keras_coconut.evaluate_controls(
        text_model, PROBLEMS, num_thoughts=2, max_length=4, verbose=0
    )
    for name, found in expected.items():
        values = history[f"val_controls_{name}"]
        # Nothing is thought at first.
        assert math.isnan(values[0]) and len(values) == 3
        assert values[2] == found.accuracy
    lines = callback.results["decoded"].splitlines()
    assert len(lines) == 2 + 3 * 2
    ((_, second),) = keras_coconut.decode_thoughts(
        text_model, [PROBLEMS[2].question], num_thoughts=2
    )
    assert lines[-1].startswith(f"| {PROBLEMS[2].question} | 2 | ")
    assert f"{second[0].probability:.0%}" in lines[-1]
    axes = callback.results["alike"].axes[0]
    drawn = np.asarray(axes.images[0].get_array())
    thought = text_model.think([p.question for p in PROBLEMS], 2)
    cosines = [
        a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in thought
    ]
    np.testing.assert_allclose(drawn[0, 1], np.mean(cosines), rtol=1e-4)
    np.testing.assert_allclose(np.diag(drawn), 1, rtol=1e-4)
    events = read_events(tmp_path / "measurements")
    assert sorted(events.Tags()["tensors"]) == sorted(
        [
            *(f"controls_{name}" for name in expected),
            "decoded",
            "alike",
            "thoughts",
        ]
    )
    assert [event.step for event in events.Tensors("alike")] == [1, 2]


def read_events(folder):
    """What TensorBoard itself reads of a folder."""
    from tensorboard.backend.event_processing import event_accumulator

    events = event_accumulator.EventAccumulator(
        str(folder), size_guidance={"tensors": 0}
    )
    return events.Reload()


@any_backend
@pytest.mark.filterwarnings("ignore::UserWarning:tensorboard")
def test_events_are_those_of_tensorboard(tmp_path):
    results = iter(
        [{"n": 1.5, "t": "*a*\nü", "f": figure()}, {"n": 2.5, "t": "b"}]
    )
    callback = Measurements(
        {"m": lambda _: next(results)},
        every=2,
        log_dir=tmp_path / "new" / "logs",
        verbose=0,
    )
    run(callback, 3, first=1)
    events = read_events(tmp_path / "new" / "logs" / "measurements")
    assert [
        (event.step, event.tensor_proto.float_val[0])
        for event in events.Tensors("m_n")
    ] == [(1, 1.5), (2, 2.5)]
    texts = [e.tensor_proto.string_val[0] for e in events.Tensors("m_t")]
    assert texts == ["*a*\nü".encode(), b"b"]
    (image,) = events.Tensors("m_f")
    width, height, picture = image.tensor_proto.string_val
    assert (width, height) == (b"200", b"100")
    import matplotlib.image

    pixels = matplotlib.image.imread(io.BytesIO(picture))
    assert pixels.shape[:2] == (100, 200) and pixels.min() < 0.9
    plugins = {
        tag: events.SummaryMetadata(tag).plugin_data.plugin_name
        for tag in ("m_n", "m_t", "m_f")
    }
    assert plugins == {"m_n": "scalars", "m_t": "text", "m_f": "images"}


@any_backend
def test_an_epoch_measured_again_stands_there_once(tmp_path):
    for value in (1.0, 2.0):
        callback = Measurements(
            {"m": lambda _, value=value: value}, log_dir=tmp_path, verbose=0
        )
        run(callback, 1)
    other = Measurements({"o": lambda _: 3.0}, log_dir=tmp_path, verbose=0)
    run(other, 1)
    events = read_events(tmp_path / "measurements")
    (event,) = events.Tensors("m")
    assert event.tensor_proto.float_val[0] == 2.0
    assert len(events.Tensors("o")) == 1


@any_backend
def test_without_tensorboard(tmp_path, monkeypatch):
    imported = builtins.__import__

    def without(name, *args):
        if name.split(".")[0] == "tensorboard":
            raise ImportError(name)
        return imported(name, *args)

    callback = Measurements({"m": lambda _: 1}, log_dir=tmp_path, verbose=0)
    with monkeypatch.context() as patch:
        patch.setattr(builtins, "__import__", without)
        with pytest.raises(ImportError, match="pip install tensorboard"):
            callback.on_train_begin()


@any_backend
def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "file").write_text("")
    callback = Measurements(
        {"m": lambda _: 1}, log_dir=tmp_path / "file", verbose=0
    )
    with pytest.raises(OSError, match="file"):
        callback.on_train_begin()


@any_backend
def test_beside_keras_tensorboard(text_model, tmp_path):
    """What is placed later writes the numbers as it writes all others."""
    pytest.importorskip("tensorflow")
    history = fit(
        text_model,
        Measurements({"m": lambda _: 0.5}, log_dir=tmp_path, verbose=0),
        keras.callbacks.TensorBoard(str(tmp_path)),
    )
    assert history["val_m"] == [0.5] * 3
    events = read_events(tmp_path / "validation")
    found = [
        event
        for tag in events.Tags()["tensors"]
        if tag.endswith("epoch_m")
        for event in events.Tensors(tag)
    ]
    assert [event.step for event in found] == [0, 1, 2]


def test_a_run_that_is_killed_goes_on(tmp_path):
    """A resumed run repeats the numbers of before, and none of the clock's."""
    measured = []

    def measure(model):
        measured.append(
            float(ops.convert_to_numpy(model.backbone.weights[0]).sum())
        )
        return measured[-1]

    def run_epochs(folder, stop_in=None):
        keras.utils.set_random_seed(0)
        model = tiny.compiled(tiny.text_model(layers=1))
        dataset = make_dataset(
            model,
            keras_coconut.Curriculum(0, epochs_per_stage=4, extra_stage=False),
        )

        class Stop(keras.callbacks.Callback):
            epoch = 0

            def on_epoch_begin(self, epoch, logs=None):
                self.epoch = epoch

            def on_train_batch_end(self, batch, logs=None):
                if self.epoch == stop_in:
                    raise InterruptedError

        return fit(
            model,
            Measurements({"m": measure}, every=3, verbose=0),
            Stop(),
            keras_coconut.ResumableTraining(folder, every=1),
            dataset=dataset,
            epochs=4,
        )["val_m"]

    expected = run_epochs(tmp_path / "whole")
    assert len(measured) == 3
    assert expected[0] == expected[1] != expected[2]
    with pytest.raises(InterruptedError):
        run_epochs(tmp_path / "killed", stop_in=1)
    assert len(measured) == 3 + 1
    assert run_epochs(tmp_path / "killed") == expected
    assert len(measured) == 3 + 1 + 2


@any_backend
def test_what_does_not_fit_is_said_before_the_first_epoch(text_model):
    trained = []
    options = dict(epochs=3)

    class Trained(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            trained.append(epoch)

    long = keras_coconut.Problem("x" * 59, ["1"], "2")
    for measures, problems, dataset, match in (
        (["controls"], [long, long], make_dataset(text_model), "2 thoughts"),
        (
            ["controls", "decoded_thoughts"],
            PROBLEMS,
            make_dataset(
                text_model,
                keras_coconut.Curriculum(
                    2, extra_stage=False, thought_kind="pause"
                ),
            ),
            "'decoded_thoughts'",
        ),
    ):
        with pytest.raises(ValueError, match=match):
            fit(
                text_model,
                Measurements(measures, problems=problems, verbose=0),
                Trained(),
                dataset=dataset,
                **options,
            )
    assert not trained
    callback = Measurements(["controls"], problems=PROBLEMS, verbose=0)
    text_model.num_thoughts = None
    callback.set_model(text_model)
    with pytest.raises(ValueError, match="num_thoughts"):
        callback.on_train_begin()


@any_backend
def test_the_first_process_writes(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        "keras_coconut.execution.replicas.process_index", lambda: 1
    )
    callback = Measurements({"m": lambda _: 1}, log_dir=tmp_path / "logs")
    (logs,) = run(callback, 1)
    assert logs["val_m"] == 1
    assert not glob.glob(str(tmp_path / "logs" / "**"))
    assert capsys.readouterr().out == ""


@any_backend
def test_figures_of_pyplot_are_closed():
    from matplotlib import pyplot

    def measure(_):
        drawn, axes = pyplot.subplots()
        axes.plot([1, 2])
        return drawn

    before = pyplot.get_fignums()
    run(Measurements({"m": measure}, verbose=0), 2)
    assert pyplot.get_fignums() == before
    assert logged_values._number("3") is None
