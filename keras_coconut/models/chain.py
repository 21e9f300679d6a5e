"""The chain of thoughts as one differentiable operation.

Forward, a loop: thought k + 1 is the hidden state at thought k, so the passes
come one after another. Each reads all weights for a single position, and that
is all it costs. What a chain need not cost:

- a program that grows with the thoughts: the loop's body is compiled once, and
  how often it runs is data, so one program serves every stage;
- a gradient of all weights for each thought, of which there would be K to add
  up: the loop backward hands gradients from thought to thought and records what
  comes back to each sublayer. Once that is known, one product for all thoughts
  yields the gradient of a weight;
- the matrix products of the forward pass again: they are recorded too. The rest
  of a step is small, and the loop backward recomputes it.
"""

import keras
from keras import ops, tree

from keras_coconut.models import (
    attention,
    autodiff,
    decoder,
    dropout,
    embeddings,
    recording,
)
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
        A tuple of the thoughts and what follows the last, (B, K + 1, D), and
        the `decoder.Span` of the thoughts. Row `b`, which thinks `n` times, has
        in slot `n` the hidden state at its last thought; what stands in later
        slots means nothing.
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
    thoughts, keys, values, _ = autodiff.with_gradient(
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
        # What a step calls, once one has been taken back; see `recording`.
        self.calls = None
        self.trips = autodiff.trips(constants["times"], self.slots)

    def forward(self):
        batch, _, hidden = ops.shape(self.first)
        _, heads, _, size = ops.shape(self.keys[0])
        empty = tuple(
            ops.zeros((batch, heads, self.slots, size), key.dtype)
            for key in self.keys
        )
        thoughts = ops.zeros((batch, self.slots + 1, hidden), self.first.dtype)
        records = tuple(
            ops.zeros((batch, self.slots, sum(widths)), self.first.dtype)
            for widths in recording.widths(self.backbone)
        )

        def body(slot, state):
            thought, thoughts, keys, values, records = state
            thoughts = _write(slot, thoughts, thought)
            sublayers = recording.Recording()
            thought, *own = self.step(slot, thought, keys, values, sublayers)
            keys, values = (
                tuple(_write(slot, x, y, axis=2) for x, y in zip(xs, ys))
                for xs, ys in zip((keys, values), own)
            )
            records = tuple(
                _write(slot, x, y) for x, y in zip(records, sublayers.records())
            )
            return thought, thoughts, keys, values, records

        state = (self.first, thoughts, empty, empty, records)
        last, thoughts, *spans = ops.fori_loop(0, self.trips, body, state)
        return ops.where(self._at_the_end(), last, thoughts), *spans

    def backward(self, outputs, cotangents):
        thoughts, keys, values, records = outputs
        by_thoughts, by_keys, by_values, _ = cotangents

        def body(_, state):
            # Of what step `slot` returned: the next thought, and the keys and
            # values that later steps and the response have attended to. The
            # slot is counted down, not computed from the trips: XLA on
            # TensorFlow would compile a program for each number of them.
            slot, by_next, by_inputs, by_keys, by_values, by_sublayers = state
            by_thought, more_keys, more_values, by_step = self._back_through(
                slot, thoughts, keys, values, records[1]
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
                _write(slot, by_inputs, by_thought),
                tuple(x + y for x, y in zip(by_keys, more_keys)),
                tuple(x + y for x, y in zip(by_values, more_values)),
                _write(slot, by_sublayers, recording.join(by_step)),
            )

        _, by_first, by_inputs, _, _, by_sublayers = ops.fori_loop(
            0,
            self.trips,
            body,
            (
                self.trips - 1,
                ops.sum(
                    ops.where(self._at_the_end(), by_thoughts, 0),
                    axis=1,
                    keepdims=True,
                ),
                ops.zeros_like(thoughts[:, :-1]),
                tuple(by_keys),
                tuple(by_values),
                ops.zeros_like(records[1]),
            ),
        )
        if self.calls is None:
            # A loop in Python that no row thought in.
            by_args = self.trained, self.keys, self.values
            trained, keys, values = tree.map_structure(ops.zeros_like, by_args)
            return {
                "trained": trained,
                "first": by_first,
                "keys": keys,
                "values": values,
            }
        with self._weights():
            of_inputs, of_outputs = recording.widths(self.backbone)
            calls = recording.read_calls(
                self.calls,
                recording.split(records[0], of_inputs),
                recording.split(records[1], of_outputs),
                recording.split(by_sublayers, of_outputs),
            )
            by_question = self._by_question(calls, keys, values)
            by_trained = self._by_trained(calls, by_inputs)
        return {
            "trained": by_trained,
            "first": by_first,
            "keys": tuple(by_keys for by_keys, _ in by_question),
            "values": tuple(by_values for _, by_values in by_question),
        }

    def step(self, slot, thought, keys, values, sublayers):
        """Takes one pass over one thought.

        Args:
            slot: int or int tensor.
            thought: (B, 1, D).
            keys, values: those of the slots before, zeros in the others.
            sublayers: `decoder.Sublayers` by which the layers compute.

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

        with self._weights():
            return decoder.walk(
                self.backbone,
                thought,
                take_slot(self.constants["positions"], slot, 1),
                [(self.keys, self.values, self._question_is_visible())],
                own,
                dropout.DrawnDropout(self.constants["dropout"], slot),
                sublayers=sublayers,
            )

    def _back_through(self, slot, thoughts, keys, values, outputs):
        """Takes a step once more; returns what leads back through it."""
        slots = ops.arange(self.slots)[:, None]
        past = [
            tuple(ops.where(slots < slot, x, 0) for x in tensors)
            for tensors in (keys, values)
        ]
        _, of_outputs = recording.widths(self.backbone)
        outputs = recording.split(take_slot(outputs, slot, 1), of_outputs)
        probes = [ops.zeros_like(output) for output in outputs]

        def step(thought, keys, values, probes):
            sublayers = recording.Replaying(outputs, probes)
            found = self.step(slot, thought, keys, values, sublayers)
            self.calls = sublayers.calls
            return found

        args = take_slot(thoughts, slot, 1), *past, probes
        return autodiff.pullback(step, args)[1]

    def _by_question(self, calls, keys, values):
        """Returns the gradients of the question's keys and values, by layer.

        All thoughts attend once more, with the queries they had.
        """
        queries = {id(call.sublayer): call.y for call in calls}
        by_attended = [call.by_y for call in calls if call.sublayer is None]
        visible = attention.visible_in_span(self.constants["thought_mask"])
        drop = dropout.DrawnDropout(self.constants["dropout"])
        found = []
        for number, layer in enumerate(self.backbone.transformer_layers):
            query = queries[id(layer._self_attention_layer.query_dense)]
            thoughts = keys[number], values[number], visible

            def attend(keys, values, query=query, own=thoughts, number=number):
                question = keys, values, self._question_is_visible()
                return attention.attend(query, [question, own], drop, number)

            args = self.keys[number], self.values[number]
            _, pull = autodiff.pullback(attend, args)
            found.append(pull(by_attended[number]))
        return found

    def _by_trained(self, calls, by_inputs):
        """Returns the gradients of the trained weights, in their order."""
        found = {}
        for call in calls:
            if call.sublayer is not None:
                for weight, gradient in call.by_weights():
                    found[id(weight)] = gradient
        embedding = self.backbone.position_embedding
        if embedding.position_embeddings.trainable:
            table = embedding.position_embeddings

            def look_up(value):
                with keras.StatelessScope([(table, value)]):
                    return embeddings.embed_positions(
                        self.backbone, self.constants["positions"]
                    )

            _, pull = autodiff.pullback(look_up, (table.value,))
            (found[id(table)],) = pull(by_inputs)
        return [
            found[id(weight)]
            for weight in _weights(self.backbone)
            if weight.trainable
        ]

    def _at_the_end(self):
        """Returns (K + 1, 1), true in the slot behind the last pass.

        Not an index: XLA on TensorFlow would compile a program for each.
        """
        return (ops.arange(self.slots + 1) == self.trips)[:, None]

    def _question_is_visible(self):
        return self.constants["question_mask"][:, None, None]

    def _weights(self):
        """Lets the backbone's layers see the given tensors as their weights."""
        trained, frozen = iter(self.trained), iter(self.constants["frozen"])
        return keras.StatelessScope(
            [
                (weight, next(trained if weight.trainable else frozen))
                for weight in _weights(self.backbone)
            ]
        )


def _write(slot, buffer, new, axis=1):
    at = [0] * len(buffer.shape)
    at[axis] = slot
    return ops.slice_update(buffer, at, new)


def _weights(backbone):
    """The variables that a pass over a thought reads."""
    return [
        *backbone.position_embedding.weights,
        *(w for layer in backbone.transformer_layers for w in layer.weights),
        *backbone.layer_norm.weights,
    ]
