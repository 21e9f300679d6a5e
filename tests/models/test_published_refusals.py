"""Published files that are refused, each with what is wrong with it."""

import pathlib
import sys

import keras_hub
import numpy as np
import pytest
import tiny_tokenizers
from published_files import (
    LLAMA,
    gpt2_config,
    gpt2_tensors,
    llama_tensors,
    plain,
    write_json,
    write_model,
    write_pytorch,
    write_small,
)

import keras_coconut

read = keras_coconut.read_published_model
write = keras_coconut.write_published_model


def a_tensor(*shape):
    return np.zeros(shape, "float32")


def changed(**config):
    """A change of the config; `...` leaves a setting out."""

    def change(tensors, settings):
        settings.update(config)
        for name, value in config.items():
            if value is ...:
                del settings[name]

    return change


def with_key(key, value=None):
    """A change of the tensors; `...` leaves the key out."""

    def change(tensors, settings):
        tensors[key] = a_tensor(2, 2) if value is None else value
        if value is ...:
            del tensors[key]

    return change


def turned(key):
    """Layers of PyTorch's own kind, which GPT-2 does not use."""

    def change(tensors, settings):
        tensors[key] = np.ascontiguousarray(tensors[key].T)

    return change


REFUSED = [
    (with_key("prj.1.weight"), r"'prj.1.weight' of CODI"),
    (with_key("codi.transformer.wte.weight"), "of CODI"),
    (
        with_key("codi.base_model.model.transformer.wte.lora_A.default.weight"),
        "of CODI",
    ),
    (with_key("expainable_llm.transformer.wte.weight"), "of SIM-CoT"),
    (with_key("pj_in.weight"), "'pj_in.weight' of SIM-CoT"),
    (
        with_key("transformer.h.0.attn.c_attn.lora_A.default.weight"),
        "of adapters of LoRA.*merge_and_unload",
    ),
    (with_key("halt_head.weight"), "1 unknown keys.*'transformer.halt_head"),
    (with_key("transformer.h.2.ln_1.weight"), "unknown.*h.2.ln_1.weight"),
    (with_key("transformer.ln_f.bias", ...), "1 missing.*ln_f.bias"),
    (with_key("transformer.wte.weight", ...), "no matrix .*wte.weight"),
    (with_key("transformer.wte.weight", a_tensor(4)), "no matrix .*wte.wei"),
    (turned("transformer.h.0.mlp.c_fc.weight"), r"h.0.mlp.c_fc.weight' with"),
    (
        with_key("transformer.ln_f.bias", np.zeros(32, "int32")),
        "ln_f.bias.*I32.*floats",
    ),
    (with_key("embedding.weight", a_tensor(61, 32)), "embedding.weight.*diff"),
    (with_key("lm_head.weight", a_tensor(61, 32)), "lm_head.weight.*differs"),
    (with_key("wte.weight"), "'wte.weight' twice"),
    (
        with_key("module.transformer.wte.weight"),
        "the keys 'module.* and 'trans",
    ),
    (changed(model_type="mistral"), "model_type='mistral'"),
    (changed(model_type=...), "model_type=None"),
    (changed(model_type=["gpt2"]), "model_type="),
    (changed(n_head=...), "`n_head`"),
    (changed(n_head=5), "`n_head`"),
    (changed(n_embd="32"), "`n_embd`"),
    (changed(n_positions=10), "wpe.weight"),
    (changed(n_layer=1), "unknown.*h.1"),
    (changed(resid_pdrop=-1), "`resid_pdrop`"),
    # As Hugging Face reads it, 0.1.
    (changed(attn_pdrop=...), r"must be the same.*\[0.0, 0.0, 0.1\]"),
    (changed(activation_function="relu"), "activation_function='relu'"),
    (changed(layer_norm_epsilon=1e-6), "layer_norm_epsilon=1e-06"),
    (changed(scale_attn_weights=False), "scale_attn_weights=False"),
    (changed(add_cross_attention=True), "add_cross_attention=True"),
    (changed(registered_name="x"), "a preset of KerasHub's"),
]
NO_LLAMA = [
    (changed(hidden_act="gelu"), "hidden_act='gelu'"),
    (changed(attention_bias=True), "attention_bias=True"),
    (changed(head_dim=8), "head_dim=8"),
    (changed(num_key_value_heads=4), "k_proj.weight"),
    (changed(rms_norm_eps=0), "`rms_norm_eps`"),
    (changed(rope_theta="x"), "`rope_theta`"),
    (changed(rope_scaling={"type": "linear", "factor": 2.0}), "'linear'"),
    (changed(rope_scaling={"rope_type": "llama3"}), "`factor`"),
    (changed(rope_scaling=[1]), "`rope_scaling`"),
    (changed(tie_word_embeddings=True), "lm_head.weight.*differs"),
    (with_key("lm_head.weight", ...), "missing.*lm_head.weight"),
    (with_key("model.layers.0.mlp.up_proj.bias"), "unknown.*up_proj.bias"),
]


def check_refused(folder, match):
    with pytest.raises(ValueError, match=match) as error:
        plain(folder)
    assert type(error.value) is ValueError
    assert str(error.value).startswith("`path` must hold a GPT-2 or Llama")
    assert len(str(error.value)) < 500
    assert str(folder)[-20:] in str(error.value)


@pytest.mark.any_backend
@pytest.mark.parametrize(("change", "match"), REFUSED)
def test_gpt2_is_refused(record, tmp_path, change, match):
    tensors, config = gpt2_tensors(record), gpt2_config(record)
    change(tensors, config)
    check_refused(write_model(tmp_path / "in", config, tensors), match)


@pytest.mark.any_backend
@pytest.mark.parametrize(("change", "match"), NO_LLAMA)
def test_llama_is_refused(tmp_path, change, match):
    tensors, config = llama_tensors(LLAMA), dict(LLAMA)
    change(tensors, config)
    check_refused(write_model(tmp_path / "in", config, tensors), match)


@pytest.mark.any_backend
def test_damaged_files(record, tmp_path):
    config, tensors = gpt2_config(record), gpt2_tensors(record)
    folder = write_model(tmp_path / "in", config, tensors)
    path = folder / "model.safetensors"
    data = path.read_bytes()
    for left, match in (
        (1000, "'model.safetensors', which is damaged"),
        (0, "'model.safetensors', which is neither"),
    ):
        path.write_bytes(data[:left])
        check_refused(folder, match)
    path.unlink()
    check_refused(folder, "0 files of weights")
    for name in ("a.safetensors", "b.bin"):
        (folder / name).write_bytes(data)
    check_refused(folder, r"2 files of weights \['a.safetensors', 'b.bin'\]")
    index = folder / "model.safetensors.index.json"
    for value, match in (
        ({}, "without a 'weight_map'"),
        ({"weight_map": {"x": "c.safetensors"}}, "names 'c.safetensors'"),
        ({"weight_map": {"x": "../in/b.bin"}}, "names '../in/b.bin'"),
        ({"weight_map": {"x": "a.safetensors", "y": "b.bin"}}, "in two files"),
        ([], "no dictionary but a list"),
    ):
        write_json(index, value)
        check_refused(folder, match)
    index.write_text("{")
    check_refused(folder, "index.json', which is damaged")
    (folder / "config.json").unlink()
    check_refused(folder, "no 'config.json'")


class Harmful:
    """What a file of PyTorch could do to who loads it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return pathlib.Path.touch, (pathlib.Path(self.path),)


@pytest.mark.any_backend
def test_nothing_in_a_state_dict_is_executed(record, tmp_path):
    torch = pytest.importorskip("torch")
    folder = tmp_path / "in"
    write_pytorch(folder, gpt2_config(record), gpt2_tensors(record))
    path = folder / "pytorch_model.bin"
    touched = tmp_path / "touched"
    for is_zip in (True, False):
        torch.save(
            {"a": Harmful(str(touched))},
            path,
            _use_new_zipfile_serialization=is_zip,
        )
        check_refused(folder, "'pytorch_model.bin', which is damaged or holds")
        assert not touched.exists()
    for value, match in (
        ([1], "no state dict but a list"),
        ({"state_dict": {"a": torch.zeros(1)}}, "a dict as 'state_dict'"),
    ):
        torch.save(value, path)
        check_refused(folder, match)


@pytest.mark.any_backend
def test_a_state_dict_without_pytorch(record, tmp_path, monkeypatch):
    folder = tmp_path / "in"
    pytest.importorskip("torch")
    write_pytorch(folder, gpt2_config(record), gpt2_tensors(record))
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match="`path`.*safetensors"):
        plain(folder)


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("name", "value", "match"),
    [
        ("tokenizer.json", {}, "tokenizer.json', whose model is not 'BPE'"),
        ("tokenizer.json", {"model": {"type": "BPE"}}, "'tokenizer.json', whi"),
        ("vocab.json", {"a": 0}, "a tokenizer that 'gpt2' models do not have"),
        (
            "vocab.json",
            {"a": "0"},
            "a tokenizer that 'gpt2' models do not have",
        ),
        ("vocab.json", [], "'vocab.json', which holds no dictionary"),
        ("added_tokens.json", 3, "'added_tokens.json', which holds no"),
    ],
)
def test_files_of_another_tokenizer(tmp_path, name, value, match):
    write_small(tmp_path, 61)
    write_json(tmp_path / name, value)
    with pytest.raises(ValueError, match=f"`path`.*{match}"):
        read(tmp_path)


@pytest.mark.any_backend
def test_models_that_are_not_written(tmp_path):
    opt = keras_hub.models.OPTBackbone(40, 1, 2, 8, 16, max_sequence_length=9)
    model = keras_coconut.ContinuousThoughtLM(opt)
    with pytest.raises(ValueError, match="`model`.*Received: a OPTBackbone"):
        write(model, tmp_path / "out")
    preprocessor = tiny_tokenizers.preprocessor("qwen")
    backbone = keras_hub.models.Llama3Backbone(300, 1, 2, 8, 16, 1)
    model = keras_coconut.ContinuousThoughtLM(backbone, preprocessor)
    with pytest.raises(ValueError, match="Llama3Tokenizer.*QwenTokenizer"):
        write(model, tmp_path / "out")
    scaled = keras_hub.models.Llama3Backbone(
        *(300, 1, 2, 8, 16, 1), rope_position_scaling_factor=2.0
    )
    model = keras_coconut.ContinuousThoughtLM(scaled)
    with pytest.raises(ValueError, match="`model`.*scaling_factor=2.0"):
        write(model, tmp_path / "out")
    layer = backbone.transformer_layers[0]
    layer._feedforward_output_dense.quantize("int8")
    model = keras_coconut.ContinuousThoughtLM(backbone)
    with pytest.raises(ValueError, match="`model`.*not be quantized.*int8"):
        write(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()
