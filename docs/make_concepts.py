"""Draws the pictures of docs/concepts.md: docs/concept_*.png."""

import pathlib

from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from keras_coconut.analysis.plots.style import CONTROL, MODEL, SERIES

HERE = pathlib.Path(__file__).parent
FONT_SIZE = 10


def tint(color, share=0.35):
    """Returns a colour so pale that black text on it is legible."""
    return tuple(1 - share * (1 - part) for part in to_rgb(color))


QUESTION = tint(MODEL.color, 0.25)
THOUGHT = tint(CONTROL.color, 0.6)
TEXT = tint(SERIES[4].color, 0.25)
NOTHING = "0.93"


def canvas(width, height):
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.axis("off")
    return figure, axes


def box(axes, left, top, width, text, color, dashed=False):
    height = 0.42
    axes.add_patch(
        FancyBboxPatch(
            (left + 0.05, top),
            width - 0.1,
            height,
            boxstyle="round,pad=0,rounding_size=0.07",
            facecolor=color,
            edgecolor="0.35",
            linestyle="--" if dashed else "-",
            linewidth=0.9,
        )
    )
    middle = (left + width / 2, top + height / 2 + 0.01)
    axes.text(*middle, text, ha="center", va="center", fontsize=FONT_SIZE)


def label(axes, left, top, text, **kwargs):
    style = dict(ha="left", va="center", fontsize=FONT_SIZE)
    axes.text(left, top + 0.22, text, **{**style, **kwargs})


def arrow(axes, start, end, **kwargs):
    style = dict(arrowstyle="-|>", mutation_scale=10, color="0.35")
    axes.add_patch(FancyArrowPatch(start, end, **{**style, **kwargs}))


def thoughts():
    figure, axes = canvas(5.2, 2.05)
    inputs = [
        ("question", QUESTION),
        ("<bot>", QUESTION),
        ("thought 1", THOUGHT),
        ("thought 2", THOUGHT),
        ("<eot>", TEXT),
    ]
    width = 1.02
    box(axes, 0.05, 0.8, 5.1, "decoder", NOTHING)
    for index, (text, color) in enumerate(inputs):
        middle = 0.55 + width * index
        box(axes, middle - 0.44, 1.55, 0.88, text, color)
        arrow(axes, (middle, 1.55), (middle, 1.22))
        if text in ("<bot>", "thought 1"):
            arrow(axes, (middle, 0.8), (middle, 0.47))
            box(axes, middle - 0.44, 0.05, 0.88, "hidden", THOUGHT)
            # The hidden state is the next input.
            path = dict(color="#a66f00", linewidth=1.8)
            side = middle + width / 2
            axes.plot([middle + 0.4, side, side], [0.26, 0.26, 1.76], **path)
            arrow(axes, (side, 1.76), (side + 0.13, 1.76), **path)
    arrow(axes, (middle, 0.8), (middle, 0.47))
    box(axes, middle - 0.44, 0.05, 0.88, "answer", TEXT)
    return figure


def curriculum():
    figure, axes = canvas(5.2, 2.3)
    steps = ["step 1", "step 2", "step 3"]
    for stage in range(4):
        top = 0.08 + 0.57 * stage
        label(axes, 0.05, top, f"stage {stage}", fontweight="bold")
        parts = [("question", QUESTION)]
        parts += [(f"thought {k + 1}", THOUGHT) for k in range(stage)]
        parts += [(step, TEXT) for step in steps[stage:]]
        parts += [("answer", TEXT)]
        for index, (text, color) in enumerate(parts):
            box(axes, 0.75 + 0.88 * index, top, 0.88, text, color)
    return figure


def spans():
    figure, axes = canvas(5.8, 2.2)
    for middle, text in (
        (1.24, "question, Q"),
        (3.05, "thoughts, K"),
        (4.75, "response, R"),
    ):
        label(axes, middle, 0.0, text, ha="center", fontweight="bold")
    rows = [
        (["", "1 +", "2?", "<bot>"], [1, 0], ["<eot>", "### 3", ""]),
        (["4 +", "5 +", "6?", "<bot>"], [1, 1], ["<eot>", "###", "15"]),
    ]
    for number, (question, slots, response) in enumerate(rows):
        top = 0.5 + 0.55 * number
        for index, text in enumerate(question):
            color = QUESTION if text else NOTHING
            box(axes, 0.62 * index, top, 0.62, text, color, not text)
        for index, used in enumerate(slots):
            color = THOUGHT if used else NOTHING
            text = f"h{index + 1}" if used else ""
            box(axes, 2.55 + 0.5 * index, top, 0.5, text, color, not used)
        for index, text in enumerate(response):
            color = TEXT if text else NOTHING
            box(axes, 3.65 + 0.7 * index, top, 0.7, text, color, not text)
    for middle, text in (
        (1.24, "padded on the left;\none pass"),
        (3.05, "one pass each;\nidle slots last"),
        (4.75, "padded on the right;\none pass, with logits"),
    ):
        label(axes, middle, 1.68, text, ha="center", color="0.25", fontsize=9)
    return figure


def search():
    figure, axes = canvas(5.2, 2.6)
    places = {
        "Tom": (0.5, 1.3),
        "a": (1.9, 0.75),
        "b": (1.9, 1.85),
        "c": (3.3, 0.25),
        "d": (3.3, 1.1),
        "e": (3.3, 1.85),
        "target": (4.7, 1.1),
    }
    edges = [
        ("Tom", "a"), ("Tom", "b"), ("a", "c"), ("a", "d"), ("b", "e"),
        ("d", "target"),
    ]  # fmt: skip
    way = {("Tom", "a"), ("a", "d"), ("d", "target")}
    for start, end in edges:
        x, y = places[start]
        to_x, to_y = places[end]
        style = dict(linewidth=2.6) if (start, end) in way else {}
        arrow(axes, (x + 0.35, y), (to_x - 0.35, to_y), **style)
    for name, (x, y) in places.items():
        color = THOUGHT if 1 < x < 4 else TEXT if x > 4 else QUESTION
        box(axes, x - 0.4, y - 0.21, 0.8, name, color)
    for x, text in (
        (0.5, "question"),
        (1.9, "thought 1"),
        (3.3, "thought 2"),
        (4.7, "answer"),
    ):
        label(axes, x, 2.2, text, ha="center", color="0.25")
    return figure


def controls():
    figure, axes = canvas(5.2, 2.9)
    rows = [
        ("its own", ["thought 1", "thought 2"], THOUGHT),
        ("none", [], THOUGHT),
        ("noise", ["noise", "noise"], NOTHING),
        ("another's", ["other's 1", "other's 2"], TEXT),
        ("the mean", ["mean 1", "mean 2"], QUESTION),
    ]
    for number, (name, replaced, color) in enumerate(rows):
        top = 0.08 + 0.57 * number
        label(axes, 0.05, top, name, fontweight="bold")
        left = 1.1
        for text, shade in [
            ("question", QUESTION),
            *((thought, color) for thought in replaced),
            ("response?", TEXT),
        ]:
            box(axes, left, top, 1.0, text, shade)
            left += 1.0
    return figure


for draw in (thoughts, curriculum, spans, search, controls):
    draw().savefig(HERE / f"concept_{draw.__name__}.png", dpi=160)
