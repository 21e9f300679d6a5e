"""Draws docs/idea.png, the picture at the top of the README."""

import pathlib

import matplotlib.figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

QUESTION, THOUGHT, TEXT = "#dbe7f5", "#f7c873", "#dff0d8"


def box(axes, x, y, text, color, width=0.8, height=0.5):
    axes.add_patch(
        FancyBboxPatch(
            (x - width / 2, y - height / 2),
            width,
            height,
            boxstyle="round,pad=0.02,rounding_size=0.08",
            facecolor=color,
            edgecolor="0.35",
            linewidth=0.9,
        )
    )
    axes.text(x, y, text, ha="center", va="center", fontsize=9)


def arrow(axes, start, end, **kwargs):
    style = dict(arrowstyle="-|>", mutation_scale=10, color="0.35")
    axes.add_patch(FancyArrowPatch(start, end, **{**style, **kwargs}))


def chain(axes, title, inputs, colors, outputs):
    axes.set_xlim(-0.7, 6.6)
    axes.set_ylim(-0.5, 2.9)
    axes.axis("off")
    axes.text(-0.6, 2.62, title, fontsize=11, fontweight="bold", va="center")
    last = len(inputs) - 1
    axes.add_patch(
        FancyBboxPatch(
            (-0.45, 0.72),
            last + 0.9,
            0.46,
            boxstyle="round,pad=0.02,rounding_size=0.1",
            facecolor="0.92",
            edgecolor="0.35",
        )
    )
    axes.text(last / 2, 0.95, "GPT-2", ha="center", va="center", fontsize=10)
    for x, (text, color) in enumerate(zip(inputs, colors)):
        box(axes, x, 0, text, color)
        arrow(axes, (x, 0.27), (x, 0.7))
    for x, (text, kind) in outputs.items():
        arrow(axes, (x, 1.2), (x, 1.62))
        box(axes, x, 1.9, text, kind)
        if kind == THOUGHT:
            # The hidden state is the next input.
            path = {"color": "#c77f0a", "linewidth": 1.8}
            axes.plot(
                [x + 0.42, x + 0.5, x + 0.5], [1.9, 1.9, 0], **path, zorder=3
            )
            arrow(axes, (x + 0.49, 0), (x + 0.6, 0), **path, zorder=3)


figure = matplotlib.figure.Figure(figsize=(6.5, 4.6), layout="constrained")
top, bottom = figure.subplots(2, 1)
chain(
    top,
    "Chain of thought writes its reasoning down",
    ["question", "step 1", "step 2", "step 3", "###"],
    [QUESTION, TEXT, TEXT, TEXT, TEXT],
    {
        0: ("step 1", TEXT),
        1: ("step 2", TEXT),
        2: ("step 3", TEXT),
        3: ("###", TEXT),
        4: ("answer", TEXT),
    },
)
chain(
    bottom,
    "Coconut feeds its last hidden state back: a thought, no words",
    [
        "question",
        "<bot>",
        "thought 1",
        "thought 2",
        "thought 3",
        "<eot>",
        "###",
    ],
    [QUESTION, QUESTION, THOUGHT, THOUGHT, THOUGHT, QUESTION, TEXT],
    {
        1: ("hidden", THOUGHT),
        2: ("hidden", THOUGHT),
        3: ("hidden", THOUGHT),
        5: ("###", TEXT),
        6: ("answer", TEXT),
    },
)
figure.savefig(pathlib.Path(__file__).with_name("idea.png"), dpi=160)
