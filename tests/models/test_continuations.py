"""Probabilities of continuations against `score`, one by one."""

import numpy as np
import pytest
import slow
import tiny
import tiny_tokenizers
from keras import ops

from keras_coconut.models import scoring

QUESTIONS = ["start 3, +4", "start 5, *2, -1, +7", "start 1"]
CONTINUATIONS = [["7", "3 + 4", "### 7"], ["5 * 2 = 10\n10 -"], ["1", "12"]]
PROMPTS = ["", "### ", "start"]
KINDS = {
    "markers": {},
    "no_markers": dict(markers=False),
    "pauses": dict(thought_kind="pause"),
    "jacobi": dict(num_iterations=2),
}


def rows(counts):
    """Questions, numbers of thoughts, prompts and texts, one by one."""
    return [
        (question, count, prompt, text)
        for question, count, prompt, texts in zip(
            QUESTIONS, counts, PROMPTS, CONTINUATIONS
        )
        for text in texts
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_continuations_are_scored_as_responses(kind):
    model, counts = tiny.text_model(layers=1, **KINDS[kind]), [2, 0, 3]
    given = dict(continuations=CONTINUATIONS, prompts=PROMPTS)
    found = model.score_continuations(QUESTIONS, num_thoughts=counts, **given)
    assert [len(own) for own in found] == [3, 1, 2]
    flat = [scores for own in found for scores in own]
    expected = slow.chances(model, rows(counts))
    for scores, alone in zip(flat, expected, strict=True):
        np.testing.assert_allclose(scores, alone, atol=2e-5)
    # Thoughts count.
    others = model.score_continuations(
        QUESTIONS, num_thoughts=[1, 3, 2], **given
    )
    for row in range(3):
        assert np.abs(others[row][0] - found[row][0]).max() > 1e-3


@pytest.mark.any_backend
def test_the_sum_is_what_score_returns():
    model = tiny.text_model(layers=1)
    ((scores,),) = model.score_continuations(
        QUESTIONS[0], [["### 7"]], num_thoughts=2
    )
    losses = ops.convert_to_numpy(
        model.score(QUESTIONS[0], "### 7", num_thoughts=2, scoring_mode="loss")
    )
    # The end of text is not scored.
    np.testing.assert_allclose(scores, -losses[0, : len(scores)], atol=1e-5)
    assert len(scores) == losses.shape[1] - 2


@pytest.mark.any_backend
@pytest.mark.parametrize("kind", ["gpt2", "llama", "gemma"])
def test_a_space_at_the_end_of_a_prompt(kind):
    """It belongs to the token behind it, where the tokenizer joins them."""
    preprocessor = tiny_tokenizers.preprocessor(kind)
    texts = ["### 6", "### fox"]
    flat = [("### ", text, 0) for text in texts]
    counted = scoring._count_given(preprocessor, flat)
    heads = preprocessor.tokenize_responses(["###", "### "])
    for text, (ids, given) in zip(texts, counted):
        assert ids == preprocessor.tokenize_responses([text])[0][1:-1]
        assert ids[:given] in [head[1:-1] for head in heads]
        assert 0 < given < len(ids)


@pytest.mark.any_backend
def test_a_question_without_thoughts_beside_one_with_many():
    model = tiny.text_model(layers=1, longest=64)
    long, few = "x" * 50, QUESTIONS[2]
    found = model.score_continuations(
        [long, few], [["7"], ["1"]], num_thoughts=[0, 20]
    )
    for question, count, text, own in (
        (long, 0, "7", found[0]),
        (few, 20, "1", found[1]),
    ):
        (alone,) = model.score_continuations(
            question, [[text]], num_thoughts=count
        )
        np.testing.assert_allclose(own[0], alone[0], atol=1e-5)


@pytest.mark.any_backend
def test_the_question_is_read_once(monkeypatch):
    """However many continuations it has, and in few programs."""
    from keras_coconut.models import continuation_reader

    model = tiny.text_model(layers=1, num_thoughts=2)
    calls, think = [], continuation_reader.rollout.think

    def watched(*args):
        calls.append(args)
        return think(*args)

    monkeypatch.setattr(continuation_reader.rollout, "think", watched)
    model.score_continuations(QUESTIONS, CONTINUATIONS, batch_size=2)
    assert len(calls) == 2  # Batches.
    (reader,) = vars(model)["_readers"].values()
    model.score_continuations(QUESTIONS, CONTINUATIONS, batch_size=2)
    assert list(vars(model)["_readers"].values()) == [reader]


@pytest.mark.any_backend
def test_a_row_is_scored_alike_in_every_batch():
    model = tiny.text_model(layers=1, num_thoughts=2)
    together = model.score_continuations(QUESTIONS, CONTINUATIONS)
    for row, (question, texts) in enumerate(zip(QUESTIONS, CONTINUATIONS)):
        (alone,) = model.score_continuations(question, [texts])
        for one, other in zip(alone, together[row], strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(continuations=[["7"]]), "`continuations` must hold a list for"),
        (dict(continuations=["7", "7", "7"]), r"`continuations\[0\]` must be"),
        (dict(prompts=["a"]), "`prompts` must be a string, or one for each"),
        (dict(num_thoughts=20), "must fit the backbone's maximum length of 64"),
        # A token that belongs to both.
        (
            dict(prompts="star", continuations=[["t 3"]] * 3),
            "must end where a token",
        ),
    ],
)
def test_refusals(change, message):
    model = tiny.text_model(layers=1)
    given = dict(continuations=[["7" * 40]] * 3, num_thoughts=1)
    with pytest.raises(ValueError, match=message):
        model.score_continuations(QUESTIONS, **{**given, **change})
