"""`generate`: strings in, strings out; samplers, ends and limits."""

import keras
import keras_hub
import numpy as np
import pytest
import tiny

from keras_coconut.latent.forward import Forward
from keras_coconut.models import generation, responding


@pytest.fixture
def text_model(small_text_model):
    return small_text_model


def test_a_string_gives_a_string_and_a_list_a_list(text_model):
    one = text_model.generate("start 3, +4", max_length=5, num_thoughts=2)
    assert isinstance(one, str)
    many = text_model.generate(
        ["start 3, +4", "start 5"], max_length=5, num_thoughts=2
    )
    assert many[0] == one and len(many) == 2


def test_the_models_own_number_of_thoughts(text_model):
    text_model.num_thoughts = 2
    question = "start 3, +4"
    own = text_model.generate_tokens([question], max_length=5)
    told = text_model.generate_tokens([question], max_length=5, num_thoughts=2)
    assert own == told


def test_each_row_stops_at_its_own_end(text_model):
    questions = [problem.question for problem in tiny.problems()]
    endless = text_model.generate_tokens(
        questions, max_length=10, num_thoughts=1, stop_token_ids=None
    )
    assert {len(tokens) for tokens in endless} == {10}
    # A token that stands at different places, or not at all, ends the rows.
    first = [tokens[0] for tokens in endless]
    stop = max(
        {t for tokens in endless for t in tokens},
        key=lambda t: sum(t in tokens for tokens in endless) - first.count(t),
    )
    stopped = text_model.generate_tokens(
        questions, max_length=10, num_thoughts=1, stop_token_ids=(stop,)
    )
    for tokens, whole in zip(stopped, endless):
        length = whole.index(stop) + 1 if stop in whole else 10
        assert tokens == whole[:length]
    assert len({len(tokens) for tokens in stopped}) > 1


@pytest.mark.skipif(
    keras.config.backend() != "torch", reason="PyTorch runs what others trace"
)
@pytest.mark.parametrize("stops", [False, True])
def test_one_pass_for_each_token(monkeypatch, stops):
    """No response is decoded again, and a batch ends with its last row."""
    model = tiny.compiled(tiny.text_model(longest=256))
    questions = [problem.question for problem in tiny.problems(8)]
    options = dict(max_length=150, num_thoughts=1, batch_size=4)
    passes, decode = [], Forward.decode

    def counted(self, *args, write=None):
        if write is None:  # A token, and not a thought.
            passes.append(args)
        return decode(self, *args, write=write)

    monkeypatch.setattr(Forward, "decode", counted)
    endless = model.generate_tokens(questions, stop_token_ids=None, **options)
    batches = -(-len(questions) // 4)
    assert len(passes) == 150 * batches
    assert {len(tokens) for tokens in endless} == {150}
    if stops:
        passes.clear()
        stop = endless[0][7]
        found = model.generate_tokens(
            questions, stop_token_ids=(stop,), **options
        )
        assert found[0] == endless[0][: endless[0].index(stop) + 1]
        assert len(passes) <= sum(max(map(len, found)) for _ in range(batches))


def test_pauses_equal_a_question_that_ends_with_them(text_model):
    questions = [problem.question for problem in tiny.problems(3)]
    counts = [0, 1, 2]
    preprocessor = text_model.preprocessor
    options = dict(max_length=6, stop_token_ids=None)
    text_model.thought_kind = "pause"
    found = text_model.generate_tokens(
        questions, num_thoughts=counts, **options
    )
    for question, count, tokens in zip(questions, counts, found):
        ids = preprocessor.tokenize_questions([question])[0]
        ids = np.array([ids + [preprocessor.pause_id] * count])
        x = text_model.generate(
            {
                "question_ids": ids,
                "question_mask": np.ones_like(ids),
                "thought_mask": np.zeros((1, 0), "int32"),
                "response_ids": [[preprocessor.end_of_thought_id]],
            },
            **options,
        )
        assert x["response_ids"][0, 1:].tolist() == tokens
    with pytest.raises(ValueError, match="thought_kind.*'pause'"):
        text_model.think(questions, 1)


def test_cut():
    ids = np.array([[5, 9, 5, 5], [9, 9, 9, 9], [1, 2, 3, 4], [0, 0, 0, 0]])
    assert generation.cut(ids, (9,), [4, 4, 3]) == [[5, 9], [9], [1, 2, 3]]
    assert generation.cut(ids, None, [1, 2, 4]) == [[5], [9, 9], [1, 2, 3, 4]]


def test_a_stop_token_of_id_0_is_not_mistaken_for_padding(model, record):
    x, _, _ = tiny.parity_batch(record)
    questions = {
        "question_ids": x["question_ids"],
        "question_mask": x["question_mask"],
        "thought_mask": x["thought_mask"],
        "response_ids": np.full((5, 1), record["special_ids"][1]),
    }
    responses = model.generate(questions, max_length=4, stop_token_ids=(0,))
    assert responses["response_ids"].shape == (5, 5)


@pytest.mark.parametrize(
    "sampler",
    [
        keras_hub.samplers.TopKSampler(k=3, seed=1),
        pytest.param(
            keras_hub.samplers.TopPSampler(p=0.5, seed=1),
            marks=pytest.mark.thorough,
        ),
        pytest.param(
            keras_hub.samplers.RandomSampler(seed=1),
            marks=pytest.mark.thorough,
        ),
        keras_hub.samplers.BeamSampler(num_beams=3),
        keras_hub.samplers.ContrastiveSampler(k=2, alpha=0.2),
    ],
    ids=lambda sampler: type(sampler).__name__,
)
def test_every_sampler(sampler):
    text_model = tiny.text_model(layers=1)
    text_model.compile(sampler=sampler)
    rows = text_model.generate_tokens(
        ["start 3, +4", "start 5"],
        max_length=6,
        num_thoughts=[0, 2],
        stop_token_ids=None,
    )
    assert [len(row) for row in rows] == [6, 6]


def test_samplers_that_have_no_choice_are_greedy(text_model):
    """One beam, or the first of one candidate: the greedy tokens."""
    arguments = dict(
        inputs=["start 3, +4", "start 5, -1, *7"],
        max_length=6,
        num_thoughts=[1, 2],
        stop_token_ids=None,
    )
    greedy = text_model.generate_tokens(**arguments)
    for sampler in (
        keras_hub.samplers.BeamSampler(num_beams=1),
        keras_hub.samplers.TopKSampler(k=1),
        keras_hub.samplers.ContrastiveSampler(k=1, alpha=0.0),
    ):
        text_model.compile(sampler=sampler)
        assert text_model.generate_tokens(**arguments) == greedy


@pytest.mark.thorough
def test_beams_find_a_likelier_response(text_model):
    """The beams' tokens are at least as likely as the greedy ones."""
    question = "start 3, +4"

    def log_probability(tokens):
        x = text_model.preprocessor.generate_preprocess(question, 1)
        ids = [text_model.preprocessor.end_of_thought_id, *tokens]
        x["response_ids"] = np.array([ids], "int32")
        x["response_mask"] = np.ones_like(x["response_ids"])
        logits = tiny.logits(text_model, x)[0, :-1]
        logits = logits - logits.max(-1, keepdims=True)
        chances = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        return chances[np.arange(len(tokens)), tokens].sum()

    arguments = dict(max_length=4, num_thoughts=1, stop_token_ids=None)
    (greedy,) = text_model.generate_tokens([question], **arguments)
    text_model.compile(sampler=keras_hub.samplers.BeamSampler(num_beams=8))
    (beams,) = text_model.generate_tokens([question], **arguments)
    assert log_probability(beams) >= log_probability(greedy) - 1e-5


def test_the_default_length_is_the_room_that_is_left(text_model):
    question = "start 1" + ", +1" * 10
    (tokens,) = text_model.generate_tokens(
        [question], num_thoughts=3, stop_token_ids=None
    )
    (ids,) = text_model.preprocessor.tokenize_questions([question])
    assert len(tokens) == 64 - len(ids) - 3 - 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(num_thoughts=-1), "num_thoughts.*from 0 to.*-1"),
        (dict(num_thoughts=1.5), "num_thoughts.*whole number.*1.5"),
        (dict(num_thoughts=[1, 2]), "one for each of the 1 rows"),
        (dict(num_thoughts=None), "num_thoughts.*must be given"),
        (dict(num_thoughts=0, max_length=0), "max_length.*at least 1"),
        (dict(num_thoughts=0, max_length=2.5), "max_length.*whole number"),
        (dict(num_thoughts=0, max_length=60), "maximum length of 64.*start 3"),
        (dict(num_thoughts=60, max_length=4), "maximum length of 64.*row 0"),
        (dict(num_thoughts=0, batch_size=0), "batch_size.*at least 1"),
    ],
)
def test_bad_arguments(text_model, arguments, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        text_model.generate("start 3, +4", **arguments)


@pytest.mark.parametrize("questions", [[], [3], 7])
def test_bad_questions(text_model, questions):
    with pytest.raises((ValueError, TypeError)):
        text_model.generate(questions, num_thoughts=0)


def test_without_a_preprocessor_strings_are_refused(model):
    with pytest.raises(ValueError, match="without a preprocessor"):
        model.generate("start 3", num_thoughts=0)


def test_questions_of_any_length_share_few_programs(monkeypatch):
    """In a short context, which leaves each of them another room."""
    model = tiny.compiled(tiny.text_model(layers=1, longest=96))
    shapes = set()
    step = responding.respond

    def counted(model, x, stop_token_ids):
        shapes.add((x["question_ids"].shape[1], x["response_ids"].shape[1]))
        return step(model, x, stop_token_ids)

    monkeypatch.setattr(responding, "respond", counted)
    limits = []
    for length in range(1, 61, 6):
        question = "x" * length
        (tokens,) = model.generate_tokens(
            [question], num_thoughts=1, stop_token_ids=None
        )
        # Question, newline, `<bot>`, a thought, `<eot>`.
        assert len(tokens) == 96 - (length + 4)
        limits.append(len(tokens))
    assert len(set(limits)) == 10
    assert len(shapes) <= 4


def test_a_room_that_is_rounded_changes_no_token():
    model = tiny.compiled(tiny.text_model(layers=1, longest=64))
    for question in ("start 3", "start 3, +4, -2"):
        rounded = model.generate_tokens(
            [question], num_thoughts=2, stop_token_ids=None
        )
        exact = model.generate_tokens(
            [question],
            num_thoughts=2,
            max_length=len(rounded[0]),
            stop_token_ids=None,
        )
        assert rounded == exact


@pytest.mark.thorough
def test_each_response_is_handed_out_once():
    model = tiny.compiled(tiny.text_model(layers=1, longest=160))
    questions = [f"start {i}" for i in range(5)]
    handed = []
    tokens = model.generate_tokens(
        questions,
        num_thoughts=[0, 1, 2, 1, 0],
        max_length=90,
        batch_size=2,
        on_response=lambda row, ids: handed.append((row, list(ids))),
    )
    assert sorted(handed) == list(enumerate(tokens))
