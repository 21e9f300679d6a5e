"""The gradient of a chain of thoughts, against that of the loop run plainly."""

import keras
import numpy as np
import pytest
import tiny
from keras import ops
from test_thoughts import Step, batch

from keras_coconut.latent import control

BACKEND = keras.config.backend()
traced = pytest.mark.skipif(
    BACKEND == "torch", reason="PyTorch runs the loop plainly"
)


@pytest.fixture
def plainly(monkeypatch):
    """A function after which autodiff goes through the loop itself."""

    def loop(body, state, times, at_most):
        for number in range(at_most):
            state = body(number, state)
        return state

    def switch():
        monkeypatch.setattr(control, "loop", loop)
        monkeypatch.setattr(
            control, "with_gradient", lambda f, gradient, *inputs: f(*inputs)
        )

    return switch


@traced
@pytest.mark.parametrize(
    "layers, counts, idle, rematerialize, markers",
    [
        (2, [2, 0, 1, 3], 1, True, False),
        (6, [2, 0, 1], 0, False, True),
    ],
)
def test_the_gradient(plainly, layers, counts, idle, rematerialize, markers):
    results = []
    for prepare in (lambda: None, plainly):
        prepare()
        keras.utils.set_random_seed(7)
        model = tiny.text_model(
            layers, 0.3, rematerialize=rematerialize, markers=markers
        )
        step = Step(model, batch(model, counts, idle))
        results.append(step.gradient())
    (loss, gradient), (plain_loss, plain_gradient) = results
    assert loss == pytest.approx(plain_loss, abs=1e-5)
    for found, expected in zip(gradient, plain_gradient, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


@traced
def test_a_second_derivative_is_right_or_refused(plainly):
    text_model = tiny.text_model(layers=1)
    x, _, _ = batch(text_model, [2, 1])
    kernel = text_model.backbone.transformer_layers[
        0
    ]._feedforward_output_dense.kernel
    if BACKEND == "tensorflow":
        import tensorflow as tf

        def second():
            with tf.GradientTape() as outer:
                with tf.GradientTape() as inner:
                    loss = ops.mean(text_model(x, training=True) ** 2)
                slope = inner.gradient(loss, kernel.value)
                slope = ops.sum(slope**2)
            return outer.gradient(slope, kernel.value)

        found = [tf.function(second)()]
    else:
        import jax

        weights = [v.value for v in text_model.trainable_variables]
        others = [v.value for v in text_model.non_trainable_variables]
        paths = [v.path for v in text_model.trainable_variables]
        place = paths.index(kernel.path)

        def loss(value):
            given = [*weights[:place], value, *weights[place + 1 :]]
            logits, _ = text_model.stateless_call(
                given, others, x, training=True
            )
            return ops.mean(logits**2)

        def second():
            return jax.grad(lambda k: ops.sum(jax.grad(loss)(k) ** 2))(
                weights[place]
            )

        found = [second()]
        # A loop with an end that is not known has none.
        with pytest.raises(ValueError, match="Reverse-mode differentiation"):
            jax.jit(second)()
    plainly()
    expected = second()
    assert float(ops.max(ops.abs(expected))) > 1e-4
    for each in found:
        np.testing.assert_allclose(
            ops.convert_to_numpy(each), expected, rtol=1e-3, atol=1e-6
        )


def test_asking_draws_nothing():
    """Else a validation would change the training that goes on behind it."""
    model = tiny.compiled(tiny.text_model(layers=1, dropout=0.3))
    x, y, weights = model.preprocessor(tiny.problems(2), num_thoughts=2)
    seeds = [v for v in model.variables if "seed" in v.path]
    assert seeds

    def states():
        return [ops.convert_to_numpy(seed).tolist() for seed in seeds]

    before = states()
    model.predict_on_batch(x)
    model.evaluate(x, y, sample_weight=weights, verbose=0)
    model.think("1 + 2?", num_thoughts=2)
    model.generate("1 + 2?", num_thoughts=2, max_length=2)
    assert states() == before
    if keras.config.backend() != "torch":
        # There PyTorch's own generator draws.
        model.train_on_batch(x, y, weights)
        assert states() != before
