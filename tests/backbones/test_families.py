"""Each family against KerasHub's own layers: values, gradients, windows."""

import families
import keras
import numpy as np
import pytest
import slow
from families import LENGTH, THOUGHTS, batch, rows, tokens
from keras import ops

import keras_coconut
from keras_coconut import backbones
from keras_coconut.latent.forward import Forward
from keras_coconut.text.batches import pack_questions, pack_responses


@pytest.fixture(params=list(families.FAMILIES))
def backbone(request):
    with slow.unfused_attention():
        yield families.make(request.param)


@pytest.fixture
def shallow(request):
    """Fewer layers where all are alike, and where each takes seconds."""
    changes = {}
    if keras.config.backend() != "torch" and request.param in LAYERS_ALIKE:
        changes["num_layers"] = 3
    with slow.unfused_attention():
        yield families.make(request.param, **changes)


LAYERS_ALIKE = ("gpt2", "llama3")


def read_in_spans(decoder, ids, mask, ends=(9, 10, LENGTH)):
    """Returns the hidden states of rows that are read span by span."""
    positions = np.maximum(np.cumsum(mask, axis=1) - 1, 0)
    forward, memory, found, start = Forward(decoder), [], [], 0
    for end in ends:
        at = slice(start, end)
        hidden, span, _ = forward.read(
            decoder.embed(ops.convert_to_tensor(ids[:, at])),
            ops.convert_to_tensor(positions[:, at]),
            ops.convert_to_tensor(mask[:, at]),
            memory,
        )
        memory.append(span)
        found.append(ops.convert_to_numpy(hidden))
        start = end
    return np.concatenate(found, axis=1)


def own_pass(backbone, ids, mask):
    inputs = {"token_ids": ids, "padding_mask": mask.astype("int32")}
    return ops.convert_to_numpy(backbone(inputs))


def test_three_spans_are_kerashubs_pass(backbone):
    """Rows of several lengths; one is padded on the left as well."""
    ids, pad = tokens((4, LENGTH)), 4
    mask = np.arange(LENGTH) < np.array([[LENGTH], [17], [9], [LENGTH - pad]])
    expected = own_pass(backbone, ids, mask)
    # KerasHub's pass cannot read it so: the same tokens, moved to the right.
    ids[3], mask[3], expected[3] = (
        np.roll(each[3], pad, axis=0) for each in (ids, mask, expected)
    )
    found = read_in_spans(backbones.describe(backbone), ids, mask)
    np.testing.assert_allclose(found[mask], expected[mask], atol=1e-5)


# Fused attention, and plain attention with grouped keys and soft caps.
@pytest.mark.parametrize(
    "shallow", families.chosen("gpt2", "gemma2"), indirect=True
)
def test_thoughts_logits_and_gradients_are_the_slow_ones(shallow):
    backbone = shallow
    model = keras_coconut.ContinuousThoughtLM(backbone)
    x = batch()
    weights = np.random.default_rng(3).normal(size=(3, 7, 50)) / 50
    weights = (weights * x["response_mask"][..., None]).astype("float32")
    tensors = {key: ops.convert_to_tensor(value) for key, value in x.items()}
    variables = backbone.trainable_variables

    def loss():
        return ops.sum(model(tensors) * weights)

    def slow_loss():
        logits, _ = slow.logits(backbone, rows(), LENGTH)
        return ops.sum(logits * placed)

    # Where the slow version has the positions of each response.
    placed = np.zeros((3, LENGTH, 50), "float32")
    for row, (question, count, response) in enumerate(rows()):
        start = len(question) + count
        placed[row, start : start + len(response)] = weights[
            row, : len(response)
        ]
    placed, weights = map(ops.convert_to_tensor, (placed, weights))
    found, expected = (
        slow.gradients(function, variables) for function in (loss, slow_loss)
    )
    assert found[0] == pytest.approx(expected[0], rel=1e-4, abs=1e-5)
    slow.assert_near(variables, found[1], expected[1], 1e-4)
    thoughts = ops.convert_to_numpy(model.think({k: x[k] for k in x}))
    _, inputs = slow.logits(backbone, rows(), LENGTH)
    inputs = ops.convert_to_numpy(inputs)
    for row, (question, count, _) in enumerate(rows()):
        own = inputs[row, len(question) : len(question) + count]
        np.testing.assert_allclose(thoughts[row, :count], own, atol=1e-5)
        assert not thoughts[row, count:].any()


@pytest.mark.thorough
@pytest.mark.parametrize("num_iterations", [None, 4])
def test_thoughts_enter_scaled(num_iterations, monkeypatch):
    from keras_coconut.backbones.gemma import GemmaDecoder

    backbone = families.make("gemma")
    monkeypatch.setattr(GemmaDecoder, "thought_scale", 3.0)
    model = keras_coconut.ContinuousThoughtLM(
        backbone, num_iterations=num_iterations
    )
    x = batch()
    given = ops.convert_to_numpy(model.think({k: x[k] for k in x}))
    logits, _ = slow.logits(backbone, rows(), LENGTH, thought_scale=3.0)
    expected = ops.convert_to_numpy(logits)
    for found in (model(x), model({**x, "thoughts": given})):
        found = ops.convert_to_numpy(found)
        for row, (question, count, response) in enumerate(rows()):
            start = len(question) + count
            np.testing.assert_allclose(
                found[row, : len(response)],
                expected[row, start : start + len(response)],
                atol=1e-5,
            )


# Fused attention, and plain attention with grouped keys and windows.
@pytest.mark.parametrize(
    "shallow", families.chosen("gpt2", "gemma2"), indirect=True
)
def test_generated_tokens_are_the_slow_ones(shallow):
    """Each is the likeliest after all that stand before it."""
    backbone = shallow
    model = keras_coconut.ContinuousThoughtLM(backbone)
    x, longest = batch(), 6
    x["response_ids"] = x["response_ids"][:, :1]
    del x["response_mask"]
    found = model.generate(x, max_length=longest, stop_token_ids=None)
    written = [
        (question, count, ids)
        for (question, count, _), ids in zip(
            rows(), found["response_ids"].tolist(), strict=True
        )
    ]
    logits, _ = slow.logits(backbone, written, LENGTH)
    likeliest = ops.convert_to_numpy(logits).argmax(axis=-1)
    for row, (question, count, ids) in enumerate(written):
        assert ids[0] == rows()[row][2][0] and len(ids) == 1 + longest
        first = len(question) + count
        assert ids[1:] == likeliest[row, first : first + longest].tolist()


# What each family would lose: an attribute of its blocks, and another value.
LEFT_OUT = {
    "mistral": ("window", None),
    "qwen": ("window", None),
    "qwen3": ("window", None),
    "gemma2": ("soft_cap", None),
    "gemma3": ("window", None),
    "gpt2": ("scale", 1.0),
}


@pytest.mark.parametrize(
    "family",
    [
        family
        if family == "gemma2"
        else pytest.param(family, marks=pytest.mark.thorough)
        for family in LEFT_OUT
    ],
)
def test_what_is_left_out_shows(family):
    """Else the tests above could pass without it."""
    backbone = families.make(family)
    name, value = LEFT_OUT[family]
    ids, mask = tokens((2, LENGTH)), np.ones((2, LENGTH), "bool")
    decoder = backbones.describe(backbone)
    expected = read_in_spans(decoder, ids, mask)
    for block in decoder.blocks:
        setattr(block, name, value)
    assert np.abs(read_in_spans(decoder, ids, mask) - expected).max() > 1e-2


@pytest.mark.parametrize(
    "family, method, other",
    [
        ("llama", "_rotary", None),
        *(
            pytest.param(*case, marks=pytest.mark.thorough)
            for case in (
                ("qwen3", "norm_heads", lambda query, key: (query, key)),
                ("smollm3", "_rotate", lambda x, positions: x),
                ("phi3_su", "_rotate", lambda x, positions: x),
            )
        ),
    ],
)
def test_a_step_left_out_shows(family, method, other):
    backbone = families.make(family)
    ids, mask = tokens((2, LENGTH)), np.ones((2, LENGTH), "bool")
    decoder = backbones.describe(backbone)
    expected = read_in_spans(decoder, ids, mask)
    for block in decoder.blocks:
        if method == "_rotary":
            block.project = _without_rotation(block)
        else:
            setattr(block, method, other)
    assert np.abs(read_in_spans(decoder, ids, mask) - expected).max() > 1e-2


def _without_rotation(block):
    project = block.project
    return lambda x, positions: project(x, positions * 0)


def test_smollm3_does_not_rotate_in_every_layer():
    backbone = families.make("smollm3")
    ids, mask = tokens((2, LENGTH)), np.ones((2, LENGTH), "bool")
    decoder = backbones.describe(backbone)
    expected = read_in_spans(decoder, ids, mask)
    backbone.transformer_layers[3].self_attn.use_rope = True
    assert np.abs(read_in_spans(decoder, ids, mask) - expected).max() > 1e-2


def test_phi3_takes_the_factors_of_long_texts_where_kerashub_does():
    backbone = families.make("phi3_su")
    # Its short factors serve 32 positions.
    ids, mask = tokens((2, 40)), np.ones((2, 40), "bool")
    expected = own_pass(backbone, ids, mask)
    decoder = backbones.describe(backbone)
    found = read_in_spans(decoder, ids, mask, (40,))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_row_of_phi3_that_becomes_long_is_what_it_is_alone():
    """Its thoughts cross the 32 positions that its short factors serve."""
    backbone = families.make("phi3_su")
    questions = [tokens(30, 1).tolist(), tokens(40, 2).tolist(), [3, 4, 5]]

    def logits(rows, num_iterations=None):
        x = pack_questions([questions[row] for row in rows], [4] * len(rows))
        x |= pack_responses([[6, 7, 8]] * len(rows))
        model = keras_coconut.ContinuousThoughtLM(
            backbone, num_iterations=num_iterations
        )
        return ops.convert_to_numpy(model(x))

    together = logits([0, 1, 2])
    alone = np.concatenate([logits([row]) for row in range(3)])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    at_once = logits([0, 1, 2], num_iterations=4)
    np.testing.assert_allclose(together, at_once, atol=1e-5)


def test_gemma3_is_not_clipped_in_float32():
    """Its sums leave the range of float16, which is no limit of float32."""
    backbone = families.make("gemma3")
    table = backbone.token_embedding.embeddings
    table.assign(1e6 * ops.convert_to_tensor(table))
    for layer in backbone.transformer_layers:
        for norm in (layer.post_attention_norm, layer.post_ffw_norm):
            norm.scale.assign(norm.scale + 3e5)
    ids, mask = tokens((2, LENGTH)), np.ones((2, LENGTH), "bool")
    with slow.unfused_attention():
        expected = own_pass(backbone, ids, mask)
        found = read_in_spans(backbones.describe(backbone), ids, mask)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_an_unknown_family_is_refused():
    import keras_hub

    backbone = keras_hub.models.BloomBackbone(
        vocabulary_size=9,
        num_layers=1,
        num_heads=1,
        hidden_dim=8,
        intermediate_dim=8,
    )
    with pytest.raises(ValueError, match="known family: GPT2Backbone, OPT"):
        keras_coconut.ContinuousThoughtLM(backbone)


def test_a_gemma_that_sees_or_looks_ahead_is_refused():
    backbone = families.make("gemma3")
    backbone.use_bidirectional_attention = True
    with pytest.raises(ValueError, match="left to right"):
        backbones.describe(backbone)


@pytest.mark.parametrize(
    "shallow", families.chosen("gpt2", "gemma3"), indirect=True
)
def test_as_many_iterations_as_thoughts_are_one_by_one(shallow):
    backbone = shallow
    x = batch()
    one_by_one, at_once = (
        keras_coconut.ContinuousThoughtLM(backbone, num_iterations=n)
        for n in (None, max(THOUGHTS))
    )
    real = x["response_mask"].astype(bool)
    np.testing.assert_allclose(
        ops.convert_to_numpy(at_once(x))[real],
        ops.convert_to_numpy(one_by_one(x))[real],
        atol=1e-5,
    )
