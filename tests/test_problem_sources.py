"""Every kind of table, dataset and file gives the same problems."""

import json
import pathlib

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import tensorflow as tf
import tiny
import torch

from keras_coconut import Problem, read_problems, write_problems
from keras_coconut.problem_sources import hold_problems
from keras_coconut.problems import as_problems

pytestmark = pytest.mark.any_backend

COLUMNS = {
    "question": ["a, b", 'c "d"'],
    "steps": [["x", "y\u2028z"], []],
    "answer": ["1", "ü"],
}
ROWS = [dict(zip(COLUMNS, row)) for row in zip(*COLUMNS.values())]
PROBLEMS = [Problem(**row) for row in ROWS]


class Polars:
    """A table with the method by which Polars gives its rows."""

    columns = list(COLUMNS)

    def to_dicts(self):
        return ROWS


class Tables:
    """What gives each row as a table, as Hugging Face's formats do."""

    column_names = list(COLUMNS)

    def __init__(self, kind):
        self.kind = kind

    def to_dict(self):
        return COLUMNS

    def __len__(self):
        return len(ROWS)

    def __getitem__(self, index):
        return self.kind(ROWS[index : index + 1])

    def __iter__(self):
        return (self[index] for index in range(len(ROWS)))


class Map(torch.utils.data.Dataset):
    def __len__(self):
        return len(ROWS)

    def __getitem__(self, index):
        # PyTorch's datasets need not raise an IndexError at their end.
        return ROWS[index % len(ROWS)]


class Stream(torch.utils.data.IterableDataset):
    def __iter__(self):
        return iter(ROWS)


def tensors(batch=None):
    data = tf.data.Dataset.from_tensor_slices(
        {**COLUMNS, "steps": tf.ragged.constant(COLUMNS["steps"])}
    )
    return data if batch is None else data.batch(batch)


SOURCES = {
    "columns": lambda: COLUMNS,
    "arrays": lambda: {
        **COLUMNS,
        "question": np.array(COLUMNS["question"]),
        "answer": np.array(COLUMNS["answer"], object),
    },
    "pandas": lambda: pd.DataFrame(COLUMNS),
    "pandas, another index": lambda: pd.DataFrame(COLUMNS, index=[7, 3]),
    "PyArrow": lambda: pa.table(COLUMNS),
    "Polars": Polars,
    "tf.data": tensors,
    "rows as tables of pandas": lambda: Tables(pd.DataFrame),
    "rows as tables of PyArrow": lambda: Tables(pa.Table.from_pylist),
    "batches of tf.data": lambda: tensors(2),
    "PyTorch": Map,
    "a stream of PyTorch": Stream,
    "padded tf.data": lambda: tf.data.Dataset.from_generator(
        lambda: iter(ROWS),
        output_signature=dict(
            question=tf.TensorSpec([], tf.string),
            steps=tf.TensorSpec([None], tf.string),
            answer=tf.TensorSpec([], tf.string),
        ),
    ).padded_batch(2),
    "cells of text": lambda: pd.DataFrame(
        {**COLUMNS, "steps": ["x\ny\u2028z", float("nan")]}
    ),
    "a part": lambda: torch.utils.data.Subset(Map(), [0, 1]),
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_problems_of(source):
    assert as_problems("problems", source()) == PROBLEMS


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_it_is_seen_that_they_are_problems(source):
    # A stream would lose its first row.
    assert hold_problems(source()) == (source is not Stream)


@pytest.mark.parametrize(
    "values",
    [
        None,
        3,
        [],
        "",
        b"p.json",
        np.zeros((2, 3)),
        {"question_ids": np.zeros((2, 3))},
        [{"question_ids": [1]}],
        ({"question_ids": [1]}, None),
        iter(ROWS),
        tf.data.Dataset.range(3),
        torch.zeros(2),
        pd.DataFrame({"question_ids": [1]}),
        pa.array([1, 2]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_holds_no_problems(values):
    # Any string is the path of a file.
    assert hold_problems(values) == isinstance(values, str)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({**COLUMNS, "answer": ["1"]}, "`data` must hold columns of one len"),
        ({"question": ["a"], "steps": [[]]}, "`data`.*with the columns"),
        ({**COLUMNS, "id": 3}, "`data` must hold columns.*'id': 'no column'"),
        (set(PROBLEMS), "`data`.*a set has another one"),
        (
            tf.data.Dataset.from_tensor_slices(
                {"question": [b"\xff"], "steps": [["x"]], "answer": ["1"]}
            ),
            "the dataset must hold text in UTF-8",
        ),
        (pd.DataFrame({"question": ["a"]}), r"`data\[0\]`: `steps` is missing"),
        (torch.utils.data.DataLoader(Map()), "`data`.*give its `dataset`"),
        (tf.data.Dataset.range(3), r"`data\[0\]`: expected an object"),
    ],
    ids=lambda v: "" if isinstance(v, str) else type(v).__name__,
)
def test_what_cannot_be_read(source, message):
    with pytest.raises(ValueError, match=message):
        as_problems("data", source)


# === Files ===


def write(path, text, **how):
    path.write_text(text, encoding="utf-8", newline="", **how)
    return path


def test_parquet(tmp_path):
    path = tmp_path / "problems.PARQUET"
    pd.DataFrame({**COLUMNS, "id": [3, 4]}).to_parquet(path)
    assert read_problems(path) == PROBLEMS
    assert [dict(problem.extra) for problem in read_problems(path)] == [
        {"id": 3},
        {"id": 4},
    ]


@pytest.mark.parametrize("as_text", [json.dumps, str, "\n".join])
def test_parquet_with_text_for_the_steps(tmp_path, as_text):
    """A path gives the problems that the table itself gives."""
    steps = [as_text(one) for one in COLUMNS["steps"]]
    table = pd.DataFrame({**COLUMNS, "steps": steps})
    table.to_parquet(tmp_path / "p.parquet")
    assert read_problems(tmp_path / "p.parquet") == PROBLEMS
    assert as_problems("problems", table) == PROBLEMS


def test_parquet_with_an_empty_cell_for_the_steps(tmp_path):
    table = pd.DataFrame({**COLUMNS, "steps": [None, "x"]})
    table.to_parquet(tmp_path / "p.parquet")
    expected = as_problems("problems", table)
    assert [problem.steps for problem in expected] == [(), ("x",)]
    assert read_problems(tmp_path / "p.parquet") == expected
    table = pd.DataFrame({**COLUMNS, "steps": ["[1]", "x"]})
    table.to_parquet(tmp_path / "p.parquet")
    with pytest.raises(ValueError, match="p.parquet`, entry 1: `steps` must"):
        read_problems(tmp_path / "p.parquet")


@pytest.mark.parametrize("as_text", [json.dumps, str, "\n".join, "\r\n".join])
def test_csv(tmp_path, as_text):
    # As pandas writes it, with a list for the steps or with text.
    table = pd.DataFrame(
        {
            "id": [3, 4, 5],
            "question": ["a, b", 'c "d"', "e\nf"],
            "steps": [as_text(s) for s in (["x", "y = 'z'"], [], ["w"])],
            "answer": [1, 20, 3],
        }
    )
    path = tmp_path / "problems.csv"
    table.to_csv(path, index=False)
    problems = read_problems(path)
    assert problems == [
        Problem("a, b", ["x", "y = 'z'"], "1"),
        Problem('c "d"', [], "20"),
        Problem("e\nf", ["w"], "3"),
    ]
    assert [problem.extra["id"] for problem in problems] == ["3", "4", "5"]


def test_a_csv_of_a_spreadsheet(tmp_path):
    # Excel begins a file with a byte order mark.
    text = "\ufeffquestion,steps,answer\r\n1 + 2?,1 + 2 = 3,3\r\n"
    path = write(tmp_path / "p.csv", text)
    assert read_problems(path) == [Problem("1 + 2?", ["1 + 2 = 3"], "3")]


HEADER = "question,steps,answer\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must have the columns.*\\[\\]"),
        ("question;steps;answer\na;b;c\n", "columns.*'question;steps;answer'"),
        ("question,steps,answer,steps\n", "each column once"),
        (HEADER, "at least one problem"),
        (HEADER + "a,b\n", "row 1: expected 3 cells"),
        (HEADER + "a,b,1\na,b,1,2\n", "row 2: expected 3 cells"),
        (HEADER + 'a,"[""x"", 3]",1\n', "entry 1: `steps` must be"),
        (HEADER + "a,['x' 'y'],1\n", "entry 1: `steps` must be a JSON list"),
        (HEADER + "a,[x],1\n", "entry 1: `steps` must be a JSON list"),
        (HEADER + "a,b,1\n ,b,1\n", "entry 2: `question` must not be empty"),
        (HEADER + 'a,b,"1\n', "row 1: unexpected end"),
        (
            HEADER + f"a,b,1\na,{'x' * 200_000},1\n",
            "row 2: .*131072.* Call `csv.field_size_limit\\(10\\*\\*9\\)`",
        ),
    ],
    ids=tiny.short,
)
def test_a_bad_csv(tmp_path, text, message):
    path = write(tmp_path / "p.csv", text)
    with pytest.raises(ValueError, match=f"p.csv`.*{message}"):
        read_problems(path)


def test_files_that_are_not_what_their_name_says(tmp_path):
    path = tmp_path / "p.csv"
    path.write_bytes(HEADER.encode() + b"\xff,b,1\n")
    with pytest.raises(ValueError, match="in UTF-8.*0xff at position 22"):
        read_problems(path)
    path = write(tmp_path / "p.parquet", HEADER)
    with pytest.raises(ValueError, match="p.parquet` must be a parquet file"):
        read_problems(path)
    pd.DataFrame({"question": ["a"]}).to_parquet(path)
    with pytest.raises(ValueError, match="must have the columns.*'question'"):
        read_problems(path)
    for name in ("missing.csv", "missing.parquet"):
        with pytest.raises(FileNotFoundError, match=name):
            read_problems(tmp_path / name)


def test_without_pyarrow(tmp_path, monkeypatch):
    path = tmp_path / "p.parquet"
    pd.DataFrame(COLUMNS).to_parquet(path)
    for name in ("pyarrow", "fastparquet"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    with pytest.raises(ImportError, match="p.parquet.*pip install pyarrow"):
        read_problems(path)


def test_no_table_is_written(tmp_path):
    for name in ("p.csv", "p.parquet"):
        with pytest.raises(ValueError, match="`path` must be.*`.jsonl`"):
            write_problems(tmp_path / name, PROBLEMS)
    assert not list(pathlib.Path(tmp_path).iterdir())
