"""The plot of a thought budget: what each number of thoughts achieves."""

from typing import TYPE_CHECKING

import numpy as np

from keras_coconut.analysis.budget import ThoughtBudget
from keras_coconut.analysis.plots.intervals import (
    draw_bars,
    draw_line,
)
from keras_coconut.analysis.plots.output import (
    Width,
    check_output,
    finish,
)
from keras_coconut.analysis.plots.style import (
    CONTROL,
    MODEL,
    Look,
    add_legend,
    bar_key,
    line_key,
    make_panels,
    set_numbers,
    set_title,
)
from keras_coconut.checks import PathLike, check_instance

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# From the bottom to the top: neighbours differ in grey, or in their hatch.
_CLASSES = {
    "correct_path": MODEL,
    "longer_path": Look("#56B4E9", "", "", "////"),
    "correct_label": Look("#009E73", "", "", "...."),
    "wrong_target": Look("#F0E442", "", "", ""),
    "hallucination": Look("#D55E00", "", "", "\\\\\\\\"),
    "incorrect_label": Look("#000000", "", "", ""),
}
_FIRST = Look("white", "o", "", "")
_STABLE = Look("0.55", "D", "", "xxxx")
# Per cent: where the means are, above all bars.
_MEANS = (112, 124)


def plot_thought_budget(
    budget: ThoughtBudget,
    *,
    path: PathLike | None = None,
    width: Width = "page",
) -> "Figure":
    """Plots accuracy, reasoning and early stop against the thoughts allowed.

    The panels are the accuracy with Wilson intervals, with the control's; the
    reasoning classes, whose lowest one, the correct paths, has its interval;
    and how many problems need how many thoughts for the answer that they have
    after the most, with intervals, and above the bars their mean number with
    its 95% interval. The last two have a panel for the control.

    Args:
        budget: a `ThoughtBudget`.
        path: string or path-like. An image to write too, such as a `.png` or
            `.pdf` file. Optional.
        width: `"column"` (3.3 inches) or `"page"` (6.9 inches). Defaults to
            `"page"`.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is missing.
        ValueError: If an argument is invalid.
        OSError: If the file cannot be written.

    Example:
    ```python
    found = keras_coconut.thought_budget(model, problems, num_thoughts=[0, 1])
    keras_coconut.plot_thought_budget(found, path="budget.pdf")
    ```
    """
    expected = "a `keras_coconut.ThoughtBudget`"
    check_instance("budget", budget, ThoughtBudget, expected)
    output = check_output(path, width)
    models = [("", budget, MODEL)]
    if budget.control is not None:
        models.append(("control: ", budget.control, CONTROL))
    drawn = [
        (draw, f"{name}{title}", of)
        for draw, title in (
            (_draw_classes, "reasoning"),
            (_draw_matches, "thoughts needed"),
        )
        for name, of, _ in models
        if draw is not _draw_classes or of.forced[0].classes is not None
    ]
    panels_in_all = 1 + len(drawn)
    columns = 1
    if output.is_wide:
        columns = 2 if panels_in_all == 4 else min(3, panels_in_all)
    figure, (axes, *panels) = make_panels(output, panels_in_all, columns, 1.75)
    _draw_accuracy(axes, models)
    for panel, (draw, title, of) in zip(panels, drawn):
        draw(panel, of)
        set_title(panel, title)
    keys = [line_key(MODEL, "model")]
    if budget.control is not None:
        keys.append(line_key(CONTROL, "control"))
    for look, name in ((_FIRST, "first match"), (_STABLE, "stable match")):
        keys += [bar_key(look, name), line_key(look, f"{name}, mean")]
    if any(draw is _draw_classes for draw, _, _ in drawn):
        keys += [
            bar_key(look, name.replace("_", " "))
            for name, look in _CLASSES.items()
        ]
    add_legend(figure, keys)
    return finish(figure, output)


def _draw_accuracy(axes, models) -> None:
    forced = models[0][1].forced
    places = np.arange(len(forced))
    for index, (_, of, look) in enumerate(models):
        # Side by side, so that no interval covers the other.
        shift = 0.1 * (index - (len(models) - 1) / 2)
        shares = [each.accuracy for each in of.forced]
        draw_line(axes, places + shift, shares, look, 100)
    _finish_panel(axes, forced, "thoughts allowed", "answers right (%)")
    # Room for a marker at 0.
    axes.set_ylim(-4, 104)
    set_title(axes, "accuracy")


def _draw_classes(axes, of) -> None:
    places = np.arange(len(of.forced))
    below = np.zeros(len(places))
    for name, look in _CLASSES.items():
        shares = [each.classes[name].share for each in of.forced]
        heights = 100 * np.array(shares)
        axes.bar(places, heights, 0.8, bottom=below, **look.of_bar)
        below += heights
    # Only the lowest class begins at 0, where an interval says something.
    lowest = [each.classes["correct_path"] for each in of.forced]
    draw_bars(axes, places, lowest, MODEL, 0.8)
    _finish_panel(axes, of.forced, "thoughts allowed", "responses (%)")


def _draw_matches(axes, of) -> None:
    counts = [each.num_thoughts for each in of.forced]
    places = np.arange(len(counts))
    for shift, stop, look, height in (
        (-0.2, of.first_match, _FIRST, _MEANS[1]),
        (0.2, of.stable_match, _STABLE, _MEANS[0]),
    ):
        shares = [stop.shares[count] for count in counts]
        draw_bars(axes, places + shift, shares, look, 0.4)
        mean, margin = stop.mean
        # Bars are as far apart for any numbers of thoughts.
        ends = (mean - margin, mean, mean + margin)
        low, middle, high = np.interp(ends, counts, places)
        axes.errorbar(
            middle,
            height,
            xerr=[[middle - low], [high - middle]],
            **look.of_line,
            ecolor="black",
            elinewidth=1,
            capsize=2,
        )
    _finish_panel(axes, of.forced, "thoughts needed", "problems (%)")
    axes.set_ylim(0, 132)
    # The means above are no shares.
    axes.set_yticks([0, 50, 100])
    axes.spines["left"].set_bounds(0, 100)
    axes.axhline(104, color="0.6", lw=0.6)


def _finish_panel(axes, forced, label, share) -> None:
    set_numbers(axes, [each.num_thoughts for each in forced], label)
    axes.set_xlim(-0.6, len(forced) - 0.4)
    axes.set_ylim(0, 104)
    axes.set_ylabel(share)
