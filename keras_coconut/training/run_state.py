"""The state of a training run: read from its objects, and restored.

All values are NumPy copies, in the same order on every backend, so that a save
opens on another backend. The random state of a backend is restored only on that
backend.
"""

import inspect
import os
import random
import weakref
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_coconut.checks import shown
from keras_coconut.execution import replicas
from keras_coconut.execution.random_states import (
    seed_generators,
    torch_generators,
)
from keras_coconut.problems import content_hash
from keras_coconut.training.callback_state import only_writes
from keras_coconut.training.resumable_training import ResumableTraining
from keras_coconut.versions import __version__

# Arguments of our callbacks that change nothing of a run's figures.
_OF_NO_FIGURE = ("verbose", "best_preset", "log_dir")
# What the `CurriculumScheduler` sets on a `ContinuousThoughtLM`.
_TOLD = ("num_thoughts", "thought_kind")


def take_model(model, keep: bool = True) -> dict[str, Any]:
    """Returns copies of all variables, and the model's thinking settings.

    Args:
        model: a built and compiled `ContinuousThoughtLM`.
        keep: bool. Whether the copies are wanted. Processes that do not write
            only take part in gathering divided variables: a machine may have
            one process for each of its devices. Defaults to `True`.
    """

    def take(variable):
        if not keep and not replicas.is_divided(variable):
            return None
        found = ops.convert_to_numpy(variable)
        return np.array(found) if keep else None

    with replicas.metrics_of_all(model):
        variables = {
            kind: [take(v) for v in variables]
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
    # Those of `generate`, from which validation may draw.
    sampler = getattr(model, "sampler", None)
    seeds = [] if sampler is None else seed_generators(sampler)
    return {
        # Weights, and the states of layers' random numbers.
        "model": model.variables,
        "optimizer": model.optimizer.variables,
        "metrics": model.metrics_variables,
        "sampler": [seed.state for seed in seeds],
    }


def _assign(variables, values):
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


# === Random numbers ===


def take_random() -> dict[str, Any]:
    """Returns the states of all random numbers that layers and data draw."""
    # First, because if it does not exist yet, it draws its seed from Python.
    keras_seed = np.array(ops.convert_to_numpy(_keras_seed().state))
    state = {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "keras": keras_seed,
    }
    if keras.config.backend() == "torch":
        # Each process draws from its own.
        own = {
            device: generator.get_state().numpy().copy()
            for device, generator in torch_generators().items()
        }
        state["torch"] = replicas.objects_of_all(own)
    return state


def give_random(state: dict[str, Any]) -> None:
    """Sets the states of all random numbers that this backend draws."""
    seed = _keras_seed()
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    seed.state.assign(state["keras"])
    own, process = state.get("torch", ()), replicas.process_index()
    if keras.config.backend() == "torch" and process < len(own):
        _give_torch(own[process])


def _give_torch(states):
    import torch

    if isinstance(states, list):  # Of earlier versions.
        states = dict(zip(("cpu", "cuda"), states))
    for device, generator in torch_generators().items():
        if device in states:
            generator.set_state(torch.from_numpy(states[device]))


def _keras_seed():
    """Returns the generator of what draws without one of its own.

    Keras has no public name for it.
    """
    from keras.src.random.seed_generator import global_seed_generator

    return global_seed_generator()


# === What makes a run ===


def describe_run(model, dataset, callbacks) -> dict[str, dict[str, Any]]:
    """Returns what a resumed run must have in common with its save.

    Args:
        model: a compiled `ContinuousThoughtLM`.
        dataset: the `CurriculumDataset` that it trains on.
        callbacks: list of callbacks.

    Returns:
        A dictionary of dictionaries of plain values.
    """
    weights = enumerate(model.weights)
    # But for those that the first process has alone, on some backends or all.
    callbacks = [each for each in callbacks if not only_writes(each)]
    return {
        **dataset.describe(),
        "backbone": {
            **_flat(model.backbone.get_config()),
            "num_iterations": model.num_iterations,
        },
        "optimizer": {
            **describe_optimizer(model),
            "loss": _name(model.loss),
            "steps_per_execution": model.steps_per_execution,
        },
        "trainable": {
            "weights": [number for number, w in weights if w.trainable]
        },
        "callbacks": {
            "classes": [type(each).__name__ for each in callbacks],
            **_describe_settings(callbacks),
        },
        "validation": _describe_validation(callbacks),
        "version": {"keras_coconut": __version__},
    }


def _describe_settings(callbacks):
    """Returns the settings of the library's own callbacks, by their paths."""
    found = {}
    for path, own, callback in _own_callbacks(callbacks):
        if own is ResumableTraining:
            continue
        for name in inspect.signature(own).parameters:
            value = getattr(callback, name, None)
            plain = isinstance(value, bool | int | float | str)
            if plain and name not in _OF_NO_FIGURE:
                found[f"{path}.{name}"] = value
    return found


def _describe_validation(callbacks):
    """Returns digests of the problems that callbacks measure on."""
    found = {}
    for path, _, callback in _own_callbacks(callbacks):
        dataset = getattr(callback, "validation_dataset", None)
        if dataset is not None:
            found[path] = dataset.describe()["problems"]["digest"]
        problems = getattr(callback, "problems", None)
        if problems is not None:
            found[path] = content_hash(problems)
    return found


def _own_callbacks(callbacks):
    """Yields a path, the class and the object of each of our callbacks."""
    seen: dict[str, int] = {}
    for callback in callbacks:
        for kind in type(callback).__mro__:
            if kind.__module__.startswith("keras_coconut."):
                name = kind.__name__
                seen[name] = seen.get(name, 0) + 1
                number = f" {seen[name]}" if seen[name] > 1 else ""
                yield f"{name}{number}", kind, callback
                break


def describe_optimizer(model) -> dict[str, str]:
    """Returns the settings of a model's optimizer as texts."""
    return _flat(keras.saving.serialize_keras_object(model.optimizer))


def described_rates(optimizer: dict[str, str]) -> dict[str, str]:
    """Returns the learning rates in an optimizer's description."""
    return {
        key: text
        for key, text in optimizer.items()
        if key.endswith("config.learning_rate")
    }


def described_rate(optimizer: dict[str, str]) -> float | None:
    """Returns the learning rate in a description; `None` for a schedule."""
    for text in described_rates(optimizer).values():
        try:
            return float(text)
        except ValueError:
            return None
    return None


def as_begun(described: dict[str, Any], model, folder: str) -> dict[str, Any]:
    """Returns a description with the learning rates that a run began with.

    Calling the same `fit` again resumes it, in this process too, where
    callbacks have changed the rates since. Other rates are the user's.

    Args:
        described: what `describe_run` returned.
        model: the model that trains.
        folder: string, where the run is saved.
    """
    known = model.__dict__.get("_rates", {}).get(os.path.abspath(folder))
    if known is None:
        return described
    optimizer, begun, left = known
    found = described["optimizer"]
    if optimizer() is not model.optimizer or left != described_rates(found):
        return described
    return {**described, "optimizer": {**found, **begun}}


def note_rates(described: dict[str, Any], model, folder: str) -> None:
    """Notes the learning rates of a run, for `as_begun`."""
    # Past Keras' tracking; an old optimizer's state shall not be kept.
    model.__dict__.setdefault("_rates", {})[os.path.abspath(folder)] = (
        weakref.ref(model.optimizer),
        described_rates(described["optimizer"]),
        described_rates(describe_optimizer(model)),
    )


def _name(loss):
    text = loss if isinstance(loss, str) else None
    return text or getattr(loss, "__name__", None) or type(loss).__name__


def _flat(config, path=""):
    """Returns the values of a nested config as texts, by their paths."""
    if isinstance(config, list | tuple):
        config = dict(enumerate(config))
    if not isinstance(config, dict):
        return {path: repr(config)}
    found = {}
    for key, value in config.items():
        # They vary from instance to instance, and from backend to backend; but
        # a dtype policy has nothing else than its name.
        if key in ("module", "registered_name"):
            continue
        if key != "name" or len(config) == 1:
            found.update(_flat(value, f"{path}.{key}" if path else str(key)))
    return found


def differences(saved: dict[str, Any], now: dict[str, Any]) -> dict[str, str]:
    """Returns a text for each entry in which two descriptions differ.

    What an earlier version did not save is not compared.
    """
    found = {}
    for name in saved:
        before, after = saved[name], now.get(name, {})
        if name == "callbacks" and before.keys() == {"classes"}:
            after = {"classes": after.get("classes")}
        keys = [
            key
            for key in {**before, **after}
            if before.get(key) != after.get(key)
        ]
        if keys:
            texts = (
                ", ".join(f"{key}={shown(each.get(key))}" for key in keys[:3])
                for each in (before, after)
            )
            found[name] = f"`{name}` was {next(texts)} and is {next(texts)}"
    return found
