"""Makes `keras.models.clone_model` return a task, not a plain functional model.

Keras clones a functional model along its graph. The clone of a task would lose
its class, its preprocessor and its thinking settings. Keras passes the outputs
of the graph to the constructor of the class, so here these outputs are the
constructor's arguments.
"""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import keras

from keras_coconut.text import batches


class Parts(NamedTuple):
    """The arguments of a clone's constructor."""

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


# The model that it is mixed into: a task of KerasHub, which has no types.
_Task: Any = object


class ClonedByParts(_Task):
    """A task that Keras clones by its parts, and not along its graph."""

    def compute_output_spec(
        self, inputs: Mapping, training: bool | None = None
    ) -> keras.KerasTensor:
        batches.check_keys(inputs)
        shape = (*inputs["response_ids"].shape, self.backbone.vocabulary_size)
        return keras.KerasTensor(shape, dtype=self.backbone.compute_dtype)

    def _run_through_graph(self, inputs, operation_fn=None, call_fn=None):
        if operation_fn is None:  # While the graph is made.
            return super()._run_through_graph(inputs, call_fn=call_fn)
        if call_fn is not None:
            raise ValueError(
                "`call_function` must be left out for a `ContinuousThoughtLM`, "
                "whose layers are not called one after the other. Received: "
                f"call_function={call_fn!r}"
            )
        backbone = operation_fn(self.backbone)
        if has_lora(self.backbone) and not has_lora(backbone):
            # No config of a backbone says so, and the clone would lack weights.
            raise ValueError(
                "`model` must be cloned before `enable_lora` is called: clone "
                "first, then enable LoRA on the clone. Received: a model with "
                "LoRA enabled."
            )
        _freeze_alike(self.backbone, backbone)
        return Parts(
            {
                **self.thinking_config(),
                "backbone": backbone,
                # Without weights; its config lacks the vocabulary.
                "preprocessor": self.preprocessor,
                "dtype": self.dtype_policy,
                # Keras compiles a clone as the model is compiled.
                "compile": False,
                # `True` would unfreeze every layer of the backbone.
                **({} if self.trainable else {"trainable": False}),
            }
        )


def _freeze_alike(backbone, clone) -> None:
    """Makes the layers of a clone trainable where the original's are.

    The config of a backbone has a flag of its own alone. A clone that is not
    as its config made it, but with LoRA or frozen layers of its own, stays as
    it is.
    """
    if clone is backbone:
        return
    mine, theirs = (b._flatten_layers() for b in (backbone, clone))
    if (
        len(mine) != len(theirs)
        or clone.trainable != backbone.trainable
        or len({each.trainable for each in theirs[1:] if each.weights}) > 1
    ):
        return
    # A layer's flag sets those of its sublayers, which come later.
    for original, copy in zip(mine, theirs):
        copy.trainable = original.trainable


def has_lora(backbone) -> bool:
    """Whether some layer of a backbone has weights of LoRA."""
    return any("lora" in weight.name for weight in backbone.weights)
