"""The layer that reads the question, thinks, and reads the response."""

import keras
from keras import ops

from keras_coconut import backbones, engines
from keras_coconut.latent import coconut, jacobi, rollout
from keras_coconut.latent.forward import Forward
from keras_coconut.models import presets
from keras_coconut.text import batches


@keras.saving.register_keras_serializable(package="keras_coconut")
class LatentDecoder(keras.layers.Layer):
    """Computes the logits of a response, given a question and thoughts.

    Args:
        backbone: a backbone of a known family.
        markers, rematerialize, num_iterations: see `ContinuousThoughtLM`.
    """

    def __init__(
        self,
        backbone,
        markers=True,
        rematerialize=False,
        num_iterations=None,
        **kwargs,
    ):
        kwargs.setdefault("dtype", backbone.dtype_policy)
        # Sublayers cast what they read, each to its own type.
        super().__init__(autocast=False, **kwargs)
        self.backbone = backbone
        self.markers = markers
        self.rematerialize = rematerialize
        self.num_iterations = num_iterations
        self.built = True

    @property
    def layers(self) -> list:
        """What `summary(expand_nested=True)` shows within the layer."""
        return [self.backbone]

    @property
    def method(self) -> rollout.LatentMethod:
        """How thoughts are computed."""
        if self.num_iterations is None:
            return coconut.think
        return jacobi.thinking(self.num_iterations)

    def passes(self, training=False) -> Forward:
        """Returns the passes of one call."""
        return Forward(
            backbones.describe(self.backbone),
            backbones.drop if training else backbones.keep,
            self.rematerialize and bool(training),
            engines.layout,
        )

    def call(self, inputs, training=None, watched=()):
        """Returns logits (B, R, V), and with watched layers the `Thoughts`."""
        x = self.convert(inputs, batches.KEYS)
        response_ids, mask = x["response_ids"], x["response_mask"]
        if not self.markers:
            # The model reads only what follows `<eot>`.
            response_ids, mask = response_ids[:, 1:], mask[:, 1:]
        forward = self.passes(training)
        # One lookup: each has a gradient as large as the whole vocabulary.
        embedded = forward.decoder.embed(
            ops.concatenate([x["question_ids"], response_ids], axis=1)
        )
        # Not `ops.split`: on PyTorch it asks the device where to cut.
        length = x["question_ids"].shape[1]
        question, response = embedded[:, :length], embedded[:, length:]
        thoughts = rollout.think(forward, self.method, question, x, watched)
        hidden = thoughts.last
        if response_ids.shape[1]:
            hidden = rollout.respond(forward, thoughts, response, mask)
            if not self.markers:
                hidden = ops.concatenate([thoughts.last, hidden], axis=1)
        logits = forward.decoder.logits(hidden)
        return (logits, thoughts) if watched else logits

    def think(self, inputs, watched=()) -> rollout.Thoughts:
        """Returns the `Thoughts` of the question's and the thoughts' keys."""
        x = self.convert(inputs, batches.QUESTION_KEYS)
        forward = self.passes()
        question = forward.decoder.embed(x["question_ids"])
        return rollout.think(forward, self.method, question, x, watched)

    def convert(self, inputs, keys):
        """Returns the tensors of a batch in the types that are computed."""
        more = ("pause_ids", "skipped_positions")
        keys = *keys, *(key for key in more if key in inputs)
        x = {
            key: ops.cast(ops.convert_to_tensor(inputs[key]), "int32")
            for key in keys
        }
        for key in ("thoughts", "thought_noise"):
            if key in inputs:
                x[key] = ops.cast(
                    ops.convert_to_tensor(inputs[key]), self.compute_dtype
                )
        return x

    def compute_output_spec(self, inputs, training=None, watched=()):
        shape = (*inputs["response_ids"].shape, self.backbone.vocabulary_size)
        return keras.KerasTensor(shape, dtype=self.compute_dtype)

    def get_config(self):
        backbone = keras.layers.serialize(self.backbone)
        presets.complete_config(self.backbone, backbone)
        return {
            **super().get_config(),
            "backbone": backbone,
            "markers": self.markers,
            "rematerialize": self.rematerialize,
            "num_iterations": self.num_iterations,
        }

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        config["backbone"] = keras.layers.deserialize(config["backbone"])
        return cls(**config)
