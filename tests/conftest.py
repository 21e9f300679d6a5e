"""Seeds and fixtures; the backend is the environment's KERAS_BACKEND."""

import gc
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if "PYTEST_XDIST_WORKER" in os.environ:
    # PyTorch's threads of several workers wait for each other: the tests then
    # take five times as long.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
# The tests compile hundreds of small programs and run each a few times: less
# optimization makes that twice as fast.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false",
)

# Many tests compile the same small programs, and so do the processes that they
# start.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR",
    str(pathlib.Path(__file__).parents[1] / ".pytest_cache" / "jax"),
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

import keras
import numpy as np
import pytest
import tiny

from keras_coconut.evaluation import unfinished
from keras_coconut.execution import compilation

# What the processes that tests start take over; no test changes it for others.
INHERITED = [
    "KERAS_BACKEND",
    "XLA_FLAGS",
    "PYTHONPATH",
    "JAX_COMPILATION_CACHE_DIR",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES",
]
# What is printed must not depend on how busy the machine is.
compilation._WORTH_SAYING = 1e6

if keras.config.backend() == "jax":
    import jax

if keras.config.backend() == "tensorflow":
    import tensorflow as tf

    # Graphs that run a few times: optimizing them takes longer.
    tf.config.optimizer.set_experimental_options(
        {"disable_meta_optimizer": True}
    )


def pytest_addoption(parser):
    parser.addoption(
        "--thorough",
        action="store_true",
        help="run tests marked `thorough` with every backend",
    )


def pytest_collection_modifyitems(config, items):
    """Runs with PyTorch alone what says nothing new on another backend."""
    for item in items:
        if " at 0x" in item.nodeid:
            # Workers would not agree on the tests, and run none.
            raise pytest.UsageError(f"a name with an address: {item.nodeid}")
    if keras.config.backend() == "torch":
        for item in items:
            if item.get_closest_marker("thorough") and any(
                mark.args[0] for mark in item.iter_markers("skipif")
            ):
                # `make test` would run it nowhere.
                raise pytest.UsageError(f"thorough, not here: {item.nodeid}")
        return
    marks = ["any_backend"]
    if not config.getoption("thorough"):
        marks.append("thorough")
    left_out = {
        item for item in items if any(map(item.get_closest_marker, marks))
    }
    config.hook.pytest_deselected(items=list(left_out))
    items[:] = [item for item in items if item not in left_out]


def pytest_collection_finish():
    """Freezes what was imported and collected.

    Keras collects garbage for each layer that it quantizes, which takes most of
    a second among millions of objects that stay.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(1234)
    environment = {name: os.environ.get(name) for name in INHERITED}
    yield
    unfinished.forget()
    keras.utils.clear_session(free_memory=False)
    assert environment == {name: os.environ.get(name) for name in INHERITED}


@pytest.fixture(autouse=True, scope="module")
def programs_of_one_file():
    """Forgets the programs that JAX compiled for the tests of a file.

    A process that holds too many of them is stopped while it loads another.
    """
    yield
    tiny.forget_shared()
    if keras.config.backend() == "jax":
        jax.clear_caches()


def pytest_report_header():
    return (
        f"keras backend: {keras.config.backend()}; tests marked `any_backend` "
        "run with torch, and so do those marked `thorough` without --thorough"
    )


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
def text_model(request):
    """A tiny GPT-2 with a vocabulary of bytes and a few words."""
    return compiled_model(request, layers=2)


@pytest.fixture
def small_text_model(request):
    """The same with one layer."""
    return compiled_model(request, layers=1)


def compiled_model(request, layers):
    """A model that tests of a file share, since compiling takes seconds.

    A test that replaces functions gets one of its own: they would be in the
    programs of the others, or its own would not be in its programs.
    """
    if "monkeypatch" in request.fixturenames:
        return tiny.compiled(tiny.text_model(layers))
    return tiny.shared(layers)
