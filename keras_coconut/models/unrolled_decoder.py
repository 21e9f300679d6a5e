"""A decoder whose program has no loop, for `export` and `score`."""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeAlias

from keras import ops

from keras_coconut import backbones
from keras_coconut.checks import refuse
from keras_coconut.latent import rollout, unrolled
from keras_coconut.latent.forward import Forward
from keras_coconut.models.latent_decoder import LatentDecoder

# A function of activations (B, L, D) and of the number of their layer.
Intercept: TypeAlias = Callable[[Any, int], Any]


class UnrolledDecoder(LatentDecoder):
    """Computes what a model's `LatentDecoder` does, slot after slot.

    Args:
        model: a `ContinuousThoughtLM`, whose backbone it calls.
        intercept: function of what enters the first layer, with -1, and of
            what each layer returns, with its number; what it returns takes the
            place of that. Defaults to `None`.
    """

    def __init__(self, model, intercept: Intercept | None = None) -> None:
        super().__init__(
            model.backbone,
            markers=model.markers,
            num_iterations=model.num_iterations,
            name="latent_decoder",
        )
        self.intercept = intercept

    @property
    def method(self) -> rollout.LatentMethod:
        if self.num_iterations is None:
            return unrolled.think
        return super().method

    def passes(self, training: bool | None = False) -> Forward:
        if self.intercept is None:
            return super().passes(training)
        # A description is made for each call: it may be changed.
        decoder: Any = backbones.describe(self.backbone)
        intercept = _checked(self.intercept)
        locate = decoder.locate

        def located(x, positions, drop):
            return intercept(locate(x, positions, drop), -1)

        decoder.locate = located
        for number, block in enumerate(decoder.blocks):

            def finished(x, attended, drop, finish=block.finish, number=number):
                return intercept(finish(x, attended, drop), number)

            block.finish = finished
        return _WholeSpans(decoder)


@dataclasses.dataclass(frozen=True)
class _WholeSpans(Forward):
    """A `Forward` whose last layer leaves no position out."""

    def read(self, *args, last_only=False, **kwargs):
        hidden, span, watched = super().read(*args, **kwargs)
        return hidden[:, -1:] if last_only else hidden, span, watched


def _checked(intercept: Intercept) -> Intercept:
    def checked(x, number):
        found = intercept(x, number)
        if not ops.is_tensor(found) or found.shape != x.shape:
            raise refuse(
                "layer_intercept_fn",
                f"a function that returns a tensor of shape {tuple(x.shape)}, "
                f"as it was given with the number {number}",
                found,
            )
        return found

    return checked
