"""What callbacks remember during a run, and what they have written.

No callback says what it would need to go on: a callback of Keras keeps its
best figure, its patience and its counts as plain attributes. So whatever plain
attribute changed during the run is kept.
"""

import os
import re
import socket
from typing import Any

import keras

from keras_coconut.files import shown_path
from keras_coconut.training.saves import equal, plain

# They only draw; and what `fit` itself sets.
_DRAWN = keras.callbacks.ProgbarLogger
_SET_BY_FIT = ("_model", "params")
# TensorBoard's names hold the host and the process that writes.
_EVENTS = re.compile(r"events\.out\.tfevents\.\d+\.(.+)\.(\d+)\.\d+\.v2")


class CallbackStates:
    """The plain attributes of callbacks that changed since they began.

    Args:
        callbacks: list of `keras.callbacks.Callback`s, right after their
            `on_train_begin`.
    """

    def __init__(self, callbacks: list):
        self._callbacks = [c for c in callbacks if not isinstance(c, _DRAWN)]
        self._start = [_attributes(callback) for callback in self._callbacks]

    def get(self) -> list[tuple[str, dict[str, Any]]]:
        """Returns the class of each callback, and what changed of it."""
        changed = []
        for callback, start in zip(self._callbacks, self._start):
            state = {
                name: value
                for name, value in _attributes(callback).items()
                if name not in start or not equal(value, start[name])
            }
            changed.append((type(callback).__name__, state))
        return changed

    def set(self, states: list[tuple[str, dict[str, Any]]]) -> None:
        """Sets what `get` returned, in another process.

        A callback of a class that was not there begins as it is.
        """
        left = list(states)
        for callback in self._callbacks:
            for index, (name, state) in enumerate(left):
                if name == type(callback).__name__:
                    vars(callback).update(plain(state))
                    del left[index]
                    break


def _attributes(callback):
    found = {}
    for name, value in vars(callback).items():
        if name in _SET_BY_FIT:
            continue
        try:
            found[name] = plain(value)
        except TypeError:
            pass  # A file, a model, a function.
    return found


# === Log files ===


def log_sizes(callbacks: list) -> dict[str, int]:
    """Returns the bytes of each log that callbacks have written so far."""
    sizes = {}
    for callback in callbacks:
        for path in _logs(callback):
            if os.path.exists(path):
                sizes[os.path.abspath(path)] = os.path.getsize(path)
    return sizes


def cut_logs(callbacks: list, sizes: dict[str, int], process: tuple) -> None:
    """Cuts logs back to what they held, so that nothing is logged twice.

    Args:
        callbacks: list of callbacks, before their `on_train_begin`.
        sizes: what `log_sizes` returned.
        process: what `this_process` returned then. What it began to write
            later is deleted.

    Raises:
        ValueError: If a log has fewer bytes than it had.
    """
    for callback in callbacks:
        for path in map(os.path.abspath, _logs(callback)):
            size = os.path.getsize(path) if os.path.exists(path) else 0
            known = sizes.get(path, 0)
            writer = _writer(path)
            if path not in sizes and writer and writer != tuple(process):
                continue  # Of another run.
            if size < known:
                raise ValueError(
                    f"`{shown_path(path)}` must hold what it held at the save, "
                    f"at least {known} bytes. Received: {size} bytes"
                )
            if known:
                os.truncate(path, known)
            elif size:
                os.unlink(path)


def this_process() -> tuple[str, int]:
    """Returns the host and the number of this process."""
    return socket.gethostname(), os.getpid()


def _logs(callback):
    if isinstance(callback, keras.callbacks.CSVLogger):
        if not callback.append:
            raise ValueError(
                "`CSVLogger` must have `append=True` with `ResumableTraining`: "
                "a resumed run would empty its file. Received: append=False"
            )
        return [callback.filename]
    if not isinstance(callback, keras.callbacks.TensorBoard):
        return []
    for writer in getattr(callback, "_writers", {}).values():
        writer.flush()
    return [
        os.path.join(folder, name)
        for folder, _, names in os.walk(callback.log_dir)
        for name in names
        if _EVENTS.fullmatch(name)
    ]


def _writer(path):
    """Returns the process that writes a file of TensorBoard's."""
    match = _EVENTS.fullmatch(os.path.basename(path))
    return match and (match.group(1), int(match.group(2)))
