"""Three splits that share nothing, for every dataset."""

import itertools

import pytest

from keras_coconut import Problem
from keras_coconut.datasets.registry import DATASETS, load_dataset
from keras_coconut.datasets.splits import Splits, draw_splits


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
    with pytest.raises(ValueError, match=r"'train' and 'test'.*1\?"):
        Splits([problem], [other], [problem])


def test_more_problems_than_there_are():
    draws = (Problem(f"{n % 7}?", [], "1") for n in itertools.count())
    with pytest.raises(ValueError, match="8 together, after 7 "):
        draw_splits(draws, 5, 2, 1)
    with pytest.raises(ValueError, match="at most 270"):
        load_dataset(
            "arithmetic", train=270, validation=1, test=0, num_operations=1
        )


def test_an_unknown_name_and_arguments_that_a_file_cannot_take(tmp_path):
    with pytest.raises(ValueError, match="arithmetic.*gsm8k_aug.*'gsm'"):
        load_dataset("gsm")
    with pytest.raises(ValueError, match="no further.*seed"):
        load_dataset("prosqa", folder=tmp_path, seed=1)


def test_a_progress_bar(capsys):
    load_dataset("prosqa", train=5, validation=0, test=0, verbose=1)
    assert "5/5" in capsys.readouterr().out
