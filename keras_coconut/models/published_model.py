"""Reads and writes models in Hugging Face's layout for GPT-2 and Llama."""

import json
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import keras_hub

from keras_coconut.checks import (
    check_choice,
    check_flag,
    check_instance,
    check_path,
    refuse,
    shown,
)
from keras_coconut.files import write_whole
from keras_coconut.models.continuous_thought_lm import ContinuousThoughtLM
from keras_coconut.models.presets import check_dtype, save_aside
from keras_coconut.published import configs, tokenizers
from keras_coconut.published.loading import load_model
from keras_coconut.published.source import Source
from keras_coconut.published.tensors import SAFETENSORS
from keras_coconut.published.weights import add_wrapper, take_weights
from keras_coconut.text.tokenization import check_tokenizer

DTYPES = ("float32", "float16", "bfloat16")


def read_published_model(
    path: str | os.PathLike,
    *,
    config: Mapping | str | os.PathLike | None = None,
    tokenizer: keras_hub.tokenizers.Tokenizer | None = None,
    **kwargs: Any,
) -> ContinuousThoughtLM:
    """Reads a GPT-2 or Llama model in Hugging Face's layout.

    The weights may be those of a plain language model, or of Coconut as the
    authors' code saves it: with or without `base_causallm.` before each key,
    and with a second copy of the embedding as `embedding.weight`. They may be
    safetensors, in one file or in several with an index, or a PyTorch state
    dict if PyTorch is installed. Nothing in a file is executed.

    The marker tokens `<|start-latent|>`, `<|end-latent|>` and `<|latent|>` keep
    the ids that the tokenizer's files give them. If those files lack the
    markers and the embedding has exactly three more rows than the tokenizer has
    tokens (such as GPT-2 with 50,260 rows), these rows are the trained markers.
    Otherwise the markers are added; see `add_thought_tokens`.

    The authors' GPT-2 models think six times between the markers, on ProsQA,
    ProntoQA and GSM8k. Their files do not hold this number: pass `num_thoughts`
    here or to `generate`. Files of `write_published_model` hold it.

    A text has the tokens that the tokenizer's files give it.

    Args:
        path: string or path-like. A folder, a handle such as `hf://user/model`,
            or one file of weights, such as the authors' `checkpoint_33`.
        config: dictionary, or the path of a `config.json`: sizes and settings
            of the model. For Coconut, use the config of the model that it was
            trained from. Defaults to `None`, the one beside the weights.
        tokenizer: a KerasHub tokenizer, with or without the marker tokens.
            Defaults to `None`, the one in the files beside the weights.
        **kwargs: See `ContinuousThoughtLM.from_preset`. With
            `preprocessor=None` no tokenizer is needed; the model then takes
            only token ids, and its embedding keeps the rows of the file.

    Returns:
        A `ContinuousThoughtLM`. Its dtype is Keras' default or `dtype=`.

    Raises:
        ValueError: If files are missing or damaged; if the model is of another
            family or another method (CODI and SIM-CoT have modules of their
            own), or has a setting that KerasHub's layers do not compute; if
            its tokenizer changes a text before it tokenizes it; or if a tensor
            is unknown, missing or of a wrong shape. The error names the key.
        ImportError: If the weights are a state dict and PyTorch is not
            installed.

    Example:
    ```python
    keras_coconut.write_published_model(model, "published")
    model = keras_coconut.read_published_model("published")
    model.generate("1 + 2 + 3?", num_thoughts=6)
    ```
    """
    source = Source("path", check_path("path", path))
    check_dtype(kwargs.get("dtype"))
    if config is not None and not isinstance(config, Mapping):
        if not isinstance(config, str | os.PathLike):
            raise refuse("config", "a dictionary or a path", config)
        file = pathlib.Path(check_path("config", config))
        config = Source("config", str(file.parent)).read_json(file.name)
        if config is None:
            raise refuse("config", "the path of a 'config.json'", str(file))
    if tokenizer is not None:
        check_tokenizer(tokenizer)
        if "preprocessor" in kwargs:
            raise ValueError(
                "`tokenizer` must be left out where a `preprocessor` is given. "
                f"Received: tokenizer={shown(tokenizer)}"
            )
    if "://" not in source.path and not os.path.exists(source.path):
        raise refuse("path", "a folder or a file that exists", source.path)
    return load_model(
        ContinuousThoughtLM, source, config, tokenizer, kwargs=kwargs
    )


def write_published_model(
    model: ContinuousThoughtLM,
    folder: str | os.PathLike,
    *,
    wrapped: bool = False,
    dtype: str | None = None,
) -> None:
    """Writes a model in Hugging Face's layout for GPT-2 and Llama.

    The folder then holds `config.json`, `model.safetensors`, and the files of
    the tokenizer if the model has one, for `AutoModelForCausalLM` and
    `AutoTokenizer`. A model from `read_published_model` is written back byte
    for byte, if the dtypes are the same.

    LoRA adapters are merged into the weights. `config.json` holds the settings
    of thoughts and text, such as `num_thoughts`, `marker_tokens` and
    `separator`, under `"keras_coconut"`: `read_published_model` reads them, and
    others ignore them. The files give the tokens that the model was trained
    with; see `docs/published_code.md`.

    Args:
        model: a `ContinuousThoughtLM` with a backbone of GPT-2, Llama or
            Llama 3, not quantized.
        folder: string or path-like. Existing files of this layout are replaced
            once all are written; other files stay.
        wrapped: bool. Whether to name the tensors as the authors' `Coconut`
            does: `base_causallm.` before each key, and a second copy of the
            embedding as `embedding.weight`. Their code reads a state dict,
            which `torch.save(safetensors.torch.load_file(...))` makes of the
            file.
            Defaults to `False`.
        dtype: `"float32"`, `"float16"` or `"bfloat16"`, the dtype of the
            tensors. Defaults to `None`, that of the weights.

    Raises:
        ValueError: If the backbone is of another family or quantized, if the
            tokenizer is not the one of this family or gives tokens that no
            file gives, or if the folder holds a KerasHub preset.
        OSError: If the files cannot be written or the disk is full. Existing
            files stay unchanged.

    Example:
    ```python
    keras_coconut.write_published_model(model, "published", dtype="bfloat16")
    ```
    """
    check_instance(
        "model",
        model,
        ContinuousThoughtLM,
        "a `keras_coconut.ContinuousThoughtLM`",
    )
    folder = check_path("folder", folder)
    wrapped = check_flag("wrapped", wrapped)
    if dtype is not None:
        dtype = check_choice("dtype", dtype, DTYPES)
    kind = _check_backbone(model.backbone)
    tokenizer = _check_tokenizer(model.preprocessor, kind)
    if os.path.exists(os.path.join(folder, "task.json")):
        raise refuse("folder", "a folder that holds no KerasHub preset", folder)
    embedding = model.backbone.token_embedding
    config = {
        **configs.make_config(
            model.backbone, dtype or embedding.variable_dtype
        ),
        configs.OWN: _own_settings(model),
    }

    def save(written):
        from safetensors.numpy import save_file

        pathlib.Path(written).mkdir()
        weights = take_weights(model.backbone, kind, dtype)
        if wrapped:
            weights = add_wrapper(weights, kind)
        # Without the format `transformers` does not read the file.
        path = os.path.join(written, SAFETENSORS)
        save_file(weights, path, metadata={"format": "pt"})
        if tokenizer is not None:
            config["bos_token_id"] = tokenizer.start_token_id
            config["eos_token_id"] = tokenizer.end_token_id
            tokenizers.write_tokenizer(
                tokenizer,
                kind,
                written,
                model.preprocessor.marker_tokens,
                model.preprocessor.add_start_token,
            )
        write_whole(
            os.path.join(written, "config.json"), json.dumps(config, indent=2)
        )

    save_aside(model, folder, save, _is_of_weights, _is_stale)


def _own_settings(model) -> dict[str, Any]:
    """Returns the settings that a preset keeps, too."""
    saved = (
        {} if model.preprocessor is None else model.preprocessor.get_config()
    )
    names = [name for name in configs.OF_PREPROCESSOR if name in saved]
    return {
        **{name: saved[name] for name in names},
        **model.thinking_config(),
    }


def _is_stale(path) -> bool:
    # Each says how a text is split, or adds tokens.
    of_tokens = ("vocab.json", "merges.txt", "added_tokens.json")
    return path.name in of_tokens or _is_of_weights(path)


def _is_of_weights(path) -> bool:
    pattern = r"model(-\d+-of-\d+)?\.safetensors(\.index\.json)?"
    return re.fullmatch(pattern, path.name) is not None


def _check_backbone(backbone) -> str:
    kind = configs.model_type(backbone)
    if kind is None:
        raise ValueError(
            "`model` must have a backbone of GPT-2, Llama or Llama 3. "
            f"Received: a {type(backbone).__name__}"
        )
    for layer in backbone._flatten_layers():
        mode = getattr(layer, "quantization_mode", None)
        if mode is not None:
            raise ValueError(
                "`model` must not be quantized. Received: the layer "
                f"{layer.name!r} in {mode}"
            )
    return kind


def _check_tokenizer(
    preprocessor, kind: str
) -> keras_hub.tokenizers.Tokenizer | None:
    """Returns the tokenizer that is written, or `None`."""
    if preprocessor is None:
        return None
    tokenizer = preprocessor.tokenizer
    known = tokenizers.CLASSES[kind]
    if not isinstance(tokenizer, known):
        names = " or ".join(cls.__name__ for cls in known)
        raise ValueError(
            f"`model` must have a {names}, as {kind!r} models do, or no "
            f"preprocessor. Received: a {type(tokenizer).__name__}"
        )
    return tokenizer
