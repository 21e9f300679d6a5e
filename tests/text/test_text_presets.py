"""Presets of every family, our own and plain; KerasHub's stay KerasHub's."""

import functools
import json
import os
import pathlib
import subprocess
import sys

import families
import keras_hub
import numpy as np
import pytest
import tiny_tokenizers

import keras_coconut
from keras_coconut import ContinuousThoughtPreprocessor, Problem

pytestmark = pytest.mark.any_backend

PROBLEM = Problem("12 + 2?", ["12 + 2 = 14"], "14")
FAMILY = {"llama3_renamed": "llama3", "mistral_tekken": "mistral"}
_backbone = functools.cache(lambda family: families.FAMILIES[family]())


def save(path, kind, layer):
    """A preset of a backbone and of a tokenizer or preprocessor."""
    _backbone(FAMILY.get(kind, kind)).save_to_preset(str(path))
    layer.save_to_preset(str(path))
    return path


@pytest.mark.parametrize("kind", tiny_tokenizers.KINDS)
def test_our_own_preset(kind, tmp_path):
    saved = tiny_tokenizers.preprocessor(
        kind, separator=" ", sequence_length=99, add_start_token=None
    )
    save(tmp_path, kind, saved)
    again = ContinuousThoughtPreprocessor.from_preset(tmp_path)
    assert type(again) is ContinuousThoughtPreprocessor
    for name in ("sequence_length", "marker_tokens", "add_start_token"):
        assert getattr(again, name) == getattr(saved, name)
    problems = [PROBLEM]
    expected = saved.tokenize_problems(problems)
    assert again.tokenize_problems(problems) == expected
    other = ContinuousThoughtPreprocessor.from_preset(
        tmp_path, markers=False, sequence_length=50
    )
    assert not other.markers and other.sequence_length == 50
    assert other.separator == " "
    (row,) = other.tokenize_problems(problems)
    assert row.question == expected[0].question[:-1]
    # What it is made of stays KerasHub's, and opens without us.
    if kind != "llama3_renamed":
        tokenizer = keras_hub.models.Tokenizer.from_preset(str(tmp_path))
        assert type(tokenizer) is type(saved.tokenizer)


@pytest.mark.parametrize("kind", tiny_tokenizers.KINDS)
def test_a_plain_preset(kind, tmp_path):
    if kind == "llama3_renamed":
        pytest.skip("KerasHub does not open its own preset of it")
    save(tmp_path, kind, tiny_tokenizers.plain(kind))
    found = ContinuousThoughtPreprocessor.from_preset(
        str(tmp_path), separator=" "
    )
    expected = tiny_tokenizers.preprocessor(kind, separator=" ")
    assert found.marker_tokens == expected.marker_tokens
    assert found.tokenize_problems([PROBLEM]) == expected.tokenize_problems(
        [PROBLEM]
    )
    chosen = ("<0xC0>", "<0xC1>", "<0xFF>")
    found = ContinuousThoughtPreprocessor.from_preset(
        str(tmp_path), marker_tokens=chosen
    )
    assert found.marker_tokens == chosen


@pytest.mark.parametrize("add_start_token", [True, False])
@pytest.mark.parametrize(
    ("kind", "cls"),
    [
        ("gpt2", keras_hub.models.GPT2CausalLMPreprocessor),
        ("llama3", keras_hub.models.Llama3CausalLMPreprocessor),
        ("qwen", keras_hub.models.QwenCausalLMPreprocessor),
    ],
)
def test_a_plain_preset_says_whether_texts_start(
    kind, cls, add_start_token, tmp_path
):
    """As that of SmolLM2, a Llama 3 that was trained without."""
    stock = cls(tiny_tokenizers.plain(kind), add_start_token=add_start_token)
    save(tmp_path, kind, stock)
    found = ContinuousThoughtPreprocessor.from_preset(tmp_path)
    assert found.add_start_token == (add_start_token and kind == "llama3")
    if kind != "gpt2":
        (*row, _) = found.tokenize_questions(["12 + 2?"])[0]
        x, _, _ = stock("12 + 2?\n")
        length = int(np.asarray(x["padding_mask"]).sum()) - 1
        assert row == np.asarray(x["token_ids"])[:length].tolist()
    other = ContinuousThoughtPreprocessor.from_preset(
        tmp_path, add_start_token=kind != "qwen"
    )
    assert other.add_start_token == (kind != "qwen")


def test_a_plain_preset_with_a_tokenizer_that_is_given(tmp_path):
    save(tmp_path, "llama3", tiny_tokenizers.plain("llama3"))
    tokenizer = tiny_tokenizers.preprocessor("llama3").tokenizer
    found = ContinuousThoughtPreprocessor.from_preset(
        tmp_path, tokenizer=tokenizer
    )
    assert found.tokenizer is tokenizer


def test_presets_of_other_families_and_no_presets(tmp_path):
    keras_hub.models.BertBackbone(
        vocabulary_size=9,
        num_layers=1,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=16,
    ).save_to_preset(str(tmp_path))
    keras_hub.tokenizers.BertTokenizer(
        ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]", "a"]
    ).save_to_preset(str(tmp_path))
    with pytest.raises(ValueError, match="`tokenizer`.*BertTokenizer"):
        ContinuousThoughtPreprocessor.from_preset(tmp_path)
    for bad in (None, 3, "", b"a"):
        with pytest.raises(ValueError, match="`preset`"):
            ContinuousThoughtPreprocessor.from_preset(bad)


def test_a_config_of_the_first_version():
    config = tiny_tokenizers.preprocessor("gpt2").get_config()
    for name in ("marker_tokens", "add_start_token"):
        del config[name]
    again = ContinuousThoughtPreprocessor.from_config(config)
    assert not again.add_start_token
    tokenizer = tiny_tokenizers.preprocessor("gpt2").tokenizer
    again.tokenizer.set_vocabulary_and_merges(
        tokenizer.vocabulary, tokenizer.merges
    )
    assert again.tokenize_questions(["1?"]) == tiny_tokenizers.preprocessor(
        "gpt2"
    ).tokenize_questions(["1?"])


FRESH = """
import json, sys
import keras_hub
from keras_hub.src.utils.preset_utils import list_subclasses
import keras_coconut
models = keras_hub.models
kinds = [getattr(models, name) for name in dir(models)]
backbones = {kind for kind in kinds if isinstance(kind, type)
             and issubclass(kind, models.Backbone)}
ours = [kind.__name__ for base in (models.CausalLM, models.CausalLMPreprocessor)
        for kind in list_subclasses(base)
        if kind.backbone_cls in backbones
        and kind.__module__.startswith("keras_coconut")]
found = models.CausalLMPreprocessor.from_preset(sys.argv[1])
task = models.CausalLM.from_preset(sys.argv[1])
print(json.dumps([ours, *(f"{type(one).__module__}.{type(one).__name__}"
                          for one in (found, task, task.preprocessor))]))
"""


@pytest.mark.parametrize("seed", ["0", "1", "2"])
def test_keras_hub_is_what_it_was(seed, tmp_path):
    """KerasHub takes the first of a set of classes with a backbone's family."""
    tokenizer, backbone = tiny_tokenizers.small_gpt2(True)
    backbone.save_to_preset(str(tmp_path))
    tokenizer.save_to_preset(str(tmp_path))
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    result = subprocess.run(
        [sys.executable, "-c", FRESH, str(tmp_path)],
        env=environment,
        cwd=pathlib.Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    ours, *found = json.loads(result.stdout.splitlines()[-1])
    assert not ours
    gpt2 = "keras_hub.src.models.gpt2.gpt2_causal_lm"
    assert found == [
        f"{gpt2}_preprocessor.GPT2CausalLMPreprocessor",
        f"{gpt2}.GPT2CausalLM",
        f"{gpt2}_preprocessor.GPT2CausalLMPreprocessor",
    ]


def test_markers_without_a_preprocessor(tmp_path):
    save(tmp_path, "gpt2", tiny_tokenizers.plain("gpt2"))
    for markers in (True, False):
        model = keras_coconut.ContinuousThoughtLM.from_preset(
            tmp_path, preprocessor=None, markers=markers
        )
        assert model.preprocessor is None and model.markers is markers
    with pytest.raises((ValueError, TypeError), match="separator"):
        keras_coconut.ContinuousThoughtLM.from_preset(
            tmp_path, preprocessor=None, separator=" "
        )
