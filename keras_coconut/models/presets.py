"""Errors of presets that cannot be read, with the name of the file."""

import contextlib
import json
import os
import pathlib

import h5py

from keras_coconut.checks import check_path, shown


def check_preset(preset) -> str:
    """Returns a preset's name, handle or folder as KerasHub takes it."""
    return check_path("preset", preset)


@contextlib.contextmanager
def naming(preset: str):
    """Adds the folder and the file to what KerasHub says of a damaged preset.

    Presets that are not in a local folder are left to KerasHub, which checks
    what it downloads.

    Args:
        preset: string. A folder, or the name of a preset elsewhere.

    Raises:
        ValueError: In place of any error, if `preset` is a folder.
    """
    try:
        yield
    except Exception as error:
        if not os.path.isdir(preset):
            raise
        damaged = _damaged_file(pathlib.Path(preset))
        what = (
            f"the file {damaged.name!r} is damaged"
            if damaged
            else "KerasHub says"
        )
        raise ValueError(
            "`preset` must be the folder of a whole preset, as "
            f"`save_to_preset` writes it. Received: preset={shown(preset)}, "
            f"and {what}: {type(error).__name__}, {str(error)[:200]}"
        ) from error


def _damaged_file(folder: pathlib.Path) -> pathlib.Path | None:
    """Returns the first file of a folder that cannot be read, if any."""
    for path in sorted(folder.rglob("*")):
        try:
            if path.suffix == ".json":
                json.loads(path.read_text(encoding="utf-8"))
            elif path.suffix == ".h5":
                h5py.File(path).close()
            elif path.suffix == ".txt":
                # Merges of a tokenizer: two parts on a line, at least one.
                first, *rest = path.read_text(encoding="utf-8").splitlines()
                for line in [first, *rest][first.startswith("#version") :]:
                    _left, _right = line.split()
        except (OSError, ValueError):
            return path
    return None
