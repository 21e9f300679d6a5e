"""The known families of backbones, and the `Decoder` of each."""

from typing import Any

import keras_hub

from keras_coconut.backbones import gemma, gpt2, llama
from keras_coconut.backbones.decoder import Decoder
from keras_coconut.checks import shown

_models = keras_hub.models
FAMILIES: dict[Any, type[Decoder]] = {
    _models.GPT2Backbone: gpt2.GPT2Decoder,
    _models.OPTBackbone: gpt2.OPTDecoder,
    _models.GPTNeoXBackbone: gpt2.GPTNeoXDecoder,
    # `Llama3Backbone`, of which SmolLM2 and Llama 3.2 are, is a subclass.
    _models.LlamaBackbone: llama.LlamaDecoder,
    _models.MistralBackbone: llama.MistralDecoder,
    _models.QwenBackbone: llama.QwenDecoder,
    _models.Qwen3Backbone: llama.Qwen3Decoder,
    _models.Phi3Backbone: llama.Phi3Decoder,
    _models.SmolLM3Backbone: llama.SmolLM3Decoder,
    _models.GemmaBackbone: gemma.GemmaDecoder,
    _models.Gemma3Backbone: gemma.Gemma3Decoder,
}


def describe(backbone) -> Decoder:
    """Returns the `Decoder` of a backbone.

    Raises:
        ValueError: If the backbone is of an unknown family.
    """
    check_backbone(backbone)
    family: Any = _find(type(backbone))
    return family(backbone)


def check_family(kind: type) -> None:
    """Raises a `ValueError` for a backbone class of an unknown family."""
    if _find(kind) is None:
        raise ValueError(
            "`backbone` must be of a known family: "
            f"{', '.join(family.__name__ for family in FAMILIES)}. "
            f"Received: a {kind.__name__}"
        )


def check_backbone(backbone) -> None:
    """Raises a `ValueError` for a backbone that cannot think."""
    check_family(type(backbone))
    for name in ("vision_encoder", "use_bidirectional_attention"):
        value = getattr(backbone, name, None)
        if value:
            raise ValueError(
                "`backbone` must read text from left to right. Received: a "
                f"{type(backbone).__name__} with {name}={shown(value)}"
            )


def max_sequence_length(backbone) -> int | None:
    """Returns the maximum number of positions of a row; `None` for no limit."""
    return getattr(backbone, "max_sequence_length", None)


def _find(kind: type) -> type[Decoder] | None:
    return next(
        (FAMILIES[base] for base in kind.__mro__ if base in FAMILIES), None
    )
