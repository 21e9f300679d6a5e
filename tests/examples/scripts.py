"""How the tests run the scripts in examples/, each as a user does."""

import json
import os
import pathlib
import re
import subprocess
import sys

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"

# Runs a script's `main` once for each list of flags, all in one process, since
# importing Keras takes seconds; prints how each ended.
ONE_AFTER_ANOTHER = """
import importlib, json, sys
from absl.testing import flagsaver
name, cases = sys.argv[1], json.loads(sys.argv[2])
sys.path.insert(0, sys.argv[3])
import command_line
script = importlib.import_module(name)
for case in cases:
    sys.argv = [name + ".py", *case]
    with flagsaver.flagsaver():
        end = None
        try:
            command_line.run(script.main)
        except SystemExit as error:
            end = error.code
        print("\\nENDED", json.dumps(end), flush=True)
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


def one_after_another(script, cases):
    """Returns `(printed, end)` of a script for each list of flags.

    `end` is what it ended with: `None`, or the line about what is wrong.
    """
    finished = start(
        ["-c", ONE_AFTER_ANOTHER, script.removesuffix(".py")]
        + [json.dumps(cases), EXAMPLES]
    )
    assert finished.returncode == 0, finished.stderr[-4000:]
    found, printed = [], []
    for line in finished.stdout.splitlines():
        if line.startswith("ENDED "):
            end = json.loads(line.removeprefix("ENDED "))
            found.append(("\n".join(printed), end))
            printed = []
        else:
            printed.append(line)
    assert len(found) == len(cases), finished.stdout
    return found


def all_refused(script, cases):
    """Checks that a script refuses each list of flags.

    Args:
        script: string.
        cases: dictionary from flags with spaces between them to a pattern of
            the line with which the script ends.
    """
    found = one_after_another(script, [flags.split() for flags in cases])
    for (_, end), (flags, expected) in zip(found, cases.items()):
        assert end, f"not refused: {flags}"
        assert re.search(f"^{script}: .*{expected}", end), end
        assert "\n" not in end and len(end) < 800
