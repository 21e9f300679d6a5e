"""Text to tokens and back, for each tokenizer of KerasHub's."""

import inspect
import itertools

import keras_hub
import numpy as np
import pytest
import tiny_tokenizers
from fuzzing import FUZZ
from hypothesis import given, settings
from hypothesis import strategies as st

import keras_coconut
from keras_coconut import ContinuousThoughtPreprocessor, Problem
from keras_coconut.text.tokenization import (
    decode,
    encode,
    find_token,
    fingerprint,
)

pytestmark = pytest.mark.any_backend

CONTROL = {
    token
    for kind in tiny_tokenizers.KINDS
    for token in tiny_tokenizers.preprocessor(kind)._control
}
# Their vocabularies put a space before a text.
WITH_SPACE = (
    keras_hub.tokenizers.LlamaTokenizer,
    keras_hub.tokenizers.MistralTokenizer,
    keras_hub.tokenizers.Phi3Tokenizer,
)
# U+2581 is a space to SentencePiece, in which none of these texts stands.
CHARACTERS = st.characters(codec="utf-8", exclude_characters="▁")
TEXT = st.text(CHARACTERS, max_size=8) | st.lists(
    st.sampled_from(
        [
            *sorted(CONTROL),
            *("#", "### ", "||", "\n", "  ", "\u2028", "\u0301", "é", "👍🏽"),
            *("start", " +", "\0", "\x01", "1234", ",", "<", "<0x0A>"),
        ]
    ),
    max_size=5,
).map("".join)


@pytest.fixture(params=tiny_tokenizers.KINDS)
def preprocessor(request):
    return tiny_tokenizers.preprocessor(request.param)


@settings(max_examples=300, **FUZZ)
@given(TEXT, st.lists(TEXT, max_size=3), TEXT)
def test_any_text_comes_back(preprocessor, question, steps, answer):
    question += "?"
    (found,) = preprocessor.tokenize_problems(
        [Problem(question, steps, answer)]
    )
    response = list(itertools.chain(*found.steps, found.answer))
    (written,) = preprocessor.generate_postprocess([response])
    assert written == "".join(step + "\n" for step in steps) + f"### {answer}"
    parts = [*found.steps, found.answer[:-1]]
    assert decode(preprocessor.tokenizer, parts) == [
        *(step + "\n" for step in steps),
        f"### {answer}",
    ]
    start = preprocessor.add_start_token
    (asked,) = preprocessor.generate_postprocess([found.question])
    space = " " if isinstance(preprocessor.tokenizer, WITH_SPACE) else ""
    assert asked == f"{space}{question}\n"
    # No text steers: the only control tokens are the layout's own.
    control = {*map(preprocessor.tokenizer.token_to_id, preprocessor._control)}
    assert not control & {*found.question[start:-1], *response[:-1]}
    assert found.question[-1] == preprocessor.begin_of_thought_id
    assert response[-1] == preprocessor.tokenizer.end_token_id


@tiny_tokenizers.needs_whole_words
@settings(max_examples=100, **FUZZ)
@given(st.text(CHARACTERS, max_size=8))
def test_a_question_has_the_tokens_of_the_tokenizer(preprocessor, text):
    text += "?"
    tokenizer = preprocessor.tokenizer
    ((*start, last),) = preprocessor.tokenize_questions([text])
    expected = np.asarray(tokenizer(text + "\n")).tolist()
    if preprocessor.add_start_token:
        expected = [tokenizer.start_token_id, *expected]
    assert start == expected and last == preprocessor.begin_of_thought_id


@pytest.mark.parametrize("kind", ["llama", "mistral", "phi3"])
def test_no_space_is_put_between_the_parts_of_a_problem(kind):
    """Each tokenized as a text of its own, "1 = 1" would become " 1 = 1"."""
    tokenizer = tiny_tokenizers.plain(kind)
    parts = ["1 = 1\n", "### 1"]
    alone = [np.asarray(tokenizer(part)).tolist() for part in parts]
    assert tokenizer.detokenize(sum(alone, [])) == "1 = 1\n ### 1"
    (found,) = tiny_tokenizers.preprocessor(kind).tokenize_problems(
        [Problem("1?", ["1 = 1"], "1")]
    )
    joined = sum([*found.steps, found.answer[:-1]], [])
    tokens = [tokenizer.id_to_token(index) for index in joined]
    assert "".join(tokens) == "1▁=▁1<0x0A>###▁1"


START = {
    **dict.fromkeys(("gpt2", "gpt_neo_x", "qwen", "qwen3", "smollm3")),
    **dict.fromkeys(
        ("llama", "llama3_renamed", "mistral", "mistral_tekken", "phi3"), "<s>"
    ),
    **dict.fromkeys(("gemma", "gemma3"), "<bos>"),
    "llama3": "<|begin_of_text|>",
    "opt": "</s>",
}


@pytest.mark.parametrize("kind", tiny_tokenizers.KINDS)
def test_start_tokens(kind):
    preprocessor = tiny_tokenizers.preprocessor(kind)
    tokenizer = preprocessor.tokenizer
    assert preprocessor.add_start_token == (START[kind] is not None)
    (row,) = preprocessor.tokenize_questions(["1?"])
    if START[kind]:
        assert tokenizer.id_to_token(row[0]) == START[kind]
        other = tiny_tokenizers.preprocessor(kind, add_start_token=False)
        assert other.tokenize_questions(["1?"]) == [row[1:]]
    elif tokenizer.start_token:
        other = tiny_tokenizers.preprocessor(kind, add_start_token=True)
        assert other.tokenize_questions(["1?"]) == [
            [tokenizer.start_token_id, *row]
        ]
    else:
        with pytest.raises(ValueError, match="`add_start_token`.*left out"):
            tiny_tokenizers.preprocessor(kind, add_start_token=True)


def test_a_text_that_spells_a_byte_is_refused_where_the_byte_steers():
    preprocessor = ContinuousThoughtPreprocessor(
        tiny_tokenizers.plain("llama"),
        marker_tokens=("<0x01>", "<0x02>", "<0x03>"),
    )
    assert preprocessor.begin_of_thought_id == 4
    assert preprocessor.end_of_thought_id == 5
    assert preprocessor.pause_id == 6
    with pytest.raises(ValueError, match=r"`text`.*'<0x02>'.*'a\\x02b"):
        preprocessor.tokenize_questions(["a", "a\2b"])
    # Its name does not.
    (row,) = preprocessor.tokenize_questions(["<0x02>"])
    assert 5 not in row


def test_a_vocabulary_that_normalizes_text():
    """NFKC, one space for several, and no bytes: as it was made to read."""
    proto = tiny_tokenizers.llama_proto(
        normalization_rule_name="nmt_nfkc",
        remove_extra_whitespaces=True,
        byte_fallback=False,
        vocab_size=120,
        user_defined_symbols="<x>,<y>,<z>",
    )
    preprocessor = ContinuousThoughtPreprocessor(
        keras_hub.tokenizers.LlamaTokenizer(proto),
        marker_tokens=("<x>", "<y>", "<z>"),
    )
    problem = Problem("ﬁx\t1?", ["\uff46  1", "é"], "2")
    (found,) = preprocessor.tokenize_problems([problem])
    response = sum([*found.steps, found.answer], [])
    assert preprocessor.generate_postprocess([response]) == ["f  1  ⁇  ### 2"]
    # What came back stays as it is.
    once = preprocessor.generate_postprocess([found.question])
    assert once == [" fix 1? "]
    again = encode(preprocessor.tokenizer, once, preprocessor.marker_tokens)
    assert decode(preprocessor.tokenizer, again) == once


@pytest.mark.parametrize("kind", tiny_tokenizers.KINDS)
def test_control_tokens_are_not_in_what_a_user_reads(preprocessor, kind):
    preprocessor = tiny_tokenizers.preprocessor(kind)
    ids = [*map(preprocessor.tokenizer.token_to_id, preprocessor._control)]
    (text,) = encode(preprocessor.tokenizer, ["7"], preprocessor._control)
    assert preprocessor.generate_postprocess([[*ids, *text, *ids], ids]) == [
        "7",
        "",
    ]


def test_rows_of_a_table_that_are_no_tokens_are_not_read():
    preprocessor = tiny_tokenizers.preprocessor("qwen")
    size = preprocessor.tokenizer.vocabulary_size()
    with pytest.raises(ValueError, match=r"`x\[0\]`"):
        preprocessor.generate_postprocess([[size]])
    padded = ContinuousThoughtPreprocessor(preprocessor.tokenizer)
    padded.fit_to(
        keras_hub.models.QwenBackbone(
            vocabulary_size=size + 9,
            num_layers=1,
            num_query_heads=2,
            num_key_value_heads=1,
            hidden_dim=8,
            intermediate_dim=8,
        )
    )
    # Its positions have no end.
    assert padded.sequence_length == 1024
    assert padded.generate_postprocess([[size + 8, 1]]) == [
        preprocessor.tokenizer.detokenize([1])
    ]
    with pytest.raises(ValueError, match=r"`x\[0\]`"):
        padded.generate_postprocess([[size + 9]])


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("gpt2", {"sequence_length": 8}),
        ("gpt2", {"add_prefix_space": True}),
        ("gemma", {"sequence_length": 8}),
    ],
)
def test_a_tokenizer_that_adds_tokens_of_its_own(kind, change):
    tokenizer = tiny_tokenizers.plain(kind)
    changed = type(tokenizer).from_config(
        {
            **tokenizer.get_config(),
            **({"proto": tokenizer.proto} if kind == "gemma" else {}),
            **change,
        }
    )
    (name,) = change
    with pytest.raises(ValueError, match=f"`tokenizer`.*{name}="):
        keras_coconut.add_thought_tokens(changed)


def test_start_and_end_that_a_tokenizer_adds_itself_are_not_added_twice():
    plain = tiny_tokenizers.plain("llama")
    adding = keras_hub.tokenizers.LlamaTokenizer(
        plain.proto, add_bos=True, add_eos=True
    )
    problem = Problem("1?", ["1"], "1")
    one = ContinuousThoughtPreprocessor(adding).tokenize_problems([problem])
    assert one == tiny_tokenizers.preprocessor("llama").tokenize_problems(
        [problem]
    )


def test_llama3s_special_tokens_are_left_as_they_are():
    """KerasHub takes them from a set that all its tokenizers share."""
    constructor = inspect.signature(keras_hub.tokenizers.Llama3Tokenizer)
    default = constructor.parameters["misc_special_tokens"].default
    before = set(default)
    for kind in ("llama3", "llama3_renamed"):
        plain = tiny_tokenizers.plain(kind)
        grown = keras_coconut.add_thought_tokens(plain)
        assert {*grown.special_tokens} == {*plain.special_tokens}
        assert grown.start_token == plain.start_token
        assert find_token(grown, grown.end_token) == plain.end_token_id
    assert default == before


def test_a_fingerprint_is_the_same_in_each_process():
    """KerasHub lists special tokens from a set."""
    plain = tiny_tokenizers.KINDS["llama3"]()
    before = fingerprint(plain)
    plain.unsplittable_tokens = plain.unsplittable_tokens[::-1]
    assert fingerprint(plain) == before
    plain.unsplittable_tokens = plain.unsplittable_tokens[1:]
    assert fingerprint(plain) != before
