"""Results as JSON: the figures of an evaluation and what they were made by."""

import json
import os
from collections.abc import Mapping, Sequence

from keras_coconut.checks import check_path, shown
from keras_coconut.evaluation.figures import Evaluation, judge
from keras_coconut.files import (
    check_writable,
    make_folder,
    read_text,
    shown_path,
    write_whole,
)
from keras_coconut.problems import Problem
from keras_coconut.strict_json import read_entries

# Changes when files of an older version can no longer be read.
FORMAT = 2
# Characters of a value in a message that also holds a path.
_SHOWN = 50


def write_results(path: str, made_by: Mapping, found) -> None:
    """Writes an evaluation as JSON.

    Args:
        path: string. The file.
        made_by: dictionary. What the figures depend on; see `describe`.
        found: an `Evaluation`, or another result with `to_dict`.
    """
    entry = {"format": FORMAT, "made_by": made_by, **found.to_dict()}
    write_whole(path, json.dumps(entry, indent=1, allow_nan=False) + "\n")


def read_results(
    path: str, made_by: Mapping, problems: Sequence[Problem], separator: str
) -> Evaluation:
    """Reads an evaluation that was made by the same things.

    Args:
        path: string. The file.
        made_by: dictionary. What the figures must have been made by.
        problems: sequence of `Problem`s that the figures are about.
        separator: string. See `judge`.

    Raises:
        ValueError: If the file is damaged, if it is of another version or was
            made by something else, or if its figures do not follow from its
            predictions; names the file.
    """
    entry = read_entry(path, made_by)
    try:
        found = Evaluation.from_dict(entry)
    except ValueError as error:
        raise damaged(path, str(error)) from error
    if len(found.predictions) != len(problems):
        raise damaged(
            path,
            f"it holds {len(found.predictions)} predictions for "
            f"{len(problems)} problems",
        )
    for name, value in judge(problems, found.predictions, separator).items():
        if getattr(found, name) != value:
            raise damaged(path, f"`{name}` does not follow from `predictions`")
    return found


def read_entry(path: str, made_by: Mapping) -> dict:
    """Reads what `write_results` has written beside what it was made by.

    Args:
        path: string. The file.
        made_by: dictionary. What the figures must have been made by.

    Raises:
        ValueError: If the file is damaged, or if it is of another version or
            was made by something else; names the file.
    """
    entry = read_object(path)
    check_made_by(path, entry, made_by)
    del entry["format"], entry["made_by"]
    return entry


def read_object(path: str) -> dict:
    """Reads a file that holds one JSON object."""
    text = read_text(path)
    try:
        # As the only entry of a list: as strict as with other files.
        entries = [entry for _, entry in read_entries(path, f"[{text}]")]
    except ValueError as error:
        raise damaged(path, "text that is not a JSON object") from error
    if len(entries) != 1 or not isinstance(entries[0], dict):
        raise damaged(path, f"it holds {shown(entries)[:_SHOWN]}")
    return entries[0]


def check_made_by(path: str, entry: Mapping, made_by: Mapping) -> None:
    """Raises a `ValueError` unless an entry was made by the same things.

    Args:
        path: string. The file that the entry was read from.
        entry: dictionary with the keys `format` and `made_by`.
        made_by: dictionary. What the entry must have been made by.
    """
    if entry.get("format") != FORMAT or "made_by" not in entry:
        raise ValueError(
            f"`results_path` must name a new file or results in format "
            f"{FORMAT}; delete the file or move it away to evaluate anew. "
            f"Received: {shown_path(path)!r} in format "
            f"{shown(entry.get('format'))[:_SHOWN]}"
        )
    others = entry["made_by"]
    if not isinstance(others, Mapping) or set(others) != set(made_by):
        raise damaged(path, "`made_by` does not hold the expected keys")
    for key, value in made_by.items():
        if others[key] != value:
            raise ValueError(
                f"`results_path` must name a new file or results of the same "
                f"{key}. Received: {shown_path(path)!r}, made with {key}="
                f"{shown(others[key])[:_SHOWN]} and not "
                f"{shown(value)[:_SHOWN]}"
            )


def damaged(path: str, reason: str) -> ValueError:
    """Returns the error for a file that is not what was written."""
    return ValueError(
        f"`{shown_path(path)}` must hold the results of an evaluation, as they "
        f"were written; delete it to evaluate anew. Received: {reason[:150]}"
    )


def check_results_folder(folder, names: Sequence[str]) -> dict:
    """Returns the results file for each name, in a folder that can be written.

    Args:
        folder: string or path-like, made if it is missing; or `None`.
        names: sequence of strings. The names of the files without `.json`.

    Returns:
        A dictionary of paths; of `None`s without a folder.
    """
    if folder is None:
        return dict.fromkeys(names)
    folder = check_path("results_folder", folder)
    make_folder(folder)
    paths = {name: os.path.join(folder, f"{name}.json") for name in names}
    for path in paths.values():
        if not os.path.exists(path):
            check_writable("results_folder", path)
    return paths
