"""Thoughts given from outside: replayed, replaced, left out."""

import numpy as np
import pytest
import tiny

import keras_coconut
from keras_coconut import progress
from keras_coconut.evaluation import controls
from keras_coconut.evaluation.problems import evaluate_problems

QUESTIONS = [problem.question for problem in tiny.problems(7)]


def test_a_models_own_thoughts_replayed_change_nothing(text_model):
    counts = [3, 0, 1, 2, 3, 3, 1]
    thoughts = text_model.think(QUESTIONS, counts)
    options = dict(num_thoughts=counts, max_length=6, stop_token_ids=None)
    own = text_model.generate_tokens(QUESTIONS, **options)
    for batch_size in (3, 32):
        replayed = text_model.generate_tokens(
            QUESTIONS, thoughts=thoughts, batch_size=batch_size, **options
        )
        assert replayed == own
    other = text_model.generate_tokens(
        QUESTIONS, thoughts=-3 * thoughts, **options
    )
    assert other != own
    assert other[1] == own[1]  # It does not think, so nothing is replaced.


@pytest.mark.thorough
def test_thoughts_in_a_dictionary(text_model):
    x = text_model.preprocessor.generate_preprocess(QUESTIONS, 2)
    x["response_ids"] = np.full(
        (7, 1), text_model.preprocessor.end_of_thought_id
    )
    options = dict(max_length=4, stop_token_ids=None)
    own = text_model.generate(x, **options)
    thoughts = text_model.think(QUESTIONS, 2)
    replayed = text_model.generate(x, thoughts=thoughts, **options)
    np.testing.assert_array_equal(replayed["response_ids"], own["response_ids"])
    with pytest.raises(ValueError, match=r"thoughts.*7, 2, 16.*7, 1, 16"):
        text_model.generate(x, thoughts=thoughts[:, :1], **options)
    with pytest.raises(ValueError, match=r"thoughts.*7, at least 2, 16"):
        text_model.generate(QUESTIONS, num_thoughts=2, thoughts=thoughts[:3])


def test_what_replaces_thoughts():
    thoughts = np.random.default_rng(0).normal(3, 1, (9, 2, 5))
    found = controls.replace_thoughts(thoughts, seed=1)
    assert {"none", "removed", *found} == set(controls.CONTROLS)
    np.testing.assert_allclose(
        np.linalg.norm(found["noise"], axis=-1),
        np.linalg.norm(thoughts, axis=-1),
    )
    assert abs(np.mean(found["noise"])) < 1  # The thoughts' mean is 3.
    givers = [
        int(np.argmin(np.abs(thoughts - row).sum(axis=(1, 2))))
        for row in found["other"]
    ]
    assert sorted(givers) == list(range(9))
    assert all(giver != row for row, giver in enumerate(givers))
    np.testing.assert_array_equal(found["other"], thoughts[givers])
    np.testing.assert_allclose(found["mean"][4, 1], thoughts[:, 1].mean(axis=0))
    assert not found["zeros"].any()
    assert found["zeros"].shape == thoughts.shape


def test_earlier_files_hold_the_thoughts_of_the_same_seed():
    thoughts = np.random.default_rng(0).normal(3, 1, (5, 2, 4))
    random = np.random.default_rng(7)
    noise = random.normal(size=thoughts.shape)
    order = random.permutation(5).tolist()
    found = controls.replace_thoughts(thoughts, seed=7)
    np.testing.assert_allclose(
        found["noise"] / np.linalg.norm(found["noise"], axis=-1)[..., None],
        noise / np.linalg.norm(noise, axis=-1)[..., None],
    )
    for giver, taker in zip(order, order[1:] + order[:1]):
        np.testing.assert_array_equal(found["other"][taker], thoughts[giver])


def test_shuffled_thoughts_are_never_in_their_own_order():
    thoughts = np.arange(400, dtype="float64").reshape(50, 4, 2)
    counts = [2, 4, 1, 3, 0] * 10
    shuffled = controls.replace_thoughts(thoughts, seed=3, num_thoughts=counts)[
        "shuffled"
    ]
    orders = set()
    for row, count in enumerate(counts):
        order = ((shuffled[row, :, 0] - thoughts[row, 0, 0]) / 2).astype(int)
        np.testing.assert_array_equal(shuffled[row], thoughts[row, order])
        own = list(range(4))
        assert sorted(order[:count]) == own[:count]
        assert list(order[count:]) == own[count:]
        assert count < 2 or list(order) != own
        orders.add((count, *order))
    # Of the 23 others of four, and of the 5 others of three.
    assert len([each for each in orders if each[0] == 4]) > 5
    assert len([each for each in orders if each[0] == 3]) > 2
    two = controls.replace_thoughts(thoughts[:, :2])["shuffled"]
    np.testing.assert_array_equal(two, thoughts[:, 1::-1])


def test_controls_of_a_model(text_model):
    problems = tiny.problems(6)
    text_model.num_thoughts = 2
    options = dict(max_length=5, verbose=0)
    found = controls.evaluate_controls(text_model, problems, **options)
    assert set(found) == set(controls.CONTROLS)
    none = evaluate_problems(text_model, problems, num_thoughts=0, **options)
    assert found["none"].predictions == none.predictions
    thoughts = text_model.think([problem.question for problem in problems])
    zeros = evaluate_problems(
        text_model, problems, thoughts=np.zeros_like(thoughts), **options
    )
    assert found["zeros"].predictions == zeros.predictions
    answers = {name: entry.predictions for name, entry in found.items()}
    assert len(set(answers.values())) > 1
    assert not controls.evaluate_controls(text_model, problems, num_thoughts=0)
    text_model.thought_kind = "pause"
    found = controls.evaluate_controls(text_model, problems, **options)
    assert list(found) == ["none", "removed"]
    with pytest.raises(ValueError, match="at least two problems.*1"):
        controls.evaluate_controls(text_model, problems[:1])


@pytest.mark.parametrize("kind", [list, np.array])
def test_a_number_of_thoughts_for_each_problem(text_model, kind):
    """Each problem gets whole thoughts of another, however few it had."""
    problems = tiny.problems(4)
    questions = [problem.question for problem in problems]
    counts = [1, 3, 0, 2]
    given = []
    generate = text_model.generate_tokens

    def watched(questions, **options):
        given.append(options)
        return generate(questions, **options)

    text_model.__dict__["generate_tokens"] = watched
    found = controls.evaluate_controls(
        text_model, problems, num_thoughts=kind(counts), max_length=4, verbose=0
    )
    replaced = controls.replace_thoughts(
        text_model.think(questions, 3), num_thoughts=counts
    )
    assert len(given) == len(found) == len(controls.CONTROLS)
    for options, (name, evaluation) in zip(given, found.items()):
        if name in ("none", "removed"):
            assert options["num_thoughts"] == [0] * 4
            skipped = counts if name == "removed" else None
            assert options.get("skipped_positions") == skipped
            assert options["thoughts"] is None
            continue
        assert options["num_thoughts"] == counts
        np.testing.assert_array_equal(options["thoughts"], replaced[name])
        if name != "zeros":
            assert (np.abs(options["thoughts"]).sum(axis=-1) > 0).all()
        assert evaluation.tokens_generated >= sum(counts) / 4


@pytest.mark.thorough
def test_one_line_says_which_control_runs(text_model, capsys, monkeypatch):
    problems = tiny.problems(3)
    monkeypatch.setattr(progress, "_NEXT_LINE", 0)
    options = dict(num_thoughts=1, max_length=3)
    controls.evaluate_controls(text_model, problems, **options)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("controls: 0/24 answers")
    assert lines[-1].startswith("controls: 24/24 answers")
    names = list(dict.fromkeys(line.partition(": ")[0] for line in lines))
    (thinking,) = [name for name in names if "think" in name]
    names.remove(thinking)
    assert names == [
        "controls",
        *(f"controls ({n})" for n in controls.CONTROLS),
    ]
    controls.evaluate_controls(text_model, problems, verbose=0, **options)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


@pytest.mark.thorough
def test_a_folder_keeps_what_is_finished(text_model, tmp_path, monkeypatch):
    problems = tiny.problems(4)
    options = dict(num_thoughts=2, max_length=5, batch_size=2, verbose=0)
    expected = controls.evaluate_controls(text_model, problems, **options)
    options["results_folder"] = tmp_path / "new" / "controls"
    make, batches = text_model.make_generate_function, []

    def interrupted():
        batches.append(None)
        if len(batches) == 6:  # The second batch of the third control.
            raise KeyboardInterrupt
        return make()

    generator = text_model.__dict__
    with monkeypatch.context() as patch:
        patch.setitem(generator, "make_generate_function", interrupted)
        with pytest.raises(KeyboardInterrupt):
            controls.evaluate_controls(text_model, problems, **options)
    names = {path.name for path in options["results_folder"].iterdir()}
    assert names == {"none.json", "noise.json", "other.json.partial"}
    batches[:] = [None] * 6
    with monkeypatch.context() as patch:
        patch.setitem(generator, "make_generate_function", interrupted)
        found = controls.evaluate_controls(text_model, problems, **options)
    assert len(batches) == 6 + 9
    for name, evaluation in found.items():
        assert evaluation.predictions == expected[name].predictions
        assert evaluation.correct == expected[name].correct
    # Nothing is thought or generated when all is there.
    with monkeypatch.context() as patch:
        patch.setattr(controls, "read_states", None)
        patch.setitem(generator, "make_generate_function", None)
        again = controls.evaluate_controls(text_model, problems, **options)
    assert again == found
    with pytest.raises(ValueError, match="same thoughts.*noise.json"):
        controls.evaluate_controls(text_model, problems, seed=1, **options)


LONG = keras_coconut.Problem("x" * 50, ["1"], "2")


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(model="gpt2"), "`model` must be"),
        (dict(problems=3), "`problems` must be"),
        (dict(problems=[LONG]), "`problems` must hold at least two"),
        (dict(num_thoughts=-1), "`num_thoughts` must be"),
        (dict(num_thoughts="2"), "`num_thoughts` must be"),
        (dict(num_thoughts=[1, 2, 3]), "`num_thoughts` must be"),
        (dict(num_thoughts=60), "must fit"),
        # Room for its own thought, and not for as many as another's.
        (dict(problems=[LONG, LONG], num_thoughts=[1, 9]), "must fit"),
        (dict(max_length=0), "`max_length` must be"),
        (dict(batch_size=True), "`batch_size` must be"),
        (dict(verbose=-1), "`verbose` must be"),
        (dict(seed=None), "`seed` must be"),
        (dict(seed=-1), "`seed` must be"),
        (dict(seed=0.5), "`seed` must be"),
        (dict(results_folder=3), "`results_folder` must be a path"),
    ],
)
def test_arguments_are_refused_before_any_work(text_model, change, message):
    text_model.__dict__["generate_tokens"] = None
    arguments = dict(
        model=text_model,
        problems=tiny.problems(2),
        num_thoughts=2,
        max_length=5,
    )
    with pytest.raises(ValueError, match=message) as error:
        controls.evaluate_controls(**{**arguments, **change})
    assert len(str(error.value)) < 500


@pytest.mark.thorough
def test_a_folder_that_cannot_be_written(text_model, tmp_path):
    (tmp_path / "file").write_text("")
    text_model.__dict__["generate_tokens"] = None
    for folder in ("file", "file/more"):
        with pytest.raises(OSError, match="file"):
            controls.evaluate_controls(
                text_model,
                tiny.problems(2),
                num_thoughts=1,
                results_folder=tmp_path / folder,
            )


@pytest.mark.thorough
@pytest.mark.parametrize(
    "thoughts",
    [
        None,
        "thoughts",
        3.0,
        np.zeros((3, 2)),
        np.zeros((1, 2, 4)),
        np.full((3, 2, 4), np.inf),
        [[[1.0]], [[1.0, 2.0]]],
        np.zeros((3, 2, 4), "bool"),
    ],
)
def test_what_are_no_thoughts(thoughts):
    with pytest.raises(ValueError, match="`thoughts` must") as error:
        controls.replace_thoughts(thoughts)
    assert len(str(error.value)) < 500
