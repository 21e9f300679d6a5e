"""`export`: the file runs in a process without Keras and computes the same."""

import os
import pathlib
import subprocess
import sys

import families
import keras
import keras_hub
import numpy as np
import pytest
import slow
import tiny
from keras import ops

import keras_coconut
from keras_coconut.models import exporting

BACKEND = keras.config.backend()
RUNNER = pathlib.Path(__file__).with_name("exported_run.py")
LENGTHS = (11, 3, 7)
# One layer each: what is written grows with layers and thoughts.
SMALL = {
    "gpt2": lambda: keras_hub.models.GPT2Backbone(
        50, 1, 4, 32, 48, dropout=0.1, max_sequence_length=64
    ),
    "llama3": lambda: keras_hub.models.Llama3Backbone(
        50, 1, 4, 32, 48, 2, tie_word_embeddings=True
    ),
}
# A layer that rotates, and one that does not.
TWO_KINDS = {
    "num_layers": 2,
    "rope_layer_enabled_list": [True, False],
    "layer_types": ["full_attention"] * 2,
}
FORMATS = {
    "tensorflow": ["tf_saved_model", "onnx"],
    "jax": ["tf_saved_model"],
    "torch": ["onnx"],
}[BACKEND]
MODULES = {"tf_saved_model": ["tensorflow"], "onnx": ["onnx", "onnxruntime"]}


# PyTorch's exporter takes a minute a model.
USUAL = {
    "tensorflow": [
        ("gpt2", "tf_saved_model"),
        ("llama3", "onnx"),
        ("smollm3", "tf_saved_model"),
    ],
    "jax": [("gpt2", "tf_saved_model"), ("llama3", "tf_saved_model")],
    "torch": [("llama3", "onnx")],
}[BACKEND]


def every_family():
    """The usual cases, and on the quick backends each family."""
    others = [
        (family, FORMATS[0])
        for family in families.FAMILIES
        if BACKEND != "torch" and (family, FORMATS[0]) not in USUAL
    ]
    thorough = pytest.mark.thorough
    return [*USUAL, *(pytest.param(*case, marks=thorough) for case in others)]


def make(family, monkeypatch):
    if family not in SMALL:
        changes = TWO_KINDS if family == "smollm3" else {"num_layers": 1}
        return families.make(family, **changes)
    monkeypatch.setitem(families.FAMILIES, family, SMALL[family])
    return families.make(family)


@pytest.fixture
def any_keras(monkeypatch):
    """For tests that stop before the exporter runs."""
    monkeypatch.setattr(exporting, "_KERAS_FOR_ONNX_OF_TORCH", "0")


def batch():
    """Ragged rows with 3, 1 and 0 thoughts."""
    x = families.batch()
    return {**x, "thought_mask": x["thought_mask"][:, : LENGTHS[1]]}


def run(path, x, folder):
    """Returns what the file computes in a process that never sees Keras.

    For all rows, and for the second one alone: any number of rows will do.
    """
    np.savez(folder / "inputs.npz", **x)
    subprocess.run(
        [sys.executable, RUNNER, path, folder / "inputs.npz", folder / "out"],
        check=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        timeout=300,
    )
    with np.load(folder / "out.npz") as file:
        return file["whole"], file["alone"]


@pytest.mark.filterwarnings("ignore:.*np.object")  # Keras' and tf2onnx' own.
@pytest.mark.parametrize("family, format", every_family())
def test_the_file_computes_what_the_slow_model_does(
    family, format, monkeypatch, tmp_path
):
    if BACKEND == "torch" and exporting.is_older(keras.__version__, "3.15"):
        with pytest.raises(ImportError, match="takes Keras 3.15 or later"):
            tiny.text_model(layers=1).export("m", "onnx", lengths=LENGTHS)
        return
    for module in MODULES[format]:
        pytest.importorskip(module)
    backbone = make(family, monkeypatch)
    model = keras_coconut.ContinuousThoughtLM(backbone)
    path = tmp_path / ("model.onnx" if format == "onnx" else "model")
    model.export(path, format, lengths=LENGTHS, verbose=False)
    with slow.unfused_attention():
        expected, _ = slow.logits(backbone, families.rows(), families.LENGTH)
    expected = ops.convert_to_numpy(expected)
    whole, alone = run(path, batch(), tmp_path)
    for row, (question, count, response) in enumerate(families.rows()):
        right = expected[row, len(question) + count :][: len(response)]
        for found in [whole[row], alone[0]] if row == 1 else [whole[row]]:
            np.testing.assert_allclose(found[: len(right)], right, atol=1e-4)


@pytest.mark.skipif(BACKEND == "torch", reason="minutes for the same layer")
def test_without_markers_and_with_iterations(tmp_path):
    """Everything else that changes what a model computes."""
    format = FORMATS[0]
    for module in MODULES[format]:
        pytest.importorskip(module)
    model = tiny.text_model(layers=1, markers=False, num_iterations=1)
    x, _, _ = model.preprocessor(tiny.problems(3), num_thoughts=[2, 0, 1])
    signature = {
        key: keras.InputSpec(shape=(None, value.shape[1]))
        for key, value in x.items()
    }
    path = tmp_path / "deep" / "model.onnx"
    model.export(path, format, input_signature=[signature], verbose=False)
    real = x["response_mask"].astype(bool)
    found, _ = run(path, x, tmp_path)
    np.testing.assert_allclose(
        found[real], tiny.logits(model, x)[real], atol=1e-4
    )


def test_where_the_file_is(tmp_path, capsys, monkeypatch, any_keras):
    monkeypatch.setattr(
        "keras_coconut.models.exporting._write", lambda *_: None
    )
    model = tiny.text_model(layers=1)
    path = tmp_path / "model"
    model.export(path, FORMATS[0], lengths=LENGTHS)
    said = capsys.readouterr().out
    assert str(path) in said and str(LENGTHS) in said
    for quiet in (False, 0):
        model.export(path, FORMATS[0], lengths=LENGTHS, verbose=quiet)
    assert not capsys.readouterr().out


def test_an_error_leaves_the_file_of_before(tmp_path, monkeypatch, any_keras):
    def write(text, error=None):
        def write(model, lengths, path, *_):
            path = pathlib.Path(path)
            if FORMATS[0] == "tf_saved_model":
                (path / "variables").mkdir(parents=True)
                (path / "variables" / "index").write_text(text)
                path = path / "saved_model.pb"
            path.write_text(text)
            if error:
                raise error

        monkeypatch.setattr("keras_coconut.models.exporting._write", write)
        tiny.text_model(layers=1).export(
            tmp_path / "model", FORMATS[0], lengths=LENGTHS, verbose=False
        )

    def texts():
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        return {path.read_text() for path in files}

    write("whole")
    with pytest.raises(OSError, match="full"):
        write("half", OSError("the disk is full"))
    assert texts() == {"whole"}
    write("new")
    assert texts() == {"new"}
    assert not list(tmp_path.rglob(".*"))


def test_formats_that_are_not_written_here(tmp_path):
    model = tiny.text_model(layers=1)
    for format in ("tf_saved_model", "onnx", "openvino", "litert", "torch"):
        if format in FORMATS:
            continue
        with pytest.raises(ValueError, match="`format` must be one") as error:
            model.export(tmp_path / "m", format, lengths=LENGTHS)
        instead = {
            "openvino": "`ovc`",
            "litert": "TFLiteConverter",
            "torch": 'format="onnx"',
        }.get(format, "KERAS_BACKEND=tensorflow")
        assert instead in str(error.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif("onnx" not in FORMATS, reason="no ONNX on this backend")
@pytest.mark.parametrize("dtype", ["bfloat16", "mixed_bfloat16"])
def test_onnx_wants_float32(dtype, tmp_path):
    model = tiny.text_model(layers=1, dtype=dtype)
    with pytest.raises(ValueError, match='float32.*dtype="float32".*bfloat16'):
        model.export(tmp_path / "m.onnx", "onnx", lengths=LENGTHS)


@pytest.mark.skipif("onnx" not in FORMATS, reason="no ONNX on this backend")
def test_a_missing_package(tmp_path, monkeypatch, any_keras):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *more: None if name == "onnx" else find(name, *more),
    )
    with pytest.raises(ImportError, match="`pip install onnx`"):
        tiny.text_model(layers=1).export(
            tmp_path / "m.onnx", "onnx", lengths=LENGTHS
        )


def test_pauses_belong_to_the_question(tmp_path, monkeypatch, any_keras):
    """A file has no slot for them, and would think instead."""
    monkeypatch.setattr(exporting, "_write", lambda *_: None)
    monkeypatch.setattr(exporting, "_check_modules", lambda *_: None)
    model = tiny.text_model(layers=1, thought_kind="pause")
    with pytest.raises(ValueError, match=r"`lengths\[1\]` must be 0.*pause.*3"):
        model.export(tmp_path / "m", FORMATS[0], lengths=LENGTHS)
    x, _, _ = model.preprocessor(
        tiny.problems(3), num_thoughts=2, thought_kind="pause"
    )
    assert x["thought_mask"].shape == (3, 0)
    lengths = [x[f"{span}_ids"].shape[1] for span in ("question", "response")]
    model.export(
        tmp_path / "m", FORMATS[0], lengths=(lengths[0], 0, lengths[1])
    )


def test_lengths():
    model = tiny.text_model(layers=1, longest=64)
    signature = {
        key: keras.InputSpec(shape=(None, 5))
        for key in ("question_ids", "question_mask", "thought_mask")
    }
    whole = {
        **signature,
        "response_ids": keras.InputSpec(shape=(None, 5)),
        "response_mask": keras.InputSpec(shape=(None, 6)),
    }
    unknown = {**whole, "response_mask": keras.InputSpec(shape=(None, None))}
    for match, given in {
        "`lengths` must be given": {},
        "`lengths` must be given, ": dict(
            lengths=LENGTHS, input_signature=signature
        ),
        r"`lengths\[0\]`": dict(lengths=(0, 1, 1)),
        r"`lengths\[1\]`": dict(lengths=(1, -1, 1)),
        r"`lengths\[2\]`": dict(lengths=(1, 1, 1.5)),
        "`lengths` must be three ints": dict(lengths=(1, 1)),
        "`lengths` must fit the backbone's maximum": dict(lengths=(40, 5, 20)),
        "`input_signature` must be a dictionary": dict(
            input_signature=signature
        ),
        "`input_signature` must have one known": dict(input_signature=whole),
        "`input_signature` must have one known length": dict(
            input_signature=unknown
        ),
        "`opset_version`": dict(lengths=LENGTHS, opset_version="x"),
    }.items():
        with pytest.raises(ValueError, match=match):
            model.export("never", FORMATS[0], **given)
    assert not os.path.exists("never")
