"""Files in Hugging Face's layout that the tests make themselves."""

import json

import keras_hub
import numpy as np
import tiny
from keras import ops
from safetensors.numpy import load_file, save_file

import keras_coconut

MARKERS = ("<|start-latent|>", "<|end-latent|>", "<|latent|>")
# Of a Llama of two layers with grouped heads. The epsilon is one that matters.
LLAMA = {
    "model_type": "llama",
    "vocab_size": 40,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 0.05,
    "rope_theta": 100.0,
    "tie_word_embeddings": False,
}
STRETCHED = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}


def write_json(path, value):
    path.write_text(json.dumps(value), encoding="utf-8")


def gpt2_config(record):
    vocabulary, hidden, layers, heads, longest = record["config"].tolist()
    return {
        "model_type": "gpt2",
        "vocab_size": vocabulary,
        "n_embd": hidden,
        "n_layer": layers,
        "n_head": heads,
        "n_positions": longest,
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
    }


def gpt2_tensors(record):
    """The recorded weights, which have Hugging Face's names."""
    return {
        key.removeprefix("weights/"): value
        for key, value in record.items()
        if key.startswith("weights/")
    }


def llama_tensors(config, seed=0):
    random = np.random.default_rng(seed)
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    head = hidden // config["num_attention_heads"]
    shared = head * config["num_key_value_heads"]

    def table(*shape):
        return random.normal(0, 0.3, shape).astype("float32")

    def norm():
        return (1 + table(hidden)).astype("float32")

    found = {
        "model.embed_tokens.weight": table(config["vocab_size"], hidden),
        "model.norm.weight": norm(),
    }
    for number in range(config["num_hidden_layers"]):
        layer = f"model.layers.{number}."
        found |= {
            f"{layer}input_layernorm.weight": norm(),
            f"{layer}post_attention_layernorm.weight": norm(),
            f"{layer}self_attn.q_proj.weight": table(hidden, hidden),
            f"{layer}self_attn.k_proj.weight": table(shared, hidden),
            f"{layer}self_attn.v_proj.weight": table(shared, hidden),
            f"{layer}self_attn.o_proj.weight": table(hidden, hidden),
            f"{layer}mlp.gate_proj.weight": table(inner, hidden),
            f"{layer}mlp.up_proj.weight": table(inner, hidden),
            f"{layer}mlp.down_proj.weight": table(hidden, inner),
        }
    if not config["tie_word_embeddings"]:
        found["lm_head.weight"] = table(config["vocab_size"], hidden)
    return found


def wrapped(tensors, embedding="transformer.wte.weight"):
    """The state dict of the authors' `Coconut`."""
    whole = {"lm_head.weight": tensors[embedding], **tensors}
    return {
        **{f"base_causallm.{key}": value for key, value in whole.items()},
        "embedding.weight": tensors[embedding],
    }


def write_model(folder, config, tensors):
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", config)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return folder


def write_state_dict(path, tensors):
    import torch

    torch.save({k: torch.from_numpy(v) for k, v in tensors.items()}, path)


def read_tensors(folder):
    """Name, dtype, shape and bytes of each tensor of a folder."""
    return {
        name: (value.dtype.name, value.shape, value.tobytes())
        for name, value in load_file(folder / "model.safetensors").items()
    }


def write_tokenizer(folder, markers):
    """A vocabulary of 58 tokens in which 1 is "!", and 56 is "X"."""
    tokens = ["<|endoftext|>", *map(chr, range(33, 89)), "!!"]
    write_json(
        folder / "vocab.json", {token: i for i, token in enumerate(tokens)}
    )
    (folder / "merges.txt").write_text("#version: 0.2\n! !\n", encoding="utf-8")
    if markers:
        write_json(folder / "added_tokens.json", markers)


def llama_logits(config, tensors, ids):
    """Logits (T, V) of one row, position by position and head by head."""
    heads = config["num_attention_heads"]
    size = config["hidden_size"] // heads
    group = heads // config["num_key_value_heads"]
    frequencies = _frequencies(config, size)

    def norm(x, name):
        x = x / np.sqrt((x**2).mean() + config["rms_norm_eps"])
        return x * tensors[name]

    def turn(x, position):
        first, second = x[: size // 2], x[size // 2 :]
        cos, sin = (
            np.cos(position * frequencies),
            np.sin(position * frequencies),
        )
        return np.concatenate(
            [first * cos - second * sin, second * cos + first * sin]
        )

    rows = [
        tensors["model.embed_tokens.weight"][i].astype("float64") for i in ids
    ]
    for number in range(config["num_hidden_layers"]):
        layer = f"model.layers.{number}."

        def weight(name, layer=layer):
            return tensors[f"{layer}{name}.weight"]

        keys, values, after = [], [], []
        for position, x in enumerate(rows):
            h = norm(x, f"{layer}input_layernorm.weight")
            q = (weight("self_attn.q_proj") @ h).reshape(heads, size)
            k = (weight("self_attn.k_proj") @ h).reshape(-1, size)
            keys.append([turn(one, position) for one in k])
            values.append((weight("self_attn.v_proj") @ h).reshape(-1, size))
            mixed = []
            for head in range(heads):
                query = turn(q[head], position)
                scores = np.array([key[head // group] @ query for key in keys])
                scores = np.exp(scores / np.sqrt(size))
                scores /= scores.sum()
                mixed.append(
                    sum(s * v[head // group] for s, v in zip(scores, values))
                )
            x = x + weight("self_attn.o_proj") @ np.concatenate(mixed)
            h = norm(x, f"{layer}post_attention_layernorm.weight")
            gate = weight("mlp.gate_proj") @ h
            inner = gate / (1 + np.exp(-gate)) * (weight("mlp.up_proj") @ h)
            after.append(x + weight("mlp.down_proj") @ inner)
        rows = after
    head = tensors.get("lm_head.weight", tensors["model.embed_tokens.weight"])
    return np.stack([head @ norm(x, "model.norm.weight") for x in rows])


def _frequencies(config, size):
    settings = config.get("rope_parameters") or config.get("rope_scaling") or {}
    theta = settings.get("rope_theta") or config["rope_theta"]
    found = []
    for pair in range(size // 2):
        frequency = theta ** (-2 * pair / size)
        if "factor" in settings:
            # How often the pair turns in the text of the pretraining.
            length = settings["original_max_position_embeddings"]
            turns = length * frequency / (2 * np.pi)
            low = settings["low_freq_factor"]
            part = (turns - low) / (settings["high_freq_factor"] - low)
            part = min(max(part, 0.0), 1.0)
            frequency *= part + (1 - part) / settings["factor"]
        found.append(frequency)
    return np.array(found)


def plain(folder, **kwargs):
    """Reads a model of token ids alone."""
    return tiny.compiled(
        keras_coconut.read_published_model(folder, preprocessor=None, **kwargs)
    )


def write_pytorch(folder, config, tensors):
    folder.mkdir()
    write_json(folder / "config.json", config)
    write_state_dict(folder / "pytorch_model.bin", tensors)


def forget_settings(folder):
    """Leaves files as somebody else would write them."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    del config["keras_coconut"]
    write_json(folder / "config.json", config)


def write_small(folder, rows, markers=None, wrap=False):
    """A GPT-2 with the vocabulary of `write_tokenizer` and that many rows."""
    backbone = keras_hub.models.GPT2Backbone(rows, 1, 2, 8, 16)
    model = keras_coconut.ContinuousThoughtLM(backbone)
    keras_coconut.write_published_model(model, folder, wrapped=wrap)
    write_tokenizer(folder, markers)
    return ops.convert_to_numpy(backbone.token_embedding.embeddings)
