"""Published files: read, written back, downloaded and checked."""

import hashlib
import json
import pathlib

import pytest

import keras_coconut
from keras_coconut.datasets import published
from keras_coconut.datasets.gsm8k import load_gsm8k, read_gsm8k, write_gsm8k
from keras_coconut.datasets.published import hash_as_json, load_published

LINES = (
    "He ate 3 of 7, how many are left?||<<7-3=4>> #### 4\n"
    "Ann  has $1,000 || halves it?||<<1000/2=500>> <<500*2=1000>> #### 1,000\n"
    "Is it 9 €?|| #### 9\n"
)
SHARED = pathlib.Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture
def lines(tmp_path):
    path = tmp_path / "valid.txt"
    path.write_text(LINES.replace(" || halves", ", halves"), encoding="utf-8")
    return path


def test_lines_there_and_back(lines, tmp_path):
    problems = read_gsm8k(lines)
    assert [len(problem.steps) for problem in problems] == [1, 2, 0]
    assert problems[1].steps == ("<<1000/2=500>>", "<<500*2=1000>>")
    assert problems[1].answer == "1,000"
    write_gsm8k(tmp_path / "again.txt", problems)
    assert (tmp_path / "again.txt").read_bytes() == lines.read_bytes()


@pytest.mark.parametrize(
    "damaged",
    ["no bars #### 4", "no answer?||<<1=1>> 4", "empty?||#### ", "||#### 4"],
)
def test_a_damaged_line_is_named(lines, damaged):
    lines.write_text(LINES.splitlines()[0] + "\n\n" + damaged + "\n")
    with pytest.raises(ValueError, match="valid.txt`, line 3: expected"):
        read_gsm8k(lines)


def test_what_cannot_be_read_or_written(lines, tmp_path):
    lines.write_text("\n")
    with pytest.raises(ValueError, match="empty file"):
        read_gsm8k(lines)
    for problem in (
        keras_coconut.Problem("a || b?", [], "1"),
        keras_coconut.Problem("a?", ["two words"], "1"),
        keras_coconut.Problem("a\nb?", [], "1"),
    ):
        with pytest.raises(ValueError, match="no line break"):
            write_gsm8k(tmp_path / "never.txt", [problem])
    assert not (tmp_path / "never.txt").exists()


def test_a_folder(tmp_path, lines):
    lines.rename(tmp_path / "train.txt")
    for split, text in (("valid", "1?|| #### 1\n"), ("test", "2?|| #### 2\n")):
        (tmp_path / f"{split}.txt").write_text(text)
    # What a test question repeats is not trained on.
    with open(tmp_path / "train.txt", "a", encoding="utf-8") as file:
        file.write("2?|| #### 2\n")
    splits = load_gsm8k(tmp_path)
    assert [len(split) for _, split in splits.items()] == [3, 1, 1]
    (tmp_path / "test.txt").unlink()
    with pytest.raises(FileNotFoundError, match="'test.txt'.*folder="):
        load_gsm8k(tmp_path)


def test_what_was_never_published():
    with pytest.raises(ValueError, match="prontoqa_test.json"):
        load_published("prontoqa")
    with pytest.raises(ValueError, match="gsm8k_aug.*prosqa.*'gsm'"):
        load_published("gsm")


@pytest.fixture
def web(tmp_path, monkeypatch):
    """A dataset whose files are downloaded from a folder."""
    folder = tmp_path / "web"
    folder.mkdir()
    files = {}
    for number, split in enumerate(("train", "validation", "test")):
        path = folder / f"{split}.txt"
        path.write_text(f"{number}?||<<{number}>> #### 1\n")
        files[split] = published.PublishedFile(
            path.name,
            path.as_uri(),
            hashlib.sha256(path.read_bytes()).hexdigest(),
        )
    # Of the test file only the hash of what it becomes is known.
    files["test"] = published.PublishedFile(
        "test.txt",
        files["test"].url,
        None,
        hash_as_json(read_gsm8k(folder / "test.txt")),
    )
    dataset = published.Published(read=read_gsm8k, **files)
    monkeypatch.setitem(published.PUBLISHED, "web", dataset)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    return folder


def test_downloads_once_and_checks(web, tmp_path):
    splits = load_published("web")
    assert [len(split) for _, split in splits.items()] == [1, 1, 1]
    for path in web.iterdir():
        path.unlink()
    assert load_published("web") == splits  # Of the cache.


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_wrong_download_leaves_no_file(web, tmp_path, split):
    (web / f"{split}.txt").write_text("other?|| #### 1\n")
    with pytest.raises(ValueError, match="hash"):
        load_published("web")
    cached = [path.name for path in (tmp_path / "home").rglob("*.txt")]
    assert f"{split}.txt" not in cached


def test_a_broken_download_leaves_no_file(web, tmp_path):
    (web / "train.txt").unlink()
    with pytest.raises(Exception, match="train.txt"):
        load_published("web")
    assert not list((tmp_path / "home").rglob("train.txt*"))


# What was counted in the published files, which are not part of the project.
PUBLISHED_FILES = {
    "gsm8k_aug_valid.txt": (500, "04f9bddf", "1cc0d534"),
    "prosqa_valid.json": (300, "c74e0de2", None),
    "prontoqa_valid.json": (200, "c61e8c80", None),
}


@pytest.mark.parametrize("name", sorted(PUBLISHED_FILES))
def test_the_published_files(name, tmp_path):
    path = SHARED / name
    if not path.exists():
        # The readers are tested above, on files of the same form.
        pytest.skip(f"{name} is not here")
    count, file_hash, json_hash = PUBLISHED_FILES[name]
    text = path.read_bytes()
    assert hashlib.sha256(text).hexdigest().startswith(file_hash)
    again = tmp_path / name
    if name.endswith(".txt"):
        problems = read_gsm8k(path)
        write_gsm8k(again, problems)
        assert again.read_bytes() == text
        assert hash_as_json(problems).startswith(json_hash)
    else:
        problems = keras_coconut.read_problems(path)
        keras_coconut.write_problems(again, problems)
        assert json.loads(again.read_text()) == json.loads(text)
    assert len(problems) == count
    # Through the preprocessor and the real vocabulary, no character is lost.
    tokenizer = published_tokenizer()
    preprocessor = keras_coconut.ContinuousThoughtPreprocessor(tokenizer)
    tokenized = preprocessor.tokenize_problems(problems)
    for problem, ids in zip(problems, tokenized):
        begin, end = preprocessor.begin_of_thought_id, tokenizer.end_token_id
        assert ids.question[-1] == begin and ids.answer[-1] == end
        parts = [ids.question[:-1], *ids.steps, ids.answer[:-1]]
        assert [tokenizer.detokenize(part) for part in parts] == [
            problem.question + "\n",
            *(step + "\n" for step in problem.steps),
            f"### {problem.answer}",
        ]


def published_tokenizer():
    import keras_hub

    folder = SHARED / "gpt2"
    return keras_coconut.add_thought_tokens(
        keras_hub.tokenizers.GPT2Tokenizer(
            str(folder / "vocabulary.json"), str(folder / "merges.txt")
        )
    )


def test_checksums_are_those_of_the_published_files():
    prosqa = published.PUBLISHED["prosqa"]
    gsm8k = published.PUBLISHED["gsm8k_aug"]
    known = {name: row[1] for name, row in PUBLISHED_FILES.items()}
    assert prosqa.validation.sha256.startswith(known["prosqa_valid.json"])
    assert gsm8k.validation.sha256.startswith(known["gsm8k_aug_valid.txt"])
