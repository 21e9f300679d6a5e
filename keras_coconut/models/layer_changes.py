"""Recompiles programs once a backbone has new weights.

`enable_lora` and `quantize` replace weights of layers. On TensorFlow a program
compiled before would silently go on using the old ones.
"""

from typing import Any

# The model that it is mixed into: a task of KerasHub, which has no types.
_Task: Any = object


class LayerChanges(_Task):
    """A model that notices when weights of its layers were replaced."""

    def make_train_function(self, force: bool = False) -> None:
        self.forget_old_programs()
        _check_trainable(self)
        _check_optimizer(self)
        _check_precision(self)
        super().make_train_function(force)
        if self.optimizer is not _trained(self)[0]:
            self.__dict__["_trained"] = (
                self.optimizer,
                list(self.trainable_variables),
            )

    def make_test_function(self, force: bool = False) -> None:
        self.forget_old_programs()
        super().make_test_function(force)

    def make_predict_function(self, force: bool = False) -> Any:
        self.forget_old_programs()
        return super().make_predict_function(force)

    def make_generate_function(self) -> Any:
        self.forget_old_programs()
        return super().make_generate_function()

    def forget_old_programs(self) -> None:
        """Drops what was compiled if a weight was added or replaced since."""
        # The variables themselves: a number may be given to another one.
        weights = list(self.weights)
        known = self.__dict__.get("_weights_of_programs", weights)
        if len(known) != len(weights) or any(
            before is not now for before, now in zip(known, weights)
        ):
            self.train_function = None
            self.test_function = None
            self.predict_function = None
            self.generate_function = None
            self.__dict__.pop("_readers", None)
        self.__dict__["_weights_of_programs"] = weights


def no_float8(received: str) -> ValueError:
    """Returns an error for layers in float8.

    Keras hands a layer's new scales to the optimizer as gradients. Those of
    several calls add up, and a layer is called for each span and each thought.
    """
    return ValueError(
        '`mode` must be "int8" for a model that thinks: Keras trains in float8 '
        "only layers that are called once a step. For less memory in training, "
        'use the dtype policy "mixed_bfloat16" or LoRA on "int8". Received: '
        f"{received}"
    )


def _check_precision(model) -> None:
    """Raises a `ValueError` for layers that cannot train."""
    for layer in model.backbone._flatten_layers():
        if getattr(layer, "quantization_mode", None) == "float8":
            raise no_float8(f"a backbone whose layer {layer.name!r} is float8")


def _check_trainable(model) -> None:
    """Raises a `ValueError` for a model that nothing would change."""
    if not model.trainable_variables:
        raise ValueError(
            "the model must have a trainable weight. Unfreeze layers, or name "
            "layers that the backbone has, as "
            "`enable_lora(rank, target_layer_names=[...])`: where it finds "
            "none, `enable_lora` freezes all weights and adds none. Received: "
            f"a {type(model.backbone).__name__} without trainable weights"
        )


def _trained(model) -> tuple:
    """Returns the optimizer that trained the model, and the trained weights."""
    return model.__dict__.get("_trained", (None, []))


def _check_optimizer(model) -> None:
    """Raises a `ValueError` for weights that the optimizer does not know."""
    optimizer, weights = _trained(model)
    if optimizer is None or optimizer is not model.optimizer:
        return
    known = {id(weight) for weight in weights}
    new = [w.path for w in model.trainable_variables if id(w) not in known]
    if new:
        raise ValueError(
            "the model must be compiled again to train weights that were added "
            "or unfrozen since its last training, such as by `enable_lora`: "
            "the optimizer has no state for them. Received: "
            f"{len(new)} of them, the first {new[0]}"
        )
