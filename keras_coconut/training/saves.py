"""The save files of a training run: complete, checked and few.

A save is one file of NumPy's own format: the arrays of a structure of plain
values, after the structure itself as JSON. It is written to a temporary file
and moved into place, and its name holds the digest of its content.
"""

import concurrent.futures
import contextlib
import hashlib
import json
import os
import re
from typing import Any

import numpy as np

from keras_coconut.files import (
    UNFINISHED,
    make_folder,
    shown_path,
    try_lock,
    written_aside,
)

_NAME = "save-{number:012d}-{digest}.save"
_PATTERN = re.compile(r"save-(\d{12})-([0-9a-f]{32})\.save")
_LOCK, _NOTES = "lock", "processes"


class Saves:
    """The saves in a folder, which one run at a time may use.

    Args:
        folder: string. Made if it is missing.
        keep: int. How many saves stay; older ones are deleted once a new one
            is whole.
        writes: bool. Whether this process writes them. Where several train
            together, the others only read. Defaults to `True`.

    Raises:
        ValueError: If another run uses the folder.
        OSError: If the folder cannot be written to.
    """

    def __init__(self, folder: str, keep: int, writes: bool = True):
        self.folder = folder
        self._keep = keep
        self._pending: concurrent.futures.Future | None = None
        self._writer: concurrent.futures.ThreadPoolExecutor | None = None
        make_folder(folder)
        if not writes:
            return
        self._lock = open(os.path.join(folder, _LOCK), "a")
        if not try_lock(self._lock):
            self._lock.close()
            raise ValueError(
                "`folder` must not be in use. Received: "
                f"folder={shown_path(folder)!r}, in which another run is saved "
                "right now"
            )
        for entry in os.scandir(folder):
            # What a run left that was killed while it saved.
            if UNFINISHED.fullmatch(entry.name) and entry.is_file():
                os.unlink(entry.path)
        self._writer = concurrent.futures.ThreadPoolExecutor(1)

    def close(self) -> None:
        """Waits for the last write, and releases the folder."""
        if self._writer is None:
            return
        try:
            self.wait()
        finally:
            self._writer.shutdown()
            self._lock.close()

    def note(self, entry: Any) -> list:
        """Notes an entry beside the saves; returns all that were noted.

        Args:
            entry: plain values that JSON keeps.
        """
        if self._writer is None:
            return []
        noted = []
        with open(os.path.join(self.folder, _NOTES), "a+") as file:
            # A line of its own, also after one that was cut off.
            file.write(f"\n{json.dumps(entry)}\n")
            file.seek(0)
            for line in file:
                with contextlib.suppress(json.JSONDecodeError):
                    noted.append(json.loads(line))
        return noted

    def newest_name(self) -> str:
        """Returns the name of the newest save; empty if there is none."""
        return (self._sorted() or [""])[-1]

    def newest(self) -> Any:
        """Returns what the newest save holds, or `None` if there is none.

        Raises:
            ValueError: If it is damaged; names the file, and what to do.
        """
        saves = self._sorted()
        if not saves:
            return None
        path = os.path.join(self.folder, saves[-1])
        try:
            return _read(path)
        except ValueError as error:
            remedy = "delete the folder to begin anew"
            if len(saves) > 1:
                remedy = f"delete it to resume from {saves[-2]}"
            raise ValueError(
                f"`{shown_path(path)}` must be what was written: {error}. "
                f"Nothing was restored; {remedy}"
            ) from error

    def drop_newest(self) -> None:
        """Deletes the newest save, if there is another one."""
        self.wait()
        names = self._sorted()
        if self._writer is not None and len(names) > 1:
            os.unlink(os.path.join(self.folder, names[-1]))

    def write(self, number: int, state: Any) -> None:
        """Writes a save in the background.

        Args:
            number: int, in the name of the save, whose place is behind all
                others: a number that is not higher is raised.
            state: plain values; see `plain`. They must not change later.

        Raises:
            OSError: If the save before this one could not be written.
        """
        self.wait()
        if self._writer is not None:
            self._pending = self._writer.submit(self._write, number, state)

    def wait(self) -> None:
        """Waits until the last save is complete, or raises its error."""
        pending, self._pending = self._pending, None
        if pending is None:
            return
        try:
            pending.result()
        except OSError as error:
            raise type(error)(
                error.errno,
                f"{error.strerror}: a save of the run could not be written. "
                "The one before it is whole",
                shown_path(self.folder),
            ) from error

    def _write(self, number, state):
        # A run is saved twice without a step between where it leaves out the
        # last steps of an epoch.
        for newest in self._sorted()[-1:]:
            number = max(number, 1 + int(newest.split("-")[1]))
        with written_aside(self.folder) as (file, move):
            hashed = _Hashed(file)
            arrays: list[np.ndarray] = []
            text = json.dumps(_pack(state, arrays))
            arrays.insert(0, np.frombuffer(text.encode(), "uint8"))
            for array in arrays:
                np.save(hashed, array, allow_pickle=False)
            name = _NAME.format(number=number, digest=hashed.digest())
            move(os.path.join(self.folder, name))
        for older in self._sorted()[: -self._keep]:
            os.unlink(os.path.join(self.folder, older))

    def _sorted(self):
        return sorted(filter(_PATTERN.fullmatch, os.listdir(self.folder)))


class _Hashed:
    """A file that takes the digest of what is written."""

    def __init__(self, file):
        self._file = file
        self._hash = hashlib.sha256()

    def write(self, data):
        self._hash.update(data)
        return self._file.write(data)

    def digest(self):
        return self._hash.hexdigest()[:32]


def _read(path):
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()[:32]
        [(_, expected)] = _PATTERN.findall(os.path.basename(path))
        if found != expected:
            size = os.path.getsize(path)
            raise ValueError(
                f"its {size} bytes have the digest {found} and not {expected}, "
                "so it was cut off or changed"
            )
        file.seek(0)
        structure = json.loads(np.load(file).tobytes())
        arrays = []
        while file.tell() < os.path.getsize(path):
            arrays.append(np.load(file, allow_pickle=False))
    return _unpack(structure, arrays)


# === Plain values ===


def plain(value: Any) -> Any:
    """Returns a copy of numbers, strings, arrays, and structures of these.

    Raises:
        TypeError: If there is anything else in it.

    Example:
    ```python
    plain({"best": 0.5, "weights": (np.zeros(3),)})
    ```
    """
    arrays: list[np.ndarray] = []
    return _unpack(_pack(value, arrays), [array.copy() for array in arrays])


def equal(one: Any, other: Any) -> bool:
    """Returns whether two structures of plain values are the same."""
    found: list[str] = []
    arrays: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for value, own in zip((one, other), arrays):
        found.append(json.dumps(_pack(value, own)))
    return found[0] == found[1] and all(
        a.tobytes() == b.tobytes() for a, b in zip(*arrays, strict=True)
    )


def digest(value: Any) -> str:
    """Returns a digest of a structure of plain values.

    Example:
    ```python
    digest({"patience": 2, "monitor": "loss"})
    ```
    """
    arrays: list[np.ndarray] = []
    found = hashlib.sha256(json.dumps(_pack(value, arrays)).encode())
    for array in arrays:
        found.update(array.tobytes())
    return found.hexdigest()[:32]


def _pack(value, arrays):
    """Returns what JSON can hold; arrays are added to a list."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) is list:
        return [_pack(each, arrays) for each in value]
    if type(value) is tuple:
        return {"tuple": [_pack(each, arrays) for each in value]}
    if type(value) is dict:
        return {"dict": [_pack([*item], arrays) for item in value.items()]}
    if isinstance(value, np.ndarray | np.generic):
        name, scalar = value.dtype.name, not isinstance(value, np.ndarray)
        array = np.asarray(value)
        if array.dtype.hasobject:
            raise TypeError(f"an array of {array.dtype} is not plain")
        if array.dtype.kind == "V":
            # NumPy's files do not know bfloat16 and its like.
            array = array.view(f"uint{8 * array.dtype.itemsize}")
        arrays.append(array)
        entry = {"array": len(arrays) - 1, "dtype": name, "scalar": scalar}
        return {**entry, "shape": list(array.shape)}
    raise TypeError(f"{type(value).__name__} is not plain")


def _unpack(value, arrays):
    if isinstance(value, list):
        return [_unpack(each, arrays) for each in value]
    if not isinstance(value, dict):
        return value
    if "tuple" in value:
        return tuple(_unpack(value["tuple"], arrays))
    if "dict" in value:
        return dict(_unpack(value["dict"], arrays))
    # Keras needs it, too; it tells NumPy what bfloat16 is.
    import ml_dtypes  # noqa: F401

    dtype = np.dtype(value["dtype"])
    array = arrays[value["array"]]
    if array.dtype != dtype:
        array = array.view(dtype)
    return array[()] if value["scalar"] else array
