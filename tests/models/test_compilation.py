"""What JAX keeps of compiling."""

import keras
import numpy as np
import pytest
import tiny


def test_compilation_cache(text_model, tmp_path):
    folder = tmp_path / "programs"
    if keras.config.backend() != "jax":
        with pytest.raises(ValueError, match="only JAX.*programs"):
            text_model.compile(compilation_cache=folder)
        return
    import jax

    before = jax.config.jax_compilation_cache_dir
    try:
        tiny.compiled(text_model, compilation_cache=folder)
        x, _, _ = text_model.preprocessor(tiny.problems()[:2])
        text_model.fit({key: np.asarray(x[key]) for key in x}, verbose=0)
        assert any(folder.iterdir())
    finally:
        text_model.compile(compilation_cache=before)
