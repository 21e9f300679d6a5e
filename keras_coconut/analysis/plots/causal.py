"""Plots of what changes an answer: a twin's thoughts, or another edge."""

from typing import TYPE_CHECKING, NamedTuple

from keras_coconut.analysis.causal.edge_following import (
    CounterfactualEvaluation,
)
from keras_coconut.analysis.causal.twin_thoughts import MinimalPairEvaluation
from keras_coconut.analysis.plots.intervals import (
    draw_bars,
)
from keras_coconut.analysis.plots.output import (
    Output,
    Width,
    check_output,
    finish,
)
from keras_coconut.analysis.plots.style import (
    CONTROL,
    MODEL,
    NULL,
    add_legend,
    bar_key,
    make_grid,
    set_title,
)
from keras_coconut.checks import PathLike, check_instance
from keras_coconut.evaluation.statistics import Share

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Inches of a row with one bar.
_ROW = 0.25
# Of the model and of the control.
_LOOKS = ((MODEL, "model"), (CONTROL, "control"))
_NULLS = (
    (NULL, "null"),
    (NULL._replace(color="white", hatch=CONTROL.hatch), "control's null"),
)


class _Row(NamedTuple):
    """A row of a plot: the share of the model, then that of the control."""

    label: str
    shares: list[Share | None]
    is_null: bool = False


def plot_minimal_pairs(
    found: MinimalPairEvaluation,
    *,
    path: PathLike | None = None,
    width: Width = "column",
) -> "Figure":
    """Plots how often the answer is that of the twin whose thoughts it has.

    Above are the accuracies on the questions and on their twins. Below are the
    shares of answers that are the donor's: with no thought swapped and with
    those of an unrelated problem, the nulls; with all thoughts of the twin; and
    with one of them. All have Wilson intervals. A model whose thoughts nothing
    can replace has accuracies alone.

    Args:
        found: a `MinimalPairEvaluation`.
        path: string or path-like. An image to write too, such as a `.png` or
            `.pdf` file. Optional.
        width: `"column"` (3.3 inches) or `"page"` (6.9 inches). Defaults to
            `"column"`.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is missing.
        ValueError: If an argument is invalid.
        OSError: If the file cannot be written.

    Example:
    ```python
    found = keras_coconut.evaluate_minimal_pairs(model, problems, num_pairs=3)
    keras_coconut.plot_minimal_pairs(found, path="pairs.pdf")
    ```
    """
    expected = "a `keras_coconut.MinimalPairEvaluation`"
    check_instance("found", found, MinimalPairEvaluation, expected)
    output = check_output(path, width)
    models = [found] if found.control is None else [found, found.control]
    accuracies = [
        _Row("question", [each.accuracy for each in models]),
        _Row("twin", [each.twin_accuracy for each in models]),
    ]
    swaps = [
        ("own thoughts", [each.no_swap for each in models], True),
        ("another problem's", [each.other_problems for each in models], True),
        ("all of its twin's", [each.all_thoughts for each in models], False),
    ]
    for slot in range(max(len(each.each_thought) for each in models)):
        in_slot = [
            each.each_thought[slot] if slot < len(each.each_thought) else None
            for each in models
        ]
        swaps.append((f"twin's thought {slot + 1}", in_slot, False))
    donors = [
        _Row(
            label,
            [None if swap is None else swap.donor for swap in of_models],
            is_null,
        )
        for label, of_models, is_null in swaps
    ]
    panels = {
        "answered correctly": accuracies,
        "answers that are the donor's": donors,
    }
    return finish(_draw(output, panels), output)


def plot_counterfactuals(
    found: CounterfactualEvaluation,
    *,
    path: PathLike | None = None,
    width: Width = "column",
) -> "Figure":
    """Plots how often the answer follows an edge of the graph.

    Above are the accuracies on the problems as they are, with an edge that
    turns the answer around, and with one that does not matter. Below are the
    shares, among the problems answered correctly, of answers that turn around
    with the edge, that stay, and, the nulls, that turn around though the edge
    does not matter, or leads to the other choice from where the root does not
    reach. All have Wilson intervals.

    Args:
        found: a `CounterfactualEvaluation`.
        path: string or path-like. An image to write too, such as a `.png` or
            `.pdf` file. Optional.
        width: `"column"` (3.3 inches) or `"page"` (6.9 inches). Defaults to
            `"column"`.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ImportError: If matplotlib is missing.
        ValueError: If an argument is invalid.
        OSError: If the file cannot be written.

    Example:
    ```python
    found = keras_coconut.evaluate_counterfactuals(model, graph_problems)
    keras_coconut.plot_counterfactuals(found, path="edges.pdf")
    ```
    """
    expected = "a `keras_coconut.CounterfactualEvaluation`"
    check_instance("found", found, CounterfactualEvaluation, expected)
    output = check_output(path, width)
    models = [found] if found.control is None else [found, found.control]
    panels = {
        "answered correctly": [
            _Row("original", [each.accuracy for each in models]),
            _Row(
                "deciding edge moved",
                [each.changed_accuracy for each in models],
            ),
            _Row(
                "other edge moved", [each.neutral_accuracy for each in models]
            ),
        ],
        "answers, if the original's is right": [
            _Row(
                "turns without cause",
                [each.false_following for each in models],
                is_null=True,
            ),
            _Row(
                "turns with a decoy",
                [each.decoy_following for each in models],
                is_null=True,
            ),
            _Row("follows the edge", [each.following for each in models]),
            _Row("stays", [each.staying for each in models]),
        ],
    }
    return finish(_draw(output, panels), output)


def _draw(output: Output, panels: dict[str, list[_Row]]) -> "Figure":
    """Draws rows of bars, in one panel above the other.

    Rows of which nothing is known are left out, and so are their panels.
    """
    known = {
        title: [row for row in rows if any(row.shares)]
        for title, rows in panels.items()
    }
    known = {title: rows for title, rows in known.items() if rows}
    sizes = [len(rows) for rows in known.values()]
    bars = max(len(row.shares) for rows in known.values() for row in rows)
    height = _ROW * (0.6 + 0.4 * bars) * sum(sizes) / len(sizes)
    figure, grid = make_grid(
        output,
        len(known),
        1,
        height + 0.35,
        sharex=True,
        gridspec_kw={"height_ratios": sizes},
    )
    for axes, (title, rows) in zip(grid.flat, known.items()):
        _draw_rows(axes, rows, bars)
        set_title(axes, title)
    axes.set_xlim(0, 103)
    axes.set_xlabel("share (%)")
    kinds = [*_LOOKS[:bars], *_NULLS[:bars]]
    if not any(row.is_null for rows in known.values() for row in rows):
        kinds = kinds[:bars]
    add_legend(figure, [bar_key(look, label) for look, label in kinds])
    return figure


def _draw_rows(axes, rows, bars) -> None:
    """Draws rows of so many bars each."""
    thickness = 0.78 / bars
    for place, row in enumerate(rows):
        looks = _NULLS if row.is_null else _LOOKS
        for number, (share, (look, _)) in enumerate(zip(row.shares, looks)):
            middle = place + (number - (bars - 1) / 2) * thickness
            draw_bars(axes, [middle], [share], look, thickness, flat=True)
    axes.set_yticks(range(len(rows)), [row.label for row in rows])
    axes.set_ylim(len(rows) - 0.45, -0.55)
