"""What one measurement is: its name, backend, mode, sizes and repetitions.

Nothing here imports Keras: a wrong measurement is refused before that.
"""

import dataclasses
import importlib.util

from benchmarks.shapes import Shape

# JAX always compiles.
MODES = {
    "tensorflow": ("graph", "xla"),
    "jax": ("xla",),
    "torch": ("eager", "compile"),
}
# `torch.compile` takes minutes: it is measured only where it is named.
UNNAMED_MODES = {**MODES, "torch": ("eager",)}
MEASURES = ("train", "growth", "generate", "compile", "memory")
# What the authors' code is measured in as well.
OFFICIAL_MEASURES = ("train", "generate", "memory")
# Those that have a baseline, and so a ratio to draw.
WITH_FLOOR = ("train", "compile", "memory")
_KEYS = {"what", "shape", "mode", "rounds", "steps"}
_KEYS_OF_MEASURE = {"generate": {"tokens"}, "memory": {"which"}}


def check_installed(backend: str) -> None:
    """Raises a `ValueError` for a backend that is unknown or missing."""
    if backend not in MODES:
        raise ValueError(
            f"expected one of {', '.join(MODES)}. Received: {backend}"
        )
    if importlib.util.find_spec(backend) is None:
        raise ValueError(f"expected an installed backend. Received: {backend}")


def check_sizes(shape: Shape, what: str, tokens: int) -> None:
    """Raises a `ValueError` for sizes that a measure cannot work with."""
    if what == "growth" and not shape.thoughts:
        raise ValueError(
            "--thoughts must be at least 1 for the measure of growth. "
            "Received: 0"
        )
    if what == "generate":
        shape.check_fits("tokens", 1 + tokens)


def read_spec(spec, backend) -> tuple[str, Shape, dict]:
    """Checks what a worker is told to measure.

    Args:
        spec: what was read from JSON.
        backend: string, the environment's KERAS_BACKEND; may be `None`.

    Returns:
        The measure, the shape, and the measure's other arguments.

    Raises:
        ValueError: If the worker could not measure that.
    """
    if not isinstance(spec, dict) or spec.get("what") not in MEASURES:
        raise ValueError(
            f"expected an object whose `what` is one of {', '.join(MEASURES)}. "
            f"Received: {spec}"
        )
    what, needed = (
        spec["what"],
        _KEYS | _KEYS_OF_MEASURE.get(spec["what"], set()),
    )
    optional = {"engines"}
    if what == "memory":
        optional.add("rematerialize")
    if set(spec) - optional != needed:
        raise ValueError(
            f"expected the keys {', '.join(sorted(needed))} for {what}. "
            f"Received: {', '.join(sorted(spec))}"
        )
    known = {field.name for field in dataclasses.fields(Shape)}
    if not isinstance(spec["shape"], dict) or not set(spec["shape"]) <= known:
        raise ValueError(
            f"expected a shape of {', '.join(sorted(known))}. Received: "
            f"{spec['shape']}"
        )
    for name in {"rounds", "steps", "tokens"} & needed:
        if not isinstance(spec[name], int) or spec[name] < 1:
            raise ValueError(
                f"expected {name} to be a whole number of at least 1. "
                f"Received: {spec[name]}"
            )
    if what == "memory" and spec["which"] not in ("baseline", "coconut"):
        raise ValueError(
            "expected `which` to be baseline or coconut. Received: "
            f"{spec['which']}"
        )
    if backend is None:
        raise ValueError("expected KERAS_BACKEND to be set. Received: none")
    try:
        check_installed(backend)
    except ValueError as error:
        raise ValueError(f"KERAS_BACKEND: {error}") from None
    if spec["mode"] not in MODES[backend]:
        raise ValueError(
            f"expected a mode of {backend}, {' or '.join(MODES[backend])}. "
            f"Received: {spec['mode']}"
        )
    shape = Shape(**spec["shape"])
    check_sizes(shape, what, spec.get("tokens", 1))
    rest = {
        key: value
        for key, value in spec.items()
        if key not in ("what", "shape")
    }
    return what, shape, rest
