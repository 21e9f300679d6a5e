"""Every argument of the model and of its `generate` and `think`."""

import functools
import pathlib
import tempfile

import bad_values as bad
import keras
import keras_hub
import numpy as np
import pytest
import tiny
from bad_values import HIDDEN, Call, batch, given, no_thoughts

import keras_coconut
from keras_coconut.text import batches

pytestmark = pytest.mark.thorough

QUESTIONS = ["1?", "22?", "333?"]


@pytest.fixture(autouse=True, scope="module")
def made_once():
    """Not under a session that ends with the first test."""
    bad.setting()


def prompt():
    """What `generate` takes as a dictionary."""
    x = batch((*batches.QUESTION_KEYS, "response_ids"))
    return {**x, "response_ids": x["response_ids"][:, :1]}


@functools.cache
def without_preprocessor():
    return tiny.compiled(
        keras_coconut.ContinuousThoughtLM(bad.setting().model.backbone)
    )


@functools.cache
def preset():
    folder = tempfile.TemporaryDirectory()
    bad.setting().model.save_to_preset(folder.name)
    return folder


@functools.cache
def published():
    folder = tempfile.TemporaryDirectory()
    keras_coconut.write_published_model(bad.setting().model, folder.name)
    return folder


NO_STOPS = (
    *(5, "x", "", [-1], [10**9], [1.5], ["1"], [True], [[1]], [[1], [1, 2]]),
    *({1}, {1: 1}, 1.5, True, [None], [bad.INTEGER], b"1", bad.TEXT, bad.ARRAY),
    *(np.array([1.0]), np.array([[1]]), np.array(1), [np.nan], object()),
)
STOPS = ((), [5], (np.int64(5),), np.array([5, 6], "uint8"), None, "auto")
THINKING = ("num_thoughts", "batch_size")
# Of something that is drawn.
DRAWN = dict(num_samples=2, thought_noise=0.5)
WRITING = dict(
    inputs=bad.NO_QUESTIONS,
    max_length=given(bad.NO_COUNT_FROM_1),
    num_thoughts=(*bad.NO_COUNTS, 65, [1, 2, 65]),
    stop_token_ids=NO_STOPS,
    batch_size=bad.NO_COUNT_FROM_1,
    verbose=bad.NO_VERBOSE,
    thoughts=no_thoughts(3, 1),
)
ALSO = dict(
    max_length=[np.int64(2), None, np.uint8(1)],
    num_thoughts=[np.int64(1), (0, 1, 1), np.array([1, 0, 1], "uint8"), None],
    stop_token_ids=STOPS,
    batch_size=[np.int8(2), bad.INTEGER],
    verbose=[False, np.False_, np.int64(0)],
    thoughts=[np.ones((3, 2, HIDDEN), "float16"), None],
    inputs=[np.array(QUESTIONS), tuple(QUESTIONS), b"1?", [b"1?"] * 3],
)
SAMPLING = dict(
    num_samples=given(bad.NO_COUNT_FROM_1),
    seed=given(bad.NO_COUNT),
    thought_noise=[
        -0.5,
        1e38,
        "1",
        None,
        [0.5],
        np.nan,
        np.inf,
        True,
        bad.ARRAY,
    ],
    thought_dropout=bad.NO_FLAG,
)

# Of probabilities.
NO_LOSSES = (
    *("sparse_categorical_crossentropy", "SparseCategoricalCrossentropy"),
    *("categorical_crossentropy", keras.losses.CategoricalCrossentropy()),
    keras.losses.SparseCategoricalCrossentropy(),
    keras.losses.sparse_categorical_crossentropy,
    keras.losses.SparseCategoricalCrossentropy,
)
NO_SAMPLERS = (
    *("nope", "Greedy", "speculative", {}, {"class_name": "x", "config": {}}),
    *(keras_hub.samplers.GreedySampler, keras_hub.samplers.Sampler, print),
)


def writing():
    return dict(inputs=QUESTIONS, max_length=1, num_thoughts=1)


def put(owner, name):
    """An attribute as a function of one argument."""
    return lambda **value: setattr(owner, name, *value.values())


TABLE = {
    "ContinuousThoughtLM": Call(
        lambda s: keras_coconut.ContinuousThoughtLM,
        lambda s: dict(backbone=s.model.backbone, compile=False),
        dict(
            backbone=bad.NO_INSTANCE,
            preprocessor=given(bad.NO_INSTANCE),
            num_thoughts=given(bad.NO_SMALL_COUNT),
            thought_kind=bad.NO_CHOICE,
            rematerialize=bad.NO_FLAG,
            markers=given(bad.NO_FLAG),
            num_iterations=given(bad.NO_COUNT_FROM_1),
        ),
        dict(
            num_thoughts=[np.int64(2), None],
            thought_kind=[np.str_("pause")],
            rematerialize=[np.True_],
            markers=[np.False_, None],
            num_iterations=[np.int64(2), None],
        ),
    ),
    "ContinuousThoughtLM.from_preset": Call(
        lambda s: keras_coconut.ContinuousThoughtLM.from_preset,
        lambda s: dict(preset=preset().name),
        dict(preset=bad.NO_PATH, load_weights=bad.NO_FLAG),
        dict(load_weights=[np.True_]),
    ),
    "ContinuousThoughtLM.num_thoughts": Call(
        lambda s: put(s.model, "num_thoughts"),
        lambda s: dict(num_thoughts=1),
        dict(num_thoughts=given(bad.NO_SMALL_COUNT)),
    ),
    "ContinuousThoughtLM.thought_kind": Call(
        lambda s: put(s.model, "thought_kind"),
        lambda s: dict(kind="continuous"),
        dict(kind=bad.NO_CHOICE),
        named=dict(kind="`thought_kind`"),
    ),
    "ContinuousThoughtLM.generate": Call(
        lambda s: s.model.generate,
        lambda s: writing(),
        {**WRITING, **SAMPLING, "strip_prompt": bad.NO_FLAG},
        {**ALSO, "strip_prompt": [np.False_]},
        # A dictionary is asked for its thoughts first.
        dict(inputs=r"`inputs|`num_thoughts`"),
    ),
    "generate(samples)": Call(
        lambda s: s.model.generate,
        lambda s: {**writing(), **DRAWN},
        SAMPLING,
        dict(
            num_samples=[np.int64(2), None],
            seed=[np.uint8(3), None],
            thought_noise=[np.float32(0.5), 1],
            thought_dropout=[np.False_],
        ),
    ),
    "ContinuousThoughtLM.generate_tokens": Call(
        lambda s: s.model.generate_tokens,
        lambda s: writing(),
        {
            **WRITING,
            **SAMPLING,
            "on_response": given(bad.NO_INSTANCE),
            "skipped_positions": (*given(bad.NO_COUNTS), 65, [1, 2, 65]),
            "response_start": (*bad.NO_TEXT, " ", "###"),
        },
        {
            **ALSO,
            "on_response": [lambda row, tokens: None],
            "skipped_positions": [np.int64(1), (0, 1, 1), None],
        },
    ),
    **{
        f"ContinuousThoughtLM.{name}": Call(
            lambda s, name=name: getattr(s.model, name),
            lambda s: dict(questions=QUESTIONS, num_thoughts=1),
            {
                **{k: WRITING[k] for k in THINKING},
                "questions": bad.NO_QUESTIONS,
                "layers": (
                    "0",
                    0,
                    1.5,
                    [2],
                    [-1],
                    ["0"],
                    [None],
                    [True],
                    {0: 1},
                ),
            },
            {
                **{k: ALSO[k] for k in THINKING},
                "questions": ALSO["inputs"][:2],
                "layers": [[0], (np.int64(0),), None],
            },
            dict(questions=r"`questions|`num_thoughts`"),
        )
        for name in ("think", "read_states")
    },
    "generate(a dictionary)": Call(
        lambda s: without_preprocessor().generate,
        lambda s: dict(inputs=prompt(), max_length=1, stop_token_ids=None),
        dict(
            inputs=["1?", ["1?"], 3, None, {}, {"question_ids": [[1]]}],
            max_length=WRITING["max_length"],
            num_thoughts=[1, [1, 1, 1], "x", bad.TEXT, bad.INTEGER, bad.ARRAY],
            stop_token_ids=[*NO_STOPS, "auto"],
            batch_size=bad.NO_COUNT_FROM_1,
            verbose=bad.NO_VERBOSE,
            thoughts=no_thoughts(3, 2),
        ),
        dict(thoughts=[np.ones((3, 2, HIDDEN))], stop_token_ids=[[5], ()]),
        named=dict(inputs="`inputs`|`x`|`question_mask`"),
    ),
    "think(a dictionary)": Call(
        lambda s: s.model.think,
        lambda s: dict(questions=batch(batches.QUESTION_KEYS)),
        dict(
            questions=[
                {},
                {"question_ids": [[1]]},
                {1: 2, "a": 3, bad.TEXT: 4},
            ],
            num_thoughts=[1, "x", bad.TEXT, bad.INTEGER, bad.ARRAY],
            batch_size=bad.NO_COUNT_FROM_1,
        ),
        named=dict(questions="`x`"),
    ),
    "read_published_model": Call(
        lambda s: keras_coconut.read_published_model,
        lambda s: dict(path=pathlib.Path(published().name)),
        dict(
            path=(*bad.NO_PATH, "missing"),
            config=(*given(bad.NO_PATH), {}, {"model_type": "gpt2"}, "missing"),
            tokenizer=given(bad.NO_INSTANCE),
        ),
        dict(config=[None], tokenizer=[None]),
        # What a dictionary says is said of the model.
        dict(config="`config`|its config|a config"),
    ),
    "write_published_model": Call(
        lambda s: keras_coconut.write_published_model,
        lambda s: dict(model=s.model, folder=published().name),
        dict(
            model=bad.NO_INSTANCE,
            folder=bad.NO_PATH,
            wrapped=bad.NO_FLAG,
            dtype=(*given(bad.NO_CHOICE), "int8"),
        ),
        dict(wrapped=[np.True_, False], dtype=[np.str_("bfloat16"), None]),
    ),
    "ContinuousThoughtLM.compile": Call(
        lambda s: tiny.text_model(layers=1).compile,
        lambda s: dict(optimizer="adamw", sampler="greedy"),
        dict(
            loss=(*bad.NO_CHOICE, *NO_LOSSES),
            sampler=(*bad.NO_INSTANCE, *NO_SAMPLERS),
            compilation_cache=given(bad.NO_PATH),
        ),
        dict(
            loss=[
                keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                "auto",
                np.str_("auto"),
                lambda y, y_pred: y_pred,
            ],
            sampler=["top_p", keras_hub.samplers.BeamSampler(2)],
        ),
    ),
}


@pytest.mark.parametrize("call", bad.calls(TABLE))
def test_good_arguments(call):
    bad.check_good(call)


@pytest.mark.parametrize(("call", "name"), bad.rows(TABLE))
def test_bad_arguments(call, name):
    bad.check_bad(call, name)
