"""The state of callbacks during a run, and the logs that they have written.

A Keras callback does not say which state it needs to continue: it keeps its
best figure, its patience and its counts as plain attributes. So every plain
attribute that changed during the run is saved.
"""

import os
import re
import socket
from collections.abc import Iterable
from typing import Any

import keras
from keras import ops

from keras_coconut.execution import replicas
from keras_coconut.files import shown_path, sync
from keras_coconut.training.saves import digest, equal, plain

# They only display progress.
_DRAWN = keras.callbacks.ProgbarLogger
# Attributes that `fit` sets, and one whose sign a Keras callback flips when it
# first reads a figure, which it does again in another process.
_SET_ANEW = ("_model", "params", "min_delta")
# TensorBoard's names hold a second, a host and a process; none comes twice.
_EVENTS = re.compile(r"events\.out\.tfevents\.(\d+)\.(.+)\.(\d+)\.\d+\.v2")
_NUMBER = re.compile(r"^\d+/")
_OF_FIRST_PROCESS = (
    keras.callbacks.CSVLogger,
    keras.callbacks.TensorBoard,
    keras.callbacks.ModelCheckpoint,
    keras.callbacks.RemoteMonitor,
)
# Earlier releases of Keras do not have it.
_ORBAX = tuple(
    getattr(keras.callbacks, name)
    for name in ("OrbaxCheckpoint",)
    if hasattr(keras.callbacks, name)
)


class CallbackStates:
    """The plain attributes of callbacks that changed since they began.

    Args:
        callbacks: list of `keras.callbacks.Callback`s, right after their
            `on_train_begin`.
    """

    def __init__(self, callbacks: list):
        self._callbacks = [c for c in callbacks if not isinstance(c, _DRAWN)]
        self._start = [_attributes(callback) for callback in self._callbacks]

    def get(self) -> list[tuple[str, dict[str, Any], str]]:
        """Returns the state of each callback.

        Returns:
            A list of tuples: the class, what changed, and a digest of how the
            callback began, which tells two of one class apart.
        """
        changed = []
        for callback, start in zip(self._callbacks, self._start):
            state = {
                name: value
                for name, value in _attributes(callback).items()
                if name not in start or not equal(value, start[name])
            }
            changed.append((type(callback).__name__, state, digest(start)))
        return changed

    def set(self, states: list[tuple]) -> None:
        """Sets what `get` returned, in another process.

        Callbacks of one class that began alike are told apart by their order.
        A callback whose class has no saved state stays unchanged.
        """
        left = list(states)
        names = [type(callback).__name__ for callback in self._callbacks]
        begun = list(zip(names, map(digest, self._start)))
        waiting = []
        for callback, (name, start) in zip(self._callbacks, begun):
            # Earlier versions saved no digest.
            alike = [s for s in left if (s[0], *s[2:]) == (name, start)]
            if alike:
                _take(callback, alike[0], left)
            else:
                waiting.append((callback, name))
        for callback, name in waiting:
            for state in [s for s in left if s[0] == name][:1]:
                _take(callback, state, left)

    def reset(self) -> None:
        """Resets all plain attributes to their initial values."""
        for callback, start in zip(self._callbacks, self._start):
            for name in _attributes(callback):
                if name not in start:
                    del vars(callback)[name]
            vars(callback).update(plain(start))


def _take(callback, state, left):
    """Gives a callback a state, which is taken from those that are left."""
    vars(callback).update(plain(state[1]))
    left[:] = [other for other in left if other is not state]


def _attributes(callback):
    found = {}
    for name, value in vars(callback).items():
        if name in _SET_ANEW:
            continue
        try:
            # A callback's own tensor stays what it is.
            is_tensor = ops.is_tensor(value)
            found[name] = plain(value if is_tensor else _figures(value))
        except (TypeError, RuntimeError):
            pass  # A file, a model, a function; what JAX has given away.
    return found


def _figures(value):
    """Returns a structure with NumPy scalars for tensors of one number.

    A callback may add such figures to the logs, which others keep.
    """
    if type(value) is dict:
        return {key: _figures(each) for key, each in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(_figures, value))
    # The truth of TensorFlow's shapes is not whether they are empty.
    if ops.is_tensor(value) and len(value.shape) == 0:
        return ops.convert_to_numpy(value)[()]
    return value


# === Log files ===


def log_sizes(callbacks: list) -> dict[str, int]:
    """Returns the bytes of each log that callbacks have written so far.

    These bytes are on the disk then: a save must not know of more than a power
    cut leaves.

    The keys tell the logs apart wherever their folder lies, and whichever other
    callbacks there are. Logs of one name are told apart by their order.

    Raises:
        ValueError: If a log cannot be continued.
    """
    sizes = {}
    for key, path in _logs(callbacks):
        sizes[key] = 0
        if os.path.exists(path):
            sync(path)
            sync(os.path.dirname(os.path.abspath(path)))
            sizes[key] = os.path.getsize(path)
    return sizes


def cut_logs(
    callbacks: list,
    sizes: dict[str, int],
    saved_at: float,
    processes: Iterable[tuple[str, int]],
    before: Iterable[str],
) -> None:
    """Cuts logs back to what they held, so that nothing is logged twice.

    Args:
        callbacks: list of callbacks, before their `on_train_begin`.
        sizes: what `log_sizes` returned. Other logs stay, but for those of
            TensorBoard that the run itself began later.
        saved_at: float, the time of the save in seconds.
        processes: what `this_process` returned in each process of the run.
        before: the keys of `log_sizes` when this process began with the run.

    Raises:
        ValueError: If a log has fewer bytes than it had.
    """
    known_processes = {(host, number) for host, number in processes}
    sizes = _by_name(sizes)
    for key, path in _logs(callbacks):
        events = _EVENTS.fullmatch(os.path.basename(path))
        if key not in before:
            continue  # Of this process.
        if events:
            begun_at, host, process = events.groups()
            if (host, int(process)) not in known_processes:
                continue  # Of another run.
            if key not in sizes and int(begun_at) < int(saved_at):
                continue  # Of a callback that was not there.
        elif key not in sizes:
            continue  # Of a callback that was not there.
        known = sizes.get(key, 0)
        size = os.path.getsize(path) if os.path.exists(path) else 0
        if size < known:
            raise ValueError(
                f"`{shown_path(path)}` must hold what it held at the save, at "
                f"least {known} bytes. Received: {size} bytes. Restore the "
                "file, or begin a new one: give `CSVLogger` a `filename` of "
                "another name, `TensorBoard` another `log_dir`"
            )
        if known:
            os.truncate(path, known)
        elif size:
            os.unlink(path)


def _by_name(sizes):
    """Returns sizes by the keys of `_logs`.

    Earlier versions put a number before each name.
    """
    found: dict[str, int] = {}
    for key, size in sizes.items():
        found[_key(_NUMBER.sub("", key), found)] = size
    return found


def _key(name, keys):
    """Returns the key of one more log of a name, where there are others."""
    same = sum(key == name or key.startswith(f"{name}/") for key in keys)
    return f"{name}/{same}" if same else name


def this_process() -> tuple[str, int]:
    """Returns the host and the number of this process."""
    return socket.gethostname(), os.getpid()


def writes_logs(callback) -> bool:
    """Whether only the first process may run a callback of Keras.

    It writes files that several processes would mix up, or sends figures that
    they would send again.
    """
    if isinstance(callback, _ORBAX) and keras.config.backend() == "jax":
        # All processes write one checkpoint together.
        return False
    return only_writes(callback)


def only_writes(callback) -> bool:
    """Whether a callback of Keras only writes or sends what a run computes."""
    return isinstance(callback, (*_OF_FIRST_PROCESS, *_ORBAX))


def of_this_process(callbacks: list) -> list:
    """Returns the callbacks that this process runs.

    Raises:
        ValueError: If one of them restores in each process what each writes.
    """
    if replicas.num_processes() == 1:
        return callbacks
    if any(isinstance(c, keras.callbacks.BackupAndRestore) for c in callbacks):
        raise ValueError(
            "`callbacks` must hold a `ResumableTraining` where several "
            "processes train together: each would write the files of "
            "`BackupAndRestore`. Received: a BackupAndRestore"
        )
    if replicas.process_index():
        return [c for c in callbacks if not writes_logs(c)]
    return callbacks


def _logs(callbacks):
    """Returns a key and a path for each log of callbacks."""
    found: list[tuple[str, str]] = []
    for callback in callbacks:
        if isinstance(callback, keras.callbacks.CSVLogger):
            if not callback.append:
                raise ValueError(
                    "`CSVLogger` must have `append=True` with "
                    "`ResumableTraining`: a resumed run would empty its file. "
                    "Received: append=False"
                )
            name = os.path.basename(callback.filename)
            key = _key(name, [known for known, _ in found])
            found.append((key, callback.filename))
        elif isinstance(callback, keras.callbacks.TensorBoard):
            for writer in getattr(callback, "_writers", {}).values():
                writer.flush()
            for part in ("train", "validation"):
                folder = os.path.join(callback.log_dir, part)
                for name in os.listdir(folder) if os.path.isdir(folder) else ():
                    if _EVENTS.fullmatch(name):
                        path = os.path.join(folder, name)
                        found.append((f"{part}/{name}", path))
    return found
