"""What JAX keeps of compiling, and what a user sees of it."""

import time

import keras
import numpy as np
import pytest
import tiny

from keras_coconut.execution import compilation


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


def test_a_line_while_something_compiles(monkeypatch, capsys):
    monkeypatch.setattr(compilation, "_WORTH_SAYING", 0.05)
    for what, new in (("the step", True), ("nothing", False)):
        with compilation.announced(what, new):
            time.sleep(0.5)
    monkeypatch.setattr(compilation, "_WORTH_SAYING", 1e6)
    with compilation.announced("what is done at once"):
        pass
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("keras_coconut: compiling the step.")
    assert len(captured.err.splitlines()) == 1
