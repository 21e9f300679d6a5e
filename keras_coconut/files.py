"""Files: read with an error that names them, written whole or not at all.

A file is written under a unique temporary name in the same folder and then
renamed. So a reader never sees half of it, and two writers of one path never
mix their text.
"""

import codecs
import contextlib
import errno
import os
import pathlib
import re
import secrets
import stat
import sys
import weakref
from collections.abc import Iterator

from keras_coconut.checks import check_path, check_string

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

# How the names of files end that are not whole yet.
PARTIAL = ".partial"
# What is being written, and what a process left that was killed while it wrote.
UNFINISHED = re.compile(r"\.[0-9a-f]{32}" + re.escape(PARTIAL))

# Characters of a path in a message. Its end tells more than its start.
_SHOWN_PATH = 200

# Bytes that are read at once.
_PIECE = 2**20

# Windows blocks reads of locked bytes, so lock a byte far past the end.
_LOCKED_BYTE = 2**30

# What a file is that starts with these bytes, and what to do about it.
_NO_TEXT = {
    b"\x1f\x8b": "gzip: unpack it with `gunzip`",
    b"PK\x03\x04": "a zip archive: unpack it with `unzip`",
    b"BZh": "bzip2: unpack it with `bunzip2`",
    b"\xfd7zXZ\x00": "xz: unpack it with `unxz`",
    b"\x28\xb5\x2f\xfd": "zstandard: unpack it with `unzstd`",
    b"PAR1": "parquet: let its name end in `.parquet`",
    b"\xff\xfe": "UTF-16: save it as UTF-8",
    b"\xfe\xff": "UTF-16: save it as UTF-8",
}


def shown_path(path) -> str:
    """Returns a path, shortened to fit a message.

    Example:
    ```python
    shown_path("data/problems.json")
    ```
    """
    path = os.fspath(path)
    if len(path) <= _SHOWN_PATH:
        return path
    return "..." + path[3 - _SHOWN_PATH :]


@contextlib.contextmanager
def short_errors():
    """Shortens the path in an error of the operating system.

    Example:
    ```python
    with short_errors():
        open(__file__).close()
    ```
    """
    try:
        yield
    except OSError as error:
        if error.filename is None or len(error.filename) <= _SHOWN_PATH:
            raise
        raise type(error)(
            error.errno, error.strerror, shown_path(error.filename)
        ) from None


def make_folder(path: str) -> None:
    """Makes a folder and its parents if they are missing.

    Example:
    ```python
    make_folder("runs/best")
    ```
    """
    with short_errors():
        try:
            os.stat(path)
        except FileNotFoundError:
            # `os.makedirs` calls itself, too often for some paths.
            folder = pathlib.Path(path)
            for parent in (*reversed(folder.parents), folder):
                if not parent.is_dir():
                    parent.mkdir(exist_ok=True)
        if not os.path.isdir(path):
            raise NotADirectoryError(errno.ENOTDIR, "Not a folder", path)


def read_text(path) -> str:
    r"""Reads a text file in UTF-8, with or without a byte order mark.

    Line breaks are returned as they are.

    Args:
        path: string or path-like. The file.

    Returns:
        A string, without the byte order mark.

    Raises:
        ValueError: If the file is not UTF-8; names the file, and says what it
            is where its first bytes tell.
        OSError: If the file cannot be opened.

    Example:
    ```python
    write_whole("notes.txt", "two\nlines")
    read_text("notes.txt")
    ```
    """
    return "".join(read_pieces(path))


def read_pieces(path, on_read=None) -> Iterator[str]:
    """Yields the text of a UTF-8 file, about a million characters at a time.

    Args:
        path: string or path-like. The file; see `read_text`.
        on_read: function of the number of bytes read so far. Defaults to
            `None`.

    Example:
    ```python
    write_whole("notes.txt", "All of it, or nothing.")
    sum(len(piece) for piece in read_pieces("notes.txt"))
    ```
    """
    path = check_path("path", path)
    decoder = codecs.getincrementaldecoder("utf-8")()
    with short_errors(), open(path, "rb") as file:
        head = file.read(len(codecs.BOM_UTF8))
        if head == codecs.BOM_UTF8:
            head = b""
        # Bytes of the file before those that the decoder has not turned into
        # text yet.
        start, data = file.tell() - len(head), head + file.read(_PIECE)
        head = data
        while True:
            try:
                text = decoder.decode(data, final=not data)
            except UnicodeDecodeError as error:
                raise _no_text(path, error, start, head) from error
            start = file.tell() - len(decoder.getstate()[0])
            if text:
                yield text
            if not data:
                return
            if on_read is not None:
                on_read(file.tell())
            data = file.read(_PIECE)


def _no_text(path, error, start, head):
    received = (
        f"the byte 0x{error.object[error.start]:02x} at position "
        f"{start + error.start}: save it as UTF-8"
    )
    for start, what in _NO_TEXT.items():
        if head.startswith(start):
            received = what
    return ValueError(
        f"`{shown_path(path)}` must be text in UTF-8. Received {received}"
    )


def write_whole(path, text: str) -> None:
    """Writes a text file in UTF-8, which appears only once it is whole.

    An existing file keeps its permissions. After an error it is unchanged, and
    nothing else is left in the folder. If several writers write one path, the
    last one wins.

    Args:
        path: string or path-like. The file. If it is a link, the target of the
            link is written.
        text: string.

    Raises:
        ValueError: If the text cannot be written in UTF-8; names the path.
        OSError: If the file cannot be written.

    Example:
    ```python
    write_whole("notes.txt", "All of it, or nothing.")
    ```
    """
    path = check_writable("path", path)
    text = check_string("text", text)
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"`{shown_path(path)}`: the text must not hold half a surrogate "
            "pair, which UTF-8 cannot write. Received: "
            f"{text[error.start]!a} at position {error.start}"
        ) from error
    target = os.path.realpath(path)
    with written_aside(os.path.dirname(target)) as (file, move):
        if os.path.exists(target):
            os.chmod(file.name, stat.S_IMODE(os.stat(target).st_mode))
        file.write(data)
        move(target)


@contextlib.contextmanager
def written_aside(folder: str):
    """Opens a temporary file in a folder, to be moved into place once complete.

    Yields:
        A tuple of the file, open for writing bytes, and of a function of a
        path in the same folder, which syncs the file to disk and moves it to
        that path. A file that is not moved is deleted.

    Example:
    ```python
    with written_aside(".") as (file, move):
        file.write(b"All of it, or nothing.")
        move("./notes.txt")
    ```
    """
    # No part of the final name, which may be as long as a name can be.
    temporary = os.path.join(folder, f".{secrets.token_hex(16)}{PARTIAL}")

    def move(target):
        file.flush()
        os.fsync(file.fileno())
        file.close()  # Windows moves no open file.
        os.replace(temporary, target)
        sync(folder)

    # Unlike `tempfile`, `open` leaves the permissions to the umask.
    with open(temporary, "xb") as file:
        try:
            yield file, move
        finally:
            if os.path.exists(temporary):
                _discard(file, temporary)


def _discard(file, path):
    # What is still in the buffer may not fit on the disk.
    with contextlib.suppress(OSError):
        file.close()
    os.unlink(path)


def sync(path) -> None:
    """Makes sure that a file, or the names in a folder, are on the disk.

    Example:
    ```python
    sync(__file__)
    ```
    """
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        # Some file systems of a network.
        pass
    finally:
        os.close(descriptor)


# Files that this process has locked. A process that it forks, as workers of a
# dataset are, must not keep them locked once this one has ended.
_locked: weakref.WeakSet = weakref.WeakSet()


def _leave_locks():
    for file in list(_locked):
        with contextlib.suppress(OSError):
            file.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_locks)


def try_lock(file) -> bool:
    """Locks an open file until it is closed.

    The lock belongs to the operating system, which releases it when the process
    ends, however it ends. It stops only those who ask for the lock too.

    Args:
        file: a file object, open for writing.

    Returns:
        `False` if the file is locked elsewhere: by another process, or by
        another `open` in this one. `True` also on a file system without locks.

    Example:
    ```python
    with open("notes.txt", "a") as file:
        try_lock(file)
    ```
    """
    if sys.platform == "win32":
        os.lseek(file.fileno(), _LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    _locked.add(file)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        # Some file systems of a network.
        pass
    return True


def check_writable(name: str, path) -> str:
    """Returns a path as a string if a file can be written there.

    Call it before hours of work whose results go there. It writes nothing.

    Args:
        name: string. The argument's name.
        path: string or path-like. The file, which may exist.

    Returns:
        A string.

    Raises:
        ValueError: If `path` is not a path.
        OSError: If the folder is missing, is not a folder or cannot be written
            to, or if the path is a folder or a file that cannot be written to;
            names the argument and the path.

    Example:
    ```python
    check_writable("results_path", "results.json")
    ```
    """
    path = check_path(name, path)
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        mode = None
    except NotADirectoryError:
        raise NotADirectoryError(
            _refused(name, "lie in a folder, not under a file", path)
        ) from None
    except OSError as error:
        # A name that is too long, for example, or a circle of links.
        raise type(error)(
            _refused(name, "be a file that can be written", path)
            + f": {error.strerror}"
        ) from error
    # Now that it is not too long, of which it would follow every part.
    target = os.path.realpath(path)
    folder = os.path.dirname(target)
    if path.endswith(os.sep) or (mode is not None and stat.S_ISDIR(mode)):
        raise IsADirectoryError(_refused(name, "be a file, not a folder", path))
    if mode is not None and not stat.S_ISREG(mode):
        # A device would be replaced by a file.
        raise ValueError(
            _refused(name, "be a file, not a device or a pipe", path)
        )
    if not os.path.exists(folder):
        raise FileNotFoundError(
            _refused(name, "lie in a folder that exists", path)
        )
    for needed, access in ((folder, os.W_OK | os.X_OK), (target, os.W_OK)):
        if os.path.exists(needed) and not os.access(needed, access):
            raise PermissionError(
                _refused(name, "be a file that you may write", path)
            )
    return path


def _refused(name: str, expected: str, path: str) -> str:
    return f"`{name}` must {expected}. Received: {name}={shown_path(path)!r}"
