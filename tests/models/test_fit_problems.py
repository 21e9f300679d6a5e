"""`fit`, `evaluate` and `predict` on problems and a curriculum."""

import keras
import numpy as np
import pandas as pd
import pytest
import tiny

import keras_coconut

CURRICULUM = keras_coconut.Curriculum(1, epochs_per_stage=1)
PROBLEMS = tiny.problems(10)


@pytest.fixture
def text_model(small_text_model):
    return small_text_model


def assert_equal(one, other):
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_as_the_dataset_and_the_scheduler(text_model):
    """Weights, `History` and figures of the parts that it puts together."""
    by_hand = tiny.compiled(tiny.text_model(layers=1))
    keras.utils.set_random_seed(0)
    training, held_out = (
        keras_coconut.CurriculumDataset(
            problems, by_hand.preprocessor, CURRICULUM, batch_size=4, **kwargs
        )
        for problems, kwargs in (
            (PROBLEMS, {}),
            (PROBLEMS[:5], {"shuffle": False}),
        )
    )
    scheduler = keras_coconut.CurriculumScheduler(
        training, validation_dataset=held_out
    )
    expected = by_hand.fit(
        training,
        epochs=3,
        validation_data=held_out,
        callbacks=[scheduler],
        verbose=0,
    )
    keras.utils.set_random_seed(0)
    found = text_model.fit(
        [problem.to_dict() for problem in PROBLEMS],
        batch_size=4,
        curriculum=CURRICULUM,
        validation_data=pd.DataFrame([p.to_dict() for p in PROBLEMS[:5]]),
        verbose=0,
    )
    assert found.history == expected.history
    assert found.history["stage"] == [0, 1, 2]
    assert_equal(text_model, by_hand)
    assert text_model.num_thoughts == by_hand.num_thoughts == 1

    figures = text_model.evaluate(PROBLEMS[:5], batch_size=4, verbose=0)
    assert figures == by_hand.evaluate(held_out, verbose=0)
    assert figures[0] == pytest.approx(found.history["val_loss"][-1], rel=1e-5)
    for stage in (0, 1):
        held_out.stage = stage
        assert text_model.evaluate(
            iter(PROBLEMS[:5]) if stage else PROBLEMS[:5],
            batch_size=4,
            curriculum=CURRICULUM,
            stage=stage,
            verbose=0,
        ) == by_hand.evaluate(held_out, verbose=0)


def test_logits_keep_the_order_of_the_problems(text_model):
    given = dict(curriculum=CURRICULUM, stage=1, verbose=0)
    together = text_model.predict(PROBLEMS[:5], batch_size=2, **given)
    assert len(together) == 5
    for problem, logits in zip(PROBLEMS, together):
        (alone,) = text_model.predict([problem], batch_size=1, **given)
        np.testing.assert_allclose(logits[: len(alone)], alone, atol=1e-5)


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore:`epochs` must be at least")
def test_a_file(text_model, tmp_path):
    path = tmp_path / "problems.csv"
    rows = [problem.to_dict() for problem in PROBLEMS]
    for row in rows:
        row["steps"] = "\n".join(row["steps"])
    pd.DataFrame(rows).to_csv(path, index=False)
    history = text_model.fit(
        path,
        batch_size=5,
        curriculum=CURRICULUM,
        validation_data=str(path),
        validation_batch_size=2,
        epochs=1,
        steps_per_epoch=1,
        callbacks=keras.callbacks.TerminateOnNaN(),
        verbose=0,
    ).history
    assert history["stage"] == [0]
    # The stage in which `fit` ended, and the last for another curriculum.
    ended = text_model.evaluate(path, verbose=0)
    given = dict(curriculum=CURRICULUM, verbose=0)
    assert ended == text_model.evaluate(path, stage=0, **given)
    assert ended != text_model.evaluate(path, stage=2, **given)
    other = keras_coconut.Curriculum(1, epochs_per_stage=5)
    assert text_model.evaluate(
        path, curriculum=other, verbose=0
    ) == text_model.evaluate(path, stage=2, **given)


@pytest.mark.any_backend
@pytest.mark.parametrize(
    "x",
    [
        ["a text"],
        [{"prompts": "a", "responses": "b"}],
        {"prompts": ["a"], "responses": ["b"]},
    ],
    ids=["texts", "rows", "columns"],
)
def test_neither_batches_nor_problems(text_model, x):
    """What KerasHub's tasks train on: the error says what this one takes."""
    match = "`x` must be.*question_ids.*problems.*`answer`.*`curriculum=`"
    for method in (text_model.fit, text_model.evaluate, text_model.predict):
        with pytest.raises(ValueError, match=match):
            method(x)


def test_restored_weights_of_another_stage(text_model):
    """The last epoch's stage would give figures of neither."""
    best = keras.callbacks.EarlyStopping(
        "stage", mode="min", patience=9, restore_best_weights=True
    )
    text_model.fit(PROBLEMS, curriculum=CURRICULUM, callbacks=[best], verbose=0)
    assert text_model.num_thoughts == 0
    for measure in (text_model.evaluate, text_model.predict):
        for given in ({}, {"curriculum": CURRICULUM}):
            with pytest.raises(ValueError, match="`stage` must be.*EarlyStop"):
                measure(PROBLEMS, verbose=0, **given)
    assert np.isfinite(text_model.evaluate(PROBLEMS, stage=0, verbose=0)).all()


def test_a_number_of_thoughts_that_is_set_by_hand(text_model):
    """It is a default of `generate`, and no stage."""
    text_model.fit(PROBLEMS, curriculum=CURRICULUM, verbose=0)
    expected = text_model.evaluate(PROBLEMS, verbose=0)
    for count in (5, None):
        text_model.num_thoughts = count
        assert text_model.evaluate(PROBLEMS, verbose=0) == expected


def test_an_interrupted_fit_is_remembered(text_model):
    class Interrupt(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        text_model.fit(
            PROBLEMS,
            curriculum=CURRICULUM,
            callbacks=[Interrupt()],
            verbose=0,
        )
    assert text_model.evaluate(PROBLEMS, verbose=0) == text_model.evaluate(
        PROBLEMS, stage=1, verbose=0
    )


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(curriculum=None), "`curriculum` must be given with problems"),
        (dict(curriculum=3), "`curriculum` must be a `keras_coconut.Curri"),
        (dict(x=[3]), r"`x\[0\]`: expected an object.*3"),
        (dict(x=[]), "`x` must hold at least one problem"),
        (dict(x=3), "`x` must be an iterable"),
        (dict(x=CURRICULUM), "`x` must be an iterable"),
        (dict(y=np.zeros(3)), "`y` must be left out for problems"),
        (dict(sample_weight=[1]), "`sample_weight` must be left out for prob"),
        (dict(class_weight={0: 1}), "`class_weight` must be left out for prob"),
        (dict(validation_split=0.1), "`validation_split` must be left out"),
        (dict(batch_size=0), "`batch_size` must be"),
        (
            dict(validation_data=[*PROBLEMS, {"question": "a"}]),
            r"`validation_data\[10\]`: `steps` is missing",
        ),
        (dict(validation_batch_size=0), "`validation_batch_size` must be"),
        (dict(validation_data=[]), "`validation_data` must hold at least one"),
        (
            dict(validation_data=(PROBLEMS, np.ones(10))),
            "`validation_data` must be problems without labels",
        ),
        (
            dict(validation_data=[keras_coconut.Problem("a" * 2000, [], "1")]),
            r"`validation_data\[0\]` does not fit",
        ),
        (
            dict(callbacks=keras.callbacks.CallbackList()),
            "`callbacks` must be a list",
        ),
    ],
    ids=lambda v: next(iter(v)) if isinstance(v, dict) else "",
)
def test_what_fit_refuses(text_model, arguments, message):
    before = text_model.get_weights()
    with pytest.raises(ValueError, match=message):
        text_model.fit(
            **{"x": PROBLEMS, "curriculum": CURRICULUM, **arguments}, verbose=0
        )
    for a, b in zip(before, text_model.get_weights()):
        np.testing.assert_array_equal(a, b)


@pytest.mark.thorough
def test_only_an_epoch_that_began_is_remembered(text_model):
    """A `fit` that trains nothing leaves `evaluate` as it was."""
    text_model.fit(PROBLEMS, curriculum=CURRICULUM, verbose=0)
    expected = text_model.evaluate(PROBLEMS, verbose=0)
    with pytest.raises(TypeError):
        text_model.fit(PROBLEMS, curriculum=CURRICULUM, foo=1)
    text_model.fit(
        PROBLEMS, curriculum=CURRICULUM, initial_epoch=3, epochs=3, verbose=0
    )
    assert text_model.evaluate(PROBLEMS, verbose=0) == expected


@pytest.mark.thorough
def test_within_a_callback_it_is_the_stage_of_the_epoch(text_model):
    found = []

    class Evaluate(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            loss, _ = self.model.evaluate(PROBLEMS[:5], verbose=0)
            found.append((loss, logs["val_loss"]))

    for _ in range(2):
        text_model.fit(
            PROBLEMS,
            curriculum=CURRICULUM,
            # A stream of problems, and what Keras may be given for them.
            validation_data=(PROBLEMS[:5], None)
            if found
            else iter(PROBLEMS[:5]),
            callbacks=[Evaluate()],
            verbose=0,
        )
    assert len(found) == 6
    for own, logged in found:
        assert own == pytest.approx(logged, rel=1e-5)


@pytest.mark.thorough
def test_thoughts_of_a_stage_that_come_one_by_one(text_model):
    curriculum = keras_coconut.Curriculum(
        1, 2, epochs_per_stage=2, one_thought_at_a_time=True
    )
    with pytest.warns(UserWarning, match="`epochs` must be at least"):
        history = text_model.fit(
            PROBLEMS,
            curriculum=curriculum,
            validation_data=PROBLEMS,
            epochs=3,
            verbose=0,
        ).history
    assert history["thoughts"][-1] == 1
    loss, _ = text_model.evaluate(PROBLEMS, verbose=0)
    assert loss == pytest.approx(history["val_loss"][-1], rel=1e-5)


@pytest.mark.thorough
def test_no_other_stage_is_mixed_in(text_model):
    mixing = keras_coconut.Curriculum(1, mixing_probability=0.9)
    losses = [
        text_model.evaluate(
            PROBLEMS, curriculum=mixing, batch_size=size, verbose=0
        )[0]
        for size in (2, 5)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_dataset_beside_a_curriculum(text_model):
    dataset = keras_coconut.CurriculumDataset(
        PROBLEMS, text_model.preprocessor, CURRICULUM
    )
    with pytest.raises(ValueError, match="`x` must be problems"):
        text_model.fit(dataset, curriculum=CURRICULUM, verbose=0)
    for method in (text_model.evaluate, text_model.predict):
        with pytest.raises(ValueError, match="`stage` must be left out"):
            method(dataset, stage=1, verbose=0)
        with pytest.raises(ValueError, match="`x` must be problems"):
            method(dataset, curriculum=CURRICULUM, verbose=0)


def test_what_evaluate_refuses(text_model):
    for method in (text_model.evaluate, text_model.predict):
        with pytest.raises(ValueError, match="`curriculum` must be given"):
            method(PROBLEMS, verbose=0)
        with pytest.raises(ValueError, match="`stage` must be.*from 0 to 2"):
            method(PROBLEMS, curriculum=CURRICULUM, stage=3, verbose=0)
    with pytest.raises(ValueError, match="`sample_weight` must be left out"):
        text_model.evaluate(PROBLEMS, curriculum=CURRICULUM, sample_weight=[1])


def test_without_a_preprocessor(text_model):
    bare = tiny.compiled(keras_coconut.ContinuousThoughtLM(text_model.backbone))
    with pytest.raises(ValueError, match="`x` must be batches of ids"):
        bare.fit(PROBLEMS, curriculum=CURRICULUM)
