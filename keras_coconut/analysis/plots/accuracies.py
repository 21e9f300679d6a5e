"""Plots of accuracies: with controls, and of methods by their tokens."""

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import TYPE_CHECKING

import numpy as np

from keras_coconut.analysis.plots.intervals import (
    draw_bars,
)
from keras_coconut.analysis.plots.output import (
    Width,
    check_output,
    finish,
)
from keras_coconut.analysis.plots.style import (
    CONTROL,
    FONT_SIZE,
    MODEL,
    SERIES,
    add_legend,
    line_key,
    make_panels,
)
from keras_coconut.checks import PathLike, check_instance, refuse, shown
from keras_coconut.evaluation.figures import Evaluation
from keras_coconut.evaluation.statistics import mean_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_EVALUATION = "a `keras_coconut.Evaluation`"
# Short enough for a column.
_NAMES = {
    "none": "no thoughts",
    "noise": "noise of equal norm",
    "other": "another problem's",
    "mean": "mean thought",
    "zeros": "zeros",
    "shuffled": "own, shuffled",
    "removed": "removed, no shift",
}


def plot_controls(
    evaluation: Evaluation,
    controls: Mapping[str, Evaluation],
    *,
    path: PathLike | None = None,
    width: Width = "column",
) -> "Figure":
    """Plots the accuracy with each control beside the model's own.

    Bars carry Wilson intervals. The model's own accuracy is the first bar, and
    a line with its interval behind the others.

    Args:
        evaluation: the `Evaluation` of the model with its own thoughts.
        controls: dictionary of `Evaluation`s, as `evaluate_controls` returns,
            of the same problems. Other names than those of
            `keras_coconut.evaluation.CONTROLS` are written as they are.
        path: string or path-like. An image to write too, such as a `.png` or
            `.pdf` file. Optional.
        width: `"column"` (3.3 inches) or `"page"` (6.9 inches). Defaults to
            `"column"`.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is missing.
        ValueError: If an evaluation is of other problems, or if an argument is
            invalid.
        OSError: If the file cannot be written.

    Example:
    ```python
    own = keras_coconut.evaluate_problems(model, problems)
    controls = keras_coconut.evaluate_controls(model, problems)
    keras_coconut.plot_controls(own, controls, path="controls.pdf")
    ```
    """
    check_instance("evaluation", evaluation, Evaluation, _EVALUATION)
    _check_named("controls", controls)
    for name, found in controls.items():
        label = f"controls[{shown(name)}]"
        check_instance(label, found, Evaluation, _EVALUATION)
        if len(found.correct) != len(evaluation.correct):
            raise ValueError(
                f"`{label}` must be of the same {len(evaluation.correct)} "
                f"problems as `evaluation`. Received: {len(found.correct)}"
            )
    output = check_output(path, width)
    rows = 1 + len(controls)
    figure, (axes,) = make_panels(output, 1, 1, 0.24 * rows + 0.2)
    own = evaluation.interval
    shares = [found.interval for found in controls.values()]
    axes.axvspan(100 * own.low, 100 * own.high, color="0.9", zorder=0)
    axes.axvline(100 * own.share, color=MODEL.color, ls="--", lw=1, zorder=0.5)
    draw_bars(axes, [0], [own], MODEL, 0.7, flat=True)
    draw_bars(axes, range(1, rows), shares, CONTROL, 0.7, flat=True)
    labels = ["own thoughts"]
    labels += [_NAMES.get(name, _cut(name)) for name in controls]
    axes.set_yticks(range(rows), labels)
    axes.invert_yaxis()
    axes.set_xlim(0, 103)
    axes.set_xlabel("answers right (%)")
    for row, share in enumerate([own, *shares]):
        axes.text(
            1.02,
            row,
            f"{share.share:.1%}",
            transform=axes.get_yaxis_transform(),
            va="center",
            fontsize=FONT_SIZE,
        )
    return finish(figure, output)


def plot_tokens(
    results: Mapping[str, Evaluation | Sequence[Evaluation]],
    *,
    path: PathLike | None = None,
    width: Width = "column",
) -> "Figure":
    """Plots the accuracy of methods against the tokens they generate.

    A method with one evaluation has its Wilson interval over the problems. One
    with several, such as of several seeds, has the 95% intervals of the means
    over them, and a dot for each.

    Args:
        results: dictionary from names of methods to their `Evaluation`, or to a
            list of `Evaluation`s.
        path: string or path-like. An image to write too, such as a `.png` or
            `.pdf` file. Optional.
        width: `"column"` (3.3 inches) or `"page"` (6.9 inches). Defaults to
            `"column"`.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is missing.
        ValueError: If `results` holds anything else, or if an argument is
            invalid.
        OSError: If the file cannot be written.

    Example:
    ```python
    with_thoughts = keras_coconut.evaluate_problems(model, problems)
    without = keras_coconut.evaluate_problems(model, problems, num_thoughts=0)
    results = {"Coconut": with_thoughts, "no thoughts": [without]}
    keras_coconut.plot_tokens(results).savefig("tokens.png")
    ```
    """
    _check_named("results", results)
    if not results:
        raise refuse("results", "of at least one method", results)
    of_seeds = {}
    for name, found in results.items():
        label = f"results[{shown(name)}]"
        if isinstance(found, Evaluation):
            of_seeds[name] = [found]
            continue
        expected = f"{_EVALUATION}, or a list of them, at least one"
        if not isinstance(found, list | tuple) or not found:
            raise refuse(label, expected, found)
        for each in found:
            check_instance(label, each, Evaluation, expected)
        of_seeds[name] = list(found)
    output = check_output(path, width)
    figure, (axes,) = make_panels(output, 1, 1, 2.2)
    keys = []
    for number, (name, found) in enumerate(of_seeds.items()):
        look = SERIES[number % len(SERIES)]
        if number >= len(SERIES):
            # Another marker for the same colour.
            marker = SERIES[(number + 3) % len(SERIES)].marker
            look = look._replace(marker=marker)
        _draw_method(axes, found, look)
        keys.append(line_key(look._replace(line=""), _cut(name)))
    axes.set_xlim(left=0)
    lowest, highest = axes.get_ylim()
    # Room for a marker at either end.
    axes.set_ylim(max(lowest, -3), min(highest, 103))
    axes.set_xlabel("tokens generated per problem")
    axes.set_ylabel("answers right (%)")
    add_legend(figure, keys)
    return finish(figure, output)


def _draw_method(axes, found, look) -> None:
    """Draws the mean of evaluations with its intervals, and each of them."""
    tokens = [each.tokens_generated for each in found]
    accuracies = [each.accuracy for each in found]
    if len(found) == 1:
        share = found[0].interval
        below, above = share.share - share.low, share.high - share.share
        errors = dict(yerr=100 * np.maximum([[below], [above]], 0))
    else:
        errors = dict(
            xerr=mean_interval(tokens).margin,
            yerr=100 * mean_interval(accuracies).margin,
        )
        axes.plot(
            tokens, 100 * np.array(accuracies), ".", color=look.color, ms=3
        )
    axes.errorbar(
        mean(tokens),
        100 * mean(accuracies),
        **errors,
        **{**look._replace(line="").of_line, "markersize": 6},
        ecolor="black",
        elinewidth=1,
        capsize=2,
    )


def _check_named(name, values) -> None:
    """Raises a `ValueError` for anything but a dictionary by names."""
    expected = "a dictionary from names to `Evaluation`s"
    if not isinstance(values, Mapping):
        raise refuse(name, expected, values)
    for key in values:
        if not isinstance(key, str) or not key.strip():
            raise refuse(name, expected, values)


def _cut(name) -> str:
    """Returns a name that fits beside a plot."""
    name = " ".join(name.split())
    return name if len(name) <= 24 else name[:23] + "…"
