"""One named line: in a terminal, a notebook, a log file, and silent."""

import io
import itertools
import logging
import sys
import types

import keras
import pytest

from keras_coconut import progress
from keras_coconut.progress import Progress


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
    assert "9/10 rows - 1:00 - 1:00 left" in stream.getvalue()


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
