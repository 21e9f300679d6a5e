"""Compilation: a cache on JAX, a message while it runs, no leaked graphs."""

import contextlib
import sys
import threading

import keras

from keras_coconut.checks import check_path, shown


def keep_in(folder) -> None:
    """Makes JAX keep compiled programs in a folder from now on.

    Raises:
        ValueError: On other backends, which have no such cache.
    """
    folder = check_path("compilation_cache", folder)
    backend = keras.config.backend()
    if backend != "jax":
        raise ValueError(
            "`compilation_cache` must be left out on this backend: only JAX "
            "can keep compiled programs in a folder of your choice. Received: "
            f"compilation_cache={shown(folder)} on {backend}"
        )
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    jax.config.update("jax_compilation_cache_dir", folder)
    # JAX looks once whether it has a cache, and may have looked already.
    compilation_cache.reset_cache()


# Seconds after which a user wonders whether anything happens.
_WORTH_SAYING = 5.0


@contextlib.contextmanager
def announced(what: str, new: bool = True):
    """Prints a message to stderr if a compilation takes a while.

    Args:
        what: string, what is compiled.
        new: bool. Whether anything is compiled. Defaults to `True`.
    """
    if not new:
        yield
        return
    timer = threading.Timer(_WORTH_SAYING, _say, [what])
    timer.daemon = True
    timer.start()
    try:
        with _gradients_forgotten():
            yield
    finally:
        timer.cancel()


@contextlib.contextmanager
def _gradients_forgotten():
    """Forgets the gradients that TensorFlow registers while it traces.

    They keep the whole graph of a program alive for as long as the process, 50
    MB for a small model. What is traced here holds its gradients already.
    """
    if keras.config.backend() != "tensorflow":
        yield
        return
    from tensorflow.python.framework import ops

    # TensorFlow has no public way to take one back.
    registry = getattr(ops.gradient_registry, "_registry", {})
    before = set(registry)
    try:
        yield
    finally:
        for name in set(registry) - before:
            if name.startswith("CustomGradient"):
                registry.pop(name, None)


def _say(what):
    print(
        f"keras_coconut: compiling {what}. Each set of shapes is compiled once "
        "and then reused.",
        file=sys.stderr,
        flush=True,
    )
