"""The passes over question, thoughts and response in plain PyTorch.

Compilers want shapes that are known beforehand; PyTorch does not, so on a CPU
padding is left out: the real positions of all rows are computed side by side,
and each row attends to itself alone. On a GPU that would be many small
operations, and to count the positions would wait for the device; there padding
is computed and hidden, as everywhere else.
"""

import keras
import torch
from torch.nn.functional import embedding, scaled_dot_product_attention

from keras_coconut.models import attention, autodiff, chain, torch_chain
from keras_coconut.models.decoder import Span
from keras_coconut.models.dropout import (
    DrawnDropout,
    LayerDropout,
    Masks,
    draw,
)
from keras_coconut.models.torch_layers import Layers


class TorchPasses:
    """As `passes.Passes`."""

    def __init__(self, backbone, training, keep):
        self.backbone = backbone
        self.training = training
        self.rematerialize = keep == "inputs"
        self.layers = Layers(backbone)
        self.dropout = DrawnDropout(Masks())
        if training and backbone.dropout:
            self.dropout = LayerDropout(backbone, training)

    def read(self, inputs, positions, mask, memory=(), outputs="all"):
        rows = _Rows(mask, outputs)
        table = self.layers.position_table
        x = rows.take(inputs).to(table.dtype)
        x = x + embedding(rows.take(positions), table)
        x = self.dropout.embeddings(x)
        run = self._run_layer_again if self.rematerialize else self._run_layer
        keys, values = [], []
        final = len(self.layers) - 1
        for number in range(final + 1):
            last = outputs == "last" and number == final
            x, *span = run(number, x, rows, memory, last)
            keys.append(span[0])
            values.append(span[1])
        x = self.layers.norm(x)
        hidden = x[:, None] if outputs == "last" else rows.put(x)
        return hidden, Span(tuple(keys), tuple(values), mask)

    def think(self, first, question, thought_mask, length):
        mask = thought_mask.bool()
        batch, slots = mask.shape
        room = question.mask.shape[1] + slots
        thoughts, keys, values = torch_chain.Chain(
            self.layers,
            question,
            mask,
            chain.positions(length, thought_mask),
            draw(self.backbone, batch, slots, room, self.training),
        ).run(first[:, 0])
        return thoughts, Span(keys, values, mask)

    def _run_layer(self, number, x, rows, memory, last, dropout=None):
        dropout = dropout or self.dropout

        def attend(query, *own):
            return self._attend(number, query, own, rows, memory, last, dropout)

        wanted = rows.last if last else None
        return self.layers.run(number, x, attend, dropout, last=wanted)

    def _run_layer_again(self, number, x, rows, memory, last):
        """As `_run_layer`; computed once more when its gradient is taken."""
        layer = self.backbone.transformer_layers[number]
        # The seeds of its dropout, so that the same numbers are drawn again.
        stacked, dropout_of = LayerDropout(self.backbone, self.training).roll(
            [layer]
        )
        seeds = [seed[0] for seed in stacked]

        def run(x, seeds):
            dropout, states = dropout_of(seeds)
            with keras.StatelessScope(states):
                return self._run_layer(number, x, rows, memory, last, dropout)

        return autodiff.rematerialized(run, x, seeds)

    def _attend(self, number, query, own, rows, memory, last, dropout):
        heads = self.backbone.num_heads
        query, *own = (x.unflatten(1, (heads, -1)) for x in (query, *own))
        keys, values = (rows.put(x, by_head=True) for x in own)
        if (
            rows.lengths
            and not memory
            and not dropout.weights_are_dropped(number)
        ):
            attended = _attend_row_by_row(query, *own, rows.lengths, last)
            return attended.flatten(1), keys, values
        query = query[:, None] if last else rows.put(query)
        spans = [
            (all_keys[number], all_values[number], visible)
            for all_keys, all_values, visible in attention.in_the_past(memory)
        ]
        spans.append((keys, values, attention.visible_in_span(rows.mask)))
        attended = attention.attend(query, spans, dropout, number)
        attended = attended[:, 0] if last else rows.take(attended)
        return attended.flatten(1), keys, values


class _Rows:
    """Which positions of a span are computed, side by side.

    Args:
        mask: bool tensor (B, length), true where a position is real.
        outputs: see `decoder.walk`.
    """

    def __init__(self, mask, outputs):
        self.mask = mask
        # How many real positions each row has, if no other is computed.
        self.lengths = None
        # Row and column of those that are computed; `None` if all are.
        self.places = None
        batch, length = mask.shape
        self.last = torch.arange(1, batch + 1, device=mask.device) * length - 1
        if not _leaves_out_padding(mask.device):
            return
        lengths = mask.sum(dim=1).tolist()
        if min(lengths) == length:
            self.lengths = lengths
        elif min(lengths) > 0 and (outputs == "all" or mask[:, -1].all()):
            self.lengths = lengths
            self.places = mask.nonzero(as_tuple=True)
            self.last = torch.tensor(lengths).cumsum(0) - 1

    def take(self, x):
        """Returns (N, ...) from (B, length, ...)."""
        return x.flatten(0, 1) if self.places is None else x[self.places]

    def put(self, x, by_head=False):
        """Returns (B, length, ...) from (N, ...), 0 where nothing is.

        With `by_head`, (B, heads, length, size) from (N, heads, size).
        """
        if self.places is None:
            x = x.unflatten(0, self.mask.shape)
            return x.transpose(1, 2).contiguous() if by_head else x
        batch, length = self.mask.shape
        if not by_head:
            put = x.new_zeros(batch, length, *x.shape[1:])
            put[self.places] = x
            return put
        put = x.new_zeros(batch, x.shape[1], length, x.shape[2])
        put.transpose(1, 2)[self.places] = x
        return put


def _leaves_out_padding(device) -> bool:
    return device.type == "cpu"


def _attend_row_by_row(query, keys, values, lengths, last):
    """Attends causally within each row.

    Args:
        query, keys, values: (N, heads, size), the positions of all rows.
        lengths: list of ints, positions of each row.
        last: bool, whether `query` holds the last position of each row only.

    Returns:
        Float tensor, in the shape of `query`.
    """
    counts = [1] * len(lengths) if last else lengths
    if len(set(lengths)) == 1:
        # All at once: rows of one length are a batch.
        query, keys, values = (
            x.unflatten(0, (len(lengths), -1)) for x in (query, keys, values)
        )
        rows = [(query, keys, values)]
    else:
        rows = zip(
            *(
                [x[None] for x in tensor.split(of_each)]
                for tensor, of_each in (
                    (query, counts),
                    (keys, lengths),
                    (values, lengths),
                )
            )
        )
    attended = [
        scaled_dot_product_attention(
            *(x.transpose(1, 2) for x in row), is_causal=not last
        )
        .transpose(1, 2)
        .flatten(0, 1)
        for row in rows
    ]
    return torch.cat(attended)
