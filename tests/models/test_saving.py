"""Presets and `.keras` files."""

import pathlib

import keras
import keras_hub
import numpy as np
import pytest
import tiny
from keras import ops
from tiny_tokenizers import small_gpt2

import keras_coconut


@pytest.fixture
def plain_preset(tmp_path):
    """A preset as KerasHub saves its own GPT-2: no marker tokens."""
    tokenizer, backbone = small_gpt2(with_prototype=True)
    preprocessor = keras_hub.models.GPT2CausalLMPreprocessor(
        tokenizer, sequence_length=16
    )
    path = str(tmp_path / "plain")
    keras_hub.models.GPT2CausalLM(backbone, preprocessor).save_to_preset(path)
    return path, tokenizer, backbone


def test_from_a_plain_preset(plain_preset):
    path, tokenizer, backbone = plain_preset
    model = keras_coconut.ContinuousThoughtLM.from_preset(path)
    assert model.backbone.vocabulary_size == tokenizer.vocabulary_size() + 3
    assert model.preprocessor.sequence_length == 32
    ids = np.arange(8)[None]
    inputs = {"token_ids": ids, "padding_mask": np.ones_like(ids)}
    np.testing.assert_allclose(
        ops.convert_to_numpy(model.backbone(inputs)),
        ops.convert_to_numpy(backbone(inputs)),
        atol=1e-6,
    )
    assert isinstance(model.generate("ab", max_length=3, num_thoughts=1), str)


def test_from_a_plain_preset_with_another_dtype(plain_preset):
    model = keras_coconut.ContinuousThoughtLM.from_preset(
        plain_preset[0], dtype="mixed_bfloat16"
    )
    assert model.backbone.compute_dtype == "bfloat16"
    assert model.backbone.token_embedding.embeddings.dtype == "float32"


def test_markers_are_those_of_the_preprocessor(text_model):
    assert text_model.markers and text_model.get_config()["markers"]
    with pytest.raises(ValueError, match="`markers`.*True.*markers=False"):
        keras_coconut.ContinuousThoughtLM(
            text_model.backbone, text_model.preprocessor, markers=False
        )


@pytest.mark.parametrize("markers", [True, False])
def test_its_own_preset(tmp_path, markers):
    text_model = tiny.text_model(markers=markers)
    text_model.num_thoughts = 2
    text_model.thought_kind = "pause"
    questions = [problem.question for problem in tiny.problems()[:5]]
    before = text_model.generate(questions, max_length=6)
    path = str(tmp_path / "own")
    text_model.save_to_preset(path)
    again = keras_coconut.ContinuousThoughtLM.from_preset(path)
    assert again.num_thoughts == 2
    assert again.markers == again.preprocessor.markers == markers
    assert again.thought_kind == "pause"
    assert again.generate(questions, max_length=6) == before
    assert again.preprocessor.sequence_length == 64


def test_an_unknown_family_is_refused_before_its_weights_are_read(tmp_path):
    backbone = keras_hub.models.BloomBackbone(
        vocabulary_size=8,
        num_layers=1,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=16,
    )
    backbone.save_to_preset(str(tmp_path))
    (tmp_path / "model.weights.h5").unlink()
    with pytest.raises(ValueError, match=r"GPT2Backbone.*BloomBackbone"):
        keras_coconut.ContinuousThoughtLM.from_preset(str(tmp_path))


def test_a_keras_file_continues_training(tmp_path, text_model):
    tiny.compiled(text_model, sampler="top_p")
    x, y, weights = text_model.preprocessor(tiny.problems()[:8], num_thoughts=1)

    def train(model):
        return model.fit(
            x, y, sample_weight=weights, epochs=3, batch_size=8, verbose=0
        ).history["loss"]

    train(text_model)
    path = str(tmp_path / "model.keras")
    text_model.save(path)
    again = keras.saving.load_model(path)
    assert isinstance(again, keras_coconut.ContinuousThoughtLM)
    assert isinstance(again.sampler, keras_hub.samplers.TopPSampler)
    assert int(again.optimizer.iterations) == 3
    np.testing.assert_allclose(train(again), train(text_model), atol=1e-5)


def test_weights(tmp_path, text_model):
    path = str(tmp_path / "model.weights.h5")
    text_model.save_weights(path)
    other = tiny.text_model(seed=1)
    question = ["start 3, +4"]
    arguments = dict(max_length=6, num_thoughts=1)
    expected = text_model.generate_tokens(question, **arguments)
    assert other.generate_tokens(question, **arguments) != expected
    other.load_weights(path)
    assert other.generate_tokens(question, **arguments) == expected


@pytest.mark.parametrize("lora", [False, True])
def test_weights_in_a_list_of_the_version_before(text_model, lora):
    """Which lacks the variable that says how the model thinks."""
    other = tiny.text_model(seed=1)
    if lora:
        text_model.backbone.enable_lora(2)
        other.backbone.enable_lora(2)
    # What `weights` was before: all layers in turn, nothing of the task's own.
    before = [ops.convert_to_numpy(w) for w in text_model.backbone.weights]
    other.num_thoughts, other.thought_kind = 3, "pause"
    other.set_weights(before)
    assert (other.num_thoughts, other.thought_kind) == (3, "pause")
    for mine, theirs in zip(other.backbone.weights, before, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(mine), theirs)
    # A list of today says how the model thinks.
    other.set_weights(text_model.get_weights())
    assert (other.num_thoughts, other.thought_kind) == (None, "continuous")
    for wrong in (before[:-1], [*before, before[0], before[0]], before[1:]):
        with pytest.raises(ValueError, match="set_weights.*length"):
            other.set_weights(wrong)
    with pytest.raises(ValueError, match="shape"):
        other.set_weights(before[::-1])


def test_the_graph_is_the_model(text_model):
    x, _, _ = text_model.preprocessor(
        tiny.problems(4), num_thoughts=[2, 0, 1, 2]
    )
    graph = keras.Model(text_model.inputs, text_model.outputs)
    np.testing.assert_allclose(
        ops.convert_to_numpy(graph(x)),
        ops.convert_to_numpy(text_model(x)),
        atol=1e-5,
    )
    assert len(graph.trainable_variables) == len(text_model.trainable_variables)


SAVED = pathlib.Path(__file__).parents[1] / "saved"


@pytest.mark.parametrize("kind", ["file", "preset"])
def test_what_an_earlier_version_saved_opens(kind):
    """See tests/saved/README.md."""
    if kind == "file":
        model = keras.models.load_model(SAVED / "gpt2.keras")
        assert int(ops.convert_to_numpy(model.optimizer.iterations)) == 1
    else:
        model = keras_coconut.ContinuousThoughtLM.from_preset(SAVED / "preset")
    assert model.num_thoughts == 3 and model.markers
    x, _, _ = model.preprocessor(tiny.problems()[:4], num_thoughts=1)
    real = x["response_mask"].astype(bool)
    np.testing.assert_allclose(
        ops.convert_to_numpy(model(x))[real],
        np.load(SAVED / "logits.npy")[real],
        atol=1e-5,
    )
