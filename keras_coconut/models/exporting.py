"""`export`: a model as a file that runs without Keras, for fixed lengths."""

import contextlib
import importlib.util
import math
import pathlib
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import keras
from keras import ops

from keras_coconut.backbones import max_sequence_length
from keras_coconut.checks import (
    PathLike,
    Verbose,
    check_choice,
    check_count,
    check_path,
    check_verbose,
    refuse,
    shown,
)
from keras_coconut.curriculum import MOST_COUNT
from keras_coconut.folders import folder_aside
from keras_coconut.models.unrolled_decoder import UnrolledDecoder
from keras_coconut.text import batches
from keras_coconut.versions import is_older

ExportFormat = Literal["tf_saved_model", "onnx"]

# More than any model reads.
_MOST_LENGTH = 2**20
# What each backend writes, and the modules that this takes besides.
_WRITERS = {
    ("tf_saved_model", "tensorflow"): (),
    ("tf_saved_model", "jax"): ("tensorflow",),
    ("onnx", "tensorflow"): ("tf2onnx", "onnx"),
    ("onnx", "torch"): ("onnx", "onnxscript"),
}
_KERAS_FOR_ONNX_OF_TORCH = "3.15"
# Formats of Keras' that are not written, and what to do instead.
_INSTEAD = {
    "openvino": 'export with `format="onnx"` and convert that with `ovc`',
    "litert": 'export with `format="tf_saved_model"` and convert that with '
    "`tf.lite.TFLiteConverter.from_saved_model`",
    "torch": 'export with `format="onnx"`',
}
_BY_KEY = {"question": 0, "thought": 1, "response": 2}


class Lengths(NamedTuple):
    """The lengths of the three spans that an exported model reads."""

    question: int
    thoughts: int
    response: int

    def of(self, key: str) -> int:
        """Returns the length of a key of the call contract."""
        return self[_BY_KEY[key.split("_")[0]]]


# The model that it is mixed into: a task of KerasHub, which has no types.
_Task: Any = object


class Exporting(_Task):
    """A model that can be written as a file which runs without Keras."""

    def export(
        self,
        filepath: PathLike,
        format: ExportFormat = "tf_saved_model",
        *,
        verbose: bool | Verbose | None = None,
        input_signature: Any = None,
        lengths: Sequence[int] | None = None,
        opset_version: int | None = None,
    ) -> None:
        """Writes the model's call to a file that runs without Keras.

        The file reads the five keys of the call contract, int32, with any
        number of rows, and returns `logits` (B, R, V). It thinks as the model
        does. Its lengths are fixed: pad questions on the left, responses on the
        right, and mark by `thought_mask` how often a row thinks. Unlike the
        model, the file does not look at what it reads: ids must lie within the
        vocabulary, and masks must have no holes. The pauses of a model with
        `thought_kind="pause"` are tokens at the end of its questions, as the
        preprocessor packs them: export it with K = 0.

        | `format` | written on | needs |
        | --- | --- | --- |
        | `"tf_saved_model"` | TensorFlow, JAX | TensorFlow |
        | `"onnx"` | TensorFlow | `pip install tf2onnx onnx` |
        | `"onnx"` | PyTorch | Keras 3.15, `pip install onnx onnxscript` |

        A preset opens on every backend: for a format that yours does not write,
        open it on another one.

        Args:
            filepath: string or path-like. The folder of a SavedModel; for
                ONNX a file.
            format: `"tf_saved_model"` or `"onnx"`. Defaults to
                `"tf_saved_model"`.
            verbose: bool. Whether to say where the file is. Defaults to `None`,
                which says it.
            input_signature: dictionary of something with a `shape`, such as
                `keras.InputSpec`, for each key of the call contract, alone or
                in a list; in place of `lengths`. Defaults to `None`.
            lengths: three ints, Q, K and R: the tokens of a question, the
                thoughts and the tokens of a response. Defaults to `None`.
            opset_version: int. The version of ONNX' operators. Defaults to
                `None`, that of the converter.

        Raises:
            ValueError: If neither or both of `lengths` and `input_signature`
                are given, if the lengths do not fit the backbone, if a model
                that pauses is given thoughts, or if the backend, or a model of
                that dtype, cannot be written in that format; says what to do
                instead.
            ImportError: If a package for the format is missing or too old.

        Example:
        ```python
        # Questions of 32 tokens, 4 thoughts, responses of 16 tokens.
        model.export("model.onnx", format="onnx", lengths=(32, 4, 16))
        ```
        """
        filepath = check_path("filepath", filepath)
        _check_format(format)
        verbose = verbose is None or check_verbose(verbose) > 0
        if opset_version is not None:
            opset_version = _check_opset(opset_version, format)
        lengths = _check_lengths(self, lengths, input_signature)
        _check_dtypes(self, format)
        _check_modules(format)
        # An error in writing leaves the file that was there. A SavedModel is
        # a folder, which may be on a disk of its own.
        path = pathlib.Path(filepath).absolute()
        is_file = format == "onnx"
        folder = str(path.parent if is_file else path)
        with folder_aside(folder) as (written, move):
            if is_file:
                written.mkdir()
            target = str(written / path.name if is_file else written)
            _write(self, lengths, target, format, opset_version)
            # What names the weights comes behind them.
            last = path.name if is_file else "saved_model.pb"
            move(lambda each: each.name == last)
        if verbose:
            print(f"Saved the model for the lengths {tuple(lengths)} at")
            print(filepath)


def _write(model, lengths, path, format, opset_version) -> None:
    if format == "onnx" and keras.config.backend() == "torch":
        _write_onnx_of_torch(model, lengths, path, opset_version)
    else:
        _write_by_keras(model, lengths, path, format, opset_version)


def _write_by_keras(model, lengths, path, format, opset_version) -> None:
    inputs = {
        key: keras.Input((lengths.of(key),), dtype="int32", name=key)
        for key in batches.KEYS
    }
    outputs = {"logits": UnrolledDecoder(model)(inputs)}
    signature = {
        key: keras.InputSpec(shape=x.shape, dtype="int32", name=key)
        for key, x in inputs.items()
    }
    options = {} if format != "onnx" else {"opset_version": opset_version}
    keras.Model(inputs, outputs).export(
        path,
        format=format,
        verbose=False,
        input_signature=[signature],
        **options,
    )


def _write_onnx_of_torch(model, lengths, path, opset_version) -> None:
    # Not by Keras, which fixes the number of rows.
    import torch

    class Flat(torch.nn.Module):
        def __init__(self, decoder):
            super().__init__()
            self.decoder = decoder

        def forward(self, *arrays):
            return self.decoder(dict(zip(batches.KEYS, arrays)))

    # A size of 1 would be taken for a constant.
    arrays = tuple(
        ops.ones((2, lengths.of(key)), "int32") for key in batches.KEYS
    )
    rows = torch.export.Dim("batch")
    with _quiet_torch():
        program: Any = torch.onnx.export(
            Flat(UnrolledDecoder(model)).eval(),
            arrays,
            input_names=list(batches.KEYS),
            output_names=["logits"],
            opset_version=opset_version,
            dynamic_shapes=(tuple({0: rows} for _ in arrays),),
            dynamo=True,
            verbose=False,
        )
    program.save(path)


@contextlib.contextmanager
def _quiet_torch():
    """Hides what PyTorch's exporter says of itself, and not of the model."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*LeafSpec", FutureWarning)
        warnings.filterwarnings("ignore", ".*axis name", UserWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def _check_format(format) -> None:
    backend = keras.config.backend()
    check_choice("format", format, ["tf_saved_model", "onnx", *_INSTEAD])
    if (format, backend) in _WRITERS:
        return
    if format in _INSTEAD:
        instead = _INSTEAD[format]
    else:
        others = " or ".join(
            f"KERAS_BACKEND={other}"
            for known, other in _WRITERS
            if known == format
        )
        instead = (
            "save the model with `save_to_preset`, and export it where "
            f"{others} opens the preset"
        )
    raise ValueError(
        "`format` must be one that is written on this backend, "
        f"{[f for f, b in _WRITERS if b == backend]}; for this one, {instead}. "
        f"Received: format={format!r} with the backend {backend!r}"
    )


def _check_opset(opset_version, format) -> int:
    if format != "onnx":
        raise ValueError(
            '`opset_version` must be left out unless `format="onnx"`. '
            f"Received: opset_version={shown(opset_version)}"
        )
    return check_count("opset_version", opset_version, least=1, most=100)


def _check_lengths(model, lengths, signature) -> Lengths:
    if (lengths is None) == (signature is None):
        raise ValueError(
            "`lengths` must be given, (question, thoughts, response), or "
            "`input_signature` in its place: a file reads batches of these "
            f"lengths alone. Received: lengths={shown(lengths)}, "
            f"input_signature={shown(signature)}"
        )
    if signature is not None:
        lengths = _lengths_of(signature)
    elif not isinstance(lengths, list | tuple) or len(lengths) != 3:
        raise refuse("lengths", "three ints, one for each span", lengths)
    least = (1, 0, 1)
    most = (_MOST_LENGTH, MOST_COUNT, _MOST_LENGTH)
    lengths = Lengths(
        *(
            check_count(f"lengths[{index}]", length, *bounds)
            for index, (length, *bounds) in enumerate(zip(lengths, least, most))
        )
    )
    if model.thought_kind == "pause" and lengths.thoughts:
        raise ValueError(
            '`lengths[1]` must be 0 for a model with `thought_kind="pause"`, '
            "whose pauses are tokens at the end of the question. Received: "
            f"lengths={tuple(lengths)}"
        )
    longest = max_sequence_length(model.backbone)
    if longest is not None and sum(lengths) > longest + (not model.markers):
        raise ValueError(
            "`lengths` must fit the backbone's maximum length of "
            f"{longest} positions together, beyond which the file would read "
            f"wrong ones. Received: lengths={tuple(lengths)}"
        )
    return lengths


def _lengths_of(signature) -> list:
    """Returns the lengths in an `input_signature` of Keras' form."""
    expected = (
        "a dictionary of something with a shape (batch, length) for each of "
        f"{list(batches.KEYS)}"
    )
    keys = signature
    if isinstance(keys, list | tuple) and len(keys) == 1:
        keys = keys[0]
    if not isinstance(keys, Mapping) or set(keys) != set(batches.KEYS):
        raise refuse("input_signature", expected, signature)
    lengths: list = [None] * 3
    for key in batches.KEYS:
        shape = getattr(keys[key], "shape", None)
        if shape is None or len(shape) != 2:
            raise refuse("input_signature", expected, signature)
        index = _BY_KEY[key.split("_")[0]]
        if lengths[index] not in (None, shape[1]) or shape[1] is None:
            raise ValueError(
                "`input_signature` must have one known length for each span. "
                f"Received: shape={tuple(shape)} of {key!r}"
            )
        lengths[index] = shape[1]
    return lengths


def _check_dtypes(model, format) -> None:
    """Refuses what ONNX' converters or its runtime do not know."""
    if format != "onnx":
        return
    dtypes = {weight.dtype for weight in model.backbone.weights}
    dtypes.add(model.backbone.compute_dtype)
    if dtypes - {"float32"}:
        raise ValueError(
            "ONNX export needs a float32 model: open the preset with "
            '`from_preset(..., dtype="float32")`, and quantize the file with '
            "ONNX Runtime's own tools. Received: a model in "
            f"{sorted(dtypes)}"
        )
    size = 4 * sum(math.prod(w.shape) for w in model.backbone.weights)
    if keras.config.backend() == "tensorflow" and size >= 2**31:
        raise ValueError(
            "ONNX export of a model of 2 GiB or more needs PyTorch: save the "
            "model with `save_to_preset`, open the preset with "
            "KERAS_BACKEND=torch, and export it there. Received: a model of "
            f"{size} bytes with the backend 'tensorflow'"
        )


def _check_modules(format) -> None:
    backend = keras.config.backend()
    if (format, backend) == ("onnx", "torch") and is_older(
        keras.__version__, _KERAS_FOR_ONNX_OF_TORCH
    ):
        raise ImportError(
            '`format="onnx"` takes Keras '
            f"{_KERAS_FOR_ONNX_OF_TORCH} or later on PyTorch, where earlier "
            "ones fix the number of rows: `pip install --upgrade keras`, or "
            "export the model's preset with KERAS_BACKEND=tensorflow. Found: "
            f"{keras.__version__}"
        )
    needed = _WRITERS[format, backend]
    missing = [n for n in needed if importlib.util.find_spec(n) is None]
    if missing:
        raise ImportError(
            f"`format={format!r}` takes packages that are not installed: "
            f"`pip install {' '.join(missing)}`"
        )
