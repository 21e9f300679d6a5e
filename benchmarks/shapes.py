"""What is measured: the sizes of a model and of a batch."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Shape:
    """The sizes of a GPT-2 and of the batch it reads.

    Args:
        layers, hidden, heads, vocabulary: of the GPT-2.
        batch: rows.
        question: positions of the longest question.
        padding: share of the question that is left padding in the worst row;
            rows are padded evenly between none and that.
        thoughts, response: thought slots, and positions of the response.
        dtype: of the computation.
    """

    layers: int = 12
    hidden: int = 768
    heads: int = 12
    vocabulary: int = 50_260
    batch: int = 4
    question: int = 320
    padding: float = 0.25
    thoughts: int = 6
    response: int = 24
    dtype: str = "float32"


PRESETS = {
    "base": Shape(),
    "small": Shape(
        layers=2,
        hidden=256,
        heads=8,
        vocabulary=300,
        batch=32,
        question=120,
    ),
    "gpu": Shape(batch=64, dtype="mixed_bfloat16"),
}
