"""Whatever comes in: refused by all ways in with a short error, or by none."""

import hypothesis
import numpy as np
import pytest
import tiny
from hypothesis import strategies

import keras_coconut
from keras_coconut.models import spans

SETTINGS = hypothesis.settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
# Shapes of one batch, so that little is compiled.
SHAPES = {
    "question_ids": (2, 5),
    "question_mask": (2, 5),
    "thought_mask": (2, 2),
    "response_ids": (2, 4),
    "response_mask": (2, 4),
}
VALUES = strategies.sampled_from([0, 0, 1, 1, 1, 2, -1, 5, 265, 266, 10**6])


@pytest.fixture(scope="module")
def model():
    return tiny.compiled(tiny.text_model(layers=1))


def outcome(function, *args):
    """Returns the error's text, `None` if there is none."""
    try:
        function(*args)
    except ValueError as error:
        assert len(str(error)) < 500
        assert any(f"`{name}`" in str(error) for name in ("x", *SHAPES))
        return str(error)
    return None


@strategies.composite
def batches(draw):
    """A good batch, some numbers or a type of which were replaced."""
    lengths = [draw(strategies.integers(1, 5)) for _ in range(2)]
    x = {
        **spans.pack_questions(
            [[7] * n for n in lengths],
            [draw(strategies.integers(0, 2)) for _ in range(2)],
            question_length=5,
            slots=2,
        ),
        **spans.pack_responses(
            [[9] * draw(strategies.integers(1, 4)) for _ in range(2)], 4
        ),
    }
    for _ in range(draw(strategies.integers(0, 2))):
        key = draw(strategies.sampled_from(sorted(SHAPES)))
        at = tuple(
            draw(strategies.integers(0, size - 1)) for size in SHAPES[key]
        )
        x[key][at] = draw(VALUES)
    if draw(strategies.integers(0, 9)) == 0:
        key = draw(strategies.sampled_from(sorted(SHAPES)))
        kind = draw(strategies.sampled_from(["float32", "int64", "bool"]))
        x[key] = x[key].astype(kind)
    return x


def readable(x):
    """The call contract, spelled out."""
    for key, values in x.items():
        if values.dtype.kind == "f":
            return False
        for row in values.tolist():
            if key.endswith("_ids"):
                if not all(0 <= int(token) < 266 for token in row):
                    return False
                continue
            row = row[::-1] if key == "question_mask" else row
            ones = [int(value) for value in row]
            count = ones.index(0) if 0 in ones else len(ones)
            if ones != [1] * count + [0] * (len(ones) - count):
                return False
            if key != "thought_mask" and not count:
                return False
    return True


@SETTINGS
@hypothesis.given(batches())
def test_a_batch_is_refused_everywhere_or_nowhere(model, x):
    expected = readable(x)
    assert (outcome(model.check_data, x) is None) == expected
    assert (outcome(model.predict_on_batch, x) is None) == expected
    assert (outcome(model.test_on_batch, x) is None) == expected
    question = {key: x[key] for key in spans.QUESTION_KEYS}
    if expected:
        assert np.isfinite(model.predict_on_batch(x)).all()
    assert (outcome(model.think, question) is None) == readable(question)


@SETTINGS
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
            keras_coconut.Curriculum(max_stage, **arguments)
        return
    curriculum = keras_coconut.Curriculum(max_stage, **arguments)
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


@SETTINGS
@hypothesis.given(
    strategies.text(min_size=1, max_size=12),
    strategies.sampled_from(["", "<|endoftext|>", "<|latent|>", "#", "||"]),
)
def test_text_is_refused_everywhere_or_nowhere(model, text, more):
    text = text + more
    try:
        problem = keras_coconut.Problem(text, [text], text)
    except ValueError as error:
        assert len(str(error)) < 500
        with pytest.raises(ValueError, match="x"):
            model.preprocessor.generate_preprocess(text)
        return
    packed = model.preprocessor.generate_preprocess(text)
    (tokenized,) = model.preprocessor.tokenize_problems([problem])
    row = packed["question_ids"][0][packed["question_mask"][0] > 0]
    assert row.tolist() == tokenized.question
    detokenize = model.preprocessor.tokenizer.detokenize
    assert detokenize(tokenized.question[:-1]) == text + "\n"
    assert detokenize(tokenized.steps[0]) == text + "\n"
    assert detokenize(tokenized.answer[:-1]) == "### " + text
