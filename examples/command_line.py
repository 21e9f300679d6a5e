"""What the command lines of examples/ and benchmarks/ share.

A wrong flag ends a script with one line, before Keras is imported: that takes
seconds. So nothing here imports Keras or keras_coconut.
"""

import contextlib
import importlib.util
import json
import os
import pathlib
import re
import sys
import threading
from ast import literal_eval

from absl import app, flags
from flag_sections import nearest, show_help

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
# The most that Keras takes as a seed.
MOST_SEED = 2**32 - 1
# What absl repeats of Python's errors.
_IN_WORDS = {
    r"invalid literal for int\(\) .*": "must be a whole number",
    r"could not convert string to float.*": "must be a number",
    r"\('Non-boolean .*\)": "must be true or false",
    r"value should be one of <(.*)>": lambda found: (
        f"must be one of {found[1].replace('|', ', ')}"
    ),
    r"^flag --": "--",
    r"(?<==)\[.*?\](?=: )": lambda found: ",".join(literal_eval(found[0])),
}
_HELP = {"--help", "-help", "--helpshort", "-helpshort", "-h", "-?"}
# The most characters of a library's error that are repeated.
_SHOWN = 600


# What TensorFlow says at import would stand before an error.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


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
            stop(error)
        except KeyboardInterrupt:
            stop("interrupted")

    app.run(guarded, flags_parser=_parse)


def refuse_arguments(argv):
    """Raises a `UsageError` for what is no flag."""
    if argv[1:]:
        raise app.UsageError(
            "expected flags only, such as --name=value; --noNAME turns a "
            f"switch off. Received: {' '.join(argv[1:])}"
        )


def _parse(argv):
    if _HELP & set(argv[1:]):
        show_help()
        sys.exit()
    try:
        return flags.FLAGS(argv)
    except flags.UnrecognizedFlagError as error:
        near = nearest(error.flagname)
        stop(
            f"--{error.flagname} is not a flag of this script. "
            + (f"Did you mean --{near}? " if near else "")
            + "--help lists all flags"
        )
    except flags.Error as error:
        stop(error)


def stop(error):
    """Ends the script with one line and a status that is not 0."""
    text = "; ".join(str(error).splitlines())
    for python, words in _IN_WORDS.items():
        text = re.sub(python, words, text)
    sys.exit(f"{_script()}: {text}")


def _script():
    """The script as a user calls it: its file, or what follows `-m`."""
    path = pathlib.Path(sys.argv[0])
    if not (path.parent / "__init__.py").exists():
        return path.name
    return f"{path.parent.name}.{path.stem}".removesuffix(".__main__")


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


def check_backend(name=None):
    """Returns the backend; raises a `UsageError` if it cannot be used.

    Args:
        name: string, from `--backend`. If `None`, the environment's
            KERAS_BACKEND, or else what Keras takes by itself.
    """
    where = "KERAS_BACKEND" if name is None else "--backend"
    asked = name or os.environ.get("KERAS_BACKEND")
    name = asked or _own_choice_of_keras()
    if name not in BACKENDS:
        raise app.UsageError(
            f"{where} must be one of {', '.join(BACKENDS)}. Received: {name}"
        )
    if importlib.util.find_spec(name) is None:
        unset = "" if asked else "none, for which Keras takes "
        raise app.UsageError(
            f"{where} must be an installed backend. Received: {unset}{name}, "
            f'which `pip install "keras_coconut[{name}]"` installs'
        )
    return name


def _own_choice_of_keras():
    home = os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras")
    try:
        text = pathlib.Path(home, "keras.json").read_text(encoding="utf-8")
        return json.loads(text)["backend"]
    except (OSError, ValueError, KeyError, TypeError):
        return "tensorflow"


def check_packages(names, what):
    """Raises a `UsageError` for packages that are needed and missing."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise app.UsageError(
            f"{what} must have {' and '.join(names)}. Received: no "
            f"{missing[0]}, which `pip install {missing[0]}` installs"
        )


def end_with_driver():
    """Ends this process as soon as the script that started it has ended.

    Killed as that may be, it would leave a run to which nobody listens.
    """

    def wait():
        # Not through `sys.stdin`, whose lock a thread may not hold at the end.
        while os.read(0, 1):
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


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
