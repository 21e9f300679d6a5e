"""The chain of thoughts as one differentiable operation.

Forward, a loop: thought k + 1 is the hidden state at thought k, so the passes
come one after another. Each reads all weights for a single position, and that
is all it costs. What a chain need not cost:

- a program that grows with the thoughts: the loop's body is compiled once, and
  how often it runs is data, so one program serves every stage;
- a gradient of all weights for each thought, of which there would be K to add
  up: only the gradients of the thoughts depend on each other. The loop backward
  hands those from thought to thought and nothing else. Once they are known, all
  thoughts take one pass together, as if they had been given, which yields the
  gradient of the weights and of the question's keys and values;
- activations kept for the backward pass, which the loop backward recomputes
  from the thoughts, keys and values.
"""

import keras
from keras import ops

from keras_coconut.models import autodiff, decoder, dropout
from keras_coconut.models.dropout import take_slot


def think(backbone, first, question, thought_mask, length, training):
    """Thinks as often as the row of most thoughts does.

    Args:
        backbone: a `keras_hub.models.GPT2Backbone`.
        first: float tensor (B, 1, D), the first thought: the hidden state at
            `<bot>`.
        question: the `decoder.Span` of the question.
        thought_mask: int tensor (B, K), 1 where the row thinks; K is not 0.
        length: int tensor (B,), real positions of each question.
        training: bool, whether dropout is on.

    Returns:
        A tuple of the thoughts (B, K, D) and their `decoder.Span`. What stands
        in a slot in which a row does not think means nothing.
    """
    slots = thought_mask.shape[1]
    weights = _weights(backbone)
    args = {
        "trained": [ops.convert_to_tensor(w) for w in weights if w.trainable],
        "first": first,
        "keys": question.keys,
        "values": question.values,
    }
    constants = {
        "frozen": [
            ops.convert_to_tensor(w) for w in weights if not w.trainable
        ],
        "question_mask": question.mask,
        "thought_mask": ops.cast(thought_mask, "bool"),
        "positions": positions(length, thought_mask),
        "times": ops.max(ops.sum(thought_mask, axis=1)),
        "dropout": dropout.draw(
            backbone,
            ops.shape(thought_mask)[0],
            slots,
            question.mask.shape[1] + slots,
            training,
        ),
    }
    thoughts, keys, values = autodiff.with_gradient(
        lambda *inputs: Chain(backbone, *inputs).forward(),
        lambda *inputs: Chain(backbone, *inputs[:2]).backward(*inputs[2:]),
        args,
        constants,
    )
    return thoughts, decoder.Span(keys, values, constants["thought_mask"])


def positions(length, thought_mask):
    """Returns the positions (B, K) of the thoughts in their rows.

    An idle slot repeats the last position; no other position sees it.
    """
    return ops.maximum(
        length[:, None] + ops.cumsum(thought_mask, axis=1) - 1, 0
    )


class Chain:
    """The loop forward and the loop backward over the same tensors."""

    def __init__(self, backbone, args, constants):
        self.backbone = backbone
        self.trained = args["trained"]
        self.first = args["first"]
        self.keys, self.values = args["keys"], args["values"]
        self.constants = constants
        self.slots = constants["thought_mask"].shape[1]
        self.trips = autodiff.trips(constants["times"], self.slots)

    def forward(self):
        batch, _, hidden = ops.shape(self.first)
        _, heads, _, size = ops.shape(self.keys[0])
        empty = tuple(
            ops.zeros((batch, heads, self.slots, size), key.dtype)
            for key in self.keys
        )
        thoughts = ops.zeros((batch, self.slots, hidden), self.first.dtype)

        def body(slot, state):
            thought, thoughts, keys, values = state
            thoughts = ops.slice_update(thoughts, [0, slot, 0], thought)
            thought, *own = self.step(slot, thought, keys, values)
            return (thought, thoughts, *_write(slot, (keys, values), own))

        state = (self.first, thoughts, empty, empty)
        return ops.fori_loop(0, self.trips, body, state)[1:]

    def backward(self, outputs, cotangents):
        thoughts, keys, values = outputs
        by_thoughts, by_keys, by_values = cotangents

        def body(_, state):
            # Of what step `slot` returned: the next thought, and the keys and
            # values that later steps and the response have attended to. The
            # slot is counted down, not computed from the trips: XLA on
            # TensorFlow would compile a program for each number of them.
            slot, by_next, by_hidden, by_keys, by_values = state
            by_hidden = ops.slice_update(by_hidden, [0, slot, 0], by_next)
            by_thought, more_keys, more_values = self._back_through(
                slot, thoughts, keys, values
            )(
                (
                    by_next,
                    tuple(take_slot(x, slot, 2) for x in by_keys),
                    tuple(take_slot(x, slot, 2) for x in by_values),
                )
            )
            return (
                slot - 1,
                by_thought + take_slot(by_thoughts, slot, 1),
                by_hidden,
                tuple(x + y for x, y in zip(by_keys, more_keys)),
                tuple(x + y for x, y in zip(by_values, more_values)),
            )

        _, by_first, by_hidden, by_keys, by_values = ops.fori_loop(
            0,
            self.trips,
            body,
            (
                self.trips - 1,
                ops.zeros_like(self.first),
                ops.zeros_like(thoughts),
                tuple(by_keys),
                tuple(by_values),
            ),
        )
        _, back = autodiff.pullback(
            lambda *args: self.together(thoughts, keys, values, *args),
            (self.trained, self.keys, self.values),
        )
        by_trained, *by_question = back((by_hidden, by_keys, by_values))
        return {
            "trained": by_trained,
            "first": by_first,
            "keys": by_question[0],
            "values": by_question[1],
        }

    def step(self, slot, thought, keys, values):
        """Takes one pass over one thought.

        Args:
            slot: int or int tensor.
            thought: (B, 1, D).
            keys, values: those of the slots before, zeros in the others.

        Returns:
            A tuple of the next thought, and of the keys and the values that
            were computed in this slot.
        """
        slots = ops.arange(self.slots)
        visible = ops.logical_and(slots < slot, self.constants["thought_mask"])
        visible = ops.logical_or(visible, slots == slot)[:, None, None]
        # Added, not written: what a slot attends to in itself then arrives,
        # backward, as the gradient of its zeros.
        here = ops.cast(slots == slot, thought.dtype)[:, None]

        def own(number, own_keys, own_values):
            return [
                (
                    keys[number] + here * own_keys,
                    values[number] + here * own_values,
                    visible,
                )
            ]

        with self._weights(self.trained):
            return decoder.walk(
                self.backbone,
                thought,
                take_slot(self.constants["positions"], slot, 1),
                [self._question(self.keys, self.values)],
                own,
                dropout.DrawnDropout(self.constants["dropout"], slot),
            )

    def together(self, thoughts, keys, values, trained, *question):
        """Takes one pass over all thoughts as if they had been given.

        They attend to the keys and values that are known, so that no gradient
        flows from one to another: the loop has seen to that.
        """
        visible = decoder.visible_in_span(self.constants["thought_mask"])
        with self._weights(trained):
            return decoder.walk(
                self.backbone,
                thoughts,
                self.constants["positions"],
                [self._question(*question), (keys, values, visible)],
                lambda number, keys, values: [],
                dropout.DrawnDropout(self.constants["dropout"]),
                roll=True,
            )

    def _back_through(self, slot, thoughts, keys, values):
        """Takes a step once more; returns what leads back through it."""
        slots = ops.arange(self.slots)[:, None]
        past = [
            tuple(ops.where(slots < slot, x, 0) for x in tensors)
            for tensors in (keys, values)
        ]
        return autodiff.pullback(
            lambda *args: self.step(slot, *args),
            (take_slot(thoughts, slot, 1), *past),
        )[1]

    def _question(self, keys, values):
        return keys, values, self.constants["question_mask"][:, None, None]

    def _weights(self, trained):
        """Lets the backbone's layers see given tensors as their weights."""
        trained, frozen = iter(trained), iter(self.constants["frozen"])
        return keras.StatelessScope(
            [
                (weight, next(trained if weight.trainable else frozen))
                for weight in _weights(self.backbone)
            ]
        )


def _write(slot, buffers, news):
    return [
        tuple(
            ops.slice_update(x, [0, 0, slot, 0], y) for x, y in zip(buffer, new)
        )
        for buffer, new in zip(buffers, news)
    ]


def _weights(backbone):
    """The variables that a pass over a thought reads."""
    return [
        *backbone.position_embedding.weights,
        *(w for layer in backbone.transformer_layers for w in layer.weights),
        *backbone.layer_norm.weights,
    ]
