"""Ctrl-C without a file: what was finished is given back and not made anew."""

import dataclasses
import gc
import hashlib
import json
import sys
import threading
import tracemalloc
import weakref

import keras
import keras_hub
import numpy as np
import pytest
import tiny
from scripted import PROBLEMS, RESPONSES, Script

from keras_coconut.evaluation import made_by, unfinished
from keras_coconut.evaluation.controls import evaluate_controls
from keras_coconut.evaluation.problems import answer, evaluate_problems
from keras_coconut.evaluation.reasoning_paths import evaluate_reasoning
from keras_coconut.evaluation.request import check_request
from keras_coconut.evaluation.samples import evaluate_samples
from keras_coconut.progress import Progress

OPTIONS = dict(num_thoughts=2, max_length=20, verbose=0)
any_backend = pytest.mark.any_backend


def without_seconds(found):
    return dataclasses.replace(found, seconds=0.0)


def interrupt(call, *args, **options):
    with pytest.raises(KeyboardInterrupt) as caught:
        call(*args, **options)
    # A shell goes on with its script after any other class.
    assert type(caught.value) is KeyboardInterrupt
    return caught.value


class Stopped:
    """Raises an error before a batch of a model's `generate`."""

    def __init__(self, monkeypatch, model):
        self.batches, self.stop_before = 0, None
        self.error = KeyboardInterrupt
        make = model.make_generate_function

        def stopped():
            if self.batches == self.stop_before:
                raise self.error
            self.batches += 1
            return make()

        monkeypatch.setitem(model.__dict__, "make_generate_function", stopped)


@pytest.fixture
def stopped(monkeypatch, text_model):
    return Stopped(monkeypatch, text_model)


# === One evaluation ===


@any_backend
@pytest.mark.parametrize("after", [0, 1, 3])
def test_an_equal_call_goes_on(text_model, after, capsys):
    script = Script(text_model, RESPONSES)
    expected = evaluate_problems(text_model, PROBLEMS, **OPTIONS)
    script.stop_after = after
    error = interrupt(evaluate_problems, text_model, PROBLEMS, **OPTIONS)
    assert f"evaluate: {after} of 4 problems are done" in str(error)
    assert ("this process keeps" in str(error)) == bool(after)
    assert error.answered == tuple(range(after))
    if after:
        assert error.partial.predictions == expected.predictions[:after]
        assert error.partial.correct == expected.correct[:after]
        assert error.partial.accuracy == sum(expected.correct[:after]) / after
        assert error.partial.seconds > 0
    else:
        assert error.partial is None
    script.stop_after = None
    script.asked.clear()
    found = evaluate_problems(
        text_model, PROBLEMS, **{**OPTIONS, "verbose": 1, "batch_size": 1}
    )
    assert script.asked == ["a", "b", "c", "d"][after:]
    assert without_seconds(found) == without_seconds(expected)
    shown = capsys.readouterr().out
    assert (f"4/4 problems ({after} done before)" in shown) == bool(after)
    # Of what is finished nothing is kept.
    evaluate_problems(text_model, PROBLEMS, **OPTIONS)
    assert script.asked[4 - after :] == ["a", "b", "c", "d"]


@any_backend
def test_several_interruptions_and_other_work_between(text_model):
    script = Script(text_model, RESPONSES, stop_after=1)
    for asked in (["a"], ["b"]):
        interrupt(evaluate_problems, text_model, PROBLEMS, **OPTIONS)
        assert script.asked == asked
        script.asked.clear()
    script.stop_after = None
    evaluate_problems(text_model, PROBLEMS[:1], **OPTIONS)
    script.asked.clear()
    evaluate_problems(text_model, PROBLEMS, **OPTIONS)
    assert script.asked == ["c", "d"]


def change_weight(model):
    weight = model.backbone.weights[-1]
    weight.assign(weight + 1)


@any_backend
@pytest.mark.parametrize(
    ("change", "options"),
    [
        (change_weight, {}),
        (lambda model: setattr(model, "thought_kind", "pause"), {}),
        (None, dict(num_thoughts=3)),
        (None, dict(max_length=19)),
        (None, dict(problems=PROBLEMS[::-1])),
        (None, dict(thoughts=np.zeros((4, 2, 16)))),
    ],
)
def test_another_call_begins_anew(text_model, change, options):
    script = Script(text_model, RESPONSES, stop_after=3)
    arguments = dict(problems=PROBLEMS, **OPTIONS)
    interrupt(evaluate_problems, text_model, **arguments)
    script.stop_after = None
    script.asked.clear()
    if change is not None:
        change(text_model)
    evaluate_problems(text_model, **{**arguments, **options})
    assert len(script.asked) == 4


@any_backend
def test_given_thoughts_are_told_apart_by_their_values(text_model):
    """Also those that only a function makes."""
    request = check_request(text_model, PROBLEMS, 2, 20)
    thoughts = text_model.think(list(RESPONSES), 2)

    def asked_with(array, stop_after=None, skipped=None):
        script = Script(text_model, RESPONSES, stop_after)
        given = dataclasses.replace(
            request, make_thoughts=lambda: array, skipped=skipped
        )
        try:
            answer(given, "evaluate", 0)
        except KeyboardInterrupt:
            pass
        return script.asked

    assert asked_with(thoughts, stop_after=2) == ["a", "b"]
    assert asked_with(2 * thoughts, stop_after=1) == ["a"]
    assert asked_with(thoughts, skipped=[1] * 4) == ["a", "b", "c", "d"]
    assert asked_with(thoughts) == ["c", "d"]


@any_backend
def test_an_error_keeps_what_is_done_too(text_model, stopped):
    """Such as for want of memory; then with smaller batches."""
    problems = tiny.problems(8)
    options = dict(num_thoughts=1, max_length=3, verbose=0)
    expected = evaluate_problems(text_model, problems, **options)
    stopped.batches, stopped.stop_before = 0, 1
    stopped.error = MemoryError
    with pytest.raises(MemoryError):
        evaluate_problems(text_model, problems, batch_size=4, **options)
    stopped.stop_before = None
    found = evaluate_problems(text_model, problems, batch_size=2, **options)
    assert without_seconds(found) == without_seconds(expected)
    assert stopped.batches == 1 + 2


@any_backend
def test_a_sampler_that_draws_begins_anew(text_model, stopped):
    for seed in (1, None):
        sampler = keras_hub.samplers.RandomSampler(seed=seed)
        tiny.compiled(text_model, sampler=sampler)
        stopped.batches, stopped.stop_before = 0, 1
        options = dict(num_thoughts=1, max_length=3, batch_size=2, verbose=0)
        problems = tiny.problems(4)
        error = interrupt(evaluate_problems, text_model, problems, **options)
        assert "equal call" not in str(error)
        assert len(error.partial.predictions) == len(error.answered) == 2
        stopped.batches, stopped.stop_before = 0, None
        evaluate_problems(text_model, problems, **options)
        assert stopped.batches == 2


@any_backend
def test_the_oldest_are_forgotten(text_model, monkeypatch):
    kept = unfinished._Kept(("", ""), {row: 9 * [0] for row in range(3)}, 0.0)
    most = 2.5 * kept.size
    monkeypatch.setattr(unfinished, "_MOST_BYTES", most)
    script = Script(text_model, RESPONSES, stop_after=3)
    for max_length in (20, 19, 18, 17):
        options = {**OPTIONS, "max_length": max_length}
        interrupt(evaluate_problems, text_model, PROBLEMS, **options)
    script.stop_after = None
    script.asked.clear()
    for max_length in (17, 20):
        options = {**OPTIONS, "max_length": max_length}
        evaluate_problems(text_model, PROBLEMS, **options)
    assert script.asked == ["d", "a", "b", "c", "d"]


@any_backend
def test_the_file_is_named_where_there_is_one(text_model, tmp_path):
    Script(text_model, RESPONSES, stop_after=2)
    path = tmp_path / "r.json"
    error = interrupt(
        evaluate_problems, text_model, PROBLEMS, results_path=path, **OPTIONS
    )
    assert "r.json.partial" in str(error)
    assert len(error.partial.predictions) == 2
    assert not unfinished._kept


# === Several parts ===


@any_backend
@pytest.mark.parametrize("folder", [False, True])
def test_controls_go_on(text_model, stopped, folder, tmp_path):
    problems = tiny.problems(4)
    options = dict(num_thoughts=2, max_length=5, batch_size=2, verbose=0)
    expected = evaluate_controls(text_model, problems, **options)
    total, stopped.batches = stopped.batches, 0
    if folder:
        options["results_folder"] = tmp_path / "controls"
    stopped.stop_before = 5  # In the third control.
    error = interrupt(evaluate_controls, text_model, problems, **options)
    first, second, third, *_ = expected
    assert list(error.partial) == [first, second, third]
    for name in (first, second):
        assert without_seconds(error.partial[name]) == without_seconds(
            expected[name]
        )
    (row, other) = error.answered
    assert error.partial[third].predictions == (
        expected[third].predictions[row],
        expected[third].predictions[other],
    )
    assert "controls: " in str(error) and "answers are done" in str(error)
    stopped.stop_before = None
    found = evaluate_controls(text_model, problems, **options)
    assert stopped.batches == total
    for name, evaluation in found.items():
        assert without_seconds(evaluation) == without_seconds(expected[name])


@any_backend
def test_reasoning_goes_on(text_model, stopped):
    problems = [
        dataclasses.replace(problem, extra=tiny.GRAPH)
        for problem in tiny.problems(4)
    ]
    options = dict(
        num_thoughts=[0, 1, 2], max_length=5, batch_size=2, verbose=0
    )
    expected = evaluate_reasoning(text_model, problems, **options)
    stopped.batches, stopped.stop_before = 0, 3
    error = interrupt(evaluate_reasoning, text_model, problems, **options)
    assert list(error.partial) == [0, 1]
    evaluation, shares = error.partial[1]
    assert len(evaluation.predictions) == 2
    assert sum(shares.values()) == pytest.approx(1)
    assert error.partial[0][1] == expected[0][1]
    stopped.stop_before = None
    found = evaluate_reasoning(text_model, problems, **options)
    assert stopped.batches == 6
    for count, (evaluation, shares) in found.items():
        assert shares == expected[count][1]
        assert without_seconds(evaluation) == without_seconds(
            expected[count][0]
        )


@any_backend
def test_work_of_any_parts_goes_on(text_model):
    """What was finished before an interruption in a later part is kept."""
    script = Script(text_model, RESPONSES)

    def both():
        with Progress("both", 8, verbose=0):
            evaluate_problems(text_model, PROBLEMS, **OPTIONS)
            script.stop_after, before = None, script.stop_after
            if before:
                raise KeyboardInterrupt
            evaluate_problems(
                text_model, PROBLEMS, **{**OPTIONS, "num_thoughts": 1}
            )

    script.stop_after = 4
    interrupt(both)
    script.asked.clear()
    both()
    assert script.asked == ["a", "b", "c", "d"]


def stop_within(whole_stops, script, evaluate):
    """Stops a whole work: after its first part, or within it."""
    script.stop_after = None if whole_stops else 2
    try:
        with Progress("whole", 8, verbose=0):
            evaluate()
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    script.stop_after = None
    script.asked.clear()


@any_backend
@pytest.mark.parametrize("whole_stops", [True, False])
@pytest.mark.parametrize("change", ["weights", "kind", "sampler"])
def test_a_part_is_kept_with_what_it_was_made_by(
    text_model, whole_stops, change
):
    """Not with what the model is when the whole work ends."""
    script = Script(text_model, RESPONSES)
    weight = text_model.backbone.weights[-1]
    before = np.array(keras.ops.convert_to_numpy(weight))

    def set_to(number):
        if change == "weights":
            weight.assign(before + number)
        elif change == "kind":
            text_model.thought_kind = ["continuous", "pause"][number]
        else:
            sampler = keras_hub.samplers.BeamSampler(num_beams=2 + number)
            text_model.compile(sampler=sampler)

    def evaluate():
        return evaluate_problems(text_model, PROBLEMS, **OPTIONS)

    def evaluate_other():
        set_to(1)
        try:
            evaluate()
        finally:
            set_to(0)

    set_to(0)
    stop_within(whole_stops, script, evaluate_other)
    evaluate()
    assert len(script.asked) == 4
    script.asked.clear()
    evaluate_other()
    assert script.asked == ([] if whole_stops else ["c", "d"])


@any_backend
def test_the_same_part_twice_is_kept_once(text_model):
    script = Script(text_model, RESPONSES)

    def evaluate(stop_after=None):
        script.stop_after = stop_after
        return evaluate_problems(text_model, PROBLEMS, **OPTIONS)

    def twice():
        evaluate()
        evaluate(2)

    stop_within(True, script, twice)
    assert len(unfinished._kept) == 1
    # The one with more responses.
    evaluate()
    assert script.asked == [] and not unfinished._kept


@any_backend
def test_all_equal_ones_are_forgotten(text_model):
    """Also those that another work has left meanwhile."""
    script = Script(text_model, RESPONSES, stop_after=2)
    interrupt(evaluate_problems, text_model, PROBLEMS, **OPTIONS)
    (left,) = unfinished._kept
    unfinished._kept.append(
        unfinished._Kept(left.made_by, left.responses(), left.seconds)
    )
    script.stop_after = None
    evaluate_problems(text_model, PROBLEMS, **OPTIONS)
    assert not unfinished._kept


@any_backend
def test_a_whole_work_holds_no_thoughts(text_model):
    """Of the parts that have ended it needs the tokens alone."""
    script = Script(text_model, RESPONSES)
    thoughts = np.zeros((4, 2, 16))
    held = weakref.ref(thoughts)
    with Progress("whole", 8, verbose=0):
        evaluate_problems(text_model, PROBLEMS, thoughts=thoughts, **OPTIONS)
        del thoughts
        script.options.clear()
        gc.collect()
        assert held() is None


class Pressed:
    """Presses Ctrl-C while weights are hashed."""

    def __init__(self, monkeypatch, times):
        self.times, self.calls = times, 0
        hashed = unfinished.weights_hash

        def pressed(model):
            self.calls += 1
            if self.times:
                self.times -= 1
                raise KeyboardInterrupt
            return hashed(model)

        monkeypatch.setattr(unfinished, "weights_hash", pressed)


@any_backend
@pytest.mark.parametrize(
    ("times", "asked"), [(1, []), (2, ["a", "b", "c", "d"])]
)
def test_ctrl_c_after_a_part(text_model, monkeypatch, times, asked):
    """The first one waits until it is known what the part was made by."""
    script = Script(text_model, RESPONSES)

    def evaluate(num_thoughts):
        options = {**OPTIONS, "num_thoughts": num_thoughts}
        return evaluate_problems(text_model, PROBLEMS, **options)

    def both():
        evaluate(1)
        Pressed(monkeypatch, times)
        with pytest.raises(KeyboardInterrupt) as caught:
            evaluate(2)
        assert len(caught.value.partial.predictions) == 4
        assert ("equal call" in str(caught.value)) == (times == 1)
        raise caught.value

    stop_within(True, script, both)
    evaluate(1)
    assert script.asked == []
    evaluate(2)
    assert script.asked == asked


@any_backend
def test_a_second_ctrl_c_gives_up_one_part(text_model, monkeypatch):
    script = Script(text_model, RESPONSES)

    def evaluate(num_thoughts, stop_after=None):
        script.stop_after = stop_after
        options = {**OPTIONS, "num_thoughts": num_thoughts}
        return evaluate_problems(text_model, PROBLEMS, **options)

    def both():
        evaluate(1)
        Pressed(monkeypatch, 1)
        with pytest.raises(KeyboardInterrupt) as caught:
            evaluate(2, stop_after=3)
        assert len(caught.value.partial.predictions) == 3
        assert "equal call" not in str(caught.value)
        raise caught.value

    stop_within(True, script, both)
    evaluate(1)
    assert script.asked == []
    evaluate(2)
    assert len(script.asked) == 4


@any_backend
def test_a_last_line_that_fails_loses_nothing(text_model, monkeypatch, capsys):
    """Such as in a pipe that is closed."""
    script = Script(text_model, RESPONSES)

    def broken(text):
        raise BrokenPipeError

    with monkeypatch.context() as patched:
        patched.setattr(sys.stdout, "write", broken)
        with pytest.raises(BrokenPipeError):
            evaluate_problems(text_model, PROBLEMS, **{**OPTIONS, "verbose": 2})
    script.asked.clear()
    evaluate_problems(text_model, PROBLEMS, **OPTIONS)
    assert script.asked == []


@any_backend
def test_finished_work_hashes_no_weights(text_model, monkeypatch):
    pressed = Pressed(monkeypatch, 0)
    Script(text_model, RESPONSES)
    evaluate_problems(text_model, PROBLEMS, **OPTIONS)
    assert pressed.calls == 0


@any_backend
@pytest.mark.parametrize("rows", [1, 2000])
@pytest.mark.parametrize("length", [0, 1, 3, 100])
def test_the_bytes_that_are_kept(rows, length):
    """Counted by Python itself."""
    tokens = list(range(1000, 1000 + length))
    responses = dict.fromkeys(range(500, 500 + rows), tokens)
    unfinished._Kept(("", ""), responses, 1.0)  # What NumPy allocates once.
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        made_by = tuple(
            hashlib.sha256(name).hexdigest() for name in (b"about", b"weights")
        )
        kept = unfinished._Kept(made_by, responses, rows / 7)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before <= kept.size
    assert rows == 1 or after - before > kept.size / 2
    assert kept.responses() == responses
    assert all(type(row) is int for row in kept.responses())


@any_backend
def test_threads_share_what_is_kept():
    """What several threads keep and forget at once is neither lost nor left."""
    threads, each = 8, 40
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def work(thread):
        for number in range(each):
            for name in ("left", "gone"):
                made_by = (f"{name} {thread} {number}", "")
                kept = unfinished._Kept(made_by, {0: [thread]}, 0.0)
                kept.end(False)
                if name == "gone":
                    kept.end(True)

    try:
        running = [
            threading.Thread(target=work, args=(thread,))
            for thread in range(threads)
        ]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    names = sorted(kept.made_by[0] for kept in unfinished._kept)
    assert names == sorted(
        f"left {thread} {number}"
        for thread in range(threads)
        for number in range(each)
    )


# === Samples ===

DRAWN = {
    "noise": dict(thought_noise=2.0),
    "sampler": {},
    "dropout": dict(thought_dropout=True),
}


def sampling_model(kind):
    dropout = 0.5 if kind == "dropout" else 0.0
    model = tiny.text_model(layers=1, dropout=dropout)
    sampler = "greedy"
    if kind == "sampler":
        sampler = keras_hub.samplers.RandomSampler()
    return tiny.compiled(model, sampler=sampler)


@pytest.mark.parametrize("kind", DRAWN)
@pytest.mark.parametrize("file", [False, pytest.param(True, marks=any_backend)])
def test_samples_go_on(monkeypatch, kind, file, tmp_path):
    model = sampling_model(kind)
    problems = tiny.problems(3)
    options = dict(
        num_samples=3, num_thoughts=2, max_length=4, batch_size=2, seed=5
    )
    options |= dict(verbose=0, **DRAWN[kind])
    expected = evaluate_samples(model, problems, **options)
    assert len(set(sum(expected.predictions, ()))) > 3
    stopped = Stopped(monkeypatch, model)
    stopped.stop_before = 2
    if file:
        options["results_path"] = tmp_path / "samples.json"
    error = interrupt(evaluate_samples, model, problems, **options)
    (row,) = error.answered  # The first with all of its responses.
    assert error.partial.predictions == (expected.predictions[row],)
    assert "sample: 4 of 9 responses are done" in str(error)
    stopped.batches, stopped.stop_before = 0, None
    found = evaluate_samples(model, problems, **options)
    assert stopped.batches == 3
    assert without_seconds(found) == without_seconds(expected)
    if not file:
        evaluate_samples(model, problems, **options)
        assert stopped.batches == 3 + 5
        return
    assert [path.name for path in tmp_path.iterdir()] == ["samples.json"]
    with Progress("whole", 20, verbose=0) as whole:
        assert evaluate_samples(model, problems, **options) == found
    assert stopped.batches == 3 and whole.done == 9
    again = evaluate_samples(model, problems, ks=[2], **options)
    assert list(again.pass_at_k) == [2]
    for change in (dict(seed=6), dict(num_samples=2), dict(num_thoughts=1)):
        with pytest.raises(ValueError, match="of the same"):
            evaluate_samples(model, problems, **{**options, **change})


@any_backend
def test_samples_without_a_seed_go_on(monkeypatch):
    model = sampling_model("noise")
    stopped = Stopped(monkeypatch, model)
    stopped.stop_before = 2
    options = dict(num_samples=3, num_thoughts=2, max_length=4, batch_size=2)
    options |= dict(verbose=0, thought_noise=2.0)
    problems = tiny.problems(3)
    error = interrupt(evaluate_samples, model, problems, **options)
    stopped.batches, stopped.stop_before = 0, None
    found = evaluate_samples(model, problems, **options)
    assert stopped.batches == 3
    (row,) = error.answered
    assert found.predictions[row] == error.partial.predictions[0]


@any_backend
def test_files_of_samples_are_checked(tmp_path):
    model = sampling_model("noise")
    path = tmp_path / "samples.json"
    options = dict(num_samples=2, num_thoughts=1, max_length=3, seed=0)
    options |= dict(verbose=0, thought_noise=1.0, results_path=path)
    problems = tiny.problems(2)
    evaluate_samples(model, problems, **options)
    entry = json.loads(path.read_text())
    for change in (
        dict(votes=["1", "2"]),
        dict(accuracy=0.123),
        dict(predictions=[["a"], ["b"]]),
        dict(predictions=[["a", 3], ["b", "c"]]),
        dict(predictions=3),
        dict(predictions=entry["predictions"][:1]),
        dict(seconds=-1),
        dict(more=1),
    ):
        path.write_text(json.dumps({**entry, **change}))
        with pytest.raises(ValueError, match=r"samples\.json"):
            evaluate_samples(model, problems, **options)
    path.write_text("[]")
    with pytest.raises(ValueError, match=r"samples\.json"):
        evaluate_samples(model, problems, **options)
    with pytest.raises(ValueError, match="`seed` must be a whole number"):
        evaluate_samples(model, problems, **{**options, "seed": None})
    with pytest.raises(OSError, match="missing"):
        evaluate_samples(
            model,
            problems,
            **{**options, "results_path": tmp_path / "missing" / "r.json"},
        )


@any_backend
def test_parts_hash_the_weights_once(text_model, monkeypatch):
    hashed = []
    array_hash = made_by.array_hash

    def counted(array):
        hashed.append(array.shape)
        return array_hash(array)

    monkeypatch.setattr(made_by, "array_hash", counted)
    Script(text_model, RESPONSES)
    evaluate_controls(text_model, PROBLEMS, **OPTIONS)
    assert 0 < len(hashed) <= len(text_model.backbone.weights)
