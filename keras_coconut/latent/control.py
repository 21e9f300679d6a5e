"""Loops and recomputation, differentiable on three backends.

This file alone tells the backends apart. A loop or a recomputed function may
read no variable but through its arguments: JAX and TensorFlow would lose the
gradient, and a seed that dropout draws inside would leak out. `_seal` turns
what layers read into tensors; PyTorch needs it for seeds only.
"""

import keras
from keras import ops, tree


def repeat(body, state, times, at_most, layer):
    """Runs `body` for slot 0, 1, ... and returns the last state.

    The program does not grow with the number of slots.

    Args:
        body: function of a slot, an int tensor, and of the state, which returns
            the next state, of the same structure and shapes.
        state: structure of tensors.
        times: int tensor, how many slots to run. PyTorch, which would have to
            wait for the device to learn it, runs `at_most`.
        at_most: int, the most that `times` can be.
        layer: the Keras layer whose sublayers `body` calls.
    """
    backend = keras.config.backend()
    if backend == "torch":
        for slot in range(at_most):
            state = body(slot, state)
        return state
    sealed, seeds = _seal(layer, at_most)

    def run(slot, seeds, state):
        with sealed(seeds):
            return body(slot, state)

    if backend == "jax":
        import jax

        def step(state, each):
            slot, *seeds = each
            state = jax.lax.cond(
                slot < times, run, lambda slot, seeds, x: x, slot, seeds, state
            )
            return state, None

        slots = jax.numpy.arange(at_most)
        return jax.lax.scan(step, state, (slots, *seeds))[0]
    import tensorflow as tf

    if tf.executing_eagerly():
        for slot in range(int(times)):
            state = run(slot, [seed[slot] for seed in seeds], state)
        return state

    def step(slot, *flat):
        state_now = tree.pack_sequence_as(state, flat)
        state_now = run(slot, [seed[slot] for seed in seeds], state_now)
        return slot + 1, *tree.flatten(state_now)

    # XLA can take the gradient of a loop that it knows the longest run of.
    _, *flat = tf.while_loop(
        lambda slot, *_: slot < times,
        step,
        (0, *tree.flatten(state)),
        maximum_iterations=at_most,
    )
    return tree.pack_sequence_as(state, flat)


def rematerialized(function, layer, *args):
    """Returns `function(*args)`, which its gradient computes once more.

    Args:
        function: function that reads no variables but those of `layer`.
        layer: a Keras layer.
        *args: structures of tensors.
    """
    sealed, seeds = _seal(layer)
    weights = [ops.convert_to_tensor(weight) for weight in layer.weights]

    def run(weights, seeds, *args):
        with sealed([seed[0] for seed in seeds], weights):
            return function(*args)

    backend = keras.config.backend()
    if backend == "jax":
        import jax

        return jax.checkpoint(run)(weights, seeds, *args)
    if backend == "torch":
        import torch

        return torch.utils.checkpoint.checkpoint(
            run, weights, seeds, *args, use_reentrant=False
        )
    import tensorflow as tf

    args = weights, seeds, *args
    structure = None

    @tf.recompute_grad
    def run_flat(*flat):
        nonlocal structure
        outputs = run(*tree.pack_sequence_as(args, flat))
        structure = tree.map_structure(lambda _: 0, outputs)
        return tuple(tree.flatten(outputs))

    flat = run_flat(*(tf.convert_to_tensor(x) for x in tree.flatten(args)))
    return tree.pack_sequence_as(structure, flat)


def _seal(layer, times=1):
    """Turns the weights of a layer, and the seeds of its dropout, into tensors.

    Returns:
        A function of one seed for each generator, and of the weights if these
        are others than now, that returns a scope in which the layer reads them;
        and the seeds of `times` calls, a tensor (times, 2) for each generator.
    """
    known = {id(weight) for weight in layer.weights}
    states = [v for v in layer.variables if id(v) not in known]
    seeds = []
    for state in states:
        now = ops.convert_to_tensor(state)
        draws = ops.stack([ops.zeros(times), ops.arange(times)], axis=1)
        seeds.append(now + ops.cast(draws, now.dtype))
        state.assign(now + ops.cast(ops.array([0, times]), now.dtype))
    current = [ops.convert_to_tensor(weight) for weight in layer.weights]

    def sealed(seeds, weights=current):
        return keras.StatelessScope(
            [*zip(layer.weights, weights), *zip(states, seeds)]
        )

    return sealed, seeds
