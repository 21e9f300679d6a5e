"""Probes of vectors that hold what a test has put in."""

import itertools
import json
import sys

import numpy as np
import pytest
import tiny

import keras_coconut
from keras_coconut.analysis.probing import probes
from keras_coconut.analysis.probing.probes import thought_probes
from keras_coconut.analysis.probing.step_labels import read_labels, step_labels
from keras_coconut.analysis.probing.step_probes import sign_test
from keras_coconut.models.thought_reader import ThoughtStates

COUNT, LABELS = 240, 6
# Chance, and twice the margin of a share of so many problems.
CHANCE, TWO_MARGINS = 1 / LABELS, 0.094


def problems(steps=3, count=COUNT, labels=LABELS, weights=None, seed=0):
    """Problems whose steps have random labels."""
    random = np.random.default_rng(seed)
    drawn = random.choice(labels, (count, steps), p=weights)
    return [
        keras_coconut.Problem(f"question {index}", list(map(str, row)), "1")
        for index, row in enumerate(drawn)
    ]


def encoded(problems, noise=0.1, order=None):
    """The label of step t in slot t, or of step `order[t]`, with noise."""
    numbers = np.array([list(map(int, p.steps)) for p in problems])
    thoughts = np.eye(LABELS)[numbers]
    if order is not None:
        thoughts = thoughts[:, order]
    random = np.random.default_rng(7)
    return thoughts + noise * random.normal(size=thoughts.shape)


def given(monkeypatch, thoughts, **layers):
    def read(model, questions, counts, batch_size, layers_read, on_batch):
        on_batch(len(questions))
        own = thoughts(model) if callable(thoughts) else thoughts
        hidden = {int(name[1:]): value for name, value in layers.items()}
        assert set(layers_read) == set(hidden)
        return ThoughtStates(own.astype("float32"), hidden, {}, {})

    monkeypatch.setattr(probes, "read_states", read)


def probe(model, thoughts, monkeypatch, of, **options):
    given(monkeypatch, thoughts)
    options = {"num_thoughts": thoughts.shape[1], "verbose": 0, **options}
    return thought_probes(model, of, **options)


@pytest.mark.any_backend
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_a_step_in_each_slot(text_model, monkeypatch, order):
    of = problems()
    found = probe(text_model, encoded(of, order=order), monkeypatch, of)
    for slot, steps in enumerate(found.thoughts):
        for step, entry in enumerate(steps):
            assert entry.accuracy.total == COUNT
            assert entry.num_labels == LABELS
            assert abs(entry.shuffled.share - CHANCE) < TWO_MARGINS
            if order[slot] == step:
                assert entry.accuracy.share > 0.97
                # 1 but for what is guessed of the best other step.
                assert entry.selectivity.mean > 0.95 - CHANCE - TWO_MARGINS
                assert entry.p_value < 1e-20
                assert entry.best_other != step
            else:
                assert abs(entry.accuracy.share - CHANCE) < TWO_MARGINS
                assert entry.selectivity.mean < -0.7
                assert entry.best_other == order[slot]
                assert entry.p_value == 1
    assert found.question is found.thoughts[0]
    text = json.dumps(found.to_dict(), allow_nan=False)
    assert len(json.loads(text)["thoughts"]) == 3


@pytest.mark.any_backend
@pytest.mark.parametrize("noise", [True, False])
def test_thoughts_that_hold_nothing(text_model, monkeypatch, noise):
    weights = [0.5, 0.2, 0.1, 0.1, 0.05, 0.05]
    of = problems(weights=weights)
    # So many that a probe would know by heart what it was trained on.
    thoughts = np.ones((COUNT, 3, 60))
    if noise:
        thoughts = np.random.default_rng(5).normal(size=thoughts.shape)
    found = probe(text_model, thoughts, monkeypatch, of)
    for steps in found.thoughts:
        for entry in steps:
            if not noise:
                # What reads nothing answers what is the most frequent.
                assert entry.accuracy == entry.majority
            assert entry.majority.low < 0.5 < entry.majority.high
            assert entry.accuracy.share < entry.majority.high
            assert entry.p_value > 0.05
            assert abs(entry.selectivity.mean) < 0.15
    # Labels that are all equally frequent: chance.
    of = problems(labels=2)
    found = probe(text_model, thoughts, monkeypatch, of)
    if noise:
        held = [
            entry.accuracy.low < 0.5 < entry.accuracy.high
            for steps in found.thoughts
            for entry in steps
        ]
        # Of 95% intervals, one in twenty leaves it out.
        assert sum(held) >= len(held) - 1


@pytest.mark.any_backend
def test_other_base_rates_are_no_selectivity(text_model, monkeypatch):
    """Noise reads a step of two unequal labels rightly more often than one of
    eight, which says nothing of the thoughts."""
    random = np.random.default_rng(0)
    count = 400
    drawn = zip(
        random.choice(2, count, p=[0.85, 0.15]), random.choice(8, count)
    )
    of = [
        keras_coconut.Problem(f"question {index}", list(map(str, row)), "1")
        for index, row in enumerate(drawn)
    ]
    thoughts = random.normal(size=(count, 1, 8))
    ((first, second),) = probe(text_model, thoughts, monkeypatch, of).thoughts
    assert first.accuracy.share - second.accuracy.share > 0.6
    for entry in (first, second):
        assert abs(entry.selectivity.mean) <= 1.5 * entry.selectivity.margin
        assert entry.p_value > 0.05
    # The step of eight labels is there, and read less often than the other.
    eighths = np.eye(8)[[int(problem.steps[1]) for problem in of]]
    thoughts = 0.45 * eighths[:, None] + 0.25 * thoughts
    ((first, second),) = probe(text_model, thoughts, monkeypatch, of).thoughts
    assert second.accuracy.share < first.accuracy.share
    assert second.selectivity.mean > 0.4 and second.p_value < 1e-20
    assert first.p_value == 1


@pytest.mark.any_backend
def test_signs_against_all_of_them():
    random = np.random.default_rng(0)
    for _ in range(20):
        values = random.integers(-2, 3, 9)
        sums = [
            abs(np.dot(signs, values))
            for signs in itertools.product([-1, 1], repeat=9)
        ]
        expected = np.mean([total >= abs(values.sum()) for total in sums])
        assert sign_test(values) == pytest.approx(expected)
    # As McNemar's, where no problem counts twice.
    first, second = random.random((2, 60)) < [[0.7], [0.4]]
    expected = keras_coconut.mcnemar(first.tolist(), second.tolist()).p_value
    found = sign_test(first.astype(int) - second)
    assert found == pytest.approx(expected)
    assert sign_test(np.zeros(5, int)) == 1


@pytest.mark.any_backend
def test_a_control_and_layers(text_model, monkeypatch):
    """The control's thoughts hold nothing, and those of one layer all."""
    control = tiny.compiled(tiny.text_model(layers=2))
    of = problems(2)
    whole = encoded(of)
    noise = np.random.default_rng(1).normal(size=whole.shape)
    given(
        monkeypatch,
        lambda model: noise if model is control else whole,
        _0=noise,
        _1=whole,
    )
    found = thought_probes(
        text_model,
        of,
        num_thoughts=2,
        layers=[1, 0],
        control=control,
        verbose=0,
    )
    assert list(found.layers) == [1, 0]
    assert found.thoughts[1][1].accuracy.share > 0.97
    assert found.layers[1][1][1].accuracy.share > 0.97
    # That a step is read worse than the only other one is no finding.
    assert found.thoughts[1][0].p_value == 1
    assert found.layers[0][1][1].accuracy.share < 0.4
    assert found.control.thoughts[1][1].accuracy.share < 0.4
    assert found.control.control is None
    # Corrected for the tests of all layers: eight more.
    alone = probe(text_model, whole, monkeypatch, of)
    assert alone.thoughts[1][1].p_value < found.thoughts[1][1].p_value


@pytest.mark.any_backend
def test_problems_of_different_lengths(text_model, monkeypatch):
    """A cell holds the problems that think in the slot and have the step."""
    of = problems(3)
    thoughts = encoded(of)
    of = [
        keras_coconut.Problem(p.question, p.steps[: 1 + row % 3], "1")
        for row, p in enumerate(of)
    ]
    counts = [3 - (row // 3) % 3 for row in range(COUNT)]
    found = probe(
        text_model, thoughts, monkeypatch, of, num_thoughts=counts, folds=3
    )
    for slot in range(3):
        for step in range(3):
            entry = found.thoughts[slot][step]
            expected = sum(
                count > slot and len(problem.steps) > step
                for count, problem in zip(counts, of)
            )
            assert entry.accuracy.total == expected
            assert (entry.accuracy.share > 0.9) == (slot == step)
    few = [
        keras_coconut.Problem(p.question, p.steps[: 2 if row < 2 else 1], "1")
        for row, p in enumerate(of)
    ]
    found = probe(text_model, thoughts, monkeypatch, few)
    assert found.thoughts[0][0].selectivity is None
    # Some have a first step, and only two of them a second: fewer than folds.
    assert [steps[1:] for steps in found.thoughts] == [(None,)] * 3


@pytest.mark.any_backend
def test_equal_questions_share_a_fold(text_model, monkeypatch):
    """Else a probe would find each problem in its training set."""
    random = np.random.default_rng(0)
    once = problems(1, count=60)
    thoughts = np.repeat(random.normal(size=(60, 1, 200)), 2, axis=0)
    of = [problem for problem in once for _ in range(2)]
    found = probe(text_model, thoughts, monkeypatch, of)
    accuracy = found.thoughts[0][0].accuracy
    assert accuracy.share < 0.4
    others = [
        keras_coconut.Problem(f"{p.question}, {row}", p.steps, "1")
        for row, p in enumerate(of)
    ]
    found = probe(text_model, thoughts, monkeypatch, others)
    assert found.thoughts[0][0].accuracy.share > 0.6


@pytest.mark.any_backend
def test_labels_of_steps():
    words = keras_coconut.Problem(
        "Is Ann a c?",
        ["Ann is a a.", "Every a is a c.", "So it is."],
        "c",
        extra=tiny.GRAPH,
    )
    assert step_labels(words) == ["a", "c", "So it is."]
    symbols = {**tiny.GRAPH, "idx_to_symbol": [f"<{n}>" for n in range(6)]}
    problem = keras_coconut.Problem("?", ["<2>", "<2> <4>"], "c", extra=symbols)
    assert step_labels(problem) == ["<2>", "<4>"]
    plain = keras_coconut.Problem("1 + 2?", ["3", "1,000"], "c")
    assert step_labels(plain) == ["3", "1,000"]
    found = read_labels([words, plain])
    assert found.numbers.tolist() == [[0, 0, 0], [1, 1, -1]]
    assert found.sizes == (2, 2, 1)
    found = read_labels([words, plain], lambda p: [len(p.question), None])
    assert found.numbers.tolist() == [[0, -1], [1, -1]]


def test_a_real_model(text_model, capsys):
    of = tiny.problems(12)
    control = tiny.compiled(tiny.text_model(layers=1, thought_kind="pause"))
    found = thought_probes(
        text_model,
        of,
        num_thoughts=2,
        layers=[0],
        folds=2,
        control=control,
        batch_size=5,
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("thought probes: 120/120 states")
    for entry in (found, found.control):
        assert len(entry.thoughts) == len(entry.layers[0]) == 2
        assert [p.accuracy.total for p in entry.question] == [12, 8, 4]
    json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.any_backend
def test_what_real_thoughts_hold(text_model):
    """Labels made from the second thought are read from it, and only there."""
    of = tiny.problems(90)
    thoughts = text_model.think([problem.question for problem in of], 2)
    direction = np.random.default_rng(0).normal(size=thoughts.shape[-1])
    values = thoughts[:, 1] @ direction
    by_question = {
        problem.question: ["high" if value > np.median(values) else "low"]
        for problem, value in zip(of, values)
    }
    found = thought_probes(
        text_model,
        of,
        num_thoughts=2,
        labels=lambda problem: by_question[problem.question],
        verbose=0,
    )
    first, second = (steps[0].accuracy for steps in found.thoughts)
    assert second.low > first.share
    assert second.share > 0.85


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(num_thoughts=0), "`num_thoughts` must be at least 1"),
        (dict(folds=1), "`folds` must be"),
        (dict(folds=7), "at least as many different questions as `folds`"),
        (dict(regularization=0), "`regularization` must be"),
        (dict(labels="steps"), "`labels` must be"),
        (dict(labels=lambda problem: "ab"), "`labels` must be"),
        (dict(labels=lambda problem: [0.5]), "`labels` must be"),
        (dict(labels=lambda problem: [None]), "`labels` must give"),
        (dict(layers=[5]), r"`layers\[0\]` must be"),
        (dict(control=3), "`control` must be"),
    ],
)
def test_arguments_are_refused_before_any_work(
    text_model, change, message, monkeypatch
):
    monkeypatch.setattr(probes, "read_states", None)
    arguments = dict(problems=tiny.problems(6), num_thoughts=1)
    with pytest.raises(ValueError, match=message):
        thought_probes(text_model, **{**arguments, **change})


@pytest.mark.any_backend
@pytest.mark.parametrize("package", ["scipy", "threadpoolctl"])
@pytest.mark.parametrize("measure", [thought_probes, keras_coconut.report_card])
def test_packages_are_looked_for_first(
    text_model, monkeypatch, package, measure
):
    """Before anything is computed."""
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(probes, "read_states", None)
    expected = f"`{measure.__name__}` needs {package}, which `pip install"
    with pytest.raises(ImportError, match=expected):
        measure(text_model, tiny.problems(12), num_thoughts=1)
