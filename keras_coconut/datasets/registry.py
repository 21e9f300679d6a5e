"""The datasets by name."""

from collections.abc import Callable

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


def load_dataset(name: str, folder=None, **kwargs) -> Splits:
    """Makes a dataset, or reads it as it was published.

    Args:
        name: `"arithmetic"`, `"prosqa"`, `"prosqa_symbolic"` (paths of three
            and four steps in symbols, for models from scratch), `"prontoqa"` or
            `"gsm8k_aug"`, which cannot be made and is always read.
        folder: string or path-like. Where the published files are, to read
            instead of making problems. Defaults to `None`.
        **kwargs: What the dataset's own function takes, `load_prosqa` for
            example; only without a folder.

    Returns:
        `Splits`.

    Raises:
        ValueError: If the name is unknown; lists the known ones.

    Example:
    ```python
    splits = load_dataset("prosqa", train=1_000, validation=100, test=100)
    splits = load_dataset("gsm8k_aug", folder="data/gsm8k")
    ```
    """
    known = sorted({*DATASETS, *published.PUBLISHED})
    if name not in known:
        raise ValueError(
            f"`name` must be one of {known}. Received: name={name!r}"
        )
    if folder is None and name in DATASETS:
        return DATASETS[name](**kwargs)
    if kwargs:
        raise ValueError(
            f"{name!r} is read as it was published and takes no further "
            f"arguments. Received: {sorted(kwargs)}"
        )
    return published.load_published(name, folder)
