"""The datasets of the paper as their authors published them.

A file is read from a local folder, or downloaded and held against the checksum
below. ProntoQA's files were never published; its generator was.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Sequence

import keras

from keras_coconut.datasets.gsm8k_lines import read_gsm8k
from keras_coconut.datasets.splits import Splits
from keras_coconut.problems import Problem, read_problems

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

    read: Callable[[str], list[Problem]]
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


def load_published(name: str, folder=None) -> Splits:
    """Reads a dataset of the paper as it was published.

    Args:
        name: `"prosqa"`, `"prontoqa"` or `"gsm8k_aug"`.
        folder: string or path-like, which holds the files under their published
            names. If `None` they are downloaded to Keras' cache, once, and
            checked. Defaults to `None`.

    Returns:
        `Splits`. A question that a file repeats stays where it comes first:
        test before validation before training.

    Raises:
        ValueError: If the name is unknown, if the dataset has no published
            files and no folder is given, or if a file is damaged.
        FileNotFoundError: If the folder lacks a file; names it.

    Example:
    ```python
    splits = load_published("prosqa", folder="data")
    ```
    """
    if name not in PUBLISHED:
        raise ValueError(
            f"`name` must be one of {sorted(PUBLISHED)}. Received: "
            f"name={name!r}"
        )
    seen, found = set(), {}
    for split in ("test", "validation", "train"):
        found[split] = []
        for problem in read_split(name, split, folder):
            if problem.question not in seen:
                found[split].append(problem)
        seen.update(problem.question for problem in found[split])
    return Splits(**found)


def read_split(name: str, split: str, folder=None) -> list[Problem]:
    """Reads one split, every problem of it; see `load_published`."""
    dataset = PUBLISHED[name]
    file = getattr(dataset, split)
    if folder is not None:
        path = pathlib.Path(folder) / file.name
        if not path.exists():
            raise FileNotFoundError(
                f"`folder` must hold the file {file.name!r}, the split "
                f"{split!r} of {name!r}. Received: folder={os.fspath(folder)!r}"
            )
        return dataset.read(path)
    return _download(name, split, dataset, file)


def _download(name, split, dataset, file):
    if file.url is None:
        raise ValueError(
            f"`folder` must be given for {name!r}, whose files were not "
            f"published: it must hold {file.name!r}. Received: folder=None"
        )
    home = pathlib.Path(
        os.environ.get("KERAS_HOME", pathlib.Path.home() / ".keras")
    )
    folder = pathlib.Path("keras_coconut", name)
    # Where it is missing, Keras would take a folder that all users share.
    home.mkdir(parents=True, exist_ok=True)
    try:
        path = keras.utils.get_file(
            file.name,
            file.url,
            file_hash=file.sha256,
            hash_algorithm="sha256",
            cache_dir=str(home),
            cache_subdir=str(folder),
        )
        problems = dataset.read(path)
        if file.json_sha256 not in (None, hash_as_json(problems)):
            raise ValueError(
                f"{file.url} must be the published file. Received problems of "
                f"another hash, {hash_as_json(problems)} and not "
                f"{file.json_sha256}"
            )
    except Exception:
        # Keras leaves a file of another hash where it is.
        (home / folder / file.name).unlink(missing_ok=True)
        raise
    return problems


def hash_as_json(problems: Sequence[Problem]) -> str:
    """Returns the hash of the JSON that the authors' script would write.

    Which writes a chain without steps as one empty step.
    """
    entries = [
        {
            "question": problem.question,
            "answer": problem.answer,
            "steps": list(problem.steps) or [""],
        }
        for problem in problems
    ]
    text = json.dumps(entries, indent=2, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
