"""Files of named tensors: safetensors, and PyTorch's state dicts.

Shapes are known before any tensor is read, and nothing that a file holds is
executed.
"""

import dataclasses
import functools
import os
import pickle
from collections.abc import Callable

# Gives NumPy the dtype "bfloat16".
import ml_dtypes
import numpy as np

from keras_coconut.checks import shown
from keras_coconut.published.source import Source

SAFETENSORS = "model.safetensors"
STATE_DICT = "pytorch_model.bin"
# How other files of weights end, where a folder holds none of these names.
_ENDINGS = (".safetensors", ".bin", ".pt", ".pth")

_FLOATS = {
    "BF16": "bfloat16",
    "F16": "float16",
    "F32": "float32",
    "F64": "float64",
}


@dataclasses.dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file.

    Args:
        shape: tuple of ints.
        dtype: string. The dtype's name; NumPy's for those of `is_float`.
        read: function without arguments that returns it as an array.
    """

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], np.ndarray]

    @property
    def is_float(self) -> bool:
        """Whether it can be a weight."""
        return self.dtype in _FLOATS.values()


def open_tensors(source: Source) -> dict[str, StoredTensor]:
    """Returns the tensors of a model by their names in the files.

    Raises:
        ValueError: If there is no file of weights, or more than one model, or
            if a file is damaged or holds anything but tensors; names the file.
        ImportError: If it is a state dict and PyTorch is not installed.
    """
    tensors: dict[str, StoredTensor] = {}
    for path in _weight_files(source):
        found = _open_file(source, path)
        twice = tensors.keys() & found.keys()
        if twice:
            raise source.refuse(f"the key {min(twice)!r} in two files")
        tensors.update(found)
    return tensors


def _weight_files(source) -> list[str]:
    if source.is_file:
        return [source.path]
    for name in (SAFETENSORS, STATE_DICT):
        path = source.find(name)
        if path is not None:
            return [path]
        index = source.read_json(f"{name}.index.json")
        if index is not None:
            return _shards(source, f"{name}.index.json", index)
    others = []
    if os.path.isdir(source.folder):
        others = sorted(
            entry.name
            for entry in os.scandir(source.folder)
            if entry.is_file() and entry.name.endswith(_ENDINGS)
        )
    if len(others) != 1:
        received = f"{len(others)} files of weights"
        if others:
            received += f" {shown(others)}, of which one can be named"
        raise source.refuse(
            f"{received}, and neither {SAFETENSORS!r} nor {STATE_DICT!r}"
        )
    return [os.path.join(source.folder, others[0])]


def _shards(source, index_name, index) -> list[str]:
    names = index.get("weight_map")
    if not isinstance(names, dict) or not names:
        raise source.refuse(f"the file {index_name!r} without a 'weight_map'")
    paths = []
    for name in sorted({*map(str, names.values())}):
        # An index must not lead out of its folder.
        path = source.find(name) if os.path.basename(name) == name else None
        if path is None:
            raise source.refuse(
                f"the file {index_name!r}, which names {shown(name)}, and no "
                "such file"
            )
        paths.append(path)
    return paths


def _open_file(source, path) -> dict[str, StoredTensor]:
    with open(path, "rb") as file:
        head = file.read(9)
    # The length of a header of JSON, and its first character.
    if head[8:] == b"{":
        return _open_safetensors(source, path)
    if head[:1] in (b"P", b"\x80"):
        return _open_state_dict(source, path, is_zip=head[:1] == b"P")
    raise source.refuse(
        f"the file {os.path.basename(path)!r}, which is neither safetensors "
        "nor a state dict of PyTorch"
    )


def _open_safetensors(source, path) -> dict[str, StoredTensor]:
    import safetensors

    try:
        file = safetensors.safe_open(path, framework="np")
    except safetensors.SafetensorError as error:
        raise _damaged(source, path, error) from error
    tensors = {}
    for key in file.keys():
        piece = file.get_slice(key)
        dtype = piece.get_dtype()
        tensors[key] = StoredTensor(
            tuple(piece.get_shape()),
            _FLOATS.get(dtype, dtype),
            functools.partial(file.get_tensor, key),
        )
    return tensors


def _open_state_dict(source, path, is_zip) -> dict[str, StoredTensor]:
    name = os.path.basename(path)
    try:
        import torch
    except ImportError:
        raise ImportError(
            f"`{source.argument}` holds {name!r}, a state dict of PyTorch, "
            "which is not installed. Install PyTorch, or convert the file to "
            "safetensors where it is, with `safetensors.torch.save_file`"
        ) from None

    try:
        values = torch.load(
            path, map_location="cpu", weights_only=True, mmap=is_zip
        )
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise _damaged(source, path, error) from error
    if not isinstance(values, dict):
        raise source.refuse(
            f"the file {name!r}, which holds no state dict but a "
            f"{type(values).__name__}"
        )
    tensors = {}
    for key, value in values.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor):
            raise source.refuse(
                f"the file {name!r}, which holds a {type(value).__name__} as "
                f"{shown(key)}, where a state dict holds tensors"
            )
        tensors[key] = StoredTensor(
            tuple(value.shape),
            str(value.dtype).removeprefix("torch."),
            functools.partial(_to_numpy, value),
        )
    return tensors


def _to_numpy(tensor) -> np.ndarray:
    import torch

    tensor = tensor.detach().contiguous()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()


def _damaged(source, path, error) -> ValueError:
    return source.refuse(
        f"the file {os.path.basename(path)!r}, which is damaged or holds more "
        f"than tensors: {str(error).splitlines()[0][:120]}"
    )
