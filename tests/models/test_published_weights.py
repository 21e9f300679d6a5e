"""Hugging Face's files in and out; tests/parity/README.md has the numbers."""

import json
import shutil

import keras_hub
import ml_dtypes
import numpy as np
import pytest
import tiny
import tiny_tokenizers
from keras import ops
from keras_hub.src.utils import preset_utils
from published_files import (
    LLAMA,
    MARKERS,
    STRETCHED,
    forget_settings,
    gpt2_config,
    gpt2_tensors,
    llama_logits,
    llama_tensors,
    plain,
    read_tensors,
    wrapped,
    write_json,
    write_model,
    write_pytorch,
    write_small,
    write_state_dict,
    write_tokenizer,
)

import keras_coconut
from keras_coconut.models import published_model
from keras_coconut.published import weights

read = keras_coconut.read_published_model
write = keras_coconut.write_published_model


# === The recorded GPT-2 ===


def write_plain(folder, config, tensors):
    write_model(folder, config, tensors)


def write_wrapped(folder, config, tensors):
    write_model(folder, config, wrapped(tensors))


def write_of_several_processes(folder, config, tensors):
    """And with the tables that earlier releases saved."""
    tensors = wrapped(tensors)
    for number in range(config["n_layer"]):
        name = f"base_causallm.transformer.h.{number}.attn."
        tensors[name + "bias"] = np.ones((1, 1, 4, 4), "uint8")
        tensors[name + "masked_bias"] = np.array(-1e4, "float32")
    tensors = {f"module.{key}": value for key, value in tensors.items()}
    write_model(folder, config, tensors)


def write_bare(folder, config, tensors):
    """As the first GPT-2 on Hugging Face."""
    tensors = {k.removeprefix("transformer."): v for k, v in tensors.items()}
    write_model(folder, config, tensors)


def write_shards(folder, config, tensors):
    index = {}
    for number, names in enumerate(
        (sorted(tensors)[::2], sorted(tensors)[1::2]), start=1
    ):
        shard = f"model-{number:05}-of-00002.safetensors"
        write_model(folder, config, {name: tensors[name] for name in names})
        (folder / "model.safetensors").rename(folder / shard)
        index |= dict.fromkeys(names, shard)
    write_json(folder / "model.safetensors.index.json", {"weight_map": index})


def write_other_name(folder, config, tensors):
    write_model(folder, config, tensors)
    (folder / "model.safetensors").rename(folder / "coconut.safetensors")


@pytest.mark.any_backend
@pytest.mark.parametrize(
    "layout",
    [
        write_plain,
        write_wrapped,
        write_of_several_processes,
        write_bare,
        write_shards,
        write_pytorch,
        write_other_name,
    ],
)
def test_weights_of_each_layout(record, tmp_path, layout):
    if layout is write_pytorch:
        pytest.importorskip("torch")
    layout(tmp_path / "in", gpt2_config(record), gpt2_tensors(record))
    backbone = plain(tmp_path / "in").backbone
    for variable, value in zip(
        tiny.parity_variables(backbone),
        tiny.parity_values(record, "weights", backbone),
    ):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable), value)


@pytest.mark.any_backend
def test_a_checkpoint_of_the_authors_code(record, tmp_path):
    """A state dict without an ending; its config is that of the old model."""
    pytest.importorskip("torch")
    path = tmp_path / "checkpoint_33"
    tensors = gpt2_tensors(record)
    write_state_dict(path, wrapped(tensors))
    config = {**gpt2_config(record), "vocab_size": 58}
    write_json(tmp_path / "other.json", config)
    for given in (
        config,
        tmp_path / "other.json",
        str(tmp_path / "other.json"),
    ):
        model = plain(path, config=given)
        assert model.backbone.vocabulary_size == 61
        np.testing.assert_array_equal(
            ops.convert_to_numpy(model.backbone.token_embedding.embeddings),
            tensors["transformer.wte.weight"],
        )
    with pytest.raises(ValueError, match=r"`path`.*no 'config.json'.*config="):
        plain(path)
    shutil.copy(tmp_path / "other.json", tmp_path / "config.json")
    assert plain(path).backbone.vocabulary_size == 61


def test_logits(record, tmp_path):
    write_wrapped(tmp_path / "in", gpt2_config(record), gpt2_tensors(record))
    x, _, _ = tiny.parity_batch(record)
    logits = tiny.logits(plain(tmp_path / "in"), x)
    real = x["response_mask"].astype(bool)
    recorded = record["logits"][:, -logits.shape[1] :]
    np.testing.assert_allclose(logits[real], recorded[real], atol=1e-5)


def test_greedy_tokens_of_a_text(record, tmp_path):
    """The marker tokens are those that the tokenizer's files name.

    In the recorded model `<|start-latent|>` comes second.
    """
    folder = write_model(
        tmp_path / "in", gpt2_config(record), wrapped(gpt2_tensors(record))
    )
    begin, end, pause, end_of_text = record["special_ids"].tolist()
    write_tokenizer(folder, dict(zip(MARKERS, (begin, end, pause))))
    model = tiny.compiled(
        keras_coconut.ContinuousThoughtLM.from_preset(folder, separator="")
    )
    x, _, _ = tiny.parity_batch(record)
    prompts = x["question_mask"].sum(1) + x["thought_mask"].sum(1)
    questions, expected = [], []
    for row in range(5):
        ids = x["question_ids"][row][x["question_mask"][row] == 1]
        assert ids[-1] == begin
        questions.append("".join(chr(32 + i) for i in ids[:-1]))
        generated = record["generated"][row]
        expected.append(generated[generated >= 0][prompts[row] :].tolist())
    tokens = model.generate_tokens(
        questions,
        num_thoughts=x["thought_mask"].sum(1),
        max_length=12,
        stop_token_ids=(end_of_text,),
    )
    assert [[end, *row] for row in tokens] == expected


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_out_again_byte_for_byte(record, tmp_path, dtype):
    tensors = {
        name: value.astype(getattr(ml_dtypes, dtype, dtype))
        for name, value in gpt2_tensors(record).items()
    }
    write_model(tmp_path / "in", gpt2_config(record), tensors)
    model = plain(tmp_path / "in", dtype=dtype)
    write(model, tmp_path / "out")
    before = read_tensors(tmp_path / "in")
    assert {name for name, _, _ in before.values()} == {dtype}
    assert read_tensors(tmp_path / "out") == before
    # Read as float32, which holds all of them exactly.
    write(plain(tmp_path / "in"), tmp_path / "again", dtype=dtype)
    assert read_tensors(tmp_path / "again") == before
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["torch_dtype"] == dtype
    assert config.items() >= gpt2_config(record).items()


@pytest.mark.any_backend
def test_a_state_dict_of_bfloat16(record, tmp_path):
    torch = pytest.importorskip("torch")
    tensors = gpt2_tensors(record)
    write_pytorch(tmp_path / "in", gpt2_config(record), tensors)
    path = tmp_path / "in" / "pytorch_model.bin"
    halves = {
        name: torch.from_numpy(value).to(torch.bfloat16)
        for name, value in tensors.items()
    }
    # In the format of before version 1.6, too.
    for is_zip in (True, False):
        torch.save(halves, path, _use_new_zipfile_serialization=is_zip)
        write(plain(tmp_path / "in"), tmp_path / "out", dtype="bfloat16")
        for name, (dtype, _, data) in read_tensors(tmp_path / "out").items():
            assert dtype == "bfloat16"
            assert data == tensors[name].astype(ml_dtypes.bfloat16).tobytes()


def test_out_as_the_authors_name_it(record, tmp_path):
    tensors = gpt2_tensors(record)
    write_model(tmp_path / "in", gpt2_config(record), tensors)
    write(plain(tmp_path / "in"), tmp_path / "out", wrapped=True)
    write_model(tmp_path / "expected", {}, wrapped(tensors))
    assert read_tensors(tmp_path / "out") == read_tensors(tmp_path / "expected")


# === Llama ===

LLAMAS = {
    "untied": LLAMA,
    "3.2": {**LLAMA, "tie_word_embeddings": True, "rope_scaling": STRETCHED},
    # As `transformers` writes it since release 5.
    "release 5": {
        **LLAMA,
        "rope_parameters": {**STRETCHED, "rope_theta": 50.0},
    },
}


@pytest.mark.parametrize("name", LLAMAS)
def test_llama(tmp_path, name):
    config = LLAMAS[name]
    tensors = llama_tensors(config)
    write_model(tmp_path / "in", config, tensors)
    model = plain(tmp_path / "in")
    ids = np.random.default_rng(1).integers(40, size=30)
    x = {
        "question_ids": ids[None, :20],
        "question_mask": np.ones((1, 20)),
        "thought_mask": np.zeros((1, 0)),
        "response_ids": ids[None, 20:],
        "response_mask": np.ones((1, 10)),
    }
    x = {key: value.astype("int32") for key, value in x.items()}
    np.testing.assert_allclose(
        tiny.logits(model, x)[0],
        llama_logits(config, tensors, ids)[20:],
        atol=1e-5,
    )
    write(model, tmp_path / "out")
    assert read_tensors(tmp_path / "out") == read_tensors(tmp_path / "in")
    again = plain(tmp_path / "out").backbone
    assert (
        again.get_config().items()
        >= {
            key: value
            for key, value in model.backbone.get_config().items()
            if key != "name"
        }.items()
    )
    assert again.tie_word_embeddings == config["tie_word_embeddings"]


# === Marker tokens ===


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("rows", "markers", "wrap", "ids", "kept", "size"),
    [
        # Rows, what the files name, of Coconut's module or not; then the
        # markers' ids, how many rows stay what they are, and how many there
        # are. The vocabulary has 58 tokens.
        (58, None, False, (58, 59, 60), 58, 61),
        (61, None, False, (58, 59, 60), 61, 61),
        (61, None, True, (58, 59, 60), 61, 61),
        (64, None, True, (58, 59, 60), 64, 64),
        (64, None, False, (58, 59, 60), 58, 64),
        (64, dict(zip(MARKERS, (60, 62, 61))), False, (60, 62, 61), 64, 64),
        (59, {"<|end-latent|>": 58}, False, (59, 58, 60), 59, 61),
        (59, {"[PAD]": 58}, False, (59, 60, 61), 59, 62),
        (62, {"[PAD]": 58}, False, (59, 60, 61), 62, 62),
    ],
)
def test_which_rows_are_the_markers(
    tmp_path, rows, markers, wrap, ids, kept, size
):
    table = write_small(tmp_path, rows, markers, wrap)
    model = read(tmp_path, separator="")
    found = ops.convert_to_numpy(model.backbone.token_embedding.embeddings)
    preprocessor = model.preprocessor
    assert ids == (
        preprocessor.begin_of_thought_id,
        preprocessor.end_of_thought_id,
        preprocessor.pause_id,
    )
    assert model.backbone.vocabulary_size == len(found) == size
    np.testing.assert_array_equal(found[:kept], table[:kept])
    assert not np.array_equal(found[: kept + 1], table[: kept + 1]) or (
        kept == rows
    )
    assert preprocessor.tokenize_questions(["!X"]) == [[1, 56, ids[0]]]


@pytest.mark.any_backend
def test_a_tokenizer_of_ones_own(tmp_path):
    tokenizer, _ = tiny_tokenizers.small_gpt2(with_prototype=False)
    write_small(tmp_path, 11)
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / name).unlink()
    with pytest.raises(
        ValueError, match=r"no files of a tokenizer.*tokenizer="
    ):
        read(tmp_path)
    model = read(tmp_path, tokenizer=tokenizer, markers=False, num_thoughts=2)
    assert model.preprocessor.begin_of_thought_id == 8
    assert (model.markers, model.num_thoughts) == (False, 2)
    with pytest.raises(ValueError, match="`tokenizer` must be left out"):
        plain(tmp_path, tokenizer=tokenizer)
    # The same tokens with markers at other ids.
    model = read(
        tmp_path, tokenizer=tokenizer, marker_tokens=["a", "b", "<|latent|>"]
    )
    assert model.preprocessor.begin_of_thought_id == 2
    with pytest.raises(ValueError, match="11 rows.*tokenizer of 264 tokens"):
        read(tmp_path, tokenizer=tiny_tokenizers.plain("gpt2"))


@pytest.mark.any_backend
def test_a_file_that_leaves_no_rows_for_the_markers(tmp_path):
    write_small(tmp_path, 60, wrap=True)
    with pytest.raises(ValueError, match="60 rows, which leaves none for"):
        read(tmp_path)


@pytest.mark.any_backend
def test_rows_that_a_fixed_vocabulary_does_not_know(tmp_path):
    preprocessor = tiny_tokenizers.preprocessor("llama")
    size = preprocessor.tokenizer.vocabulary_size()
    backbone = keras_hub.models.Llama3Backbone(size + 3, 1, 2, 8, 16, 1)
    write(keras_coconut.ContinuousThoughtLM(backbone, preprocessor), tmp_path)
    forget_settings(tmp_path)
    with pytest.raises(ValueError, match="cannot hold these; `marker_tokens="):
        read(tmp_path)
    names = preprocessor.marker_tokens
    model = read(tmp_path, marker_tokens=names)
    assert model.preprocessor.marker_tokens == names
    assert model.backbone.vocabulary_size == size + 3


# === Writing ===


def test_adapters_become_part_of_the_weights(model, record, tmp_path):
    model.backbone.enable_lora(2)
    random = np.random.default_rng(0)
    adapters = [v for v in model.backbone.weights if "lora" in v.name]
    assert adapters
    for variable in adapters:
        variable.assign(random.normal(0, 0.3, variable.shape))
    x, _, _ = tiny.parity_batch(record)
    expected = tiny.logits(tiny.compiled(model), x)
    real = x["response_mask"].astype(bool)
    recorded = record["logits"][:, -expected.shape[1] :]
    assert np.abs(expected - recorded)[real].max() > 0.1
    write(model, tmp_path)
    again = tiny.logits(plain(tmp_path), x)
    np.testing.assert_allclose(again[real], expected[real], atol=1e-5)


@pytest.mark.any_backend
def test_a_folder_that_holds_something(record, tmp_path, monkeypatch):
    write_shards(tmp_path / "in", gpt2_config(record), gpt2_tensors(record))
    model = plain(tmp_path / "in")
    for name in ("model_old.safetensors", "notes.txt"):
        (tmp_path / "in" / name).write_text("mine")
    before = {p.name: p.read_bytes() for p in (tmp_path / "in").iterdir()}

    def fail(*args):
        raise OSError("no room")

    with monkeypatch.context() as patched:
        patched.setattr(published_model, "take_weights", fail)
        with pytest.raises(OSError, match="no room"):
            write(model, tmp_path / "in")
    now = {p.name: p.read_bytes() for p in (tmp_path / "in").iterdir()}
    assert now == before
    write(model, tmp_path / "in")
    # The shards of before are replaced, and other files stay.
    assert sorted(path.name for path in (tmp_path / "in").iterdir()) == [
        "config.json",
        "model.safetensors",
        "model_old.safetensors",
        "notes.txt",
    ]
    tiny.text_model(layers=1).save_to_preset(str(tmp_path / "preset"))
    with pytest.raises(ValueError, match="`folder`.*KerasHub preset"):
        write(model, tmp_path / "preset")


@pytest.mark.any_backend
def test_a_handle_instead_of_a_folder(tmp_path, monkeypatch):
    """`hf://` downloads file by file."""
    write_small(tmp_path, 61)

    def get_file(preset, name):
        assert preset == "hf://user/model"
        if not (tmp_path / name).exists():
            raise FileNotFoundError(name)
        return str(tmp_path / name)

    monkeypatch.setattr(preset_utils, "get_file", get_file)
    models = [
        function("hf://user/model")
        for function in (read, keras_coconut.ContinuousThoughtLM.from_preset)
    ]
    expected = read(tmp_path).get_weights()
    for model in models:
        for mine, theirs in zip(model.get_weights(), expected, strict=True):
            np.testing.assert_array_equal(mine, theirs)


@pytest.mark.any_backend
def test_sizes_without_weights(record, tmp_path):
    write_model(tmp_path / "in", gpt2_config(record), gpt2_tensors(record))
    model = keras_coconut.ContinuousThoughtLM.from_preset(
        tmp_path / "in", load_weights=False, preprocessor=None, markers=False
    )
    table = ops.convert_to_numpy(model.backbone.token_embedding.embeddings)
    assert table.shape == (61, 32) and not model.markers
    assert not np.array_equal(
        table, gpt2_tensors(record)["transformer.wte.weight"]
    )
    with pytest.raises(ValueError, match="`preset`.*no files of a tokenizer"):
        keras_coconut.ContinuousThoughtLM.from_preset(tmp_path / "in")


@pytest.mark.any_backend
def test_every_weight_of_a_backbone_has_a_name(record):
    backbone = tiny.parity_backbone(record)
    written = weights.take_weights(backbone, "gpt2")
    assert sum(value.size for value in written.values()) == (
        backbone.count_params()
    )
