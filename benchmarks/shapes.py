"""What is measured: the sizes of a model and of a batch."""

import dataclasses

# Positions of every model that is measured.
LONGEST = 1024
# Fewer leave out the special tokens of the authors' code.
_LEAST = {
    "layers": 1,
    "hidden": 1,
    "heads": 1,
    "key_value_heads": 1,
    "intermediate": 1,
    "vocabulary": 5,
    "batch": 1,
    "question": 1,
    "thoughts": 0,
    "iterations": 0,
    # A response of one token has no loss.
    "response": 2,
}
FAMILIES = ("gpt2", "llama3")
DTYPES = (
    "float32",
    "float16",
    "bfloat16",
    "mixed_float16",
    "mixed_bfloat16",
)


@dataclasses.dataclass(frozen=True)
class Shape:
    """The sizes of a backbone and of the batch it reads.

    Args:
        layers, hidden, heads, vocabulary: of the backbone.
        family: `"gpt2"`, or `"llama3"`, which SmolLM2 is of.
        key_value_heads: of a Llama; as many as `heads` if `None`.
        intermediate: width of the feed-forward layers; 4 times `hidden` if
            `None`.
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
    family: str = "gpt2"
    key_value_heads: int | None = None
    intermediate: int | None = None
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
            if value is None and name in ("key_value_heads", "intermediate"):
                continue
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
        if self.family not in FAMILIES:
            raise ValueError(
                f"--family must be one of {', '.join(FAMILIES)}. Received: "
                f"{self.family}"
            )
        if self.key_value_heads and self.family == "gpt2":
            raise ValueError(
                "--key_value_heads must be left out with --family=gpt2, where "
                "each head has its own keys and values. Received: "
                f"{self.key_value_heads}"
            )
        if self.heads % (self.key_value_heads or self.heads):
            raise ValueError(
                "--key_value_heads must divide --heads. Received: "
                f"--key_value_heads={self.key_value_heads} and "
                f"--heads={self.heads}"
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
    # SmolLM2-135M.
    "gpu_smollm2": Shape(
        layers=30,
        hidden=576,
        heads=9,
        vocabulary=49_155,
        family="llama3",
        key_value_heads=3,
        intermediate=1536,
        batch=64,
        dtype="mixed_bfloat16",
    ),
}
