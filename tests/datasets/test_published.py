"""Published files: read, written back, downloaded and checked."""

import dataclasses
import gzip
import hashlib
import json
import pathlib
import re

import pytest

import keras_coconut
from keras_coconut.datasets import published
from keras_coconut.datasets.gsm8k import load_gsm8k, read_gsm8k, write_gsm8k
from keras_coconut.datasets.published import hash_as_json, load_published

pytestmark = pytest.mark.any_backend

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
    [
        "",
        " ",
        "no bars #### 4",
        "no answer?||<<1=1>> 4",
        "empty?||#### ",
        "||#### 4",
        "|| #### 4",
        # What the writer would not write.
        "a|b||c?||<<1=1>> #### 4",
        "whose bar is it?|||<<1=1>> #### 4",
        "a #### b?||<<1=1>> #### 4",
        "a?||<<1=1>> #### 4 #### 5",
        "a?||<<1=1>>#### 4",
        "a?||<<1=1>> ##### 4",
        "a?||<<1=1>>  <<2=2>> #### 4",
        "a?||<<1=1>>\t<<2=2>> #### 4",
        "a?||<<1=1>>\u00a0<<2=2>> #### 4",
        "a?||<<1=1>>\u2028<<2=2>> #### 4",
        "a?|| <<1=1>> #### 4",
        "a?||<<1=1>>  #### 4",
        "a?||<<1=1>> ####  4",
        "a?||<<1=1>> #### 4 ",
        "a?||<<1=1>> #### 4\r",
        "a\rb?||<<1=1>> #### 4",
        "\ufeffa?||<<1=1>> #### 4",
    ],
)
def test_a_damaged_line_is_named(lines, damaged):
    first = LINES.splitlines()[0]
    lines.write_text(f"{first}\n{first}\n{damaged}\n", newline="")
    with pytest.raises(ValueError, match="valid.txt`, line 3: expected"):
        read_gsm8k(lines)


def test_files_that_are_empty_or_cut_short(lines):
    for text in ("", "\n", "\ufeff\n"):
        lines.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match="valid.txt` must.*empty file"):
            read_gsm8k(lines)
    # A cut within the last answer leaves another answer.
    lines.write_text("a?||<<6*2=12>> #### 1")
    with pytest.raises(ValueError, match="valid.txt`, line 1.*line break"):
        read_gsm8k(lines)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (("a || b?", [], "1"), "`||` once"),
        (("a|", [], "1"), "`||` once"),
        (("a?", ["|"], "1"), "`||` once"),
        (("a ####?", [], "1"), "`####` once"),
        (("a?", ["####"], "1"), "`####` once"),
        (("a?", [], "####"), "`####` once"),
        (("a?", ["two words"], "1"), "steps without white space"),
        (("a?", ["a\u00a0b"], "1"), "steps without white space"),
        (("a?", [""], "1"), "steps without white space"),
        (("a?", [], " 1"), "no space around"),
        (("a?", [], ""), "question||"),
        (("a\nb?", [], "1"), "no line break"),
        (("a\rb?", [], "1"), "no line break"),
        (("\ufeffa?", [], "1"), "no byte order mark"),
    ],
)
def test_what_cannot_be_written(parts, message, tmp_path):
    problems = [
        keras_coconut.Problem("fine?", [], "1"),
        keras_coconut.Problem(*parts),
    ]
    pattern = "never.txt`, line 2: expected.*" + re.escape(message)
    with pytest.raises(ValueError, match=pattern):
        write_gsm8k(tmp_path / "never.txt", problems)
    assert not list(tmp_path.iterdir())


def test_a_byte_order_mark_is_no_part_of_the_question(lines):
    lines.write_text("\ufeff" + LINES.replace(" ||", ","), encoding="utf-8")
    assert read_gsm8k(lines)[0].question.startswith("He ate")


def test_text_that_only_looks_like_separators(lines):
    problem = keras_coconut.Problem(
        "\ta | b # c\u2028d\x85e\x0bf\x1c?\ufeff ", ["a|", "##"], "#1 \t|"
    )
    write_gsm8k(lines, [problem])
    with pytest.warns(UserWarning, match="valid.txt`: 1 of 1.*`#`.*entry 1"):
        assert read_gsm8k(lines) == [problem]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (gzip.compress(b"a?|| #### 4\n", mtime=0), "gzip.*gunzip"),
        ("a?|| #### 4\n".encode("utf-16"), "UTF-16.*UTF-8"),
        ("é?|| #### 4\n".encode("latin-1"), "0xe9 at position 0.*UTF-8"),
    ],
)
def test_what_is_not_utf8(lines, data, message):
    lines.write_bytes(data)
    with pytest.raises(ValueError, match=f"valid.txt` must.*{message}"):
        read_gsm8k(lines)


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
    with pytest.raises(OSError, match="train.txt.*`folder`"):
        load_published("web")
    assert not list((tmp_path / "home").rglob("train.txt*"))


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("error", [ValueError("odd"), OSError("no memory")])
def test_an_error_while_reading_deletes_nothing(
    web, tmp_path, monkeypatch, split, error
):
    load_published("web")
    path = tmp_path / "home" / "keras_coconut" / "web" / f"{split}.txt"
    data = path.read_bytes()
    (web / f"{split}.txt").unlink()

    def read(path):
        if path.name == f"{split}.txt":
            raise error
        return read_gsm8k(path)

    dataset = dataclasses.replace(published.PUBLISHED["web"], read=read)
    monkeypatch.setitem(published.PUBLISHED, "web", dataset)
    with pytest.raises(type(error), match=str(error)):
        load_published("web")
    assert path.read_bytes() == data


def test_a_cached_file_of_another_hash_is_downloaded_anew(web, tmp_path):
    splits = load_published("web")
    path = tmp_path / "home" / "keras_coconut" / "web" / "train.txt"
    path.write_text("half a ", encoding="utf-8")
    assert load_published("web") == splits
    names = [entry.name for entry in path.parent.iterdir()]
    assert sorted(names) == ["test.txt", "train.txt", "validation.txt"]


def test_two_downloads_at_a_time_do_not_mix(web, tmp_path, monkeypatch):
    get_file, others = published.keras.utils.get_file, []

    def slow(name, url, cache_dir, cache_subdir, **kwargs):
        # Another one starts and ends while half of this one is there.
        monkeypatch.setattr(published.keras.utils, "get_file", get_file)
        half = pathlib.Path(cache_dir, cache_subdir, name)
        half.parent.mkdir(parents=True, exist_ok=True)
        half.write_text("2?||<<")
        others.append(load_published("web"))
        half.unlink()
        return get_file(
            name,
            url,
            cache_dir=cache_dir,
            cache_subdir=cache_subdir,
            **kwargs,
        )

    monkeypatch.setattr(published.keras.utils, "get_file", slow)
    splits = load_published("web")
    assert others == [splits]


@pytest.mark.parametrize("split", ["valid", None, 3, ["train"]])
def test_an_unknown_split(split, tmp_path):
    with pytest.raises(ValueError, match="`split` must be one of"):
        published.read_split("prosqa", split, folder=tmp_path)


@pytest.mark.parametrize("folder", [3, "", b"data", ["data"], "a\0b"])
def test_what_is_no_folder(folder):
    for read in (
        load_gsm8k,
        lambda folder: published.read_split("prosqa", "train", folder=folder),
    ):
        with pytest.raises(ValueError, match="`folder` must be a path"):
            read(folder)


def test_a_question_that_stands_twice_is_left_out(tmp_path, caplog):
    for split, text in (
        ("train", "1?|| #### 1\n2?|| #### 2\n1?|| #### 3\n"),
        ("valid", "3?|| #### 1\n"),
        ("test", "2?|| #### 2\n"),
    ):
        (tmp_path / f"{split}.txt").write_text(text)
    splits = load_gsm8k(tmp_path)
    assert splits.train == (keras_coconut.Problem("1?", [], "1"),)
    assert "left out 2 problems of gsm8k_aug" in caplog.text


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
