"""Fast paths, and the choice among them. Everything works without them.

Each saves at least a tenth of a training step where it is used; docs/log.md has
the figures.
"""

import contextlib

import keras

from keras_coconut.latent.forward import Padded

# Whether fast paths are taken at all; benchmarks measure without them, too.
enabled = True


def layout(mask):
    """Returns how layers see a span; see `latent.forward.Padded`."""
    if enabled and mask.shape[1] > 1 and _is_pytorch_on_a_cpu(mask):
        from keras_coconut.engines.packed import Packed

        return Packed(mask)
    return Padded(mask)


@contextlib.contextmanager
def fast_updates(model):
    """Speeds up the weight update in a training step on PyTorch.

    On a GPU the update stays as Keras makes it: there, blocks take longer. The
    model's optimizer stays unchanged; a view of it takes its place during
    the step.
    """
    optimizer = getattr(model, "optimizer", None)
    if not enabled or keras.config.backend() != "torch":
        yield
        return
    from keras_coconut.engines.blockwise_adam import in_blocks

    # Keras forgets the last step's gradients after its pass forward; before it
    # they are not in the way of what that keeps.
    model.zero_grad()
    if all(_is_pytorch_on_a_cpu(v.value) for v in model.trainable_variables):
        model.optimizer = in_blocks(optimizer)
    try:
        yield
    finally:
        model.optimizer = optimizer


def _is_pytorch_on_a_cpu(tensor) -> bool:
    if keras.config.backend() != "torch":
        return False
    import torch

    return tensor.device.type == "cpu" and not torch.compiler.is_compiling()
