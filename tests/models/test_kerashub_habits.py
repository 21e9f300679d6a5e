"""What KerasHub's causal language models offer, and what ours does.

One row for each public method and attribute: it works, or it refuses and says
what to do instead. Nothing is left that does something else in silence.
"""

import inspect
import io
import pathlib
import sys
from typing import NamedTuple

import families
import keras
import keras_hub
import numpy as np
import pytest
import tiny
from keras import ops

import keras_coconut
from keras_coconut.models.cloning import has_lora

BACKEND = keras.config.backend()
TESTS = pathlib.Path(__file__).parents[1]
_TASKS = keras_hub.models
TASKS = [
    *(_TASKS.GPT2CausalLM, _TASKS.OPTCausalLM, _TASKS.GPTNeoXCausalLM),
    *(_TASKS.LlamaCausalLM, _TASKS.Llama3CausalLM, _TASKS.MistralCausalLM),
    *(_TASKS.QwenCausalLM, _TASKS.Qwen3CausalLM, _TASKS.Phi3CausalLM),
    *(_TASKS.GemmaCausalLM, _TASKS.Gemma3CausalLM, _TASKS.SmolLM3CausalLM),
]


# Of SmolLM3.
ONE_LAYER = {
    "num_layers": 1,
    "rope_layer_enabled_list": [True],
    "layer_types": ["full_attention"],
}


class Row(NamedTuple):
    """What ours does, and the test that shows it: here, or `file::test`."""

    does: str
    test: str


WORKS, REFUSES = "works", "refuses"


def works(test: str, *names: str) -> dict[str, Row]:
    return {name: Row(WORKS, test) for name in names}


def refuses(test: str, *names: str) -> dict[str, Row]:
    return {name: Row(REFUSES, test) for name in names}


TABLE = {
    # === Text and tokens ===
    **works("models/test_generation.py", "generate", "make_generate_function"),
    **works("models/test_generation.py", "generate_step"),
    **works("models/test_scoring.py", "score"),
    **refuses("test_passes_over_tokens_alone", "call_with_cache"),
    # === Calls ===
    **works("models/test_parity.py", "call"),
    **works("test_shapes_and_types", "compute_output_shape", "symbolic_call"),
    **works("test_shapes_and_types", "compute_output_spec", "compute_mask"),
    **works("test_shapes_and_types", "input", "output", "input_spec"),
    **works("test_shapes_and_types", "inputs", "outputs", "input_shape"),
    **works("test_shapes_and_types", "output_shape", "operations"),
    **works("test_shapes_and_types", "supports_masking", "path"),
    **works("test_shapes_and_types", "dtype", "compute_dtype", "input_dtype"),
    **works("test_shapes_and_types", "variable_dtype"),
    **works("test_calls_without_state", "stateless_call"),
    **works("test_calls_without_state", "stateless_compute_loss"),
    **refuses("test_remat_scope", "rematerialized_call"),
    # === Training ===
    **works("models/test_fit.py", "fit", "compile", "evaluate"),
    **works("models/test_batches.py", "predict", "train_on_batch"),
    **works("test_one_batch", "test_on_batch", "predict_on_batch"),
    **works("test_one_batch", "metrics", "metrics_names", "reset_metrics"),
    **works("test_one_batch", "metrics_variables", "get_metrics_result"),
    **works("test_steps_that_run_eagerly", "run_eagerly", "jit_compile"),
    **works("test_steps_that_run_eagerly", "train_step", "test_step"),
    **works("test_steps_that_run_eagerly", "predict_step"),
    **works("test_programs_are_made_once", "make_train_function"),
    **works("test_programs_are_made_once", "make_test_function"),
    **works("test_programs_are_made_once", "make_predict_function"),
    **works("models/test_targets.py", "compute_loss"),
    **works("test_metrics_with_and_without_weights", "compute_metrics"),
    **works("test_losses_of_layers", "losses", "add_loss"),
    **works("models/test_targets.py", "preprocess_samples"),
    **refuses("test_what_keras_itself_refuses", "add_metric"),
    # === Weights ===
    **works("test_weights_are_the_backbones", "weights", "variables"),
    **works("test_weights_are_the_backbones", "trainable_weights"),
    **works("test_weights_are_the_backbones", "trainable_variables"),
    **works("test_weights_are_the_backbones", "non_trainable_weights"),
    **works("test_weights_are_the_backbones", "non_trainable_variables"),
    **works("test_weights_are_the_backbones", "trainable", "count_params"),
    **works("test_weights_are_the_backbones", "has_task_weights"),
    **works("models/test_saving.py", "get_weights", "set_weights"),
    **works("models/test_saving.py", "save_weights", "load_weights"),
    **works("models/test_presets.py", "load_own_variables"),
    **works("models/test_saving.py", "save_own_variables"),
    **works("test_a_weight_of_ones_own", "add_weight", "add_variable"),
    **works("test_trees_of_state", "get_state_tree", "set_state_tree"),
    **works("test_quantized", "quantize", "quantization_mode"),
    **refuses("test_calibration", "get_quantization_layer_structure"),
    **refuses("test_what_keras_itself_refuses", "quantized_build"),
    **refuses("test_what_keras_itself_refuses", "quantized_call"),
    # === Files ===
    **works("models/test_saving.py", "save", "from_preset", "save_to_preset"),
    **works("models/test_saving.py", "compile_from_config"),
    **works("models/test_saving.py", "get_compile_config"),
    **works("models/test_task_checks.py", "get_config", "from_config"),
    **works("test_json", "to_json", "build", "build_from_config"),
    **works("test_json", "get_build_config"),
    **works("models/test_exporting.py", "export"),
    **refuses("test_files_of_less_than_the_model", "export_to_transformers"),
    **refuses("test_files_of_less_than_the_model", "save_task_weights"),
    **refuses("test_files_of_less_than_the_model", "load_task_weights"),
    # === Parts ===
    **works("test_layers", "layers", "get_layer", "summary"),
    **works("test_parts_stay", "backbone", "preprocessor", "dtype_policy"),
    **works("test_classes", "backbone_cls", "preprocessor_cls", "presets"),
    # === One backend's own ===
    **works("test_weights_are_the_backbones", "torch_params"),
    **works("test_weights_are_the_backbones", "named_parameters"),
    **works("test_calls_without_state", "forward", "compute_loss_and_updates"),
    **works("models/test_threads.py", "jax_state_sync"),
    **works("training/test_distribution.py", "distribute_strategy"),
    **works("training/test_distribution.py", "distribute_reduction_method"),
    **works("test_one_batch", "compiled_metrics", "compiled_loss", "loss"),
    # === Functions of a backbone, and of Keras ===
    **works("models/test_cloning.py", "keras.models.clone_model"),
    **works("test_plots", "keras.utils.model_to_dot"),
    **works("test_lora_reaches_what_was_compiled", "backbone.enable_lora"),
    **works("test_files_of_lora", "backbone.save_lora_weights"),
    **works("test_files_of_lora", "backbone.load_lora_weights"),
    **works("test_files_of_lora", "backbone.default_lora_layer_names"),
    **works("models/test_missing_import.py", "keras.saving.load_model"),
    **works("models/test_missing_import.py", "keras_hub.upload_preset"),
    **refuses("models/test_missing_import.py", "CausalLM.from_preset"),
}
# Only these backends' models have them.
ONE_BACKEND = {
    "torch": {"torch_params", "named_parameters", "forward"},
    "jax": {"jax_state_sync", "compute_loss_and_updates"},
    "tensorflow": {
        "distribute_strategy",
        "distribute_reduction_method",
        "compiled_metrics",
        "compiled_loss",
        "loss",
    },
}


def public_names() -> set[str]:
    """Every public name that Keras and KerasHub give a causal task."""
    x = keras.Input((1,))
    # A task is a functional model once it is made.
    functional = type(keras.Model(x, keras.layers.Identity()(x)))
    return {
        name
        for kind in [*TASKS, functional]
        for base in kind.__mro__
        # Not what PyTorch's modules and TensorFlow's trackables have.
        if base.__module__.split(".")[0] in ("keras", "keras_hub")
        for name in vars(base)
        if not name.startswith("_")
    }


def test_every_public_name_has_a_row():
    assert public_names() - set(TABLE) == set()


def test_every_row_is_of_something():
    elsewhere = set().union(
        *(names for backend, names in ONE_BACKEND.items() if backend != BACKEND)
    )
    known = public_names() | elsewhere
    assert {name for name in TABLE if "." not in name} - known == set()


@pytest.mark.any_backend
@pytest.mark.parametrize("name", TABLE)
def test_every_rows_test_is_there_and_names_it(name):
    test = TABLE[name].test
    if test.endswith(".py"):
        text = (TESTS / test).read_text(encoding="utf-8")
    else:
        text = inspect.getsource(getattr(sys.modules[__name__], test))
    named = name.rpartition(".")[2]
    indirectly = {
        # Keras calls these where files are saved and opened.
        "get_weights": "set_weights",
        "save_own_variables": "save_weights",
        "load_own_variables": "load_weights",
        "compile_from_config": "load_model",
        "get_compile_config": "load_model",
        "get_config": "from_config",
        # And these where batches are trained on.
        "preprocess_samples": "train_on_batch",
        "compute_loss": "fit(",
        "make_generate_function": "generate(",
        "generate_step": "generate(",
        "jax_state_sync": "Thread",
        "call": "model",
        "distribute_strategy": "distribute",
        "distribute_reduction_method": "distribute",
    }
    assert indirectly.get(named, named) in text


# === The tests of the rows ===


@pytest.fixture(scope="module")
def made():
    """A model that no test changes, and a batch."""
    model = tiny.compiled(tiny.text_model(layers=1))
    x, _, _ = model.preprocessor(tiny.problems(4), num_thoughts=[2, 0, 1, 2])
    return model, x


@pytest.fixture
def model():
    return tiny.compiled(tiny.text_model(layers=1))


def to_numpy(x):
    return ops.convert_to_numpy(ops.cast(x, "float32"))


QUESTION = dict(inputs=["start 3, +4"], num_thoughts=1, max_length=4)


def same(one, other):
    assert [id(x) for x in one] == [id(x) for x in other]


def test_weights_are_the_backbones(model):
    backbone, thinking = model.backbone, model._thinking
    same(model.trainable_weights, backbone.trainable_weights)
    same(model.trainable_variables, backbone.trainable_variables)
    same(model.non_trainable_weights, [thinking])
    same(model.non_trainable_variables, [thinking])
    same(model.weights, [thinking, *backbone.weights])
    assert {id(v) for v in model.variables} >= {id(v) for v in model.weights}
    assert model.count_params() == 2 + backbone.count_params()
    assert not model.has_task_weights()
    if BACKEND == "torch":
        # From the first `fit` on, as of KerasHub's tasks.
        model.fit(model.preprocessor(tiny.problems(1))[0], verbose=0)
        assert len(model.torch_params) == len(model.weights)
        assert len(list(model.named_parameters())) == len(model.weights)
    model.trainable = False
    assert not model.trainable_weights and not backbone.trainable
    model.trainable = True
    same(model.trainable_weights, backbone.trainable_weights)


def test_a_weight_of_ones_own(model):
    """Keras' own; it is saved with the model, and nothing reads it."""
    extra = model.add_weight(shape=(2,), initializer="zeros", name="extra")
    other = model.add_variable((1,), "zeros", name="other")
    assert {id(extra), id(other)} <= {id(w) for w in model.weights}
    assert model.has_task_weights()


@pytest.mark.parametrize(
    "dtype", ["float32", pytest.param("bfloat16", marks=pytest.mark.thorough)]
)
def test_shapes_and_types(dtype):
    model = tiny.text_model(layers=1, dtype=dtype)
    x, _, _ = model.preprocessor(tiny.problems(2), num_thoughts=1)
    shape = (*x["response_ids"].shape, model.backbone.vocabulary_size)
    assert model.compute_output_shape({k: v.shape for k, v in x.items()}) == (
        shape
    )
    symbols = {k: keras.KerasTensor(v.shape, "int32") for k, v in x.items()}
    logits = model(x)
    for spec in (
        model.compute_output_spec(symbols),
        model.symbolic_call(symbols),
    ):
        assert spec.shape == tuple(logits.shape) == shape
        assert spec.dtype == keras.backend.standardize_dtype(logits.dtype)
    assert model.compute_dtype == model.input_dtype == spec.dtype == dtype
    assert model.dtype == model.variable_dtype == dtype
    assert model.compute_mask(x, None) is None
    assert set(model.input) == set(x)
    assert set(model.input_shape) == {(None, None)}
    assert [each.name for each in model.inputs] == sorted(x)
    assert model.output_shape == model.output.shape == (None, None, shape[-1])
    assert model.outputs == [model.output]
    assert model.operations[-1] is model.latent_decoder
    assert [spec.ndim for spec in model.input_spec] == [2] * len(x)
    assert model.path == model.name
    assert model.supports_masking in (True, False)


def test_calls_without_state(made):
    model, x = made
    # Before the values are taken: on JAX a program takes them over.
    expected = tiny.logits(model, x)
    trainable = [v.value for v in model.trainable_variables]
    fixed = [v.value for v in model.non_trainable_variables]
    logits, left = model.stateless_call(trainable, fixed, x)
    np.testing.assert_allclose(to_numpy(logits), expected, atol=1e-5)
    assert len(left) == len(fixed)
    # And so with weights that are given, and not the model's.
    doubled, _ = model.stateless_call([2 * w for w in trainable], fixed, x)
    assert np.abs(to_numpy(doubled) - to_numpy(logits)).max() > 1e-2
    loss, *_ = model.stateless_compute_loss(
        trainable, fixed, [], x=x, y_pred=logits
    )
    expected = model.compute_loss(x, None, logits)
    np.testing.assert_allclose(to_numpy(loss), to_numpy(expected), atol=1e-6)
    if BACKEND == "torch":
        np.testing.assert_array_equal(
            to_numpy(model.forward(x)), to_numpy(model(x))
        )
    if BACKEND == "jax":
        found, _ = model.compute_loss_and_updates(
            trainable, fixed, [], x, None, None
        )
        np.testing.assert_allclose(to_numpy(found), to_numpy(loss), atol=1e-5)


def test_one_batch(made):
    model, x = made
    expected = model.evaluate(x, verbose=0, return_dict=True)
    model.reset_metrics()
    found = model.test_on_batch(x, return_dict=True)
    assert (
        list(found)
        == list(expected)
        == model.metrics_names[:1] + ["sparse_categorical_accuracy"]
    )
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, atol=1e-6)
        result = model.get_metrics_result()[key]
        np.testing.assert_allclose(to_numpy(result), value, atol=1e-6)
    np.testing.assert_allclose(
        model.predict_on_batch(x), model.predict(x, verbose=0), atol=1e-6
    )
    assert len(model.metrics) == len(model.metrics_names)
    assert model.metrics_variables
    if BACKEND == "tensorflow":
        # Names of older releases, which Keras keeps.
        assert model.compiled_metrics is not None
        assert callable(model.compiled_loss) and callable(model.loss)


@pytest.mark.thorough
def test_steps_that_run_eagerly(model):
    """`train_step`, `test_step` and `predict_step`, called one by one."""
    x, _, _ = model.preprocessor(tiny.problems(4), num_thoughts=1)
    start = model.get_weights()
    losses = {}
    for eagerly in (False, True):
        model.set_weights(start)
        tiny.compiled(model, run_eagerly=eagerly)
        assert model.run_eagerly == eagerly
        assert model.jit_compile in (True, False, "auto")
        losses[eagerly] = [
            *model.fit(x, verbose=0, shuffle=False, epochs=2).history["loss"],
            model.evaluate(x, verbose=0)[0],
            np.abs(model.predict(x, verbose=0)).mean(),
        ]
    np.testing.assert_allclose(losses[True], losses[False], rtol=1e-4)


def test_programs_are_made_once(made):
    model, x = made
    model.evaluate(x, verbose=0)
    for name, make in (
        ("test", model.make_test_function),
        ("predict", model.make_predict_function),
    ):
        make()
        before = getattr(model, f"{name}_function")
        make()
        assert getattr(model, f"{name}_function") is before
        make(force=True)
        assert getattr(model, f"{name}_function") is not before
    other = tiny.compiled(tiny.text_model(layers=1))
    other.make_train_function()
    before = other.train_function
    other.make_train_function()
    assert other.train_function is before


def test_another_loss_counts_from_compile_on(model):
    """Whatever was compiled with the one before."""
    x, _, weights = model.preprocessor(tiny.problems(4), num_thoughts=1)
    mean = model.evaluate(x, verbose=0)[0]
    tiny.compiled(
        model,
        loss=keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, reduction="sum"
        ),
    )
    found = [
        model.evaluate(x, verbose=0)[0],
        model.fit(x, verbose=0).history["loss"][0],
    ]
    np.testing.assert_allclose(found, mean * weights.sum(), rtol=1e-4)


def test_metrics_with_and_without_weights(model):
    """Keras' `compute_metrics`: `metrics` counts padding as KerasHub's does."""
    x, y, weights = model.preprocessor(tiny.problems(4), num_thoughts=1)
    assert (weights == 0).any()
    accuracy = keras.metrics.SparseCategoricalAccuracy
    tiny.compiled(
        model,
        metrics=[accuracy(name="all")],
        weighted_metrics=[accuracy(name="real")],
    )
    found = model.evaluate(x, verbose=0, return_dict=True)
    right = model.predict(x, verbose=0).argmax(-1) == y
    assert found["all"] == pytest.approx(right.mean(), abs=1e-6)
    expected = (right * weights).sum() / weights.sum()
    assert found["real"] == pytest.approx(expected, abs=1e-6)


def test_losses_of_layers(model):
    """A regularizer counts, as `add_loss` of a layer would."""
    x, _, _ = model.preprocessor(tiny.problems(4), num_thoughts=1)
    before = model.evaluate(x, verbose=0)[0]
    assert model.losses == []
    embeddings = model.backbone.token_embedding.embeddings
    embeddings.regularizer = keras.regularizers.L2(0.1)
    tiny.compiled(model)
    added = 0.1 * np.square(to_numpy(embeddings)).sum()
    (loss,) = model.losses
    assert float(to_numpy(loss)) == pytest.approx(added, rel=1e-5)
    assert model.evaluate(x, verbose=0)[0] - before == pytest.approx(
        added, rel=1e-4
    )


def test_trees_of_state(model):
    state = model.get_state_tree(value_format="numpy_array")
    other = tiny.compiled(tiny.text_model(layers=1, seed=1))
    other.set_state_tree(state)
    same_weights(other, model)
    assert set(state) >= {"trainable_variables", "non_trainable_variables"}


def same_weights(one, other):
    for mine, theirs in zip(one.get_weights(), other.get_weights()):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.thorough
def test_json(model):
    """`to_json`, and how Keras builds what it opens: there is nothing to do."""
    model.num_thoughts = 3
    again = keras.models.model_from_json(model.to_json())
    assert isinstance(again, keras_coconut.ContinuousThoughtLM)
    assert again.get_config() == model.get_config()
    before = model.get_weights()
    model.build_from_config(model.get_build_config())
    model.build(dict.fromkeys(model.input, (2, 3)))
    assert model.built
    for mine, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_layers(made):
    model, _ = made
    decoder = model.latent_decoder
    same(model.layers[-2:], [model.backbone, decoder])
    assert model.get_layer("latent_decoder") is decoder
    assert model.get_layer(index=-2) is model.backbone
    shown = {}
    for nested in (False, True):
        text = io.StringIO()
        model.summary(
            print_fn=lambda line, text=text: print(line, file=text),
            expand_nested=nested,
        )
        shown[nested] = text.getvalue()
        # Once, though the model holds it and the layer that thinks calls it.
        count = model.backbone.count_params()
        assert f" Trainable params: {count:,} " in shown[nested]
        assert " Non-trainable params: 2 " in shown[nested]
        assert "latent_decoder" in shown[nested]
        assert "gpt2_tokenizer" in shown[nested]
    for layer in model.backbone.transformer_layers:
        assert layer.name in shown[True] and layer.name not in shown[False]


@pytest.mark.thorough
def test_plots(made):
    """The graph, which `keras.utils.plot_model` draws of it."""
    pytest.importorskip("pydot")
    model, x = made
    dot = keras.utils.model_to_dot(model, show_shapes=True).to_string()
    for name in (*x, "latent_decoder"):
        assert f"<b>{name}</b>" in dot
    assert str(model.backbone.vocabulary_size) in dot
    dot = keras.utils.model_to_dot(model.backbone).to_string()
    for layer in model.backbone.transformer_layers:
        assert layer.name in dot


def test_classes():
    cls = keras_coconut.ContinuousThoughtLM
    assert cls.preprocessor_cls is keras_coconut.ContinuousThoughtPreprocessor
    # No one family's: KerasHub would take it for that family's task.
    assert cls.backbone_cls is None
    for task in TASKS:
        assert set(task.presets) <= set(cls.presets)
    assert "gpt2_base_en" in cls.presets and "bert_base_en" not in cls.presets


def test_parts_stay(model):
    """Another preprocessor that fits is taken; nothing else is."""
    backbone, preprocessor = model.backbone, model.preprocessor
    with pytest.raises(ValueError, match="`backbone` must stay.*another model"):
        model.backbone = tiny.text_model(layers=1).backbone
    assert model.backbone is backbone
    with pytest.raises(ValueError, match="`dtype_policy`.*from_preset.*dtype"):
        model.dtype_policy = "mixed_bfloat16"
    model.dtype_policy = "float32"
    before = model.generate(**QUESTION)
    model.preprocessor = None
    with pytest.raises(ValueError, match="without a preprocessor"):
        model.generate(**QUESTION)
    for wrong, match in (
        (preprocessor.tokenizer, "`preprocessor` must be a"),
        (tiny.text_model(layers=1, markers=False).preprocessor, "`markers`"),
    ):
        with pytest.raises(ValueError, match=match):
            model.preprocessor = wrong
    assert model.preprocessor is None
    model.preprocessor = preprocessor
    assert model.generate(**QUESTION) == before
    small = keras_hub.models.GPT2Backbone(9, 1, 2, 16, 32)
    with pytest.raises(ValueError, match="embedding for every token"):
        keras_coconut.ContinuousThoughtLM(small).preprocessor = preprocessor


def test_passes_over_tokens_alone(made):
    model, _ = made
    with pytest.raises(ValueError, match="call_with_cache.*`generate`"):
        model.call_with_cache(np.ones((1, 2)), None, 0)


def test_remat_scope():
    """Which calls `rematerialized_call` of what is made within it."""
    with keras.RematScope(mode="full"):
        model = tiny.text_model(layers=1)
    x, _, _ = model.preprocessor(tiny.problems(2), num_thoughts=1)
    with pytest.raises(ValueError, match="RematScope.*`rematerialize=True`"):
        model(x)


def test_what_keras_itself_refuses(made):
    model, _ = made
    with pytest.raises(NotImplementedError, match=r"compile\(metrics"):
        model.add_metric()
    with pytest.raises(NotImplementedError, match="quantized_build"):
        model.quantized_build(None, "int8")
    with pytest.raises(NotImplementedError, match="quantization mode"):
        model.quantized_call()


def test_files_of_less_than_the_model(made, tmp_path):
    model, _ = made
    path = tmp_path / "task.weights.h5"
    with pytest.raises(ValueError, match="no weights but.*`save_weights`"):
        model.save_task_weights(path)
    with pytest.raises(ValueError, match="no weights but.*`load_weights`"):
        model.load_task_weights(path)
    with pytest.raises(ValueError, match="does not think.*`export`"):
        model.export_to_transformers(tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_no_file_that_cannot_be_opened(model, tmp_path):
    """`save` in the older format, and of a model with LoRA."""
    for name in ("m.h5", "m.hdf5"):
        with pytest.raises(ValueError, match="`filepath` must end in `.keras`"):
            model.save(tmp_path / name)
    model.backbone.enable_lora(2)
    with pytest.raises(ValueError, match="cannot keep LoRA.*save_to_preset"):
        model.save(tmp_path / "m.keras")
    assert not list(tmp_path.iterdir())


# === LoRA and quantization ===


def lora(backbone):
    """Enables LoRA, whose weights begin where they change nothing."""
    backbone.enable_lora(2)
    random = np.random.default_rng(0)
    for variable in backbone.trainable_variables:
        if "lora" in variable.path:
            variable.assign(random.normal(0, 0.5, variable.shape))


def test_lora_reaches_what_was_compiled(model):
    """`backbone.enable_lora` after everything has run once."""
    x, _, _ = model.preprocessor(tiny.problems(4), num_thoughts=1)
    model.fit(x, verbose=0)
    found = [answers(model, x)]
    lora(model.backbone)
    found.append(answers(model, x))
    fresh = keras_coconut.ContinuousThoughtLM(
        model.backbone, model.preprocessor
    )
    for mine, theirs in zip(found[1], answers(fresh, x)):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)
    for mine, before in zip(found[1], found[0]):
        assert np.abs(mine - before).max() > 1e-2
    with pytest.raises(ValueError, match="compiled again.*enable_lora.*lora"):
        model.fit(x, verbose=0)
    tiny.compiled(model)
    frozen = [to_numpy(w) for w in model.backbone.non_trainable_weights]
    losses = model.fit(x, epochs=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    after = [to_numpy(w) for w in model.backbone.non_trainable_weights]
    for mine, theirs in zip(after, frozen, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.any_backend
@pytest.mark.parametrize(
    "family, names",
    [
        ("gpt_neo_x", ["query_key_value", "attention_output"]),
        ("smollm3", ["q_proj", "v_proj"]),
    ],
)
def test_lora_that_finds_no_layer(family, names):
    """By its default names, it freezes all weights and adds none."""
    changes = ONE_LAYER if family == "smollm3" else {"num_layers": 1}
    backbone = families.make(family, **changes)
    model = tiny.compiled(keras_coconut.ContinuousThoughtLM(backbone))
    backbone.enable_lora(2)
    x = families.batch()
    with pytest.raises(ValueError, match="a trainable weight.*target_layer_n"):
        model.fit(x, verbose=0)
    # The names that docs/backbones.md gives.
    backbone.enable_lora(2, target_layer_names=names)
    tiny.compiled(model).fit(x, verbose=0)
    added = [w for w in model.trainable_weights if "lora" in w.path]
    assert len(added) == 2 * len(names)


def answers(model, x):
    """What each kind of program computes."""
    (tokens,) = model.generate_tokens(stop_token_ids=None, **QUESTION)
    thoughts = model.think(["start 3, +4"], num_thoughts=2)
    loss = model.evaluate(x, verbose=0)
    return np.array(tokens), thoughts, model.predict(x, verbose=0), loss[0]


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore:Skipping variable loading")  # Optimizer's.
def test_files_of_lora(model, tmp_path):
    """`save_lora_weights`, `load_lora_weights`, and what they leave out.

    KerasHub's `enable_lora` trains the biases of the adapted layers, too, and
    `save_lora_weights` does not write them: docs/keras_hub.md says so.
    """
    x, _, _ = model.preprocessor(tiny.problems(4), num_thoughts=1)
    assert set(model.backbone.default_lora_layer_names()) >= {"query", "value"}
    lora(model.backbone)
    adapters, biases = trained(model)
    assert [len(adapters), len(biases)] == [4, 2]
    assert all(weight.path.endswith("bias") for weight in biases)
    # Before training, the file holds all that is new.
    again = with_adapters_of(model, tmp_path / "a.lora.h5")
    untrained = model.predict(x, verbose=0)
    np.testing.assert_allclose(again.predict(x, verbose=0), untrained, 1e-3)

    tiny.compiled(model).fit(x, epochs=3, verbose=0)
    expected = model.predict(x, verbose=0)
    again = with_adapters_of(model, tmp_path / "a.lora.h5")
    for mine, theirs in zip(trained(again)[0], adapters, strict=True):
        np.testing.assert_array_equal(to_numpy(mine), to_numpy(theirs))
    for mine, theirs in zip(trained(again)[1], biases, strict=True):
        assert np.abs(to_numpy(mine) - to_numpy(theirs)).max() > 1e-4
    assert np.abs(again.predict(x, verbose=0) - expected).max() > 1e-4
    # These hold everything, with the adapters merged into the weights.
    model.save_weights(tmp_path / "all.weights.h5")
    plain = tiny.compiled(tiny.text_model(layers=1))
    plain.load_weights(tmp_path / "all.weights.h5")
    np.testing.assert_allclose(plain.predict(x, verbose=0), expected, atol=1e-4)
    model.save_to_preset(tmp_path / "merged")
    merged = keras_coconut.ContinuousThoughtLM.from_preset(tmp_path / "merged")
    np.testing.assert_allclose(tiny.logits(merged, x), expected, atol=1e-4)
    assert not has_lora(merged.backbone)
    # A model with LoRA reads them, and then has adapters that cannot train.
    again.load_weights(tmp_path / "all.weights.h5")
    np.testing.assert_allclose(again.predict(x, verbose=0), expected, atol=1e-4)
    assert all((to_numpy(weight) == 0).all() for weight in trained(again)[0])


def trained(model):
    """The weights of LoRA among those that train, and the others."""
    weights = model.trainable_weights
    adapters = [weight for weight in weights if "lora" in weight.path]
    return adapters, [w for w in weights if "lora" not in w.path]


def with_adapters_of(model, path):
    """A model as it was before `model` trained, with its file of adapters."""
    model.backbone.save_lora_weights(path)
    other = tiny.compiled(tiny.text_model(layers=1))
    other.backbone.load_lora_weights(path)
    return other


@pytest.mark.filterwarnings("ignore:Invalid quantization mode")  # Embeddings.
@pytest.mark.filterwarnings("ignore:(?s).*`x.T` on tensors")  # Keras' own.
def test_quantized(model, tmp_path):
    """`quantize` after everything has run once, and saved in a preset."""
    x, _, _ = model.preprocessor(tiny.problems(4), num_thoughts=1)
    before = model.predict(x, verbose=0)
    model.generate(**QUESTION)
    model.quantize("int8")
    kinds = {layer.quantization_mode for layer in model._flatten_layers()}
    assert kinds == {None, "int8"}
    found = model.predict(x, verbose=0)
    assert 1e-4 < np.abs(found - before).max() < 1
    np.testing.assert_allclose(found, to_numpy(model(x)), atol=1e-4)
    assert isinstance(model.generate(**QUESTION)[0], str)
    model.save_to_preset(tmp_path)
    again = keras_coconut.ContinuousThoughtLM.from_preset(tmp_path)
    np.testing.assert_allclose(tiny.logits(again, x), found, atol=1e-4)


@pytest.mark.filterwarnings("ignore:Invalid quantization mode")  # Embeddings.
@pytest.mark.parametrize("filters", [None, ["query", "value"]])
def test_quantized_by_halves(model, filters):
    """What was quantized is refused before anything else is."""
    model.quantize("int8", filters="query")
    modes = [layer.quantization_mode for layer in model._flatten_layers()]
    with pytest.raises(ValueError, match="`filters` must.*int8 layer 'query'"):
        model.quantize("int8", filters=filters)
    now = [layer.quantization_mode for layer in model._flatten_layers()]
    assert now == modes
    model.quantize("int8", filters=lambda layer: layer.name == "value")
    names = {each.name for each in model._flatten_layers() if is_int8(each)}
    assert names == {"query", "value"}


def is_int8(layer):
    return layer.quantization_mode == "int8"


def test_a_backbone_that_cannot_be_quantized():
    backbone = families.make("smollm3", **ONE_LAYER)
    model = keras_coconut.ContinuousThoughtLM(backbone)
    for filters in (None, "proj"):
        with pytest.raises(ValueError, match="`quantize` needs.*SmolLM3Backb"):
            model.quantize("int8", filters=filters)
    assert not any(map(is_int8, model._flatten_layers()))


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore:(?s).*`x.T` on tensors")  # Keras' own.
@pytest.mark.parametrize("first", ["lora", "int8"])
def test_int8_with_lora(model, first):
    x, _, _ = model.preprocessor(tiny.problems(4), num_thoughts=1)
    if first == "lora":
        lora(model.backbone)
        expected = tiny.logits(model, x)
        model.quantize("int8")
        # Of the weights that LoRA had changed, 8 bits each.
        found = model.predict(x, verbose=0)
        assert np.abs(found - expected).max() < 0.1 * np.abs(expected).max()
    else:
        model.quantize("int8")
        lora(model.backbone)
    tiny.compiled(model)
    before = [to_numpy(w) for w in model.backbone.weights]
    model.fit(x, epochs=2, verbose=0)
    for weight, old in zip(model.backbone.weights, before, strict=True):
        trained = np.abs(to_numpy(weight) - old).max() > 1e-4
        assert trained == weight.trainable, weight.path
    assert isinstance(model.generate(**QUESTION)[0], str)


@pytest.mark.thorough
def test_calibration(model):
    """`get_quantization_layer_structure` knows what no thoughts are in."""
    for mode in ("gptq", "awq"):
        with pytest.raises(ValueError, match=f"{mode}.*no thoughts.*GPT2Caus"):
            model.get_quantization_layer_structure(mode)
    assert model.get_quantization_layer_structure("int8") is None
    with pytest.raises(ValueError, match=r"model\.backbone\.quantize"):
        model.quantize("int4")
    with pytest.raises(ValueError, match="quantization mode.*int8"):
        model.quantize("int9")


@pytest.mark.filterwarnings("ignore:Layer .*does not have a `quantize`")
@pytest.mark.filterwarnings("ignore:Invalid quantization mode")
def test_float8(model):
    """Its scales would grow without bound, however the model came by it."""
    with pytest.raises(ValueError, match="called once a step.*'float8'"):
        model.quantize("float8")
    model.backbone.quantize("float8")
    x, _, _ = model.preprocessor(tiny.problems(4), num_thoughts=1)
    tiny.compiled(model)
    with pytest.raises(ValueError, match="called once a step.*is float8"):
        model.fit(x, verbose=0)
