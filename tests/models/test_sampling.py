"""Several responses to each question: what is drawn, and what is not."""

import random

import keras
import keras_hub
import numpy as np
import pytest
import tiny

import keras_coconut
from keras_coconut.models import responding

QUESTIONS = [problem.question for problem in tiny.problems(5)]
OPTIONS = dict(max_length=6, num_thoughts=2, stop_token_ids=None)


@pytest.fixture(scope="module")
def model():
    return tiny.compiled(tiny.text_model(layers=2))


def test_samples_of_each_question(model):
    greedy = model.generate(QUESTIONS, **OPTIONS)
    given = dict(num_samples=3, thought_noise=1.0, seed=0, **OPTIONS)
    samples = model.generate(QUESTIONS, **given)
    assert [len(each) for each in samples] == [3] * 5
    assert any(len(set(each)) > 1 for each in samples)
    assert samples != [[response] * 3 for response in greedy]
    # One question gets a list of its own samples.
    assert model.generate(QUESTIONS[0], **given) == samples[0]
    prompted = model.generate(QUESTIONS[:2], strip_prompt=False, **given)
    assert prompted == [
        [f"{question}\n{response}" for response in responses]
        for question, responses in zip(QUESTIONS[:2], samples)
    ]


def test_noise_does_not_depend_on_the_batch(model):
    given = dict(num_samples=3, thought_noise=1.0, **OPTIONS)
    expected = model.generate(QUESTIONS, seed=0, **given)
    for batch_size in (1, 4, 32):
        found = model.generate(
            QUESTIONS, seed=0, batch_size=batch_size, **given
        )
        assert found == expected
    assert model.generate(QUESTIONS, seed=1, **given) != expected


def test_noise_against_thoughts_made_by_hand(model):
    """One thought after the other, each with the noise of its row."""
    size, seed = 0.7, 5
    hidden_dim = model.backbone.hidden_dim
    noise = np.random.default_rng([seed, 0, 0]).standard_normal(
        (2, hidden_dim), "float32"
    )
    # The first thought knows nothing of noise; the second reads a noisy one.
    noisy = []
    for count in (1, 2):
        given = np.zeros((1, count, hidden_dim), "float32")
        given[0, :1] = noisy or 0
        x = model.preprocessor.generate_preprocess(
            QUESTIONS[:1], num_thoughts=count
        )
        if count == 1:
            (thought,) = model.predict_thoughts(x)[0]
        else:
            # The hidden state at the first slot, where it is given.
            states = model.latent_decoder.think({**x, "thoughts": given}, (1,))
            hidden = states.watched[1].hidden[:, :1]
            norm = model.backbone.layer_norm(hidden)
            (thought,) = keras.ops.convert_to_numpy(norm)[0]
        rms = np.sqrt(np.mean(np.square(thought)))
        noisy.append(thought + size * rms * noise[count - 1])
    expected = model.generate(QUESTIONS[:1], thoughts=[noisy], **OPTIONS)
    found = model.generate(
        QUESTIONS[:1], thought_noise=size, seed=seed, **OPTIONS
    )
    assert found == expected
    assert found != model.generate(QUESTIONS[:1], **OPTIONS)


@pytest.mark.thorough
def test_noise_on_parallel_thoughts():
    """As many iterations as thoughts give the noisy thoughts of Coconut."""
    backbone = tiny.text_model(layers=2).backbone
    chain, parallel = (
        tiny.compiled(
            keras_coconut.ContinuousThoughtLM(
                backbone,
                tiny.text_model(layers=2).preprocessor,
                num_iterations=n,
            )
        )
        for n in (None, 2)
    )
    given = dict(num_samples=2, thought_noise=0.5, seed=0, **OPTIONS)
    assert parallel.generate(QUESTIONS, **given) == chain.generate(
        QUESTIONS, **given
    )


def test_dropout_while_it_thinks():
    model = tiny.compiled(tiny.text_model(layers=2, dropout=0.3))
    given = dict(num_samples=4, thought_dropout=True, **OPTIONS)
    weights = {id(weight) for weight in model.weights}
    seeds = [v for v in model.variables if id(v) not in weights]
    assert seeds
    before = [keras.ops.convert_to_numpy(v) for v in seeds]
    first = model.generate(QUESTIONS, seed=0, **given)
    assert any(len(set(each)) > 1 for each in first)
    assert model.generate(QUESTIONS, seed=0, **given) == first
    assert model.generate(QUESTIONS, seed=1, **given) != first
    # Without a seed Python draws it, as `set_random_seed` says.
    random.seed(3)
    drawn = model.generate(QUESTIONS, **given)
    random.seed(3)
    assert model.generate(QUESTIONS, **given) == drawn
    # A training behind it draws what it would have drawn.
    for variable, value in zip(seeds, before):
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(variable), value
        )


@pytest.mark.skipif(
    keras.config.backend() != "torch", reason="PyTorch runs what others trace"
)
def test_dropout_is_off_while_it_writes(monkeypatch):
    model = tiny.compiled(tiny.text_model(layers=2, dropout=0.3))
    calls, drop = [], responding.drop

    def counted(*args, **kwargs):
        calls.append(args)
        return drop(*args, **kwargs)

    monkeypatch.setattr(responding, "drop", counted)
    counts = []
    for length in (1, 6):
        calls.clear()
        options = {**OPTIONS, "max_length": length}
        model.generate(QUESTIONS[:1], thought_dropout=True, **options)
        counts.append(len(calls))
    assert counts[0] == counts[1] > 0


@pytest.mark.thorough
def test_samples_do_not_depend_on_how_many_there_are(model):
    given = dict(thought_noise=1.0, seed=3, **OPTIONS)
    few = model.generate(QUESTIONS, num_samples=2, **given)
    many = model.generate(QUESTIONS, num_samples=4, **given)
    assert [of[:2] for of in many] == few


def test_each_question_thinks_as_often_as_it_should(model):
    """Samples of one question do not get the counts of another."""
    counts = [1, 2, 3, 1, 2]
    options = {**OPTIONS, "num_thoughts": counts}
    given = dict(num_samples=2, thought_noise=1e-6, seed=0)
    greedy = model.generate(QUESTIONS, **options)
    found = model.generate(QUESTIONS, **given, **options)
    assert found == [[response] * 2 for response in greedy]
    other = model.generate(
        QUESTIONS, **{**OPTIONS, "num_thoughts": counts[::-1]}
    )
    assert other != greedy


def test_a_sampler_that_draws(model):
    model = tiny.compiled(
        keras_coconut.ContinuousThoughtLM(model.backbone, model.preprocessor)
    )
    sampler = keras_hub.samplers.TopKSampler(k=20, seed=7)
    model.compile(sampler=sampler)
    state = keras.ops.convert_to_numpy(sampler.seed_generator.state)
    first = model.generate(QUESTIONS, num_samples=3, seed=0, **OPTIONS)
    assert any(len(set(each)) > 1 for each in first)
    again = model.generate(QUESTIONS, num_samples=3, seed=0, **OPTIONS)
    assert again == first
    other = model.generate(QUESTIONS, num_samples=3, seed=1, **OPTIONS)
    assert other != first
    # With a seed of its own, a call leaves the sampler's as it was.
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(sampler.seed_generator.state), state
    )
    # Without one the sampler goes on.
    one = model.generate(QUESTIONS, num_samples=3, **OPTIONS)
    assert model.generate(QUESTIONS, num_samples=3, **OPTIONS) != one


def test_given_thoughts_of_each_question(model):
    model = tiny.compiled(
        keras_coconut.ContinuousThoughtLM(model.backbone, model.preprocessor)
    )
    model.compile(sampler=keras_hub.samplers.TopKSampler(k=1, seed=7))
    thoughts = model.think(QUESTIONS, num_thoughts=2)[::-1]
    expected = model.generate(QUESTIONS, thoughts=thoughts, **OPTIONS)
    found = model.generate(
        QUESTIONS, thoughts=thoughts, num_samples=2, **OPTIONS
    )
    assert found == [[response] * 2 for response in expected]


def test_every_response_is_told(model):
    told = []
    found = model.generate_tokens(
        QUESTIONS,
        num_samples=2,
        thought_noise=0.5,
        seed=0,
        batch_size=3,
        on_response=lambda *args: told.append(args),
        **OPTIONS,
    )
    assert sorted(told) == sorted(
        (row, tokens) for row, of in enumerate(found) for tokens in of
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(num_samples=2), "`num_samples` needs something to draw"),
        (dict(seed=0), "`seed` must be left out where nothing is drawn"),
        (dict(num_samples=0, thought_noise=1.0), "`num_samples` must be"),
        (dict(thought_noise=-0.1), "`thought_noise` must be"),
        (dict(thought_noise=1e38), "`thought_noise` must be.* at most 1000"),
        (dict(thought_noise=float("nan")), "`thought_noise` must be"),
        (dict(thought_dropout=1), "`thought_dropout` must be"),
        (dict(thought_dropout=True), "`thought_dropout`.*without dropout"),
        (
            dict(thought_noise=0.1, thoughts=np.zeros((5, 2, 16))),
            "`thought_noise` must be left out beside `thoughts`",
        ),
    ],
    ids=lambda v: "".join(v) if isinstance(v, dict) else "",
)
def test_what_is_refused(model, arguments, message):
    with pytest.raises(ValueError, match=message):
        model.generate(QUESTIONS, **arguments, **OPTIONS)


def test_samples_that_no_thought_tells_apart(model):
    options = {**OPTIONS, "num_thoughts": [1, 1, 0, 1, 1]}
    with pytest.raises(ValueError, match="`num_thoughts`.*question 2"):
        model.generate(QUESTIONS, num_samples=2, thought_noise=0.5, **options)


def test_a_model_that_is_not_compiled(model):
    bare = keras_coconut.ContinuousThoughtLM(
        model.backbone, model.preprocessor, compile=False
    )
    with pytest.raises(ValueError, match="must be compiled before"):
        bare.generate(QUESTIONS, **OPTIONS)


def test_what_nothing_is_drawn_for(model):
    x = model.preprocessor.generate_preprocess(QUESTIONS, num_thoughts=1)
    x["response_ids"] = np.zeros((5, 1), "int32")
    x["response_mask"] = np.ones((5, 1), "int32")
    with pytest.raises(
        ValueError, match="`thought_noise` must be left out for a"
    ):
        model.generate(x, thought_noise=0.5)
    pauses = tiny.compiled(
        keras_coconut.ContinuousThoughtLM(
            model.backbone, model.preprocessor, thought_kind="pause"
        )
    )
    with pytest.raises(ValueError, match="`thought_noise`.*pauses"):
        pauses.generate(QUESTIONS, thought_noise=0.5, **OPTIONS)
