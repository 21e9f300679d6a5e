"""What thoughts decode to, and the plot of a run."""

import numpy as np
import pytest
import tiny
from keras import ops

from keras_coconut.analysis.plots import plot_stages
from keras_coconut.analysis.thoughts import decode_thoughts


def test_the_first_thought_decodes_as_the_next_word_would(text_model):
    """Thought 1 is the hidden state at <bot>: KerasHub's next-token logits."""
    question = "start 3, +4"
    decoded = decode_thoughts(text_model, [question], 2, top_k=4)
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


def test_a_plot_is_written(tmp_path):
    history = {
        "loss": [2.0, 1.0, 1.5, 0.5],
        "stage": [0, 0, 1, 1],
        "thoughts": [0, 0, 1, 1],
        "val_answer_accuracy": [0.1, 0.9, 0.4, 0.95],
    }
    plot_stages(history, tmp_path / "a.png", title="title")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    del history["stage"]
    with pytest.raises(ValueError, match="`stage`"):
        plot_stages(history, tmp_path / "b.png")
    assert not (tmp_path / "b.png").exists()


def test_thoughts_of_other_models_differ(text_model):
    question = ["start 3, +4"]
    mine = np.asarray(text_model.think(question, 2))
    theirs = np.asarray(tiny.text_model(seed=1).think(question, 2))
    assert np.abs(mine - theirs).max() > 0.1
