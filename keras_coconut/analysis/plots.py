"""Pictures of a training run. Needs matplotlib, of the extra `examples`."""

from collections.abc import Mapping, Sequence


def plot_stages(
    history: Mapping[str, Sequence[float]],
    path,
    *,
    accuracy_key: str = "val_answer_accuracy",
    title: str = "",
) -> None:
    """Draws loss and answer accuracy over the epochs, stage by stage.

    Args:
        history: `History.history` of a `fit` with a `CurriculumScheduler`.
        path: string or path-like. The PNG file to write.
        accuracy_key: string. The log with the accuracy. Defaults to
            `"val_answer_accuracy"`, that of `AnswerAccuracy`.
        title: string.

    Raises:
        ValueError: If the history holds no stages.

    Example:
    ```python
    scheduler = keras_coconut.CurriculumScheduler(dataset)
    history = model.fit(dataset, epochs=12, callbacks=[scheduler]).history
    plot_stages(history, "stages.png")
    ```
    """
    if "stage" not in history:
        raise ValueError(
            "`history` must hold the log `stage`, which a "
            f"`CurriculumScheduler` writes. Received: {sorted(history)}"
        )
    import matplotlib.figure

    epochs = range(1, 1 + len(history["loss"]))
    figure = matplotlib.figure.Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    stages = [int(stage) for stage in history["stage"]]
    for stage in sorted(set(stages)):
        first, last = (
            stages.index(stage),
            len(stages) - stages[::-1].index(stage),
        )
        axes.axvspan(
            first + 0.5,
            last + 0.5,
            color="0.95" if stage % 2 else "white",
            zorder=0,
        )
        thoughts = int(history["thoughts"][first])
        axes.text(
            (first + last + 1) / 2,
            1.02,
            f"stage {stage}\n{thoughts} thought{'' if thoughts == 1 else 's'}",
            transform=axes.get_xaxis_transform(),
            ha="center",
            fontsize=9,
        )
    (loss,) = axes.plot(
        epochs, history["loss"], "o-", color="tab:blue", label="training loss"
    )
    axes.set_xlabel("epoch")
    axes.set_ylabel("training loss (nats per token)")
    axes.set_ylim(bottom=0)
    axes.set_xlim(0.5, len(epochs) + 0.5)
    axes.xaxis.get_major_locator().set_params(integer=True)
    lines = [loss]
    if accuracy_key in history:
        right = axes.twinx()
        lines += right.plot(
            epochs,
            [100 * value for value in history[accuracy_key]],
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
