"""Checks of arguments: what passes, in which type, and what is refused."""

import enum
import math
import pathlib

import numpy as np
import pytest

from keras_coconut import checks, problem_values

pytestmark = pytest.mark.any_backend


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_a_count_becomes_a_plain_int(value):
    assert type(checks.check_count("n", value)) is int


@pytest.mark.parametrize(
    "value",
    [-1, True, np.True_, 1.0, "1", None, math.nan, [1], np.array([1, 2]), 1j],
)
def test_what_is_no_count(value):
    with pytest.raises(ValueError, match="`n` must be a whole number"):
        checks.check_count("n", value)


def test_bounds_of_a_count():
    assert checks.check_count("n", 2, least=1, most=2) == 2
    with pytest.raises(ValueError, match="from 1 to 2. Received: n=3"):
        checks.check_count("n", 3, least=1, most=2)


@pytest.mark.parametrize("value", [1, 0.5, np.float32(0.5), np.int8(1)])
def test_a_number_becomes_a_plain_float(value):
    assert type(checks.check_number("p", value, least=0, most=1)) is float


@pytest.mark.parametrize(
    "value", [-0.1, 1.1, math.nan, math.inf, True, "0.5", None, [0.5]]
)
def test_what_is_no_number_within_bounds(value):
    with pytest.raises(ValueError, match="`p` must be a finite number"):
        checks.check_number("p", value, least=0, most=1)


def test_flags():
    assert checks.check_flag("f", np.True_) is True
    for value in (0, 1, None, "True", np.array([True])):
        with pytest.raises(ValueError, match="`f` must be `True` or `False`"):
            checks.check_flag("f", value)


def test_choices():
    assert checks.check_choice("c", np.str_("a"), ("a", "b")) == "a"
    for value in ("c", None, 1, ["a"], {"a": 1}):
        with pytest.raises(ValueError, match="`c` must be one of"):
            checks.check_choice("c", value, ("a", "b"))


def test_paths():
    assert checks.check_path("p", pathlib.Path("a/b")) == "a/b"
    for value in (None, "", 3, b"a", "a\0b"):
        with pytest.raises(ValueError, match="`p` must be a path"):
            checks.check_path("p", value)


@pytest.mark.parametrize(
    "value",
    [
        "x" * 10**6,
        list(range(10**6)),
        {str(i): i for i in range(10**5)},
        np.arange(10**6),
        [["x" * 10**5] * 100] * 100,
        10**4000,
        # More digits than Python is willing to write.
        -(10**5000),
        [10**5000],
    ],
    ids=[
        "string",
        "list",
        "dictionary",
        "array",
        "nested",
        "integer",
        "long integer",
        "list of long integers",
    ],
)
def test_no_message_is_as_long_as_the_data(value):
    with pytest.raises(ValueError) as error:
        checks.check_choice("c", value, ("a", "b"))
    assert len(str(error.value)) < 300


class Word(str, enum.Enum):  # noqa: UP042  (`StrEnum` has another `str`.)
    ONE = "one"


@pytest.mark.parametrize("value", ["one", np.str_("one"), Word.ONE])
def test_text_becomes_a_plain_string(value):
    text = checks.check_text("t", value)
    assert text == "one" and type(text) is str


def test_what_is_no_text():
    for value in (None, 3, ["a"], float("nan")):
        with pytest.raises(ValueError, match="`t` must be a string. Received"):
            checks.check_text("t", value)
    with pytest.raises(ValueError, match=r"`t` must be a name, as `\.decode"):
        checks.check_text("t", b"a", "a name")
    with pytest.raises(ValueError, match="`t`.*surrogate.*position 1 of t='a"):
        checks.check_text("t", "a\ud800")


def test_one_check_of_text_for_problems_and_for_all_else():
    assert problem_values.check_text is checks.check_text


def test_packages_that_are_missing():
    checks.check_installed("f", "numpy", "json")
    expected = "`f` needs not_there, which `pip install not_there` installs"
    with pytest.raises(ImportError, match=expected):
        checks.check_installed("f", "numpy", "not_there", "nor_this")
