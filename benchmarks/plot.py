"""Draws the ratios to the baseline that files of results hold, side by side.

python -m benchmarks.plot OUT.png RESULTS.json ...
"""

import json
import pathlib

from absl import app, flags
from command_line import check_new_file, check_packages, run
from flag_sections import Section

from benchmarks.bars import bars, draw

FLAGS = flags.FLAGS

output = Section("Output")
output.switch("overwrite", False, "Replace a picture that is there.")


def read_results(path):
    """Returns the results in a file; an error names the file."""
    try:
        results = json.loads(path.read_text(encoding="utf-8"))["results"]
        bars(results)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise app.UsageError(
            f"{path} must be a file that `python -m benchmarks --json` wrote. "
            f"Received: {type(error).__name__}: {error}"
        ) from error
    return results


def main(argv):
    if len(argv) < 3:
        raise app.UsageError(
            "expected OUT.png and at least one RESULTS.json. Received: "
            f"{' '.join(argv[1:]) or 'nothing'}"
        )
    out, *files = argv[1:]
    check_new_file("OUT.png", out, ".png", FLAGS.overwrite)
    check_packages(["matplotlib"], "the picture")
    found = []
    for file in map(pathlib.Path, files):
        found += bars(read_results(file), file.stem.replace("_", " "))
    if not found:
        raise app.UsageError(
            "expected results with a ratio to the baseline. Received none in "
            f"{' '.join(files)}"
        )
    draw(found, out)


if __name__ == "__main__":
    run(main)
