"""Long and odd values for problems, their files and the datasets.

Which values are wrong for their own sake, the tests of each module say.
"""

import tempfile

import bad_values as bad
import numpy as np
import pytest
import tiny
from bad_values import Call, given

from keras_coconut import (
    Problem,
    read_problems,
    stream_problems,
    write_problems,
)
from keras_coconut.datasets.arithmetic import (
    arithmetic_words,
    load_arithmetic,
    make_arithmetic,
)
from keras_coconut.datasets.gsm8k import load_gsm8k, read_gsm8k, write_gsm8k
from keras_coconut.datasets.prontoqa import load_prontoqa
from keras_coconut.datasets.prosqa import load_prosqa, symbolic_words
from keras_coconut.datasets.published import (
    hash_as_json,
    load_published,
    read_split,
)
from keras_coconut.datasets.registry import load_dataset
from keras_coconut.datasets.splits import Splits

pytestmark = pytest.mark.any_backend

PROBLEMS = tiny.problems(3)
SPLITS = dict(
    train=bad.NO_SMALL_COUNT,
    validation=bad.NO_SMALL_COUNT,
    test=bad.NO_SMALL_COUNT,
    seed=bad.NO_COUNT,
)
SIZES = dict(train=1, validation=1, test=1)
_FOLDER = tempfile.TemporaryDirectory()
FOLDER = _FOLDER.name


@pytest.fixture(autouse=True, scope="module")
def made_once():
    """Not under a session that ends with the first test."""
    bad.setting()
    for split in ("train", "valid", "test"):
        problem = Problem(split, ["b"], "c")
        write_problems(f"{FOLDER}/prosqa_{split}.json", [problem])
        write_gsm8k(f"{FOLDER}/{split}.txt", [problem])


TABLE = {
    "Problem": Call(
        lambda s: Problem,
        lambda s: dict(question="1?", steps=["1"], answer="1"),
        dict(
            question=(*bad.NO_TEXT, "", " \n", " " * 10**6),
            steps=[
                *(3, True, "1", b"1", [3], [None], [["1"]], [bad.HALF], {1: 2}),
                *([bad.TEXT, 3], [bad.INTEGER], *bad.OBJECTS[:3], bad.ARRAY),
            ],
            answer=(1.5, True, ["1"], bad.HALF, bad.INTEGER, *bad.OBJECTS[:-1]),
            extra=[
                *(3, True, "1", [1], {1: 2}, {bad.HALF: 1}, {"a": bad.HALF}),
                *({"question": bad.TEXT}, {(bad.TEXT,): 1}, bad.TEXT, None),
            ],
        ),
        dict(answer=[3, np.int64(3), ""], question=[np.str_("a"), bad.TEXT]),
        dict(extra="`extra|`the keys of extra"),
    ),
    "Problem.from_dict": Call(
        lambda s: Problem.from_dict,
        lambda s: dict(entry=PROBLEMS[0].to_dict()),
        dict(
            entry=[
                *(3, True, "a", [1], b"1", {}, {"question": bad.TEXT}, {1: 2}),
                *({bad.TEXT: 1, "b" * 10**6: 2}, bad.INTEGER, bad.TEXT),
                {"question": ["a"] * 10**6, "steps": [], "answer": []},
            ]
        ),
        named=dict(entry="`question`|`steps`|`answer`|columns"),
    ),
    "write_problems": Call(
        lambda s: write_problems,
        lambda s: dict(path=f"{FOLDER}/coconut.json", problems=PROBLEMS),
        dict(path=bad.NO_PATH, problems=bad.NO_PROBLEMS),
    ),
    "write_gsm8k": Call(
        lambda s: write_gsm8k,
        lambda s: dict(
            path=f"{FOLDER}/coconut.txt", problems=[Problem("a", ["b"], "c")]
        ),
        dict(path=bad.NO_PATH, problems=bad.NO_PROBLEMS),
    ),
    "read_problems": Call(
        lambda s: read_problems,
        lambda s: dict(path=f"{FOLDER}/coconut.json"),
        dict(path=bad.NO_PATH),
    ),
    "stream_problems": Call(
        lambda s: stream_problems,
        lambda s: dict(path=f"{FOLDER}/coconut.json"),
        dict(path=bad.NO_PATH, on_read=(3, "x", [])),
        dict(on_read=[print, None]),
    ),
    "read_gsm8k": Call(
        lambda s: read_gsm8k,
        lambda s: dict(path=f"{FOLDER}/coconut.txt"),
        dict(path=bad.NO_PATH),
    ),
    "hash_as_json": Call(
        lambda s: hash_as_json,
        lambda s: dict(problems=PROBLEMS),
        dict(problems=bad.NO_PROBLEMS),
    ),
    "make_arithmetic": Call(
        lambda s: make_arithmetic,
        lambda s: dict(num_problems=2),
        dict(
            num_problems=bad.NO_SMALL_COUNT,
            num_operations=bad.NO_SMALL_COUNT,
            modulus=(*bad.NO_SMALL_COUNT, 0, 1),
            seed=bad.NO_COUNT,
        ),
        dict(seed=[np.int64(3), bad.INTEGER], num_problems=[np.int8(2), 0]),
    ),
    "load_arithmetic": Call(
        lambda s: load_arithmetic,
        lambda s: SIZES,
        dict(
            **SPLITS,
            num_operations=bad.NO_SMALL_COUNT,
            modulus=(*bad.NO_SMALL_COUNT, 0, 1),
        ),
        dict(train=[np.int64(1)]),
    ),
    "arithmetic_words": Call(
        lambda s: arithmetic_words,
        lambda s: dict(modulus=3),
        dict(modulus=(*bad.NO_SMALL_COUNT, 0, 1)),
    ),
    "symbolic_words": Call(
        lambda s: symbolic_words,
        lambda s: dict(num_nodes=3),
        dict(num_nodes=(*bad.NO_SMALL_COUNT, 0)),
    ),
    "load_prosqa": Call(
        lambda s: load_prosqa,
        lambda s: SIZES,
        dict(
            dict.fromkeys(SPLITS, bad.NO_COUNT),
            num_nodes=(*bad.NO_SMALL_COUNT, 0),
            min_steps=(*bad.NO_SMALL_COUNT, 0),
            max_steps=(*bad.NO_COUNT, 0),
            mean_parents=("1", True, None, np.nan, bad.INTEGER, bad.TEXT),
            symbolic=bad.NO_FLAG,
            verbose=bad.NO_VERBOSE,
        ),
        dict(mean_parents=[np.float32(1.5), 2], symbolic=[np.True_]),
    ),
    "load_prontoqa": Call(
        lambda s: load_prontoqa,
        lambda s: SIZES,
        dict(
            dict.fromkeys(SPLITS, bad.NO_COUNT),
            num_hops=(*bad.NO_SMALL_COUNT, 0, 7),
            verbose=bad.NO_VERBOSE,
        ),
        dict(num_hops=[np.int64(2)]),
    ),
    "load_dataset": Call(
        lambda s: load_dataset,
        lambda s: dict(name="arithmetic", **SIZES),
        dict(name=bad.NO_CHOICE, seed=bad.NO_COUNT, nope=[3, bad.TEXT]),
        named=dict(nope="'nope'"),
    ),
    "Splits": Call(
        lambda s: Splits,
        lambda s: dict(train=PROBLEMS, validation=[], test=[]),
        {
            name: [
                *(3, "a.json", [3], [None], ["1?"], bad.INTEGER, *bad.OBJECTS),
                [PROBLEMS[0], PROBLEMS[0]],
            ]
            for name in ("train", "validation", "test")
        },
    ),
}
for name, call in (
    ("load_gsm8k", load_gsm8k),
    ("load_published", lambda **k: load_published("prosqa", **k)),
    ("read_split", lambda **k: read_split("prosqa", "test", **k)),
    ("load_dataset of files", lambda **k: load_dataset("prosqa", **k)),
):
    TABLE[name] = Call(
        lambda s, call=call: call,
        lambda s: dict(folder=FOLDER),
        dict(folder=given(bad.NO_PATH)),
    )
TABLE["load_published by name"] = Call(
    lambda s: load_published,
    lambda s: dict(name="prosqa", folder=FOLDER),
    dict(name=(*bad.NO_CHOICE, "arithmetic")),
)
TABLE["read_split by name"] = Call(
    lambda s: read_split,
    lambda s: dict(name="prosqa", split="test", folder=FOLDER),
    dict(name=(*bad.NO_CHOICE, "arithmetic"), split=(*bad.NO_CHOICE, "valid")),
)


@pytest.mark.filterwarnings("ignore:.*cannot be judged")
@pytest.mark.parametrize("call", bad.calls(TABLE))
def test_good_arguments(call):
    bad.check_good(call)


@pytest.mark.parametrize(("call", "name"), bad.rows(TABLE))
def test_bad_arguments(call, name):
    bad.check_bad(call, name)


@pytest.mark.parametrize(("call", "name"), bad.rows(TABLE, bad.PATHS))
@pytest.mark.parametrize("length", [600, 5_000, 10**6])
def test_a_long_path(call, name, length, tmp_path):
    # Under a file, so that no folder can be made.
    file = tmp_path / "file"
    file.touch()
    bad.check_long_path(call, name, f"{file}{'/a' * (length // 2)}")
