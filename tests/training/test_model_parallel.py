"""Devices that share a model: its layers on JAX, its optimizer on PyTorch."""

import importlib.util
import math
import pathlib

import family_layouts
import keras
import keras_hub
import numpy as np
import optimizer_parts_run
import pytest
from launched import SCRIPT, alone, assert_near, divided, run, torchrun

from keras_coconut.backbones import layouts

BACKEND = keras.config.backend()
of_jax = pytest.mark.skipif(BACKEND != "jax", reason="of JAX alone")
of_torch = pytest.mark.skipif(BACKEND != "torch", reason="of PyTorch alone")


# === What of a weight is divided ===


@pytest.mark.parametrize(
    ("path", "shape", "devices", "axis"),
    [
        ("transformer_layer_0/self_attention/query/kernel", (8, 4, 2), 4, 1),
        ("transformer_layer_0/self_attention/query/bias", (4, 2), 4, 0),
        ("transformer_layer_0/attention/value/lora_kernel_a", (8, 4, 1), 2, 1),
        ("transformer_layer_0/attention/value/lora_kernel_b", (1, 2), 2, None),
        ("decoder_block_0/attention/query/kernel", (4, 8, 2), 4, 0),
        ("a/attention_output/kernel", (4, 2, 8), 4, 0),
        ("a/attention_output/bias", (8,), 4, None),
        ("o_proj/kernel", (4, 2, 8), 4, 0),
        ("a/mlp/gate_proj/kernel", (8, 12), 4, 1),
        ("a/feedforward_gate_dense/lora_kernel_b", (1, 12), 4, 1),
        ("a/feedforward_gate_dense/lora_kernel_a", (8, 1), 4, None),
        # Groups of keys that are fewer than devices.
        ("decoder_block_0/attention/key/kernel", (2, 8, 2), 4, None),
        # A vocabulary that does not divide evenly, as one that has grown.
        ("token_embedding/embeddings", (12, 8), 4, 0),
        ("token_embedding/embeddings", (13, 8), 4, 1),
        ("token_embedding/reverse_embeddings", (8, 12), 4, 1),
        ("token_embedding/reverse_embeddings", (8, 13), 4, 0),
        ("token_embedding/lora_embeddings_a", (13, 2), 4, None),
        ("position_embedding/embeddings", (16, 8), 4, None),
        ("layer_norm/gamma", (8,), 4, None),
        ("seed_generator_state", (2,), 4, None),
    ],
)
def test_divided_axis(path, shape, devices, axis):
    assert layouts.divided_axis(path, shape, devices) == axis


@pytest.mark.parametrize(
    ("path", "shape", "sizes"),
    [
        ("a/self_attention/query/kernel", (9, 4, 2), "4,"),
        ("a/self_attention/key/kernel", (9, 2, 2), "2,"),
        ("a/ffw_linear/kernel", (8, 9), "8,"),
        ("token_embedding/embeddings", (13, 8), "13 or 8,"),
    ],
)
def test_sizes_that_do_not_divide(path, shape, sizes):
    expected = f"`model_parallel` must divide {sizes}.*{path}.*model_parallel=3"
    with pytest.raises(ValueError, match=expected):
        layouts.divided_axis(path, shape, 3)


@of_jax
def test_each_family_as_on_one_device():
    *found, refused = run(family_layouts.__file__)
    assert len(found) == 13 + 2
    for each in found:
        assert all(each["slots"]), each["name"]
        one, several = each["found"]
        np.testing.assert_allclose(
            several, one, rtol=1e-4, atol=1e-4, err_msg=each["name"]
        )
        # Of one layer: four kernels of attention or two, two of the
        # feed-forward or three, and the embedding.
        kernels = [
            path
            for path in each["divided"]
            if path.endswith(("kernel", "embeddings"))
        ]
        assert len(kernels) >= (5 if each["name"] == "gpt_neo_x" else 7)
        for path in each["whole"]:
            # Biases of sums, tables of positions, small halves of adapters.
            assert path.endswith(("bias", "lora_kernel_b", "embeddings_b")) or (
                "position_embedding" in path
            ), (each["name"], path)
    assert "`model_parallel` must divide" in refused["error"]


# === A whole curriculum ===

OPTION = {"jax": (4, "model_parallel=2"), "torch": (2, "shard_optimizer=True")}


@pytest.mark.skipif(BACKEND == "tensorflow", reason="it divides batches alone")
def test_a_curriculum_as_on_one_device(tmp_path):
    one = alone()
    saves = {"DIVIDED_RUN_SAVES": str(tmp_path)}
    first, *others = divided(*OPTION[BACKEND], **saves)
    for each in (first, *others):
        assert_near(each, one)
        # All but norms, biases and what fills up is divided by two.
        assert 0.5 <= each["state_bytes"] / one["state_bytes"] < 0.6
        if BACKEND == "jax":
            assert 0.5 <= each["weight_bytes"] / one["weight_bytes"] < 0.6
    newest = max(tmp_path.glob("*.save"))
    newest.unlink()  # As if the run had been killed before the last save.
    resumed, *_ = divided(*OPTION[BACKEND], **saves)
    assert resumed["weights"] == first["weights"]
    assert resumed["val_loss"] == first["val_loss"]
    assert 0 < len(resumed["losses"]) < len(first["losses"])


@of_jax
def test_another_backend_goes_on(tmp_path):
    """What devices divide is saved as a whole."""
    pytest.importorskip("torch")
    saves = {"DIVIDED_RUN_SAVES": str(tmp_path)}
    (first,) = divided(*OPTION["jax"], **saves)
    max(tmp_path.glob("*.save")).unlink()  # As above.
    (resumed,) = run(SCRIPT, 1, KERAS_BACKEND="torch", **saves)
    assert 0 < len(resumed["losses"]) < len(first["losses"])
    np.testing.assert_allclose(
        resumed["val_loss"], first["val_loss"], atol=1e-4
    )
    np.testing.assert_allclose(resumed["weights"], first["weights"], rtol=1e-3)


# === An optimizer in parts ===


@of_torch
def test_optimizers_in_parts():
    script = pathlib.Path(optimizer_parts_run.__file__)
    found = torchrun(2, script)
    assert len(found) == 2
    for process in found:
        for name, each in process["updates"].items():
            assert each["apart"] < 1e-6, name
            if name == "accumulation":  # Its sums are whole.
                assert each["part"] < each["whole"]
            elif name != "SGD":  # Without momentum it has none.
                # Of 39 numbers each has 21.
                assert each["part"] / each["whole"] < 0.65, name
        refused = process["refused"]
        for name in ("a subclass", "Adafactor"):
            assert "`optimizer` must be one of Keras' that" in refused[name]
        assert "`use_ema` must be `False`" in refused["averages"]
        assert "must have no state yet" in refused["built"]
        assert "must not be saved by one process" in refused["saved by one"]


# === The tables of memory ===


@pytest.fixture(scope="module")
def memory():
    path = pathlib.Path(__file__).parents[2] / "docs" / "make_memory_table.py"
    spec = importlib.util.spec_from_file_location("make_memory_table", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_table_of_memory(memory, capsys):
    memory.print_table()
    title, _, *lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 * len(memory.BACKBONES)
    assert {line.count("|") for line in lines} == {title.count("|")}


@pytest.mark.parametrize("devices", [1, 2, 4])
def test_numbers_that_a_device_has(memory, devices):
    gpt2 = memory.Backbone(2, 32, 48, 4, None, 8, 52, 16)
    llama = memory.Backbone(2, 32, 48, 4, 2, 8, 52, tied=False)
    common = {
        "vocabulary_size": 52,
        "num_layers": 2,
        "hidden_dim": 32,
        "intermediate_dim": 48,
    }
    made = {
        gpt2: keras_hub.models.GPT2Backbone(
            num_heads=4, max_sequence_length=16, **common
        ),
        llama: keras_hub.models.Llama3Backbone(
            num_query_heads=4, num_key_value_heads=2, **common
        ),
    }
    for sizes, backbone in made.items():
        held = 0
        for weight in backbone.weights:
            axis = layouts.divided_axis(weight.path, weight.shape, devices)
            parts = 1 if axis is None else devices
            held += math.prod(weight.shape) // parts
        assert memory.numbers(sizes, devices) == held


@of_jax
def test_memory_that_jax_sets_aside(memory):
    backbone, batch = memory.SMALL["GPT-2"], memory.SMALL_BATCH
    backbone, batch = backbone._replace(layers=1), batch._replace(thoughts=1)
    given, other = memory.measure(backbone, batch, 1)
    held = memory.held(backbone, batch)
    assert given == pytest.approx(held["weights"] + held["state"], rel=0.02)
    computed = held["gradients"] + held["activations"]
    assert other == pytest.approx(computed, rel=0.3)
