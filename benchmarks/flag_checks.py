"""Checks that the benchmarks' command lines share.

Each refuses a flag when flags are parsed, before Keras is imported and before
anything is measured.
"""

import contextlib
import os
import pathlib
import re
import sys

from absl import app, flags

# What absl repeats of Python's errors.
_IN_WORDS = {
    r"invalid literal for int\(\) .*": "must be a whole number",
    r"could not convert string to float.*": "must be a number",
}


def run(main):
    """Parses flags and runs `main`; a wrong flag ends with one line.

    Args:
        main: function of the arguments, which raises `app.UsageError` for
            flags that do not go together.
    """

    def guarded(argv):
        try:
            return main(argv)
        except app.UsageError as error:
            _stop(error)

    app.run(guarded, flags_parser=_parse)


def refuse_arguments(argv):
    """Raises a `UsageError` for what is no flag."""
    if argv[1:]:
        raise app.UsageError(
            f"expected flags only. Received: {' '.join(argv[1:])}"
        )


def _parse(argv):
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        _stop(error)


def _stop(error):
    path = pathlib.Path(sys.argv[0])
    name = (
        path.parent.name
        if path.stem == "__main__"
        else (f"{path.parent.name}.{path.stem}")
    )
    text = "; ".join(str(error).splitlines())
    for python, words in _IN_WORDS.items():
        text = re.sub(python, words, text)
    sys.exit(f"{name}: {text}")


@contextlib.contextmanager
def blame(flag, *others):
    """Turns a library's `ValueError` or `OSError` into a usage error.

    Args:
        flag: string, the flag that the error comes from.
        *others: further classes of errors.
    """
    try:
        yield
    except (ValueError, OSError, *others) as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise app.UsageError(f"{flag}: {text}") from error


def expect(flag, fits, expected):
    """Refuses values of a flag that are given and do not fit."""
    flags.register_validator(
        flag,
        lambda value: value is None or fits(value),
        message=f"must be {expected}",
    )


def expect_some_of(flag, choices):
    """Refuses lists of anything but different choices."""
    expect(
        flag,
        lambda values: (
            set(values) <= set(choices) and len(set(values)) == len(values)
        ),
        f"some of {', '.join(choices)}, each only once",
    )


def expect_file(flag):
    """Refuses paths that are no readable file."""
    expect(
        flag,
        lambda path: os.path.isfile(path) and os.access(path, os.R_OK),
        "a file that exists and can be read",
    )


def expect_vocabulary(flag):
    """Refuses paths that are no folder of a GPT-2 vocabulary."""
    expect(
        flag,
        lambda folder: all(
            os.path.isfile(path) for path in vocabulary_files(folder)
        ),
        "a folder that holds vocabulary.json and merges.txt",
    )


def vocabulary_files(folder):
    """Returns the paths of a vocabulary's two files."""
    folder = pathlib.Path(folder)
    return str(folder / "vocabulary.json"), str(folder / "merges.txt")


def check_new_file(name, path, ending, overwrite):
    """Raises a `UsageError` unless a file can be written without loss.

    Args:
        name: string, the flag or argument.
        path: string.
        ending: string, what the name must end in.
        overwrite: bool. Whether a file that is there may be replaced.
    """
    path = pathlib.Path(path)
    if path.suffix != ending:
        raise app.UsageError(
            f"{name} must be a file name that ends in {ending}. Received: "
            f"{path}"
        )
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise app.UsageError(
            f"{name} must be a file in a folder that exists and can be written "
            f"to. Received: {path}"
        )
    if path.is_dir() or (path.exists() and not os.access(path, os.W_OK)):
        raise app.UsageError(
            f"{name} must be a file that can be written. Received: {path}"
        )
    if path.exists() and not overwrite:
        raise app.UsageError(
            f"{name} must be a new file; --overwrite replaces one. Received: "
            f"{path}, which exists"
        )
