"""Pictures of a training run. Needs matplotlib, of the extra `examples`."""

import itertools
import numbers
import os
from collections.abc import Mapping, Sequence

import numpy as np

from keras_coconut.checks import check_string, is_flag, refuse, shown
from keras_coconut.files import check_writable


def plot_stages(
    history: Mapping[str, Sequence[float]],
    path,
    *,
    accuracy_key: str = "val_answer_accuracy",
    title: str = "",
) -> None:
    """Draws loss and answer accuracy over the epochs, stage by stage.

    Args:
        history: mapping. `History.history` of a `fit` with a
            `CurriculumScheduler`: lists of one number for each epoch, under
            `loss`, `stage` and `thoughts`.
        path: string or path-like. The picture to write, such as a `.png` or
            `.pdf` file.
        accuracy_key: string. The log with the accuracy, which may be missing.
            Defaults to `"val_answer_accuracy"`, that of `AnswerAccuracy`.
        title: string. Defaults to none.

    Raises:
        ValueError: If a log is missing, if the logs are of different lengths
            or hold anything but numbers, or if an argument is not one of
            these.
        OSError: If the file cannot be written.

    Example:
    ```python
    scheduler = keras_coconut.CurriculumScheduler(dataset)
    history = model.fit(dataset, epochs=12, callbacks=[scheduler]).history
    plot_stages(history, "stages.png")
    ```
    """
    accuracy_key = check_string("accuracy_key", accuracy_key, empty=False)
    title = check_string("title", title)
    logs = _read_logs(history, accuracy_key)
    path = check_writable("path", path)
    import matplotlib.figure

    epochs = range(1, 1 + len(logs["loss"]))
    figure = matplotlib.figure.Figure(figsize=(8, 4.5), layout="constrained")
    kinds = sorted(figure.canvas.get_supported_filetypes())
    suffix = os.path.splitext(path)[1]
    if suffix.lower().removeprefix(".") not in ("", *kinds):
        raise refuse("path", f"a file of the kinds {kinds}", path)
    axes = figure.subplots()
    first = 0
    # A stage may come back, where `stage` was set by hand.
    for stage, run in itertools.groupby(map(int, logs["stage"])):
        last = first + len(list(run))
        thoughts = int(logs["thoughts"][first])
        _draw_stage(axes, first, last, stage, thoughts)
        first = last
    (loss,) = axes.plot(
        epochs, logs["loss"], "o-", color="tab:blue", label="training loss"
    )
    axes.set_xlabel("epoch")
    axes.set_ylabel("training loss (nats per token)")
    axes.set_ylim(bottom=0)
    axes.set_xlim(0.5, len(epochs) + 0.5)
    axes.xaxis.get_major_locator().set_params(integer=True)
    lines = [loss]
    if accuracy_key in logs:
        right = axes.twinx()
        lines += right.plot(
            epochs,
            [100 * value for value in logs[accuracy_key]],
            "s--",
            color="tab:orange",
            label="answer accuracy on validation problems",
        )
        right.set_ylabel("answer accuracy (%)")
        right.set_ylim(0, 103)
    axes.legend(handles=lines, loc="center right")
    if title:
        figure.suptitle(title)
    figure.savefig(path, dpi=130)


def _draw_stage(axes, first, last, stage, thoughts):
    """Shades a stage's epochs (from 0) and writes its name above them."""
    axes.axvspan(
        first + 0.5,
        last + 0.5,
        color="0.95" if stage % 2 else "white",
        zorder=0,
    )
    axes.text(
        (first + last + 1) / 2,
        1.02,
        f"stage {stage}\n{thoughts} thought{'' if thoughts == 1 else 's'}",
        transform=axes.get_xaxis_transform(),
        ha="center",
        fontsize=9,
    )


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
            float(value).is_integer() and value >= 0
        ):
            raise refuse(name, "a list of whole numbers", value)
    return [float(value) for value in values]
