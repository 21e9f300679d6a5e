"""The release of the library, and the oldest ones of what it works with."""

import importlib.metadata
import importlib.util
import re
import sys

__version__ = "0.1.0"

# setup.py asks for these, constraints-oldest.txt pins them, and
# `make test-oldest` runs the tests with them.
OLDEST = {
    "keras": "3.13.2",
    "keras-hub": "0.26.0",
    "tensorflow": "2.20.0",
    "jax": "0.7.2",
    "torch": "2.11.0",
}
# Earlier ones are not imported without TensorFlow, or read no text.
KERAS_HUB_WITHOUT_TENSORFLOW = "0.32.0"


def is_older(found: str, oldest: str) -> bool:
    """Whether a release comes before another.

    A candidate, a nightly or a build of one's own counts as the release that
    it is named after.
    """
    return _numbers(found) < _numbers(oldest)


def check_versions(found: dict[str, str | None] | None = None) -> None:
    """Raises an error that says what to install or to upgrade.

    Args:
        found: the release of each package; `None` for one that is missing.
            Defaults to `find_versions()`.

    Raises:
        ImportError: If a package is missing or older than in `OLDEST`.
    """
    found = find_versions() if found is None else found
    oldest = dict(OLDEST)
    if found.get("tensorflow-text", "any") is None:
        oldest["keras-hub"] = KERAS_HUB_WITHOUT_TENSORFLOW
    needed = {
        name: f"{name}>={oldest[name]}"
        for name, version in found.items()
        if name in oldest
        and (version is None or is_older(version, oldest[name]))
    }
    if not needed:
        return
    shown = [
        f"{text} (found: {found[name] or 'none'})"
        for name, text in needed.items()
    ]
    quoted = [f'"{text}"' for text in needed.values()]
    why = ""
    if oldest["keras-hub"] != OLDEST["keras-hub"] and "keras-hub" in needed:
        why = " where `tensorflow-text` is not installed"
    raise ImportError(
        f"keras_coconut needs {', '.join(shown)}{why}. Run: "
        f"pip install --upgrade {' '.join(quoted)}"
    )


def find_versions() -> dict[str, str | None]:
    """Returns the releases of Keras, its backend and KerasHub.

    Raises:
        ImportError: If the backend of Keras is not installed.
    """
    found = {"keras": None, "keras-hub": _keras_hub()}
    if importlib.util.find_spec("keras") is None:
        return found
    try:
        import keras
    except ModuleNotFoundError as error:
        backend = str(error.name).partition(".")[0]
        if backend not in OLDEST:
            raise
        # Keras names neither the choice that it made nor the others.
        raise ImportError(
            f"Keras computes with {backend}, which is not installed. Set the "
            'environment variable KERAS_BACKEND to "jax", "tensorflow" or '
            '"torch" before Keras is imported, or run: pip install '
            f'"{backend}>={OLDEST[backend]}"'
        ) from error
    backend = keras.backend.backend()
    found["keras"] = keras.__version__
    found[backend] = getattr(sys.modules.get(backend), "__version__", None)
    if importlib.util.find_spec("tensorflow_text") is None:
        found["tensorflow-text"] = None
    return found


def _keras_hub() -> str | None:
    # Not from the module first, whose import may fail with an old Keras.
    for name in ("keras-hub", "keras-hub-nightly"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    if importlib.util.find_spec("keras_hub") is None:
        return None
    # A copy of its sources.
    import keras_hub

    return keras_hub.__version__


def _numbers(version: str) -> tuple[int, ...]:
    """Returns (2, 11, 0) for "2.11.0+cpu"."""
    found = re.match(r"\d+(\.\d+)*", version)
    numbers = found[0].split(".") if found else []
    return tuple(int(number) for number in [*numbers, "0", "0", "0"][:3])
