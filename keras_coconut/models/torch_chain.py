"""The chain of thoughts in plain PyTorch.

PyTorch runs operations one by one, and a thought is some thousand small ones.
Through Keras' layers the bookkeeping around them takes 60 ms a thought of
GPT-2 base, as long as the arithmetic; called plainly they take 25. So this file
writes down once more what `decoder.walk` asks of a KerasHub layer, for a single
position. `tests/models/test_torch_chain.py` holds it to that; a
backbone with layers of another kind, LoRA for one, goes the general way.

Every thought multiplies by the same matrices: the weights, and the question's
keys and values. The gradient of such a matrix is a sum over thoughts of what
went in times what came back. Both are kept until the way back through the chain
has come to its end, and multiplied once.
"""

import functools

import keras

from keras_coconut.models import autodiff
from keras_coconut.models.decoder import HIDDEN_SCORE
from keras_coconut.models.dropout import DrawnDropout

# Up to so many rows meet so many columns at a time; see `_multiply`.
_FEW_ROWS = 32
_BLOCK = 128


def can_run(backbone) -> bool:
    """Whether the backbone runs here, and has no layers but of this kind."""
    return keras.config.backend() == "torch" and all(
        type(dense) in (keras.layers.Dense, keras.layers.EinsumDense)
        and dense.bias is not None
        and not dense.lora_enabled
        and dense.quantization_mode is None
        for layer in backbone.transformer_layers
        for dense in _denses(layer)
    )


def think(backbone, weights, args, constants):
    """Thinks in every slot; one differentiable operation.

    Args:
        backbone: a `keras_hub.models.GPT2Backbone`.
        weights: list of the variables that a pass reads.
        args, constants: see `chain.Chain`.

    Returns:
        A tuple of the thoughts (B, K, D), and of their keys and their values,
        each a tuple with one tensor (B, heads, K, head size) for each layer.
    """
    import torch

    # From the forward pass to the backward pass, of which there may be two.
    ways_back = []
    will_go_back = torch.is_grad_enabled()

    def forward(args, constants):
        chain = Chain(backbone, weights, args, constants)
        if not will_go_back:
            return chain.run(chain.first, chain.small)
        outputs, way_back = chain.there_and_back()
        ways_back.append(way_back)
        return outputs

    def backward(args, constants, outputs, cotangents):
        if not ways_back:
            chain = Chain(backbone, weights, args, constants)
            ways_back.append(chain.there_and_back()[1])
        return ways_back.pop()(cotangents)

    return autodiff.with_gradient(forward, backward, args, constants)


class Chain:
    """The loop over thoughts, and what leads back through it."""

    def __init__(self, backbone, weights, args, constants):
        self.backbone = backbone
        self.weights = weights
        self.first = args["first"]
        self.mask = constants["thought_mask"]
        self.question_mask = constants["question_mask"]
        self.positions = constants["positions"]
        self.masks = constants["dropout"]
        trained, frozen = iter(args["trained"]), iter(constants["frozen"])
        self.values = {
            id(weight): next(trained if weight.trainable else frozen)
            for weight in weights
        }
        self.matrices = {
            id(dense.kernel): _Matrix(
                _as_matrix(dense, self._cast(self.values[id(dense.kernel)])),
                dense.kernel.trainable,
            )
            for layer in backbone.transformer_layers
            for dense in _denses(layer)
        }
        self.small = [
            self.values[id(weight)]
            for weight in self._small_weights()
            if weight.trainable
        ]
        self.question = [
            (_Matrix(keys.mT), _Matrix(values))
            for keys, values in zip(args["keys"], args["values"])
        ]

    def there_and_back(self):
        """Returns what `run` does, and what leads back from it to `args`."""
        outputs, pull = autodiff.pullback(self.run, (self.first, self.small))

        def back(cotangents):
            by_first, by_small = pull(cotangents)
            by_small = iter(by_small)
            by_trained = []
            for weight in self.weights:
                if not weight.trainable:
                    continue
                matrix = self.matrices.get(id(weight))
                if matrix is None:
                    by_trained.append(next(by_small))
                    continue
                value = self.values[id(weight)]
                gradient = matrix.gradient().reshape(value.shape)
                by_trained.append(gradient.to(value.dtype))
            keys, values = zip(*self.question)
            return {
                "trained": by_trained,
                "first": by_first,
                "keys": tuple(matrix.gradient().mT for matrix in keys),
                "values": tuple(matrix.gradient() for matrix in values),
            }

        return outputs, back

    def run(self, first, small):
        """Takes one pass over each thought, the next from the one before."""
        import torch

        small = iter(small)
        self.read = {
            id(weight): self._cast(
                next(small) if weight.trainable else self.values[id(weight)]
            )
            for weight in self._small_weights()
        }
        layers = self.backbone.transformer_layers
        # Looked up once and not for every thought.
        self.affine = {
            id(dense): (
                self.matrices[id(dense.kernel)],
                self.read[id(dense.bias)].flatten(),
            )
            for layer in layers
            for dense in _denses(layer)
        }
        table = self.backbone.position_embedding.position_embeddings
        positions = self.read[id(table)][self.positions]
        spans = [None] * len(layers)
        thought, thoughts = first[:, 0], []
        for slot in range(self.mask.shape[1]):
            thoughts.append(thought)
            thought, spans = self.step(slot, thought, positions[:, slot], spans)
        keys, values = zip(*spans)
        return torch.stack(thoughts, dim=1), keys, values

    def step(self, slot, thought, position, spans):
        """Takes one pass over one thought.

        Args:
            slot: int.
            thought, position: (B, D), and what its position adds to it.
            spans: for each layer the keys and values of the thoughts before,
                `None` if there are none.

        Returns:
            A tuple of the next thought and of the spans with this one.
        """
        dropout = DrawnDropout(self.masks, slot)
        hidden = self._hidden(slot)
        x = _dropped(dropout.embeddings, thought + position)
        grown = []
        for number, span in enumerate(spans):
            x, span = self._layer(number, x, span, hidden, dropout)
            grown.append(span)
        return self._norm(self.backbone.layer_norm, x), grown

    def _layer(self, number, x, span, hidden, dropout):
        import torch

        layer = self.backbone.transformer_layers[number]
        attention, heads = layer._self_attention_layer, self.backbone.num_heads
        normed = self._norm(layer._self_attention_layer_norm, x)
        query, *own = (
            self._dense(dense, normed).view(len(x), heads, 1, -1)
            for dense in (
                attention.query_dense,
                attention.key_dense,
                attention.value_dense,
            )
        )
        if span is not None:
            own = [torch.cat(pair, dim=2) for pair in zip(span, own)]
        attended = self._attend(number, query, own, hidden, dropout)
        attended = self._dense(attention.output_dense, attended.flatten(1))
        x = x + _dropped(functools.partial(dropout.attention, number), attended)
        normed = self._norm(layer._feedforward_layer_norm, x)
        up = layer._feedforward_intermediate_dense
        output = self._dense(
            layer._feedforward_output_dense,
            up.activation(self._dense(up, normed)),
        )
        output = _dropped(
            functools.partial(dropout.feedforward, number), output
        )
        return x + output, own

    def _attend(self, number, query, span, hidden, dropout):
        """Attends to the question and to the thoughts so far."""
        import torch

        question_keys, question_values = self.question[number]
        keys, values = span
        query = query * query.shape[-1] ** -0.5
        scores = torch.cat(
            [question_keys.times(query), query @ keys.mT], dim=-1
        )
        scores = scores.float().masked_fill(hidden, HIDDEN_SCORE)
        weights = torch.softmax(scores, dim=-1).to(query.dtype)
        weights = dropout.weights(number, weights)
        length = question_values.matrix.shape[2]
        return (
            question_values.times(weights[..., :length])
            + weights[..., length:] @ values
        )

    def _hidden(self, slot):
        """Returns (B, 1, 1, L + slot + 1), true where nothing is seen."""
        import torch

        seen = self.mask[:, : slot + 1].clone()
        seen[:, slot] = True
        return ~torch.cat([self.question_mask, seen], dim=1)[:, None, None]

    def _dense(self, dense, x):
        matrix, bias = self.affine[id(dense)]
        return matrix.times(x) + bias

    def _norm(self, norm, x):
        import torch

        gamma, beta = self.read[id(norm.gamma)], self.read[id(norm.beta)]
        # In float32 whatever the compute type, as Keras does.
        normed = torch.nn.functional.layer_norm(
            x.float(),
            gamma.shape,
            gamma.float(),
            beta.float(),
            norm.epsilon,
        )
        return normed.to(x.dtype)

    def _small_weights(self):
        return [w for w in self.weights if id(w) not in self.matrices]

    def _cast(self, value):
        return value.to(self.first.dtype)


class _Matrix:
    """A matrix that all thoughts multiply by; its gradient waits for all."""

    def __init__(self, matrix, wanted=True):
        self.matrix = matrix
        self.wanted = wanted
        self.went_in, self.came_back = [], []

    def times(self, x):
        """Returns `x @ matrix`."""
        return _times().apply(x, self)

    def gradient(self):
        """Returns the gradient of the matrix; may be called once."""
        import torch

        if not self.went_in:
            # Of a single thought the last layer's output goes nowhere.
            return torch.zeros_like(self.matrix)
        went_in = torch.cat(self.went_in, dim=-2)
        came_back = torch.cat(self.came_back, dim=-2)
        self.went_in, self.came_back = [], []
        return went_in.mT @ came_back


@functools.cache
def _times():
    import torch

    class Times(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, matrix):
            ctx.matrix = matrix
            ctx.save_for_backward(x)
            return _multiply(x, matrix.matrix)

        @staticmethod
        def backward(ctx, by_output):
            if ctx.matrix.wanted:
                # Detached: what holds the graph's own tensors is never freed.
                ctx.matrix.went_in.append(ctx.saved_tensors[0].detach())
                ctx.matrix.came_back.append(by_output)
            return _multiply(by_output, ctx.matrix.matrix.mT), None

    return Times


def _multiply(x, matrix):
    import torch

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


def _dropped(drop, x):
    """Drops from one position (B, D) as from a span (B, 1, D)."""
    return drop(x[:, None])[:, 0]


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


def _as_matrix(dense, kernel):
    """Returns a kernel as (inputs, outputs): heads and sizes side by side."""
    if kernel.ndim == 2:
        return kernel
    return kernel.flatten(0, 1) if dense.bias.ndim == 1 else kernel.flatten(1)
