"""A real pretrained model: what it says stays what KerasHub makes it say.

`KERAS_COCONUT_SMOLLM2` names the folder of a KerasHub preset of SmolLM2-135M.
On JAX, set `XLA_FLAGS=` beside it: with the flags of `conftest.py`, which leave
optimizations out, logits are up to 1.3e-4 apart, without them 7e-5.
"""

import os

import keras_hub
import numpy as np
import pytest
from keras import ops

import keras_coconut

PRESET = os.environ.get("KERAS_COCONUT_SMOLLM2")
PROMPTS = [
    "The capital of France is",
    "Water boils at",
    "Once upon a time, there was a",
    "2 + 2 =",
    "The opposite of hot is",
    "My favourite colour is",
    "def add(a, b):\n    return",
    "A dog is an animal that",
    "In 1969, the first man",
    "Dear Sir or Madam,",
]
NEW_TOKENS = 16


@pytest.fixture(scope="module")
def plain():
    if not PRESET:
        pytest.skip("KERAS_COCONUT_SMOLLM2 names no preset of SmolLM2-135M")
    model = keras_hub.models.CausalLM.from_preset(PRESET)
    model.compile(sampler="greedy")
    return model


@pytest.fixture(scope="module")
def model(plain):
    model = keras_coconut.ContinuousThoughtLM.from_preset(
        PRESET, markers=False, separator="", add_start_token=True
    )
    model.compile(sampler="greedy")
    return model


def test_logits_of_old_tokens(plain, model):
    preprocessor = model.preprocessor
    ids = preprocessor.tokenize_questions(PROMPTS)
    # The first half is the question, the rest a response without thoughts.
    halves = [(row[: len(row) // 2], row[len(row) // 2 :]) for row in ids]
    from keras_coconut.text import batches

    x = batches.pack_questions([a for a, _ in halves], [0] * len(ids))
    eot = preprocessor.end_of_thought_id
    x.update(batches.pack_responses([[eot, *b] for _, b in halves]))
    found = ops.convert_to_numpy(model(x))
    old = plain.backbone.vocabulary_size
    longest = max(map(len, ids))
    padded = np.zeros((len(ids), longest), "int32")
    mask = np.zeros_like(padded)
    for row, tokens in enumerate(ids):
        padded[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1
    expected = ops.convert_to_numpy(
        plain({"token_ids": padded, "padding_mask": mask})
    )
    for row, (a, b) in enumerate(halves):
        np.testing.assert_allclose(
            found[row, : len(b) + 1, :old],
            expected[row, len(a) - 1 : len(a) + len(b)],
            atol=1e-4,
        )


def test_ten_prompts(plain, model):
    found = model.generate(PROMPTS, num_thoughts=0, max_length=NEW_TOKENS)
    for prompt, response in zip(PROMPTS, found):
        length = len(model.preprocessor.tokenize_questions([prompt])[0])
        expected = plain.generate(prompt, max_length=length + NEW_TOKENS)
        assert prompt + response == expected
