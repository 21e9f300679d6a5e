"""Everything that the figures of an evaluation depend on."""

import hashlib
import json

import keras
import numpy as np
from keras import ops

from keras_coconut.checks import shown
from keras_coconut.evaluation.request import Request
from keras_coconut.execution.random_states import seed_generators
from keras_coconut.models.generation_settings import stop_tokens
from keras_coconut.models.sampling import Draws
from keras_coconut.problems import content_hash
from keras_coconut.progress import once

# Parts of a config that do not change what is generated.
_WITHOUT_EFFECT = ("name", "trainable", "dtype", "dropout", "config_file")


def describe(
    request: Request, weights: str | None = None, draws: Draws | None = None
) -> dict:
    """Returns what the figures of a request depend on, ready for JSON.

    Two requests with equal descriptions get the same responses, up to the
    rounding of the backend and the machine. The batch size and the backend are
    part of it only for a random sampler: they decide which random numbers a
    question gets.

    Args:
        request: a `Request`.
        weights: string. The hash of the model's weights, if it is known.
        draws: the `Draws` of several responses to each problem. Their seed is
            that of the sampler too. Optional.

    Raises:
        ValueError: If the sampler draws and has no seed, or has settings that
            JSON cannot hold.
    """
    model = request.model
    about = {
        "problems": content_hash(request.problems),
        "weights": weights_hash(model) if weights is None else weights,
        "dtype": model.backbone.compute_dtype,
        "backbone": _backbone(model.backbone),
        "text": _text(model.preprocessor),
        "sampler": _sampler(model.sampler, request.batch_size, draws),
        "stop_tokens": list(stop_tokens(model.preprocessor.tokenizer)),
        "thought_kind": model.thought_kind,
        "num_iterations": model.num_iterations,
        "thoughts": request.thoughts,
        "num_thoughts": request.num_thoughts,
        "max_length": request.max_length,
    }
    if draws is not None:
        about["draws"] = draws._asdict()
    return about


@once
def weights_hash(model) -> str:
    """Returns a hash of the names, types and values of a model's weights.

    Args:
        model: a `ContinuousThoughtLM`. What it holds beside its backbone does
            not count.
    """
    digest = hashlib.sha256()
    for weight in model.backbone.weights:
        value = np.asarray(ops.convert_to_numpy(weight))
        digest.update(f"{weight.name} {weight.dtype} ".encode())
        digest.update(array_hash(value).encode())
    return digest.hexdigest()


def array_hash(array: np.ndarray) -> str:
    """Returns a hash of an array's shape, type and values."""
    if array.dtype.kind == "V":
        # Backends disagree about the NumPy type of bfloat16.
        array = array.astype("float32")
    digest = hashlib.sha256()
    digest.update(f"{array.shape} {array.dtype} ".encode())
    flat = np.ascontiguousarray(array).reshape(-1)
    digest.update(flat.view("uint8").data)
    return digest.hexdigest()


def _backbone(backbone) -> str:
    """Returns a hash of what a backbone is beside its weights."""
    layers = sorted(
        [
            type(layer).__name__,
            str(layer.compute_dtype),
            str(getattr(layer, "quantization_mode", None)),
            # The scale of LoRA is in no weight.
            str(getattr(layer, "lora_alpha", None)),
        ]
        for layer in backbone._flatten_layers()
    )
    return _json_hash(
        [type(backbone).__name__, _config(backbone.get_config()), layers]
    )


def _text(preprocessor) -> dict:
    """Returns how strings become tokens, and tokens strings."""
    tokenizer = preprocessor.tokenizer
    vocabulary = [
        [token, tokenizer.token_to_id(token)]
        for token in tokenizer.get_vocabulary()
    ]
    merges = list(getattr(tokenizer, "merges", None) or ())
    return {
        "separator": preprocessor.separator,
        "markers": preprocessor.markers,
        "marker_tokens": list(preprocessor.marker_tokens),
        "add_start_token": preprocessor.add_start_token,
        "tokenizer": _json_hash(
            [
                type(tokenizer).__name__,
                _config(tokenizer.get_config()),
                vocabulary,
                merges,
            ]
        ),
    }


def _sampler(sampler, batch_size: int, draws: Draws | None) -> dict:
    """Returns a sampler's class, settings and state, and who draws how."""
    settings = {
        name: value
        for name, value in vars(sampler).items()
        if not name.startswith("_")
        and not isinstance(value, keras.random.SeedGenerator)
    }
    entry = {
        "class": f"{type(sampler).__module__}.{type(sampler).__qualname__}",
        **settings,
        **sampler.get_config(),
    }
    generators = seed_generators(sampler)
    # Each batch of `draws` begins with a state of its own.
    for generator in generators if draws is None else ():
        if generator.get_config()["seed"] is None:
            raise ValueError(
                "`results_path` must be left out while the sampler draws "
                "without a seed: its results cannot be made again. Give it "
                "one, as in `model.compile(sampler=keras_hub.samplers."
                "RandomSampler(seed=0))`. Received: the sampler "
                f"{type(sampler).__name__} with seed=None"
            )
    if generators or (draws is not None and draws.thought_dropout):
        entry["backend"] = keras.config.backend()
        entry["batch_size"] = batch_size
    if generators and draws is None:
        entry["state"] = [
            ops.convert_to_numpy(generator.state).tolist()
            for generator in generators
        ]
    try:
        return json.loads(json.dumps(entry, default=_plain, allow_nan=False))
    except (TypeError, ValueError):
        raise ValueError(
            "`results_path` must be left out for a sampler whose settings JSON "
            f"cannot hold. Received: {shown(entry)}"
        ) from None


def _plain(value):
    """Returns what JSON can hold for NumPy's numbers and arrays."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"no JSON for {type(value).__name__}")


def _config(config) -> dict:
    return {k: v for k, v in config.items() if k not in _WITHOUT_EFFECT}


def _json_hash(value) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
