"""What is measured: the sizes of a model and of a batch."""

import dataclasses

# Positions of every model that is measured.
LONGEST = 1024
# Fewer leave out the special tokens of the authors' code.
_LEAST = {
    "layers": 1,
    "hidden": 1,
    "heads": 1,
    "vocabulary": 5,
    "batch": 1,
    "question": 1,
    "thoughts": 0,
    "iterations": 0,
    # A response of one token has no loss.
    "response": 2,
}
DTYPES = (
    "float32",
    "float16",
    "bfloat16",
    "mixed_float16",
    "mixed_bfloat16",
)


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
        iterations: how often all thoughts are computed at once; 0 computes
            one after the other.
        dtype: of the computation.

    Raises:
        ValueError: If a size is too small, or if sizes do not go together.
    """

    layers: int = 12
    hidden: int = 768
    heads: int = 12
    vocabulary: int = 50_260
    batch: int = 4
    question: int = 320
    padding: float = 0.25
    thoughts: int = 6
    iterations: int = 0
    response: int = 24
    dtype: str = "float32"

    def __post_init__(self):
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise ValueError(
                    f"--{name} must be a whole number of at least {least}. "
                    f"Received: {value}"
                )
        if not 0 <= self.padding < 1:
            raise ValueError(
                "--padding must be a share of at least 0 and below 1. "
                f"Received: {self.padding}"
            )
        if self.dtype not in DTYPES:
            raise ValueError(
                f"--dtype must be one of {', '.join(DTYPES)}. Received: "
                f"{self.dtype}"
            )
        if self.hidden % self.heads:
            raise ValueError(
                "--heads must divide --hidden. Received: "
                f"--heads={self.heads} and --hidden={self.hidden}"
            )
        self.check_fits("response", self.response)

    def check_fits(self, name: str, response: int) -> None:
        """Raises a `ValueError` if a response leaves the model's positions."""
        positions = self.question + self.thoughts + response
        if positions > LONGEST:
            raise ValueError(
                f"--question, --thoughts and --{name} must take at most "
                f"{LONGEST} positions together. Received: {positions}"
            )


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
