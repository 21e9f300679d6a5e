"""The datasets by name."""

import inspect
from collections.abc import Callable
from typing import Any

from keras_coconut.checks import PathLike, check_choice, shown
from keras_coconut.datasets import published
from keras_coconut.datasets.arithmetic import load_arithmetic
from keras_coconut.datasets.prontoqa import load_prontoqa
from keras_coconut.datasets.prosqa import load_prosqa
from keras_coconut.datasets.splits import Splits


def _load_symbolic(**kwargs) -> Splits:
    return load_prosqa(**{"max_steps": 4, **kwargs}, symbolic=True)


DATASETS: dict[str, Callable[..., Splits]] = {
    "arithmetic": load_arithmetic,
    "prosqa": load_prosqa,
    "prosqa_symbolic": _load_symbolic,
    "prontoqa": load_prontoqa,
}


def load_dataset(
    name: str, folder: PathLike | None = None, **kwargs: Any
) -> Splits:
    """Generates a dataset, or reads it as published.

    Args:
        name: `"arithmetic"`, `"prosqa"`, `"prosqa_symbolic"` (paths of three
            and four steps in symbols, for models trained from scratch),
            `"prontoqa"` or `"gsm8k_aug"`, which cannot be generated and is
            always read.
        folder: string or path-like. The folder of the published files, which
            are then read instead. Only for `"prosqa"`, `"prontoqa"` and
            `"gsm8k_aug"`. Defaults to `None`.
        **kwargs: The arguments of the dataset's own function, such as
            `load_prosqa`. Only without a folder.

    Returns:
        `Splits`.

    Raises:
        ValueError: If the name or an argument is unknown (the error lists the
            known ones), or if an argument is invalid.

    Example:
    ```python
    splits = keras_coconut.load_dataset(
        "prosqa", train=1_000, validation=100, test=100
    )
    splits = keras_coconut.load_dataset("gsm8k_aug", folder="data/gsm8k")
    ```
    """
    known = sorted({*DATASETS, *published.PUBLISHED})
    name = check_choice("name", name, known)
    if folder is None and name in DATASETS:
        accepted = _arguments(name)
        unknown = [key for key in kwargs if key not in accepted]
        if unknown:
            raise ValueError(
                f"{name!r} is made with the arguments {accepted}. Received: "
                f"{shown(unknown)}"
            )
        return DATASETS[name](**kwargs)
    if kwargs:
        raise ValueError(
            f"{name!r} is read as it was published and takes no further "
            f"arguments. Received: {shown(sorted(kwargs))}"
        )
    return published.load_published(name, folder)


def _arguments(name: str) -> list[str]:
    if name == "prosqa_symbolic":
        names = inspect.signature(load_prosqa).parameters
        return [key for key in names if key != "symbolic"]
    return list(inspect.signature(DATASETS[name]).parameters)
