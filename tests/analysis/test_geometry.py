"""The geometry of vectors that are known."""

import itertools
import json
import math

import families
import keras
import numpy as np
import pytest
import tiny
from keras import ops

import keras_coconut
from keras_coconut import backbones
from keras_coconut.analysis import geometry
from keras_coconut.analysis.geometry import thought_geometry
from keras_coconut.analysis.pooled_means import pair_mean
from keras_coconut.analysis.ranks import effective_rank
from keras_coconut.models.thought_reader import ThoughtStates

D = 16


def given(monkeypatch, thoughts):
    """Lets every model think what is given, 0 in unused slots."""

    def read(model, questions, counts, batch_size, on_batch):
        on_batch(len(questions))
        used = np.arange(thoughts.shape[1]) < np.array(counts)[:, None]
        return ThoughtStates(
            (thoughts * used[..., None]).astype("float32"), {}, {}, {}
        )

    monkeypatch.setattr(geometry, "read_states", read)


def measure(model, thoughts, monkeypatch, **options):
    given(monkeypatch, thoughts)
    rows, slots, _ = thoughts.shape
    options = {"num_thoughts": slots, "verbose": 0, **options}
    return thought_geometry(model, tiny.problems(rows), **options)


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("vectors", "rank"),
    [
        (np.eye(5), 5),
        (7 * np.eye(5)[:3], 3),
        (np.outer([1, 2, -3], [1, 2, 3, 4]), 1),
        (np.zeros((3, 4)), 0),
        # Singular values 3 and 1: shares of 3/4 and 1/4.
        (
            np.diag([3, 1, 0]),
            math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25)),
        ),
    ],
)
def test_ranks_that_are_known(vectors, rank):
    assert effective_rank(vectors) == pytest.approx(rank)
    # It does not depend on the axes.
    turned, _ = np.linalg.qr(np.random.default_rng(0).normal(size=[9, 9]))
    width = vectors.shape[1]
    assert effective_rank(vectors @ turned[:width]) == pytest.approx(rank)


@pytest.mark.any_backend
def test_a_constant_thought(text_model, monkeypatch):
    constant = np.arange(1.0, 1 + D)
    found = measure(text_model, np.tile(constant, (9, 3, 1)), monkeypatch)
    assert len(found.thoughts.slots) == 3
    for slot in found.thoughts.slots:
        assert slot.norm == pytest.approx((np.linalg.norm(constant), 0))
        assert slot.across_problems == pytest.approx((1, 0), abs=1e-6)
        assert slot.effective_rank == pytest.approx(1, abs=1e-4)
        assert slot.centered_rank == 0
    assert found.thoughts.slots[1].to_next.mean == pytest.approx(1, abs=1e-6)
    assert found.thoughts.slots[2].to_next is None
    assert found.thoughts.effective_rank == pytest.approx(1, abs=1e-4)
    # Beside it: noise of the same norms.
    for slot in found.noise.slots:
        assert slot.norm.mean == pytest.approx(np.linalg.norm(constant))
        assert abs(slot.across_problems.mean) < 0.2
        assert slot.effective_rank > 6
    assert found.noise.effective_rank > 12


@pytest.mark.any_backend
def test_figures_against_all_pairs(text_model, monkeypatch):
    """One by one, with another number of thoughts for each problem."""
    thoughts = np.random.default_rng(3).normal(size=(6, 3, D)) + 0.5
    counts = [3, 1, 2, 0, 3, 2]
    found = measure(text_model, thoughts, monkeypatch, num_thoughts=counts)

    def cosine(a, b):
        return a @ b / np.linalg.norm(a) / np.linalg.norm(b)

    table = np.array(text_model.backbone.token_embedding.embeddings)
    size = np.sqrt((table**2).sum(axis=1).mean())
    assert found.embedding_norm == pytest.approx(size, rel=1e-5)
    for number, slot in enumerate(found.thoughts.slots):
        rows = [row for row in range(6) if counts[row] > number]
        here = thoughts[rows, number]
        assert (slot.slot, slot.count) == (number, len(rows))
        norms = np.linalg.norm(here, axis=1)
        assert slot.norm.mean == pytest.approx(norms.mean(), rel=1e-5)
        assert slot.norm_in_embeddings.mean == pytest.approx(
            norms.mean() / size, rel=1e-5
        )
        pairs = [
            cosine(a, b)
            for i, a in enumerate(here)
            for j, b in enumerate(here)
            if i != j
        ]
        assert slot.across_problems.mean == pytest.approx(np.mean(pairs))
        near = [max(cosine(a, e) for e in table) for a in here]
        assert slot.nearest_embedding.mean == pytest.approx(
            np.mean(near), rel=1e-5
        )
        assert slot.effective_rank == pytest.approx(effective_rank(here))
        assert slot.centered_rank == pytest.approx(
            effective_rank(here - here.mean(axis=0))
        )
    steps = [cosine(thoughts[row, 0], thoughts[row, 1]) for row in (0, 2, 4, 5)]
    assert found.thoughts.slots[0].to_next.mean == pytest.approx(np.mean(steps))
    text = json.dumps(found.to_dict(), allow_nan=False)
    assert json.loads(text)["control"] is None


@pytest.mark.any_backend
def test_the_interval_of_pairs_covers_the_mean():
    """Each pair is in two problems' means; these alone would say too little."""
    random, covered = np.random.default_rng(0), 0

    def draw(count):
        vectors = 1 + random.normal(size=(count, 4))
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    # Of independent vectors: the squared norm of the mean direction.
    truth = (draw(200_000).mean(axis=0) ** 2).sum()
    for _ in range(400):
        units = draw(25)
        found = pair_mean((units * (units.sum(axis=0) - units)).sum(axis=1))
        covered += abs(found.mean - truth) <= found.margin
    assert 0.92 <= covered / 400 <= 0.98


@pytest.mark.any_backend
def test_the_jackknife_against_leaving_out():
    values = np.random.default_rng(1).normal(size=(6, 6))
    values += values.T
    np.fill_diagonal(values, 0)

    def mean(rows):
        pairs = list(itertools.combinations(rows, 2))
        return np.mean([values[pair] for pair in pairs])

    without = [mean([r for r in range(6) if r != own]) for own in range(6)]
    variance = 5 / 6 * ((without - np.mean(without)) ** 2).sum()
    found = pair_mean(values.sum(axis=1))
    assert found.mean == pytest.approx(mean(range(6)))
    # Student's t with five degrees of freedom.
    assert found.margin == pytest.approx(2.5706 * variance**0.5, rel=1e-4)
    two = pair_mean(np.array([0.5, 0.5]))
    assert two.mean == 0.5 and math.isnan(two.margin)


@pytest.mark.any_backend
def test_thoughts_that_are_embeddings(text_model, monkeypatch):
    table = np.array(text_model.backbone.token_embedding.embeddings)
    thoughts = 2 * table[np.arange(40).reshape(20, 2)]
    # The seed 0 has drawn the embeddings themselves.
    found = measure(text_model, thoughts, monkeypatch, seed=1)
    for slot, noise in zip(found.thoughts.slots, found.noise.slots):
        assert slot.nearest_embedding.mean == pytest.approx(1, abs=1e-5)
        assert noise.nearest_embedding.mean < 0.9


@pytest.mark.parametrize("kind", ["continuous", "pause"])
def test_a_real_model(kind, monkeypatch, capsys):
    model = tiny.compiled(tiny.text_model(num_thoughts=2))
    control = tiny.compiled(
        tiny.text_model(layers=1, num_thoughts=5, thought_kind=kind)
    )
    monkeypatch.setattr(geometry, "_AT_ONCE", 100)
    problems = tiny.problems(5)
    found = thought_geometry(model, problems, control=control, batch_size=2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("thought geometry: 10/10 problems")
    questions = [problem.question for problem in problems]
    for entry, owner in ((found, model), (found.control, control)):
        thoughts = owner.read_states(questions, 2).thoughts
        for number, slot in enumerate(entry.thoughts.slots):
            norms = np.linalg.norm(thoughts[:, number], axis=1)
            assert slot.norm.mean == pytest.approx(norms.mean(), rel=1e-5)
        assert len(entry.thoughts.slots) == 2
    assert found.control.control is None


def test_norms_as_they_enter(monkeypatch):
    """Gemma multiplies what it embeds; thoughts may be scaled, too."""
    backbone = families.make("gemma")
    decoder = backbones.describe(backbone)
    monkeypatch.setattr(type(decoder), "thought_scale", 3.0)
    model = keras_coconut.ContinuousThoughtLM(backbone)
    thoughts = np.random.default_rng(0).normal(size=(3, 2, 32))
    found = geometry._measure(model, thoughts, [2, 2, 2], 0)
    entered = ops.convert_to_numpy(
        decoder.enter(ops.convert_to_tensor(thoughts.astype("float32")))
    )
    table = decoder.embed(np.arange(50)[None])
    table = ops.convert_to_numpy(keras.ops.cast(table, "float32"))[0]
    size = np.sqrt((table**2).sum(axis=-1).mean())
    expected = np.linalg.norm(entered[:, 1], axis=-1).mean() / size
    slot = found.thoughts.slots[1]
    assert slot.norm_in_embeddings.mean == pytest.approx(expected, rel=1e-4)


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(problems=tiny.problems(1)), "at least two problems.*1"),
        (dict(num_thoughts=0), "`num_thoughts` must be at least 1"),
        (dict(control=3), "`control` must be"),
        (dict(seed=-1), "`seed` must be"),
    ],
)
def test_arguments_are_refused_before_any_work(
    text_model, change, message, monkeypatch
):
    monkeypatch.setattr(geometry, "read_states", None)
    arguments = dict(problems=tiny.problems(2), num_thoughts=1)
    with pytest.raises(ValueError, match=message):
        thought_geometry(text_model, **{**arguments, **change})
