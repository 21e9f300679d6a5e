"""Passes through a decoder: over one span, or over one token in place."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

from keras import ops

from keras_coconut.backbones import Decoder, keep
from keras_coconut.latent.attention import Span, attend, heads_first, sight
from keras_coconut.latent.control import rematerialized


class Watched(NamedTuple):
    """The output and attention of a layer, for analysis.

    `hidden` is (B, L, D), the output of the layer. `attention` is (B, H, L, T),
    the attention weights over all spans, in order.
    """

    hidden: Any
    attention: Any


class Padded:
    """A span as layers see it: here as it comes, with its padding.

    Args:
        mask: bool tensor (B, L), true where a position is real.
    """

    def __init__(self, mask):
        del mask

    def pack(self, x):
        """Returns what layers read of a tensor (B, L, ...)."""
        return x

    def spread(self, x):
        """Returns (B, L, ...) from what layers computed."""
        return x


@dataclasses.dataclass(frozen=True)
class Forward:
    """Passes through a decoder's layers.

    Args:
        decoder: a `backbones.Decoder`.
        drop: `backbones.drop`, or a function like it. Defaults to `keep`.
        rematerialize: bool. Whether a layer keeps only its inputs for the
            gradient, and is computed again. Defaults to `False`.
        layout: function of a mask that returns how layers see a span. Defaults
            to `Padded`.
    """

    decoder: Decoder
    drop: Callable = keep
    rematerialize: bool = False
    layout: Callable = Padded

    def enter(self, thoughts, noise=None):
        """Returns what layers read of thoughts.

        Args:
            thoughts: float tensor (B, L, D), hidden states.
            noise: float tensor (B, L, D), added to them in units of a thought's
                root mean square; see `perturbed`. Optional.
        """
        return self.decoder.enter(perturbed(thoughts, noise))

    def read(
        self,
        inputs,
        positions,
        mask,
        memory=(),
        last_only=False,
        watch=(),
    ):
        """Passes over one span that attends to itself and to earlier ones.

        Args:
            inputs: float tensor (B, L, D), embeddings without positions.
            positions: int tensor (B, L), positions among a row's real tokens.
            mask: bool tensor (B, L), true where a position is real.
            memory: the earlier `Span`s, in order.
            last_only: bool. Whether only the last hidden state is needed; the
                last layer then computes no other. Defaults to `False`.
            watch: tuple of ints, the numbers of layers whose `Watched` is
                wanted; with `last_only`, at the last position alone.

        Returns:
            A tuple of the hidden states after the final norm, (B, L, D) or
            (B, 1, D), of the `Span`, and of a dictionary with the `Watched` of
            each watched layer.
        """
        x = self.decoder.locate(inputs, positions, self.drop)
        span = Span((), (), mask, positions)
        seen = _Sight(positions, [*memory, span])
        layout = self.layout(mask)
        placed = self.decoder.place(positions, begins=not memory)
        x, placed = layout.pack(x), layout.pack(placed)
        last = self.decoder.blocks[-1] if last_only else None
        watched = {}
        for number, block in enumerate(self.decoder.blocks):
            visible = seen.within(block.window)
            at_last = [each[:, -1:] for each in visible]
            if block is last:
                visible = at_last
            # Before the last layer, the last position is watched beside it.
            beside = last_only and number in watch and block is not last
            keeps = bool(watch) and (block is last or not last_only)

            def run(
                x,
                earlier,
                block=block,
                visible=visible,
                at_last=at_last if beside else None,
                keeps=keeps,
            ):
                query, key, value = map(layout.spread, block.project(x, placed))
                own = heads_first(key), heads_first(value)
                if block is last:
                    x, query = layout.spread(x)[:, -1:], query[:, -1:]
                spans = [*earlier, own]
                attended, weights = attend(
                    block, query, spans, visible, self.drop, keeps
                )
                if at_last is not None:
                    _, weights = attend(
                        block, query[:, -1:], spans, at_last, keep_weights=True
                    )
                if block is not last:
                    attended = layout.pack(attended)
                x = block.finish(x, attended, self.drop)
                # No `None` among tensors that are computed again.
                return x, own, () if weights is None else weights

            earlier = [(s.keys[number], s.values[number]) for s in memory]
            if self.rematerialize:
                x, own, weights = rematerialized(run, block.layer, x, earlier)
            else:
                x, own, weights = run(x, earlier)
            span = span._replace(
                keys=(*span.keys, own[0]), values=(*span.values, own[1])
            )
            if number in watch:
                states = x if block is last else layout.spread(x)
                states = states[:, -1:] if last_only else states
                watched[number] = Watched(states, weights)
        hidden = self.decoder.norm(x)
        return hidden if last else layout.spread(hidden), span, watched

    def decode(self, inputs, positions, span, slot, memory, write=None):
        """Passes over one more position of a span of fixed size.

        Args:
            inputs: float tensor (B, 1, D).
            positions: int tensor (B, 1).
            span: the `Span` of fixed size; its mask is true where a position
                has been written.
            slot: int scalar, the position of the span to write.
            memory: the earlier `Span`s, in order.
            write: function of keys or values (B, G, T, S), of the slot, and of
                what to write, (B, G, 1, S). Defaults to writing in place,
                which has no gradient on TensorFlow.

        Returns:
            A tuple of the hidden state (B, 1, D) and of the `Span`.
        """
        write = write or _write
        x = self.decoder.locate(inputs, positions, self.drop)
        mask = ops.ones_like(positions, dtype="bool")
        mask = ops.slice_update(span.mask, [0, slot], mask)
        at = ops.slice_update(span.positions, [0, slot], positions)
        seen = _Sight(positions, [*memory, Span((), (), mask, at)])
        placed = self.decoder.place(positions, begins=False)
        keys, values = [], []
        for number, block in enumerate(self.decoder.blocks):
            query, key, value = block.project(x, placed)
            keys.append(write(span.keys[number], slot, heads_first(key)))
            values.append(write(span.values[number], slot, heads_first(value)))
            earlier = [(s.keys[number], s.values[number]) for s in memory]
            attended, _ = attend(
                block,
                query,
                [*earlier, (keys[-1], values[-1])],
                seen.within(block.window),
                self.drop,
            )
            x = block.finish(x, attended, self.drop)
        return self.decoder.norm(x), Span(tuple(keys), tuple(values), mask, at)


def perturbed(thoughts, noise=None):
    """Returns thoughts with noise of a size relative to their own.

    Args:
        thoughts: float tensor (B, L, D).
        noise: float tensor (B, L, D), in units of the root mean square of each
            thought, or `None`.
    """
    if noise is None:
        return thoughts
    square = ops.square(ops.cast(thoughts, "float32"))
    size = ops.sqrt(ops.mean(square, axis=-1, keepdims=True))
    return thoughts + ops.cast(size, thoughts.dtype) * noise


def _write(buffer, slot, new):
    return ops.slice_update(buffer, [0, 0, slot, 0], new)


class _Sight:
    """What a pass sees, computed once for each window that layers have."""

    def __init__(self, positions, spans):
        self.positions = positions
        self.spans = spans
        self.known = {}

    def within(self, window):
        if window not in self.known:
            self.known[window] = sight(self.positions, self.spans, window)
        return self.known[window]
