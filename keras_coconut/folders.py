"""Folders of files that are written aside and moved into place."""

import contextlib
import os
import pathlib
import secrets
import shutil
import time

from keras_coconut.files import PARTIAL, UNFINISHED, make_folder, sync

# Seconds after which an unfinished folder counts as abandoned.
_LONG_AGO = 3600.0


def remove_abandoned(folder: str) -> None:
    """Deletes a folder that nobody has written to for an hour.

    Not at once, since its writer may live on another machine.
    """
    with contextlib.suppress(OSError):  # Another may have deleted it.
        times = [entry.stat().st_mtime for entry in os.scandir(folder)]
        newest = max([os.stat(folder).st_mtime, *times])
        if time.time() - newest > _LONG_AGO:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def folder_aside(folder: str):
    """Makes a temporary folder in a folder, to be filled and moved from.

    It deletes those that processes left which were killed long ago.

    Yields:
        A tuple of the temporary folder, a `pathlib.Path` that does not exist
        yet, and of a function that moves its files to the same places in the
        folder, each as a whole. The function takes a key by which their
        relative paths are sorted first, and returns these paths.
    """
    make_folder(folder)
    for entry in os.scandir(folder):
        if UNFINISHED.fullmatch(entry.name) and entry.is_dir():
            remove_abandoned(entry.path)
    written = pathlib.Path(folder, f".{secrets.token_hex(16)}{PARTIAL}")

    def move(key=None):
        files = [p.relative_to(written) for p in written.rglob("*")]
        files = [path for path in files if (written / path).is_file()]
        for path in sorted(files, key=key):
            target = pathlib.Path(folder, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            sync(written / path)
            os.replace(written / path, target)
        for changed in {pathlib.Path(folder, path).parent for path in files}:
            sync(changed)
        return files

    try:
        yield written, move
    finally:
        shutil.rmtree(written, ignore_errors=True)
