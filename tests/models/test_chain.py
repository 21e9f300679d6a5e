"""The chain of thoughts: its passes, its gradient and its one program."""

import re

import keras
import numpy as np
import pytest
import tiny
from keras import ops

from keras_coconut.curriculum import Layout
from keras_coconut.models import (
    autodiff,
    chain,
    decoder,
    embeddings,
    passes,
)

BACKEND = keras.config.backend()
if BACKEND == "torch":
    from keras_coconut.models import torch_chain, torch_layers, torch_passes


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
        return float(self.model.train_on_batch(*self.data)[0])

    def gradient(self):
        """Returns the loss and its gradient, as a step of size 1 shows it."""
        loss = self(self.start)
        return loss, [a - b for a, b in zip(self.start, self.weights())]


@pytest.mark.parametrize(
    "dropout, lora, markers",
    [
        (0.0, False, True),
        (0.3, False, True),
        (0.0, True, True),
        (0.0, False, False),
    ],
)
def test_the_gradient_is_the_slope(dropout, lora, markers):
    """Against differences of the loss, along the gradient and across it."""
    model = tiny.text_model(dropout=dropout, seed=3, markers=markers)
    if lora:
        model.backbone.enable_lora(2)
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


def test_thoughts_carry_gradient(text_model):
    """Else the tests above could pass without any flowing through them."""
    data = batch(text_model, [3, 3])
    step = Step(text_model, data)
    _, gradient = step.gradient()
    kernel = text_model.backbone.transformer_layers[
        0
    ]._feedforward_output_dense.kernel
    index = [v.path for v in text_model.trainable_variables].index(kernel.path)
    whole = gradient[index]

    # The same, with thoughts that are given and take no gradient.
    def cut(*args):
        thoughts, span = think(*args)
        keys, values = (
            tuple(map(ops.stop_gradient, tensors)) for tensors in span[:2]
        )
        return thoughts, decoder.Span(keys, values, span.mask)

    think, chain.think = chain.think, cut
    try:
        step = Step(text_model, data)
        text_model.make_train_function(force=True)
        for variable, value in zip(text_model.trainable_variables, step.start):
            variable.assign(value)
        _, gradient = step.gradient()
    finally:
        chain.think = think
    assert np.abs(whole - gradient[index]).max() > 1e-3


@pytest.mark.skipif(
    BACKEND == "tensorflow", reason="`ops.scan` fails there on such tensors"
)
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_layers_rolled_into_one_are_the_layers(monkeypatch, dropout):
    results = []
    for rolled in (False, True):
        monkeypatch.setattr(decoder, "_WORTH_ROLLING", 1)
        monkeypatch.setattr(
            autodiff, "compiles_what_it_repeats", lambda rolled=rolled: rolled
        )
        keras.utils.set_random_seed(7)
        model = tiny.text_model(layers=3, dropout=dropout)
        step = Step(model, batch(model, [0, 2, 1]))
        results.append(step.gradient())
    (loss, gradient), (rolled_loss, rolled_gradient) = results
    assert rolled_loss == pytest.approx(loss, abs=1e-5)
    for one, other in zip(gradient, rolled_gradient):
        np.testing.assert_allclose(other, one, atol=1e-5)


@pytest.mark.parametrize("rolled", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_rematerialized_is_the_same(monkeypatch, dropout, rolled):
    """The same loss and gradient, also where numbers are drawn again."""
    if rolled and BACKEND == "tensorflow":
        pytest.skip("`ops.scan` fails there on such tensors")
    monkeypatch.setattr(decoder, "_WORTH_ROLLING", 1)
    monkeypatch.setattr(autodiff, "compiles_what_it_repeats", lambda: rolled)
    results = []
    for rematerialize in (False, True):
        keras.utils.set_random_seed(7)
        model = tiny.text_model(layers=3, dropout=dropout)
        model.rematerialize = rematerialize
        step = Step(model, batch(model, [0, 2, 1]))
        results.append(step.gradient())
    (loss, gradient), (other_loss, other_gradient) = results
    assert other_loss == pytest.approx(loss, abs=1e-5)
    for one, other in zip(gradient, other_gradient):
        np.testing.assert_allclose(other, one, atol=1e-5)


@pytest.mark.skipif(BACKEND != "jax", reason="of JAX's loops")
def test_scores_are_not_kept(capsys):
    """What a rolled layer keeps are its products with weights."""
    from jax.ad_checkpoint import print_saved_residuals

    def attend(x, weight):
        y = ops.sin(ops.matmul(x, weight))
        weights = ops.softmax(ops.matmul(y, ops.swapaxes(y, 1, 2)))
        return ops.sum(ops.matmul(weights, y))

    def kept(function):
        print_saved_residuals(function, ops.ones((2, 5, 4)), ops.ones((4, 6)))
        return capsys.readouterr().out

    assert "[2,5,5]" in kept(attend)
    found = kept(lambda *args: autodiff.keep_products(attend, *args))
    assert "[2,5,6]" in found and "[2,5,5]" not in found


@pytest.mark.skipif(BACKEND != "tensorflow", reason="of TensorFlow's graphs")
@pytest.mark.parametrize("dropout, lora", [(0.0, False), (0.3, True)])
def test_keeping_products_only_is_the_same(monkeypatch, dropout, lora):
    results, parts = [], []
    part = decoder.KeepingProducts.part

    def counted(*args):
        parts.append(args)
        return part(*args)

    monkeypatch.setattr(decoder.KeepingProducts, "part", counted)
    for products in (False, True):
        monkeypatch.setattr(
            autodiff, "graphs_keep_all", lambda compiled, to=products: to
        )
        keras.utils.set_random_seed(7)
        model = tiny.text_model(layers=3, dropout=dropout)
        if lora:
            model.backbone.enable_lora(2)
        step = Step(model, batch(model, [0, 2, 1]))
        results.append(step.gradient())
        # Of the question's and the response's layers; where weights are
        # dropped, attention is computed once.
        count = 2 * 3 * (3 if dropout else 4)
        assert len(parts) == (count if products else 0)
    (loss, gradient), (other_loss, other_gradient) = results
    assert other_loss == pytest.approx(loss, abs=1e-5)
    for one, other in zip(gradient, other_gradient):
        np.testing.assert_allclose(other, one, atol=1e-5)


def test_rematerialized_layers_run_again(monkeypatch):
    """Each but those of the thoughts, forward and once more backward."""
    if BACKEND != "torch":
        pytest.skip("PyTorch runs layers where others trace them")
    found = []
    for rematerialize in (False, True):
        model = tiny.text_model()
        model.rematerialize = rematerialize
        step = Step(model, batch(model, [0, 0]))
        step(step.start)  # Keras runs the model once more to build it.
        layers = []
        run = torch_layers.Layers.run

        def counted(*args, run=run, layers=layers, **kwargs):
            layers.append(args[1])
            return run(*args, **kwargs)

        monkeypatch.setattr(torch_layers.Layers, "run", counted)
        step(step.start)
        monkeypatch.setattr(torch_layers.Layers, "run", run)
        found.append(len(layers))
    # Two layers, for the question and for the response.
    assert found == [4, 8]


@pytest.mark.skipif(BACKEND != "torch", reason="only PyTorch keeps the graph")
def test_a_second_backward_pass(text_model):
    x, _, _ = batch(text_model, [2, 1])
    kernel = text_model.trainable_variables[2].value
    loss = text_model(x, training=True).square().mean()
    loss.backward(retain_graph=True)
    first = kernel.grad.clone()
    loss.backward()
    np.testing.assert_allclose(kernel.grad, 2 * first, rtol=1e-4)


def test_one_pass_each_and_logits_for_the_response_only(
    text_model, monkeypatch
):
    counted, heads = [], []
    logits = embeddings.logits
    kind = torch_passes.TorchPasses if BACKEND == "torch" else passes.Passes
    loop = torch_chain.Chain if BACKEND == "torch" else chain.Chain
    read, step = kind.read, loop.step

    def counted_read(self, inputs, *args, **kwargs):
        counted.append((inputs.shape[1], kwargs.get("outputs", "all")))
        return read(self, inputs, *args, **kwargs)

    def counted_step(self, slot, thought, *args):
        counted.append((len(thought), "thought"))
        return step(self, slot, thought, *args)

    def counted_logits(backbone, hidden, *args):
        heads.append(tuple(hidden.shape))
        return logits(backbone, hidden, *args)

    monkeypatch.setattr(kind, "read", counted_read)
    monkeypatch.setattr(loop, "step", counted_step)
    monkeypatch.setattr(embeddings, "logits", counted_logits)
    x, _, _ = batch(text_model, [0, 3, 1], idle=2)
    with tiny.loops_in_python():
        text_model(x)
    question, response = x["question_ids"].shape[1], x["response_ids"].shape[1]
    # PyTorch runs the idle slots too: it would have to ask the device.
    thoughts = 5 if BACKEND == "torch" else 3
    assert counted == [
        (question, "last"),
        *[(3, "thought")] * thoughts,
        (response, "all"),
    ]
    assert heads == [(3, response, 16)]


def test_nothing_of_the_question_is_copied(text_model, monkeypatch):
    """Its keys and values take part in no concatenation and no stack."""
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
    found, think = [], chain.think

    def traced(*args):
        found.append(args)
        return think(*args)

    monkeypatch.setattr(chain, "think", traced)
    return found


# Keras on JAX traces the model, not the step, at each call to build it.
TO_BUILD = int(BACKEND == "jax")


@pytest.mark.skipif(BACKEND == "torch", reason="PyTorch compiles nothing")
def test_the_first_step_is_traced_once(text_model, traces):
    """TensorFlow traces a step twice in which variables are made."""
    tiny.compiled(text_model, keras.optimizers.AdamW())
    text_model.train_on_batch(*batch(text_model, [2, 1]))
    assert len(traces) == TO_BUILD + 1


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
    assert found[0] > TO_BUILD
    assert found[1:] == [TO_BUILD] * 2
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
