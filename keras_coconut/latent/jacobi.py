"""Thoughts all at once, by Jacobi iterations, as in PCCoT (arXiv 2506.18582).

All thoughts together solve an equation: each is the hidden state at the one
before. An iteration computes all slots in parallel from the previous thoughts,
and at least one more thought becomes exact. After as many iterations as a row
has thoughts they equal those of `coconut`.
"""

import functools

from keras import ops

from keras_coconut.latent.attention import Span
from keras_coconut.latent.forward import Forward


def think(
    forward: Forward,
    first,
    question: Span,
    mask,
    positions,
    noise=None,
    *,
    num_iterations,
):
    """Thinks in all slots at once; see `coconut.think`.

    Args:
        forward, first, question, mask, positions, noise: see `coconut.think`.
        num_iterations: int, the number of iterations.
    """
    # The first guess: every slot starts from the end of the question.
    inputs = ops.repeat(first, mask.shape[1], axis=1)
    for _ in range(min(num_iterations, mask.shape[1])):
        hidden, span, _ = forward.read(
            forward.enter(inputs, noise), positions, mask, [question]
        )
        inputs = ops.concatenate([first, hidden[:, :-1]], axis=1)
    return hidden, span


def thinking(num_iterations: int):
    """Returns `think` with its number of iterations."""
    return functools.partial(think, num_iterations=num_iterations)
