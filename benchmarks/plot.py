"""Draws the ratios to the floor that files of results hold, side by side.

python -m benchmarks.plot OUT.png RESULTS.json ...
"""

import json
import pathlib
import sys


def bars(results, name=""):
    """Returns `(label, ratio)` of each result that has a ratio to the floor."""
    return [
        (f"{name or r['what']}, {r['backend']} {r['mode']}", r["of_floor"])
        for r in results
        if r.get("of_floor")
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
    axes.set_xlabel("times the floor: one pass over as many tokens")
    figure.savefig(path, dpi=130)


def main(path, *files):
    found = []
    for file in map(pathlib.Path, files):
        results = json.loads(file.read_text())["results"]
        found += bars(results, file.stem.replace("_", " "))
    draw(found, path)


if __name__ == "__main__":
    main(*sys.argv[1:])
