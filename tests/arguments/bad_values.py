"""Values that are wrong for a type, and how a refusal of one must look."""

import copy
import functools
import math
import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import tiny

import keras_coconut
from keras_coconut.text import batches

# As long as data: no message may be.
TEXT = "x" * 10**6
ARRAY = np.zeros(10**6)
# More digits than Python is willing to write.
INTEGER = 10**5000
HALF = "half of a pair \ud800"
OBJECTS = (None, math.nan, object(), {"a": 1}, {1, 2}, b"1", ARRAY, TEXT)

NO_COUNT = (
    *(-1, 1.5, 2.0, "1", True, np.True_, [1], [], math.inf, 1j),
    *(np.float32(1), np.array([1, 2]), np.int64(-1), -INTEGER, *OBJECTS),
)
# Where there is a most.
NO_SMALL_COUNT = (*NO_COUNT, 10**12, INTEGER)
NO_COUNT_FROM_1 = (*NO_COUNT, 0, np.int64(0))
NO_FLAG = (0, 1, "True", "no", [True], 1.0, INTEGER, *OBJECTS)
NO_TEXT = (3, True, ["a"], INTEGER, HALF, *OBJECTS[:-1])
NO_PATH = (3, True, "", "a\0b", HALF, ["a"], INTEGER, *OBJECTS[:-1])
NO_CHOICE = (3, True, "", "other", ["pause"], INTEGER, *OBJECTS)
NO_INSTANCE = (3, True, "", [], "gpt2", INTEGER, *OBJECTS)
NO_VERBOSE = (-1, 3, "yes", "", 1.0, [1], INTEGER, *OBJECTS)
# Of a count, or of one for each of three rows.
NO_COUNTS = (
    *(-1, 1.5, "1", True, [1, 2], [1, 2, -1], [1, 2, 1.0], [True] * 3, "111"),
    *([1, 2, "3"], [[1], [2], [3]], [[1, 2], [3]], {1, 2, 3}, INTEGER),
    *([1, 2, INTEGER], np.ones(3), np.ones((3, 1), int), [HALF] * 3),
    *([None] * 3, *OBJECTS[1:]),
)
NO_QUESTIONS = (
    *(3, True, [], (), [3], ["1?", None], "", "  ", ["1?", "\n\u2028"], {1},
      {"question": "1?"}, {}, b"\xff", [b"\xff"], HALF, ["1?", HALF], INTEGER,
      np.array([["1?"]]), [["1?"]], iter(["1?"]), [TEXT, " " * 10**6]),
    *(each for each in OBJECTS[:-1] if not isinstance(each, bytes)),
)  # fmt: skip
NO_PROBLEMS = (
    *(3, "p.json", [], (), iter(()), [3], [None], ["1?"], [["1?", [], "1"]]),
    *([{"question": "1?"}], [{"question": 3, "steps": [], "answer": "3"}]),
    *([{"question": "1?", "steps": "1", "answer": "3"}], {"question": ["1?"]}),
    *([{"question": HALF, "steps": [], "answer": "3"}], INTEGER, *OBJECTS),
)


# Of the tiny model.
HIDDEN = 16


def no_thoughts(rows, slots):
    shape = (rows, slots, HIDDEN)
    return (
        *(3, 1.5, "a", [], {}, {1}, object(), TEXT, ARRAY, b"a"),
        *(np.zeros(shape[:2]), np.zeros((rows, slots, HIDDEN + 1))),
        *(np.zeros((rows + 1, slots, HIDDEN)), np.zeros((*shape, 1))),
        *(np.full(shape, np.nan), np.full(shape, np.inf), np.full(shape, "1")),
        *(np.full(shape, 1e300), np.full(shape, None), [[[1.0]], [[1.0] * 2]]),
        *(np.zeros(shape, "complex64"), np.zeros(shape, "bool")),
        np.full(shape, INTEGER),
    )


class Setting(NamedTuple):
    """What the rows of a table call; the same for all rows of a file."""

    model: keras_coconut.ContinuousThoughtLM
    dataset: keras_coconut.CurriculumDataset

    @property
    def state(self):
        """Whatever a refused value must leave as it is."""
        return (
            [weight.tobytes() for weight in self.model.get_weights()],
            repr(self.model.get_config()),
            repr(self.model.preprocessor.get_config()),
            self.dataset.state,
        )


@functools.cache
def setting() -> Setting:
    model = tiny.compiled(tiny.text_model(layers=1))
    model.num_thoughts = 1
    dataset = keras_coconut.CurriculumDataset(
        tiny.problems(6),
        model.preprocessor,
        keras_coconut.Curriculum(2),
        batch_size=3,
    )
    return Setting(model, dataset)


class Call(NamedTuple):
    """A row of the table: a callable and its arguments.

    Args:
        function: returns the callable for a `Setting`.
        good: arguments that are accepted.
        bad: for each argument, values that are not.
        also: for some, further values that are, such as NumPy's.
        named: for some, what the error names in place of the argument.
    """

    function: Callable
    good: Callable
    bad: dict
    also: dict = {}
    named: dict = {}

    def __repr__(self):
        return "Call"  # Python refuses to write out the values.


def batch(keys=batches.KEYS):
    """Three rows that the model can read."""
    x, _, _ = setting().model.preprocessor(tiny.problems(3), num_thoughts=2)
    return {key: x[key] for key in keys}


def given(values):
    """Values of an argument whose default is `None`."""
    return [value for value in values if value is not None]


def arguments(good, name, value):
    """The good arguments, one replaced; `...` leaves it out."""
    changed = {**good, name: value}
    return {key: value for key, value in changed.items() if value is not ...}


def check_good(call: Call) -> None:
    """Without which a table would only show that everything is refused."""
    function, good = call.function(setting()), call.good(setting())
    function(**good)
    for name, values in call.also.items():
        for value in values:
            function(**arguments(good, name, value))


def check_bad(call: Call, name: str) -> None:
    function = call.function(setting())
    before = setting().state
    named = call.named.get(name, rf"`{name}[`\[.]")
    for value in call.bad[name]:
        given = arguments(call.good(setting()), name, copy.copy(value))
        shown = f"{name}={tiny.short(value)}"
        try:
            function(**given)
        except ValueError as error:
            message = str(error)
            # Python's own say nothing of an argument.
            assert type(error) is ValueError, shown
            assert len(message) < 500, (shown, message[:1000])
            assert re.search(named, message), (shown, message)
        except Exception as error:
            pytest.fail(f"{shown}: {type(error).__name__}: {str(error)[:500]}")
        else:
            pytest.fail(f"{shown} was accepted")
    assert setting().state == before


# Arguments that are paths.
PATHS = ("path", "folder", "results_path", "results_folder")


def check_long_path(call: Call, name: str, path: str) -> None:
    """The system has something to say of it, and shall not say all of it."""
    given = arguments(call.good(setting()), name, path)
    with pytest.raises((OSError, ValueError)) as error:
        call.function(setting())(**given)
    assert len(str(error.value)) < 500
    assert "a/a/a" in str(error.value)


def rows(table: dict, names=None):
    """The arguments of a table, as parameters of a test."""
    return [
        pytest.param(call, name, id=f"{label}-{name}")
        for label, call in table.items()
        for name in call.bad
        if names is None or name in names
    ]


def calls(table: dict):
    return [pytest.param(call, id=label) for label, call in table.items()]
