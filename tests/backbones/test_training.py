"""A training step, with a tied head and with a head of its own."""

import families
import keras
import numpy as np
import pytest
import slow
from keras import ops

import keras_coconut
from keras_coconut.text import batches

thorough = pytest.mark.thorough


@pytest.mark.parametrize(
    ("family", "kind"),
    [
        ("llama", "SGD"),
        pytest.param("gpt2", "Adam", marks=thorough),
        pytest.param("llama", "Adam", marks=thorough),
        pytest.param("gpt2", "SGD", marks=thorough),
        pytest.param("llama3", "SGD", marks=thorough),
        pytest.param("llama3", "Adam", marks=thorough),
    ],
)
def test_tokens_that_repeat_are_counted_each_time(family, kind):
    """An untied embedding's gradient is sparse on TensorFlow."""
    backbone = families.make(family, num_layers=2)
    model = keras_coconut.ContinuousThoughtLM(backbone)
    x = batches.pack_questions([[3, 3, 4, 3], [3, 5, 3]], [2, 1])
    x.update(batches.pack_responses([[6, 3, 3], [6, 3]]))
    variables = backbone.trainable_variables
    before = [np.array(ops.convert_to_numpy(v)) for v in variables]
    tensors = {key: ops.convert_to_tensor(value) for key, value in x.items()}
    _, gradients = slow.gradients(
        lambda: model.compute_loss(
            tensors, None, model(tensors, training=True), None
        ),
        variables,
    )
    optimizer = keras.optimizers.SGD(0.1)
    # Without its epsilon, a step of Adam would be the sign of the gradient.
    # It is added to the root of a thousandth of the gradient's square.
    epsilon = 0.01 / 0.001**0.5
    if kind == "Adam":
        optimizer = keras.optimizers.Adam(0.1, epsilon=0.01)
    model.compile(optimizer)
    model.train_on_batch(x)
    for variable, old, gradient in zip(variables, before, gradients):
        step = gradient
        if kind == "Adam":
            step = gradient / (np.abs(gradient) + epsilon)
        np.testing.assert_allclose(
            ops.convert_to_numpy(variable),
            old - 0.1 * step,
            atol=2e-5,
            err_msg=variable.path,
        )
