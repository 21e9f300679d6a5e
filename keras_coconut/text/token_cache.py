"""The tokens of problems, in memory or in a folder that keeps those of files.

Records of Arrow, Grain or array_record would work too, but a batch only needs a
slice of a file at a known position.
"""

import hashlib
import itertools
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from typing import Any

from keras_coconut.checks import check_path, shown
from keras_coconut.files import (
    PARTIAL,
    make_folder,
    read_text,
    short_errors,
    shown_path,
    sync,
    try_lock,
)
from keras_coconut.folders import remove_abandoned
from keras_coconut.problems import Problem, iterate_problems, stream_problems
from keras_coconut.progress import Progress
from keras_coconut.text.tokenized_problems import (
    FileArray,
    TokenizedProblem,
    TokenizedProblems,
    array_pieces,
)

# What changes with what the files hold.
_FORMAT = 1
# As `TokenizedProblems` takes them.
_FILES = {"ids": "<u4", "part_starts": "<i8", "problem_starts": "<i8"}
_ABOUT = "about.json"
# What is being written for a key, and what a killed process left of it.
_LEFT = re.compile(r"\.([0-9a-f]{32})\.[0-9a-f]{16}" + re.escape(PARTIAL))
# Problems tokenized at once, and bytes worth a bar.
_CHUNK, _LONG = 1024, 16 * 2**20
# Seconds between checks whether another process has tokenized the file.
_PAUSE = 0.2


def tokens_of(problems, preprocessor, cache_folder=None) -> TokenizedProblems:
    """Returns the tokens of problems, or of the file that holds them.

    Args:
        problems: the path of a file that `read_problems` reads, or another
            source of problems.
        preprocessor: a `ContinuousThoughtPreprocessor`.
        cache_folder: string or path-like. The folder that keeps the tokens of a
            file. Defaults to `None`: they stay in memory.

    Raises:
        ValueError: If a problem is invalid, or if `cache_folder` is given and
            `problems` is not a path.
        OSError: If a file cannot be read or written.
    """
    is_path = isinstance(problems, str | os.PathLike)
    if cache_folder is not None:
        if not is_path:
            raise ValueError(
                "`problems` must be the path of a file where `cache_folder` "
                f"keeps its tokens. Received: problems={shown(problems)} of "
                f"type {type(problems).__name__}"
            )
        return cached_tokens(cache_folder, problems, preprocessor)
    if is_path:
        problems = stream_problems(check_path("problems", problems))
    problems = iterate_problems("problems", problems)
    return TokenizedProblems.from_problems(
        tokenize_stream(preprocessor, problems)
    )


def tokenize_stream(
    preprocessor, problems: Iterator[Problem]
) -> Iterator[TokenizedProblem]:
    """Tokenizes problems as they arrive, a few at a time.

    Args:
        preprocessor: a `ContinuousThoughtPreprocessor`.
        problems: iterator of `Problem`s.
    """
    while chunk := list(itertools.islice(problems, _CHUNK)):
        yield from preprocessor.tokenize_problems(chunk)


def cached_tokens(folder, path, preprocessor) -> TokenizedProblems:
    """Returns the tokens of a problem file, from the cache if they are there.

    The name of a cache entry is a digest of the file and of the tokenizer. If
    several processes ask at the same time, one of them tokenizes and the others
    wait.

    Args:
        folder: string or path-like. The cache, created if it is missing.
        path: string or path-like. A file that `read_problems` reads.
        preprocessor: a `ContinuousThoughtPreprocessor`.

    Returns:
        `TokenizedProblems` that read from the cache.

    Raises:
        ValueError: If the file cannot be read, or if an entry is damaged; names
            the file.
        OSError: If a file cannot be opened or written.

    Example:
    ```python
    tokens = cached_tokens("cache", "prosqa_train.json", model.preprocessor)
    ```
    """
    folder = check_path("cache_folder", folder)
    path = check_path("problems", path)
    with short_errors(), open(path, "rb") as file:
        before = _identity(path)
        digest = hashlib.file_digest(file, "sha256")
    digest.update(f"{_FORMAT} {preprocessor.fingerprint()}".encode())
    key = digest.hexdigest()[:32]
    entry = os.path.join(folder, key)
    make_folder(folder)
    # Closing the file ends the lock.
    with open(os.path.join(folder, f"{key}.lock"), "a") as lock:
        while not try_lock(lock):
            time.sleep(_PAUSE)
        if not os.path.exists(entry):
            _write(entry, path, preprocessor, before)
    _remove_left(folder)
    return _read(entry)


def _remove_left(folder):
    """Removes what killed processes left, of any file.

    A writer holds the lock of its key, and a network file system may have none.
    """
    for name in os.listdir(folder):
        left = _LEFT.fullmatch(name)
        if left is None:
            continue
        with open(os.path.join(folder, f"{left[1]}.lock"), "a") as lock:
            if try_lock(lock):
                remove_abandoned(os.path.join(folder, name))


def _identity(path):
    about = os.stat(path)
    return about.st_size, about.st_mtime_ns


def _write(entry, path, preprocessor, before):
    folder, key = os.path.split(entry)
    aside = os.path.join(folder, f".{key}.{secrets.token_hex(8)}{PARTIAL}")
    os.mkdir(aside)
    try:
        digests = _write_files(aside, path, preprocessor)
        if _identity(path) != before:
            raise ValueError(
                f"`{shown_path(path)}` must stay as it is while it is read. "
                "Received: a file that was written to meanwhile"
            )
        with open(os.path.join(aside, _ABOUT), "w", encoding="utf-8") as file:
            about = {"file": os.path.basename(path), "digests": digests}
            json.dump(about, file)
        for name in os.listdir(aside):
            sync(os.path.join(aside, name))
        if not os.path.exists(entry):  # Of another, where there are no locks.
            os.rename(aside, entry)
        sync(folder)
    except OSError as error:
        if error.filename == path:
            raise
        raise type(error)(
            error.errno,
            f"{error.strerror}: the tokens could not be written",
            shown_path(folder),
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _write_files(aside, path, preprocessor):
    """Writes the arrays; returns the digest of each."""
    megabytes = os.path.getsize(path) // 2**20
    with Progress(
        f"tokenize {os.path.basename(path)}",
        megabytes,
        verbose="auto" if megabytes * 2**20 >= _LONG else 0,
        unit="MB",
    ) as progress:
        problems = stream_problems(path, lambda read: _show(progress, read))
        tokenized = tokenize_stream(preprocessor, problems)
        files = [open(_file(aside, name), "xb") for name in _FILES]
        digests = [hashlib.sha256() for _ in _FILES]
        try:
            for pieces in array_pieces(tokenized):
                for file, digest, piece in zip(files, digests, pieces):
                    file.write(piece.data)
                    digest.update(piece.data)
        finally:
            for file in files:
                file.close()
        progress.add(megabytes - progress.done)
    return [digest.hexdigest() for digest in digests]


def _show(progress, read):
    progress.add(max(read // 2**20 - progress.done, 0))


def _read(entry):
    """Returns the tokens of an entry, after checking all of its bytes."""
    digests = None
    try:
        digests = json.loads(read_text(os.path.join(entry, _ABOUT)))["digests"]
        found: Any = []
        for name in _FILES:
            with open(_file(entry, name), "rb") as file:
                found.append(hashlib.file_digest(file, "sha256").hexdigest())
    except (OSError, ValueError, KeyError, TypeError) as error:
        found = str(error)
    if found != digests:
        raise ValueError(
            f"`{shown_path(entry)}` must hold the tokens that were written to "
            "it. Received: files that were changed, cut off or deleted. Delete "
            "this folder, and the problems are tokenized again"
        )
    return TokenizedProblems(
        *(FileArray(_file(entry, name), kind) for name, kind in _FILES.items())
    )


def _file(folder, name):
    return os.path.join(folder, f"{name}.bin")
