"""What JAX keeps of compiling."""

import keras
import numpy as np
import pytest
import tiny

from keras_coconut.models import compilation


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


@pytest.mark.skipif(
    keras.config.backend() != "jax" or compilation._trim() is None,
    reason="JAX says when, and glibc gives back",
)
def test_memory_is_given_back_after_compiling(text_model, monkeypatch):
    trimmed = []
    monkeypatch.setattr(compilation, "_trim", lambda: trimmed.append)
    monkeypatch.setattr(compilation, "_LONG_COMPILATION", 0.0)
    tiny.compiled(text_model)
    x, _, _ = text_model.preprocessor(tiny.problems()[:2])
    data = {key: np.asarray(x[key]) for key in x}
    text_model.train_on_batch(data)
    before = len(trimmed)
    assert before > 0
    text_model.train_on_batch(data)
    assert len(trimmed) == before
