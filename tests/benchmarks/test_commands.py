"""The benchmarks' command lines: wrong flags, failing workers, whole files."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks/results/base_train.json"

TINY = [
    "--layers=1",
    "--hidden=8",
    "--heads=2",
    "--vocabulary=20",
    "--batch=2",
    "--question=8",
    "--thoughts=2",
    "--response=3",
    "--rounds=1",
    "--steps=1",
]


def start(*arguments, **environment):
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
    )


def refused(module, *arguments, **environment):
    """Runs a module, which must end with one line; returns that line."""
    finished = start("-m", module, *arguments, **environment)
    assert finished.returncode == 1, finished.stdout + finished.stderr
    assert "Traceback" not in finished.stderr
    # Nothing was measured.
    assert finished.stdout == ""
    line = finished.stderr.strip().splitlines()[-1]
    assert line.startswith(f"{module}: "), finished.stderr
    assert len(line) < 500
    return line


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("now", "flags only.*now"),
        ("--preset huge", "--preset=huge: .*base"),
        ("--backends mxnet", "--backends=.*mxnet.*tensorflow, jax, torch"),
        ("--backends jax,jax", "--backends=.*only once"),
        ("--measures trian", "--measures=.*trian.*growth"),
        ("--measures=", "--measures=.*at least one"),
        ("--modes xxl", "--modes=.*xxl.*graph, xla, eager"),
        ("--backends jax --modes graph", "--backends: jax .*jax has xla"),
        ("--backends jax,torch --modes graph,eager", "--backends: jax "),
        ("--backends torch --modes eager,xla", "--modes: xla .*torch has"),
        ("--rounds 0", "--rounds=0: .*positive"),
        ("--rounds many", "--rounds=many: must be a whole number"),
        ("--steps -1", "--steps=-1: .*positive"),
        ("--tokens 0 --measures generate", "--tokens=0: .*positive"),
        ("--tokens 3", "--tokens is for --measures=generate"),
        ("--layers 0", "--layers .*at least 1.* 0"),
        ("--hidden -8", "--hidden .*at least 1.* -8"),
        ("--heads 5", "--heads must divide --hidden.*5 and --hidden=256"),
        ("--batch 0", "--batch .*at least 1.* 0"),
        ("--thoughts -1", "--thoughts .*at least 0.* -1"),
        ("--response 1", "--response .*at least 2.* 1"),
        ("--vocabulary 3", "--vocabulary .*at least 5.* 3"),
        ("--padding 1", "--padding .*below 1.* 1.0"),
        ("--padding nan", "--padding .*below 1.* nan"),
        ("--dtype int8", "--dtype=int8: .*float32"),
        ("--question 1000", "--question, --thoughts and --response .*1030"),
        ("--measures generate --tokens 999", "--tokens .*1024"),
        ("--measures growth --thoughts 0", "--thoughts .*growth"),
        ("--rematerialize", "--rematerialize is for --measures=memory"),
        ("--measures memory --keep_memory", "--keep_memory .*left out"),
        ("--official nix", "--official=nix: .*coconut.py"),
        ("--official_python nix", "--official_python=nix: .*interpreter"),
        ("--official_python python3", "--official_python needs --official"),
        ("--json nix/a.json", "--json .*folder that exists.*nix/a.json"),
        ("--json docs", "--json .*ends in .json"),
        (f"--json {RESULTS}", "--json must be a new file; --overwrite"),
        ("--plot nix/a.png", "--plot .*folder that exists.*nix/a.png"),
        ("--plot a.pdf", "--plot .*ends in .png.*a.pdf"),
        ("--plot a.png --measures growth", "--plot needs .*train, compile"),
    ],
)
def test_flags_of_the_benchmarks(flags, expected):
    before = RESULTS.read_bytes()
    line = refused("benchmarks", *flags.split())
    assert re.search(expected, line), line
    assert RESULTS.read_bytes() == before


def test_the_official_code(tmp_path):
    (tmp_path / "coconut.py").touch()
    flags = [f"--official={tmp_path}"]
    line = refused("benchmarks", *flags, "--measures=growth")
    assert "--official needs one of" in line
    # An interpreter without torch: one that finds nothing but itself.
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S -I "$@"\n')
    bare.chmod(0o755)
    line = refused("benchmarks", *flags, f"--official_python={bare}")
    assert f"has torch and transformers. Received: {bare}" in line


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "one argument.*0 arguments"),
        (["{"], "Expecting property name"),
        (["[]"], "`what` is one of train"),
        ([{"what": "trian"}], "`what` is one of train.*trian"),
        ([{"steps": None}], "keys mode, rounds, shape, steps, what"),
        ([{"what": "generate"}], "keys .*tokens.* for generate"),
        ([{"shape": {"width": 3}}], "a shape of .*hidden.*width"),
        ([{"shape": {"layers": 0}}], "--layers .*at least 1.* 0"),
        ([{"rounds": 0}], "rounds .*at least 1.* 0"),
        ([{"mode": "xxl"}], "a mode of jax, xla.*xxl"),
        ([{"mode": "eager"}], "a mode of jax, xla.*eager"),
        ([{"what": "memory", "which": "both"}], "baseline or coconut.*both"),
    ],
)
def test_arguments_of_a_worker(arguments, expected):
    spec = {"what": "train", "shape": {}, "mode": "xla", "rounds": 1}
    spec["steps"] = 1
    texts = []
    for changes in arguments:
        if isinstance(changes, dict):
            changed = {**spec, **changes}
            changes = json.dumps(
                {k: v for k, v in changed.items() if v is not None}
            )
        texts.append(changes)
    line = refused("benchmarks.worker", *texts, KERAS_BACKEND="jax")
    assert re.search(expected, line), line


def test_a_worker_without_its_backend():
    spec = {"what": "train", "shape": {}, "mode": "xla", "rounds": 1}
    text = json.dumps({**spec, "steps": 1})
    line = refused("benchmarks.worker", text, KERAS_BACKEND="mxnet")
    assert "KERAS_BACKEND: expected one of tensorflow, jax, torch" in line


# The measuring processes are replaced by others; four of the five fail.
FAILING = """
import json, sys
import benchmarks.__main__ as benchmarks
from benchmarks.flag_checks import run
python = sys.executable
code = {
    "compile": "import sys; sys.exit('first words\\\\nlast words')",
    "train": "print('{\\\"coconut\\\": [2.0], \\\"baseline\\\": [1.0]}')",
    "growth": "import os; os.kill(os.getpid(), 9)",
    "generate": "pass",
    "memory": "import sys; sys.exit(4)",
}
def run_worker(backend, spec):
    return benchmarks.last_line([python, "-c", code[spec["what"]]])
benchmarks.run_worker = run_worker
run(benchmarks.main)
"""


def test_measurements_that_fail(tmp_path):
    path = tmp_path / "results.json"
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    finished = start(
        "-c",
        FAILING,
        f"--backends={backend}",
        f"--modes={'eager' if backend == 'torch' else 'xla'}",
        "--measures=compile,train,growth,generate,memory",
        f"--json={path}",
    )
    assert finished.returncode == 1, finished.stderr
    assert "Traceback" not in finished.stderr
    assert finished.stderr.strip().endswith("4 of 5 measurements failed")
    lines = finished.stdout.splitlines()[1:6]
    for line, expected in zip(
        lines,
        (
            "compile .* failed: last words",
            "train .* 2.00 of the baseline",
            "growth .* failed: the process was killed by SIGKILL",
            "generate .* failed: the process printed no result",
            "memory .* failed: the process ended with status 4",
        ),
    ):
        assert re.match(expected, re.sub(" +", " ", line)), line
    results = json.loads(path.read_text())["results"]
    assert [r["what"] for r in results if "error" not in r] == ["train"]


def test_a_measurement_from_start_to_end(tmp_path):
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    path, picture = tmp_path / "results.json", tmp_path / "results.png"
    path.write_text("old")
    flags = [f"--backends={backend}", f"--json={path}", *TINY]
    assert "--overwrite" in refused("benchmarks", *flags)
    finished = start("-m", "benchmarks", *flags, "--overwrite")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    report = json.loads(path.read_text())
    assert {result["backend"] for result in report["results"]} == {backend}
    for result in report["results"]:
        assert result["of_baseline"] > 0 and len(result["coconut"]) == 1
    assert json.loads(finished.stdout.splitlines()[-1]) == report
    # A picture of it, drawn twice only if told.
    drawn = start("-m", "benchmarks.plot", picture, path)
    assert drawn.returncode == 0, drawn.stderr
    assert picture.stat().st_size > 3_000
    line = refused("benchmarks.plot", picture, path)
    assert "--overwrite" in line and str(picture) in line
    again = start("-m", "benchmarks.plot", "--overwrite", picture, path)
    assert again.returncode == 0, again.stderr


def test_arguments_of_the_plot(tmp_path):
    out, damaged = tmp_path / "out.png", tmp_path / "damaged.json"
    damaged.write_text('{"results": [{"of_baseline": 1}]}')
    empty = tmp_path / "empty.json"
    empty.write_text('{"results": []}')
    for arguments, expected in (
        ([], "OUT.png and at least one.*nothing"),
        ([out], "OUT.png and at least one.*out.png"),
        ([RESULTS, RESULTS], "OUT.png .*ends in .png"),
        ([tmp_path / "nix/out.png", RESULTS], "folder that exists"),
        ([out, tmp_path / "nix.json"], "nix.json must be a file.*NotFound"),
        ([out, damaged], "damaged.json must be a file.*KeyError"),
        ([out, empty], "ratio to the baseline.*empty.json"),
    ):
        line = refused("benchmarks.plot", *arguments)
        assert re.search(expected, line), line
    assert not out.exists()


@pytest.fixture
def vocabulary(tmp_path):
    """A folder of the two files, with bytes and one merge."""
    import tiny

    tokenizer = tiny.text_model().preprocessor.tokenizer
    tokenizer.save_assets(str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("module", "flags", "expected"),
    [
        ("padding", "", "--problems must have a value"),
        ("padding", "--problems nix", "--problems=nix: .*exists"),
        ("padding", "--vocabulary docs", "--vocabulary=docs: .*merges.txt"),
        ("padding", "--batch_size 0", "--batch_size=0: .*positive"),
        ("padding", "--max_stage -1", "--max_stage=-1: .*non-negative"),
        ("padding", "--length_groups 1,0", "--length_groups=.*at least 1"),
        ("padding", "--length_groups 4,4", "--length_groups=.*only once"),
        ("datasets", "", "--dataset must have a value"),
        ("datasets", "--dataset gsm8k", "--dataset=gsm8k: .*prosqa"),
        ("datasets", "--published nix", "--published=nix: .*exists"),
        ("datasets", "--problems 0", "--problems=0: .*positive"),
        ("datasets", "--permutations 0", "--permutations=0: .*positive"),
        ("datasets", "--seed -1", "--seed=-1: .*non-negative"),
    ],
)
def test_flags_of_the_others(module, flags, expected):
    line = refused(f"benchmarks.{module}", *flags.split())
    assert re.search(expected, line), line


def test_files_that_the_others_cannot_use(vocabulary):
    problems = vocabulary / "problems.json"
    problems.write_text('[{"question": "1?", "steps": [], "answer": "1"}]')
    damaged = vocabulary / "damaged.json"
    damaged.write_text('[{"question": ')
    line = refused(
        "benchmarks.padding",
        f"--problems={damaged}",
        f"--vocabulary={vocabulary}",
    )
    assert f"--problems: `{damaged}`" in line or str(damaged) in line
    # Not of ProsQA: its graph is missing.
    line = refused(
        "benchmarks.datasets",
        "--dataset=prosqa",
        f"--published={problems}",
        f"--vocabulary={vocabulary}",
    )
    assert "--published: " in line and "idx_to_symbol" in line
