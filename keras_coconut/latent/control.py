"""Loops, gradients and recomputation on three backends.

In `latent/`, only this file distinguishes the backends. A function that is
looped or recomputed may read variables only through its arguments: otherwise
JAX and TensorFlow would lose the gradient, and a seed that dropout draws inside
would leak out. `seal` turns the variables that layers read into tensors.
"""

import keras
from keras import ops, tree


def loop(body, state, times, at_most):
    """Runs `body` for 0, 1, ... and returns the last state.

    The program does not grow with the number of rounds. Only on PyTorch does
    the loop have a gradient. PyTorch always runs `at_most` rounds, since
    reading a smaller number would mean a wait for the device.

    Args:
        body: function of a number, an int tensor, and of the state, which
            returns the next state, of the same structure and shapes.
        state: structure of tensors.
        times: int tensor, the number of rounds to run.
        at_most: int, the most that `times` can be.
    """
    backend = keras.config.backend()
    if backend == "jax":
        import jax

        return jax.lax.fori_loop(0, times, body, state)
    if backend == "torch":
        for number in range(at_most):
            state = body(number, state)
        return state
    import tensorflow as tf

    if tf.executing_eagerly():
        for number in range(int(times)):
            state = body(number, state)
        return state
    _, *flat = tf.while_loop(
        lambda number, *_: number < times,
        lambda number, *flat: (
            number + 1,
            *tree.flatten(body(number, tree.pack_sequence_as(state, flat))),
        ),
        (0, *tree.flatten(state)),
        maximum_iterations=at_most,
    )
    return tree.pack_sequence_as(state, flat)


def pull(function, inputs, gradients):
    """Returns the gradients of inputs. Not on PyTorch.

    Args:
        function: function of `inputs`.
        inputs: tuple of structures of tensors.
        gradients: the gradients of what it returns.
    """
    backend = keras.config.backend()
    if backend == "jax":
        import jax

        return jax.vjp(function, *inputs)[1](gradients)
    import tensorflow as tf

    flat = tree.flatten(inputs)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(flat)
        outputs = function(*inputs)
    found = tape.gradient(
        tree.flatten(outputs),
        flat,
        tree.flatten(gradients),
        unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )
    return tree.pack_sequence_as(inputs, found)


def with_gradient(function, gradient, *inputs):
    """Returns `function(*inputs)`, with a custom gradient.

    On PyTorch, whose loops have a gradient, autodiff differentiates `function`.

    Args:
        function: function of structures of tensors.
        gradient: function of the inputs, of the outputs and of their
            gradients, which returns the gradients of the inputs.
        *inputs: structures of tensors.
    """
    backend = keras.config.backend()
    if backend == "torch":
        return function(*inputs)
    if backend == "jax":
        import jax

        def forward(*inputs):
            outputs = function(*inputs)
            return outputs, (inputs, outputs)

        differentiable = jax.custom_vjp(function)
        differentiable.defvjp(
            forward, lambda kept, gradients: gradient(*kept, gradients)
        )
        return differentiable(*inputs)
    import tensorflow as tf

    structure = None

    @tf.custom_gradient
    def differentiable(*flat):
        nonlocal structure
        outputs = function(*tree.pack_sequence_as(inputs, flat))
        structure = tree.map_structure(lambda _: 0, outputs)

        def backward(*gradients):
            return tree.flatten(
                gradient(
                    tree.pack_sequence_as(inputs, flat),
                    outputs,
                    tree.pack_sequence_as(structure, gradients),
                )
            )

        return tree.flatten(outputs), backward

    flat = differentiable(*map(tf.convert_to_tensor, tree.flatten(inputs)))
    return tree.pack_sequence_as(structure, flat)


def rematerialized(function, layer, *args):
    """Returns `function(*args)`, recomputed in the backward pass.

    Args:
        function: function that reads no variables except those of `layer`.
        layer: a Keras layer.
        *args: structures of tensors.
    """
    sealed, weights = seal(layer, drops=True)

    def run(weights, *args):
        with sealed(weights):
            return function(*args)

    backend = keras.config.backend()
    if backend == "jax":
        import jax

        return jax.checkpoint(run)(weights, *args)
    if backend == "torch":
        import torch

        return torch.utils.checkpoint.checkpoint(
            run, weights, *args, use_reentrant=False
        )
    import tensorflow as tf

    args = weights, *args
    structure = None

    @tf.recompute_grad
    def run_flat(*flat):
        nonlocal structure
        outputs = run(*tree.pack_sequence_as(args, flat))
        structure = tree.map_structure(lambda _: 0, outputs)
        return tuple(tree.flatten(outputs))

    flat = run_flat(*(tf.convert_to_tensor(x) for x in tree.flatten(args)))
    return tree.pack_sequence_as(structure, flat)


def seal(layer, drops: bool):
    """Turns the weights of a layer, and the seeds of its dropout, into tensors.

    Args:
        layer: a Keras layer.
        drops: bool. Whether the layer draws from its seeds, so that they differ
            in the next call.

    Returns:
        A function of weights that returns a scope in which the layer reads
        them, and always the same seeds; and the weights of now.
    """
    known = {id(weight) for weight in layer.weights}
    states = [v for v in layer.variables if id(v) not in known]
    # The sum reads a variable now; TensorFlow would read it when it is used.
    seeds = [ops.add(state, ops.cast(0, state.dtype)) for state in states]
    for state, seed in zip(states if drops else (), seeds):
        # A call draws once from each.
        state.assign(seed + ops.cast(ops.array([0, 1]), seed.dtype))
    weights = [ops.convert_to_tensor(weight) for weight in layer.weights]

    def sealed(weights):
        return keras.StatelessScope(
            [*zip(layer.weights, weights), *zip(states, seeds)]
        )

    return sealed, weights
