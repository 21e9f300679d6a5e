"""A function fed its own output, slot after slot, and the chain's gradient.

The chain solves an equation: every slot reads the output of the slot before it.
A loop over the slots solves it without a gradient. At the solution, one pass
over all slots gives the gradient of the weights, provided that the gradient of
each slot's output is known. These follow slot by slot from the last, through
the inputs only. So the gradient of the weights is computed once, not once per
slot. Nothing here knows what a layer is.
"""

from keras import ops, tree

from keras_coconut.latent import control


def chain(one, at_once, first, empty, earlier, times, slots, sealed):
    """Runs slot 0, 1, ... and returns what they computed.

    Args:
        one: function of a slot, an int tensor; of its input (B, 1, D); of the
            buffers of the slots, with all before this one written; and of
            `earlier`. It returns the output (B, 1, D) and the buffers, with
            this slot written.
        at_once: function of the inputs (B, K, D) of all slots and of
            `earlier`, which returns their outputs (B, K, D) and the buffers,
            all written. It computes what `one` does.
        first: float tensor (B, 1, D), the input of slot 0.
        empty: structure of zeros, the buffers with one slot instead of K.
        earlier: structure of float tensors that slots read.
        times: int tensor, the number of slots to run.
        slots: int, K.
        sealed: what `control.seal` returns for the Keras layer whose sublayers
            are called.

    Returns:
        A tuple of the outputs (B, K, D) and of the buffers. Slots that did not
        run hold zeros.
    """
    sealed, weights = sealed
    buffers = tree.map_structure(lambda x: ops.repeat(x, slots, 2), empty)

    def run(weights, first, earlier):
        # The path holds what enters the first slot, and every slot's output.
        path = ops.pad(first, [[0, 0], [0, slots], [0, 0]])

        def body(slot, state):
            path, own = state
            with sealed(weights):
                hidden, own = one(slot, column(path, slot), own, earlier)
            return write(path, slot + 1, hidden), own

        return control.loop(body, (path, buffers), times, slots)

    def gradient(inputs, outputs, gradients):
        weights, _, earlier = inputs
        path, own = outputs

        def body(number, gradients):
            slot = times - 1 - number
            of_path, of_own = gradients

            def compute(thought, own):
                with sealed(weights):
                    return one(slot, thought, own, earlier)

            of_thought, of_own = control.pull(
                compute,
                (column(path, slot), own),
                (column(of_path, slot + 1), of_own),
            )
            of_thought = of_thought + column(of_path, slot)
            return write(of_path, slot, of_thought), of_own

        # Slot 0 has no slot before it.
        of_path, _ = control.loop(body, gradients, times - 1, slots)

        def compute(weights, first, earlier):
            thoughts = ops.concatenate([first, path[:, 1:slots]], axis=1)
            with sealed(weights):
                hidden, own = at_once(thoughts, earlier)
            return ops.concatenate([first, hidden], axis=1), own

        return control.pull(compute, inputs, (of_path, gradients[1]))

    path, own = control.with_gradient(run, gradient, weights, first, earlier)
    return path[:, 1:], own


# Chosen by comparison, not sliced: TensorFlow has no gradient of writing in
# place, and takes the place of a slice for a constant of the program.


def column(x, slot, axis=1):
    """Returns the slice of one slot."""
    return ops.sum(ops.where(_here(x, slot, axis), x, 0), axis, keepdims=True)


def write(x, slot, new, axis=1):
    """Returns `x` with another slice of one slot."""
    return ops.where(_here(x, slot, axis), new, x)


def _here(x, slot, axis):
    shape = [1] * len(x.shape)
    shape[axis] = -1
    return ops.reshape(ops.equal(ops.arange(x.shape[axis]), slot), shape)
