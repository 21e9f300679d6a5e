"""What the command lines of the examples share.

A wrong flag ends a script with one line, before Keras is imported: that takes
seconds. So nothing here imports Keras or keras_coconut.
"""

import contextlib
import functools
import importlib.util
import math
import os
import pathlib
import re
import sys

from absl import app, flags

BACKENDS = ("tensorflow", "jax", "torch")
# Set in the environment of a process that must end with the one before it.
DRIVEN = "KERAS_COCONUT_DRIVEN"
# As in `keras_coconut.methods`, which a test compares.
METHODS = (
    "coconut",
    "cot",
    "no_cot",
    "icot",
    "pause",
    "no_curriculum",
    "no_thought",
    "pause_as_thought",
)
DTYPES = (
    "float32",
    "float16",
    "bfloat16",
    "mixed_float16",
    "mixed_bfloat16",
)
# What absl repeats of Python's errors.
_IN_WORDS = {
    r"invalid literal for int\(\) .*": "must be a whole number",
    r"could not convert string to float.*": "must be a number",
}
# The most characters of a library's error that are repeated.
_SHOWN = 600


def run(main, sections=()):
    """Parses flags and runs `main`; a wrong flag ends with one line.

    Args:
        main: function of the arguments, which raises `app.UsageError` for
            flags that do not go together.
        sections: the titles of `--help`, in order: the `module_name` with which
            flags are defined. All flags of the script in one list if empty.
    """

    def guarded(argv):
        try:
            if argv[1:]:
                raise app.UsageError(
                    f"expected flags only. Received: {' '.join(argv[1:])}"
                )
            return main(argv)
        except app.UsageError as error:
            stop(error)
        except KeyboardInterrupt:
            stop("interrupted")

    app.run(guarded, flags_parser=functools.partial(_parse, sections))


def _parse(sections, argv):
    if sections and {"--help", "-help", "--helpshort", "-?"} & set(argv[1:]):
        print(sys.modules["__main__"].__doc__)
        for section in sections:
            print(flags.FLAGS.module_help(section))
        sys.exit()
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        stop(error)


def stop(error):
    """Ends the script with one line and a status that is not 0."""
    script = pathlib.Path(sys.argv[0]).name
    text = "; ".join(str(error).splitlines())
    for python, words in _IN_WORDS.items():
        text = re.sub(python, words, text)
    sys.exit(f"{script}: {text}")


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
        if len(text) > _SHOWN:
            text = text[: _SHOWN - 3] + "..."
        raise app.UsageError(f"{flag}: {text}") from error


def expect(flag, fits, expected):
    """Refuses values of a flag that are given and do not fit."""
    flags.register_validator(
        flag,
        lambda value: value is None or fits(value),
        message=f"must be {expected}",
    )


def expect_number(flag, above=-math.inf, below=math.inf, least=-math.inf):
    """Refuses numbers out of bounds, and those that are not finite."""
    bounds = [
        f"{word} {bound:g}"
        for word, bound in (
            ("above", above),
            ("at least", least),
            ("below", below),
        )
        if math.isfinite(bound)
    ]
    expect(
        flag,
        lambda value: (
            math.isfinite(value) and above < value < below and value >= least
        ),
        " ".join(["a finite number", " and ".join(bounds)]),
    )


def expect_file(flag):
    """Refuses paths that are no readable file."""
    expect(
        flag,
        lambda path: os.path.isfile(path) and os.access(path, os.R_OK),
        "a file that exists and can be read",
    )


def expect_counts(flag, different=True):
    """Refuses lists of anything but whole numbers of at least 0."""

    def fits(values):
        if not values or not all(value.isdecimal() for value in values):
            return False
        return not different or len(set(map(int, values))) == len(values)

    once = ", each only once" if different else ""
    expect(flag, fits, f"whole numbers of at least 0 with commas{once}")


def given(names):
    """Returns those of some flags that the command line sets."""
    return [name for name in names if flags.FLAGS[name].present]


def check_backend(name=None):
    """Raises a `UsageError` for a backend that is unknown or missing.

    Args:
        name: string, from `--backend`; the environment's KERAS_BACKEND if
            `None`, which may be unset.
    """
    where = "KERAS_BACKEND" if name is None else "--backend"
    name = name or os.environ.get("KERAS_BACKEND")
    if not name:
        return
    if name not in BACKENDS:
        raise app.UsageError(
            f"{where} must be one of {', '.join(BACKENDS)}. Received: {name}"
        )
    if importlib.util.find_spec(name) is None:
        raise app.UsageError(
            f"{where} must be an installed backend. Received: {name}, which "
            f'`pip install "keras_coconut[{name}]"` installs'
        )
