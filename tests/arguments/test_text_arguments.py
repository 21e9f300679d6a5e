"""Every argument of what turns text into tokens and back."""

import functools
import tempfile

import bad_values as bad
import keras_hub
import numpy as np
import pytest
import tiny
from bad_values import Call, given

import keras_coconut
from keras_coconut.curriculum import Layout
from keras_coconut.text.marker_tokens import MARKERS
from keras_coconut.text.word_tokenizer import make_word_tokenizer, problem_words

pytestmark = pytest.mark.any_backend

LAYOUTS = [Layout(0, 0), Layout(1, 2), Layout(0, 1, 0, "pause")]


@pytest.fixture(autouse=True, scope="module")
def made_once():
    """Not under a session that ends with the first test."""
    bad.setting()


def tokenized():
    return bad.setting().model.preprocessor.tokenize_problems(tiny.problems(3))


def without_markers():
    return keras_hub.tokenizers.GPT2Tokenizer({"a": 0, "<|endoftext|>": 1}, [])


@functools.cache
def preset():
    folder = tempfile.TemporaryDirectory()
    bad.setting().model.backbone.save_to_preset(folder.name)
    bad.setting().model.preprocessor.save_to_preset(folder.name)
    return folder


NO_MARKER_TOKENS = (
    *(3, True, "abc", "", b"abc", {}, {1, 2, 3}, [], ["a", "b"], ["a"] * 3),
    *([*MARKERS, "a"], [1, 2, 3], ["a", "b", None], ["", *MARKERS[:2]]),
    *([*MARKERS[:2], "<|endoftext|>"], [*MARKERS[:2], bad.HALF], [[]] * 3),
    *(bad.TEXT, bad.ARRAY, bad.INTEGER, iter(MARKERS), object()),
)
NO_TOKENIZERS = (*bad.NO_INSTANCE, keras_hub.tokenizers.GPT2Tokenizer)
NO_LISTS = (
    *(3, None, "abc", b"a", {}, {1: 2}, {1}, [], [3], [None] * 3, ["a"] * 3),
    *([[]], object(), bad.TEXT, bad.ARRAY, bad.INTEGER, iter([])),
)
COUNTS = (*bad.NO_COUNTS, [1, 2], [1] * 4)
READING = dict(
    x=[*bad.NO_PROBLEMS, {"question": "1?"}, {"question": bad.HALF}],
    y=[[1], np.ones((3, 2)), "x", bad.TEXT, bad.ARRAY, bad.INTEGER, 0, ""],
    sample_weight=[[1], np.ones((3, 2)), "x", bad.TEXT, bad.ARRAY, 0, ""],
    hidden_steps=COUNTS,
    num_thoughts=(*COUNTS, 65, [1, 2, 65]),
    hidden_tokens=COUNTS,
    thought_kind=bad.NO_CHOICE,
)

TABLE = {
    "ContinuousThoughtPreprocessor": Call(
        lambda s: keras_coconut.ContinuousThoughtPreprocessor,
        lambda s: dict(tokenizer=s.model.preprocessor.tokenizer),
        dict(
            tokenizer=NO_TOKENIZERS,
            sequence_length=bad.NO_COUNT_FROM_1,
            separator=bad.NO_TEXT,
            markers=bad.NO_FLAG,
            marker_tokens=[*NO_MARKER_TOKENS, [*MARKERS[:2], bad.TEXT]],
            add_start_token=given(bad.NO_FLAG),
        ),
        dict(
            sequence_length=[np.int64(9), bad.INTEGER],
            separator=["", np.str_("a"), bad.TEXT],
            markers=[np.False_],
            marker_tokens=[None, [*MARKERS], MARKERS[::-1]],
            add_start_token=[None, np.True_],
        ),
        named=dict(marker_tokens=r"`marker_tokens[`\[]|marker tokens \["),
    ),
    "ContinuousThoughtPreprocessor.from_preset": Call(
        lambda s: keras_coconut.ContinuousThoughtPreprocessor.from_preset,
        lambda s: dict(preset=preset().name),
        dict(preset=bad.NO_PATH, config_file=bad.NO_PATH),
    ),
    "ContinuousThoughtPreprocessor.call": Call(
        lambda s: s.model.preprocessor,
        lambda s: dict(x=tiny.problems(3), num_thoughts=1),
        READING,
        dict(
            x=[iter(tiny.problems(3)), [p.to_dict() for p in tiny.problems(3)]],
            y=[None],
            hidden_steps=[np.int64(1), [1, 2, 3], np.array([1, 0, 1])],
            num_thoughts=[np.uint8(1), (1, 2, 3), np.array([1, 0, 1])],
            hidden_tokens=[np.int64(1), (10**6, 2, 3)],
            thought_kind=[np.str_("pause")],
        ),
    ),
    "ContinuousThoughtPreprocessor.fit_to": Call(
        lambda s: s.model.preprocessor.fit_to,
        lambda s: dict(backbone=s.model.backbone),
        dict(backbone=bad.NO_INSTANCE),
    ),
    "ContinuousThoughtPreprocessor.tokenize_problems": Call(
        lambda s: s.model.preprocessor.tokenize_problems,
        lambda s: dict(problems=tiny.problems(3)),
        dict(problems=bad.NO_PROBLEMS),
    ),
    "ContinuousThoughtPreprocessor.tokenize_questions": Call(
        lambda s: s.model.preprocessor.tokenize_questions,
        lambda s: dict(questions=["1?"]),
        dict(questions=bad.NO_QUESTIONS),
    ),
    "ContinuousThoughtPreprocessor.pack": Call(
        lambda s: s.model.preprocessor.pack,
        lambda s: dict(problems=tokenized(), layouts=LAYOUTS),
        dict(
            problems=NO_LISTS,
            layouts=[*NO_LISTS, LAYOUTS[:2], LAYOUTS * 2],
            question_length=given((*bad.NO_SMALL_COUNT, 0, 5)),
            slots=given((*bad.NO_SMALL_COUNT, 0, 1)),
            response_length=given((*bad.NO_SMALL_COUNT, 0, 5)),
        ),
        dict(
            question_length=[np.int64(99), None],
            slots=[np.int64(2), None],
            response_length=[np.int64(99), None],
        ),
    ),
    "ContinuousThoughtPreprocessor.fill_slots": Call(
        lambda s: s.model.preprocessor.fill_slots,
        lambda s: dict(
            questions=[[1], [2], [3]],
            num_thoughts=[1, 2, 3],
            kinds=["pause", "continuous", "pause"],
        ),
        dict(
            questions=[*NO_LISTS, [[1], [2]], [[1]] * 4],
            num_thoughts=[*COUNTS, [65] * 3],
            kinds=[*NO_LISTS, ["pause"], ["pause"] * 4, ["pause", "a", "a"]],
        ),
        # What comes first says how many there must be.
        named=dict(questions=r"`questions|`kinds|`num_thoughts"),
    ),
    "ContinuousThoughtPreprocessor.check_length": Call(
        lambda s: s.model.preprocessor.check_length,
        lambda s: dict(problem=tokenized()[0], layout=LAYOUTS[0]),
        dict(problem=NO_LISTS, layout=[*NO_LISTS, (0, 0)]),
    ),
    "ContinuousThoughtPreprocessor.generate_preprocess": Call(
        lambda s: s.model.preprocessor.generate_preprocess,
        lambda s: dict(x=["1?", "2?", "3?"], num_thoughts=1),
        dict(
            x=bad.NO_QUESTIONS,
            num_thoughts=READING["num_thoughts"],
            thought_kind=bad.NO_CHOICE,
        ),
        dict(x=[np.array(["1?", "2?", "3?"])], num_thoughts=[np.int64(1)]),
    ),
    "ContinuousThoughtPreprocessor.generate_postprocess": Call(
        lambda s: s.model.preprocessor.generate_postprocess,
        lambda s: dict(x=[[1, 2], []]),
        dict(
            x=[
                *(3, None, "abc", b"a", {1: [2]}, object(), bad.TEXT, 1.5),
                *([3], [None], ["abc"], [[1.5]], [["1"]], [[None]], [[-1]]),
                *([[10**9]], [[bad.INTEGER]], [[True]], [{1: 2}], bad.ARRAY),
                *([[1], [[2]]], bad.INTEGER, [bad.TEXT], [[bad.ARRAY]]),
            ]
        ),
        dict(x=[np.array([[1, 2]]), [np.array([1, 2])], []]),
    ),
    "add_thought_tokens": Call(
        lambda s: keras_coconut.add_thought_tokens,
        lambda s: dict(tokenizer=s.model.preprocessor.tokenizer),
        dict(
            tokenizer=[*NO_TOKENIZERS],
            backbone=given(bad.NO_INSTANCE),
            marker_tokens=NO_MARKER_TOKENS,
        ),
        dict(backbone=[None], marker_tokens=[None, ("a", "b", "c")]),
    ),
    "problem_words": Call(
        lambda s: problem_words,
        lambda s: dict(problems=tiny.problems(2)),
        dict(problems=bad.NO_PROBLEMS, most=bad.NO_COUNT_FROM_1),
        dict(most=[np.int64(5), bad.INTEGER]),
    ),
    "make_word_tokenizer": Call(
        lambda s: make_word_tokenizer,
        lambda s: dict(words=["###"]),
        dict(
            words=[
                *(3, None, "###", b"###", {"a": 1}, {"a", "b"}, [3], [None]),
                *([""], [bad.HALF], ["a", b"b"], [["a"]], ["a<|endoftext|>"]),
                *([bad.TEXT + "<|latent|>"], bad.INTEGER, bad.ARRAY, object()),
            ]
        ),
        dict(words=[np.array(["a", "b"]), iter(["a"]), ("a", "a"), []]),
    ),
}


@pytest.mark.parametrize("call", bad.calls(TABLE))
def test_good_arguments(call):
    bad.check_good(call)


@pytest.mark.parametrize(("call", "name"), bad.rows(TABLE))
def test_bad_arguments(call, name):
    bad.check_bad(call, name)
