"""Every argument of what KerasHub's tasks offer and ours does its own way."""

import functools
import pathlib
import tempfile
from unittest import mock

import bad_values as bad
import keras
import numpy as np
import pytest
from bad_values import Call, batch, given

from keras_coconut.models import exporting
from keras_coconut.text import batches

QUESTIONS = ["1?", "22?", "333?"]
FORMAT = "onnx" if keras.config.backend() == "torch" else "tf_saved_model"


# What runs before a batch is computed is the same on every backend.
pytestmark = pytest.mark.thorough


@pytest.fixture(autouse=True, scope="module")
def made_once():
    """Not under a session that ends with the first test."""
    bad.setting()


def writing_nothing(s):
    """`export` without its file, which takes a minute and other packages."""

    def export(**arguments):
        with (
            mock.patch.object(exporting, "_write"),
            mock.patch.object(exporting, "_check_modules"),
        ):
            s.model.export(**arguments)

    return export


def put(name):
    """An attribute of the model as a function of one argument."""
    return lambda s: lambda **value: setattr(s.model, name, *value.values())


@functools.cache
def folder():
    return tempfile.TemporaryDirectory()


def model_file():
    return pathlib.Path(folder().name) / "model.keras"


NO_LENGTHS = (
    *(3, True, "123", b"123", {}, {1, 2, 3}, [], [1, 2], (1, 2, 3, 4)),
    *((0, 1, 1), (1, -1, 1), (1, 1, 0), (1.5, 1, 1), ("1", 1, 1), (1, None, 1)),
    *((True, 1, 1), (1, 10**12, 1), (bad.INTEGER, 1, 1), (40, 40, 40)),
    *(bad.TEXT, bad.ARRAY, object(), [[1], [1], [1]], np.ones(3, int)),
)
NO_SIGNATURES = (
    *(3, "x", [], {}, {"question_ids": None}, dict.fromkeys(batches.KEYS)),
    *(dict.fromkeys(batches.KEYS, bad.ARRAY), bad.TEXT, object()),
    dict.fromkeys(batches.KEYS, keras.InputSpec(shape=(None, None))),
)
NO_TARGETS = (
    *(3, "a", [], {}, object(), bad.TEXT, bad.ARRAY, np.ones((3, 1), int)),
    *(np.full((3, 11), 10**6), np.ones((3, 11)), np.full((3, 11), -1)),
)
NO_FUNCTIONS = given(bad.NO_INSTANCE)


TABLE = {
    "ContinuousThoughtLM.score": Call(
        lambda s: s.model.score,
        lambda s: dict(
            inputs=QUESTIONS, responses=["### 3"] * 3, num_thoughts=1
        ),
        dict(
            inputs=bad.NO_QUESTIONS,
            responses=(*bad.NO_QUESTIONS, ["### 3"] * 2, "### 3"),
            num_thoughts=(*bad.NO_COUNTS, 65),
            scoring_mode=bad.NO_CHOICE,
            target_ids=given(NO_TARGETS),
            layer_intercept_fn=NO_FUNCTIONS,
        ),
        dict(
            num_thoughts=[np.int64(1), (0, 1, 1), None],
            responses=[np.array(["### 3"] * 3)],
            scoring_mode=["loss", np.str_("logits")],
        ),
        # A dictionary, or a text, is asked for what else it needs first.
        dict(inputs=r"`questions|`inputs|`num_thoughts`|`x`|`responses`"),
    ),
    "score(a dictionary)": Call(
        lambda s: s.model.score,
        lambda s: dict(inputs=batch(), scoring_mode="loss"),
        dict(
            inputs=[{}, {"question_ids": [[1]]}, {1: 2, bad.TEXT: 4}],
            responses=["### 3", 3, bad.TEXT, bad.ARRAY],
            num_thoughts=[1, "x", bad.TEXT, bad.INTEGER, bad.ARRAY],
            target_ids=given(NO_TARGETS),
            layer_intercept_fn=NO_FUNCTIONS,
        ),
        named=dict(inputs="`x`", target_ids="`y`|`target_ids`"),
    ),
    "ContinuousThoughtLM.export": Call(
        writing_nothing,
        lambda s: dict(
            filepath="never", format=FORMAT, lengths=(8, 2, 4), verbose=0
        ),
        dict(
            filepath=bad.NO_PATH,
            format=(*bad.NO_CHOICE, "openvino", "litert", "torch"),
            verbose=given(bad.NO_VERBOSE),
            input_signature=NO_SIGNATURES,
            lengths=(*NO_LENGTHS, None),
            opset_version=given(bad.NO_COUNT_FROM_1),
        ),
        dict(verbose=[False, np.False_], lengths=[[8, np.int64(2), 4]]),
    ),
    "export(a signature)": Call(
        writing_nothing,
        lambda s: dict(
            filepath="never",
            format=FORMAT,
            verbose=0,
            input_signature={
                key: keras.InputSpec(shape=(None, 4)) for key in batches.KEYS
            },
        ),
        dict(input_signature=NO_SIGNATURES),
    ),
    "ContinuousThoughtLM.save": Call(
        lambda s: s.model.save,
        lambda s: dict(filepath=model_file(), overwrite=True),
        dict(filepath=(*bad.NO_PATH, "never.h5", pathlib.Path("never.hdf5"))),
    ),
    "ContinuousThoughtLM.backbone": Call(
        put("backbone"),
        lambda s: dict(backbone=s.model.backbone),
        # Another backbone: models/test_kerashub_habits.py.
        dict(backbone=bad.NO_INSTANCE),
    ),
    "ContinuousThoughtLM.preprocessor": Call(
        put("preprocessor"),
        lambda s: dict(preprocessor=s.model.preprocessor),
        dict(preprocessor=given(bad.NO_INSTANCE)),
    ),
    "ContinuousThoughtLM.quantize": Call(
        lambda s: s.model.quantize,
        # Accepted, it would change the model of all tests.
        lambda s: dict(mode="int8"),
        dict(mode=("gptq", "awq", "int4", "float8", "other", "")),
        named=dict(mode="mode|GPTQ|AWQ"),
    ),
    "ContinuousThoughtPreprocessor.tokenize_responses": Call(
        lambda s: s.model.preprocessor.tokenize_responses,
        lambda s: dict(responses=["### 3"]),
        dict(responses=bad.NO_QUESTIONS),
    ),
}


@pytest.mark.parametrize(
    "call", [c for c in bad.calls(TABLE) if "quantize" not in c.id]
)
def test_good_arguments(call):
    bad.check_good(call)


@pytest.mark.parametrize(("call", "name"), bad.rows(TABLE))
def test_bad_arguments(call, name):
    bad.check_bad(call, name)
