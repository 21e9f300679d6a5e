"""What `Measurements` knows by name: controls, decoded thoughts, a picture."""

from typing import Any

import numpy as np

from keras_coconut.analysis.thoughts import decode_thoughts
from keras_coconut.evaluation.controls import CONTROLS, evaluate_controls

# Problems whose thoughts are shown, and slots whose cosines find room.
_SHOWN, _NUMBERED = 3, 8


def controls(model, problems, num_thoughts, options) -> dict[str, float]:
    """Returns the accuracy with each control; NaN where nothing is thought."""
    found = evaluate_controls(
        model, problems, num_thoughts=num_thoughts, **options
    )
    accuracies = {name: entry.accuracy for name, entry in found.items()}
    if model.thought_kind == "pause":
        return accuracies
    return {name: accuracies.get(name, np.nan) for name in CONTROLS}


def decoded_thoughts(model, problems, num_thoughts, options) -> str:
    """Returns a table of what the thoughts on the first problems decode to."""
    questions = [problem.question for problem in problems[:_SHOWN]]
    decoded = decode_thoughts(
        model,
        questions,
        num_thoughts=num_thoughts,
        batch_size=options["batch_size"],
    )
    lines = ["| question | thought | tokens |", "| --- | --- | --- |"]
    for question, thoughts in zip(questions, decoded):
        for number, tokens in enumerate(thoughts, start=1):
            cell = ", ".join(
                # A space or the end of a line would not be seen.
                f"{_cell(token) or repr(token)} {probability:.0%}"
                for token, probability in tokens
            )
            lines.append(f"| {_cell(question)} | {number} | {cell} |")
    return "\n".join(lines)


def thought_cosines(model, problems, num_thoughts, options) -> Any:
    """Draws the mean cosine between the thoughts of each two slots.

    Thoughts that are alike in all slots are a sign that they hold nothing.
    Returns no figure where nothing is thought.
    """
    questions = [problem.question for problem in problems]
    thoughts = model.think(
        questions, num_thoughts, batch_size=options["batch_size"]
    )
    slots = thoughts.shape[1]
    if not slots:
        return {}
    import matplotlib.figure

    norms = np.linalg.norm(thoughts, axis=-1, keepdims=True)
    units = thoughts / np.maximum(norms, 1e-12)
    cosines = np.einsum("bkd,bld->kl", units, units) / len(units)
    figure = matplotlib.figure.Figure(figsize=(4.6, 4), layout="constrained")
    axes = figure.subplots()
    picture = axes.imshow(cosines, vmin=-1, vmax=1, cmap="cividis")
    figure.colorbar(picture, label="mean cosine")
    if slots <= _NUMBERED:
        for row, column in np.ndindex(slots, slots):
            axes.text(
                column,
                row,
                f"{cosines[row, column]:.2f}",
                ha="center",
                va="center",
                color="black" if cosines[row, column] > 0 else "white",
            )
    numbers = [str(slot + 1) for slot in range(slots)]
    axes.set_xticks(range(slots), numbers)
    axes.set_yticks(range(slots), numbers)
    axes.set_xlabel("thought")
    axes.set_ylabel("thought")
    return figure


def _cell(text):
    """Returns text for a table's cell, in which bars and lines have meaning."""
    return " ".join(text.replace("|", r"\|").split())


READY = {
    "controls": controls,
    "decoded_thoughts": decoded_thoughts,
    "thought_cosines": thought_cosines,
}
# What pauses, which are tokens, do not have.
OF_CONTINUOUS = ("decoded_thoughts", "thought_cosines")
