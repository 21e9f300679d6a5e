"""Problems and their files: what is read, written back, and refused."""

import datetime
import gzip
import json
import os
import pathlib

import numpy as np
import pandas as pd
import pytest
import tiny

from keras_coconut import Problem, read_problems, write_problems
from keras_coconut.problems import as_problems, check_answers, content_hash

pytestmark = pytest.mark.any_backend

ENTRIES = [
    {"question": "1 + 2?", "steps": ["1 + 2 = 3"], "answer": "3", "id": 7},
    {"question": "Größe?", "steps": [], "answer": "1,000"},
]
GOOD = '{"question": "q", "steps": [], "answer": "1"}'
COLUMNS = json.dumps(
    {
        "question": {str(index): "q" for index in range(20_000)},
        "steps": {str(index): [] for index in range(20_000)},
        "answer": {str(index): "1" for index in range(20_000)},
    }
)


def write(path, text):
    # Unlike the default, `newline=""` writes line breaks as they are.
    path.write_text(text, encoding="utf-8", newline="")
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
        ('[{"question": "a", "steps": [], "answer": 3.5}]', "answer=3.5"),
        ("[3]", "entry 1.*expected an object.*3"),
        ("3", "entry 1.*expected an object.*3"),
        ("null", "entry 1.*expected an object.*None"),
        (f"[{GOOD} {GOOD}]", "entry 1: expected a comma.*question"),
        (f"[{GOOD},]", "entry 2.*not JSON.*column"),
        (f"[{GOOD}", "entry 1: expected a comma.*the end of the text"),
        (f"[{GOOD}] [", r"entry 1: expected nothing after.*'\['"),
        (f"{GOOD} {GOOD}", "entry 1: expected one JSON object on the line"),
        (f"{GOOD}\r{GOOD}", "entry 1: expected one JSON object on the line"),
        (f"{GOOD}\n{GOOD[:-1]}", "entry 2.*not JSON"),
        (f"{GOOD}\n\n\u2028\n", "entry 2.*not JSON.*u2028"),
        # What Python's reader takes and no writer gives back.
        (f'[{GOOD}, {GOOD[:-1]}, "x": NaN}}]', "entry 2.*not finite: NaN"),
        (f'{GOOD[:-1]}, "x": [-Infinity]}}', "entry 1.*finite: -Infinity"),
        (f'{GOOD[:-1]}, "x": 1e999}}', "entry 1.*not finite: '1e999'"),
        (f'{GOOD[:-1]}, "x": {"1" * 5000}}}', "entry 1.*too many digits"),
        (f'{GOOD[:-1]}, "answer": "2"}}', "entry 1.*'answer' twice"),
        (f'{GOOD[:-1]}, "x": "\\ud800"}}', "entry 1.*surrogate"),
        (f'{GOOD[:-1]}, "x": {{"a": ["\\udc00"]}}}}', "entry 1.*surrogate"),
        (f'{GOOD[:-1]}, "\\ud800": 1}}', "entry 1.*surrogate"),
        (GOOD.replace('"q"', '"\\ud800"'), "entry 1.*`question`.*surrogate"),
        (GOOD.replace("[]", '["\\ud800"]'), r"entry 1.*`steps\[0\]`.*surr"),
        (f"[{GOOD}, {'[' * 10**5}", "entry 2.*nested too deep"),
        ('{"x": ' * 10**5, "entry 1.*nested too deep"),
        (f'{GOOD[:-1]}, "x": {"[" * 200}{"]" * 200}}}', "nested at most"),
        (json.dumps(json.loads(GOOD), indent=1), "entry 1.*several lines"),
        (f"{GOOD}\n{{\n{GOOD[1:]}", "entry 2.*several lines"),
        # Columns, as pandas writes them, or as somebody else does.
        (COLUMNS, "entry 1.*columns.*orient=.records"),
        (COLUMNS.replace("{", "{\n"), "entry 1.*several lines.*question"),
        (f"[{COLUMNS}]", "entry 1.*columns.*orient=.records"),
        (
            '{"question": ["a"], "steps": [[]], "answer": ["1"]}',
            "entry 1.*columns",
        ),
        ('{"data": [' + GOOD + "]}", r"entry 1.*missing.*Received: \['data'\]"),
        # As long as the data.
        (f'["{"x" * 10**6}"]', "entry 1.*expected an object"),
        ("x" * 10**6, "entry 1.*not JSON"),
        (f'[{GOOD[:-1]}, "x": {"x" * 10**6}', "entry 1.*not JSON"),
        (GOOD.replace("[]", f'"{"x" * 10**6}"'), "entry 1.*list of strings"),
        (
            json.dumps({str(i): i for i in range(10**5)}),
            "entry 1.*`question` is missing",
        ),
    ],
    ids=tiny.short,
)
def test_bad_files(tmp_path, text, message):
    path = write(tmp_path / "file", text)
    with pytest.raises(ValueError, match=f"file`.*{message}") as error:
        read_problems(path)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (gzip.compress(GOOD.encode(), mtime=0), "gzip.*gunzip"),
        (GOOD.encode("utf-16"), "UTF-16.*UTF-8"),
        (GOOD.encode("utf-16-le"), "entry 1.*not JSON"),
        (GOOD.replace("q", "é").encode("latin-1"), "0xe9.*UTF-8"),
    ],
)
def test_files_that_are_no_text(tmp_path, data, message):
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(ValueError, match=f"file`.*{message}") as error:
        read_problems(tmp_path / "file")
    assert len(str(error.value)) < 500


def test_an_error_below_a_long_path_is_short(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = pathlib.Path(*["folder" * 20] * 10)
    os.makedirs(folder)
    path = write(folder / "file", f'[{GOOD[:-1]}, "x": {"x" * 10**6}')
    with pytest.raises(ValueError, match="/file`, entry 1") as error:
        read_problems(path)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize(
    "character",
    ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e"]
    + ["\r", "\n", "\r\n", "\0", "\ufeff", "\ufffe", "😀", '"', "\\"],
)
@pytest.mark.parametrize("name", ["problems.json", "problems.jsonl"])
def test_odd_characters_come_back(tmp_path, name, character):
    text = f"{character}a{character}b{character}"
    problems = [
        Problem(text, [text], text, extra={text: [text]}),
        Problem("c", [], ""),
    ]
    write_problems(tmp_path / name, problems)
    with pytest.warns(UserWarning, match="entry 2"):
        again = read_problems(tmp_path / name)
    assert [p.to_dict() for p in again] == [p.to_dict() for p in problems]


def test_lines_may_end_as_on_windows(tmp_path):
    (tmp_path / "file").write_bytes(f"{GOOD}\r\n \r\n{GOOD}\r\n".encode())
    assert read_problems(tmp_path / "file") == [Problem("q", [], "1")] * 2


@pytest.mark.parametrize(
    ("extra", "shown"),
    [
        ({"x": np.nan}, "'x': nan"),
        ({"a": 1, "x": [float("inf")]}, r"'x': \[inf\]"),
        ({"x": {1, 2}}, r"'x': \{1, 2\}"),
        ({"x": b"bytes"}, "'x': b'bytes'"),
        ({"x": datetime.date(2026, 1, 1)}, "'x': datetime"),
        ({"x": pd.NaT}, "'x': NaT"),
        ({"x": 10**5000}, "'x': <a whole number of"),
        ({"x": set(range(10**6))}, "'x': "),
    ],
    ids=tiny.short,
)
@pytest.mark.parametrize("name", ["problems.json", "problems.jsonl"])
def test_what_json_cannot_hold_is_refused_before_writing(
    tmp_path, name, extra, shown
):
    # Which is no reason not to train on it.
    problems = [Problem("a", [], "1"), Problem("b", [], "1", extra=extra)]
    path = write(tmp_path / name, "old")
    message = f"{name}`, entry 2: expected.*JSON.*{shown}"
    with pytest.raises(ValueError, match=message) as error:
        write_problems(path, problems)
    assert len(str(error.value)) < 500
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == [name]


class Rows:
    """A dataset that is asked for one row after the other."""

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return self.rows[index]


TABLE = pd.DataFrame(
    {
        "question": ["a", "b"],
        "steps": [np.array(["x", "y"]), np.array([], dtype=object)],
        "answer": np.array([1, 2]),
    }
)
ROWS = TABLE.to_dict("records")


@pytest.mark.parametrize(
    "problems",
    [
        ROWS,
        tuple(ROWS),
        iter(ROWS),
        Rows(ROWS),
        [Problem("a", ["x", "y"], "1"), ROWS[1]],
        [Problem.from_dict(row) for row in ROWS],
        pd.Series(ROWS),
        {"a": ROWS[0], "b": ROWS[1]}.values(),
        TABLE,
    ],
    ids=["list", "tuple", "iterator", "dataset", "mixed", "problems"]
    + ["series", "values", "table"],
)
def test_what_holds_problems(problems):
    assert as_problems("problems", problems) == [
        Problem("a", ["x", "y"], "1"),
        Problem("b", [], "2"),
    ]


@pytest.mark.parametrize(
    ("problems", "message"),
    [
        (None, "`data` must be an iterable.*None"),
        (3, "`data` must be an iterable.*3"),
        ("problems.json", r"`data` must.*read_problems\(path\).*problems.json"),
        (b"problems.json", "`data` must be an iterable"),
        (pathlib.Path("p.json"), r"`data` must.*read_problems\(path\).*p.json"),
        (Problem("a", [], "1"), "`data` must be an iterable.*Problem"),
        (dict(ROWS[0]), "`data` must.*a dict with the columns.*'question'"),
        ({"train": ROWS}, "`data` must.*columns.*'train'.*splits"),
        ([], "`data` must hold at least one problem"),
        (range(0), "`data` must hold at least one problem"),
        (["a"], r"`data\[0\]`: expected an object.*'a'"),
        ([*ROWS, None], r"`data\[2\]`: expected an object.*None"),
        ([*ROWS, {"question": "a"}], r"`data\[2\]`: `steps` is missing"),
        ([{**ROWS[0], "answer": 0.5}], r"`data\[0\]`: `answer` must be.*0.5"),
        ([{"x" * 10**5: 1}], r"`data\[0\]`: `question` is missing"),
        ([TABLE.iloc[0]], r"`data\[0\]`: expected an object"),
        ([ROWS], r"`data\[0\]`: expected an object"),
    ],
    ids=tiny.short,
)
def test_what_holds_none(problems, message):
    with pytest.raises(ValueError, match=message) as error:
        as_problems("data", problems)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize("problems", [None, "file", [], ROWS[0], [3]])
def test_what_cannot_be_written(tmp_path, problems):
    path = write(tmp_path / "file", "old")
    with pytest.raises(ValueError, match=r"`problems(\[0\])?`"):
        write_problems(path, problems)
    assert path.read_text() == "old"


def test_rows_are_written_and_hashed_like_problems(tmp_path):
    problems = as_problems("problems", ROWS)
    write_problems(tmp_path / "file", iter(ROWS))
    assert read_problems(tmp_path / "file") == problems
    assert content_hash(ROWS) == content_hash(problems)
    assert content_hash(problems[::-1]) != content_hash(problems)
    assert content_hash([]) == content_hash(())
    with pytest.raises(ValueError, match="`problems` must be an iterable"):
        content_hash("file")


@pytest.mark.parametrize("call", [read_problems, check_answers, write_problems])
@pytest.mark.parametrize("path", [None, 3, "", b"file", "a\0b"])
def test_what_is_no_path(call, path):
    problems = [Problem("a", [], "1")]
    arguments = [path] if call is read_problems else [path, problems]
    with pytest.raises(ValueError, match="`path` must be a path"):
        call(*arguments)


def test_answers_that_cannot_be_judged(tmp_path):
    answers = ["1", "#2", " , ", "a # b", "\u00a0", "-", "1,000"]
    problems = [Problem("q", [], answer) for answer in answers]
    for name in ("file.json", "file.jsonl"):
        write_problems(tmp_path / name, problems)
        with pytest.warns(UserWarning) as caught:
            assert read_problems(tmp_path / name) == problems
        (warning,) = caught
        message = str(warning.message)
        assert f"{name}`: 4 of 7 answers" in message
        assert "entry 2: answer='#2'" in message
        # The user's line, not the library's.
        assert warning.filename == __file__
    long = [Problem("q", [], "#" * 10**6)]
    with pytest.warns(UserWarning) as caught:
        check_answers("file.json", long)
    assert len(str(caught[0].message)) < 500


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
