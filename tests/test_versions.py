"""Old releases of other packages, and an installation without TensorFlow."""

import pathlib
import re

import keras
import keras_hub
import pytest
import scripts
import tiny_tokenizers

from keras_coconut import versions

ROOT = pathlib.Path(__file__).parents[1]
NEW = {"keras": "3.15.1", "keras-hub": "0.32.0", "jax": "0.10.2"}

# The case of an interpreter in which a package is not installed.
WITHOUT = "import sys; sys.modules.update(dict.fromkeys({names}))\n"
NO_TENSORFLOW = WITHOUT.format(names=["tensorflow", "tensorflow_text"])
# From the words to the preset that another program opens.
TRAIN = """
import tempfile
import keras_coconut  # First: it says why KerasHub would fail.
import keras_hub
import tiny

model = tiny.compiled(tiny.text_model(layers=1))
problems = tiny.problems(8)
dataset = keras_coconut.CurriculumDataset(
    problems,
    model.preprocessor,
    keras_coconut.Curriculum(1),
    batch_size=4,
)
losses = model.fit(
    dataset,
    epochs=3,
    verbose=0,
    callbacks=[keras_coconut.CurriculumScheduler(dataset)],
).history["loss"]
assert losses[0] > 0
question = problems[0].question
ask = dict(num_thoughts=1, max_length=4)
(answer,) = model.generate([question], **ask)
folder = tempfile.mkdtemp()
model.save_to_preset(folder)
again = keras_coconut.ContinuousThoughtLM.from_preset(folder)
assert again.generate([question], **ask) == [answer]
kept = keras_hub.models.Tokenizer.from_preset(folder)
assert kept.detokenize(kept("start 3")) == "start 3"
assert sys.modules["tensorflow"] is None
"""


def run(script):
    return scripts.start(
        ["-W", "ignore", "-c", script],
        PYTHONPATH=f"{ROOT}:{ROOT / 'tests'}",
        KERAS_BACKEND=keras.config.backend(),
    )


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (
            {"keras": "3.12.4"},
            "needs keras>=3.13.2 (found: 3.12.4). Run: pip install --upgrade "
            '"keras>=3.13.2"',
        ),
        (
            {"keras": "2.15.0", "keras-hub": None, "jax": "0.4.34"},
            "needs keras>=3.13.2 (found: 2.15.0), keras-hub>=0.26.0 (found: "
            "none), jax>=0.7.2 (found: 0.4.34). Run: pip install --upgrade "
            '"keras>=3.13.2" "keras-hub>=0.26.0" "jax>=0.7.2"',
        ),
        ({"torch": "2.9.1+cpu"}, "torch>=2.11.0 (found: 2.9.1+cpu)"),
        ({"tensorflow": "2.19.1"}, "tensorflow>=2.20.0 (found: 2.19.1)"),
        (
            {"keras-hub": "0.31.0", "tensorflow-text": None},
            "needs keras-hub>=0.32.0 (found: 0.31.0) where `tensorflow-text` "
            "is not installed",
        ),
    ],
)
def test_an_old_release_is_named_with_what_to_run(found, expected):
    with pytest.raises(ImportError, match=re.escape(expected)):
        versions.check_versions({**NEW, **found})


@pytest.mark.any_backend
@pytest.mark.parametrize(
    "found",
    [
        {},
        versions.OLDEST,
        {"keras": "3.14.0.dev2026012003", "torch": "2.11.0a0+git1234"},
        {"keras-hub": "0.100.0", "jax": "1.0", "numpy": "1.0"},
        {"tensorflow-text": None},
    ],
)
def test_a_release_that_works_is_taken(found):
    versions.check_versions({**NEW, **found})


@pytest.mark.any_backend
def test_what_is_pinned_and_asked_for_is_what_is_checked():
    text = (ROOT / "constraints-oldest.txt").read_text(encoding="utf-8")
    pins = dict(re.findall(r"^([\w-]+)==(.+)$", text, re.MULTILINE))
    assert {name: pins.get(name) for name in versions.OLDEST} == versions.OLDEST
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    for name in versions.OLDEST:
        assert f">={{OLDEST['{name}']}}" in setup


def test_the_releases_of_this_installation():
    found = versions.find_versions()
    assert found["keras"] == keras.__version__
    assert found["keras-hub"] == keras_hub.__version__
    assert found[keras.config.backend()][0].isdigit()


@pytest.mark.any_backend
def test_the_import_says_it():
    script = "import keras; keras.__version__ = '3.9.0'; import keras_coconut"
    finished = run(script)
    assert finished.returncode
    *_, last = finished.stderr.strip().splitlines()
    assert last.startswith("ImportError: keras_coconut needs keras>=3.13.2")


def test_a_backend_that_is_not_installed():
    backend = keras.config.backend()
    finished = run(WITHOUT.format(names=[backend]) + "import keras_coconut")
    assert finished.returncode
    assert f"ImportError: Keras computes with {backend}" in finished.stderr
    assert f'"{backend}>={versions.OLDEST[backend]}"' in finished.stderr


def test_without_tensorflow():
    if keras.config.backend() == "tensorflow":
        pytest.skip("TensorFlow is the backend")
    finished = run(NO_TENSORFLOW + TRAIN)
    if versions.is_older(
        keras_hub.__version__, versions.KERAS_HUB_WITHOUT_TENSORFLOW
    ):
        assert "ImportError: keras_coconut needs keras-hub" in finished.stderr
    else:
        assert not finished.returncode, finished.stderr[-4000:]


@pytest.mark.any_backend
def test_no_tokenizer_is_left_out():
    if "mistral_tekken" not in tiny_tokenizers.KINDS:
        pytest.skip(f"KerasHub {keras_hub.__version__} has no Mistral Tekken")
