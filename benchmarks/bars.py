"""The ratios to the baseline as bars, one below the other."""


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
