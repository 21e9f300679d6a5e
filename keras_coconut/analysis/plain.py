"""Results as plain values, which JSON can hold."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np


def to_plain(value) -> Any:
    """Returns a result as dictionaries, lists, strings, numbers and `None`.

    Dataclasses and named tuples become dictionaries, keys strings, arrays
    lists. NaN and infinities, which JSON lacks, become `None`.

    Args:
        value: a result of this package, or a part of one.

    Example:
    ```python
    to_plain({1: np.array([0.5, np.nan])})  # {"1": [0.5, None]}
    ```
    """
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
        return {name: to_plain(getattr(value, name)) for name in names}
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {str(key): to_plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [to_plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
