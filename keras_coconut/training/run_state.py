"""The state of a training run: taken from its objects, and given back.

All values are copies in NumPy, in the same order on every backend, so that a
save opens on another one. The states of random numbers that belong to a backend
are given back to that one only.
"""

import random
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_coconut.checks import shown
from keras_coconut.models import replicas

# What `ContinuousThoughtLM` is told by the `CurriculumScheduler`.
_TOLD = ("num_thoughts", "thought_kind")


def take_model(model) -> dict[str, Any]:
    """Returns copies of all variables, and what the model has been told.

    Args:
        model: a built and compiled `ContinuousThoughtLM`.
    """
    with replicas.metrics_of_all(model):
        variables = {
            kind: [np.array(ops.convert_to_numpy(v)) for v in variables]
            for kind, variables in _variables(model).items()
        }
    told = {name: getattr(model, name) for name in _TOLD}
    return {"variables": variables, "told": told}


def give_model(model, state: dict[str, Any]) -> None:
    """Gives a model what `take_model` took, but for its metrics."""
    for kind, variables in _variables(model).items():
        if kind != "metrics":
            _assign(variables, state["variables"][kind])
    for name in _TOLD:
        setattr(model, name, state["told"][name])


def give_metrics(model, state: dict[str, Any]) -> None:
    """Gives a model's metrics the values that they had inside an epoch."""
    if keras.config.backend() == "torch" and replicas.process_index():
        return  # What all processes had counted is given to the first.
    _assign(_variables(model)["metrics"], state["variables"]["metrics"])


def differing_variables(model, state: dict[str, Any]) -> str | None:
    """Returns what is wrong with saved variables; `None` if they fit."""
    for kind, variables in _variables(model).items():
        saved = state["variables"][kind]
        if len(saved) != len(variables):
            return f"{len(saved)} variables of the {kind} for {len(variables)}"
        for variable, value in zip(variables, saved):
            here = _kind(variable.shape, variable.dtype)
            there = _kind(value.shape, value.dtype)
            if here != there:
                return (
                    f"a variable of the {kind}, {variable.path}, of {there} "
                    f"for {here}"
                )
    return None


def _kind(shape, dtype):
    dtype = keras.backend.standardize_dtype(dtype)
    # Backends count steps, and draw seeds, in integers of different sizes.
    if dtype.startswith("uint") or dtype.startswith("int"):
        dtype = "integers" if dtype not in ("int8", "uint8") else dtype
    return f"shape {tuple(shape)} and {dtype}"


def _variables(model):
    return {
        # Weights, and the states of layers' random numbers.
        "model": model.variables,
        "optimizer": model.optimizer.variables,
        "metrics": model.metrics_variables,
    }


def _assign(variables, values):
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


# === Random numbers ===


def take_random() -> dict[str, Any]:
    """Returns the states of all random numbers that layers and data draw."""
    # First: where there is none yet, it draws from Python's.
    keras_seed = np.array(ops.convert_to_numpy(_keras_seed().state))
    state = {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "keras": keras_seed,
    }
    if keras.config.backend() == "torch":
        # Its dropout draws from its own generators.
        import torch

        state["torch"] = torch.get_rng_state().numpy().copy()
        if torch.cuda.is_available():
            state["cuda"] = [
                each.numpy().copy() for each in torch.cuda.get_rng_state_all()
            ]
    return state


def give_random(state: dict[str, Any]) -> None:
    """Sets the states of all random numbers that this backend draws."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    _keras_seed().state.assign(state["keras"])
    if keras.config.backend() == "torch" and "torch" in state:
        import torch

        torch.set_rng_state(torch.from_numpy(state["torch"]))
        if "cuda" in state and len(state["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(
                [torch.from_numpy(each) for each in state["cuda"]]
            )


def _keras_seed():
    """Returns the generator of what draws without one of its own.

    Keras has no public name for it.
    """
    from keras.src.random.seed_generator import global_seed_generator

    return global_seed_generator()


# === What makes a run ===


def describe_run(model, dataset, callbacks) -> dict[str, Any]:
    """Returns what a resumed run must have in common with its save.

    Args:
        model: a compiled `ContinuousThoughtLM`.
        dataset: the `CurriculumDataset` that it trains on.
        callbacks: list of callbacks.

    Returns:
        A dictionary of plain values, of the same keys for every run.
    """
    import keras_coconut

    serialize = keras.saving.serialize_keras_object
    return {
        **dataset.describe(),
        "backbone": _text(model.backbone.get_config()),
        "optimizer": _text(serialize(model.optimizer)),
        "trainable": [
            number
            for number, weight in enumerate(model.weights)
            if weight.trainable
        ],
        "callbacks": [type(callback).__name__ for callback in callbacks],
        "version": keras_coconut.__version__,
    }


def _text(config):
    """Returns a config as a text that two processes have in common."""
    if isinstance(config, dict):
        pairs = sorted(
            f"{key}: {_text(value)}"
            for key, value in config.items()
            # They vary from instance to instance, and from backend to backend.
            if key not in ("name", "module", "registered_name")
        )
        return "{" + ", ".join(pairs) + "}"
    if isinstance(config, list | tuple):
        return "[" + ", ".join(map(_text, config)) + "]"
    return repr(config)


def differences(saved: dict[str, Any], now: dict[str, Any]) -> dict[str, str]:
    """Returns a text for each entry in which two descriptions differ."""
    return {
        name: f"`{name}` was {shown(saved.get(name))} and is "
        f"{shown(now.get(name))}"
        for name in {**saved, **now}
        if saved.get(name) != now.get(name)
    }
