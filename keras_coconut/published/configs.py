"""`config.json`: the sizes of a published model, and a backbone's arguments."""

from collections.abc import Mapping

import keras_hub

from keras_coconut.checks import check_count, check_number, shown
from keras_coconut.published.source import Source

GPT2 = "gpt2"
LLAMA = "llama"
CLASSES = {
    GPT2: keras_hub.models.GPT2Backbone,
    LLAMA: keras_hub.models.Llama3Backbone,
}
# The key of the settings that nobody else's config has; others ignore it.
OWN = "keras_coconut"
OF_MODEL = (
    "num_thoughts",
    "thought_kind",
    "markers",
    "num_iterations",
    "rematerialize",
)
OF_PREPROCESSOR = (
    "markers",
    "marker_tokens",
    "separator",
    "sequence_length",
    "add_start_token",
)
# What KerasHub's layers compute; another value means another model. A setting
# that a config leaves out has the first value.
_ONLY: dict[str, dict[str, tuple]] = {
    GPT2: {
        "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
        "layer_norm_epsilon": (1e-5,),
        "scale_attn_weights": (True,),
        "scale_attn_by_inverse_layer_idx": (False,),
        "add_cross_attention": (False,),
        "tie_word_embeddings": (True,),
    },
    LLAMA: {
        "hidden_act": ("silu",),
        "attention_bias": (False,),
        "mlp_bias": (False,),
    },
}
# Llama 3.1 and later: the names of the arguments, and of the settings.
_STRETCHED = {
    "rope_frequency_adjustment_factor": "factor",
    "rope_low_freq_factor": "low_freq_factor",
    "rope_high_freq_factor": "high_freq_factor",
    "rope_pretraining_sequence_length": "original_max_position_embeddings",
}


def read_config(source: Source) -> dict:
    """Returns the settings in the `config.json` of a published model.

    Raises:
        ValueError: If there is none, or one of KerasHub's.
    """
    config = source.read_json("config.json")
    if config is None:
        raise source.refuse(
            "no 'config.json' beside the weights; "
            "`keras_coconut.read_published_model(..., config=...)` names "
            "another"
        )
    if "registered_name" in config:
        raise source.refuse("a preset of KerasHub's, which `from_preset` reads")
    return config


def own_settings(source: Source, config: Mapping) -> dict:
    """Returns the settings of thoughts and text that a config holds.

    Raises:
        ValueError: If they are no dictionary, or if one is unknown.
    """
    found = config.get(OWN, {})
    if not isinstance(found, Mapping):
        raise source.refuse(f"{OWN}={shown(found)} in its config")
    for name in found:
        if name not in (*OF_MODEL, *OF_PREPROCESSOR):
            raise source.refuse(
                f"the unknown setting {shown(name)} of {OWN!r} in its config"
            )
    return dict(found)


def check_config(source: Source, config: Mapping) -> str:
    """Returns the model type of a config, `"gpt2"` or `"llama"`.

    Raises:
        ValueError: If it is another, or if a setting is one that KerasHub's
            layers do not compute; names the setting.
    """
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in CLASSES:
        raise source.refuse(f"model_type={shown(kind)} in its config")
    for name, values in _ONLY[kind].items():
        if config.get(name, values[0]) not in values:
            raise source.refuse(
                f"{name}={shown(config[name])} in its config, where KerasHub "
                f"computes {name}={values[0]!r}"
            )
    return kind


def backbone_arguments(source: Source, config: Mapping) -> dict:
    """Returns the arguments of the backbone's class, but for `dtype`.

    Raises:
        ValueError: If the config lacks a setting, or holds one that is wrong
            or that KerasHub does not compute; names the setting.
    """
    kind = check_config(source, config)
    try:
        return _ARGUMENTS[kind](config)
    except ValueError as error:
        raise source.refuse(f"a config in which {error}") from error


def _size(config, name, default=None) -> int:
    value = config.get(name)
    return check_count(name, default if value is None else value, least=1)


def _gpt2_arguments(config) -> dict:
    hidden = _size(config, "n_embd")
    return {
        "vocabulary_size": _size(config, "vocab_size"),
        "num_layers": _size(config, "n_layer"),
        "num_heads": _heads(config, "n_head", hidden),
        "hidden_dim": hidden,
        "intermediate_dim": _size(config, "n_inner", 4 * hidden),
        "dropout": _dropout(config),
        "max_sequence_length": _size(config, "n_positions"),
    }


def _dropout(config) -> float:
    """Returns the one dropout that a backbone of KerasHub has."""
    first, *others = (
        check_number(name, config.get(name, 0.1), least=0)
        for name in ("resid_pdrop", "embd_pdrop", "attn_pdrop")
    )
    if others != [first, first]:
        raise ValueError(
            "`resid_pdrop`, `embd_pdrop` and `attn_pdrop` must be the same, "
            "since KerasHub's GPT-2 has one dropout. Give them one value in "
            "the config; it matters in training alone. Received: "
            f"{[first, *others]}"
        )
    return first


def _heads(config, name, hidden) -> int:
    heads = _size(config, name)
    if hidden % heads or config.get("head_dim") not in (None, hidden // heads):
        raise ValueError(
            f"`{name}` times the size of a head must be the hidden size, "
            f"{hidden}. Received: {name}={heads}, "
            f"head_dim={shown(config.get('head_dim'))}"
        )
    return heads


def _llama_arguments(config) -> dict:
    hidden = _size(config, "hidden_size")
    heads = _heads(config, "num_attention_heads", hidden)
    tied = config.get("tie_word_embeddings", False)
    return {
        "vocabulary_size": _size(config, "vocab_size"),
        "num_layers": _size(config, "num_hidden_layers"),
        "num_query_heads": heads,
        "num_key_value_heads": _size(config, "num_key_value_heads", heads),
        "hidden_dim": hidden,
        "intermediate_dim": _size(config, "intermediate_size"),
        "layer_norm_epsilon": check_number(
            "rms_norm_eps", config.get("rms_norm_eps", 1e-6), above=0
        ),
        "dropout": check_number(
            "attention_dropout", config.get("attention_dropout", 0.0), least=0
        ),
        "tie_word_embeddings": bool(tied),
        **_rotation(config),
    }


def _rotation(config) -> dict:
    """Returns the rotary settings, as `transformers` 4 and 5 write them."""
    settings = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(settings, Mapping):
        raise ValueError(
            "`rope_scaling` must be a dictionary. "
            f"Received: rope_scaling={shown(settings)}"
        )
    theta = settings.get("rope_theta", config.get("rope_theta", 10000.0))
    found = {"rope_max_wavelength": check_number("rope_theta", theta, above=0)}
    kind = settings.get("rope_type", settings.get("type", "default"))
    if kind == "llama3":
        for argument, name in _STRETCHED.items():
            found[argument] = check_number(name, settings.get(name), above=0)
        # `transformers` writes and expects a whole number.
        length = "rope_pretraining_sequence_length"
        found[length] = int(found[length])
    elif kind != "default":
        raise ValueError(
            "`rope_type` must be 'default' or 'llama3'. Received: "
            f"rope_type={shown(kind)}"
        )
    return found


_ARGUMENTS = {GPT2: _gpt2_arguments, LLAMA: _llama_arguments}


def model_type(backbone: keras_hub.models.Backbone) -> str | None:
    """Returns the model type of a backbone, or `None` if it has none."""
    if isinstance(backbone, keras_hub.models.GPT2Backbone):
        return GPT2
    if isinstance(backbone, keras_hub.models.LlamaBackbone):
        return LLAMA
    return None


def make_config(backbone: keras_hub.models.Backbone, dtype: str) -> dict:
    """Returns the `config.json` of a backbone, whose weights have a dtype.

    Raises:
        ValueError: If it is a Llama whose positions are scaled otherwise than
            those of Llama 3.1.
    """
    kind = model_type(backbone) or LLAMA
    config = {
        "model_type": kind,
        "torch_dtype": dtype,
        **{name: values[0] for name, values in _ONLY[kind].items()},
        "vocab_size": backbone.vocabulary_size,
        # Those that `transformers` takes otherwise may be no tokens here.
        "bos_token_id": None,
        "eos_token_id": None,
    }
    if kind == GPT2:
        return {
            "architectures": ["GPT2LMHeadModel"],
            **config,
            "n_positions": backbone.max_sequence_length,
            "n_embd": backbone.hidden_dim,
            "n_layer": backbone.num_layers,
            "n_head": backbone.num_heads,
            "n_inner": backbone.intermediate_dim,
            "resid_pdrop": backbone.dropout,
            "embd_pdrop": backbone.dropout,
            "attn_pdrop": backbone.dropout,
        }
    if backbone.rope_position_scaling_factor != 1:
        raise ValueError(
            "`model` must have a backbone whose positions are not scaled. "
            "Received: rope_position_scaling_factor="
            f"{backbone.rope_position_scaling_factor}"
        )
    stretched = {
        name: getattr(backbone, argument)
        for argument, name in _STRETCHED.items()
    }
    config |= {
        "hidden_size": backbone.hidden_dim,
        "intermediate_size": backbone.intermediate_dim,
        "num_hidden_layers": backbone.num_layers,
        "num_attention_heads": backbone.num_query_heads,
        "num_key_value_heads": backbone.num_key_value_heads,
        "head_dim": backbone.hidden_dim // backbone.num_query_heads,
        # The most that Llama 3 and Llama 3.1 were made for. Nothing here
        # depends on it.
        "max_position_embeddings": 8192,
        "rms_norm_eps": backbone.layer_norm_epsilon,
        "attention_dropout": backbone.dropout,
        "rope_theta": backbone.rope_max_wavelength,
        "tie_word_embeddings": backbone.tie_word_embeddings,
    }
    if stretched["factor"] is not None:
        config["max_position_embeddings"] = 131072
        config["rope_scaling"] = {"rope_type": "llama3", **stretched}
    return {"architectures": ["LlamaForCausalLM"], **config}
