"""Presets that are damaged: which file, said at once."""

import json
import pathlib
import shutil

import keras
import keras_hub
import numpy as np
import pytest
import tiny

import keras_coconut
from keras_coconut.versions import is_older

# File, the bytes that are left of it (`None`: it is gone), and what is named.
DAMAGE = [
    ("config.json", None, "config.json"),
    ("config.json", 10, "config.json"),
    ("task.json", 100, "task.json"),
    ("tokenizer.json", 0, "tokenizer.json"),
    ("assets/tokenizer/vocabulary.json", 1000, "vocabulary.json"),
    ("assets/tokenizer/vocabulary.json", None, "vocabulary.json"),
    ("assets/tokenizer/merges.txt", 0, "merges.txt"),
    ("assets/tokenizer/merges.txt", 1, "merges.txt"),
    ("model.weights.h5", 1000, "model.weights.h5"),
    ("model.weights.h5", 0, "model.weights.h5"),
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("presets") / "whole"
    model = tiny.text_model(layers=1)
    model.num_thoughts = 2
    model.save_to_preset(str(folder))
    return folder


@pytest.mark.parametrize(("name", "left", "named"), DAMAGE)
def test_a_damaged_file(whole, tmp_path, name, left, named):
    folder = tmp_path / "damaged"
    shutil.copytree(whole, folder)
    path = folder / name
    data = path.read_bytes()
    if left is None:
        path.unlink()
    else:
        path.write_bytes(data[:left])
    with pytest.raises(ValueError, match=f"`preset`.*{named}") as error:
        keras_coconut.ContinuousThoughtLM.from_preset(str(folder))
    assert len(str(error.value)) < 500
    assert folder.name in str(error.value)


def test_a_path_is_as_good_as_a_string(whole):
    path = pathlib.Path(whole)
    model = keras_coconut.ContinuousThoughtLM.from_preset(path)
    assert model.num_thoughts == 2


def test_a_preset_holds_no_more_than_the_backbones_weights(whole, tmp_path):
    """How the model thinks stands in its config."""
    assert not list(whole.glob("task.weights*"))
    model = tiny.compiled(tiny.text_model(layers=1))
    x = model.preprocessor(tiny.problems(4), num_thoughts=1)
    model.fit(x[0], verbose=0)
    model.num_thoughts, model.thought_kind = 3, "pause"
    model.save_to_preset(str(tmp_path / "trained"))
    assert not list((tmp_path / "trained").glob("task.weights*"))
    again = keras_coconut.ContinuousThoughtLM.from_preset(tmp_path / "trained")
    assert (again.num_thoughts, again.thought_kind) == (3, "pause")


def test_other_files_of_the_folder_stay(whole, tmp_path):
    """Keras wants this ending of the names that `save_weights` writes."""
    import keras_coconut

    model = keras_coconut.ContinuousThoughtLM.from_preset(whole)
    others = [
        *("epoch3.weights.h5", "model_3.weights.h5", "best.weights.json"),
        "model_old.safetensors",
    ]
    (tmp_path / "link").symlink_to("nowhere")
    of_before = ["model_00001.weights.h5", "model.weights.json"]
    for name in [*others, *of_before]:
        (tmp_path / name).write_text("the user's")
    (tmp_path / "7.weights.h5").mkdir()
    model.save_to_preset(tmp_path)
    for name in others:
        assert (tmp_path / name).read_text() == "the user's"
    assert (tmp_path / "7.weights.h5").is_dir()
    # Of a preset in parts: they would be read instead.
    assert not any((tmp_path / name).exists() for name in of_before)


def test_weights_that_do_not_say_how_often(tmp_path):
    """As an earlier version saved them."""
    import h5py

    model = tiny.text_model(layers=1)
    path = tmp_path / "old.weights.h5"
    model.save_weights(path)
    with h5py.File(path, "a") as file:
        del file["vars"]
        file.create_group("vars")
    model = tiny.text_model(layers=1, seed=3)
    model.num_thoughts = 5
    model.load_weights(path)
    assert model.num_thoughts == 5


def test_a_preset_with_other_arguments(whole):
    load = keras_coconut.ContinuousThoughtLM.from_preset
    model = load(
        whole, separator=" ", sequence_length=50, markers=False, num_thoughts=1
    )
    preprocessor = model.preprocessor
    assert (preprocessor.separator, preprocessor.sequence_length) == (" ", 50)
    assert not preprocessor.markers and not model.markers
    assert model.num_thoughts == 1
    assert load(whole).preprocessor.separator == "\n"
    for name in ("separators", "max_stage"):
        with pytest.raises(ValueError, match=f"`{name}` is no argument"):
            load(whole, **{name: 1})
    with pytest.raises(ValueError, match="`sequence_length` must be"):
        load(whole, sequence_length=-1)


@keras.saving.register_keras_serializable(package="tests")
class Mine(keras_coconut.ContinuousThoughtLM):
    """A task of a user's."""


THINKING = {
    "num_thoughts": 3,
    "thought_kind": "pause",
    "num_iterations": 2,
    "rematerialize": True,
    "markers": False,
}


def thinking(cls):
    model = tiny.text_model(layers=1)
    preprocessor = keras_coconut.ContinuousThoughtPreprocessor(
        model.preprocessor.tokenizer, markers=False, separator=" "
    )
    return cls(model.backbone, preprocessor, **THINKING)


@pytest.mark.parametrize("asked", [keras_coconut.ContinuousThoughtLM, Mine])
@pytest.mark.parametrize("saved", [keras_coconut.ContinuousThoughtLM, Mine])
def test_a_task_of_a_users(tmp_path, saved, asked):
    model = thinking(saved)
    model.save_to_preset(tmp_path)
    again = asked.from_preset(tmp_path)
    # KerasHub gives the saved class if it is of the one that is asked for.
    assert type(again) is (saved if issubclass(saved, asked) else asked)
    assert again.thinking_config() == THINKING
    assert again.preprocessor.separator == " "
    for mine, theirs in zip(
        again.backbone.get_weights(), model.backbone.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)
    other = asked.from_preset(
        tmp_path, num_thoughts=1, markers=True, separator=""
    )
    assert (other.num_thoughts, other.markers) == (1, True)
    assert other.preprocessor.separator == "" and other.num_iterations == 2


@pytest.mark.any_backend
@pytest.mark.skipif(
    is_older(keras_hub.__version__, "0.27"),
    reason="KerasHub 0.26 saves no task without a preprocessor",
)
@pytest.mark.parametrize("asked", [keras_coconut.ContinuousThoughtLM, Mine])
def test_a_task_of_a_users_without_text(tmp_path, asked):
    backbone = tiny.text_model(layers=1).backbone
    model = keras_coconut.ContinuousThoughtLM(backbone, **THINKING)
    model.save_to_preset(tmp_path)
    again = asked.from_preset(tmp_path)
    assert type(again) is asked and again.preprocessor is None
    assert again.thinking_config() == THINKING


@pytest.mark.any_backend
def test_a_task_of_an_unknown_class(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "preset")
    path = tmp_path / "preset" / "task.json"
    saved = json.loads(path.read_text())
    saved |= {
        "registered_name": "theirs>TheirLM",
        "class_name": "TheirLM",
        "module": "their.models",
    }
    path.write_text(json.dumps(saved))
    with pytest.raises(
        ValueError, match="`preset`.*defines 'TheirLM'"
    ) as error:
        keras_coconut.ContinuousThoughtLM.from_preset(tmp_path / "preset")
    for told in ("'theirs>TheirLM'", "'their.models'", "Import"):
        assert told in str(error.value)


@pytest.mark.any_backend
@pytest.mark.parametrize("dtype", ["flot16", 3, {"a": 1}])
def test_a_dtype_that_is_none(whole, dtype):
    with pytest.raises(ValueError, match="^`dtype` must be the name.*Received"):
        keras_coconut.ContinuousThoughtLM.from_preset(whole, dtype=dtype)
    with pytest.raises(ValueError, match="^`dtype` must be the name.*Received"):
        keras_coconut.read_published_model(whole, dtype=dtype)


@pytest.mark.any_backend
def test_a_quantized_preset_keeps_its_dtypes(tmp_path):
    model = tiny.text_model(layers=1)
    model.quantize("int8")
    model.save_to_preset(tmp_path)
    for cls in (keras_coconut.ContinuousThoughtLM, Mine):
        with pytest.raises(
            ValueError, match="^`dtype` must be left out.*quant"
        ):
            cls.from_preset(tmp_path, dtype="float32")
        for arguments in ({}, {"dtype": None}):
            again = cls.from_preset(tmp_path, **arguments)
            embedding = again.backbone.token_embedding
            assert embedding.quantization_mode == "int8"
