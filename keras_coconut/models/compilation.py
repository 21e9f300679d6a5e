"""Compiling: what it leaves on JAX, and a word while it takes its time."""

import contextlib
import ctypes
import functools
import sys
import threading

import keras

from keras_coconut.checks import check_path, shown


def keep_in(folder) -> None:
    """Lets JAX keep compiled programs in a folder from now on.

    Raises:
        ValueError: On another backend, which has no such cache.
    """
    folder = check_path("compilation_cache", folder)
    backend = keras.config.backend()
    if backend != "jax":
        raise ValueError(
            "`compilation_cache` must be left out on this backend: only JAX "
            "can keep compiled programs in a folder of one's choice. Received: "
            f"compilation_cache={shown(folder)} on {backend}"
        )
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    jax.config.update("jax_compilation_cache_dir", folder)
    # JAX looks once whether it has a cache, and may have looked already.
    compilation_cache.reset_cache()


# Seconds; what compiles faster leaves little behind.
_LONG_COMPILATION = 1.0


@functools.cache
def give_memory_back() -> None:
    """Lets the process give back the memory in which JAX has compiled.

    Compiling a training step of GPT-2 base leaves more than 1 GiB that is free
    but stays with the C library, in pieces too small for the step's own
    buffers. JAX says when it has compiled and before it runs the program. Only
    where the C library is glibc.
    """
    if keras.config.backend() != "jax" or _trim() is None:
        return
    import jax

    def listen(event, seconds, **_):
        if event.endswith("backend_compile_duration"):
            if seconds > _LONG_COMPILATION:
                _trim()(0)

    jax.monitoring.register_event_duration_secs_listener(listen)


def _trim():
    """Returns glibc's `malloc_trim`, or `None`."""
    if sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)


# Seconds after which a user wonders whether anything happens.
_WORTH_SAYING = 5.0


@contextlib.contextmanager
def announced(what: str, new: bool = True):
    """Says on stderr that something compiles, if that takes a while.

    Args:
        what: string, what is compiled.
        new: bool. Whether it is compiled at all. Defaults to `True`.
    """
    if not new:
        yield
        return
    timer = threading.Timer(_WORTH_SAYING, _say, [what])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _say(what):
    print(
        f"keras_coconut: compiling {what}. Each set of shapes is compiled once "
        "and then reused.",
        file=sys.stderr,
        flush=True,
    )
