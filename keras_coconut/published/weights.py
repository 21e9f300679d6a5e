"""Maps tensors with Hugging Face's names to the variables of a backbone.

KerasHub's converters know the name and the layout of each variable, but they
only read. This module records what they read, and uses it in reverse to write.
"""

import dataclasses
from collections.abc import Mapping

import keras_hub
import numpy as np
from keras import ops
from keras_hub.src.utils.transformers import convert_gpt2, convert_llama3

from keras_coconut.checks import shown
from keras_coconut.published.configs import GPT2, LLAMA
from keras_coconut.published.keys import (
    HEAD,
    ROOTS,
    WRAPPER,
    WRAPPERS_EMBEDDING,
    PublishedWeights,
    check_copies,
    embedding_name,
)
from keras_coconut.published.source import Source

_CONVERTERS = {GPT2: convert_gpt2, LLAMA: convert_llama3}


def check_weights(
    source: Source, weights: PublishedWeights, arguments: Mapping
) -> PublishedWeights:
    """Returns exactly the weights that a backbone of these arguments has.

    Raises:
        ValueError: If a tensor is missing, unknown or of another shape or
            dtype, or if a head is not the embedding where it should be; names
            the key.
    """
    expected = shapes(weights.kind, arguments)
    found = dict(weights.tensors)
    if HEAD not in expected and HEAD in found:
        embedding = found[embedding_name(weights.kind)]
        check_copies(source, {HEAD: found.pop(HEAD)}, embedding)
    unknown = [name for name in found if name not in expected]
    missing = [name for name in expected if name not in found]
    for what, names in (("unknown", unknown), ("missing", missing)):
        if names:
            raise source.refuse(
                f"{len(names)} {what} keys, the first of them {shown(names[0])}"
            )
    for name, shape in expected.items():
        tensor = found[name]
        if tensor.shape != shape or not tensor.is_float:
            raise source.refuse(
                f"the key {name!r} with shape {tensor.shape} and dtype "
                f"{tensor.dtype}, where its config asks for floats of shape "
                f"{shape}"
            )
    return dataclasses.replace(weights, tensors=found)


def shapes(kind: str, arguments: Mapping) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each weight of a backbone, by its name.

    Args:
        kind: `"gpt2"` or `"llama"`.
        arguments: the arguments of the backbone's constructor.
    """
    root = ROOTS[kind]
    rows, hidden = arguments["vocabulary_size"], arguments["hidden_dim"]
    inner = arguments["intermediate_dim"]
    if kind == GPT2:
        once = {
            "wte.weight": (rows, hidden),
            "wpe.weight": (arguments["max_sequence_length"], hidden),
            "ln_f.weight": (hidden,),
            "ln_f.bias": (hidden,),
        }
        layers = "h"
        layer = {
            "ln_1.weight": (hidden,),
            "ln_1.bias": (hidden,),
            "attn.c_attn.weight": (hidden, 3 * hidden),
            "attn.c_attn.bias": (3 * hidden,),
            "attn.c_proj.weight": (hidden, hidden),
            "attn.c_proj.bias": (hidden,),
            "ln_2.weight": (hidden,),
            "ln_2.bias": (hidden,),
            "mlp.c_fc.weight": (hidden, inner),
            "mlp.c_fc.bias": (inner,),
            "mlp.c_proj.weight": (inner, hidden),
            "mlp.c_proj.bias": (hidden,),
        }
    else:
        head = hidden // arguments["num_query_heads"]
        shared = head * arguments["num_key_value_heads"]
        once = {"embed_tokens.weight": (rows, hidden), "norm.weight": (hidden,)}
        layers = "layers"
        layer = {
            "input_layernorm.weight": (hidden,),
            "self_attn.q_proj.weight": (hidden, hidden),
            "self_attn.k_proj.weight": (shared, hidden),
            "self_attn.v_proj.weight": (shared, hidden),
            "self_attn.o_proj.weight": (hidden, hidden),
            "post_attention_layernorm.weight": (hidden,),
            "mlp.gate_proj.weight": (inner, hidden),
            "mlp.up_proj.weight": (inner, hidden),
            "mlp.down_proj.weight": (hidden, inner),
        }
    found = {root + name: shape for name, shape in once.items()}
    for number in range(arguments["num_layers"]):
        for name, shape in layer.items():
            found[f"{root}{layers}.{number}.{name}"] = shape
    if kind == LLAMA and not arguments["tie_word_embeddings"]:
        found[HEAD] = (rows, hidden)
    return found


def load_weights(
    backbone: keras_hub.models.Backbone, weights: PublishedWeights
) -> None:
    """Gives a backbone weights that `check_weights` has checked."""
    _convert(backbone, weights.kind, _Reader(weights))


def _convert(backbone, kind, loader) -> None:
    # All that a converter takes from a config.
    config = {"n_embd": backbone.hidden_dim}
    _CONVERTERS[kind].convert_weights(backbone, loader, config)


class _Reader:
    """The source that KerasHub's converters read from."""

    def __init__(self, weights):
        self.weights = weights

    def port_weight(self, keras_variable, hf_weight_key, hook_fn=None):
        name = _full_name(self.weights.kind, hf_weight_key)
        value = self.weights.tensors[name].read()
        if hook_fn is not None:
            value = hook_fn(value, list(keras_variable.shape))
        keras_variable.assign(value)


class _Recorder:
    """Records which variables make up which weight."""

    def __init__(self, kind):
        self.kind = kind
        self.variables = {}

    def port_weight(self, keras_variable, hf_weight_key, hook_fn=None):
        name = _full_name(self.kind, hf_weight_key)
        self.variables.setdefault(name, []).append(keras_variable)


def _full_name(kind, name) -> str:
    if name == HEAD or name.startswith(ROOTS[kind]):
        return name
    return ROOTS[kind] + name


def take_weights(
    backbone: keras_hub.models.Backbone, kind: str, dtype: str | None = None
) -> dict[str, np.ndarray]:
    """Returns the weights of a backbone under Hugging Face's names.

    LoRA adapters are merged into their weights.

    Args:
        backbone: a backbone of KerasHub's, not quantized.
        kind: `"gpt2"` or `"llama"`.
        dtype: string. The dtype of all arrays. Defaults to `None`, those of
            the variables.
    """
    recorder = _Recorder(kind)
    _convert(backbone, kind, recorder)
    arguments = backbone.get_config()
    if kind == LLAMA:
        # Its config leaves it out.
        arguments["tie_word_embeddings"] = backbone.tie_word_embeddings
    found = {}
    for name, shape in shapes(kind, arguments).items():
        parts = [ops.convert_to_numpy(v) for v in recorder.variables[name]]
        # PyTorch's linear layers, of which Llama is made, keep (out, in).
        # GPT-2's keep (in, out), query, key and value side by side.
        turned = kind == LLAMA and name != embedding_name(kind)
        value = _join(parts, shape[::-1] if turned else shape)
        value = value.T if turned else value
        found[name] = np.ascontiguousarray(value, dtype=dtype)
    return found


def _join(parts, shape) -> np.ndarray:
    width = shape[-1] // len(parts)
    parts = [part.reshape(*shape[:-1], width) for part in parts]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)


def add_wrapper(
    weights: Mapping[str, np.ndarray], kind: str
) -> dict[str, np.ndarray]:
    """Returns weights under the keys of Coconut's own module.

    A state dict holds the embedding under each of its names.
    """
    embedding = weights[embedding_name(kind)]
    whole = {HEAD: embedding, **weights}
    return {
        **{WRAPPER + name: value for name, value in whole.items()},
        WRAPPERS_EMBEDDING: embedding,
    }
