"""Files of ours in the hands of somebody who has not imported the library."""

import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import keras
import keras_hub
import numpy as np
import pytest
import tiny
from keras_hub.src.utils import preset_utils

import keras_coconut

pytestmark = pytest.mark.any_backend


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A model, its `.keras` file, and its preset."""
    folder = tmp_path_factory.mktemp("saved")
    model = tiny.text_model(layers=1)
    model.save(folder / "model.keras")
    model.save_to_preset(folder / "preset")
    return model, folder


def run(code: str, folder) -> str:
    """Returns what a fresh process says at last."""
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    return f"{found.returncode} {found.stdout} {found.stderr}"


OPEN = {
    "file": "import keras; keras.saving.load_model('model.keras')",
    "task": "import keras_hub; keras_hub.models.CausalLM.from_preset('preset')",
    "preprocessor": "import keras_hub; "
    "keras_hub.models.CausalLMPreprocessor.from_preset('preset')",
}


@pytest.mark.parametrize("what", OPEN)
def test_the_error_says_which_import_is_missing(saved, what):
    said = run(OPEN[what], saved[1])
    assert said.startswith("1 ") and "Error" in said
    if what == "file":
        assert "keras_coconut.models.continuous_thought_lm" in said
    assert "install it, then `import keras_coconut`" in said


def test_with_the_import_it_opens(saved):
    code = f"import keras_coconut; {OPEN['file']}; print('opened')"
    assert run(code, saved[1]).startswith("0 opened")


def test_kerashubs_own_task_of_the_same_weights(saved):
    """Asked for KerasHub's task, KerasHub gives that of the backbone."""
    model, folder = saved
    task = keras_hub.models.CausalLM.from_preset(str(folder / "preset"))
    assert type(task) is keras_hub.models.GPT2CausalLM
    for mine, theirs in zip(
        model.backbone.get_weights(), task.backbone.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)


def test_names_of_earlier_files(saved):
    """A name that was written once opens for good."""
    for cls in (
        keras_coconut.ContinuousThoughtLM,
        keras_coconut.ContinuousThoughtPreprocessor,
    ):
        old = f"keras_coconut>{cls.__name__}"
        assert keras.saving.get_registered_object(old) is cls
        new = keras.saving.get_registered_name(cls)
        assert new != old and new.endswith(f">{cls.__name__}")
        assert keras.saving.get_registered_object(new) is cls


def test_upload(saved, tmp_path, monkeypatch):
    """`keras_hub.upload_preset` finds all it looks for, but for the network."""
    model, folder = saved
    uploaded = []

    def copy(folder_path):
        uploaded.append(tmp_path / str(len(uploaded)))
        shutil.copytree(folder_path, uploaded[-1])

    hub = SimpleNamespace(
        create_repo=lambda repo_id, exist_ok: SimpleNamespace(repo_id=repo_id),
        file_exists=lambda repo_id, filename: False,
        upload_folder=lambda repo_id, folder_path: copy(folder_path),
    )
    monkeypatch.setattr(preset_utils, "huggingface_hub", hub)
    monkeypatch.setattr(
        preset_utils,
        "kagglehub",
        SimpleNamespace(model_upload=lambda handle, path: copy(path)),
    )
    preset = str(folder / "preset")
    keras_hub.upload_preset("hf://user/coconut", preset)
    keras_hub.upload_preset("kaggle://user/coconut/keras/tiny", preset)
    assert (uploaded[0] / "README.md").exists()
    x, _, _ = model.preprocessor(tiny.problems(2), num_thoughts=1)
    for path in uploaded:
        again = keras_coconut.ContinuousThoughtLM.from_preset(path)
        np.testing.assert_allclose(
            tiny.logits(again, x), tiny.logits(model, x), atol=1e-6
        )
