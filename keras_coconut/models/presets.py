"""Presets: our own, plain ones of KerasHub, and damaged ones."""

import contextlib
import errno
import json
import math
import os
import pathlib
import re
import shutil

import h5py
import keras
import keras_hub
import numpy as np
from keras_hub.src.utils import preset_utils

from keras_coconut.backbones import check_family
from keras_coconut.checks import PathLike, check_path, refuse, shown
from keras_coconut.files import shown_path
from keras_coconut.folders import folder_aside
from keras_coconut.models.thinking import Thinking
from keras_coconut.published import loading
from keras_coconut.published.configs import OF_MODEL, OF_PREPROCESSOR
from keras_coconut.published.source import Source
from keras_coconut.text.marker_tokens import add_thought_tokens


def load(cls, preset, load_weights: bool, kwargs):
    """Returns a `ContinuousThoughtLM`; see its `from_preset`."""
    preset = check_path("preset", preset)
    check_dtype(kwargs.get("dtype"))
    with naming(preset):
        # KerasHub's own `from_preset` looks for a task made for the family of
        # the backbone alone; the loader takes the class that it is given.
        loader = preset_utils.get_preset_loader(preset)
        family = loader.check_backbone_class()
        saved = _saved_task(preset)
    # Before any weights are downloaded.
    check_family(family)
    _check_quantized(loader.config, preset, kwargs.get("dtype"))
    if saved is not None:
        with naming(preset):
            kwargs = _with_own_preprocessor(cls, preset, kwargs)
            kwargs = _with_own_settings(cls, saved, kwargs)
            return loader.load_task(cls, load_weights, True, **kwargs)
    if loading.is_known(loader.config):
        return loading.load_model(
            cls,
            Source("preset", preset),
            with_weights=load_weights,
            kwargs=kwargs,
        )
    kwargs = dict(kwargs)
    of_backbone = {k: kwargs.pop(k) for k in ("dtype",) if k in kwargs}
    of_preprocessor = {
        k: kwargs.pop(k)
        for k in OF_PREPROCESSOR
        if k in kwargs and "preprocessor" not in kwargs
    }
    with naming(preset):
        tokenizer = keras_hub.models.Tokenizer.from_preset(preset)
        backbone = keras_hub.models.Backbone.from_preset(
            preset, load_weights=load_weights, **of_backbone
        )
    if "preprocessor" not in kwargs:
        names = {"marker_tokens": of_preprocessor.get("marker_tokens")}
        tokenizer, backbone = add_thought_tokens(tokenizer, backbone, **names)
        kwargs["preprocessor"] = cls.preprocessor_cls.from_preset(
            preset, tokenizer=tokenizer, **of_preprocessor
        )
    return cls(backbone=backbone, **kwargs)


def _with_own_preprocessor(cls, preset, kwargs):
    """Returns arguments with the preset's preprocessor, changed as they say."""
    changes = {k: v for k, v in kwargs.items() if k in OF_PREPROCESSOR}
    if not changes or "preprocessor" in kwargs:
        return kwargs
    kwargs = {k: v for k, v in kwargs.items() if k not in changes}
    preprocessor = cls.preprocessor_cls.from_preset(preset, **changes)
    return {
        **kwargs,
        "preprocessor": preprocessor,
        "markers": preprocessor.markers,
    }


def _with_own_settings(cls, saved, kwargs):
    """Returns arguments with those of a task of another class than `cls`.

    KerasHub reads all of a task only as its own class, or as one above it.
    """
    kind = keras.saving.get_registered_object(saved["registered_name"])
    if issubclass(kind, cls):
        return kwargs
    config = saved["config"]
    kept = {name: config[name] for name in OF_MODEL if name in config}
    if kwargs.get("preprocessor") is not None:
        kept.pop("markers", None)  # Those of the preprocessor.
    elif config.get("preprocessor") is None:
        kwargs = {"preprocessor": None, **kwargs}
    dtype = config["backbone"]["config"].get("dtype")
    if kwargs.get("dtype") is None and _is_quantized(dtype):
        # KerasHub would take Keras' default.
        kwargs = {**kwargs, "dtype": dtype}
    return {**kept, **kwargs}


def check_dtype(dtype) -> None:
    """Raises a `ValueError` for what Keras takes for no dtype policy."""
    if dtype is None:
        return
    try:
        keras.dtype_policies.get(dtype)
    except (TypeError, ValueError) as error:
        raise refuse(
            "dtype",
            "the name of a dtype policy, such as 'float32' or "
            "'mixed_bfloat16', or a policy of Keras",
            dtype,
        ) from error


def _check_quantized(config, preset, dtype) -> None:
    """Raises a `ValueError` for one dtype of all layers of a quantized preset.

    Its layers have several, in a `DTypePolicyMap`.
    """
    if dtype is None or not _is_quantized(
        config.get("config", {}).get("dtype")
    ):
        return
    policies = keras.dtype_policies
    if not isinstance(policies.get(dtype), policies.DTypePolicyMap):
        raise ValueError(
            "`dtype` must be left out for a quantized preset, whose layers "
            f"have dtypes of their own. Received: dtype={shown(dtype)}, "
            f"preset={shown(preset)}"
        )


def _is_quantized(dtype) -> bool:
    """Whether a dtype in a config is of layers of which some are quantized."""
    return "QuantizedDTypePolicy" in json.dumps(dtype)


def save_aside(
    model, folder: PathLike, save, is_of_weights=None, is_stale=None
) -> None:
    """Writes a preset with a function, and moves it into place once complete.

    After an error in writing, an existing preset is unchanged.
    Its files are then moved one by one, the weights last.

    Args:
        model: the `keras_hub.models.Task` that is saved.
        folder: string. Where the preset should be. Other files in it stay.
        save: function of a folder to write the preset to.
        is_of_weights: function of a path, whether a file in the folder holds
            weights. Defaults to `None`, those of a preset.
        is_stale: function of a path, whether a file that stood in the folder
            would be read beside the new ones. Defaults to `is_of_weights`.

    Raises:
        OSError: If the folder cannot be written to, or has no room.
    """
    folder = check_path("preset_dir", folder)
    is_of_weights = is_of_weights or _is_of_weights
    is_stale = is_stale or is_of_weights
    with folder_aside(folder) as (written, move):
        # HDF5 may stop the whole process on a full disk.
        needed = sum(
            math.prod(weight.shape) * np.dtype(weight.dtype).itemsize
            for weight in model.weights
        )
        free = shutil.disk_usage(folder).free
        if free < needed:
            raise OSError(
                errno.ENOSPC,
                f"no room for a preset of {needed} bytes, with {free} free",
                shown_path(folder),
            )
        save(str(written))
        # Weights last: until then, the old ones go with the old settings.
        names = {path.name for path in move(is_of_weights)}
        for path in pathlib.Path(folder).iterdir():
            # Such as weights of before, in other parts.
            if is_stale(path) and path.name not in names:
                path.unlink()


def _is_of_weights(path) -> bool:
    # Others may be of `save_weights`, which wants such names too. KerasHub
    # numbers the parts of large weights with five digits.
    pattern = r"(model|task)(_\d{5,})?\.weights\.(h5|json)"
    return re.fullmatch(pattern, path.name) is not None


def complete_config(backbone, config) -> None:
    """Adds to the config of a saved backbone what KerasHub leaves out.

    A Llama with a tied head would come back with one of its own, for which
    there are no weights.
    """
    if isinstance(backbone, keras_hub.models.LlamaBackbone):
        tied = backbone.token_embedding.tie_weights
        config["config"]["tie_word_embeddings"] = tied


def complete_preset(backbone, folder) -> None:
    """Completes the config file of a saved preset."""
    path = pathlib.Path(folder) / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    complete_config(backbone, config)
    path.write_text(json.dumps(config, indent=4), encoding="utf-8")


def _saved_task(preset: str) -> dict | None:
    """Returns the config of a saved `ContinuousThoughtLM`, or `None`.

    Raises:
        ValueError: If it is of a class that Keras does not know.
    """
    if preset_utils.check_file_exists(preset, "tokenizer.json"):
        # For the error that names a damaged file.
        preset_utils.load_json(preset, "tokenizer.json")
    if not preset_utils.check_file_exists(preset, "task.json"):
        return None
    saved = preset_utils.load_json(preset, "task.json")
    name = saved.get("registered_name")
    kind = keras.saving.get_registered_object(name)
    ours = {"num_thoughts", "thought_kind"}
    if kind is None and ours <= {*saved.get("config", {})}:
        raise ValueError(
            "`preset` must hold a task whose class Keras knows. Import the "
            f"module that defines {saved.get('class_name')!r} first; it must "
            "register the class with "
            "`keras.saving.register_keras_serializable()`. Received: "
            f"preset={shown(preset)}, of the unknown class {shown(name)}, "
            f"module={shown(saved.get('module'))}"
        )
    is_own = isinstance(kind, type) and issubclass(kind, Thinking)
    return saved if is_own else None


@contextlib.contextmanager
def naming(preset: str):
    """Adds the folder and the file to what KerasHub says of a damaged preset.

    Presets that are not in a local folder are left to KerasHub, which checks
    what it downloads.

    Args:
        preset: string. A folder, or the name of a preset elsewhere.

    Raises:
        ValueError: In place of any error, if `preset` is a folder.
    """
    try:
        yield
    except Exception as error:
        if not os.path.isdir(preset) or "`model_parallel`" in str(error):
            raise
        damaged = _damaged_file(pathlib.Path(preset))
        of_argument = isinstance(error, ValueError) and str(error)[:1] == "`"
        if of_argument and not damaged:
            raise  # Of an argument.
        what = (
            f"the file {damaged.name!r} is damaged"
            if damaged
            else "KerasHub says"
        )
        raise ValueError(
            "`preset` must be the folder of a whole preset, as "
            f"`save_to_preset` writes it. Received: preset={shown(preset)}, "
            f"and {what}: {type(error).__name__}, {str(error)[:200]}"
        ) from error


def _damaged_file(folder: pathlib.Path) -> pathlib.Path | None:
    """Returns the first file of a folder that cannot be read, if any."""
    for path in sorted(folder.rglob("*")):
        try:
            if path.suffix == ".json":
                json.loads(path.read_text(encoding="utf-8"))
            elif path.suffix == ".h5":
                h5py.File(path).close()
            elif path.suffix == ".txt":
                # Merges of a tokenizer: two parts on a line, at least one.
                first, *rest = path.read_text(encoding="utf-8").splitlines()
                for line in [first, *rest][first.startswith("#version") :]:
                    _left, _right = line.split()
        except (OSError, ValueError):
            return path
    return None
