"""The chain of thoughts in plain PyTorch: one loop, which PyTorch runs back.

Every thought multiplies by the same matrices: the weights, and the question's
keys and values; see `torch_layers` for what becomes of their gradients.
"""

import torch

from keras_coconut.models import dropout
from keras_coconut.models.attention import HIDDEN_SCORE
from keras_coconut.models.torch_layers import Remembered


class Chain:
    """The loop over thoughts.

    Args:
        layers: `torch_layers.Layers`.
        question: the `decoder.Span` of the question.
        thought_mask: bool tensor (B, K).
        positions: int tensor (B, K).
        masks: `dropout.Masks` of all slots.
    """

    def __init__(self, layers, question, thought_mask, positions, masks):
        self.layers = layers
        self.mask, self.question_mask = thought_mask, question.mask
        self.positions = torch.nn.functional.embedding(
            positions, layers.position_table
        )
        self.masks = masks
        self.question = [
            (
                Remembered(keys.mT, keys.detach().mT),
                Remembered(values, values.detach()),
            )
            for keys, values in zip(question.keys, question.values)
        ]

    def run(self, first):
        """Takes one pass over each thought, the next from the one before.

        Args:
            first: (B, D), the first thought.

        Returns:
            A tuple of the thoughts (B, K, D), and of their keys and their
            values, each a tuple with one tensor (B, heads, K, head size) for
            each layer.
        """
        spans = [None] * len(self.layers)
        thought, thoughts = first, []
        for slot in range(self.mask.shape[1]):
            thoughts.append(thought)
            thought, spans = self.step(slot, thought, spans)
        keys, values = zip(*spans)
        return torch.stack(thoughts, dim=1), keys, values

    def step(self, slot, thought, spans):
        """Takes one pass over one thought.

        Args:
            slot: int.
            thought: (B, D).
            spans: for each layer the keys and values of the thoughts before,
                `None` if there are none.

        Returns:
            A tuple of the next thought and of the spans with this one.
        """
        drop = _OneSlot(dropout.DrawnDropout(self.masks, slot))
        hidden = self._hidden(slot)
        x = drop.embeddings(thought + self.positions[:, slot])
        grown = []
        for number, span in enumerate(spans):

            def attend(query, *own, number=number, span=span):
                return self._attend(number, query, own, span, hidden, drop)

            x, *span = self.layers.run(number, x, attend, drop, later=True)
            grown.append(span)
        return self.layers.norm(self.layers.backbone.layer_norm, x), grown

    def _attend(self, number, query, own, span, hidden, drop):
        """Attends to the question and to the thoughts so far."""
        heads = self.layers.backbone.num_heads
        query, *own = (x.view(len(x), heads, 1, -1) for x in (query, *own))
        if span is not None:
            own = [torch.cat(pair, dim=2) for pair in zip(span, own)]
        keys, values = own
        question_keys, question_values = self.question[number]
        query = query * query.shape[-1] ** -0.5
        scores = torch.cat(
            [question_keys.times(query, later=True), query @ keys.mT], dim=-1
        )
        scores = scores.float().masked_fill(hidden, HIDDEN_SCORE)
        weights = torch.softmax(scores, dim=-1).to(query.dtype)
        weights = drop.weights(number, weights)
        length = self.question_mask.shape[1]
        attended = question_values.times(weights[..., :length], later=True)
        attended = attended + weights[..., length:] @ values
        return attended.flatten(1), keys, values

    def _hidden(self, slot):
        """Returns (B, 1, 1, Q + slot + 1), true where nothing is seen."""
        seen = self.mask[:, : slot + 1].clone()
        seen[:, slot] = True
        return ~torch.cat([self.question_mask, seen], dim=1)[:, None, None]


class _OneSlot:
    """Drops from one position (B, D) as from a span (B, 1, D)."""

    def __init__(self, drawn):
        self.drawn = drawn
        self.weights = drawn.weights
        self.nothing = not drawn.masks.weights

    def embeddings(self, x):
        return x if self.nothing else self.drawn.embeddings(x[:, None])[:, 0]

    def attention(self, number, x):
        if self.nothing:
            return x
        return self.drawn.attention(number, x[:, None])[:, 0]

    def feedforward(self, number, x):
        if self.nothing:
            return x
        return self.drawn.feedforward(number, x[:, None])[:, 0]
