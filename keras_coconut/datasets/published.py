"""The datasets of the paper as their authors published them.

A file is read from a local folder, or downloaded and compared with the checksum
below. ProntoQA's files were never published; its generator was.
"""

import dataclasses
import hashlib
import json
import logging
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_coconut.checks import PathLike, check_choice, check_path, shown
from keras_coconut.datasets.gsm8k_lines import read_gsm8k
from keras_coconut.datasets.splits import Splits
from keras_coconut.files import shown_path
from keras_coconut.folders import folder_aside
from keras_coconut.problems import Problem, as_problems, read_problems

_log = logging.getLogger("keras_coconut")

_COCONUT = (
    "https://raw.githubusercontent.com/facebookresearch/coconut/"
    "27273cb8cca4bb763c041a63b036d0c3b7cbbb48/data/"
)
_ICOT = (
    "githubusercontent.com/{}da03/Internalize_CoT_Step_by_Step/"
    "e06a32ee5e4cd117171daeb4755d2a97ece62761/data/gsm8k/"
)


@dataclasses.dataclass(frozen=True)
class PublishedFile:
    """One split of a dataset.

    Args:
        name: of the file in a local folder.
        url: where it is published; `None` if it is not.
        sha256: hash of the file.
        json_sha256: where the file's own hash is not known, that of the JSON
            that the authors' script makes of it; see `hash_as_json`.
    """

    name: str
    url: str | None = None
    sha256: str | None = None
    json_sha256: str | None = None


@dataclasses.dataclass(frozen=True)
class Published:
    """A published dataset: its files, and how to read one."""

    read: Callable[[PathLike], list[Problem]]
    train: PublishedFile
    validation: PublishedFile
    test: PublishedFile


PUBLISHED = {
    "prosqa": Published(
        read_problems,
        PublishedFile(
            "prosqa_train.json",
            _COCONUT + "prosqa_train.json",
            "99e40ce7e9107fd02e35bcd78a7a4479bd57f415bab0a6efd37cc11a72e594f6",
        ),
        PublishedFile(
            "prosqa_valid.json",
            _COCONUT + "prosqa_valid.json",
            "c74e0de24f1e90ec48b1a993e6458a7be4caeef3928f5104e3c2e45d689a5249",
        ),
        PublishedFile(
            "prosqa_test.json",
            _COCONUT + "prosqa_test.json",
            "82ddc0afe6ee30eb31bb16fa208e293e55278a20fa987098d48519cae7e12680",
        ),
    ),
    "prontoqa": Published(
        read_problems,
        PublishedFile("prontoqa_train.json"),
        PublishedFile("prontoqa_valid.json"),
        PublishedFile("prontoqa_test.json"),
    ),
    "gsm8k_aug": Published(
        read_gsm8k,
        PublishedFile(
            "train.txt",
            # Stored as a large file, which another host hands out.
            "https://media." + _ICOT.format("media/") + "train.txt",
            "0a3909a9e7d8d2f7ad6b8c7b5608aa744988d835f9bf874d4cf06ca77df6bf8c",
        ),
        PublishedFile(
            "valid.txt",
            "https://raw." + _ICOT.format("") + "valid.txt",
            "04f9bddfe8ac4846571b1e2b612b289c95770b5012fdb34cc36a597b041afb87",
        ),
        PublishedFile(
            "test.txt",
            "https://raw." + _ICOT.format("") + "test.txt",
            None,
            "d942081ab20af482c81c7bfa4f18662ced7c8bd3b1261ae484c9561261419741",
        ),
    ),
}


def load_published(name: str, folder: PathLike | None = None) -> Splits:
    """Reads a dataset of the paper as published.

    Args:
        name: `"prosqa"`, `"prontoqa"` or `"gsm8k_aug"`.
        folder: string or path-like. The folder that holds the files under their
            published names. With `None` they are downloaded once to Keras'
            cache and checked. Defaults to `None`.

    Returns:
        `Splits`. A repeated question is kept once: in the test split if it is
        there, else in the validation split. The log says how many were left
        out.

    Raises:
        ValueError: If the name is unknown, if the dataset has no published
            files and no folder is given, or if a file is damaged.
        FileNotFoundError: If the folder lacks a file; names it.
        OSError: If a file cannot be downloaded.

    Example:
    ```python
    splits = keras_coconut.datasets.load_published("prosqa", folder="data")
    ```
    """
    check_choice("name", name, sorted(PUBLISHED))
    seen: set[str] = set()
    chosen: dict[str, Any] = {}
    repeated = 0
    for split in ("test", "validation", "train"):
        chosen[split] = []
        for problem in read_split(name, split, folder=folder):
            if problem.question in seen:
                repeated += 1
            else:
                seen.add(problem.question)
                chosen[split].append(problem)
    if repeated:
        _log.warning(
            "left out %d problems of %s whose question is in the files twice",
            repeated,
            name,
        )
    return Splits(**chosen)


def read_split(
    name: str, split: str, *, folder: PathLike | None = None
) -> list[Problem]:
    """Reads all problems of one split.

    Args:
        name: `"prosqa"`, `"prontoqa"` or `"gsm8k_aug"`.
        split: `"train"`, `"validation"` or `"test"`.
        folder: string or path-like; see `load_published`. Defaults to `None`.

    Raises:
        ValueError: If a name is unknown, if the dataset has no published files
            and no folder is given, or if the file is damaged.
        OSError: If the folder lacks the file, or if it cannot be downloaded.

    Example:
    ```python
    problems = keras_coconut.datasets.read_split(
        "prosqa", "test", folder="data"
    )
    ```
    """
    dataset = PUBLISHED[check_choice("name", name, sorted(PUBLISHED))]
    split = check_choice("split", split, ("train", "validation", "test"))
    file = getattr(dataset, split)
    if folder is None:
        return _read_download(name, dataset, file)
    folder = check_path("folder", folder)
    path = pathlib.Path(folder, file.name)
    # Unlike `Path.exists`, also of a path that is too long.
    if not os.path.exists(path):
        raise FileNotFoundError(
            f"`folder` must hold the file {file.name!r}, the split "
            f"{split!r} of {name!r}. Received: folder={shown_path(folder)!r}"
        )
    return dataset.read(path)


def _read_download(name, dataset, file) -> list[Problem]:
    if file.url is None:
        raise ValueError(
            f"`folder` must be given for {name!r}, whose files were not "
            f"published: it must hold {file.name!r}. Received: folder=None"
        )
    home = os.environ.get("KERAS_HOME", pathlib.Path.home() / ".keras")
    path = pathlib.Path(home, "keras_coconut", name, file.name)
    if not path.exists() or (
        file.sha256 is not None and file.sha256 != _sha256(path)
    ):
        _download(file, path)
    try:
        problems = dataset.read(path)
    except ValueError as error:
        # Nobody but the user can say whether the file is to blame.
        raise ValueError(
            f"{error}. If you delete the file, it is downloaded again."
        ) from error
    if file.json_sha256 is not None:
        found = hash_as_json(problems)
        if found != file.json_sha256:
            path.unlink()
            raise _wrong_hash(file, found, file.json_sha256)
    return problems


def _download(file, path: pathlib.Path) -> None:
    """Downloads a file, which appears once it is whole and its hash is right.

    Each download has its own folder, so two at the same time do not mix.
    """
    with folder_aside(os.fspath(path.parent)) as (folder, move):
        folder.mkdir()
        try:
            keras.utils.get_file(
                file.name, file.url, cache_dir=folder, cache_subdir="."
            )
        except Exception as error:
            # Keras raises plain exceptions, of every kind of failure.
            raise OSError(
                f"{file.url} could not be downloaded. `folder` reads local "
                f"files instead. Received: {shown(str(error))}"
            ) from error
        if file.sha256 is not None:
            found = _sha256(folder / file.name)
            if found != file.sha256:
                raise _wrong_hash(file, found, file.sha256)
        move()


def _sha256(path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _wrong_hash(file, received, expected) -> ValueError:
    return ValueError(
        f"{file.url} must be the published file, with the hash {expected}. "
        f"Received another one, with the hash {received}"
    )


def hash_as_json(problems: Sequence[Problem]) -> str:
    """Returns the hash of the JSON that the authors' script would write.

    Which writes a chain without steps as one empty step.

    Args:
        problems: sequence of `Problem`s, at least one.

    Example:
    ```python
    hash_as_json(problems)
    ```
    """
    entries = [
        {
            "question": problem.question,
            "answer": problem.answer,
            "steps": list(problem.steps) or [""],
        }
        for problem in as_problems("problems", problems)
    ]
    text = json.dumps(entries, indent=2, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
