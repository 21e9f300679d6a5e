"""Tokens of many problems: in memory, in files, kept in a folder."""

import concurrent.futures
import json
import os
import pickle
import random
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
import tiny

import keras_coconut
from keras_coconut import Curriculum, CurriculumDataset, Problem
from keras_coconut.curriculum import Layout
from keras_coconut.files import try_lock
from keras_coconut.text import token_cache
from keras_coconut.text.token_cache import cached_tokens
from keras_coconut.text.tokenized_problems import (
    TokenizedProblem,
    TokenizedProblems,
)
from keras_coconut.text.word_tokenizer import make_word_tokenizer

pytestmark = pytest.mark.any_backend

CURRICULUM = Curriculum(max_stage=2, epochs_per_stage=1)


def some_problems(count=40):
    """Of no, one and many steps, some of them empty."""
    draw = random.Random(3)
    problems = []
    for number in range(count):
        steps = ["+ 1 " * draw.randrange(4) for _ in range(draw.randrange(6))]
        problems.append(Problem(f"start {number}", steps, number))
    return problems


@pytest.fixture(scope="module")
def preprocessor():
    return tiny.text_model(layers=1).preprocessor


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "problems.jsonl"
    keras_coconut.write_problems(path, some_problems())
    return path


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """So that few problems are many pieces."""
    monkeypatch.setattr(token_cache, "_CHUNK", 7)
    monkeypatch.setattr("keras_coconut.text.tokenized_problems._ROWS", 5)
    monkeypatch.setattr("keras_coconut.text.tokenized_problems._BYTES", 16)
    monkeypatch.setattr("keras_coconut.text.tokenized_problems._TOKENS", 99)


def test_problems_come_back(preprocessor, path, tmp_path):
    expected = preprocessor.tokenize_problems(some_problems())
    for tokens in (
        TokenizedProblems.from_problems(iter(expected)),
        cached_tokens(tmp_path / "cache", path, preprocessor),
    ):
        assert len(tokens) == len(expected)
        assert [tokens[index] for index in range(len(tokens))] == expected
        assert isinstance(tokens[0], TokenizedProblem)
        assert tokens[3].lengths(Layout(1, 2)) == expected[3].lengths(
            Layout(1, 2)
        )


def layouts_of(num_steps):
    """Of what all curricula show, and more."""
    return [
        Layout(0, 0),
        Layout(min(2, num_steps), 3),
        Layout(num_steps, 2),
        Layout(0, 0, 5),
        Layout(min(1, num_steps), 4, 2, "pause"),
        *([Layout(num_steps, 9)] if num_steps == 3 else []),
    ]


def test_longest_is_that_of_each_problem(preprocessor, path, tmp_path):
    slow = []
    for problem in preprocessor.tokenize_problems(some_problems()):
        lengths = map(problem.lengths, layouts_of(len(problem.steps)))
        slow.append([(q, r, q + t + r) for q, t, r in lengths])
    expected = [np.max(each, axis=0).tolist() for each in slow]
    tokens = cached_tokens(tmp_path / "cache", path, preprocessor)
    assert tokens.longest(layouts_of).tolist() == expected


def test_the_digest_is_of_the_tokens_alone(preprocessor, path, tmp_path):
    tokenized = preprocessor.tokenize_problems(some_problems())
    digest = TokenizedProblems.from_problems(tokenized).digest()
    cached = cached_tokens(tmp_path / "cache", path, preprocessor)
    assert cached.digest() == digest
    first = tokenized[0]
    others = [
        first._replace(question=first.question[:-1]),
        first._replace(question=[*first.question[:-1], 7]),
        # The same tokens, divided otherwise.
        first._replace(
            question=first.question[:-1],
            answer=[first.question[-1], *first.answer],
        ),
    ]
    for other in others:
        changed = TokenizedProblems.from_problems([other, *tokenized[1:]])
        assert changed.digest() != digest


def batches_of(dataset):
    found = []
    for epoch in range(4):
        dataset.set_epoch(epoch)
        found += [dataset[index] for index in range(len(dataset))]
    return found


def assert_same_batches(one, other):
    for ours, theirs in zip(batches_of(one), batches_of(other), strict=True):
        for key in ours[0]:
            np.testing.assert_array_equal(ours[0][key], theirs[0][key])
        for a, b in zip(ours[1:], theirs[1:]):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("steps", [None, 4])
def test_a_file_gives_the_batches_of_a_list(
    preprocessor, path, tmp_path, groups, steps
):
    def make(problems, **kwargs):
        return CurriculumDataset(
            problems,
            preprocessor,
            CURRICULUM,
            batch_size=6,
            length_groups=groups,
            steps_per_epoch=steps,
            drop_too_long=True,
            **kwargs,
        )

    # One of them is too long.
    problems = [*some_problems(20), Problem("start" * 99, [], 1)]
    problems += some_problems(19)
    keras_coconut.write_problems(path, problems)
    expected = make(problems)
    assert 20 not in expected.kept and len(expected.kept) == 39
    for dataset in (
        make(path),
        make(str(path)),
        make(keras_coconut.stream_problems(path)),
        make(path, cache_folder=tmp_path / "cache"),
        # From the cache.
        make(path, cache_folder=tmp_path / "cache"),
    ):
        assert_same_batches(dataset, expected)
        assert dataset.describe() == expected.describe()


def test_workers_read_the_cache(preprocessor, path, tmp_path):
    dataset = CurriculumDataset(
        path,
        preprocessor,
        CURRICULUM,
        batch_size=6,
        cache_folder=tmp_path / "cache",
    )
    copied = pickle.loads(pickle.dumps(dataset))
    assert_same_batches(copied, dataset)
    assert len(pickle.dumps(dataset._tokens)) < 2_000
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        order = list(range(len(dataset))) * 20
        found = list(threads.map(dataset.__getitem__, order))
    for index, (x, _, _) in zip(order, found):
        expected, _, _ = dataset[index]
        for key in x:
            np.testing.assert_array_equal(x[key], expected[key])


# === The folder ===


def entries(folder):
    return sorted(
        name for name in os.listdir(folder) if not name.endswith(".lock")
    )


def test_what_is_there_is_not_tokenized_again(
    preprocessor, path, tmp_path, monkeypatch
):
    folder = tmp_path / "cache"
    cached_tokens(folder, path, preprocessor)
    (entry,) = entries(folder)
    # Not for another name or time, either.
    moved = path.rename(tmp_path / "other.jsonl")
    os.utime(moved, (1, 1))
    with monkeypatch.context() as patched:
        patched.setattr(token_cache, "_write", None)
        again = cached_tokens(folder, moved, preprocessor)
    assert len(again) == 40
    # For another text.
    moved.write_text(moved.read_text().replace("start 3", "start 4"))
    cached_tokens(folder, moved, preprocessor)
    assert len(entries(folder)) == 2 and entry in entries(folder)


@pytest.mark.parametrize(
    "change",
    [
        dict(separator=" "),
        dict(markers=False),
        dict(words=("start",)),
    ],
)
def test_another_tokenizer_has_an_entry_of_its_own(path, tmp_path, change):
    folder = tmp_path / "cache"
    texts = set()
    for words, kwargs in (
        (tiny.WORDS, {}),
        (change.get("words", tiny.WORDS), change),
    ):
        kwargs = {k: v for k, v in kwargs.items() if k != "words"}
        tokenizer = make_word_tokenizer(words)
        made = keras_coconut.ContinuousThoughtPreprocessor(tokenizer, **kwargs)
        tokens = cached_tokens(folder, path, made)
        expected = made.tokenize_problems(some_problems())
        assert [tokens[i] for i in range(len(tokens))] == expected
        texts.add(made.fingerprint())
    assert len(texts) == len(entries(folder)) == 2


@pytest.mark.parametrize("kind", ["cut", "flip", "delete", "about"])
@pytest.mark.parametrize("name", ["ids.bin", "part_starts.bin"])
def test_a_damaged_entry_is_named(preprocessor, path, tmp_path, kind, name):
    folder = tmp_path / "cache"
    cached_tokens(folder, path, preprocessor)
    file = folder / entries(folder)[0] / name
    if kind == "about":
        file = file.with_name("about.json")
        file.write_text("[]")
    elif kind == "delete":
        file.unlink()
    else:
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data[:-1] if kind == "cut" else data)
    with pytest.raises(
        ValueError, match=r"cache/.*Delete this folder"
    ) as error:
        cached_tokens(folder, path, preprocessor)
    assert len(str(error.value)) < 500


def test_a_file_that_is_cut_while_it_is_read(preprocessor, path, tmp_path):
    folder = tmp_path / "cache"
    tokens = cached_tokens(folder, path, preprocessor)
    file = folder / entries(folder)[0] / "ids.bin"
    os.truncate(file, 8)
    with pytest.raises(OSError, match=r"ids.bin.*was cut off"):
        tokens[30]


def test_an_error_leaves_nothing(preprocessor, path, tmp_path):
    folder = tmp_path / "cache"
    with open(path, "a") as file:
        file.write('{"question": "1?", "steps": 3, "answer": "1"}\n')
    with pytest.raises(ValueError, match=r"problems.jsonl`, entry 41.*steps"):
        cached_tokens(folder, path, preprocessor)
    assert entries(folder) == []


def test_a_full_disk_leaves_nothing(preprocessor, path, tmp_path):
    program = f"""
import resource, signal, sys
sys.path[:0] = {sys.path!r}
import tiny
from keras_coconut.text.token_cache import cached_tokens
preprocessor = tiny.text_model(layers=1).preprocessor
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))
try:
    cached_tokens({str(tmp_path / "cache")!r}, {str(path)!r}, preprocessor)
except OSError as error:
    print("refused:", error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True
    )
    assert "refused:" in done.stdout, done.stderr
    assert "tokens could not be written" in done.stdout
    assert entries(tmp_path / "cache") == []


def test_a_file_that_changes_meanwhile(
    preprocessor, path, tmp_path, monkeypatch
):
    tokenize = token_cache.tokenize_stream

    def changing(preprocessor, problems):
        yield from tokenize(preprocessor, problems)
        with open(path, "a") as file:
            file.write(json.dumps(Problem("1?", [], 1).to_dict()) + "\n")

    monkeypatch.setattr(token_cache, "tokenize_stream", changing)
    with pytest.raises(ValueError, match=r"problems.jsonl.*written to meanwh"):
        cached_tokens(tmp_path / "cache", path, preprocessor)
    assert entries(tmp_path / "cache") == []


def test_one_tokenizes_and_the_others_wait(
    preprocessor, path, tmp_path, monkeypatch
):
    folder, calls = tmp_path / "cache", []
    tokenize = token_cache.tokenize_stream
    started = threading.Event()

    def slow(preprocessor, problems):
        calls.append(1)
        started.wait(0.5)  # The others come meanwhile.
        yield from tokenize(preprocessor, problems)

    monkeypatch.setattr(token_cache, "tokenize_stream", slow)
    with concurrent.futures.ThreadPoolExecutor(3) as threads:
        jobs = [
            threads.submit(cached_tokens, folder, path, preprocessor)
            for _ in range(3)
        ]
    assert {len(job.result()) for job in jobs} == {40}
    assert calls == [1]


def test_what_a_killed_process_left_is_deleted(preprocessor, path, tmp_path):
    folder = tmp_path / "cache"
    cached_tokens(folder, path, preprocessor)
    (entry,) = entries(folder)
    left, held, young = (
        folder / f".{digit * 32}.{digit * 16}.partial" for digit in "0ef"
    )
    for written in (left, held):
        shutil.copytree(folder / entry, written)
        for file in [*written.iterdir(), written]:
            os.utime(file, (1, 1))
    young.mkdir()
    (folder / ".another.partial").mkdir()
    # Of any file, and although this one is in the cache; but not what belongs
    # to a process that lives and was stopped for hours.
    with open(folder / f"{'e' * 32}.lock", "a") as lock:
        assert try_lock(lock)
        cached_tokens(folder, path, preprocessor)
    assert entries(folder) == [".another.partial", held.name, young.name, entry]


def test_bad_arguments(preprocessor, tmp_path):
    def make(problems, folder):
        return CurriculumDataset(
            problems, preprocessor, CURRICULUM, cache_folder=folder
        )

    with pytest.raises(ValueError, match="`problems` must be the path.*list"):
        make(some_problems(), tmp_path)
    with pytest.raises(FileNotFoundError):
        make("nowhere.json", tmp_path)
    with pytest.raises(FileNotFoundError):
        make("nowhere.json", None)
    with pytest.raises(ValueError, match="`cache_folder` must be"):
        make("nowhere.json", 3)
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    for folder in (None, tmp_path / "cache"):
        with pytest.raises(ValueError, match=r"empty.jsonl.*an empty file"):
            make(empty, folder)
