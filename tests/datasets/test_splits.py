"""Three splits that share nothing, for every dataset."""

import itertools

import numpy as np
import pytest

from keras_coconut import Problem
from keras_coconut.datasets.registry import DATASETS, load_dataset
from keras_coconut.datasets.splits import Splits, draw_splits

pytestmark = pytest.mark.any_backend


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_seeds_hashes_and_no_problem_in_two_splits(name):
    sizes = dict(train=60, validation=20, test=10)
    splits = load_dataset(name, seed=1, **sizes)
    assert {s: len(problems) for s, problems in splits.items()} == sizes
    questions = [p.question for _, split in splits.items() for p in split]
    assert len(set(questions)) == 90
    assert load_dataset(name, seed=1, **sizes) == splits
    again = load_dataset(name, seed=1, **sizes)
    assert again.content_hash == splits.content_hash
    assert len(splits.content_hash) == 64
    other = load_dataset(name, seed=2, **sizes)
    assert other.content_hash != splits.content_hash


@pytest.mark.parametrize("name", ["prosqa", "prontoqa"])
def test_the_test_split_does_not_change_with_the_others(name):
    few = load_dataset(name, train=3, validation=5, test=10)
    more = load_dataset(name, train=20, validation=5, test=10)
    assert few.test == more.test and few.validation == more.validation


def test_a_problem_in_two_splits_is_refused():
    problem, other = Problem("1?", [], "1"), Problem("2?", [], "2")
    assert Splits([problem], [other], []).train == (problem,)
    with pytest.raises(ValueError, match=r"train\[0\].*test\[0\].*1\?"):
        Splits([problem], [other], [problem])


def test_a_question_twice_in_one_split_is_refused():
    problem, other = Problem("1?", [], "1"), Problem("2?", [], "2")
    # Also where the answers differ: one of them is wrong.
    again = Problem("1?", ["other"], "3")
    for splits in ([problem, other, again], [], []), ([], [], [problem] * 2):
        with pytest.raises(ValueError, match=r"twice in one.*\[0\].*1\?"):
            Splits(*splits)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
@pytest.mark.parametrize("what", ["train.json", None, 3, {"question": ["1?"]}])
def test_what_is_no_split(split, what):
    splits = {"train": [], "validation": [], "test": [], split: what}
    with pytest.raises(ValueError, match=f"`{split}` must be an iterable"):
        Splits(**splits)


def test_rows_become_problems():
    row = {"question": "1?", "steps": np.array(["a"]), "answer": np.int64(1)}
    splits = Splits(iter([row]), (), [])
    assert splits.train == (Problem("1?", ["a"], "1"),)


def test_more_problems_than_there_are():
    draws = (Problem(f"{n % 7}?", [], "1") for n in itertools.count())
    with pytest.raises(ValueError, match="8 together, after 7 "):
        draw_splits(draws, 5, 2, 1)
    with pytest.raises(ValueError, match="8 distinct.*None after 2 of them"):
        draw_splits(itertools.islice(draws, 2), 5, 2, 1)
    with pytest.raises(ValueError, match="`draws` must be an iterator"):
        draw_splits([Problem("1?", [], "1")], 1, 0, 0)
    with pytest.raises(ValueError, match="draws.*'a question'"):
        draw_splits(iter(["a question"]), 1, 0, 0)
    with pytest.raises(ValueError, match="`train`.*at most 270 together"):
        load_dataset(
            "arithmetic", train=270, validation=1, test=0, num_operations=1
        )


def test_an_unknown_name_and_arguments_that_a_file_cannot_take(tmp_path):
    with pytest.raises(ValueError, match="arithmetic.*gsm8k_aug.*'gsm'"):
        load_dataset("gsm")
    with pytest.raises(ValueError, match="no further.*seed"):
        load_dataset("prosqa", folder=tmp_path, seed=1)
    for name in (None, 3, ["prosqa"], "x" * 10**6):
        with pytest.raises(ValueError, match="`name` must be one of") as error:
            load_dataset(name)
        assert len(str(error.value)) < 500
    for folder in (3, "", b"data", ["data"]):
        with pytest.raises(ValueError, match="`folder` must be a path"):
            load_dataset("prosqa", folder=folder)


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_arguments_that_a_dataset_does_not_take(name):
    for arguments in (dict(nodes=3), dict(symbolc=True)):
        with pytest.raises(ValueError, match=f"'{name}'.*'seed'.*Received"):
            load_dataset(name, **arguments)
    if name == "prosqa_symbolic":
        with pytest.raises(ValueError, match="arguments.*Received.*'symbolic'"):
            load_dataset(name, symbolic=False)
    with pytest.raises(ValueError, match="`seed` must be a whole number"):
        load_dataset(name, seed=None)


def test_a_progress_bar(capsys):
    load_dataset("prosqa", train=5, validation=0, test=0, verbose=1)
    assert "5/5" in capsys.readouterr().out
