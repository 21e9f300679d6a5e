"""Property tests: damaged files are named, whole ones come back exactly."""

import json
import os
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keras_coconut import (
    Problem,
    files,
    read_problems,
    stream_problems,
    write_problems,
)
from keras_coconut.datasets.gsm8k_lines import read_gsm8k, write_gsm8k
from keras_coconut.strict_json import read_entries

pytestmark = pytest.mark.any_backend

ENTRIES = [
    {"question": "1 + 2?", "steps": ["1 + 2 = 3"], "answer": "3", "id": 7},
    {"question": "Größe \u2028?", "steps": [], "answer": "1,000"},
    {
        "question": "a\nb",
        "steps": ["\ud83d\ude00", "c"],
        "answer": "d",
        "x": {"edges": [[0, 1], [1, 2]], "weight": -0.5e-7, "none": None},
    },
]
FILES = {
    "list.json": json.dumps(ENTRIES, indent=1),
    "lines.jsonl": "".join(
        json.dumps(entry, ensure_ascii=False) + "\n" for entry in ENTRIES[:2]
    ),
    "gsm8k.txt": (
        "He ate 3 of 7, how many are left?||<<7-3=4>> #### 4\n"
        "Ann has $1,000 — half?||<<1000/2=500>> <<500*2=1000>> #### 1,000\n"
        "Is it 9 €?|| #### 9\n"
    ),
}
# What damages most: parts of the forms, odd line breaks, marks, numbers.
PIECES = [
    *(b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"\n", b"\r", b"\r\n"),
    *(b"|", b"||", b"#", b"####", b" #### ", b" ", b"\t", b"\0", b"\x0b"),
    *(b"\x80", b"\xff\xfe", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\xc2\x85"),
    *(b"\xed\xa0\x80", b"\\ud800", b"\\u0000", b"NaN", b"1e999", b"-Infinity"),
    *(b"null", b"true", b"3", b"0.5", b"9" * 5000, b"[" * 5000, b'{"":' * 5000),
    *(b'"question":', b'"answer": 3,', b'"steps": {},', b"\x1f\x8b"),
]


def damage(data, edits):
    """Returns data with bytes cut, flipped, put in, doubled or left out."""
    for kind, where, length, piece in edits:
        start = where % (len(data) + 1)
        end = min(start + length, len(data))
        if kind == "cut":
            data = data[:start]
        elif kind == "insert":
            data = data[:start] + piece + data[start:]
        elif kind == "replace":
            data = data[:start] + piece + data[end:]
        elif kind == "drop":
            data = data[:start] + data[end:]
        elif kind == "double":
            data = data[:end] + data[start:end] + data[end:]
        elif start < len(data):
            flipped = bytes([data[start] ^ (1 << length % 8)])
            data = data[:start] + flipped + data[start + 1 :]
    return data


EDITS = st.lists(
    st.tuples(
        st.sampled_from(["cut", "insert", "replace", "drop", "double", "flip"]),
        st.integers(0, 1000),
        st.integers(0, 12),
        st.sampled_from(PIECES),
    ),
    min_size=1,
    max_size=3,
)
FUZZ = dict(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    # Files of thousands of examples need not be safe from a power failure.
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.mark.filterwarnings("ignore:.*cannot be judged")
@pytest.mark.parametrize("name", sorted(FILES))
def test_damaged_files(tmp_path, name):
    path, again = tmp_path / name, tmp_path / f"again_{name}"
    whole = FILES[name].encode()
    seen = {"read": 0, "refused": 0}

    @settings(max_examples=3_400, **FUZZ)
    @given(EDITS)
    def check(edits):
        data = damage(whole, edits)
        path.write_bytes(data)
        gsm8k = name == "gsm8k.txt"
        try:
            problems = (read_gsm8k if gsm8k else read_problems)(path)
        except ValueError as error:
            assert not isinstance(error, UnicodeError)
            assert len(str(error)) < 500 and f"/{name}`" in str(error)
            seen["refused"] += 1
            return
        seen["read"] += 1
        assert problems
        if gsm8k:
            write_gsm8k(again, problems)
            assert again.read_bytes() == data.removeprefix(b"\xef\xbb\xbf")
        else:
            write_problems(again, problems)
            # With what is kept in `extra`, which does not take part in `==`.
            assert repr(read_problems(again)) == repr(problems)

    check()
    # Neither all of them, nor none.
    assert min(seen.values()) > 100, seen


# Halves of surrogate pairs too, which `st.text()` leaves out.
TEXT = st.text(st.characters(), max_size=20)
PARTS = st.text(st.sampled_from("ab|# \t\n\r\u2028\x85\ufeff,"), max_size=8)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3)
    ),
    max_leaves=8,
)


def make(question, steps, answer, extra):
    """Returns the problem; `None` where it cannot be one."""
    try:
        return Problem(question, steps, answer, extra=extra)
    except ValueError as error:
        assert len(str(error)) < 500
        # Hypothesis also tries the strings that stand in our own code.
        reserved = {"question", "steps", "answer"}
        refused = not question.strip() or reserved & extra.keys()
        text = json.dumps([question, steps, answer, extra], ensure_ascii=False)
        try:
            text.encode()
        except UnicodeEncodeError:
            assert "surrogate" in str(error) or refused
        else:
            assert refused
        return None


@pytest.mark.filterwarnings("ignore:.*cannot be judged")
@pytest.mark.parametrize("name", ["problems.json", "problems.jsonl"])
def test_any_problem_comes_back_from_json(tmp_path, name):
    path = tmp_path / name

    @settings(max_examples=500, **FUZZ)
    @given(
        TEXT,
        st.lists(TEXT, max_size=3),
        TEXT,
        st.dictionaries(TEXT, VALUES, max_size=3),
    )
    def check(question, steps, answer, extra):
        problem = make(question, steps, answer, extra)
        if problem is not None:
            problems = [problem, Problem("q", [], "a")]
            write_problems(path, problems)
            assert repr(read_problems(path)) == repr(problems)

    check()


@pytest.mark.filterwarnings("ignore:.*cannot be judged")
@pytest.mark.parametrize("text", [TEXT, PARTS], ids=["any", "separators"])
def test_a_problem_comes_back_from_a_line_or_is_not_written(tmp_path, text):
    path = tmp_path / "gsm8k.txt"
    written = []

    @settings(max_examples=1_500, **FUZZ)
    @given(text, st.lists(text, max_size=2), text)
    def check(question, steps, answer):
        problem = make(question, steps, answer, {})
        if problem is None:
            return
        path.unlink(missing_ok=True)
        try:
            write_gsm8k(path, [problem])
        except ValueError as error:
            assert len(str(error)) < 500 and "/gsm8k.txt`, line 1" in str(error)
            assert not path.exists()
            # Nor is it read, if somebody else wrote it.
            line = f"{question}||{' '.join(steps)} #### {answer}\n"
            path.write_text(line, encoding="utf-8", newline="")
            try:
                assert read_gsm8k(path) != [problem]
            except ValueError:
                pass
            return
        written.append(problem)
        assert read_gsm8k(path) == [problem]

    check()
    assert len(written) > 20


def entries_of(text):
    """What is read of a text, and how it ends."""
    found = []
    try:
        for _, entry in read_entries("file.json", text):
            found.append(entry)
    except ValueError as error:
        found.append(str(error))
    return found


@pytest.mark.parametrize("name", ["list.json", "lines.jsonl"])
def test_a_text_in_pieces_reads_as_the_whole(name):
    """Cut anywhere, damaged or not: the same entries, and the same error."""
    whole = FILES[name].encode()

    @settings(max_examples=600, **FUZZ)
    @given(EDITS, st.integers(1, 40))
    def check(edits, size):
        for edit in ([], edits):
            text = damage(whole, edit).decode(errors="replace")
            pieces = (
                text[start : start + size]
                for start in range(0, len(text), size)
            )
            assert entries_of(pieces) == entries_of(text)

    check()


def test_a_file_is_read_in_pieces(tmp_path, monkeypatch):
    """Cut within characters, entries, numbers and the mark at its start."""
    path = tmp_path / "list.json"
    text = FILES["list.json"]
    for mark in (b"", b"\xef\xbb\xbf"):
        path.write_bytes(mark + text.encode())
        for size in (3, 4, 5, 7, 64):
            monkeypatch.setattr(files, "_PIECE", size)
            assert [p.to_dict() for p in stream_problems(path)] == [
                p.to_dict() for p in read_problems(path)
            ]
            assert "".join(files.read_pieces(path)) == text
            seen = []
            assert "".join(files.read_pieces(path, seen.append)) == text
            assert seen[-1] == len(mark + text.encode())
        path.write_bytes(mark + text.encode() + b"\xff")
        at = len(mark + text.encode())
        with pytest.raises(ValueError, match=f"0xff at position {at}:"):
            files.read_text(path)


def test_memory_stays_bounded(tmp_path):
    """Of a file of 9 MB, held for some moments each."""
    path = tmp_path / "large.json"
    entry = json.dumps({"question": "q" * 600, "steps": ["s"], "answer": "1"})
    for start, between, end in (("[", ", ", "]"), ("", "\n", "\n")):
        path.write_text(start + between.join([entry] * 15_000) + end)
        tracemalloc.start()
        try:
            assert sum(1 for _ in stream_problems(path)) == 15_000
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 6 * 2**20
