"""Draws the ratios to the baseline that files of results hold, side by side.

    python -m benchmarks.plot OUT.png RESULTS.json ...

`--overwrite` replaces a picture that is there.
"""

import importlib.util
import json
import pathlib

from absl import app, flags

from benchmarks.flag_checks import check_new_file, run

FLAGS = flags.FLAGS


def bars(results, name=""):
    """Returns `(label, ratio)` of results with a ratio to the baseline."""
    return [
        (f"{name or r['what']}, {r['backend']} {r['mode']}", r["of_baseline"])
        for r in results
        if r.get("of_baseline")
    ]


def draw(found, path):
    """Writes a PNG file of `(label, ratio)` pairs."""
    # Here: the benchmarks run without it.
    import matplotlib.figure

    labels = [label for label, _ in found]
    ratios = [ratio for _, ratio in found]
    figure = matplotlib.figure.Figure(
        figsize=(7, 1 + 0.3 * len(found)), layout="constrained"
    )
    axes = figure.subplots()
    drawn = axes.barh(labels, ratios, color="tab:blue")
    axes.bar_label(drawn, fmt="%.2f", label_type="center", color="white")
    axes.axvline(1, color="0.3", linestyle="--")
    axes.invert_yaxis()
    axes.set_xlabel("times the baseline: one pass over as many tokens")
    figure.savefig(path, dpi=130)


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
    if importlib.util.find_spec("matplotlib") is None:
        raise app.UsageError("expected matplotlib, which is not installed")
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
    flags.DEFINE_bool("overwrite", False, "Replace the picture.")
    run(main)
