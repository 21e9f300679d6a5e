"""What a table of a report is, and the words that all tables share."""

from collections.abc import Iterator
from typing import Any, NamedTuple

WHOSE = {"model": "", "control": "Control model: "}
EMPTY = "-"


class Table(NamedTuple):
    """A table: a caption, the heads of its columns, and its rows.

    `text` stands above the table, `note` below it.
    """

    caption: str
    head: list[str]
    rows: list[list[str]]
    text: str = ""
    note: str = ""


def both(result) -> Iterator[tuple[str, Any]]:
    """Yields the results of the model and of its control, and whose."""
    yield WHOSE["model"], result
    if result.control is not None:
        yield WHOSE["control"], result.control
