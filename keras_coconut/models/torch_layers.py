"""A KerasHub layer in plain PyTorch, and gradients that are added in place.

PyTorch runs operations one by one. Through Keras' layers the bookkeeping around
those of a single position takes as long as their arithmetic; called plainly it
takes a third. So this file writes down once more what `decoder.walk` asks of a
KerasHub layer. `tests/models/test_torch_passes.py` holds it to that; a backbone
with layers of another kind, LoRA for one, goes the general way.

Question, thoughts and response multiply by the same matrices. The gradient of a
matrix is the sum of what went in times what came back, and here each part is
added where the sum already stands: to write one as large as all weights and to
add it to another takes as long as a thought. Of the thoughts, each a few rows,
both are kept until the way back has come to its end, and multiplied once.

This file imports PyTorch; `passes.py` imports it, where that is the backend.
"""

import torch

from keras_coconut.models.products import as_matrix, is_plain

# Up to so many rows meet so many columns at a time; see `_multiply`.
_FEW_ROWS = 32
_BLOCK = 128


def can_run(backbone) -> bool:
    """Whether a backbone has no layers but of this kind."""
    return all(
        is_plain(dense)
        for layer in backbone.transformer_layers
        for dense in _denses(layer)
    )


class Layers:
    """The layers of a backbone, with the weights that they have now.

    Args:
        backbone: a `keras_hub.models.GPT2Backbone`.
    """

    def __init__(self, backbone):
        self.backbone = backbone
        self.dtype = getattr(torch, backbone.compute_dtype)
        table = backbone.position_embedding.position_embeddings
        self.position_table = self._read(table)
        self._affine = {}
        norms = [backbone.layer_norm]
        for layer in backbone.transformer_layers:
            norms.append(layer._self_attention_layer_norm)
            norms.append(layer._feedforward_layer_norm)
            for dense in _denses(layer):
                kernel = dense.kernel.value
                bias = self._read(dense.bias).flatten()
                matrix = as_matrix(dense, kernel.detach()).to(self.dtype)
                self._affine[id(dense)] = Remembered(kernel, matrix), bias
        # In float32 whatever the compute type, as Keras does.
        self._norms = {
            id(norm): (norm.gamma.value.float(), norm.beta.value.float())
            for norm in norms
        }

    def __len__(self):
        return len(self.backbone.transformer_layers)

    def run(self, number, x, attend, dropout, later=False, last=None):
        """Runs one layer over positions, each on its own but for `attend`.

        Args:
            number: int, that of the layer.
            x: float tensor (N, D), one row for each position.
            attend: function of query, keys and values, (N, D) each, which
                returns what was attended to, (N, D), and the keys and values as
                later positions attend to them.
            dropout: a `LayerDropout`, or what has its methods.
            later: bool. Whether to keep the few rows of `x` for the weights'
                gradient, and multiply them later on with others.
            last: int tensor, the positions that are wanted; all if `None`.

        Returns:
            A tuple of the hidden states and of the keys and values.
        """
        layer = self.backbone.transformer_layers[number]
        attention = layer._self_attention_layer
        normed = self.norm(layer._self_attention_layer_norm, x)
        keys = self._dense(attention.key_dense, normed, later)
        values = self._dense(attention.value_dense, normed, later)
        if last is not None:
            x, normed = x[last], normed[last]
        query = self._dense(attention.query_dense, normed, later)
        attended, keys, values = attend(query, keys, values)
        attended = self._dense(attention.output_dense, attended, later)
        x = x + dropout.attention(number, attended)
        up = layer._feedforward_intermediate_dense
        hidden = self.norm(layer._feedforward_layer_norm, x)
        hidden = up.activation(self._dense(up, hidden, later))
        down = layer._feedforward_output_dense
        hidden = self._dense(down, hidden, later)
        return x + dropout.feedforward(number, hidden), keys, values

    def norm(self, norm, x):
        gamma, beta = self._norms[id(norm)]
        normed = torch.nn.functional.layer_norm(
            x.float(), gamma.shape, gamma, beta, norm.epsilon
        )
        return normed.to(x.dtype)

    def _dense(self, dense, x, later):
        remembered, bias = self._affine[id(dense)]
        return remembered.times(x, bias, later)

    def _read(self, variable):
        return variable.value.to(self.dtype)


class Remembered:
    """A matrix that is multiplied by at several places.

    Args:
        tensor: what takes the gradient.
        matrix: the same values without a gradient, (..., inputs, outputs).
    """

    def __init__(self, tensor, matrix):
        self._products = _Products(matrix)
        # Hands on the gradient when all products have had theirs: each product
        # takes it for an argument.
        self._gate = None
        if torch.is_grad_enabled() and tensor.requires_grad:
            self._gate = _Gate.apply(tensor, self._products)

    def times(self, x, bias=None, later=False):
        """Returns `x @ matrix + bias`; for `later` see `Layers.run`."""
        return _Times.apply(x, self._gate, bias, self._products, later)


class _Products:
    """A matrix, and what of its gradient is known."""

    def __init__(self, matrix):
        self.matrix = matrix
        self.sum = None
        self.pairs = []

    def add(self, went_in, came_back):
        went_in = went_in.mT
        if self.sum is None:
            # Summed up in float32 whatever the compute type.
            self.sum = (went_in @ came_back).float()
        elif self.sum.ndim == 2 and came_back.dtype == self.sum.dtype:
            self.sum.addmm_(went_in, came_back)
        else:
            self.sum += went_in @ came_back

    def gradient(self):
        """Returns the gradient, and forgets it."""
        if self.pairs:
            self.add(*(torch.cat(parts, dim=-2) for parts in zip(*self.pairs)))
        if self.sum is None:
            # Of a single thought the last layer's output goes nowhere.
            self.sum = torch.zeros_like(self.matrix)
        gradient, self.sum, self.pairs = self.sum, None, []
        return gradient


class _Gate(torch.autograd.Function):
    @staticmethod
    def forward(ctx, tensor, products):
        ctx.products, ctx.shape, ctx.dtype = (
            products,
            tensor.shape,
            tensor.dtype,
        )
        return tensor.new_zeros(())

    @staticmethod
    def backward(ctx, _):
        gradient = ctx.products.gradient()
        return gradient.reshape(ctx.shape).to(ctx.dtype), None


class _Times(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, gate, bias, products, later):
        ctx.products, ctx.later = products, later
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None)
        if not later:
            return torch.addmm(bias, x, products.matrix)
        product = _multiply(x, products.matrix)
        return product if bias is None else product + bias

    @staticmethod
    def backward(ctx, by_output):
        products = ctx.products
        by_x = by_bias = None
        if ctx.needs_input_grad[0]:
            by_x = _multiply(by_output, products.matrix.mT)
        if ctx.needs_input_grad[1]:
            # Detached: what holds the graph's own tensors is never freed.
            x = ctx.saved_tensors[0].detach()
            if ctx.later:
                products.pairs.append((x, by_output))
            else:
                products.add(x, by_output)
        if ctx.needs_input_grad[2]:
            by_bias = by_output.sum(dim=0)
        return by_x, None, by_bias, None, None


def _multiply(x, matrix):
    # On a CPU the library copies a matrix into another order before it
    # multiplies a few rows by it. By blocks of columns, which stay in the
    # cache, that takes two thirds of the time.
    _, width = matrix.shape[-2:]
    if (
        x.ndim == 2
        and 1 < len(x) <= _FEW_ROWS
        and width > _BLOCK
        and width % _BLOCK == 0
        and x.device.type == "cpu"
    ):
        blocks = matrix.unflatten(1, (-1, _BLOCK)).transpose(0, 1)
        x = x.expand(len(blocks), -1, -1)
        return torch.bmm(x, blocks).transpose(0, 1).flatten(1)
    return x @ matrix


def _denses(layer):
    attention = layer._self_attention_layer
    return (
        attention.query_dense,
        attention.key_dense,
        attention.value_dense,
        attention.output_dense,
        layer._feedforward_intermediate_dense,
        layer._feedforward_output_dense,
    )
