"""One named line: in a terminal, a notebook, a log file, and silent."""

import contextlib
import io
import itertools
import logging
import sys
import threading
import types

import keras
import pytest

from keras_coconut import progress
from keras_coconut.progress import Progress, once


class Clock:
    now = 0.0

    def monotonic(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    monkeypatch.setattr(
        progress.shutil,
        "get_terminal_size",
        lambda: types.SimpleNamespace(columns=80),
    )
    return clock


def run(clock, monkeypatch, stream, seconds=40.0, **options):
    """Counts to four, a step each `seconds`."""
    monkeypatch.setattr(sys, "stdout", stream)
    with Progress("control 2 of 4: noise", 4, **options) as line:
        for _ in range(4):
            clock.now += seconds
            line.add()
    return stream.getvalue()


def test_a_log_file_gets_lines(clock, monkeypatch):
    text = run(clock, monkeypatch, io.StringIO())
    assert text.splitlines() == [
        "control 2 of 4: noise: 0/4 problems - 0s",
        "control 2 of 4: noise: 1/4 problems - 40s - 2:00 left",
        "control 2 of 4: noise: 2/4 problems - 1:20 - 1:20 left",
        "control 2 of 4: noise: 3/4 problems - 2:00 - 40s left",
        "control 2 of 4: noise: 4/4 problems - 2:40 - 0s left",
        "control 2 of 4: noise: 4/4 problems - 2:40",
    ]


def test_a_log_file_is_not_flooded(clock, monkeypatch):
    text = run(clock, monkeypatch, io.StringIO(), seconds=1.0)
    assert len(text.splitlines()) == 2


def test_a_terminal_shows_one_line_that_moves(clock, monkeypatch):
    text = run(clock, monkeypatch, Terminal())
    assert text.count("\n") == 1 and text.endswith("\n")
    drawn = text.rstrip("\n").split("\r")[1:]
    assert len(drawn) == 6
    assert "2/4 problems [==========          ] - 1:20 - 1:20 left" in drawn[2]
    # Each covers the one before it.
    assert all(len(a.rstrip()) <= len(b) for a, b in itertools.pairwise(drawn))
    assert drawn[-1].rstrip() == "control 2 of 4: noise: 4/4 problems - 2:40"


def test_a_line_never_wraps(clock, monkeypatch):
    monkeypatch.setattr(
        progress.shutil,
        "get_terminal_size",
        lambda: types.SimpleNamespace(columns=30),
    )
    text = run(clock, monkeypatch, Terminal())
    assert max(map(len, text.rstrip("\n").split("\r"))) == 29


def test_a_notebook_is_like_a_terminal(clock, monkeypatch):
    stream = type("OutStream", (io.StringIO,), {"__module__": "ipykernel.io"})()
    assert run(clock, monkeypatch, stream).count("\r") == 6


def test_what_was_done_before_tells_nothing_of_the_time(clock, monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    with Progress("evaluate", 10, unit="rows", done=8) as line:
        clock.now += 60
        line.add()
    lines = stream.getvalue().splitlines()
    assert lines[0] == "evaluate: 8/10 rows (8 done before) - 0s"
    assert lines[1].endswith("9/10 rows (8 done before) - 1:00 - 1:00 left")


def heads(stream):
    return [line.partition(" - ")[0] for line in stream.getvalue().splitlines()]


def test_parts_count_in_one_line(clock, monkeypatch):
    """However deep they are, and whatever they would show alone."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    with Progress("controls", 8):
        for name in ("none", "noise"):
            clock.now += 40
            with Progress(name, 4, verbose=2, unit="rows", done=1) as part:
                clock.now += 40
                part.add()
                with Progress("deeper", 2, verbose=0) as deeper:
                    clock.now += 40
                    deeper.add(2)
    assert heads(stream) == [
        "controls: 0/8 problems",
        "controls (none): 1/8 problems (1 done before)",
        "controls (none): 2/8 problems (1 done before)",
        "controls (none, deeper): 4/8 problems (1 done before)",
        "controls (noise): 5/8 problems (2 done before)",
        "controls (noise): 6/8 problems (2 done before)",
        "controls (noise, deeper): 8/8 problems (2 done before)",
        "controls: 8/8 problems (2 done before)",
    ]
    assert "- 2:00 - 2:40 left" in stream.getvalue()


def test_there_is_room_for_every_part(clock, monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    with Progress("report", 3) as line:
        line.add(2)
        with Progress("more", 5) as part:
            part.skip(1)
            part.add(4)
            part.skip(0)
        line.add()
        line.add(0)
    assert heads(stream)[-1] == "report: 8/8 problems (1 done before)"


def test_a_silent_whole_silences_its_parts(clock, monkeypatch, capsys):
    with Progress("whole", 4, verbose=0):
        with Progress("part", 4, verbose=1) as part:
            clock.now += 100
            part.add(4)
    assert capsys.readouterr().out == ""


def test_a_part_shows_its_name_at_once(clock, monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(sys, "stdout", stream)
    with Progress("whole", 4):
        with Progress("part", 4):
            assert "whole (part): 0/4" in stream.getvalue()


def test_other_threads_have_lines_of_their_own(clock):
    found = []
    with Progress("whole", 1, verbose=0) as line:
        assert progress.current() is line
        thread = threading.Thread(
            target=lambda: found.append(progress.current())
        )
        thread.start()
        thread.join()
    assert found == [None]
    assert progress.current() is None


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_what_is_called_when_the_whole_has_ended(clock, error):
    called = []
    with contextlib.suppress(ValueError, KeyboardInterrupt):
        with Progress("whole", 4, verbose=0) as whole:
            with Progress("part", 4, verbose=0) as part:
                assert part.whole is whole.whole is whole
                part.when_ended(called.append)
            assert not called
            if error is not None:
                raise error
    assert called == [error is None]
    assert progress.current() is None


class Broken(Terminal):
    """A terminal that raises an error from a given write on."""

    def __init__(self, error, first=0):
        super().__init__()
        self.error, self.left = error, first

    def write(self, text):
        if self.left == 0:
            raise self.error
        self.left -= 1
        return super().write(text)


@pytest.mark.parametrize("error", [BrokenPipeError, KeyboardInterrupt])
def test_a_line_that_cannot_begin_leaves_nothing(clock, monkeypatch, error):
    monkeypatch.setattr(sys, "stdout", Broken(error))
    with pytest.raises(error):
        Progress("alone", 4).__enter__()
    assert progress.current() is None
    stream = Broken(error, first=1)
    monkeypatch.setattr(sys, "stdout", stream)
    with Progress("whole", 4) as whole:
        with pytest.raises(error):
            Progress("part", 4).__enter__()
        assert progress.current() is whole
        stream.left = -1
        clock.now += 40
        whole.add()
    assert "whole: 1/4" in stream.getvalue()
    assert "part" not in stream.getvalue()


@pytest.mark.parametrize(
    ("first", "later", "raised"),
    [
        (None, BrokenPipeError, BrokenPipeError),
        (None, KeyboardInterrupt, KeyboardInterrupt),
        (ValueError, BrokenPipeError, ValueError),
        (KeyboardInterrupt, BrokenPipeError, KeyboardInterrupt),
        # The first one holds what is done.
        (KeyboardInterrupt, KeyboardInterrupt, KeyboardInterrupt),
        # An interruption is never swallowed.
        (ValueError, KeyboardInterrupt, KeyboardInterrupt),
    ],
)
@pytest.mark.parametrize("where", ["line", "call"])
def test_what_fails_when_a_work_ends(
    clock, monkeypatch, first, later, raised, where
):
    first, later = first and first("first"), later("later")
    stream, called = Terminal(), []
    if where == "line":
        stream = Broken(later, first=1)
    monkeypatch.setattr(sys, "stdout", stream)

    def fail(finished):
        called.append(finished)
        if where == "call":
            raise later

    with pytest.raises(raised) as caught:
        with Progress("whole", 4) as whole:
            whole.when_ended(fail)
            whole.when_ended(called.append)
            if first is not None:
                raise first
    expected = later if first is None or raised is not type(first) else first
    assert caught.value is expected
    # Whoever gets no result was not finished, also because of the last line.
    assert called == [first is None and where == "call", False]
    assert progress.current() is None


def test_calls_come_in_their_order(clock):
    called = []
    with Progress("whole", 4, verbose=0) as whole:
        for number in range(3):
            whole.when_ended(lambda _, number=number: called.append(number))
    assert called == [0, 1, 2]


def test_lines_apart(clock, monkeypatch, capsys, caplog):
    progress.say("a line")
    assert capsys.readouterr().out == "\na line\n"
    monkeypatch.setattr(
        keras.config, "is_interactive_logging_enabled", lambda: False
    )
    with caplog.at_level(logging.INFO, "keras_coconut"):
        progress.say("a line")
    assert capsys.readouterr().out == "" and caplog.messages == ["a line"]


@pytest.mark.parametrize(("verbose", "lines"), [(0, 0), (2, 1), (False, 0)])
def test_less_of_it(clock, monkeypatch, verbose, lines):
    for stream in (Terminal(), io.StringIO()):
        text = run(clock, monkeypatch, stream, verbose=verbose)
        assert text.count("\n") == lines


def test_an_interruption_ends_the_line(clock, monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(sys, "stdout", stream)
    with pytest.raises(KeyboardInterrupt):
        with Progress("evaluate", 4000) as line:
            line.add(12)
            clock.now += 3700
            raise KeyboardInterrupt
    assert (
        stream.getvalue().rstrip(" \n").endswith("12/4000 problems - 1:01:40")
    )
    assert stream.getvalue().endswith("\n")


def test_the_log_instead_of_the_output(clock, monkeypatch, caplog):
    monkeypatch.setattr(
        keras.config, "is_interactive_logging_enabled", lambda: False
    )
    with caplog.at_level(logging.INFO, "keras_coconut"):
        assert run(clock, monkeypatch, Terminal()) == ""
    assert "control 2 of 4: noise: 4/4 problems - 2:40" in caplog.messages


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (dict(name=None, total=1), "name"),
        (dict(name="a", total=-1), "total"),
        (dict(name="a", total=1, verbose="loud"), "verbose"),
        (dict(name="a", total=1, unit=3), "unit"),
        (dict(name="a", total=1, done=2), "done"),
    ],
)
def test_arguments(options, name):
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        Progress(**options)


def test_what_is_found_out_once():
    """Within work that leaves the models as they are, and nowhere else."""
    asked = []

    @once
    def name(model):
        asked.append(model)
        return model.upper()

    def ask():
        asked.clear()
        return [name("a"), name("a"), name("b")]

    assert ask() == ["A", "A", "B"] and asked == ["a", "a", "b"]
    with Progress("changing", 2, verbose=0):
        ask()
        assert asked == ["a", "a", "b"]
        with Progress("steady", 2, verbose=0, steady=True):
            with Progress("part", 1, verbose=0):
                assert ask() == ["A", "A", "B"] and asked == ["a", "b"]
            with Progress("part", 1, verbose=0, steady=True):
                assert ask() == ["A", "A", "B"] and asked == []
        ask()
        assert asked == ["a", "a", "b"]
    ask()
    assert asked == ["a", "a", "b"]
