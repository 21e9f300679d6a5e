"""JAX's cache of compiled programs, which outlives the process."""

import os

import keras


def keep_in(folder) -> None:
    """Lets JAX keep compiled programs in a folder from now on.

    Raises:
        ValueError: On another backend, which has no such cache.
    """
    backend = keras.config.backend()
    if backend != "jax":
        raise ValueError(
            "`compilation_cache` must be left out on this backend: only JAX "
            "can keep compiled programs in a folder of one's choice. Received: "
            f"compilation_cache={folder!r} on {backend}"
        )
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    jax.config.update("jax_compilation_cache_dir", os.fspath(folder))
    # JAX looks once whether it has a cache, and may have looked already.
    compilation_cache.reset_cache()
