"""What a problem takes, and the plain values that it makes of it."""

import pickle

import numpy as np
import pandas as pd
import pytest
import tiny

from keras_coconut import Problem, read_problems, write_problems

pytestmark = pytest.mark.any_backend


def nested(depth):
    value = {}
    for _ in range(depth):
        value = {"deeper": value}
    return value


def test_values_in_extra_become_what_json_reads_back(tmp_path):
    extra = {
        "tuple": (1, (2.5, None)),
        "array": np.array([[1, 2], [3, 4]]),
        "integer": np.int64(3),
        "float": np.float32(0.1),
        "flag": np.True_,
        "string": np.str_("s"),
        "column": pd.Series(["a", "b"]),
        np.str_("key"): {"inner": np.array(["x"])},
    }
    problem = Problem("a", [], "1", extra=extra)
    assert problem.extra == {
        "tuple": [1, [2.5, None]],
        "array": [[1, 2], [3, 4]],
        "integer": 3,
        "float": float(np.float32(0.1)),
        "flag": True,
        "string": "s",
        "column": ["a", "b"],
        "key": {"inner": ["x"]},
    }
    write_problems(tmp_path / "file", [problem])
    (again,) = read_problems(tmp_path / "file")
    assert repr(again) == repr(problem)


def test_a_problem_shares_nothing_with_the_caller():
    inner = [1]
    extra = {"inner": inner, "deep": {"list": [2]}}
    problem = Problem("a", [], "1", extra=extra)
    extra["more"] = 1
    inner.append(2)
    extra["deep"]["list"].append(3)
    before = {"inner": [1], "deep": {"list": [2]}}
    assert problem.extra == before
    entry = problem.to_dict()
    entry["inner"].append(2)
    entry["deep"]["list"].clear()
    assert problem.extra == before
    assert pickle.loads(pickle.dumps(problem)).to_dict() == problem.to_dict()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(question=None), "`question` must be a string.*None"),
        (dict(question=3), "`question` must be a string.*3"),
        (dict(question=b"q"), r"`question` must be a string.*\.decode.*b'q'"),
        (dict(question=" \n"), "`question` must not be empty"),
        (dict(question="a\udc80"), "`question`.*surrogate.*position 1"),
        (dict(question="x" * 10**6 + "\ud800"), "`question`.*surrogate"),
        (dict(steps="steps"), "`steps` must be a list of strings"),
        (dict(steps=b"steps"), "`steps` must be a list of strings"),
        (dict(steps=None), "`steps` must be a list of strings"),
        (dict(steps={"a": "b"}), "`steps` must be a list of strings"),
        (dict(steps={"a"}), "`steps` must be a list of strings"),
        (dict(steps=3), "`steps` must be a list of strings"),
        (dict(steps=np.array("a")), "`steps` must be a list of strings"),
        (dict(steps=np.array([["a"]])), r"`steps\[0\]`.*\['a'\]"),
        (dict(steps=np.array([1, 2])), r"`steps\[0\]`.*str\(step\).*1"),
        (dict(steps=["a", None]), r"`steps\[1\]`.*None"),
        (dict(steps=["a", "\ud800"]), r"`steps\[1\]`.*surrogate"),
        (dict(answer=3.0), r"`answer`.*str\(answer\).*3.0"),
        (dict(answer=np.float64(3)), r"`answer`.*str\(answer\).*3.0"),
        (dict(answer=np.nan), r"`answer`.*str\(answer\).*nan"),
        (dict(answer=True), r"`answer`.*str\(answer\).*True"),
        (dict(answer=np.True_), r"`answer`.*str\(answer\).*True"),
        (dict(answer=None), r"`answer`.*str\(answer\).*None"),
        (dict(answer=["1"]), r"`answer`.*str\(answer\).*\['1'\]"),
        (dict(answer=10**5000), "`answer`.*bits"),
        (dict(answer="\ud83d"), "`answer`.*surrogate"),
        (dict(extra=None), "`extra` must be a mapping.*None"),
        (dict(extra=[("a", 1)]), "`extra` must be a mapping"),
        (dict(extra={"question": "other"}), "`extra`.*question.*'other'"),
        (dict(extra={"answer": 1}), "`extra`.*answer.*1"),
        (dict(extra={1: "a"}), "keys of extra.*string.*1"),
        (dict(extra={"a": {2: "b"}}), "keys of extra.*string.*2"),
        (dict(extra={"a": ["\udfff"]}), "`extra`.*surrogate"),
        (dict(extra={"a\ud800": 1}), "extra.*surrogate"),
        (dict(extra=nested(200)), "`extra` must be nested at most 100 deep"),
    ],
    ids=tiny.short,
)
def test_bad_arguments(arguments, message):
    good = dict(question="a", steps=[], answer="1")
    with pytest.raises(ValueError, match=message) as error:
        Problem(**{**good, **arguments})
    assert len(str(error.value)) < 500


def test_an_extra_that_holds_itself():
    extra = {}
    extra["again"] = [extra]
    with pytest.raises(ValueError, match="nested at most 100 deep"):
        Problem("a", [], "1", extra=extra)


@pytest.mark.parametrize(
    "steps",
    [
        ["a", "b"],
        ("a", "b"),
        np.array(["a", "b"]),
        np.array(["a", "b"], dtype=object),
        pd.Series(["a", "b"], index=[7, 3]),
        pd.array(["a", "b"]),
        [np.str_("a"), "b"],
    ],
    ids=lambda steps: type(steps).__name__,
)
@pytest.mark.parametrize("answer", ["3", np.str_("3"), 3, np.int64(3)])
def test_values_of_numpy_and_pandas(steps, answer):
    problem = Problem(np.str_("q"), steps, answer)
    assert problem == Problem("q", ["a", "b"], "3")
    values = [problem.question, *problem.steps, problem.answer]
    assert {type(value) for value in values} == {str}
    assert type(problem.steps) is tuple


def test_dates_stay_what_they_are():
    """In nanoseconds NumPy would make whole numbers of them."""
    date = np.datetime64("2020-01-01", "ns")
    extra = {"date": date, "span": np.timedelta64(5, "ns")}
    problem = Problem("q", [], "1", extra=extra)
    assert dict(problem.extra) == extra
    with pytest.raises(ValueError, match="date"):
        write_problems("unwritten.json", [problem])
