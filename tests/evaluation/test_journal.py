"""Ctrl-C loses nothing: what was finished is not generated again."""

import dataclasses
import json
import threading

import keras_hub
import pytest
import tiny
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scripted import PROBLEMS, RESPONSES, Script

from keras_coconut.evaluation.problems import evaluate_problems
from keras_coconut.files import try_lock

pytestmark = pytest.mark.any_backend

OPTIONS = dict(num_thoughts=2, max_length=20, verbose=0)


def without_seconds(found):
    return dataclasses.replace(found, seconds=0.0)


@pytest.fixture
def paths(tmp_path):
    return tmp_path / "r.json", tmp_path / "r.json.partial"


def interrupt(model, path, after):
    """Returns the evaluation that is expected, and a script to go on with."""
    script = Script(model, RESPONSES)
    expected = evaluate_problems(model, PROBLEMS, **OPTIONS)
    script.stop_after = after
    with pytest.raises(KeyboardInterrupt):
        evaluate_problems(model, PROBLEMS, results_path=path, **OPTIONS)
    script.stop_after = None
    script.asked.clear()
    return expected, script


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_second_call_goes_on(text_model, paths, after):
    path, journal = paths
    expected, script = interrupt(text_model, path, after)
    assert journal.exists() and not path.exists()
    found = evaluate_problems(
        text_model, PROBLEMS, results_path=path, **OPTIONS
    )
    assert without_seconds(found) == without_seconds(expected)
    assert script.asked == ["a", "b", "c", "d"][after:]
    assert path.exists() and not journal.exists()
    assert (
        evaluate_problems(text_model, PROBLEMS, results_path=path, **OPTIONS)
        == found
    )


def test_several_interruptions(text_model, paths):
    path, _ = paths
    expected, script = interrupt(text_model, path, 1)
    script.stop_after = 2
    with pytest.raises(KeyboardInterrupt):
        evaluate_problems(text_model, PROBLEMS, results_path=path, **OPTIONS)
    assert script.asked == ["b", "c"]
    script.stop_after = None
    found = evaluate_problems(
        text_model, PROBLEMS, results_path=path, **OPTIONS
    )
    assert script.asked == ["b", "c", "d"]
    assert without_seconds(found) == without_seconds(expected)


def test_numbers_and_thoughts_stay_with_their_problems(text_model, paths):
    path, _ = paths
    thoughts = text_model.think(list(RESPONSES), 3)
    script = Script(text_model, RESPONSES, stop_after=2)
    options = dict(results_path=path, thoughts=thoughts, verbose=0)
    with pytest.raises(KeyboardInterrupt):
        evaluate_problems(
            text_model, PROBLEMS, num_thoughts=[0, 1, 2, 3], **options
        )
    script.stop_after = None
    evaluate_problems(
        text_model, PROBLEMS, num_thoughts=[0, 1, 2, 3], **options
    )
    last = script.options[-1]
    assert last["num_thoughts"] == [2, 3]
    assert (last["thoughts"] == thoughts[2:]).all()


def test_seconds_count_the_work_of_both(text_model, paths):
    path, journal = paths
    interrupt(text_model, path, 2)
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    assert [set(line) for line in lines] == [
        {"format", "made_by"},
        {"row", "tokens", "seconds"},
        {"row", "tokens", "seconds"},
        {"seconds"},  # What the batch took that was broken off.
    ]
    lines[1]["seconds"], lines[3]["seconds"] = 300, 100
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = evaluate_problems(
        text_model, PROBLEMS, results_path=path, **OPTIONS
    )
    assert 400 < found.seconds * 4 < 500


def test_everything_was_finished_but_the_file(text_model, paths, monkeypatch):
    path, journal = paths
    expected, script = interrupt(text_model, path, 3)
    with monkeypatch.context() as patch:
        patch.setattr(
            "keras_coconut.evaluation.problems.write_results",
            lambda *args: 1 / 0,
        )
        with pytest.raises(ZeroDivisionError):
            evaluate_problems(
                text_model, PROBLEMS, results_path=path, **OPTIONS
            )
    assert script.asked == ["d"] and journal.exists()
    found = evaluate_problems(
        text_model, PROBLEMS, results_path=path, **OPTIONS
    )
    assert script.asked == ["d"] and not journal.exists()
    assert without_seconds(found) == without_seconds(expected)


def test_a_journal_of_something_else_is_refused(text_model, paths):
    path, journal = paths
    _, script = interrupt(text_model, path, 2)
    before = journal.read_bytes()
    options = {**OPTIONS, "max_length": 19}
    with pytest.raises(ValueError, match="same max_length.*partial") as error:
        evaluate_problems(text_model, PROBLEMS, results_path=path, **options)
    assert len(str(error.value)) < 500
    assert not script.asked and journal.read_bytes() == before


@pytest.mark.parametrize(
    "line",
    [
        "[]",
        "{}",
        '{"row": 0}',
        '{"row": 4, "tokens": [1], "seconds": 1}',
        '{"row": -1, "tokens": [1], "seconds": 1}',
        '{"row": true, "tokens": [1], "seconds": 1}',
        '{"row": 2, "tokens": [], "seconds": 1}',
        '{"row": 2, "tokens": "1", "seconds": 1}',
        '{"row": 2, "tokens": [100000], "seconds": 1}',
        '{"row": 2, "tokens": [1.0], "seconds": 1}',
        '{"row": 2, "tokens": [1], "seconds": "1"}',
        '{"row": 2, "tokens": [1], "seconds": -1}',
        '{"row": 2, "tokens": [1], "seconds": NaN}',
        '{"row": 0, "tokens": [1], "seconds": 1}',  # Another one is there.
        '{"row": 2, "tok',
    ],
)
def test_a_damaged_journal_is_named(text_model, paths, line):
    path, journal = paths
    _, script = interrupt(text_model, path, 2)
    with journal.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(ValueError, match=r"r\.json\.partial") as error:
        evaluate_problems(text_model, PROBLEMS, results_path=path, **OPTIONS)
    assert len(str(error.value)) < 500
    assert not script.asked


def test_torn_resumed_and_interrupted_again(text_model, paths):
    """What was torn is cut off before the next line is written."""
    path, journal = paths
    expected, script = interrupt(text_model, path, 2)
    lines = journal.read_text().splitlines(keepends=True)
    half = lines[2][: len(lines[2]) // 2]
    journal.write_text("".join([*lines[:2], half]))
    script.stop_after = 1
    with pytest.raises(KeyboardInterrupt):
        evaluate_problems(text_model, PROBLEMS, results_path=path, **OPTIONS)
    script.stop_after = None
    found = evaluate_problems(
        text_model, PROBLEMS, results_path=path, **OPTIONS
    )
    assert without_seconds(found) == without_seconds(expected)
    assert script.asked == ["b", "c", "d"]
    assert not journal.exists()


class Waiting(Script):
    """Stops after a response, and goes on or is interrupted when told."""

    def __init__(self, model, responses):
        super().__init__(model, responses)
        self.stopped, self.told = threading.Event(), threading.Event()

    def __call__(self, questions, on_response=None, **options):
        def told(index, tokens):
            on_response(index, tokens)
            if not self.stopped.is_set():
                self.stopped.set()
                assert self.told.wait(60)

        return super().__call__(questions, told, **options)


@pytest.mark.parametrize("interrupted", [False, True])
def test_two_calls_at_once(text_model, paths, interrupted):
    """The second leaves the journal to the first, and says so."""
    path, journal = paths
    Script(text_model, RESPONSES)
    expected = evaluate_problems(text_model, PROBLEMS, **OPTIONS)
    first = Waiting(text_model, RESPONSES)
    ended = []

    def evaluate():
        try:
            ended.append(
                evaluate_problems(
                    text_model, PROBLEMS, results_path=path, **OPTIONS
                )
            )
        except KeyboardInterrupt as error:
            ended.append(error)

    thread = threading.Thread(target=evaluate)
    thread.start()
    try:
        assert first.stopped.wait(60)
        # As if the system had written half a line of the first so far.
        with journal.open("a") as file:
            file.write('{"row": 1, "tok')
        before = journal.read_bytes()
        second = Script(text_model, RESPONSES)
        with pytest.warns(UserWarning, match="`results_path`.*another call"):
            found = evaluate_problems(
                text_model, PROBLEMS, results_path=path, **OPTIONS
            )
        assert second.asked == ["a", "b", "c", "d"]
        assert without_seconds(found) == without_seconds(expected)
        assert journal.read_bytes() == before
        journal.write_bytes(before[: before.rfind(b"\n") + 1])
        assert evaluate_problems(
            text_model, PROBLEMS, results_path=path, **OPTIONS
        ) == (found)
        if interrupted:
            first.stop_after = 2
            path.unlink()
    finally:
        first.told.set()
        thread.join()
    if interrupted:
        assert isinstance(ended[0], KeyboardInterrupt)
        ended = [
            evaluate_problems(
                text_model, PROBLEMS, results_path=path, **OPTIONS
            )
        ]
        assert second.asked[4:] == ["c", "d"]
    assert without_seconds(ended[0]) == without_seconds(expected)
    assert path.exists() and not journal.exists()


def test_a_call_that_failed_leaves_the_journal(text_model, paths):
    """Also while its error, and with it all that it knew, is still held."""
    path, _ = paths
    thoughts = text_model.think(list(RESPONSES), 2)
    script = Script(text_model, RESPONSES, stop_after=1)
    options = dict(results_path=path, thoughts=thoughts, **OPTIONS)
    with pytest.raises(KeyboardInterrupt) as held:
        evaluate_problems(text_model, PROBLEMS, **options)
    script.stop_after = None
    other = {**options, "max_length": 19}
    with pytest.raises(ValueError, match="same max_length") as held_too:
        evaluate_problems(text_model, PROBLEMS, **other)
    evaluate_problems(text_model, PROBLEMS, **options)  # A warning would fail.
    assert script.asked == ["a", "b", "c", "d"]
    del held, held_too


@settings(
    derandomize=True,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(share=st.integers(0, 1000))
def test_torn_anywhere_it_goes_on(text_model, tmp_path_factory, share):
    path = tmp_path_factory.mktemp("torn") / "r.json"
    journal = path.with_name("r.json.partial")
    expected, script = interrupt(text_model, path, 3)
    text = journal.read_text()
    text = text[: len(text) * share // 1000]
    journal.write_text(text)
    finished = max(text.count("\n") - 1, 0)
    found = evaluate_problems(
        text_model, PROBLEMS, results_path=path, **OPTIONS
    )
    assert without_seconds(found) == without_seconds(expected)
    # At most the line that was torn has to be generated again.
    assert script.asked == ["a", "b", "c", "d"][min(finished, 3) :]


def test_a_sampler_that_draws_begins_again(text_model, paths):
    """Its numbers depend on the batches, and these on what is missing."""
    path, journal = paths

    def compiled():
        sampler = keras_hub.samplers.RandomSampler(seed=1)
        return tiny.compiled(text_model, sampler=sampler)

    Script(compiled(), RESPONSES, stop_after=2)
    with pytest.raises(KeyboardInterrupt):
        evaluate_problems(text_model, PROBLEMS, results_path=path, **OPTIONS)
    assert not journal.exists()
    del text_model.__dict__["generate_tokens"]
    found = evaluate_problems(
        compiled(), PROBLEMS, results_path=path, **OPTIONS
    )
    again = evaluate_problems(compiled(), PROBLEMS, **OPTIONS)
    assert found.predictions == again.predictions


def test_without_a_path_the_interruption_is_passed_on(text_model, tmp_path):
    Script(text_model, RESPONSES, stop_after=2)
    with pytest.raises(KeyboardInterrupt):
        evaluate_problems(text_model, PROBLEMS, **OPTIONS)
    assert not list(tmp_path.iterdir())


def test_a_real_model_is_interrupted(text_model, paths, monkeypatch):
    path, journal = paths
    problems = tiny.problems(9)
    options = dict(
        num_thoughts=[0, 1, 2] * 3, max_length=9, batch_size=2, verbose=0
    )
    expected = evaluate_problems(text_model, problems, **options)
    make, batches = text_model.make_generate_function, []

    def interrupted():
        batches.append(None)
        if len(batches) == 3:
            raise KeyboardInterrupt
        return make()

    with monkeypatch.context() as patch:
        patch.setitem(
            text_model.__dict__, "make_generate_function", interrupted
        )
        with pytest.raises(KeyboardInterrupt):
            evaluate_problems(
                text_model, problems, results_path=path, **options
            )
    assert sum('"row"' in line for line in journal.open()) == 4
    found = evaluate_problems(
        text_model, problems, results_path=path, **options
    )
    assert without_seconds(found) == without_seconds(expected)
    assert found.seconds > 0


def test_what_is_left_beside_results_is_deleted(text_model, paths):
    path, journal = paths
    Script(text_model, RESPONSES)
    evaluate_problems(text_model, PROBLEMS, results_path=path, **OPTIONS)
    journal.write_text("of a process that was killed")
    with open(journal, "a") as file:
        assert try_lock(file)
        evaluate_problems(text_model, PROBLEMS, results_path=path, **OPTIONS)
        assert journal.exists()
    evaluate_problems(text_model, PROBLEMS, results_path=path, **OPTIONS)
    assert not journal.exists()
