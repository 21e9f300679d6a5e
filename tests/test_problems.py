"""Problem files: what is read, written back, and refused."""

import json
import os
import pathlib

import pytest

from keras_coconut import Problem, read_problems, write_problems

ENTRIES = [
    {"question": "1 + 2?", "steps": ["1 + 2 = 3"], "answer": "3", "id": 7},
    {"question": "Größe?", "steps": [], "answer": "1,000"},
]


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", ["list", "lines"])
def test_both_forms(tmp_path, kind):
    text = json.dumps(ENTRIES, indent=1)
    if kind == "lines":
        text = "\n".join(json.dumps(entry) for entry in ENTRIES) + "\n\n"
    problems = read_problems(write(tmp_path / "file", text))
    assert [problem.to_dict() for problem in problems] == ENTRIES
    assert problems[0].extra == {"id": 7}
    assert problems[0].steps == ("1 + 2 = 3",)


@pytest.mark.parametrize("name", ["problems.json", "problems.jsonl"])
def test_written_and_read_back(tmp_path, name):
    problems = [Problem.from_dict(entry) for entry in ENTRIES]
    write_problems(tmp_path / name, problems)
    again = read_problems(tmp_path / name)
    assert [problem.to_dict() for problem in again] == ENTRIES
    assert os.listdir(tmp_path) == [name]


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    path = write(tmp_path / "file", "\ufeff" + json.dumps(ENTRIES))
    assert len(read_problems(path)) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("[]", "empty"),
        ("\n \n", "empty"),
        ('[{"question": ', "not JSON"),
        ('{"question": "a", "steps": [], "answer": "b"}\nnope', "entry 2"),
        ('[{"steps": [], "answer": "b"}]', "entry 1.*`question` is missing"),
        ('[{"question": "a", "answer": "b"}]', "entry 1.*`steps` is missing"),
        ('[{"question": "", "steps": [], "answer": "b"}]', "must not be empty"),
        (
            '[{"question": "a", "steps": [], "answer": "b"},'
            ' {"question": "a", "steps": ["x", 3], "answer": "b"}]',
            r"entry 2.*steps\[1\]=3",
        ),
        (
            '[{"question": "a", "steps": "x", "answer": "b"}]',
            "entry 1.*list of strings.*'x'",
        ),
        ('[{"question": "a", "steps": [], "answer": 3}]', "answer=3"),
        ("[3]", "entry 1.*expected an object.*3"),
    ],
)
def test_bad_files(tmp_path, text, message):
    path = write(tmp_path / "file", text)
    with pytest.raises(ValueError, match=f"file`.*{message}"):
        read_problems(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_problems(tmp_path / "nowhere.json")


SHARED = pathlib.Path(__file__).parents[2] / "shared" / "data"


@pytest.mark.parametrize("name", ["prosqa_valid.json", "prontoqa_valid.json"])
def test_published_files(tmp_path, name):
    if not SHARED.exists():
        pytest.skip(f"no published data at {SHARED}")
    problems = read_problems(SHARED / name)
    with open(SHARED / name) as file:
        assert [problem.to_dict() for problem in problems] == json.load(file)
