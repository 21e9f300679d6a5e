"""Tables, datasets and files of problems, as rows one by one.

Sources are recognized by their methods, so none of pandas, PyArrow, Hugging
Face `datasets`, TensorFlow and PyTorch needs to be installed.
"""

import ast
import contextlib
import csv
import itertools
import json
import os
import re
from collections.abc import (
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
    Set,
)
from typing import Any

from keras_coconut.checks import refuse, shown
from keras_coconut.files import read_pieces, short_errors, shown_path

KEYS = ("question", "steps", "answer")
_STEPS = "a JSON list of strings, or one step a line"


def hold_problems(values: Any) -> bool:
    """Whether values are problems, as far as can be told without reading them.

    An iterator is not read, since it would lose its first row.

    Args:
        values: anything, such as what `fit` is given.

    Example:
    ```python
    hold_problems([{"question": "1?", "steps": [], "answer": "1"}])  # True
    ```
    """
    if isinstance(values, str | os.PathLike):
        return True
    if isinstance(values, Mapping):
        return "question" in values
    if hasattr(values, "element_spec"):
        spec = values.element_spec
        return isinstance(spec, Mapping) and "question" in spec
    names = getattr(values, "column_names", getattr(values, "columns", None))
    if names is not None and _is_table(values):
        return "question" in list(names)
    try:
        first = values[0]
    except Exception:  # Of an unknown type.
        return False
    # A `Problem`, or anything with its attributes.
    if isinstance(first, Mapping):
        return "question" in first
    return all(hasattr(first, key) for key in KEYS)


def rows_of(name: str, problems: Any) -> Iterable:
    """Returns the rows of any source of problems.

    Args:
        name: string. The argument's name, for errors.
        problems: iterable of rows; a table of pandas, Polars or PyArrow; a
            dictionary of columns; a `tf.data.Dataset` or a PyTorch dataset of
            rows.

    Raises:
        ValueError: If `problems` holds no rows.

    Example:
    ```python
    columns = {"question": ["1?"], "steps": [[]], "answer": ["1"]}
    list(rows_of("problems", columns))
    ```
    """
    expected = f"`{name}` must be an iterable of `keras_coconut.Problem`s"
    kind = type(problems).__name__
    if hasattr(problems, "collate_fn") and hasattr(problems, "dataset"):
        raise ValueError(
            f"{expected} or of rows as dictionaries. Received a {kind}, which "
            "joins rows to batches: give its `dataset`"
        )
    if isinstance(problems, Set):
        raise ValueError(
            f"{expected} in an order: a set has another one in each process. "
            f"Received: {shown(problems)}"
        )
    if isinstance(problems, Mapping):
        if isinstance(problems.get("question"), str) or any(
            key not in problems or not _is_column(problems[key]) for key in KEYS
        ):
            raise ValueError(
                f"{expected} or of rows as dictionaries. Received a {kind} "
                f"with the columns {shown(list(problems))}: take one of its "
                "splits, or a list of rows"
            )
        return _rows_of_columns(name, problems)
    rows: Any = _table_rows(problems)
    if rows is not None:
        return rows
    if hasattr(problems, "as_numpy_iterator"):
        return _rows_of_tensors(problems)
    if _is_map(problems):
        rows = (problems[index] for index in range(len(problems)))
        return _rows_of_rows(rows)
    try:
        # A string is an iterable too, but of characters.
        rows = None if isinstance(problems, str | bytes) else problems
        return _rows_of_rows(iter(rows))
    except TypeError:
        raise ValueError(
            f"{expected}, such as `read_problems(path)` returns. Received: "
            f"{name}={shown(problems)} of type {kind}"
        ) from None


def _is_column(values) -> bool:
    if isinstance(values, str | bytes):
        return False
    return isinstance(values, Sequence) or hasattr(values, "tolist")


def _is_map(values) -> bool:
    """Whether values are a PyTorch dataset that knows its rows by number."""
    return (
        hasattr(values, "__getitem__")
        and hasattr(values, "__len__")
        and not hasattr(values, "__iter__")
    )


def _is_table(values) -> bool:
    return any(
        hasattr(values, name) for name in ("to_pylist", "to_dicts", "to_dict")
    )


def _table_rows(values):
    """Returns the rows of a table, or `None` for what is none."""
    if hasattr(values, "to_pylist") and hasattr(values, "column_names"):
        rows = (  # Of PyArrow.
            row for batch in values.to_batches() for row in batch.to_pylist()
        )
    elif hasattr(values, "to_dicts"):  # Of Polars.
        rows = values.to_dicts()
    elif hasattr(values, "to_dict") and hasattr(values, "columns"):
        rows = values.to_dict("records")  # Of pandas.
    else:
        return None
    return map(row_of_table, rows)


def _rows_of_rows(rows):
    """Yields rows, and those of small tables: Hugging Face's of one row."""
    for row in rows:
        table = None if isinstance(row, Mapping) else _table_rows(row)
        if table is None:
            yield row
        else:
            yield from table


def row_of_table(row: Mapping) -> Mapping:
    r"""Returns a row whose steps are a list, in a cell of text or empty too.

    Args:
        row: dictionary. A row of a table, in memory or in a file.

    Raises:
        ValueError: If a cell of text is a list of anything but strings.

    Example:
    ```python
    row_of_table({"question": "1?", "steps": "1\n2", "answer": "2"})
    ```
    """
    steps = row.get("steps", ())
    if isinstance(steps, str):
        return {**row, "steps": steps_in_cell(steps)}
    if steps is None or (isinstance(steps, float) and steps != steps):
        return {**row, "steps": []}
    return row


def _rows_of_columns(name, columns):
    lengths = {
        key: len(values) if _is_column(values) else "no column"
        for key, values in columns.items()
    }
    if len(set(lengths.values())) > 1:
        raise ValueError(
            f"`{name}` must hold columns of one length. Received: "
            f"{shown(lengths)}"
        )
    return (dict(zip(columns, row)) for row in zip(*columns.values()))


def _rows_of_tensors(dataset):
    """Yields the rows of a `tf.data.Dataset`, batched or not."""
    for element in dataset.as_numpy_iterator():
        element = _decoded(element)
        if isinstance(element, Mapping) and isinstance(
            element.get("question"), list
        ):
            for row in _rows_of_columns("a batch of the dataset", element):
                # Rows of several lengths were padded to make a batch.
                while row.get("steps") and not row["steps"][-1]:
                    row["steps"].pop()
                yield row
        else:
            yield element


def _decoded(value):
    """Returns text for bytes, and lists for arrays and ragged tensors."""
    if isinstance(value, Mapping):
        return {key: _decoded(item) for key, item in value.items()}
    if hasattr(value, "to_list"):
        value = value.to_list()
    elif hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    try:
        return value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError:
        raise ValueError(
            f"the dataset must hold text in UTF-8. Received: {shown(value)}"
        ) from None


# === Files ===


def read_csv(path, on_read: Callable | None = None) -> Iterator:
    """Yields the rows of a CSV file with a header, and their numbers.

    Args:
        path: string or path-like. The file, in UTF-8.
        on_read: function of the number of bytes that were read so far.
            Optional.

    Yields:
        Tuples of a row's number, counted from 1 after the header, and its
        dictionary of strings; see `steps_in_cell`.

    Raises:
        ValueError: If a column is missing, or if a row cannot be read.

    Example:
    ```python
    number, row = next(read_csv("problems.csv"))
    ```
    """
    rows = csv.DictReader(_lines(read_pieces(path, on_read)), strict=True)
    with _named(path, "the header"):
        names = rows.fieldnames or []
    _check_columns(path, names)
    for number in itertools.count(1):
        with _named(path, f"row {number}"):
            row = next(rows, None)
        if row is None:
            return
        if None in row or None in row.values():
            raise ValueError(
                f"`{shown_path(path)}`, row {number}: expected {len(names)} "
                "cells, as the header has. Received another number of them"
            )
        yield number, row


def _lines(pieces):
    """Yields lines with their ends; `splitlines` would end more of them."""
    rest = ""
    for piece in pieces:
        *lines, rest = (rest + piece).split("\n")
        for line in lines:
            yield line + "\n"
    if rest:
        yield rest


@contextlib.contextmanager
def _named(path, place):
    """Adds the place in a file to errors of its format."""
    try:
        yield
    except csv.Error as error:
        remedy = ""
        if "field limit" in str(error):
            remedy = (
                ". Call `csv.field_size_limit(10**9)` first, which lets Python "
                "read longer cells, or write the problems as JSON Lines"
            )
        raise ValueError(
            f"`{shown_path(path)}`, {place}: {error}{remedy}"
        ) from None


def _check_columns(path, names) -> None:
    missing = [key for key in KEYS if key not in names]
    if missing:
        raise ValueError(
            f"`{shown_path(path)}` must have the columns `question`, `steps` "
            f"and `answer`. Received: {shown(list(names))}"
        )
    if len(set(names)) < len(names):
        raise ValueError(
            f"`{shown_path(path)}` must name each column once. Received: "
            f"{shown(list(names))}"
        )


def steps_in_cell(cell: str) -> list[str]:
    r"""Returns the steps in a cell of a CSV file.

    Args:
        cell: string: a JSON list of strings, or one step a line.

    Raises:
        ValueError: If it is a list of anything else.

    Example:
    ```python
    steps_in_cell("1 + 2 = 3\\n3 + 4 = 7")  # ["1 + 2 = 3", "3 + 4 = 7"]
    ```
    """
    text = cell.strip()
    if not text.startswith("[") or not text.endswith("]"):
        lines = re.split("\r\n|\n|\r", cell)
        return [line for line in lines if line.strip()]
    try:
        steps = json.loads(text)
    except ValueError:
        # As pandas writes a column of lists.
        try:
            steps = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            steps = None
        # "['a' 'b']", an array as NumPy prints it, would become one step.
        if repr(steps) != text:
            raise refuse("steps", _STEPS, cell) from None
    if not isinstance(steps, list) or not all(
        isinstance(step, str) for step in steps
    ):
        raise refuse("steps", _STEPS, cell)
    return steps


def read_parquet(path, on_read: Callable | None = None) -> Iterator:
    """Yields the rows of a parquet file and their numbers, counted from 1.

    Needs PyArrow, or pandas with another Parquet engine, which reads the whole
    file at once.

    Args:
        path: string or path-like. The file.
        on_read: function of the number of bytes read so far, estimated from the
            number of rows. Optional.

    Raises:
        ValueError: If a column is missing, or if the file is no parquet file.
        ImportError: If neither PyArrow nor pandas can read it.

    Example:
    ```python
    number, row = next(read_parquet("problems.parquet"))
    ```
    """
    with short_errors():
        size = os.stat(path).st_size
    number, done = 0, 0
    for names, count, rows in _row_groups(path):
        _check_columns(path, names)
        for row in rows:
            number += 1
            yield number, row
        done += len(rows)
        if on_read is not None:
            on_read(size * done // max(count, 1))


def _row_groups(path):
    """Yields the columns, the number of all rows, and some of the rows."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        yield from _whole_table(path)
        return
    try:
        with parquet.ParquetFile(os.fspath(path)) as file:
            names, count = file.schema_arrow.names, file.metadata.num_rows
            yield names, count, []
            for batch in file.iter_batches(batch_size=1024):
                yield names, count, batch.to_pylist()
    except pyarrow.ArrowInvalid as error:
        raise ValueError(
            f"`{shown_path(path)}` must be a parquet file. Received: {error}"
        ) from None


def _whole_table(path):
    try:
        import pandas

        table = pandas.read_parquet(path)
    except ImportError:
        raise ImportError(
            f"`{shown_path(path)}`: parquet files need PyArrow: `pip install "
            "pyarrow`"
        ) from None
    yield list(table.columns), len(table), table.to_dict("records")
