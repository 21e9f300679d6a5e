"""Datasets and callbacks for `fit`, `evaluate` and `predict` on problems."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import keras

from keras_coconut.checks import check_count, check_instance, refuse, shown
from keras_coconut.curriculum import Curriculum
from keras_coconut.problem_sources import hold_problems
from keras_coconut.problems import iterate_problems
from keras_coconut.training.curriculum_dataset import CurriculumDataset
from keras_coconut.training.curriculum_scheduler import CurriculumScheduler
from keras_coconut.training.dataset_fit import listed

# Arguments that Keras has for arrays, and that mean nothing of problems.
_OF_ARRAYS = ("sample_weight", "class_weight")


def are_problems(x) -> bool:
    """Whether a model is given problems, and not batches of ids."""
    return not isinstance(x, keras.utils.PyDataset) and hold_problems(x)


def fit_arguments(model, problems, y, batch_size, curriculum, arguments):
    """Returns the keyword arguments of a `fit` on problems.

    Args:
        model: the model that trains.
        problems, y, batch_size, curriculum: what `fit` was given.
        arguments: dictionary of the other arguments of `fit`.

    Returns:
        A dictionary with `x`, a `CurriculumDataset`, and the other arguments;
        `callbacks` begin with a `CurriculumScheduler`.
    """
    arguments = dict(arguments)
    refuse_arrays(y, arguments)
    curriculum = _check_curriculum(curriculum)
    callbacks = arguments.get("callbacks")
    if isinstance(callbacks, keras.callbacks.CallbackList):
        raise ValueError(
            "`callbacks` must be a list of callbacks where `fit` is given "
            "problems: it adds a `CurriculumScheduler`. Received: a "
            "CallbackList"
        )
    if arguments.pop("validation_split", 0.0):
        raise ValueError(
            "`validation_split` must be left out where `fit` is given "
            "problems. Give `validation_data`, other problems"
        )
    dataset = _dataset(
        model,
        problems,
        curriculum,
        batch_size,
        shuffle=arguments.pop("shuffle", True),
        steps_per_epoch=arguments.pop("steps_per_epoch", None),
    )
    validation = arguments.get("validation_data")
    followed = None
    size = arguments.pop("validation_batch_size", None)
    if size is not None:
        size = check_count("validation_batch_size", size, least=1)
    if isinstance(validation, tuple) and validation:
        validation = _alone(validation)
    if are_problems(validation) or _is_stream(validation):
        followed = arguments["validation_data"] = _dataset(
            model,
            validation,
            _without_draws(curriculum),
            batch_size if size is None else size,
            name="validation_data",
            shuffle=False,
        )
    elif size is not None:
        arguments["validation_batch_size"] = size
    scheduler = CurriculumScheduler(dataset, followed)
    arguments["callbacks"] = [scheduler, *listed(callbacks)]
    if arguments.get("epochs") is None:
        arguments["epochs"] = curriculum.num_epochs
    return {**arguments, "x": dataset}


def dataset_of(
    model, problems, batch_size, curriculum, stage
) -> CurriculumDataset:
    """Returns the batches of problems at a stage, in the problems' order.

    Args:
        model: the model that reads them.
        problems, batch_size: what `evaluate` was given.
        curriculum: a `Curriculum`. `None` is that of the last epoch that a
            `CurriculumScheduler` began.
        stage: int. `None` is the stage of that epoch, if it was of this
            curriculum, else the last.

    Raises:
        ValueError: If `stage` is `None` and the model has weights of another
            stage than that epoch's.
    """
    known, state = model.__dict__.get("_last_epoch", (None, None))
    if curriculum is None:
        curriculum = known
    curriculum = _check_curriculum(curriculum)
    as_trained = stage is None and curriculum == known
    if as_trained:
        _check_same_stage(model, state)
    if stage is None:
        stage = curriculum.last_stage
    stage = check_count("stage", stage, most=curriculum.last_stage)
    dataset = _dataset(
        model, problems, _without_draws(curriculum), batch_size, shuffle=False
    )
    if as_trained:
        # With the thoughts of its last epoch, which may be fewer.
        dataset.state = state
    else:
        dataset.stage = stage
    return dataset


def _check_same_stage(model, state) -> None:
    """Raises a `ValueError` for weights of another stage than a state's."""
    _, stage, num_thoughts = state
    if model.brought_by_weights and model.num_thoughts != num_thoughts:
        # Not guessed: several stages may have this number of thoughts.
        raise ValueError(
            "`stage` must be given where the weights are not those of the last "
            "epoch trained, such as after `EarlyStopping` restored others. "
            f"Received: stage=None for a model with {model.num_thoughts} "
            f"thoughts, after an epoch of stage {stage} with {num_thoughts}"
        )


def _alone(validation: tuple):
    """Returns the problems of `(problems, None)`, which Keras would take."""
    problems, *others = validation
    is_row = isinstance(problems, Mapping) and isinstance(
        problems.get("question"), str
    )
    if is_row or not are_problems(problems):
        return validation
    if any(other is not None for other in others):
        raise ValueError(
            "`validation_data` must be problems without labels or weights. "
            f"Received: a tuple of problems and {shown(others)}"
        )
    return problems


def _is_stream(validation) -> bool:
    """Whether validation data can be nothing but problems."""
    if isinstance(validation, Mapping | tuple | keras.utils.PyDataset):
        return False
    # Arrays, `tf.data`, and PyTorch's loaders hold batches.
    of_batches = ("shape", "element_spec", "collate_fn")
    return hasattr(validation, "__iter__") and not any(
        hasattr(validation, name) for name in of_batches
    )


def _without_draws(curriculum: Curriculum) -> Curriculum:
    """Returns a curriculum that lays a problem out the same in any batch."""
    return dataclasses.replace(
        curriculum, mixing_probability=0.0, removal_smoothing=None
    )


def refuse_stage(stage) -> None:
    """Raises a `ValueError` for a stage without problems."""
    if stage is not None:
        raise ValueError(
            "`stage` must be left out for batches, which are laid out already. "
            f"Received: stage={shown(stage)}"
        )


def _check_curriculum(curriculum) -> Curriculum:
    if curriculum is None:
        raise ValueError(
            "`curriculum` must be given with problems: it says which steps "
            "are hidden and how many thoughts replace them. Received: "
            "curriculum=None"
        )
    check_instance(
        "curriculum", curriculum, Curriculum, "a `keras_coconut.Curriculum`"
    )
    return curriculum


def refuse_arrays(y, arguments) -> None:
    """Raises a `ValueError` for arguments that belong to arrays."""
    given = {"y": y, **{name: arguments.pop(name, None) for name in _OF_ARRAYS}}
    for name, value in given.items():
        if value is not None:
            raise ValueError(
                f"`{name}` must be left out for problems, which hold their "
                f"own steps and answers. Received: {name}={shown(value)}"
            )


def _dataset(
    model, problems, curriculum, batch_size, name="x", **kwargs: Any
) -> CurriculumDataset:
    if model.preprocessor is None:
        raise ValueError(
            f"`{name}` must be batches of ids for a model without a "
            f"preprocessor. Received: {name}={shown(problems)} of type "
            f"{type(problems).__name__}"
        )
    if isinstance(problems, keras.utils.PyDataset):
        raise refuse(name, "problems beside a `curriculum`", problems)
    if not isinstance(problems, str | os.PathLike):
        # By the name that the user knows them by.
        problems = iterate_problems(name, problems)
    try:
        return CurriculumDataset(
            problems,
            model.preprocessor,
            curriculum,
            batch_size=32 if batch_size is None else batch_size,
            **kwargs,
        )
    except ValueError as error:
        # Of one that is too long.
        text = str(error)
        if not text.startswith("`problems["):
            raise
        raise ValueError(f"`{name}{text.removeprefix('`problems')}") from None
