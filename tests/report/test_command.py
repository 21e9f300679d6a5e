"""`python -m keras_coconut.report`."""

import json
import runpy
import sys

import pytest
import scripted_models as scripted

import keras_coconut
from keras_coconut.report import __main__ as command

pytestmark = pytest.mark.any_backend


@pytest.fixture
def files(tmp_path):
    """A preset and a problem file, by their names."""
    problems, _ = scripted.problems(4)
    keras_coconut.write_problems(tmp_path / "problems.json", problems)
    model = scripted.model()
    model.save_to_preset(str(tmp_path / "model"))
    return [str(tmp_path / name) for name in ("model", "problems.json")]


def test_a_report(files, tmp_path, capsys):
    output = tmp_path / "page.html"
    flags = [f"--output={output}", "--limit=3", "--max_length=2"]
    flags += ["--num_thoughts=1", f"--control={files[0]}", "--num_pairs=1"]
    command.main([*files, *flags])
    shown = capsys.readouterr().out
    assert "Do the thoughts carry the answer? No right answers." in shown
    assert "tree: the problems hold no graphs" in shown
    assert f"written: {output}, {tmp_path / 'page.json'}" in shown
    entry = json.loads((tmp_path / "page.json").read_text(encoding="utf-8"))
    assert entry["num_problems"] == 3
    assert entry["num_thoughts"] == 1
    assert entry["control"]["thought_kind"] == "continuous"


def refusal(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        command.main(arguments)
    assert caught.value.code in (1, 2)
    found = capsys.readouterr()
    assert not found.out
    (line,) = found.err.splitlines()
    assert line.startswith("keras_coconut.report: ")
    return line


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--limit=1"], "--limit: must be a whole number of at least 2"),
        (["--seed=a"], "must be a whole number of at least 0. Received: a"),
        (["--unknown=1"], "unrecognized arguments: --unknown=1"),
        (["--output=page.txt"], "a file name that ends in .html"),
        (["--output=none/page.html"], "lie in a folder that exists"),
    ],
)
def test_refusals(flags, text, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "problems.json").touch()
    line = refusal(["model", "problems.json", *flags], capsys)
    assert text in line


def test_missing_files(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "required: MODEL, PROBLEMS" in refusal([], capsys)
    line = refusal(["model", "problems.json"], capsys)
    assert "PROBLEMS must be a problem file that exists" in line
    problems, _ = scripted.problems(4)
    keras_coconut.write_problems("problems.json", problems)
    # What a library says in its own words.
    assert "model" in refusal(["./model", "problems.json"], capsys)


@pytest.mark.parametrize("name", ["report.html", "report.json"])
def test_files_are_replaced_if_told_so(name, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for file in ("problems.json", name):
        (tmp_path / file).write_text("old", encoding="utf-8")
    arguments = ["model", "problems.json"]
    line = refusal(arguments, capsys)
    assert f"--overwrite replaces them. Received: {name}" in line
    # Now the file of problems is read.
    assert "problems.json" in refusal([*arguments, "--overwrite"], capsys)
    assert (tmp_path / name).read_text(encoding="utf-8") == "old"


def test_it_runs_as_a_module(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["report", "--help"])
    monkeypatch.delitem(sys.modules, "keras_coconut.report.__main__")
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("keras_coconut.report", run_name="__main__")
    assert not caught.value.code
    shown = capsys.readouterr().out
    assert "usage: keras_coconut.report" in shown
    assert "--overwrite" in shown
