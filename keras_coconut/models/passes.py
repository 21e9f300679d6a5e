"""The passes of one call: over the question, the thoughts and the response."""

import keras

from keras_coconut.models import chain, decoder


class Passes:
    """Passes through Keras' own layers, on any backend.

    Args:
        backbone: a `keras_hub.models.GPT2Backbone`.
        training: bool, whether dropout is on.
        rematerialize: bool; see `decoder.walk`.
    """

    def __init__(self, backbone, training, rematerialize):
        self.backbone = backbone
        self.training = training
        self.rematerialize = rematerialize

    def read(self, inputs, positions, mask, memory=(), outputs="all"):
        """Passes over one span; see `decoder.decode_span`."""
        return decoder.decode_span(
            self.backbone,
            inputs,
            positions,
            mask,
            memory,
            outputs=outputs,
            training=self.training,
            rematerialize=self.rematerialize,
        )

    def think(self, first, question, thought_mask, length):
        """Passes over each thought; see `chain.think`."""
        return chain.think(
            self.backbone, first, question, thought_mask, length, self.training
        )


def make_passes(backbone, training, rematerialize=False):
    """Returns the passes that suit backend and backbone best."""
    if keras.config.backend() == "torch":
        # Here, since these need PyTorch.
        from keras_coconut.models import torch_layers, torch_passes

        if torch_layers.can_run(backbone):
            return torch_passes.TorchPasses(backbone, training, rematerialize)
    return Passes(backbone, training, rematerialize)
