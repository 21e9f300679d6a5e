"""Seeds and fixtures; the backend is the environment's KERAS_BACKEND."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pytest
import tiny


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(1234)
    yield
    keras.utils.clear_session(free_memory=False)


def pytest_report_header():
    return f"keras backend: {keras.config.backend()}"


@pytest.fixture(scope="session")
def record():
    with np.load(tiny.PARITY / "tiny_gpt2.npz") as file:
        return {key: file[key] for key in file.files}


@pytest.fixture
def model(record):
    """The recorded tiny GPT-2, without a preprocessor."""
    import keras_coconut

    return keras_coconut.ContinuousThoughtLM(tiny.parity_backbone(record))


@pytest.fixture
def text_model():
    """A tiny GPT-2 with a vocabulary of bytes and a few words."""
    return tiny.text_model()
