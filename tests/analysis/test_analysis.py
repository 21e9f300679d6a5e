"""What thoughts decode to, and the plot of a run."""

import numpy as np
import pytest
import tiny
from keras import ops

from keras_coconut.analysis import thoughts as thoughts_module
from keras_coconut.analysis.plots import plot_stages
from keras_coconut.analysis.thoughts import decode_thoughts
from keras_coconut.backbones import Decoder


def test_the_first_thought_decodes_as_the_next_word_would(text_model):
    """Thought 1 is the hidden state at <bot>: KerasHub's next-token logits."""
    question = "start 3, +4"
    decoded = decode_thoughts(text_model, [question], num_thoughts=2, top_k=4)
    assert [len(slots) for slots in decoded] == [2]
    (ids,) = text_model.preprocessor.tokenize_questions([question])
    ids = np.array([ids])
    hidden = text_model.backbone(
        {"token_ids": ids, "padding_mask": np.ones_like(ids)}
    )
    logits = ops.convert_to_numpy(
        text_model.backbone.token_embedding(hidden, reverse=True)
    )[0, -1]
    chances = np.exp(logits - logits.max())
    chances /= chances.sum()
    order = np.argsort(-chances)[:4]
    tokenizer = text_model.preprocessor.tokenizer
    for entry, token in zip(decoded[0][0], order):
        assert entry.token == tokenizer.detokenize([int(token)])
        np.testing.assert_allclose(entry.probability, chances[token], atol=1e-5)


def test_each_question_has_exactly_its_own_thoughts(text_model):
    questions = ["start 3, +4", "start 5, *2", "start 1, -1"]
    counts = [1, 3, 0]
    decoded = decode_thoughts(
        text_model, questions, num_thoughts=np.array(counts)
    )
    assert [len(thoughts) for thoughts in decoded] == counts
    for question, count, thoughts in zip(questions, counts, decoded):
        alone = decode_thoughts(
            text_model, question, num_thoughts=count, batch_size=1
        )
        assert [[e.token for e in slot] for slot in thoughts] == [
            [e.token for e in slot] for slot in alone[0]
        ]
    assert decode_thoughts(text_model, questions, num_thoughts=0) == [
        [],
        [],
        [],
    ]


def test_no_more_is_held_than_a_few_thoughts(text_model, monkeypatch):
    questions = ["start 3, +4", "start 5, *2", "start 1, -1"]
    expected = decode_thoughts(text_model, questions, num_thoughts=3)
    sizes = []
    logits = Decoder.logits

    def watched(backbone, hidden):
        sizes.append(hidden.shape)
        return logits(backbone, hidden)

    monkeypatch.setattr(Decoder, "logits", watched)
    monkeypatch.setattr(thoughts_module, "_AT_ONCE", 4)
    found = decode_thoughts(text_model, questions, num_thoughts=3)
    assert sizes == [(1, 4, 16), (1, 4, 16), (1, 1, 16)]
    for slots, others in zip(found, expected):
        for slot, other in zip(slots, others):
            assert [e.token for e in slot] == [e.token for e in other]


def test_the_most_probable_tokens_first(text_model):
    size = text_model.backbone.vocabulary_size
    (slots,) = decode_thoughts(
        text_model, "start 3, +4", num_thoughts=2, top_k=size
    )
    (best,) = decode_thoughts(
        text_model, "start 3, +4", num_thoughts=2, top_k=np.int64(5)
    )
    for slot, first in zip(slots, best):
        chances = [entry.probability for entry in slot]
        assert sum(chances) == pytest.approx(1, abs=1e-5)
        assert chances == sorted(chances, reverse=True)
        assert len(first) == 5
        assert [e.token for e in first] == [e.token for e in slot[:5]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(model=None), "`model` must be"),
        (dict(questions=[]), "`questions` must be"),
        (dict(questions=3), "`questions` must be"),
        (dict(questions=["a", 3]), "`questions.* must be"),
        (dict(num_thoughts=-1), "`num_thoughts` must be"),
        (dict(num_thoughts=[1, 2, 3]), "`num_thoughts` must be"),
        (dict(top_k=0), "`top_k` must be"),
        (dict(top_k=1.5), "`top_k` must be"),
        (dict(top_k=10**6), "`top_k` must be a whole number from 1 to"),
        (dict(batch_size=0), "`batch_size` must be"),
    ],
)
def test_arguments_of_decoding(text_model, change, message):
    arguments = dict(model=text_model, questions=["a", "b"], num_thoughts=1)
    with pytest.raises(ValueError, match=message) as error:
        decode_thoughts(**{**arguments, **change})
    assert len(str(error.value)) < 500


def test_pauses_hold_nothing_to_decode(text_model):
    text_model.thought_kind = "pause"
    with pytest.raises(ValueError, match="`thought_kind` must be 'continuous'"):
        decode_thoughts(text_model, ["a"], num_thoughts=1)


HISTORY = {
    "loss": [2.0, 1.0, 1.5, 0.5],
    "stage": [0, 0, 1, 1],
    "thoughts": [0, 0, 1, 1],
    "val_answer_accuracy": [0.1, 0.9, 0.4, 0.95],
}


def test_a_plot_is_written(tmp_path):
    plot_stages(HISTORY, tmp_path / "a.png", title="title")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    plot_stages(HISTORY, str(tmp_path / "a.pdf"))
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(
    "change",
    [
        dict(val_answer_accuracy=...),
        dict(loss=[2.0, float("nan"), 1.0, 0.5]),
        dict(stage=np.array([0, 0, 1, 1]), thoughts=(0.0, 0.0, 1.0, 1.0)),
        dict(stage=[0, 1, 0, 1]),  # Set by hand.
        {
            "loss": [1],
            "stage": [0],
            "thoughts": [0],
            "val_answer_accuracy": [1],
        },
    ],
)
def test_other_histories_that_can_be_drawn(tmp_path, change):
    history = {**HISTORY, **change}
    history = {k: value for k, value in history.items() if value is not ...}
    plot_stages(history, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(stage=...), "`stage`"),
        (dict(thoughts=...), "`thoughts`"),
        (dict(loss=...), "`loss`"),
        (dict(loss=[1.0]), "one number for each epoch"),
        (
            dict(loss=[], stage=[], thoughts=[], val_answer_accuracy=[]),
            "least one",
        ),
        (dict(loss="1234"), "'loss'.* must be a list of numbers"),
        (dict(loss=[1, 2, 3, "x" * 10**6]), "'loss'.* must be a list"),
        (dict(stage=[0, 0, 1, 1.5]), "'stage'.* whole numbers"),
        (dict(stage=[0, 0, 1, -1]), "'stage'.* whole numbers"),
        (dict(stage=[0, 0, 1, float("nan")]), "'stage'.* whole numbers"),
        (
            dict(val_answer_accuracy=[1, 2, 3, None]),
            "'val_answer_acc.* numbers",
        ),
    ],
)
def test_histories_that_cannot_be_drawn(tmp_path, change, message):
    history = {**HISTORY, **change}
    history = {k: value for k, value in history.items() if value is not ...}
    with pytest.raises(ValueError, match=message) as error:
        plot_stages(history, tmp_path / "b.png")
    assert len(str(error.value)) < 500
    assert not (tmp_path / "b.png").exists()


def test_arguments_of_a_plot(tmp_path):
    path = tmp_path / "b.png"
    for options, message in (
        (dict(history=[1, 2]), "`history` must be a dictionary"),
        (dict(path=3), "`path` must be a path"),
        (dict(path=tmp_path / "b.pgn"), "`path` must be a file of the kinds"),
        (dict(title=None), "`title` must be a string"),
        (dict(accuracy_key=3), "`accuracy_key` must be a string"),
        (dict(accuracy_key=""), "`accuracy_key` must be a string"),
    ):
        with pytest.raises(ValueError, match=message) as error:
            plot_stages(**{"history": HISTORY, "path": path, **options})
        assert len(str(error.value)) < 500
    with pytest.raises(OSError, match="`path` must"):
        plot_stages(HISTORY, tmp_path / "no" / "b.png")


def test_thoughts_of_other_models_differ(text_model):
    question = ["start 3, +4"]
    mine = np.asarray(text_model.think(question, 2))
    theirs = np.asarray(tiny.text_model(seed=1).think(question, 2))
    assert np.abs(mine - theirs).max() > 0.1
