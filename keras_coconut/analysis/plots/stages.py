"""The plot of a training run: loss and accuracy, with its stages shaded."""

import itertools
import numbers
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from keras_coconut.analysis.plots.output import (
    Width,
    check_output,
    finish,
)
from keras_coconut.analysis.plots.style import (
    CONTROL,
    FONT_SIZE,
    MODEL,
    add_legend,
    line_key,
    make_panels,
    style_axes,
)
from keras_coconut.checks import PathLike, check_string, is_flag, refuse, shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Inches that the name of a stage takes, and that its number takes.
_NAME, _NUMBER = 0.66, 0.19
# Inches beside the panel, for both axes.
_MARGINS = 1.1


def plot_stages(
    history: Mapping[str, Sequence[float]],
    path: PathLike | None = None,
    *,
    accuracy_key: str = "val_answer_accuracy",
    title: str = "",
    width: Width = "page",
) -> "Figure":
    """Plots loss and answer accuracy over the epochs, stage by stage.

    Args:
        history: mapping. `History.history` of a `fit` with a
            `CurriculumScheduler`: a list with one number for each epoch, under
            `loss`, `stage` and `thoughts`.
        path: string or path-like. An image to write too, such as a `.png` or
            `.pdf` file. Optional.
        accuracy_key: string. The key of the accuracy, which may be missing.
            Defaults to `"val_answer_accuracy"`, that of `AnswerAccuracy`.
        title: string. The title of the plot. Defaults to none.
        width: `"column"` (3.3 inches) or `"page"` (6.9 inches). Defaults to
            `"page"`.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is missing.
        ValueError: If a log is missing, if the logs have different lengths or
            hold anything but numbers, or if an argument is invalid.
        OSError: If the file cannot be written.

    Example:
    ```python
    scheduler = keras_coconut.CurriculumScheduler(dataset)
    history = model.fit(dataset, epochs=12, callbacks=[scheduler]).history
    keras_coconut.plot_stages(history, "stages.png")
    ```
    """
    accuracy_key = check_string("accuracy_key", accuracy_key, empty=False)
    title = check_string("title", title)
    logs = _read_logs(history, accuracy_key)
    output = check_output(path, width)
    figure, (axes,) = make_panels(output, 1, 1, 0.25 * output.inches + 1.5)
    epochs = range(1, 1 + len(logs["loss"]))
    _draw_stages(axes, logs, (output.inches - _MARGINS) / len(epochs))
    axes.plot(epochs, logs["loss"], **MODEL.of_line)
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss (nats per token)")
    axes.set_ylim(bottom=0)
    axes.set_xlim(0.5, len(epochs) + 0.5)
    axes.xaxis.get_major_locator().set_params(integer=True)
    keys = [line_key(MODEL, "training loss")]
    if accuracy_key in logs:
        right = axes.twinx()
        style_axes(right)
        right.spines["right"].set_visible(True)
        right.plot(
            epochs,
            [100 * value for value in logs[accuracy_key]],
            **CONTROL.of_line,
        )
        right.set_ylabel("answer accuracy (%)")
        right.set_ylim(0, 103)
        label = "answer accuracy on validation problems"
        keys.append(line_key(CONTROL, label))
    add_legend(figure, keys)
    if title:
        figure.suptitle(title, fontsize=FONT_SIZE + 1)
    return finish(figure, output)


def _draw_stages(axes, logs, inches) -> None:
    """Shades the stages and names them; an epoch is so many inches wide."""
    # A stage may come back, where `stage` was set by hand.
    runs, first = [], 0
    for stage, run in itertools.groupby(map(int, logs["stage"])):
        last = first + len(list(run))
        runs.append((first, last, stage, int(logs["thoughts"][first])))
        first = last
    room = inches * min(last - first for first, last, _, _ in runs)
    above = dict(
        transform=axes.get_xaxis_transform(),
        fontsize=FONT_SIZE,
        va="bottom",
    )
    named = -np.inf
    for first, last, stage, thoughts in runs:
        color = "0.92" if stage % 2 else "white"
        axes.axvspan(first + 0.5, last + 0.5, color=color, zorder=0)
        name = f"stage {stage}\n{thoughts} thought{'s'[: thoughts != 1]}"
        if room < _NAME:
            name = f"{stage}\n{thoughts}"
        middle = (first + last + 1) / 2
        # Of many short stages only some.
        if inches * (middle - named) >= _NUMBER:
            named = middle
            axes.text(middle, 1.02, name, ha="center", **above)
    if room < _NAME:
        axes.text(0.45, 1.02, "stage\nthoughts", ha="right", **above)


def _read_logs(history, accuracy_key) -> dict[str, list[float]]:
    """Returns the logs that are drawn; raises a `ValueError` without them."""
    if not isinstance(history, Mapping):
        raise refuse(
            "history",
            "a dictionary of logs, such as `History.history`",
            history,
        )
    for key in ("stage", "thoughts", "loss"):
        if key not in history:
            raise ValueError(
                f"`history` must hold the log `{key}` of a `fit` with a "
                "`CurriculumScheduler`. Received: "
                f"{shown(list(history))}"
            )
    logs = {}
    for key in ("loss", "stage", "thoughts", accuracy_key):
        if key in history:
            logs[key] = _read_log(key, history[key])
    lengths = {key: len(values) for key, values in logs.items()}
    if len(set(lengths.values())) > 1 or not lengths["loss"]:
        raise ValueError(
            "`history` must hold one number for each epoch in every log, at "
            f"least one epoch. Received: lengths={shown(lengths)}"
        )
    return logs


def _read_log(key, values) -> list[float]:
    name = f"history[{shown(key)}]"
    if not isinstance(values, list | tuple | np.ndarray):
        raise refuse(name, "a list of numbers", values)
    for value in values:
        # A loss that has become NaN leaves a gap.
        if is_flag(value) or not isinstance(value, numbers.Real):
            raise refuse(name, "a list of numbers", value)
        try:
            float(value)
        except OverflowError:
            raise refuse(name, "a list of numbers", value) from None
        if key in ("stage", "thoughts") and not (
            float(value).is_integer() and float(value) >= 0
        ):
            raise refuse(name, "a list of whole numbers", value)
    return [float(value) for value in values]
