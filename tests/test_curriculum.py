"""The schedule, against hand-made cases and the published arithmetic."""

import dataclasses
import json
import math
from random import Random as random_of_python

import hypothesis
import numpy as np
import pandas as pd
import pytest
from hypothesis import strategies

from keras_coconut import Curriculum
from keras_coconut.curriculum import Layout

pytestmark = pytest.mark.any_backend

PROSQA = Curriculum(max_stage=6, epochs_per_stage=5)
GSM8K = Curriculum(
    max_stage=3, thoughts_per_step=2, initial_epochs=6, epochs_per_stage=3
)
MIXED = Curriculum(3, mixing_probability=0.5)
TOKENS = dict(max_stage=2, thoughts_per_step=0, tokens_per_stage=8)
RANDOM = np.random.default_rng(0)


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
    assert shown == [*(Layout(k, k) for k in range(4)), Layout(5, 3)]
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
        (
            dict(max_stage=2, mixing_probability=1.5),
            "at least 0 and at most 1.*1.5",
        ),
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
        (dict(max_stage=None), "max_stage.*None"),
        (dict(max_stage="2"), "max_stage.*'2'"),
        # Whose stages would fill the memory.
        (dict(max_stage=10**12), "max_stage.*10000"),
        (dict(max_stage=10**5000), "max_stage.*bits"),
        (dict(max_stage=2, thoughts_per_step=None), "thoughts_per_step.*None"),
        (dict(max_stage=2, extra_stage=2), "extra_stage.*`True`.*2"),
        (dict(max_stage=2, extra_stage=None), "extra_stage.*None"),
        (dict(max_stage=2, extra_stage="yes"), "extra_stage.*'yes'"),
        (dict(max_stage=2, pad_latent_to_max=None), "pad_latent_to_max.*None"),
        (dict(max_stage=2, pad_latent_to_max=1), "pad_latent_to_max.*1"),
        (dict(max_stage=2, mixing_probability="0.5"), "mixing_prob.*'0.5'"),
        (dict(max_stage=2, mixing_probability=None), "mixing_prob.*None"),
        (dict(max_stage=2, mixing_probability=math.nan), "mixing_prob.*nan"),
        (dict(max_stage=2, mixing_probability=True), "mixing_prob.*True"),
        (dict(max_stage=2, thought_kind=None), "thought_kind.*None"),
        (dict(max_stage=2, thought_kind=["pause"]), "thought_kind.*pause'"),
        (dict(max_stage=2, epochs_per_stage=None), "epochs_per_stage.*None"),
        (dict(max_stage=2, epochs_per_stage="111"), "epochs_per_stage.*'111'"),
        (
            dict(max_stage=2, epochs_per_stage=b"111"),
            "epochs_per_stage.*b'111'",
        ),
        (dict(max_stage=2, epochs_per_stage={1, 2, 3}), "epochs_per_stage.*{1"),
        (dict(max_stage=2, epochs_per_stage=True), "epochs_per_stage.*True"),
        (
            dict(max_stage=2, epochs_per_stage=np.array([1.0, 2.0, 3.0])),
            r"epochs_per_stage\[0\].*1.0",
        ),
        (
            dict(max_stage=2, epochs_per_stage=np.ones((3, 2), int)),
            r"epochs_per_stage\[0\].*\[1, 1\]",
        ),
        (
            dict(max_stage=2, epochs_per_stage=[1, None, 3]),
            r"epochs_per_stage\[1\].*None",
        ),
        (
            dict(max_stage=2, epochs_per_stage=[1] * 10**6),
            "one entry.*3 stages",
        ),
        (dict(max_stage=2, initial_epochs="1"), "initial_epochs.*'1'"),
        (dict(max_stage=2, initial_epochs=1.0), "initial_epochs.*1.0"),
        (
            dict(max_stage=2, thoughts_per_step=0, tokens_per_stage="8"),
            "tokens_per_stage.*'8'",
        ),
        (dict(TOKENS, removal_smoothing=math.nan), "removal_smoothing.*nan"),
        (dict(TOKENS, removal_smoothing=math.inf), "removal_smoothing.*inf"),
        (dict(TOKENS, removal_smoothing="1"), "removal_smoothing.*'1'"),
        (dict(TOKENS, mixing_probability=0.1), "mixing_probability.*0.1"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        Curriculum(**arguments)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize(
    "epochs",
    [
        [1, 0, 3],
        (1, 0, 3),
        np.array([1, 0, 3]),
        [np.int64(1), np.uint8(0), 3],
        pd.Series([1, 0, 3]),
        range(3),
    ],
    ids=lambda epochs: type(epochs).__name__,
)
def test_values_of_numpy_become_plain(epochs):
    curriculum = Curriculum(
        np.int64(3),
        np.uint8(2),
        epochs_per_stage=epochs,
        initial_epochs=np.int32(4),
        extra_stage=np.False_,
        mixing_probability=np.float32(0.5),
        pad_latent_to_max=np.True_,
        thought_kind=np.str_("pause"),
    )
    plain = Curriculum(
        3,
        2,
        epochs_per_stage=list(map(int, epochs)),
        initial_epochs=4,
        extra_stage=False,
        mixing_probability=0.5,
        pad_latent_to_max=True,
        thought_kind="pause",
    )
    assert curriculum == plain
    for field in dataclasses.fields(Curriculum):
        value, other = (getattr(c, field.name) for c in (curriculum, plain))
        assert type(value) is type(other), field.name
    assert {type(count) for count in curriculum.epochs_per_stage} == {int}
    json.dumps(dataclasses.asdict(curriculum))


@pytest.mark.parametrize("epochs", [np.int64(5), np.array(5), 5])
def test_one_number_of_epochs(epochs):
    curriculum = Curriculum(2, epochs_per_stage=epochs)
    assert type(curriculum.epochs_per_stage) is int
    assert curriculum.stage_epochs == (5, 5, 5)
    # The only stage is trained as long as it says.
    assert (
        Curriculum(
            0,
            1,
            epochs_per_stage=epochs,
            initial_epochs=None,
            extra_stage=False,
        ).num_epochs
        == 5
    )
    assert (
        Curriculum(
            0, 1, epochs_per_stage=epochs, initial_epochs=2, extra_stage=False
        ).num_epochs
        == 2
    )


def test_little_smoothing_is_drawn():
    # So little that 1 - exp(-x) is 0, of which NumPy knows no distribution.
    curriculum = Curriculum(**TOKENS, removal_smoothing=1e-300)
    random = np.random.default_rng(0)
    assert curriculum.draw_layout(5, 1, random).hidden_tokens > 10**6


@pytest.mark.parametrize("value", [-1, 1.0, True, None, "1", [1], math.nan])
@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("epoch", lambda value: PROSQA.stage(value)),
        ("stage", lambda value: PROSQA.first_epoch(value)),
        ("stage", lambda value: PROSQA.num_thoughts(value)),
        ("stage", lambda value: PROSQA.check_stage(value)),
        ("stage", lambda value: PROSQA.layout(3, value)),
        ("num_steps", lambda value: PROSQA.layout(value, 1)),
        ("stage", lambda value: PROSQA.draw_layout(3, value, RANDOM)),
        ("num_steps", lambda value: PROSQA.draw_layout(value, 1, RANDOM)),
        ("num_steps", lambda value: MIXED.draw_layout(value, 1, RANDOM)),
        ("stage", lambda value: PROSQA.layouts_shown(3, value)),
        ("num_steps", lambda value: PROSQA.layouts_shown(value, 1)),
        ("num_steps", lambda value: MIXED.layouts_shown(value, 1)),
    ],
)
def test_bad_counts(name, call, value):
    with pytest.raises(ValueError, match=f"`{name}` must be a whole number"):
        call(value)


@pytest.mark.parametrize("random", [None, 0, np.random, random_of_python(0)])
def test_what_draws_nothing(random):
    if random is np.random:
        # The module draws as its generators did once.
        assert not hasattr(random, "integers")
    for curriculum in (PROSQA, MIXED):
        with pytest.raises(
            ValueError, match="`random` must be a `numpy.random"
        ):
            curriculum.draw_layout(3, 1, random)


def test_counts_of_numpy_give_plain_numbers():
    one = np.int64(1)
    numbers = [
        PROSQA.stage(one),
        PROSQA.first_epoch(one),
        PROSQA.num_thoughts(one),
        PROSQA.check_stage(one),
        *PROSQA.layout(one, one)[:3],
        *MIXED.draw_layout(one, one, RANDOM)[:3],
        *MIXED.layouts_shown(one, one)[0][:3],
    ]
    assert {type(number) for number in numbers} == {int}


def test_bad_stages_and_epochs():
    with pytest.raises(ValueError, match="from 0 to 7.*stage=8"):
        PROSQA.num_thoughts(8)
    with pytest.raises(ValueError, match="epoch.*-1"):
        PROSQA.stage(-1)


@hypothesis.settings(deadline=None, derandomize=True, database=None)
@hypothesis.given(
    strategies.integers(0, 4),
    strategies.integers(0, 3),
    strategies.one_of(
        strategies.integers(0, 3),
        strategies.lists(strategies.integers(0, 3), min_size=0, max_size=6),
    ),
    strategies.one_of(strategies.none(), strategies.integers(0, 3)),
    strategies.booleans(),
)
def test_a_curriculum_is_its_stages_one_after_the_other(
    max_stage, thoughts, epochs, initial, extra
):
    last = max_stage + extra
    arguments = dict(
        thoughts_per_step=thoughts,
        epochs_per_stage=epochs,
        initial_epochs=initial,
        extra_stage=extra,
    )
    if isinstance(epochs, list) and len(epochs) != last:
        with pytest.raises(ValueError, match="`epochs_per_stage`"):
            Curriculum(max_stage, **arguments)
        return
    curriculum = Curriculum(max_stage, **arguments)
    later = epochs if isinstance(epochs, list) else [epochs] * last
    first = initial
    if first is None:
        first = 1 if isinstance(epochs, list) else epochs
    order = [0] * first if last else []
    for stage in range(1, last):
        order += [stage] * later[stage - 1]
    order += [last] * 3
    found = [curriculum.stage(epoch) for epoch in range(len(order))]
    assert found == order
    assert curriculum.stage(curriculum.num_epochs - 1) == last
    for stage in range(last + 1):
        assert curriculum.num_thoughts(stage) == (
            min(stage, max_stage) * thoughts
        )
        if stage in order:
            assert curriculum.first_epoch(stage) == order.index(stage)


GRADUAL = Curriculum(
    max_stage=2,
    thoughts_per_step=3,
    epochs_per_stage=(4, 3, 2),
    initial_epochs=1,
    one_thought_at_a_time=True,
)


def test_one_thought_at_a_time():
    found = []
    for epoch in range(GRADUAL.num_epochs):
        stage = GRADUAL.stage(epoch)
        spent = epoch - GRADUAL.first_epoch(stage)
        found.append((stage, GRADUAL.num_thoughts(stage, spent)))
    assert found == [
        (0, 0),
        *((1, 1), (1, 2), (1, 3), (1, 3)),
        *((2, 4), (2, 5), (2, 6)),
        *((3, 6), (3, 6)),
    ]
    assert [GRADUAL.num_thoughts(stage) for stage in range(4)] == [0, 3, 6, 6]
    plain = dataclasses.replace(GRADUAL, one_thought_at_a_time=False)
    assert plain.num_thoughts(1, 0) == 3


def test_fewer_thoughts_are_those_of_the_epochs_stage_alone():
    random = np.random.default_rng(0)
    assert GRADUAL.draw_layout(5, 2, random, num_thoughts=4) == GRADUAL.layout(
        5, 2
    )._replace(num_thoughts=4)
    mixed = dataclasses.replace(GRADUAL, mixing_probability=0.9)
    layouts = {
        mixed.draw_layout(5, 2, random, num_thoughts=4) for _ in range(200)
    }
    counts = {(each.hidden_steps, each.num_thoughts) for each in layouts}
    # Stage 2 of the epoch has 4 for now; those that are mixed in have all.
    assert counts == {(0, 0), (1, 3), (2, 4), (5, 6)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(thoughts_per_step=1), "thoughts_per_step` of at least 2.*=1"),
        (dict(epochs_per_stage=2), "at least 3.*epochs_per_stage=2"),
        (dict(epochs_per_stage=(3, 2, 5)), r"at least 3.*=\(3, 2, 5\)"),
        (dict(epochs_per_stage=(0, 3, 5)), r"at least 3.*=\(0, 3, 5\)"),
        (dict(one_thought_at_a_time=1), "`one_thought_at_a_time` must be"),
    ],
)
def test_what_leaves_no_room_for_one_thought_at_a_time(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(GRADUAL, **changes)
    # The extra stage brings none.
    dataclasses.replace(GRADUAL, epochs_per_stage=(3, 3, 0))
