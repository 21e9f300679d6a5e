"""Hidden states and attention at the thoughts, for analysis."""

import families
import numpy as np
import pytest
import slow
import tiny
from keras import ops

import keras_coconut
from keras_coconut.text import batches

QUESTIONS = ["start 1, +1", "start 3, +4, -2"]


FAMILIES = [
    "gpt2",
    *(pytest.param(f, marks=pytest.mark.thorough) for f in ("qwen3", "gemma2")),
]


@pytest.mark.parametrize("family", FAMILIES)
def test_states_are_those_of_kerashubs_layers(family):
    """A row by itself, through KerasHub's own layers up to each."""
    with slow.unfused_attention():
        backbone = families.make(family)
        model = keras_coconut.ContinuousThoughtLM(backbone)
        rows = [([3, 1, 4, 1, 5], 2, [9]), ([2, 7], 1, [8])]
        x = batches.pack_questions([q for q, _, _ in rows], [2, 1])
        last = len(backbone.transformer_layers) - 1
        states = model.think(x, layers=[0, last])
        _, inputs = slow.logits(backbone, rows, 8)
        positions = getattr(backbone, "position_embedding", None)
        y = inputs if positions is None else inputs + positions(inputs)
        for number, layer in enumerate(backbone.transformer_layers):
            y = layer(y)
            if number not in states.hidden_states:
                continue
            found = ops.convert_to_numpy(states.hidden_states[number])
            expected = ops.convert_to_numpy(y)
            for row, (question, count, _) in enumerate(rows):
                at = slice(len(question), len(question) + count)
                np.testing.assert_allclose(
                    found[row, :count], expected[row, at], atol=1e-5
                )
                assert not found[row, count:].any()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("thoughts", [2, 0])
def test_the_questions_last_token(family, thoughts):
    """It attends as it does where it is read by itself, in a slot."""
    backbone = families.make(family)
    decoder = keras_coconut.ContinuousThoughtLM(backbone).latent_decoder
    questions = [[3, 1, 4, 1, 5], [2, 7]]
    layers = tuple(range(len(backbone.transformer_layers)))
    x = batches.pack_questions(questions, [thoughts] * 2, slots=2)
    found = decoder.think(x, layers).asked
    x = batches.pack_questions([row[:-1] for row in questions], [1, 1])
    x["pause_ids"] = np.array([row[-1:] for row in questions], "int32")
    expected = decoder.think(x, layers).watched
    assert set(found) == set(expected) == set(layers)
    for layer in layers:
        one, other = (
            [ops.convert_to_numpy(value) for value in of[layer]]
            for of in (found, expected)
        )
        assert one[0].shape == (2, 1, backbone.hidden_dim)
        assert one[1].shape[2:] == (1, 5)
        np.testing.assert_allclose(one[0], other[0], atol=1e-5)
        np.testing.assert_allclose(one[1], other[1], atol=1e-5)


def states_with_pauses(backbone, questions, counts, pause):
    """KerasHub's own pass over each question and its pauses."""
    for question, count in zip(questions, counts):
        text = np.array([[*question, *[pause] * count]])
        hidden = slow.hidden_states(backbone, slow.embed(backbone, text))
        start = len(question) - 1
        yield ops.convert_to_numpy(hidden)[0, start : start + count]


@pytest.mark.parametrize("family", FAMILIES)
def test_states_at_pauses(family):
    backbone = families.make(family)
    decoder = keras_coconut.ContinuousThoughtLM(backbone).latent_decoder
    questions, counts, pause = [[3, 1, 4, 1, 5], [2, 7]], [2, 1], 6
    x = batches.pack_questions(questions, counts)
    x["pause_ids"] = np.full_like(x["thought_mask"], pause)
    found = ops.convert_to_numpy(decoder.think(x, (0,)).thoughts)
    with slow.unfused_attention():
        expected = states_with_pauses(backbone, questions, counts, pause)
        for row, states in enumerate(expected):
            np.testing.assert_allclose(
                found[row, : counts[row]], states, atol=1e-5
            )


def test_states_of_a_model_that_pauses():
    model = tiny.text_model(layers=2, thought_kind="pause")
    counts = [2, 3]
    found = model.read_states(QUESTIONS, counts, layers=[1])
    ids = model.preprocessor.tokenize_questions(QUESTIONS)
    expected = states_with_pauses(
        model.backbone, ids, counts, model.preprocessor.pause_id
    )
    for row, (count, states) in enumerate(zip(counts, expected)):
        np.testing.assert_allclose(
            found.thoughts[row, :count], states, atol=1e-5
        )
        assert not found.thoughts[row, count:].any()
        weights = found.attention[1][row, :, :count]
        np.testing.assert_allclose(weights.sum(axis=-1), 1, atol=1e-5)


@pytest.mark.thorough
def test_states_of_thoughts_are_what_think_returns():
    model = tiny.text_model(layers=2)
    found = model.read_states(QUESTIONS, [2, 3], layers=[0])
    expected = model.think(QUESTIONS, [2, 3], layers=[0])
    np.testing.assert_array_equal(found.thoughts, expected.thoughts)
    np.testing.assert_array_equal(
        found.question_attention[0], expected.question_attention[0]
    )
    np.testing.assert_array_equal(found.attention[0], expected.attention[0])


@pytest.mark.parametrize(
    "iterations", [None, pytest.param(2, marks=pytest.mark.thorough)]
)
def test_attention_is_a_share_of_what_is_seen(iterations):
    model = tiny.text_model(layers=2, num_iterations=iterations)
    counts = [2, 3]
    states = model.think(QUESTIONS, counts, layers=[1])
    np.testing.assert_allclose(
        states.thoughts, model.think(QUESTIONS, counts), atol=1e-6
    )
    (weights,) = states.attention.values()
    ids = model.preprocessor.tokenize_questions(QUESTIONS)
    padding = weights.shape[3] - 3
    for row, count in enumerate(counts):
        for slot in range(count):
            one = weights[row, :, slot]
            np.testing.assert_allclose(one.sum(axis=-1), 1, atol=1e-5)
            # Nothing of the padding, and nothing later than itself.
            assert not one[:, : padding - len(ids[row])].any()
            assert not one[:, padding + slot + 1 :].any()
            assert (
                one[:, padding - len(ids[row]) : padding + slot + 1] > 0
            ).all()
        assert not weights[row, :, count:].any()


@pytest.mark.thorough
def test_batches_of_several_lengths_are_joined():
    """Each question as if it stood alone."""
    model = tiny.text_model(layers=2)
    questions = [QUESTIONS[0], QUESTIONS[1] + "x" * 32]
    together = model.think(questions, [1, 2], batch_size=1, layers=[0, 1])
    for row, count in enumerate([1, 2]):
        alone = model.think(questions[row], count, layers=[0, 1])
        for layer in (0, 1):
            np.testing.assert_allclose(
                together.hidden_states[layer][row, :count],
                alone.hidden_states[layer][0],
                atol=1e-5,
            )
            asked = alone.question_attention[layer][0]
            np.testing.assert_allclose(
                together.question_attention[layer][row][
                    ..., -asked.shape[-1] :
                ],
                asked,
                atol=1e-6,
            )
            assert asked.sum(axis=-1) == pytest.approx(1, abs=1e-5)
            weights = alone.attention[layer][0]
            start = together.attention[layer].shape[3] - 2
            start -= weights.shape[2] - count
            np.testing.assert_allclose(
                together.attention[layer][
                    row, :, :count, start : start + weights.shape[2]
                ],
                weights,
                atol=1e-5,
            )


def test_a_call_returns_them_beside_its_logits():
    model = tiny.text_model(layers=2)
    x, _, _ = model.preprocessor(tiny.problems(3), num_thoughts=[2, 0, 1])
    logits, states = model(x, layers=[1])
    real = x["response_mask"].astype(bool)
    np.testing.assert_allclose(
        ops.convert_to_numpy(logits)[real],
        ops.convert_to_numpy(model(x))[real],
        atol=1e-5,
    )
    np.testing.assert_allclose(
        ops.convert_to_numpy(states.hidden_states[1]),
        ops.convert_to_numpy(model.think(x, layers=[1]).hidden_states[1]),
        atol=1e-5,
    )


def test_thoughts_are_float32():
    assert tiny.text_model().think(QUESTIONS, 1).dtype == "float32"


def test_no_thoughts(text_model):
    """Of a dictionary without slots, arrays without rows."""
    x, _, _ = text_model.preprocessor(tiny.problems(3))
    layers, (rows, width) = [0, 1], x["question_ids"].shape
    size = text_model.backbone.hidden_dim
    _, of_call = text_model(x, layers=layers)
    for states in (text_model.think(x, layers=layers), of_call):
        assert tuple(states.thoughts.shape) == (rows, 0, size)
        assert set(states.hidden_states) == set(states.attention) == {0, 1}
        for layer in layers:
            assert tuple(states.hidden_states[layer].shape) == (rows, 0, size)
            assert states.attention[layer].shape[2:] == (0, width)
            assert states.question_attention[layer].shape[2:] == (1, width)
    assert tuple(text_model.think(x).shape) == (rows, 0, size)
