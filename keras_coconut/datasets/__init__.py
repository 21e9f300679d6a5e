"""The datasets of the paper, generated or as published."""

import importlib
from typing import TYPE_CHECKING

from keras_coconut.datasets.arithmetic import (
    arithmetic_words,
    load_arithmetic,
    make_arithmetic,
)
from keras_coconut.datasets.gsm8k_lines import read_gsm8k, write_gsm8k
from keras_coconut.datasets.published import load_published, read_split
from keras_coconut.datasets.splits import Splits

__all__ = [
    "Splits",
    "arithmetic_words",
    "load_arithmetic",
    "load_dataset",
    "load_gsm8k",
    "load_prontoqa",
    "load_prosqa",
    "load_published",
    "make_arithmetic",
    "read_gsm8k",
    "read_split",
    "symbolic_words",
    "write_gsm8k",
]

# Modules that register a dataset with TFDS, which takes a second to import: a
# name of theirs is looked up when it is first used.
LATER = {
    "load_dataset": "registry",
    "load_gsm8k": "gsm8k",
    "load_prontoqa": "prontoqa",
    "load_prosqa": "prosqa",
    "symbolic_words": "prosqa",
}

if TYPE_CHECKING:
    from keras_coconut.datasets.gsm8k import load_gsm8k
    from keras_coconut.datasets.prontoqa import load_prontoqa
    from keras_coconut.datasets.prosqa import load_prosqa, symbolic_words
    from keras_coconut.datasets.registry import load_dataset
else:

    def __getattr__(name):
        if name not in LATER:
            raise AttributeError(
                f"module {__name__!r} has no attribute {name!r}"
            )
        module = importlib.import_module(f"{__name__}.{LATER[name]}")
        return getattr(module, name)


def __dir__() -> list[str]:
    return sorted(__all__)
