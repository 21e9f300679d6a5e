"""One line that says what is being done, how far it is and how long it takes.

`keras.utils.Progbar` shows no name, and fills a log file with every step.
"""

import logging
import shutil
import sys
import time

import keras

from keras_coconut.checks import check_count, check_string, check_verbose

_WIDTH = 20
# Seconds between two updates of a line that moves, and between two lines.
_REDRAW = 0.1
_NEXT_LINE = 30.0

_log = logging.getLogger("keras_coconut")


class Progress:
    """Shows how far a named piece of work has come.

    In a terminal or a notebook one line moves. Elsewhere, such as in a log
    file, a new line appears every 30 seconds. Both end with a line that gives
    the whole time. The text goes where Keras writes its own: to the standard
    output, or to the log after `keras.config.disable_interactive_logging()`.

    Args:
        name: string. What is being done.
        total: int. The number of units.
        verbose: `"auto"`, 0, 1 or 2. 0 is silent, 1 and `"auto"` show the
            progress, 2 shows the last line only. Defaults to `"auto"`.
        unit: string, the plural of what is counted. Defaults to `"problems"`.
        done: int. Units that were done before. Defaults to `0`.

    Raises:
        ValueError: If an argument is not one of these.

    Example:
    ```python
    with Progress("evaluate", total=3) as progress:
        for _ in range(3):
            progress.add()
    ```
    """

    def __init__(self, name, total, verbose="auto", unit="problems", done=0):
        self.name = check_string("name", name)
        self.total = check_count("total", total)
        self.verbose = check_verbose(verbose)
        self.unit = check_string("unit", unit)
        self.done = check_count("done", done, most=self.total)
        self._first = self.done
        self._start = self._shown_at = time.monotonic()
        self._width = 0
        self._interactive = keras.config.is_interactive_logging_enabled()
        self._moves = self._interactive and _is_live(sys.stdout)

    def __enter__(self):
        if self.verbose == 1:
            # Compiling the first batch may take a minute.
            self._show(self._line())
        return self

    def add(self, count: int = 1) -> None:
        """Counts further units as done."""
        self.done += count
        if self.verbose != 1:
            return
        pause = _REDRAW if self._moves else _NEXT_LINE
        if time.monotonic() - self._shown_at >= pause:
            self._show(self._line())

    def __exit__(self, kind, error, trace):
        if self.verbose:
            self._show(self._line(ended=True), ended=True)

    def _line(self, ended=False):
        elapsed = time.monotonic() - self._start
        parts = [f"{self.name}: {self.done}/{self.total} {self.unit}"]
        if not ended and self._moves:
            full = _WIDTH * self.done // max(self.total, 1)
            parts.append(f"[{'=' * full}{' ' * (_WIDTH - full)}]")
        parts.append(f"- {_duration(elapsed)}")
        finished = self.done - self._first
        if not ended and finished:
            left = elapsed / finished * (self.total - self.done)
            parts.append(f"- {_duration(left)} left")
        return " ".join(parts)

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


def _is_live(stream) -> bool:
    """Whether a line can be drawn over: in a terminal and in a notebook."""
    return stream.isatty() or type(stream).__module__.startswith("ipykernel")


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{seconds:02d}"
    return f"{minutes}:{seconds:02d}" if minutes else f"{seconds}s"
