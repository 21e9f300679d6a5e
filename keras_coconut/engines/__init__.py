"""Fast paths: which of them serve here. Everything works without them.

Each earns at least a tenth of a training step where it is on; docs/log.md has
the figures.
"""

import keras

from keras_coconut.latent.forward import Padded


def layout(mask):
    """Returns how layers see a span; see `latent.forward.Padded`."""
    if _is_pytorch_on_a_cpu(mask) and mask.shape[1] > 1:
        from keras_coconut.engines.packed import Packed

        return Packed(mask)
    return Padded(mask)


def optimizer(optimizer):
    """Returns an optimizer of the same state that updates as fast as it can."""
    if keras.config.backend() != "torch" or not optimizer.built:
        return optimizer
    from keras_coconut.engines.blockwise_adam import in_blocks

    return in_blocks(optimizer)


def _is_pytorch_on_a_cpu(tensor) -> bool:
    if keras.config.backend() != "torch":
        return False
    import torch

    return tensor.device.type == "cpu" and not torch.compiler.is_compiling()
