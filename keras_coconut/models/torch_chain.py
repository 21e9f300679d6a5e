"""The chain of thoughts in plain PyTorch: a loop forward and a loop back.

A thought is a few rows that pass through all weights. What it must cost is to
read these, and the question's keys and values; autograd's bookkeeping around
each operation took a quarter of the time, so the way back is written out here.
As in `chain.py`, it hands gradients from thought to thought and keeps what came
back to each product; one product for all thoughts yields a matrix's gradient.
"""

import torch
from torch.autograd.function import once_differentiable

from keras_coconut.models import attention
from keras_coconut.models.torch_products import multiply


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
        self.question = question
        self.positions = torch.nn.functional.embedding(
            positions, layers.position_table
        )
        self.masks = masks
        own = attention.visible_in_span(thought_mask)
        seen = question.mask[:, None, None].expand(-1, -1, own.shape[2], -1)
        self.hidden = ~torch.cat([seen, own], dim=-1)

    def run(self, first):
        """Takes one pass over each thought, the next from the one before.

        Args:
            first: (B, D), the first thought.

        Returns:
            A tuple of the thoughts and what follows the last, (B, K + 1, D),
            and of their keys and their values, each a tuple with one tensor
            (B, heads, K, head size) for each layer.
        """
        keep = torch.is_grad_enabled()
        thoughts, *spans = _Think.apply(self, keep, first, *self._inputs())
        count = len(self.layers)
        return thoughts, tuple(spans[:count]), tuple(spans[count:])

    def _inputs(self):
        """Returns what takes a gradient besides the first thought."""
        layers = self.layers.layers
        norms = [norm for layer in layers for norm in layer.norms]
        affine = [affine for layer in layers for affine in layer.affine]
        return [
            self.positions,
            *self.question.keys,
            *self.question.values,
            *(x for norm in norms for x in (norm.gamma, norm.beta)),
            self.layers.norm.gamma,
            self.layers.norm.beta,
            *(one.bias for one in affine),
            *(one.gate for one in affine),
        ]

    def forward(self, first, steps=None):
        """As `run`, without a gradient; appends what `step` leaves behind."""
        batch, slots, _ = self.positions.shape
        _, heads, _, size = self.question.keys[0].shape
        shape = (len(self.layers), batch, heads, slots, size)
        keys, values = (first.new_zeros(shape) for _ in range(2))
        # As `_Layer` writes and reads them. Detached: a graph that holds what
        # it ends in is never freed.
        self.keys, self.values = keys.detach(), values.detach()
        thoughts = [first]
        for slot in range(slots):
            thought, *step = self.step(slot, thoughts[slot])
            thoughts.append(thought)
            if steps is not None:
                steps.append(step)
        return torch.stack(thoughts, dim=1), keys.unbind(), values.unbind()

    def step(self, slot, thought):
        """Takes one pass over one thought (B, D).

        Returns:
            A tuple of the next thought, a list with the `_Layer` of each layer,
            and the last `_Norm`.
        """
        x = thought + self.positions[:, slot]
        x = self.drop(self.masks.embeddings, 0, slot, x)
        computed = []
        for number in range(len(self.layers)):
            layer = _Layer(self, number, slot)
            x = layer.forward(x)
            computed.append(layer)
        norm = _Norm(self.layers.norm)
        return norm.forward(x), computed, norm

    def backward(self, steps, by_thoughts, by_spans):
        """Returns the gradients of `first` and `_inputs`.

        Those of the matrices are added to what stands behind their gates.
        """
        count = len(self.layers)
        by_keys, by_values = (
            [x.clone() for x in tensors]
            for tensors in (by_spans[:count], by_spans[count:])
        )
        by_positions = torch.empty_like(self.positions)
        by_thought = by_thoughts[:, -1]
        for slot in reversed(range(len(steps))):
            computed, norm = steps[slot]
            by_x = norm.backward(by_thought)
            for layer in reversed(computed):
                by_x = layer.backward(
                    by_x, by_keys[layer.number], by_values[layer.number]
                )
            by_x = self.drop(self.masks.embeddings, 0, slot, by_x)
            by_positions[:, slot] = by_x
            by_thought = by_x + by_thoughts[:, slot]
        alike = [list(same) for same in zip(*(step[0] for step in steps))]
        question = [_by_question(same) for same in alike]
        return (
            by_thought,
            by_positions,
            *(by_keys for by_keys, _ in question),
            *(by_values for _, by_values in question),
            *(
                gradient
                for same in alike
                for norms in zip(*(layer.norms for layer in same))
                for gradient in _by_norm(norms)
            ),
            *_by_norm([norm for _, norm in steps]),
            *(
                _by_affine(products)
                for same in alike
                for products in zip(*(layer.products for layer in same))
            ),
            *[None] * len(self.layers.layers[0].affine) * count,
        )

    def drop(self, masks, number, slot, x):
        """Drops from x (B, D), or leads its gradient back: it is the same."""
        return x * masks[number][:, slot].to(x.dtype) if masks else x

    def drop_weights(self, number, slot, x):
        masks = self.masks.weights
        if not masks:
            return x
        mask = masks[number][:, :, slot : slot + 1, : x.shape[-1]]
        return x * mask.to(x.dtype)


class _Think(torch.autograd.Function):
    @staticmethod
    def forward(ctx, chain, keep, first, *others):
        # Not the chain's: what a step leaves behind holds the chain.
        ctx.chain, ctx.steps = chain, [] if keep else None
        thoughts, keys, values = chain.forward(first, ctx.steps)
        return thoughts, *keys, *values

    @staticmethod
    @once_differentiable
    def backward(ctx, by_thoughts, *by_spans):
        chain, steps = ctx.chain, ctx.steps
        return None, None, *chain.backward(steps, by_thoughts, by_spans)


class _Layer:
    """One layer at one slot, and what it leaves behind."""

    def __init__(self, chain, number, slot):
        self.chain, self.number, self.slot = chain, number, slot
        layer = chain.layers.layers[number]
        self.activation = layer.activation
        self.norms = tuple(_Norm(norm) for norm in layer.norms)
        self.products = tuple(_Product(affine) for affine in layer.affine)

    def forward(self, x):
        chain, number, slot = self.chain, self.number, self.slot
        of_attention, of_feedforward = self.norms
        query, key, value, output, up, down = self.products
        normed = of_attention.forward(x)
        attended = self._attend(
            *(product.forward(normed) for product in (query, key, value))
        )
        attended = output.forward(attended)
        x = x + chain.drop(chain.masks.attention, number, slot, attended)
        self.raised = up.forward(of_feedforward.forward(x))
        hidden = down.forward(self.activation(self.raised))
        return x + chain.drop(chain.masks.feedforward, number, slot, hidden)

    def backward(self, by_x, by_keys, by_values):
        """Returns the gradient of what went in.

        Args:
            by_x: (B, D).
            by_keys, by_values: (B, heads, K, head size), the gradients of the
                thoughts' keys and values so far; those of earlier thoughts, and
                of this one, are added.
        """
        chain, number, slot = self.chain, self.number, self.slot
        of_attention, of_feedforward = self.norms
        query, key, value, output, up, down = self.products
        by_hidden = down.backward(
            chain.drop(chain.masks.feedforward, number, slot, by_x)
        )
        by_hidden = up.backward(self._back_through_activation(by_hidden))
        by_x = by_x + of_feedforward.backward(by_hidden)
        by_attended = output.backward(
            chain.drop(chain.masks.attention, number, slot, by_x)
        )
        by_query = self._back_through_attention(by_attended, by_keys, by_values)
        by_normed = query.backward(by_query)
        by_normed += key.backward(by_keys[:, :, slot].flatten(1))
        by_normed += value.backward(by_values[:, :, slot].flatten(1))
        return by_x + of_attention.backward(by_normed)

    def _attend(self, query, key, value):
        """Attends to the question and to the thoughts so far, (B, D)."""
        chain, number, slot = self.chain, self.number, self.slot
        heads = chain.layers.heads
        chain.keys[number][:, :, slot] = key.unflatten(1, (heads, -1))
        chain.values[number][:, :, slot] = value.unflatten(1, (heads, -1))
        query = query.unflatten(1, (heads, 1, -1))
        self.query = query * query.shape[-1] ** -0.5
        scores = self._with_all(self.query, chain.question.keys, chain.keys)
        hidden = chain.hidden[:, :, slot : slot + 1, : scores.shape[-1]]
        # Softmax in float32 whatever the compute type, as Keras does.
        scores = scores.float().masked_fill(hidden, attention.HIDDEN_SCORE)
        self.weights = torch.softmax(scores, dim=-1)
        weights = chain.drop_weights(number, slot, self.weights.to(query.dtype))
        self.dropped, self.own_dropped = self._apart(weights)
        attended = self.dropped @ chain.question.values[number]
        attended += self.own_dropped @ chain.values[number][:, :, : slot + 1]
        return attended.flatten(1)

    def _back_through_attention(self, by_attended, by_keys, by_values):
        """Returns the gradient of the query (B, D)."""
        chain, number, slot = self.chain, self.number, self.slot
        heads = chain.layers.heads
        self.by_attended = by_attended.unflatten(1, (heads, 1, -1))
        by_weights = self._with_all(
            self.by_attended, chain.question.values, chain.values
        )
        by_weights = chain.drop_weights(number, slot, by_weights).float()
        by_scores = self.weights * by_weights
        by_scores -= self.weights * by_scores.sum(dim=-1, keepdim=True)
        self.by_scores, by_own = self._apart(by_scores.to(by_attended.dtype))
        by_keys[:, :, : slot + 1] += by_own.mT @ self.query
        by_values[:, :, : slot + 1] += self.own_dropped.mT @ self.by_attended
        by_query = self.by_scores @ chain.question.keys[number]
        by_query += by_own @ chain.keys[number][:, :, : slot + 1]
        return (by_query * by_query.shape[-1] ** -0.5).flatten(1)

    def _with_all(self, x, question, own):
        """Returns x (B, heads, 1, size) times all seen (.., length, size)."""
        number, slot = self.number, self.slot
        own = own[number][:, :, : slot + 1]
        return torch.cat([x @ question[number].mT, x @ own.mT], dim=-1)

    def _apart(self, x):
        """Returns the part of the question, and that of the thoughts."""
        return x.split([x.shape[-1] - self.slot - 1, self.slot + 1], dim=-1)

    def _back_through_activation(self, by_hidden):
        with torch.enable_grad():
            raised = self.raised.detach().requires_grad_()
            hidden = self.activation(raised)
        return torch.autograd.grad(hidden, raised, by_hidden)[0]


class _Norm:
    """A `torch_layers.Norm` at one slot."""

    def __init__(self, norm):
        self.norm = norm

    def forward(self, x):
        norm = self.norm
        self.x = x.float()
        y, self.mean, self.scale = torch.native_layer_norm(
            self.x, norm.gamma.shape, norm.gamma, norm.beta, norm.epsilon
        )
        return y.to(x.dtype)

    def backward(self, by_y):
        self.by_y = by_y.float()
        by_x = _norm_gradients(self.norm, self, [True, False, False])[0]
        return by_x.to(by_y.dtype)


class _Product:
    """A `torch_layers.Affine` at one slot."""

    def __init__(self, affine):
        self.affine = affine

    def forward(self, x):
        self.x = x
        return multiply(x, self.affine.matrix, self.affine.bias)

    def backward(self, by_y):
        self.by_y = by_y
        return multiply(by_y, self.affine.matrix.mT)


def _norm_gradients(norm, at, wanted):
    return torch.ops.aten.native_layer_norm_backward(
        at.by_y,
        at.x,
        norm.gamma.shape,
        at.mean,
        at.scale,
        norm.gamma,
        norm.beta,
        wanted,
    )


def _by_norm(norms):
    """Returns the gradients of gamma and beta from all slots."""
    at = _Norm(norms[0].norm)
    for name in ("x", "mean", "scale", "by_y"):
        setattr(at, name, torch.cat([getattr(norm, name) for norm in norms]))
    return _norm_gradients(at.norm, at, [False, True, True])[1:]


def _by_affine(products):
    """Returns the bias' gradient from all slots; adds the matrix's."""
    by_y = torch.cat([product.by_y for product in products])
    affine = products[0].affine
    if affine.gate is not None:
        affine.sum.add(torch.cat([product.x for product in products]), by_y)
    return by_y.sum(dim=0)


def _by_question(layers):
    """Returns the gradients of the question's keys and values."""

    def all_slots(name):
        return torch.cat([getattr(layer, name) for layer in layers], dim=2)

    return (
        all_slots("by_scores").mT @ all_slots("query"),
        all_slots("dropped").mT @ all_slots("by_attended"),
    )
