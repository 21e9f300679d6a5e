"""Thoughts: their gradient, their number of passes and their one program."""

import re

import keras
import numpy as np
import pytest
import tiny
from keras import ops

from keras_coconut.curriculum import Layout
from keras_coconut.latent import coconut
from keras_coconut.latent.forward import Forward

BACKEND = keras.config.backend()


def batch(model, counts, idle=0):
    """Rows that think as often as `counts` says, with idle slots to spare."""
    tokenized = model.preprocessor.tokenize_problems(
        tiny.problems()[: len(counts)]
    )
    return model.preprocessor.pack(
        tokenized,
        [Layout(0, count) for count in counts],
        slots=max(counts) + idle,
    )


class Step:
    """The loss and the gradient of one compiled training step, repeatable."""

    def __init__(self, model, data):
        self.model, self.data = model, data
        tiny.compiled(model, keras.optimizers.SGD(1.0))
        self.random = [
            (variable, ops.convert_to_numpy(variable))
            for variable in model.non_trainable_variables
        ]
        self.start = self.weights()

    def weights(self):
        return [
            np.array(ops.convert_to_numpy(variable))
            for variable in self.model.trainable_variables
        ]

    def __call__(self, weights):
        """Returns the loss at given weights, always with the same dropout."""
        for variable, value in zip(self.model.trainable_variables, weights):
            variable.assign(value)
        for variable, value in self.random:
            variable.assign(value)
        keras.utils.set_random_seed(5)  # PyTorch draws from its own generator.
        # Keras 3.13 would give the mean over all batches so far.
        self.model.reset_metrics()
        return float(self.model.train_on_batch(*self.data)[0])

    def gradient(self):
        """Returns the loss and its gradient, as a step of size 1 shows it."""
        loss = self(self.start)
        return loss, [a - b for a, b in zip(self.start, self.weights())]


@pytest.mark.parametrize(
    "layers, dropout, lora, markers",
    [
        (2, 0.3, "all", True),
        *(
            pytest.param(*case, marks=pytest.mark.thorough)
            for case in (
                (1, 0.0, None, False),
                (2, 0.0, None, True),
                (2, 0.3, None, True),
                (2, 0.0, "all", True),
                (6, 0.0, "one", True),
            )
        ),
    ],
)
def test_the_gradient_is_the_slope(layers, dropout, lora, markers):
    """Against differences of the loss, along the gradient and across it."""
    model = tiny.text_model(layers, dropout, seed=3, markers=markers)
    if lora:
        if lora == "all":
            model.backbone.enable_lora(2)
        else:
            attention = model.backbone.transformer_layers[
                0
            ]._self_attention_layer
            attention.query_dense.enable_lora(2)
        random = np.random.default_rng(1)
        for weight in model.backbone.trainable_variables:
            # Half of them begin at 0, where the others have no gradient.
            weight.assign(random.normal(0, 0.3, weight.shape))
    step = Step(model, batch(model, [0, 1, 2, 3], idle=1))
    _, gradient = step.gradient()
    random = np.random.default_rng(0)
    directions = [gradient]
    for _ in range(2):
        noise = [random.normal(0, 1, g.shape) for g in gradient]
        directions.append([g + n / 20 for g, n in zip(gradient, noise)])
    for direction in directions:
        size = np.sqrt(sum((d**2).sum() for d in direction))
        unit = [d / size for d in direction]
        reach = 4e-3
        ahead = step([w + reach * d for w, d in zip(step.start, unit)])
        behind = step([w - reach * d for w, d in zip(step.start, unit)])
        slope = (ahead - behind) / (2 * reach)
        expected = sum((g * d).sum() for g, d in zip(gradient, unit))
        assert slope == pytest.approx(expected, rel=0.02)


def test_thoughts_carry_gradient(small_text_model, monkeypatch):
    """Else the tests above could pass without any flowing through them."""
    text_model = small_text_model
    data = batch(text_model, [3, 3])
    step = Step(text_model, data)
    _, gradient = step.gradient()
    kernel = text_model.backbone.transformer_layers[
        0
    ]._feedforward_output_dense.kernel
    index = [v.path for v in text_model.trainable_variables].index(kernel.path)
    whole = gradient[index]

    # The same, with thoughts that take no gradient.
    def cut(*args):
        hidden, span = think(*args)
        keys, values = (
            tuple(map(ops.stop_gradient, tensors)) for tensors in span[:2]
        )
        return hidden, span._replace(keys=keys, values=values)

    think = coconut.think
    monkeypatch.setattr(coconut, "think", cut)
    step = Step(text_model, data)
    text_model.make_train_function(force=True)
    for variable, value in zip(text_model.trainable_variables, step.start):
        variable.assign(value)
    _, gradient = step.gradient()
    assert np.abs(whole - gradient[index]).max() > 1e-3


@pytest.mark.parametrize(
    "dropout, iterations",
    [
        (0.3, None),
        pytest.param(0.0, None, marks=pytest.mark.thorough),
        pytest.param(0.3, 2, marks=pytest.mark.thorough),
    ],
)
def test_rematerialized_is_the_same(dropout, iterations):
    """The same loss and gradient, also where numbers are drawn again."""
    results = []
    for rematerialize in (False, True):
        keras.utils.set_random_seed(7)
        model = tiny.text_model(
            layers=2,
            dropout=dropout,
            rematerialize=rematerialize,
            num_iterations=iterations,
        )
        step = Step(model, batch(model, [0, 2, 1]))
        results.append(step.gradient())
    (loss, gradient), (other_loss, other_gradient) = results
    assert other_loss == pytest.approx(loss, abs=1e-5)
    for one, other in zip(gradient, other_gradient):
        np.testing.assert_allclose(other, one, atol=1e-5)


@pytest.mark.skipif(BACKEND != "torch", reason="PyTorch runs what others trace")
def test_rematerialized_layers_run_again(monkeypatch):
    from keras_coconut.backbones.gpt2 import GPT2Block

    found = []
    for rematerialize in (False, True):
        model = tiny.text_model(rematerialize=rematerialize)
        step = Step(model, batch(model, [0, 2]))
        step(step.start)  # Keras runs the model once more to build it.
        layers, project = [], GPT2Block.project

        def counted(*args, project=project, layers=layers):
            layers.append(args[0])
            return project(*args)

        monkeypatch.setattr(GPT2Block, "project", counted)
        step(step.start)
        monkeypatch.setattr(GPT2Block, "project", project)
        found.append(len(layers))
    # Two layers, for the question, two thoughts and the response. Thoughts, of
    # one position each, keep what they computed.
    assert found == [8, 12]


@pytest.mark.parametrize(
    "iterations", [3, pytest.param(5, marks=pytest.mark.thorough)]
)
def test_as_many_iterations_as_thoughts_are_one_by_one(iterations):
    results = []
    for num_iterations in (None, iterations):
        keras.utils.set_random_seed(7)
        model = tiny.text_model(layers=2, num_iterations=num_iterations)
        step = Step(model, batch(model, [1, 0, 3]))
        results.append(step.gradient())
    (loss, gradient), (other_loss, other_gradient) = results
    assert other_loss == pytest.approx(loss, abs=1e-5)
    for one, other in zip(gradient, other_gradient):
        np.testing.assert_allclose(other, one, atol=1e-5)


def test_fewer_iterations_are_other_thoughts():
    """Right up to as many thoughts as there were iterations."""
    thoughts = [
        tiny.text_model(num_iterations=n).think("start 1, +1", 4)
        for n in (None, 2)
    ]
    one_by_one, at_once = thoughts
    np.testing.assert_allclose(at_once[:, :3], one_by_one[:, :3], atol=1e-5)
    assert np.abs(at_once[:, 3] - one_by_one[:, 3]).max() > 1e-3


@pytest.mark.skipif(BACKEND != "torch", reason="only PyTorch keeps the graph")
class TestGraph:
    def test_a_second_backward_pass(self, text_model):
        x, _, _ = batch(text_model, [2, 1])
        kernel = text_model.trainable_variables[2].value
        loss = text_model(x, training=True).square().mean()
        loss.backward(retain_graph=True)
        first = kernel.grad.clone()
        loss.backward()
        np.testing.assert_allclose(kernel.grad, 2 * first, rtol=1e-4)

    def test_a_gradient_of_some_weights_before_all(self, text_model):
        import torch

        x, _, _ = batch(text_model, [2, 1])
        kernels = [v.value for v in text_model.trainable_variables]
        text_model(x, training=True).square().mean().backward()
        expected = [kernel.grad.clone() for kernel in kernels]
        for kernel in kernels:
            kernel.grad = None
        loss = text_model(x, training=True).square().mean()
        torch.autograd.grad(loss, kernels[:1], retain_graph=True)
        loss.backward()
        for kernel, gradient in zip(kernels, expected):
            np.testing.assert_allclose(kernel.grad, gradient, atol=1e-7)

    def test_a_second_derivative(self, text_model):
        """Against a difference of gradients."""
        import torch

        x, _, _ = batch(text_model, [2, 1])
        kernel = text_model.backbone.transformer_layers[
            0
        ]._feedforward_output_dense.kernel.value
        direction = torch.randn_like(kernel)

        def slope(create_graph=False):
            loss = text_model(x, training=True).square().mean()
            (gradient,) = torch.autograd.grad(
                loss, [kernel], create_graph=create_graph
            )
            return (gradient * direction).sum()

        # PyTorch's own fused attention says that it has none on a CPU.
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            (second,) = torch.autograd.grad(slope(create_graph=True), [kernel])
        second = float((second * direction).sum())
        reach = 2e-3
        slopes = []
        for sign in (1, -1):
            with torch.no_grad():
                kernel += sign * reach * direction
            slopes.append(float(slope()))
            with torch.no_grad():
                kernel -= sign * reach * direction
        difference = (slopes[0] - slopes[1]) / (2 * reach)
        assert second == pytest.approx(difference, rel=0.02)


@pytest.fixture
def passes(monkeypatch):
    """The length of each pass over a span, and whether only its end counts."""
    found = []

    def count(name):
        original = getattr(Forward, name)

        def counted(self, inputs, *args, **kwargs):
            found.append((inputs.shape[1], kwargs.get("last_only", False)))
            return original(self, inputs, *args, **kwargs)

        monkeypatch.setattr(Forward, name, counted)

    count("read")
    count("decode")
    return found


def test_one_pass_each(text_model, passes):
    x, _, _ = batch(text_model, [0, 3, 1], idle=2)
    with tiny.loops_in_python():
        text_model(x)
    question, response = x["question_ids"].shape[1], x["response_ids"].shape[1]
    # Where a loop is compiled, its body is seen for idle slots too. PyTorch
    # runs them: it would have to ask the device.
    thoughts = 5 if BACKEND == "torch" else 3
    assert passes == [
        (question, True),
        *[(1, False)] * thoughts,
        (response, False),
    ]


@pytest.mark.thorough
def test_logits_for_the_response_only(text_model, monkeypatch):
    from keras_coconut.backbones import Decoder

    heads, logits = [], Decoder.logits

    def counted(self, hidden):
        heads.append(tuple(hidden.shape))
        return logits(self, hidden)

    monkeypatch.setattr(Decoder, "logits", counted)
    x, _, _ = batch(text_model, [0, 3, 1])
    text_model(x)
    assert heads == [(3, x["response_ids"].shape[1], 16)]


@pytest.mark.parametrize(
    "layers", [pytest.param(2, marks=pytest.mark.thorough), 6]
)
def test_nothing_of_the_question_is_copied(layers, monkeypatch):
    """Its keys and values take part in no concatenation and no stack."""
    text_model = tiny.compiled(tiny.text_model(layers))
    lengths = []

    def watch(module, name):
        original = getattr(module, name)

        def watched(tensors, *args, **kwargs):
            tensors = list(tensors)
            # The scores of all spans are joined; they have one query each.
            lengths.extend(
                tensor.shape[2] for tensor in tensors if tensor.ndim == 4
            )
            return original(tensors, *args, **kwargs)

        monkeypatch.setattr(module, name, watched)

    watch(ops, "concatenate")
    watch(ops, "stack")
    if BACKEND == "torch":
        import torch

        watch(torch, "cat")
    x, _, _ = batch(text_model, [3, 3])
    lengths.append(0)
    text_model(x)
    assert max(lengths) < x["question_ids"].shape[1]


@pytest.fixture
def traces(monkeypatch):
    """One entry for each time that the model is traced."""
    found, think = [], coconut.think

    def traced(*args):
        found.append(args)
        return think(*args)

    monkeypatch.setattr(coconut, "think", traced)
    return found


@pytest.mark.skipif(BACKEND == "torch", reason="PyTorch compiles nothing")
def test_the_first_step_is_traced_once(text_model, traces):
    """TensorFlow traces a step twice in which variables are made."""
    tiny.compiled(text_model, keras.optimizers.AdamW())
    text_model.train_on_batch(*batch(text_model, [2, 1]))
    # Keras on JAX runs the model once more to build its metrics.
    assert len(traces) == 1 + (BACKEND == "jax")


@pytest.mark.skipif(BACKEND == "torch", reason="PyTorch compiles nothing")
def test_one_program_for_several_stages(text_model, traces):
    """Other thoughts in the same slots: nothing is traced again."""
    step, losses, found = None, [], []
    for counts in ([0, 0], [1, 1], [2, 3]):
        data = batch(text_model, counts, idle=3 - max(counts))
        step = step or Step(text_model, data)
        step.data = data
        before = len(traces)
        losses.append(step(step.start))
        found.append(len(traces) - before)
    assert found[0] > 0
    assert found[1:] == [0, 0]
    assert len(set(losses)) == 3


@pytest.mark.skipif(BACKEND != "tensorflow", reason="of TensorFlow's XLA")
def test_xla_does_not_compile_for_a_number_of_thoughts(text_model):
    """XLA there may take an input for a constant, and compile for its value."""
    import tensorflow as tf

    variables = [v.value for v in text_model.trainable_variables]

    @tf.function(jit_compile=True, autograph=False)
    def gradient(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(text_model(x, training=True) ** 2)
        return tape.gradient(loss, variables)

    programs = set()
    for counts in ([1, 1], [2, 3]):
        x, _, _ = batch(text_model, counts, idle=3 - max(counts))
        x = {key: tf.constant(value) for key, value in x.items()}
        to_program = gradient.experimental_get_compiler_ir(x)
        # Shapes, operations and constants, without the names of any.
        parts = r"= (\w+\[[\d,]*\]\S* [\w-]+\([^%)]*)"
        programs.add(tuple(re.findall(parts, to_program(stage="hlo"))))
    assert len(programs) == 1 and len(programs.pop()) > 1000
