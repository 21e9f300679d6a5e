"""A progress line: what is being done, how far it is and how long it takes.

`keras.utils.Progbar` shows no name, and writes every update to a log file.
"""

import contextlib
import contextvars
import functools
import logging
import shutil
import sys
import time
from collections.abc import Callable
from typing import Any

import keras

from keras_coconut.checks import check_count, check_string, check_verbose

_WIDTH = 20
# Seconds between two updates of a line that moves, and between two lines.
_REDRAW = 0.1
_NEXT_LINE = 30.0

_log = logging.getLogger("keras_coconut")
# The innermost work that is going on in a thread.
_current: contextvars.ContextVar["Progress | None"] = contextvars.ContextVar(
    "progress", default=None
)


class Progress:
    """Shows the progress of a named piece of work.

    In a terminal or a notebook one line is updated. Elsewhere, such as in a log
    file, a new line appears every 30 seconds. Both end with a line that gives
    the total time. The text goes where Keras writes its own: to the standard
    output, or to the log after `keras.config.disable_interactive_logging()`.

    Work that begins while other work goes on is a part of it. A part has no
    line of its own: it counts in that of the whole, which shows its name in
    brackets and has room for at least as many units.

    Args:
        name: string. What is being done.
        total: int. The number of units.
        verbose: `"auto"`, 0, 1 or 2. 0 is silent, 1 and `"auto"` show the
            progress, 2 shows the last line only. Defaults to `"auto"`.
        unit: string, the plural of what is counted. Defaults to `"problems"`.
        done: int. Number of units that an earlier call has done, which say
            nothing about the time left. Defaults to `0`.
        steady: bool. Whether the models that it works with stay as they are
            meanwhile. Defaults to `False`.

    Raises:
        ValueError: If an argument is not one of these.

    Example:
    ```python
    with Progress("controls", total=6) as progress:
        for control in ("none", "noise"):
            with Progress(control, total=3) as part:
                for _ in range(3):
                    part.add()  # "controls (noise): 5/6 problems".
    ```
    """

    def __init__(
        self,
        name,
        total,
        verbose="auto",
        unit="problems",
        done=0,
        steady=False,
    ):
        self.name = check_string("name", name)
        self.total = check_count("total", total)
        self.verbose = check_verbose(verbose)
        self.unit = check_string("unit", unit)
        self.done = check_count("done", done, most=self.total)
        self._before = self.done
        self._start = self._shown_at = time.monotonic()
        self._width = 0
        self._interactive = keras.config.is_interactive_logging_enabled()
        self._moves = self._interactive and _is_live(sys.stdout)
        self._whole: Progress | None = None
        self._part: Progress | None = None
        self._ends: list[Callable[[bool], object]] = []
        self._steady = steady
        # What was found out about models, by the models.
        self._facts: dict[Any, Any] = {}

    def __enter__(self):
        self._whole = _current.get()
        self._token = _current.set(self)
        try:
            self._begin()
        except BaseException:
            # Else later work would be a part of this one, for good.
            self._leave()
            raise
        return self

    def _begin(self):
        if self._whole is None:
            self._draw(anyway=True)
        else:
            self._whole._part = self
            self._whole._make_room(self.total)
            self._whole.skip(self.done)
            self.whole._draw(anyway=self.whole._moves)

    def _leave(self):
        _current.reset(self._token)
        if self._whole is not None:
            self._whole._part = None

    def add(self, count: int = 1) -> None:
        """Counts further units as done; 0 shows that time passes."""
        self._count(count)
        if self._whole is None:
            self._draw()
        else:
            self._whole.add(count)

    def skip(self, count: int) -> None:
        """Counts units as done that an earlier call has done."""
        if not count:
            return
        self._before += count
        self._count(count)
        if self._whole is None:
            self._draw(anyway=self._moves)
        else:
            self._whole.skip(count)

    @property
    def whole(self) -> "Progress":
        """The whole work, of which this one may be a part."""
        return self if self._whole is None else self._whole.whole

    def when_ended(self, function: Callable[[bool], object]) -> None:
        """Calls a function when the whole work has ended.

        Functions are called in their order, each of them even if another one
        or the last line fails.

        Args:
            function: function of a bool: whether the work was finished. It was
                not if an error or an interruption has ended it.
        """
        self.whole._ends.append(function)

    def __exit__(self, kind, error, trace):
        self._leave()
        if self._whole is not None:
            return
        # What is pushed last runs first, and sees the errors before it.
        stack = contextlib.ExitStack()
        for function in reversed(self._ends):
            stack.push(_told(function))
        if self.verbose:
            stack.callback(self._show, self._line(ended=True), ended=True)
        try:
            stack.__exit__(kind, error, trace)
        except BaseException as later:
            # The first error says more, but no interruption may be lost.
            if error is None or (
                isinstance(error, Exception)
                and not isinstance(later, Exception)
            ):
                raise

    def _count(self, count):
        self.done += count
        self.total = max(self.total, self.done)

    def _make_room(self, count):
        self.total = max(self.total, self.done + count)
        if self._whole is not None:
            self._whole._make_room(count)

    def _draw(self, anyway=False):
        if self.verbose != 1:
            return
        pause = _REDRAW if self._moves else _NEXT_LINE
        # Compiling the first batch may take a minute: the line comes before.
        if anyway or time.monotonic() - self._shown_at >= pause:
            self._show(self._line())

    def _line(self, ended=False):
        elapsed = time.monotonic() - self._start
        name, parts = self.name, []
        part = self._part
        while part is not None:
            parts.append(part.name)
            part = part._part
        if parts:
            name += f" ({', '.join(parts)})"
        shown = [f"{name}: {self.done}/{self.total} {self.unit}"]
        if self._before:
            shown.append(f"({self._before} done before)")
        if not ended and self._moves:
            full = _WIDTH * self.done // max(self.total, 1)
            shown.append(f"[{'=' * full}{' ' * (_WIDTH - full)}]")
        shown.append(f"- {_duration(elapsed)}")
        finished = self.done - self._before
        if not ended and finished:
            left = elapsed / finished * (self.total - self.done)
            shown.append(f"- {_duration(left)} left")
        return " ".join(shown)

    def _show(self, line, ended=False):
        self._shown_at = time.monotonic()
        if not self._interactive:
            _log.info("%s", line)
            return
        if self._moves:
            # A line that wraps cannot be drawn over.
            line = line[: shutil.get_terminal_size().columns - 1]
            # Spaces cover what is left of a longer line before.
            width, self._width = self._width, len(line)
            line = "\r" + line.ljust(width)
        sys.stdout.write(line + ("\n" if ended or not self._moves else ""))
        sys.stdout.flush()


def say(line: str) -> None:
    """Shows a line where progress is shown, apart from any line that moves."""
    if keras.config.is_interactive_logging_enabled():
        sys.stdout.write(f"\n{line}\n")
        sys.stdout.flush()
    else:
        _log.info("%s", line)


def current() -> Progress | None:
    """Returns the work that goes on, of which new work would be a part."""
    return _current.get()


def once(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Makes a function of a model run once for each, while models stay as is.

    That is within work that is `steady`. Elsewhere it runs each time.

    Example:
    ```python
    @once
    def size(model):
        return model.count_params()
    ```
    """

    @functools.wraps(function)
    def found(model):
        work, steady = _current.get(), None
        while work is not None:
            steady = work if work._steady else steady
            work = work._whole
        if steady is None:
            return function(model)
        key = function, model
        if key not in steady._facts:
            steady._facts[key] = function(model)
        return steady._facts[key]

    return found


def _told(function):
    """Returns an exit of a `with` block: is the work finished?"""

    def end(kind, error, trace) -> None:
        function(kind is None)

    return end


def _is_live(stream) -> bool:
    """Whether a line can be drawn over: in a terminal and in a notebook."""
    return stream.isatty() or type(stream).__module__.startswith("ipykernel")


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{seconds:02d}"
    return f"{minutes}:{seconds:02d}" if minutes else f"{seconds}s"
