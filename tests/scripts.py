"""How the tests run the scripts of examples/ and benchmarks/, as users do."""

import contextlib
import importlib
import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys
from unittest import mock

ROOT = pathlib.Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"

# Runs a script's `main` once for each list of flags, all in one process, since
# starting Python and importing Keras take seconds; prints how each ended, and
# whether Keras was imported by then.
ONE_AFTER_ANOTHER = """
import importlib, json, sys
from absl.testing import flagsaver
script, modules, cases, *paths = map(json.loads, sys.argv[1:])
sys.path[:0] = paths
import command_line
*_, module = map(importlib.import_module, modules)
for case in cases:
    sys.argv = [script, *case]
    with flagsaver.flagsaver():
        end = None
        try:
            command_line.run(module.main)
        except SystemExit as error:
            end = error.code
        print("\\nENDED", json.dumps([end, "keras" in sys.modules]), flush=True)
"""


def start(arguments, **environment):
    """Runs Python and returns what came of it."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
    )


def run(script, *arguments):
    """Runs a script, which must end well; returns what it printed."""
    finished = start([EXAMPLES / script, *arguments])
    output = finished.stdout + finished.stderr
    assert finished.returncode == 0, output[-4000:]
    return finished.stdout


def refused(script, *arguments, **environment):
    """Runs a script, which must end with one line; returns that line."""
    finished = start([EXAMPLES / script, *arguments], **environment)
    assert finished.returncode == 1, finished.stdout + finished.stderr
    assert "Traceback" not in finished.stderr
    lines = finished.stderr.strip().splitlines()
    # Other libraries' remarks may stand before it.
    assert lines[-1].startswith(f"{script}: "), finished.stderr
    return lines[-1]


def load(path):
    """Returns the module of a file that is in no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def here(script):
    """A script in this process, where Keras is imported already.

    Yields a function of the script's arguments, which returns what the script
    ends with: `None`, or the line about what is wrong.

    Args:
        script: string, the file of an example or the name of a benchmark.
    """
    from absl.testing import flagsaver

    paths, before = [str(EXAMPLES), str(ROOT)], set(sys.modules)
    sys.path[:0] = paths
    command_line = importlib.import_module("command_line")
    sections = importlib.import_module("flag_sections")
    try:
        module = importlib.import_module(script.removesuffix(".py"))

        def call(*arguments):
            argv = [script, *map(str, arguments)]
            with (
                flagsaver.flagsaver(),
                mock.patch.object(sys, "argv", argv),
                # absl's own also changes how the process logs.
                mock.patch.object(command_line.app, "run", _run),
            ):
                try:
                    command_line.run(module.main)
                except SystemExit as error:
                    return error.code

        yield call
    finally:
        # Another script has flags of the same names.
        for name in sections.defined():
            delattr(command_line.flags.FLAGS, name)
        sections._SECTIONS.clear()
        sections._HIDDEN.clear()
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None) or ""
            if file.startswith((str(EXAMPLES), str(ROOT / "benchmarks"))):
                del sys.modules[name]
        for path in paths:
            sys.path.remove(path)


def _run(main, flags_parser):
    main(flags_parser(sys.argv))


def one_after_another(script, cases, modules=None):
    """Returns `(printed, end, keras)` of a script for each list of flags.

    `end` is what it ended with: `None`, or the line about what is wrong.
    `keras` says whether Keras was imported by then.

    Args:
        script: string, the file of an example or the name of a benchmark.
        cases: list of lists of flags.
        modules: list of strings. What is imported before the module of the
            script, and that module.
    """
    modules = modules or [script.removesuffix(".py")]
    arguments = [script, modules, cases, str(EXAMPLES), str(ROOT)]
    finished = start(["-c", ONE_AFTER_ANOTHER, *map(json.dumps, arguments)])
    assert finished.returncode == 0, finished.stderr[-4000:]
    found, printed = [], []
    for line in finished.stdout.splitlines():
        if line.startswith("ENDED "):
            end, keras = json.loads(line.removeprefix("ENDED "))
            found.append(("\n".join(printed), end, keras))
            printed = []
        else:
            printed.append(line)
    assert len(found) == len(cases), finished.stdout
    return found


def all_refused(script, cases, modules=None):
    """Checks that a script refuses each list of flags, before any work.

    It prints nothing and has not imported Keras.

    Args:
        script, modules: see `one_after_another`.
        cases: dictionary from flags with spaces between them to a pattern of
            the line with which the script ends.
    """
    found = one_after_another(
        script, [flags.split() for flags in cases], modules
    )
    for (printed, end, imported), (flags, expected) in zip(
        found, cases.items()
    ):
        assert end, f"not refused: {flags}"
        assert re.search(f"^{script}: .*{expected}", end), end
        assert "\n" not in end and len(end) < 800
        assert printed.strip() == ""
        assert not imported, f"only after importing Keras: {flags}"
