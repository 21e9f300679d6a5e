"""The passes of one call: over the question, the thoughts and the response."""

import keras
from keras import ops

from keras_coconut.models import autodiff, chain, decoder


class Passes:
    """Passes through Keras' own layers, on any backend.

    Args:
        backbone: a `keras_hub.models.GPT2Backbone`.
        training: bool, whether dropout is on.
        keep: what to keep for the gradient; see `decoder.walk`.
    """

    def __init__(self, backbone, training, keep):
        self.backbone = backbone
        self.training = training
        self.keep = keep

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
            keep=self.keep,
        )

    def think(self, first, question, thought_mask, length):
        """Passes over each thought; see `chain.think`."""
        return chain.think(
            self.backbone, first, question, thought_mask, length, self.training
        )


def make_passes(backbone, training, rematerialize=False, compiled=False):
    """Returns the passes that suit backend and backbone best.

    Args:
        backbone: a `keras_hub.models.GPT2Backbone`.
        training: bool, whether dropout is on.
        rematerialize: bool; see `ContinuousThoughtLM`.
        compiled: bool, whether XLA compiles TensorFlow's graphs.
    """
    keep = "all"
    if rematerialize:
        keep = "inputs"
    elif training and autodiff.graphs_keep_all(compiled):
        keep = "products"
    if keras.config.backend() == "torch":
        # Here, since these need PyTorch.
        from keras_coconut.models import torch_layers, torch_passes

        if torch_layers.can_run(backbone):
            return torch_passes.TorchPasses(backbone, training, keep)
    return Passes(backbone, training, keep)


def read_and_think(passes, inputs, x, markers=True):
    """Passes over the question and the thoughts.

    Args:
        passes: what `make_passes` returned.
        inputs: float tensor (B, Q, D), the embeddings of the question.
        x: the question's and the thoughts' keys; with `thoughts`, these
            are read and not computed.
        markers: bool; see `ContinuousThoughtLM`.

    Returns:
        A tuple of the thoughts (B, K, D), the `decoder.Span`s of question
        and thoughts, the real positions (B,) of each row so far, and
        without markers the hidden state (B, 1, D) at the last of them.
    """
    mask = x["question_mask"]
    first, question = passes.read(
        inputs, positions_within(mask), ops.cast(mask, "bool"), outputs="last"
    )
    length = ops.sum(mask, axis=1)
    thought_mask = x["thought_mask"]
    slots = thought_mask.shape[1]
    if slots == 0:
        return ops.zeros_like(first[:, :0]), [question], length, first
    if "thoughts" in x:
        thoughts = x["thoughts"]
        hidden, span = passes.read(
            thoughts,
            chain.positions(length, thought_mask),
            ops.cast(thought_mask, "bool"),
            [question],
            outputs="last" if markers else "all",
        )
        hidden = ops.concatenate([first, hidden], axis=1)
    else:
        hidden, span = passes.think(first, question, thought_mask, length)
        thoughts = hidden[:, :slots]
    counts = ops.sum(thought_mask, axis=1)
    last = None
    if not markers:
        is_last = ops.arange(slots + 1) == counts[:, None]
        last = ops.where(is_last[..., None], hidden, 0)
        last = ops.sum(last, axis=1, keepdims=True)
    return thoughts, [question, span], length + counts, last


def positions_within(mask):
    """Returns the positions (B, length) among a row's real tokens."""
    return ops.maximum(ops.cumsum(mask, axis=1) - 1, 0)
