"""What of a result can be logged: numbers, text and pictures, under flat names.

A result may be a number or text, one of the library's results, a figure, or a
dictionary of any of these.
"""

import dataclasses
import math
import numbers
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from keras_coconut.checks import is_flag, shown
from keras_coconut.evaluation.figures import Evaluation
from keras_coconut.evaluation.samples import SampledEvaluation
from keras_coconut.evaluation.statistics import Interval, Share
from keras_coconut.problems import Problem

# Results in a row, such as one for each slot. More are one for each problem.
_MOST_IN_A_ROW = 32


class Logged(NamedTuple):
    """Numbers, texts and figures of matplotlib, by their names."""

    numbers: dict[str, float]
    texts: dict[str, str]
    figures: dict[str, Any]


def read_result(name: str, result) -> Logged:
    """Returns what of a result can be logged.

    Of an `Evaluation` this is the accuracy, of a `Share` or an `Interval` the
    share or the mean. The keys of a dictionary and the fields of a dataclass
    follow `name` after an underscore. Arrays, lists of numbers and other long
    lists hold a value for each problem and are left out.

    Args:
        name: string. The name of a result that is a single value.
        result: anything.

    Raises:
        ValueError: If nothing in the result can be logged, or if two values
            have one name.
    """
    logged = Logged({}, {}, {})
    _add(name, result, logged)
    if not any(logged) and not _is_empty(result):
        raise ValueError(
            f"`measures[{name!r}]` must return numbers, text, a figure, one of "
            "the library's results or a dictionary of these. Received: "
            f"{shown(result)} of type {type(result).__name__}"
        )
    return logged


def _is_empty(result):
    # Such as the controls of a model that does not think yet.
    return isinstance(result, Mapping) and not result


def _add(name, value, logged):
    if isinstance(value, Evaluation):
        _put(logged.numbers, name, value.accuracy)
    elif isinstance(value, SampledEvaluation):
        _put(logged.numbers, name, value.accuracy)
        _put(logged.numbers, f"{name}_majority", value.majority_accuracy)
        for k, share in value.pass_at_k.items():
            _put(logged.numbers, f"{name}_pass_at_{k}", share)
    elif isinstance(value, Share):
        _put(logged.numbers, name, value.share)
    elif isinstance(value, Interval):
        _put(logged.numbers, name, value.mean)
    elif isinstance(value, str):
        _put(logged.texts, name, str(value))
    elif hasattr(value, "savefig"):
        _put(logged.figures, name, value)
    elif (number := _number(value)) is not None:
        _put(logged.numbers, name, number)
    elif isinstance(value, Mapping):
        _add_named(name, value, logged)
    elif hasattr(value, "_asdict"):
        _add_named(name, value._asdict(), logged)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {
            field.name: getattr(value, field.name)
            for field in dataclasses.fields(value)
        }
        _add_named(name, fields, logged)
    elif isinstance(value, list | tuple):
        _add_row(name, value, logged)


def _add_named(name, values, logged):
    for key, value in values.items():
        key = re.sub(r"\s+", "_", str(key).strip())
        _add(f"{name}_{key}", value, logged)


def _add_row(name, values, logged):
    if len(values) > _MOST_IN_A_ROW or any(map(_is_of_a_problem, values)):
        return
    if values and all(isinstance(value, str) for value in values):
        _put(logged.texts, name, "\n\n".join(values))
        return
    alike = len({type(value) for value in values}) == 1
    for index, value in enumerate(values):
        # A pair, such as an evaluation and shares, says it by its types.
        _add(f"{name}_{index}" if alike else name, value, logged)


def _is_of_a_problem(value) -> bool:
    """Whether a value in a row is one of each problem: a number, a pair."""
    fields = value if isinstance(value, tuple) else ()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = tuple(vars(value).values())
    return _number(value) is not None or any(
        isinstance(each, Problem) for each in (value, *fields)
    )


def _put(values, name, value):
    if name in values:
        raise ValueError(
            "`measures` must return values of different names. Received: two "
            f"values with the name {name!r}"
        )
    values[name] = value


def _number(value) -> float | None:
    """Returns a number as a float, also from an array or a tensor of one."""
    if is_flag(value) or isinstance(value, numbers.Real):
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    if getattr(value, "shape", None) == () and hasattr(value, "dtype"):
        try:
            return float(np.asarray(value))
        except (TypeError, ValueError, RuntimeError):
            return None
    return None
