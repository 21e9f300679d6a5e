"""What KerasHub's tasks offer and a model that thinks cannot do as they do.

Each says so, and what to do instead. tests/models/test_kerashub_habits.py goes
through all that is inherited.
"""

import re
import warnings
from collections.abc import Callable
from typing import Any, NoReturn

import keras
import keras_hub

from keras_coconut.backbones import FAMILIES
from keras_coconut.checks import (
    PathLike,
    check_choice,
    check_instance,
    check_path,
    shown,
)
from keras_coconut.models import layer_changes
from keras_coconut.models.cloning import has_lora
from keras_coconut.text.preprocessor import ContinuousThoughtPreprocessor

# The model that it is mixed into: a task of KerasHub, which has no types.
_Task: Any = object

_QUANTIZED = ("int8",)
# Methods that calibrate on text.
_CALIBRATED = ("gptq", "awq")


class _Presets:
    """The built-in presets of all known families, as a class's attribute."""

    def __get__(self, model, cls) -> dict[str, Any]:
        return {
            name: about
            for backbone in FAMILIES
            for name, about in backbone.presets.items()
        }


class Inherited(_Task):
    """Refusals, and what is looked at before KerasHub does it."""

    presets = _Presets()

    # === Parts of the model ===

    @property
    def backbone(self) -> keras_hub.models.Backbone:
        """The `keras_hub.models.Backbone` that thinks."""
        return keras_hub.models.CausalLM.backbone.fget(self)

    @backbone.setter
    def backbone(self, backbone):
        mine = self.backbone
        if mine is not None and backbone is not mine:
            raise ValueError(
                "`backbone` must stay that of the constructor, whose layers "
                "the model calls; make another model of another backbone. "
                f"Received: backbone={shown(backbone)}"
            )
        keras_hub.models.CausalLM.backbone.fset(self, backbone)

    @property
    def preprocessor(self) -> Any:
        """The `ContinuousThoughtPreprocessor`, or `None`."""
        # Of any type: a model from a preset has one, as its user knows.
        return keras_hub.models.CausalLM.preprocessor.fget(self)

    @preprocessor.setter
    def preprocessor(self, preprocessor):
        # Not in the constructor, which has looked at it.
        made = getattr(self, "latent_decoder", None)
        if preprocessor is not None and made is not None:
            self._check_preprocessor(preprocessor)
        keras_hub.models.CausalLM.preprocessor.fset(self, preprocessor)

    def _check_preprocessor(self, preprocessor) -> None:
        check_instance(
            "preprocessor",
            preprocessor,
            ContinuousThoughtPreprocessor,
            "a `keras_coconut.ContinuousThoughtPreprocessor`",
        )
        if preprocessor.markers != self.markers:
            raise ValueError(
                "`preprocessor` must have the `markers` of the model, "
                f"{self.markers}. Received: a preprocessor with "
                f"markers={preprocessor.markers}"
            )
        preprocessor.fit_to(self.backbone)
        for layer in (preprocessor, preprocessor.tokenizer):
            layer.built = True

    @property
    def dtype_policy(self) -> keras.DTypePolicy:
        """In which types the backbone computes and keeps its weights."""
        return keras_hub.models.CausalLM.dtype_policy.fget(self)

    @dtype_policy.setter
    def dtype_policy(self, policy):
        given = keras.dtype_policies.get(policy)
        mine = self.backbone.dtype_policy
        # Policies of several layers cannot be compared.
        if given is not mine and given.get_config() != mine.get_config():
            raise ValueError(
                "`dtype_policy` must stay that of the backbone, whose layers "
                "have theirs from the start: save the model as a preset and "
                "open it with `from_preset(..., dtype=...)`. Received: "
                f"dtype_policy={shown(policy)}"
            )
        keras_hub.models.CausalLM.dtype_policy.fset(self, policy)

    # === Other weights ===

    def quantize(
        self,
        mode: str | None = None,
        config: Any = None,
        filters: str | list[str] | Callable | None = None,
        **kwargs: Any,
    ) -> None:
        """Quantizes the backbone's weights; see `keras.Model.quantize`.

        LoRA goes with it, enabled before or afterwards. A refused call changes
        nothing.

        Args:
            mode: `"int8"`. Optional beside `config`.
            config: a `keras.quantizers.QuantizationConfig`. Defaults to
                `None`.
            filters: which layers are quantized, by a pattern of their names, a
                list of these, or a function of a layer. Defaults to `None`,
                all.
            **kwargs: Keras' own.

        Raises:
            ValueError: For `"gptq"` and `"awq"`, which read text to calibrate
                and know of no thoughts; for `"int4"`, which KerasHub saves and
                opens as something else; for `"float8"`, in which a model that
                thinks cannot train. For SmolLM3, and for layers that are
                quantized already.

        Example:
        ```python
        model.quantize("int8")
        ```
        """
        wanted = getattr(config, "mode", mode)
        _refuse_calibration(wanted)
        if wanted == "int4":
            # The head of a preset that is opened quantizes what it reads, too.
            raise ValueError(
                '`mode` must be "int8", which can be saved: KerasHub opens a '
                "preset in int4 with other logits. For a model that you do not "
                'save, call `model.backbone.quantize("int4")`. Received: '
                "mode='int4'"
            )
        if wanted == "float8":
            raise layer_changes.no_float8("mode='float8'")
        if wanted is not None or config is None:
            check_choice("mode", wanted, _QUANTIZED)
        _check_layers(self, filters)
        with warnings.catch_warnings():
            # Of each layer without weights to quantize.
            warnings.filterwarnings("ignore", "Layer .*does not have a `quant")
            super().quantize(mode, config=config, filters=filters, **kwargs)

    def get_quantization_layer_structure(self, mode: str | None = None) -> None:
        """Refuses the methods that calibrate; see `quantize`."""
        _refuse_calibration(mode)

    # === Files ===

    def save(
        self,
        filepath: PathLike,
        overwrite: bool = True,
        zipped: bool | None = None,
        **kwargs: Any,
    ) -> None:
        """Saves the model as a `.keras` file; see `keras.Model.save`.

        Args:
            filepath: string or path-like, ending in `.keras`.
            overwrite, zipped, **kwargs: Keras' own.

        Raises:
            ValueError: For a file of the old `.h5` format, and for a model with
                LoRA: Keras would open either as another model, or not at all.

        Example:
        ```python
        model.save("model.keras")
        ```
        """
        check_path("filepath", filepath)
        if str(filepath).endswith((".h5", ".hdf5")):
            raise ValueError(
                "`filepath` must end in `.keras`: Keras cannot open a model "
                "that thinks from the older format. For the weights alone, use "
                f"`save_weights`. Received: filepath={shown(filepath)}"
            )
        if has_lora(self.backbone):
            # It would merge the adapters, train all weights, and lose the
            # optimizer's state.
            raise ValueError(
                "`save` cannot keep LoRA in a `.keras` file. Use "
                "`save_to_preset` or `save_weights`, which merge the adapters "
                "into the weights. Received: a model with LoRA enabled and "
                f"filepath={shown(filepath)}"
            )
        super().save(filepath, overwrite=overwrite, zipped=zipped, **kwargs)

    def save_task_weights(self, filepath: Any) -> NoReturn:
        """Refuses: there are no weights but the backbone's."""
        raise ValueError(
            "`save_task_weights` has nothing to save: a model that thinks has "
            "no weights but its backbone's. Use `save_weights`, "
            "`save_to_preset` or `backbone.save_weights`. Received: "
            f"filepath={shown(filepath)}"
        )

    def load_task_weights(self, filepath: Any) -> NoReturn:
        """Refuses: there are no weights but the backbone's."""
        raise ValueError(
            "`load_task_weights` has nothing to load: a model that thinks has "
            "no weights but its backbone's. Use `load_weights`, `from_preset` "
            f"or `backbone.load_weights`. Received: filepath={shown(filepath)}"
        )

    def export_to_transformers(self, path: Any) -> NoReturn:
        """Refuses: those files say nothing of thoughts."""
        raise ValueError(
            "`export_to_transformers` writes a model that does not think. Use "
            "`keras_coconut.write_published_model` for the layout of the "
            "published code, `export` for a file that runs and thinks, or "
            "`model.backbone.export_to_transformers` for the weights alone. "
            f"Received: path={shown(path)}"
        )

    # === Passes ===

    def call_with_cache(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuses: tokens alone leave no place for thoughts."""
        del args, kwargs
        raise ValueError(
            "`call_with_cache` reads tokens alone and leaves no place for "
            "thoughts. Use `generate`, whose passes keep what they computed, "
            "`think`, or a call of the model"
        )

    def rematerialized_call(
        self, layer_call: Any, *args: Any, **kwargs: Any
    ) -> NoReturn:
        """Refuses `keras.RematScope`, which draws dropout anew."""
        del layer_call, args, kwargs
        raise ValueError(
            "`keras.RematScope` must be left out: it computes dropout with "
            "other numbers in the backward pass. Make the model outside of "
            "it, with `rematerialize=True`"
        )


def _check_layers(model, filters) -> None:
    """Raises a `ValueError` for layers that Keras would stop at halfway."""
    if isinstance(model.backbone, keras_hub.models.SmolLM3Backbone):
        raise ValueError(
            "`quantize` needs a backbone that KerasHub can quantize and save. "
            'For less memory, open the preset with `dtype="bfloat16"`. '
            f"Received: a {type(model.backbone).__name__}"
        )
    for layer in model._flatten_layers():
        if layer.quantization_mode is not None and _is_chosen(layer, filters):
            raise ValueError(
                "`filters` must choose layers that are not quantized yet. "
                f"Received: filters={shown(filters)}, which chooses the "
                f"{layer.quantization_mode} layer {layer.name!r}"
            )


def _is_chosen(layer, filters) -> bool:
    """Whether Keras would quantize a layer."""
    if filters is None or callable(filters):
        return filters is None or filters(layer)
    patterns = [filters] if isinstance(filters, str) else filters
    # Keras refuses anything else.
    return isinstance(patterns, list | tuple) and any(
        re.search(pattern, layer.name) for pattern in patterns
    )


def _refuse_calibration(mode) -> None:
    if mode in _CALIBRATED:
        raise ValueError(
            f"`mode` must be one of {list(_QUANTIZED)}: {mode!r} calibrates on "
            "text and knows of no thoughts. To calibrate without thoughts, "
            "quantize KerasHub's own task of the same backbone, as "
            "`keras_hub.models.GPT2CausalLM(model.backbone)`. Received: "
            f"mode={mode!r}"
        )
