"""Files: whole or not at all, refused before any work, and named in errors."""

import bz2
import errno
import gzip
import lzma
import os
import pathlib
import stat
import threading
import types

import pytest

from keras_coconut import files
from keras_coconut.files import (
    check_writable,
    read_text,
    try_lock,
    write_whole,
)

pytestmark = pytest.mark.any_backend


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    return path


def only(path):
    """Whether a file is alone in its folder."""
    return os.listdir(path.parent) == [path.name]


def test_text_comes_back_as_it_was(path):
    text = "\ufeffa\r\nb\rc\n\u2028\x85\x0b\x0c\0é😀"
    write_whole(path, text)
    assert path.read_bytes() == text.encode()
    # One byte order mark is of the file, not of the text.
    assert read_text(path) == text[1:]
    assert only(path)


def test_another_writer_in_between(path, monkeypatch):
    replace = os.replace

    def other_first(*names):
        monkeypatch.setattr(os, "replace", replace)
        write_whole(path, "other" * 10_000)
        assert path.read_text() == "other" * 10_000
        replace(*names)

    monkeypatch.setattr(os, "replace", other_first)
    write_whole(path, "mine")
    assert path.read_text() == "mine"
    assert only(path)


def test_many_writers_and_a_reader(path):
    texts = [character * 50_000 for character in "abcd"]
    write_whole(path, texts[0])
    errors = []

    def write(text):
        try:
            for _ in range(20):
                write_whole(path, text)
                assert path.read_text() in texts
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=[text]) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert only(path)


@pytest.mark.parametrize("error", [OSError("full"), KeyboardInterrupt()])
@pytest.mark.parametrize("step", ["fsync", "replace", "chmod"])
def test_an_error_leaves_the_old_file_and_no_other(
    path, monkeypatch, error, step
):
    def fail(*args):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(os, step, fail)
        with pytest.raises(type(error)):
            write_whole(path, "new")
    assert path.read_text() == "old"
    assert only(path)


def test_half_a_surrogate_pair_names_the_path(path):
    for text in ("a\ud800b", "\udfff", "x" * 10**6 + "\ud83d"):
        with pytest.raises(ValueError, match="file.txt`.*surrogate.*ud") as e:
            write_whole(path, text)
        assert len(str(e.value)) < 500
    assert path.read_text() == "old"
    assert only(path)


@pytest.mark.parametrize("text", [None, b"bytes", 3, ["text"]])
def test_what_is_no_text(path, text):
    with pytest.raises(ValueError, match="`text` must be a string"):
        write_whole(path, text)
    assert path.read_text() == "old"


def test_permissions_are_those_of_open(tmp_path):
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "new", "text")
        with open(tmp_path / "opened", "w"):
            pass
        modes = [
            stat.S_IMODE(os.stat(tmp_path / name).st_mode)
            for name in ("new", "opened")
        ]
        assert modes == [0o640, 0o640]
        # A file that is there keeps its own.
        os.chmod(tmp_path / "new", 0o604)
        write_whole(tmp_path / "new", "again")
        assert stat.S_IMODE(os.stat(tmp_path / "new").st_mode) == 0o604
    finally:
        os.umask(before)


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "folder").mkdir()
    link = tmp_path / "link"
    for target in ("folder/there", "folder/new"):
        (tmp_path / "folder" / "there").write_text("old")
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        write_whole(link, "text")
        assert link.is_symlink()
        assert (tmp_path / target).read_text() == "text"


def test_names_as_long_as_a_name_can_be(tmp_path):
    path = tmp_path / ("n" * 255)
    write_whole(check_writable("path", path), "text")
    assert read_text(path) == "text"
    with pytest.raises(OSError, match="`results_path`.*too long") as error:
        check_writable("results_path", tmp_path / ("n" * 256))
    assert len(str(error.value)) < 500


def test_paths_within_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert check_writable("path", pathlib.Path("file")) == "file"
    write_whole("file", "text")
    assert read_text("file") == "text"


@pytest.mark.parametrize(
    ("where", "kind", "message"),
    [
        ("no/file", FileNotFoundError, "folder that exists"),
        ("no/nor/this/file", FileNotFoundError, "folder that exists"),
        ("file.txt/file", NotADirectoryError, "not under a file"),
        ("folder", IsADirectoryError, "not a folder"),
        ("missing/", IsADirectoryError, "not a folder"),
        ("pipe", ValueError, "not a device or a pipe"),
        ("circle", OSError, "can be written"),
        ("a\0b", ValueError, "a path"),
    ],
)
def test_where_nothing_can_be_written(path, where, kind, message):
    folder = path.parent
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "circle").symlink_to("circle")
    names = sorted(os.listdir(folder))
    # As a string: `pathlib` drops a slash at the end.
    target = f"{folder}/{where}"
    for check in (
        lambda: check_writable("results_path", target),
        lambda: write_whole(target, "text"),
    ):
        with pytest.raises(kind, match=message) as error:
            check()
        assert len(str(error.value)) < 500
    with pytest.raises(kind, match=f"`results_path` must.*{message}") as error:
        check_writable("results_path", target)
    assert where in str(error.value) or where == "a\0b"
    assert sorted(os.listdir(folder)) == names
    assert path.read_text() == "old"


@pytest.mark.parametrize("path", [None, 3, "", b"bytes", ["file"]])
def test_what_is_no_path(path):
    for call in (
        lambda: check_writable("path", path),
        lambda: write_whole(path, "text"),
        lambda: read_text(path),
    ):
        with pytest.raises(ValueError, match="`path` must be a path"):
            call()


@pytest.mark.parametrize("denied", ["folder", "file"])
def test_no_permission(path, monkeypatch, denied):
    # The tests may run as root, to whom nothing is forbidden.
    target = path.parent if denied == "folder" else path
    access = os.access

    def asked(where, mode):
        if os.fspath(where) == os.path.realpath(target) and mode & os.W_OK:
            return False
        return access(where, mode)

    monkeypatch.setattr(files.os, "access", asked)
    with pytest.raises(
        PermissionError, match="`out` must.*may write.*file.txt"
    ):
        check_writable("out", path)
    with pytest.raises(PermissionError):
        write_whole(path, "text")
    assert path.read_text() == "old"
    assert only(path)


def test_checking_writes_nothing(path):
    check_writable("path", path)
    check_writable("path", path.parent / "new")
    assert path.read_text() == "old"
    assert only(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (gzip.compress(b"text", mtime=0), "gzip.*gunzip"),
        (bz2.compress(b"text"), "bzip2.*bunzip2"),
        (lzma.compress(b"text"), "xz.*unxz"),
        ("text".encode("utf-16"), "UTF-16.*save it as UTF-8"),
        ("text".encode("utf-16-be"), None),
        ("\ufefftext".encode("utf-16-be"), "UTF-16.*save it as UTF-8"),
        (b"PAR1\xff", "parquet.*end in `.parquet`"),
        ("café".encode("latin-1"), "0xe9 at position 3.*UTF-8"),
        (b"a" * 10**6 + b"\x80", "0x80 at position 1000000"),
    ],
)
def test_what_is_not_utf8(path, data, message):
    path.write_bytes(data)
    if message is None:
        # UTF-16 without a mark may be text in UTF-8, if odd text.
        assert read_text(path) == "\0t\0e\0x\0t"
        return
    with pytest.raises(ValueError, match=f"file.txt` must.*{message}") as error:
        read_text(path)
    assert len(str(error.value)) < 500


def test_text_that_begins_like_an_archive(path):
    for text in ("BZh is a name", "PAR1 is one too", "PK\x03\x04"):
        write_whole(path, text)
        assert read_text(path) == text


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_text(tmp_path / "nowhere")


def test_long_paths_show_their_end():
    path = "folder/" * 1000 + "file.txt"
    assert files.shown_path("a/b") == "a/b"
    assert files.shown_path(path).endswith("/file.txt")
    assert len(files.shown_path(path)) == 200


def test_a_lock_ends_with_its_file(path):
    with open(path, "a") as one, open(path, "a") as two:
        assert try_lock(one)
        assert not try_lock(two)
        one.close()
        assert try_lock(two)


def test_a_file_system_without_locks(path, monkeypatch):
    """Nothing is lost there that was not lost without any lock."""
    fcntl = pytest.importorskip("fcntl")

    def no_locks(file, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with open(path, "a") as one, open(path, "a") as two:
        assert try_lock(one) and try_lock(two)


def test_a_lock_on_windows(path, monkeypatch):
    """Of one byte, far behind what others read and what is written."""
    fcntl = pytest.importorskip("fcntl")

    def locking(number, mode, count):
        assert (mode, count) == ("no waiting", 1)
        assert os.lseek(number, 0, os.SEEK_CUR) == 2**30
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PermissionError(errno.EACCES, "Permission denied") from None

    msvcrt = types.SimpleNamespace(locking=locking, LK_NBLCK="no waiting")
    monkeypatch.setattr(files, "msvcrt", msvcrt, raising=False)
    monkeypatch.setattr(files, "sys", types.SimpleNamespace(platform="win32"))
    with open(path, "a") as one, open(path, "a") as two:
        assert try_lock(one)
        assert not try_lock(two)
        one.truncate(2)
        one.write("new")
        one.close()
        assert path.read_text() == "olnew"
        assert try_lock(two)
