"""The schedule, against hand-made cases and the published arithmetic."""

import numpy as np
import pytest

from keras_coconut import Curriculum
from keras_coconut.curriculum import Layout

PROSQA = Curriculum(max_stage=6, epochs_per_stage=5)
GSM8K = Curriculum(
    max_stage=3, thoughts_per_step=2, initial_epochs=6, epochs_per_stage=3
)


def published(steps, epoch, epochs_per_stage, max_stage, thoughts, pad):
    """Hidden steps and thoughts as the published loader computes them."""
    stage = epoch // epochs_per_stage
    if stage > max_stage:
        hidden = 10000
        latent = max_stage if pad else min(steps, max_stage)
    else:
        hidden = latent = stage
    return Layout(min(hidden, steps), latent * thoughts)


@pytest.mark.parametrize("pad", [True, False])
@pytest.mark.parametrize("steps", [0, 1, 3, 6, 9])
def test_equals_the_published_loader(steps, pad):
    curriculum = Curriculum(6, 2, epochs_per_stage=5, pad_latent_to_max=pad)
    for epoch in range(60):
        found = curriculum.layout(steps, curriculum.stage(epoch))
        assert found == published(steps, epoch, 5, 6, 2, pad)


def test_stages_of_the_published_recipes():
    assert [PROSQA.stage(e) for e in (0, 4, 5, 29, 30, 34, 35, 49)] == [
        0, 0, 1, 5, 6, 6, 7, 7,
    ]  # fmt: skip
    assert [GSM8K.stage(e) for e in (0, 5, 6, 8, 9, 12, 14, 15, 49)] == [
        0, 0, 1, 1, 2, 3, 3, 4, 4,
    ]  # fmt: skip
    assert [GSM8K.num_thoughts(stage) for stage in range(5)] == [0, 2, 4, 6, 6]


def test_first_epochs_and_their_number():
    assert [GSM8K.first_epoch(stage) for stage in range(5)] == [0, 6, 9, 12, 15]
    assert GSM8K.num_epochs == 18
    for curriculum in (PROSQA, GSM8K, Curriculum(2, extra_stage=False)):
        for stage in range(curriculum.last_stage + 1):
            assert curriculum.stage(curriculum.first_epoch(stage)) == stage
        last = curriculum.stage(curriculum.num_epochs - 1)
        assert last == curriculum.last_stage


def test_epochs_for_each_stage():
    curriculum = Curriculum(
        3, initial_epochs=2, epochs_per_stage=[1, 0, 3], extra_stage=False
    )
    stages = [curriculum.stage(epoch) for epoch in range(8)]
    assert stages == [0, 0, 1, 3, 3, 3, 3, 3]
    assert curriculum.num_epochs == 6


def test_chain_of_thought_and_none():
    chain = Curriculum(0, extra_stage=False)
    assert [chain.stage(epoch) for epoch in (0, 9)] == [0, 0]
    assert chain.layout(5, 0) == Layout(0, 0)
    none = Curriculum(0, initial_epochs=0)
    assert none.stage(0) == none.last_stage == 1
    assert none.layout(5, 1) == Layout(5, 0)


def test_mixing():
    curriculum = Curriculum(3, mixing_probability=0.3)
    random = np.random.default_rng(0)
    drawn = [curriculum.draw_layout(5, 1, random) for _ in range(6000)]
    shown = curriculum.layouts_shown(5, 1)
    assert set(drawn) == set(shown)
    # A stage drawn beyond the last hides everything, as published.
    assert shown == [Layout(k, k) for k in range(4)] + [Layout(5, 3)] * 2
    share = np.mean([layout != Layout(1, 1) for layout in drawn])
    assert abs(share - 0.3 * 5 / 6) < 0.03
    state = random.bit_generator.state
    assert Curriculum(3).draw_layout(5, 2, random) == Layout(2, 2)
    assert random.bit_generator.state == state


def test_tokens_removed_from_the_front():
    curriculum = Curriculum(
        2, thoughts_per_step=0, tokens_per_stage=8, removal_smoothing=1.0
    )
    layouts = [curriculum.layout(5, stage) for stage in range(4)]
    assert layouts == [
        Layout(0, 0, 0),
        Layout(0, 0, 8),
        Layout(0, 0, 16),
        Layout(5, 0),
    ]
    assert curriculum.layouts_shown(5, 1) == [Layout(0, 0, 8)]
    random = np.random.default_rng(0)
    drawn = [
        curriculum.draw_layout(5, 1, random).hidden_tokens - 8
        for _ in range(8000)
    ]
    # Of iCoT's section 3.2: each further token by a factor of 1 / e.
    shares = np.bincount(drawn, minlength=4)[:4] / len(drawn)
    expected = (1 - np.exp(-1)) * np.exp(-np.arange(4))
    np.testing.assert_allclose(shares, expected, atol=0.02)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(max_stage=-1), "max_stage.*-1"),
        (dict(max_stage=1.5), "max_stage.*1.5"),
        (dict(max_stage=True), "max_stage.*True"),
        (dict(max_stage=2, thoughts_per_step=-2), "thoughts_per_step.*-2"),
        (dict(max_stage=2, epochs_per_stage=0.5), "epochs_per_stage.*0.5"),
        (dict(max_stage=2, epochs_per_stage=[1]), "one entry.*3 stages"),
        (dict(max_stage=1, epochs_per_stage=[1, -1]), "epochs_per_stage.*-1"),
        (dict(max_stage=2, initial_epochs=-1), "initial_epochs.*-1"),
        (dict(max_stage=2, mixing_probability=1.5), "between 0 and 1.*1.5"),
        (dict(max_stage=2, thought_kind="word"), "continuous.*pause.*word"),
        (dict(max_stage=2, tokens_per_stage=8), "thoughts_per_step.*1"),
        (dict(max_stage=2, removal_smoothing=4.0), "tokens_per_stage.*4.0"),
        (
            dict(max_stage=2, thoughts_per_step=0, tokens_per_stage=0),
            "tokens_per_stage.*0",
        ),
        (
            dict(
                max_stage=2,
                thoughts_per_step=0,
                tokens_per_stage=8,
                removal_smoothing=0.0,
            ),
            "above 0",
        ),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        Curriculum(**arguments)


def test_bad_stages_and_epochs():
    with pytest.raises(ValueError, match="at most 7.*stage=8"):
        PROSQA.num_thoughts(8)
    with pytest.raises(ValueError, match="epoch.*-1"):
        PROSQA.stage(-1)
