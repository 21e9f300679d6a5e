"""Training: what `fit` takes, and the ways to run it."""

import functools

import keras
import keras_hub
import numpy as np
import pytest
import tiny
from keras import ops

import keras_coconut

BACKEND = keras.config.backend()


def small_model(**kwargs):
    """One layer: enough for the ways to train, and quick to compile."""
    return tiny.text_model(layers=1, **kwargs)


@pytest.fixture
def text_model(small_text_model):
    return small_text_model


@functools.cache
def made_batches():
    return small_model().preprocessor(
        tiny.problems()[:8], num_thoughts=1, hidden_steps=1
    )


@pytest.fixture
def batches():
    """Two batches of four rows, one thought each."""
    x, y, weights = made_batches()
    return dict(x), y, weights


def losses(*args, model=None, epochs=3, **kwargs):
    """Of a `fit` of the model, or of the one that is compiled already."""
    model = tiny.compiled(model) if model else tiny.shared()
    kwargs.setdefault("shuffle", False)
    return model.fit(*args, epochs=epochs, verbose=0, **kwargs).history["loss"]


def test_labels_follow_from_the_inputs(batches):
    x, y, weights = batches
    given = losses(x, y, sample_weight=weights, batch_size=4)
    derived = losses(x, batch_size=4)
    np.testing.assert_allclose(given, derived, atol=1e-6)
    assert derived[-1] < derived[0]


def test_tf_data(batches):
    tf = pytest.importorskip("tensorflow")
    x, y, weights = batches
    expected = losses(x, batch_size=4)
    for data in (x, (x, y, weights)):
        dataset = tf.data.Dataset.from_tensor_slices(data).batch(4)
        found = losses(dataset)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_tf_data_of_unknown_shapes(batches):
    """Lengths that differ from batch to batch, which no trace could know."""
    tf = pytest.importorskip("tensorflow")
    model, problems = tiny.shared(), tiny.problems()
    made = [
        model.preprocessor(problems[:4], num_thoughts=thoughts)
        for thoughts in (0, 1, 2, 1)
    ]
    spec = {key: tf.TensorSpec((None, None), tf.int32) for key in made[0][0]}
    dataset = tf.data.Dataset.from_generator(
        lambda: (x for x, _, _ in made), output_signature=spec
    ).apply(tf.data.experimental.assert_cardinality(len(made)))
    losses(dataset, epochs=1)
    found = [ops.convert_to_numpy(weight) for weight in model.weights]
    by_hand = tiny.shared()
    assert by_hand is model
    for x, y, weights in made:
        by_hand.train_on_batch(x, y, weights)
    for mine, theirs in zip(found, by_hand.weights, strict=True):
        if theirs.path.endswith("key/bias"):
            # Its gradient is 0: AdamW makes steps of rounding errors.
            continue
        np.testing.assert_allclose(
            mine, ops.convert_to_numpy(theirs), atol=1e-4
        )


def test_a_torch_data_loader(batches):
    torch = pytest.importorskip("torch")
    x, _, _ = batches
    rows = [
        ({key: value[row] for key, value in x.items()},) for row in range(8)
    ]
    loader = torch.utils.data.DataLoader(rows, batch_size=4)
    found = losses(loader)
    expected = losses(x, batch_size=4)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_evaluate_and_predict(text_model, batches):
    x, y, weights = batches
    logits = tiny.logits(text_model, x).astype("float64")
    logits -= logits.max(-1, keepdims=True)
    chances = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    picked = np.take_along_axis(chances, y[..., None], -1)[..., 0]
    expected = -(picked * weights).sum() / weights.sum()
    loss = text_model.evaluate(x, verbose=0, batch_size=8, return_dict=True)
    np.testing.assert_allclose(loss["loss"], expected, atol=1e-5)
    predicted = text_model.predict(x, batch_size=3, verbose=0)
    np.testing.assert_allclose(predicted, tiny.logits(text_model, x), atol=1e-5)


def test_validation(batches):
    x, _, _ = batches
    history = (
        tiny.shared()
        .fit(x, validation_data=(x,), epochs=2, batch_size=8, verbose=0)
        .history
    )
    # After an epoch of one step, validation sees what the next step starts at.
    np.testing.assert_allclose(
        history["val_loss"][0], history["loss"][1], atol=1e-5
    )


# JAX without a compiler runs for a minute, TensorFlow as in all other tests.
@pytest.mark.parametrize(
    "jit_compile", [pytest.param(False, marks=pytest.mark.thorough), True]
)
def test_jit_compile(batches, jit_compile):
    if BACKEND == "torch" and jit_compile:
        pytest.skip("torch.compile takes minutes and is not promised")
    x, _, _ = batches
    model = small_model()
    model.compile(keras.optimizers.AdamW(1e-2), jit_compile=jit_compile)
    found = model.fit(x, epochs=3, batch_size=4, shuffle=False, verbose=0)
    if BACKEND == "jax":
        # Without a compiler it would run for a minute.
        expected = losses(x, batch_size=4)
    else:
        eager = small_model()
        eager.compile(keras.optimizers.AdamW(1e-2), run_eagerly=True)
        options = dict(epochs=3, batch_size=4, shuffle=False, verbose=0)
        expected = eager.fit(x, **options).history["loss"]
    np.testing.assert_allclose(found.history["loss"], expected, atol=1e-4)


def test_steps_per_execution(batches):
    x, _, _ = batches
    model = small_model()
    tiny.compiled(model, steps_per_execution=2)
    if BACKEND == "torch":
        with pytest.raises(ValueError, match="1 with the PyTorch backend"):
            model.fit(x, batch_size=4, verbose=0)
        return
    model.fit(x, epochs=3, batch_size=4, shuffle=False, verbose=0)
    losses(x, batch_size=4, model=(by_ones := small_model()))
    assert int(model.optimizer.iterations) == 6
    for mine, theirs in zip(model.weights, by_ones.weights):
        np.testing.assert_allclose(
            ops.convert_to_numpy(mine), ops.convert_to_numpy(theirs), atol=1e-4
        )


def test_gradient_accumulation(batches):
    x, y, weights = batches
    model = small_model()
    tiny.compiled(
        model, keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)
    )
    model.fit(x, batch_size=4, epochs=1, shuffle=False, verbose=0)
    # By hand: the mean of the two batches' gradients, applied once.
    expected = small_model()
    halves = []
    for rows in (slice(0, 4), slice(4, 8)):
        half = {
            key: ops.convert_to_tensor(value[rows]) for key, value in x.items()
        }
        halves.append(
            tiny.gradients(
                expected,
                half,
                ops.convert_to_tensor(y[rows]),
                ops.convert_to_tensor(weights[rows]),
                expected.trainable_variables,
            )
        )
    for after, before, *pair in zip(
        model.trainable_variables, expected.trainable_variables, *halves
    ):
        np.testing.assert_allclose(
            ops.convert_to_numpy(after),
            ops.convert_to_numpy(before) - 0.05 * sum(pair),
            atol=1e-5,
        )


def test_what_stops_a_step_leaves_the_model(batches, monkeypatch):
    """Such as Ctrl-C while JAX compiles, when Keras holds the variables."""
    x, _, _ = batches
    model = tiny.compiled(small_model())
    model.fit(x, batch_size=8, verbose=0)
    before = model.get_weights()

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(model.latent_decoder), "call", stop)
        with pytest.raises(KeyboardInterrupt):
            model.fit(x, batch_size=4, verbose=0)
    for one, two in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, two)
    model.fit(x, batch_size=4, verbose=0)
    assert int(model.optimizer.iterations) == 1 + 2


@pytest.mark.thorough
def test_dropout(batches):
    """Random while training, absent otherwise, and it trains."""
    x, _, _ = batches
    model = small_model(dropout=0.3)
    first, second = (
        ops.convert_to_numpy(model(x, training=True)) for _ in range(2)
    )
    assert np.abs(first - second).max() > 1e-2
    np.testing.assert_allclose(
        tiny.logits(model, x),
        tiny.logits(small_model(), x),
        atol=1e-5,
    )
    found = losses(x, model=model, epochs=20, batch_size=8)
    assert np.isfinite(found).all() and found[-1] < 0.7 * found[0]


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(batches, dtype):
    x, _, _ = batches
    model = small_model(dtype=dtype)
    if BACKEND == "jax" and dtype == "mixed_float16":
        # Its fused attention; KerasHub's Llama ends so, too.
        with pytest.raises(ValueError, match="not supported .* on CPU"):
            model.predict(x, verbose=0)
        return
    logits = model.predict(x, verbose=0)
    expected = small_model().predict(x, verbose=0)
    # bfloat16 keeps 8 bits: differences of a few hundredths of the range;
    # float16 keeps 11.
    assert np.abs(logits - expected).max() < 0.05 * np.abs(expected).max()
    found = losses(x, model=model, epochs=10, batch_size=8)
    assert np.isfinite(found).all() and found[-1] < 0.7 * found[0]
    # Scaled, so that small gradients survive in float16.
    scales = isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert scales == (dtype == "mixed_float16")
    assert model.generate("start 3, +4", max_length=4, num_thoughts=2)


def test_lora(batches):
    x, _, _ = batches
    model = small_model()
    model.backbone.enable_lora(2)
    before = {v.path: ops.convert_to_numpy(v) for v in model.backbone.variables}
    found = losses(x, model=model, epochs=10, batch_size=8)
    assert found[-1] < found[0]
    changed = {
        v.path
        for v in model.backbone.variables
        if np.abs(ops.convert_to_numpy(v) - before[v.path]).max() > 0
    }
    assert any("lora" in path for path in changed)
    kernels = {path for path in changed if path.endswith("query/kernel")}
    assert not kernels


def test_a_frozen_backbone_part(batches):
    x, _, _ = batches
    model = small_model()
    model.backbone.token_embedding.trainable = False
    before = ops.convert_to_numpy(model.backbone.token_embedding.embeddings)
    losses(x, model=model, batch_size=8)
    after = ops.convert_to_numpy(model.backbone.token_embedding.embeddings)
    np.testing.assert_array_equal(before, after)


def spoiled(x, key, row, column, value):
    x = {k: v.copy() for k, v in x.items()}
    x[key][row, column] = value
    return x


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x: spoiled(x, "question_ids", 0, -1, 999), "vocabulary.*999"),
        (lambda x: spoiled(x, "response_ids", 0, 0, -1), "vocabulary.*-1"),
        (lambda x: spoiled(x, "question_mask", 1, -1, 0), "no holes.*row 1"),
        (
            lambda x: {**x, "thought_mask": np.tile([[0, 1]], (8, 1))},
            "thought_mask.*no holes.*row 0",
        ),
        (lambda x: spoiled(x, "response_mask", 3, 1, 0), "no holes.*row 3"),
        (lambda x: spoiled(x, "thought_mask", 0, 0, 2), "0 and 1.*2"),
        (
            lambda x: {**x, "thought_mask": x["thought_mask"] * 0.5},
            "whole numbers.*float",
        ),
        (
            lambda x: {**x, "question_mask": x["question_mask"][:, :-1]},
            "question_mask.*shape of `question_ids`",
        ),
        (
            lambda x: {**x, "thought_mask": x["thought_mask"][:-1]},
            "thought_mask.*batch size",
        ),
        (
            lambda x: {**x, "thought_mask": x["thought_mask"][:, 0]},
            "thought_mask.*two dimensions",
        ),
        (
            lambda x: {**x, "thought_mask": np.ones((8, 60), "int32")},
            "maximum length of 64",
        ),
        (
            lambda x: {k: v for k, v in x.items() if k != "thought_mask"},
            "with the keys",
        ),
        (lambda x: x["question_ids"], "dictionary with the keys"),
        (lambda x: ["start 3, +4"], "dictionary with the keys"),
        (
            lambda x: {**x, "response_mask": x["response_mask"] * 0},
            "at least one token",
        ),
    ],
)
def test_bad_arrays(text_model, batches, spoil, message):
    before = [ops.convert_to_numpy(v) for v in text_model.weights]
    for method in (text_model.fit, text_model.evaluate, text_model.predict):
        with pytest.raises(ValueError, match=f"(?s){message}"):
            method(spoil(batches[0]), verbose=0)
    for old, new in zip(before, text_model.weights):
        np.testing.assert_array_equal(old, ops.convert_to_numpy(new))


def test_more_thoughts_than_slots(text_model):
    with pytest.raises(ValueError, match="`slots` must be.*from 3 to.*=2"):
        text_model.preprocessor.pack(
            text_model.preprocessor.tokenize_problems(tiny.problems()[:1]),
            [keras_coconut.curriculum.Layout(0, 3)],
            slots=2,
        )


def test_a_preprocessor_that_is_too_large_for_the_backbone(text_model, record):
    with pytest.raises(ValueError, match="(?s)embedding.*vocabulary_size=61"):
        keras_coconut.ContinuousThoughtLM(
            tiny.parity_backbone(record), text_model.preprocessor
        )


def test_lengths_that_are_not_known(text_model, batches):
    """As in a function of the user's own that TensorFlow traces."""
    if BACKEND != "tensorflow":
        pytest.skip("only TensorFlow traces with unknown shapes")
    import tensorflow as tf

    x, _, _ = batches
    spec = {key: tf.TensorSpec((None, None), tf.int32) for key in x}
    traced = tf.function(text_model, input_signature=[spec])
    with pytest.raises(ValueError, match="a length that is known"):
        traced(x)


@pytest.mark.parametrize("count", [-1, 1.5])
def test_a_bad_number_of_thoughts(text_model, count):
    with pytest.raises(ValueError, match="num_thoughts.*from 0 to"):
        keras_coconut.ContinuousThoughtLM(
            text_model.backbone, text_model.preprocessor, num_thoughts=count
        )


@pytest.mark.parametrize(
    "loss",
    [
        "sparse_categorical_crossentropy",
        keras.losses.SparseCategoricalCrossentropy(),
        keras.losses.sparse_categorical_crossentropy,
        pytest.param(
            "SparseCategoricalCrossentropy", marks=pytest.mark.thorough
        ),
    ],
    ids=["name", "object", "function", "class"],
)
def test_a_loss_of_probabilities(loss):
    """Keras would take logits for probabilities: the logarithm is NaN."""
    model = small_model()
    before = model.optimizer
    with pytest.raises(ValueError, match="`loss` must read.*from_logits=True"):
        model.compile("adam", loss)
    assert model.optimizer is before


def test_a_loss_that_is_not_there():
    """With `None`, Keras would keep the loss of the first `compile`."""
    with pytest.raises(ValueError, match="`loss` must be.*loss=None"):
        small_model().compile(loss=None)


def test_other_losses(batches, tmp_path):
    """A function of one's own, and Keras' loss of logits, also from a file.

    Both are sums over the labels, divided by the number of positions.
    """
    x, _, weights = batches
    model = small_model()

    def own(y, logits):
        return keras.losses.sparse_categorical_crossentropy(
            y, logits, from_logits=True
        )

    kerass = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    found = []
    for loss in ("auto", own, kerass):
        tiny.compiled(model, loss=loss)
        found.append(model.evaluate(x, verbose=0)[0])
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    found.append(again.evaluate(x, verbose=0)[0])
    expected = found[0] * weights.sum() / weights.size
    np.testing.assert_allclose(found[1:], expected, rtol=1e-5)
    assert expected < 0.99 * found[0]


def test_no_metrics(batches):
    x, _, _ = batches
    model = tiny.compiled(small_model(), weighted_metrics=None)
    assert list(model.evaluate(x, verbose=0, return_dict=True)) == ["loss"]


@pytest.mark.any_backend
@pytest.mark.parametrize(
    "sampler",
    ["nope", "Greedy", "speculative", None, 3, keras_hub.samplers.BeamSampler],
    ids=tiny.short,
)
def test_no_sampler(sampler):
    model = small_model()
    before = model.sampler
    with pytest.raises(ValueError, match="`sampler` must be one.*greedy.*Rec"):
        model.compile(sampler=sampler)
    assert model.sampler is before


@pytest.mark.any_backend
def test_an_argument_of_the_backbone(tmp_path):
    """Keras would ignore it."""
    model = small_model()
    with pytest.raises(ValueError, match="`dropout` is no.*of the backbone"):
        keras_coconut.ContinuousThoughtLM(model.backbone, dropout=0.1)
    model.save_to_preset(tmp_path)
    with pytest.raises(ValueError, match="`dropout` is no.*of the backbone"):
        keras_coconut.ContinuousThoughtLM.from_preset(tmp_path, dropout=0.1)
