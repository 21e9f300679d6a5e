"""Where steps are compiled, one program serves any number of thoughts."""

import keras
import numpy as np
import pytest
import tiny

from keras_coconut.models import (
    continuation_reader,
    generation,
    thought_reader,
)
from keras_coconut.models.continuation_reader import (
    Continuation,
    read_continuations,
)

compiled_alone = pytest.mark.skipif(
    keras.config.backend() == "torch", reason="PyTorch compiles no steps"
)
QUESTIONS = ["start 3, +4", "start 5"]


def with_own_slots(monkeypatch):
    """Gives every batch as many slots as it needs, as on PyTorch."""
    for module in (continuation_reader, generation, thought_reader):
        monkeypatch.setattr(module, "shared_slots", lambda model, counts: None)


@pytest.fixture(params=[True, False], ids=["markers", "no markers"])
def model(request):
    model = tiny.compiled(tiny.text_model(layers=2, markers=request.param))
    model.num_thoughts = 3
    return model


@compiled_alone
def test_answers(model, monkeypatch):
    def answer(counts, skipped=None):
        return model.generate_tokens(
            QUESTIONS,
            num_thoughts=counts,
            skipped_positions=skipped,
            max_length=6,
            stop_token_ids=None,
        )

    cases = [(0, None), (0, [2, 3]), (1, None), ([3, 0], None), (3, None)]
    found = [answer(*case) for case in cases]
    _, shapes = model.__dict__["_generated_shapes"]
    assert len(shapes) == 1
    # The cases are not one and the same.
    assert len({str(each) for each in found}) > 2
    with_own_slots(monkeypatch)
    assert [answer(*case) for case in cases] == found
    assert len(shapes) > 2


@compiled_alone
def test_more_thoughts_than_the_models_own(model):
    for counts in (4, [5, 0]):
        model.generate_tokens(QUESTIONS, num_thoughts=counts, max_length=2)
    _, shapes = model.__dict__["_generated_shapes"]
    assert len(shapes) == 2


def test_questions_without_a_thought_are_watched(model):
    found = model.read_states(
        QUESTIONS[::-1], [0, 3], layers=[0], batch_size=1
    ).question_attention[0]
    alone = model.read_states(QUESTIONS[1], 0, layers=[0])
    (expected,) = alone.question_attention[0]
    width = expected.shape[-1]
    np.testing.assert_allclose(found[0, ..., -width:], expected, atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=-1), 1, atol=1e-5)


@pytest.mark.parametrize("counts", [[2, 1], 0])
def test_states(model, monkeypatch, counts):
    def read():
        states = model.read_states(QUESTIONS, counts, layers=[0, 1])
        assert states.thoughts.shape[1] == max(np.atleast_1d(counts))
        return keras.tree.flatten(states._asdict())

    found = read()
    with_own_slots(monkeypatch)
    expected = read()
    assert len(found) == 7
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@compiled_alone
def test_continuations(model, monkeypatch):
    ids = model.preprocessor.tokenize_questions(QUESTIONS)
    continuations = [[Continuation([5, 6, 7], 1, n)] for n in (0, 2)]
    found = read_continuations(model, ids, continuations, batch_size=2)
    with_own_slots(monkeypatch)
    expected = read_continuations(model, ids, continuations, batch_size=2)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
