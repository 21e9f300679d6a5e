"""`keras.models.clone_model` for a task whose call is not its graph.

Keras clones a functional model along its graph, and a `ContinuousThoughtLM` is
one. But its graph only names inputs and layers, for saving and `summary()`: a
clone of it would be another model. Keras lets the model run through its graph
and hands what came out to the constructor of its class, if that takes any
arguments. So here what comes out is what the constructor needs.
"""

import functools
from typing import Any, NamedTuple


class Parts(NamedTuple):
    """What a clone is made of: the arguments of its constructor."""

    arguments: dict[str, Any]


def clonable(construct):
    """Lets a constructor take a clone's `Parts` in place of its arguments."""

    @functools.wraps(construct)
    def __init__(self, *args, **kwargs):
        if len(args) == 2 and isinstance(args[1], Parts):
            construct(self, **{**args[1].arguments, **kwargs})
        else:
            construct(self, *args, **kwargs)

    return __init__


def clone_parts(model, clone_layer, call_function=None) -> Parts:
    """Returns what a clone of a task is made of.

    Args:
        model: a `ContinuousThoughtLM`.
        clone_layer: function that returns the clone of a layer.
        call_function: what `keras.models.clone_model` was given.

    Raises:
        ValueError: If there is a `call_function`.
    """
    if call_function is not None:
        raise ValueError(
            "`call_function` must be left out for a `ContinuousThoughtLM`, "
            "whose layers are not called one after the other. Received: "
            f"call_function={call_function!r}"
        )
    return Parts(
        {
            **model.thinking_config(),
            "backbone": clone_layer(model.backbone),
            # Without weights; its config lacks the vocabulary.
            "preprocessor": model.preprocessor,
            "dtype": model.dtype_policy,
            "trainable": model.trainable,
        }
    )
