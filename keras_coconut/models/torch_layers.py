"""A KerasHub layer in plain PyTorch, and gradients that are added in place.

PyTorch runs operations one by one. Through Keras' layers the bookkeeping around
those of a single position takes as long as their arithmetic. So this file
writes down once more what `decoder.walk` asks of a KerasHub layer, held to it
by `tests/models/test_torch_passes.py`; a backbone with layers of another kind,
LoRA for one, goes the general way.

Question, thoughts and response multiply by the same matrices. The gradient of a
matrix is the sum of what went in times what came back, and here each part is
added where the sum already stands: to write one as large as all weights and to
add it to another takes as long as a thought.

This file imports PyTorch; `passes.py` imports it, where that is the backend.
"""

import torch

from keras_coconut.models.products import as_matrix, is_plain
from keras_coconut.models.torch_products import (
    add_by_transpose,
    multiply,
    multiply_by_transpose,
)


def can_run(backbone) -> bool:
    """Whether a backbone has no layers but of this kind."""
    return all(
        is_plain(dense)
        for layer in backbone.transformer_layers
        for dense in (
            *_attention_denses(layer._self_attention_layer),
            layer._feedforward_intermediate_dense,
            layer._feedforward_output_dense,
        )
    )


class Layers:
    """The layers of a backbone, with the weights that they have now.

    Args:
        backbone: a `keras_hub.models.GPT2Backbone`.
    """

    def __init__(self, backbone):
        self.heads = backbone.num_heads
        dtype = getattr(torch, backbone.compute_dtype)
        table = backbone.position_embedding.position_embeddings
        self.position_table = table.value.to(dtype)
        self.layers = [
            Layer(layer, dtype) for layer in backbone.transformer_layers
        ]
        self.norm = Norm(backbone.layer_norm)

    def __len__(self):
        return len(self.layers)

    def run(self, number, x, attend, dropout, last=None):
        """Runs one layer over positions, each on its own but for `attend`.

        Args:
            number: int, that of the layer.
            x: float tensor (N, D), one row for each position.
            attend: function of query, keys and values, (N, D) each, which
                returns what was attended to, (N, D), and the keys and values as
                later positions attend to them.
            dropout: a `LayerDropout`, or what has its methods.
            last: int tensor, the positions that are wanted; all if `None`.

        Returns:
            A tuple of the hidden states and of the keys and values.
        """
        layer = self.layers[number]
        normed = layer.attention_norm(x)
        keys, values = layer.key(normed), layer.value(normed)
        if last is not None:
            x, normed = x[last], normed[last]
        attended, keys, values = attend(layer.query(normed), keys, values)
        x = x + dropout.attention(number, layer.output(attended))
        hidden = layer.up(layer.feedforward_norm(x))
        hidden = layer.down(layer.activation(hidden))
        return x + dropout.feedforward(number, hidden), keys, values


class Layer:
    """The sublayers of one layer."""

    def __init__(self, layer, dtype):
        self.attention_norm = Norm(layer._self_attention_layer_norm)
        self.query, self.key, self.value, self.output = (
            Affine(dense, dtype)
            for dense in _attention_denses(layer._self_attention_layer)
        )
        self.feedforward_norm = Norm(layer._feedforward_layer_norm)
        self.up = Affine(layer._feedforward_intermediate_dense, dtype)
        self.activation = layer._feedforward_intermediate_dense.activation
        self.down = Affine(layer._feedforward_output_dense, dtype)
        self.norms = self.attention_norm, self.feedforward_norm
        self.affine = (
            self.query,
            self.key,
            self.value,
            self.output,
            self.up,
            self.down,
        )


class Norm:
    """A layer norm, in float32 whatever the compute type, as Keras has it."""

    def __init__(self, norm):
        self.gamma = norm.gamma.value.float()
        self.beta = norm.beta.value.float()
        self.epsilon = norm.epsilon

    def __call__(self, x):
        normed = torch.nn.functional.layer_norm(
            x.float(), self.gamma.shape, self.gamma, self.beta, self.epsilon
        )
        return normed.to(x.dtype)


class Affine:
    """A matrix and a bias.

    `matrix` is without a gradient; what takes its gradient is `gate`, a scalar
    that every product has for an argument, so that it hands on the gradient
    when all of them have added theirs to `sum`.
    """

    def __init__(self, dense, dtype):
        kernel = dense.kernel.value
        self.matrix = as_matrix(dense, kernel.detach()).to(dtype)
        self.bias = dense.bias.value.to(dtype).flatten()
        self.sum = Sum()
        self.gate = None
        if torch.is_grad_enabled() and kernel.requires_grad:
            self.gate = _Gate.apply(kernel, self.sum)

    def __call__(self, x):
        return _Affine.apply(x, self.gate, self.bias, self.matrix, self.sum)


class Sum:
    """The gradient of a matrix, as far as it is known."""

    def __init__(self):
        self._sum = None

    def add(self, went_in, came_back):
        """Adds the part of a product; both (N, width)."""
        if self._sum is None:
            # Summed up in float32 whatever the compute type.
            self._sum = multiply_by_transpose(went_in, came_back).float()
        else:
            add_by_transpose(self._sum, went_in, came_back)

    def take(self):
        """Returns the sum, `None` if there is none, and forgets it."""
        found, self._sum = self._sum, None
        return found


class _Gate(torch.autograd.Function):
    @staticmethod
    def forward(ctx, tensor, sum_):
        ctx.sum, ctx.shape, ctx.dtype = sum_, tensor.shape, tensor.dtype
        return tensor.new_zeros(())

    @staticmethod
    def backward(ctx, _):
        gradient = ctx.sum.take()
        if gradient is not None:
            gradient = gradient.reshape(ctx.shape).to(ctx.dtype)
        return gradient, None


class _Affine(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, gate, bias, matrix, sum_):
        ctx.matrix, ctx.sum = matrix, sum_
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None)
        return multiply(x, matrix, bias)

    @staticmethod
    def backward(ctx, by_output):
        by_x = by_bias = None
        if ctx.needs_input_grad[0]:
            by_x = multiply(by_output, ctx.matrix.mT)
        if ctx.needs_input_grad[1]:
            ctx.sum.add(ctx.saved_tensors[0], by_output)
        if ctx.needs_input_grad[2]:
            by_bias = by_output.sum(dim=0)
        return by_x, None, by_bias, None, None


def _attention_denses(attention):
    return (
        attention.query_dense,
        attention.key_dense,
        attention.value_dense,
        attention.output_dense,
    )
