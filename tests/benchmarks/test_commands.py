"""The benchmarks' command lines: wrong flags, failing workers, whole files."""

import json
import os
import re
import subprocess
import sys

import pytest
import scripts

RESULTS = scripts.ROOT / "benchmarks/results/base_train.json"

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


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
    monkeypatch.chdir(scripts.ROOT)
    monkeypatch.syspath_prepend(scripts.ROOT)


def start(*arguments, **environment):
    return scripts.start(arguments, **environment)


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


@pytest.mark.any_backend
def test_flags_of_the_benchmarks():
    before = RESULTS.read_bytes()
    cases = {
        "now": "flags only.*now",
        "--preset": "--preset",
        "--measure train": "--measure is not.*--measures[?]",
        "--preset huge": "--preset=huge: .*base",
        "--backends mxnet": "--backends=.*mxnet.*tensorflow, jax, torch",
        "--backends jax,jax": "--backends=.*only once",
        "--measures trian": "--measures=.*trian.*growth",
        "--measures=": "--measures=.*at least one",
        "--modes xxl": "--modes=.*xxl.*graph, xla, eager",
        "--backends jax --modes graph": "--backends: jax .*jax has xla",
        "--backends jax,torch --modes graph,eager": "--backends: jax ",
        "--backends torch --modes eager,xla": "--modes: xla .*torch has",
        "--rounds 0": "--rounds=0: .*positive",
        "--rounds many": "--rounds=many: must be a whole number",
        "--steps -1": "--steps=-1: .*positive",
        "--tokens 0 --measures generate": "--tokens=0: .*positive",
        "--tokens 3": "--tokens is for --measures=generate",
        "--layers 0": "--layers .*at least 1.* 0",
        "--hidden -8": "--hidden .*at least 1.* -8",
        "--heads 5": "--heads must divide --hidden.*5 and --hidden=256",
        "--family bert": "--family=bert: .*gpt2",
        "--key_value_heads 2": "--key_value_heads .*left out .*gpt2.* 2",
        "--family llama3 --key_value_heads 3": "--key_value_heads must divide",
        "--intermediate 0": "--intermediate .*at least 1.* 0",
        "--batch 0": "--batch .*at least 1.* 0",
        "--thoughts -1": "--thoughts .*at least 0.* -1",
        "--response 1": "--response .*at least 2.* 1",
        "--vocabulary 3": "--vocabulary .*at least 5.* 3",
        "--padding 1": "--padding=1.0: .*below 1",
        "--padding nan": "--padding=nan: .*finite",
        "--dtype int8": "--dtype=int8: .*float32",
        "--question 1000": "--question, --thoughts and --response .*1030",
        "--measures generate --tokens 999": "--tokens .*1024",
        "--measures growth --thoughts 0": "--thoughts .*growth",
        "--rematerialize": "--rematerialize is for --measures=memory",
        "--measures memory --keep_memory": "--keep_memory .*left out",
        "--official nix": "--official=nix: .*coconut.py",
        "--official_python nix": "--official_python=nix: .*interpreter",
        "--official_python python3": "--official_python needs --official",
        "--json nix/a.json": "--json .*folder that exists.*nix/a.json",
        "--json docs": "--json .*ends in .json",
        f"--json {RESULTS}": "--json must be a new file; --overwrite",
        "--plot nix/a.png": "--plot .*folder that exists.*nix/a.png",
        "--plot a.pdf": "--plot .*ends in .png.*a.pdf",
        "--plot a.png --measures growth": "--plot needs .*train, compile",
    }
    scripts.all_refused("benchmarks", cases, ["benchmarks.__main__"])
    assert RESULTS.read_bytes() == before
    # As a user calls it.
    assert "flags only" in refused("benchmarks", "now")


@pytest.mark.any_backend
def test_the_official_code(tmp_path):
    (tmp_path / "coconut.py").touch()
    flags = [f"--official={tmp_path}"]
    line = refused("benchmarks", *flags, "--measures=growth")
    assert "--official needs one of" in line
    line = refused("benchmarks", *flags, "--family=llama3")
    assert "--official needs --family=gpt2" in line
    # An interpreter without torch: one that finds nothing but itself.
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S -I "$@"\n')
    bare.chmod(0o755)
    line = refused("benchmarks", *flags, f"--official_python={bare}")
    assert f"has torch and transformers. Received: {bare}" in line


@pytest.mark.any_backend
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
def test_arguments_of_a_worker(arguments, expected, monkeypatch):
    from benchmarks import worker

    monkeypatch.setenv("KERAS_BACKEND", "jax")
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
    with pytest.raises(SystemExit, match=f"^benchmarks.worker: .*{expected}"):
        worker.main(texts)


@pytest.mark.any_backend
def test_a_worker_without_its_backend():
    spec = {"what": "train", "shape": {}, "mode": "xla", "rounds": 1}
    text = json.dumps({**spec, "steps": 1})
    line = refused("benchmarks.worker", text, KERAS_BACKEND="mxnet")
    assert "KERAS_BACKEND: expected one of tensorflow, jax, torch" in line


# The measuring processes are replaced by others; four of the five fail.
FAILING = """
import json, sys
import benchmarks.__main__ as benchmarks
from command_line import run
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


@pytest.mark.any_backend
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
    with scripts.here("benchmarks.plot") as plot:
        assert plot(picture, path) is None
        assert picture.stat().st_size > 3_000
        line = plot(picture, path)
        assert "--overwrite" in line and str(picture) in line
        assert plot("--overwrite", picture, path) is None


@pytest.mark.any_backend
def test_arguments_of_the_plot(tmp_path):
    out, damaged = tmp_path / "out.png", tmp_path / "damaged.json"
    damaged.write_text('{"results": [{"of_baseline": 1}]}')
    empty = tmp_path / "empty.json"
    empty.write_text('{"results": []}')
    cases = {
        "": "OUT.png and at least one.*nothing",
        f"{out}": "OUT.png and at least one.*out.png",
        f"{RESULTS} {RESULTS}": "OUT.png .*ends in .png",
        f"{tmp_path}/nix/out.png {RESULTS}": "folder that exists",
        f"{out} {tmp_path}/nix.json": "nix.json must be a file.*NotFound",
        f"{out} {damaged}": "damaged.json must be a file.*KeyError",
        f"{out} {empty}": "ratio to the baseline.*empty.json",
    }
    scripts.all_refused("benchmarks.plot", cases)
    assert not out.exists()


@pytest.fixture
def vocabulary(tmp_path):
    """A folder of the two files, with bytes and one merge."""
    import tiny

    tokenizer = tiny.text_model().preprocessor.tokenizer
    tokenizer.save_assets(str(tmp_path))
    return tmp_path


@pytest.mark.any_backend
def test_flags_of_the_others():
    padding = {
        "": "--problems must have a value",
        "--problems nix": "--problems=nix: .*exists",
        "--vocabulary docs": "--vocabulary=docs: .*merges.txt",
        "--batch_size 0": "--batch_size=0: .*positive",
        "--max_stage -1": "--max_stage=-1: .*non-negative",
        "--length_groups 1,0": "--length_groups=.*at least 1",
        "--length_groups 4,4": "--length_groups=.*only once",
    }
    datasets = {
        "": "--dataset must have a value",
        "--dataset gsm8k": "--dataset=gsm8k: .*prosqa",
        "--published nix": "--published=nix: .*exists",
        "--problems 0": "--problems=0: .*positive",
        "--permutations 0": "--permutations=0: .*positive",
        "--seed -1": "--seed=-1: .*non-negative",
    }
    streaming = {
        "--gigabytes 0": "--gigabytes=0.0: .*at least 0.0001",
        "--folder nix": "--folder=nix: .*exists",
        "--step 3": "--step is not.*--steps[?]",
    }
    scaling = {
        "--devices 2": "--devices=2: .*1 among them",
        "--devices 1,2 --batch_size 3": "--batch_size .*3 for",
        "--question 301": "--question=301",
        "--hidden_dim 96": "--hidden_dim=96: .*multiple of 64",
    }
    saving = {
        "--every 0": "--every=0: .*positive",
        "--apart 8 --steps 8": "--apart must be below --steps.* 8 of 8",
        "--folder nix": "--folder=nix: .*exists",
        "--hidden_dim 48": "--hidden_dim=48: .*multiple of 32",
        "--layer 2": "--layer is not.*--layers[?]",
    }
    for name, cases in (
        ("padding", padding),
        ("datasets", datasets),
        ("streaming", streaming),
        ("scaling", scaling),
        ("saving", saving),
    ):
        scripts.all_refused(f"benchmarks.{name}", cases)


@pytest.mark.any_backend
def test_files_that_the_others_cannot_use(vocabulary):
    problems = vocabulary / "problems.json"
    problems.write_text('[{"question": "1?", "steps": [], "answer": "1"}]')
    damaged = vocabulary / "damaged.json"
    damaged.write_text('[{"question": ')
    with scripts.here("benchmarks.padding") as padding:
        line = padding(f"--problems={damaged}", f"--vocabulary={vocabulary}")
    assert f"--problems: `{damaged}`" in line
    # Not of ProsQA: its graph is missing.
    with scripts.here("benchmarks.datasets") as datasets:
        line = datasets(
            "--dataset=prosqa",
            f"--published={problems}",
            f"--vocabulary={vocabulary}",
        )
    assert "--published: " in line and "idx_to_symbol" in line


@pytest.mark.any_backend
def test_streaming(tmp_path, monkeypatch, capsys):
    """With a file of a megabyte; its processes are this one."""
    with scripts.here("benchmarks.streaming") as streaming:

        def run(command, **kwargs):
            *python, name = command[:3]
            assert python == [sys.executable, "-m"]
            assert name == "benchmarks.streaming"
            end = streaming(*command[3:])
            printed = capsys.readouterr().out
            return subprocess.CompletedProcess(command, end or 0, printed)

        monkeypatch.setattr(subprocess, "run", run)
        end = streaming(
            *("--gigabytes=0.0001", "--steps=2", "--batch_size=4"),
            f"--folder={tmp_path}",
        )
        assert end is None
    found = json.loads(capsys.readouterr().out)
    assert found["problems"] == 10_000  # It is made in tens of thousands.
    for name in ("first_start", "second_start"):
        assert found[name]["seconds_to_first_batch"] >= 0
        assert len(found[name]["losses"]) == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.any_backend
def test_scaling():
    """On one device."""
    finished = start(
        *("-m", "benchmarks.scaling", "--devices=1", "--layers=1"),
        *("--hidden_dim=64", "--vocabulary=300", "--batch_size=2"),
        *("--question=8", "--steps=6", "--rounds=1"),
        OMP_NUM_THREADS="1",
    )
    assert finished.returncode == 0, finished.stderr[-4000:]
    found = json.loads(finished.stdout)
    assert found["1 devices"]["efficiency"] == 1


@pytest.mark.any_backend
def test_saving(capsys, tmp_path):
    with scripts.here("benchmarks.saving") as saving:
        end = saving(
            *("--apart=2", "--steps=5", "--rounds=2", "--layers=1"),
            *("--hidden_dim=32", "--batch_size=2", "--question=8"),
            f"--folder={tmp_path}",
        )
    assert end is None
    found = json.loads(capsys.readouterr().out)
    # Before the steps 1, 3 and 5, and behind the last.
    assert found["saves"] == 4
    more = found["seconds_with_saves"] - found["seconds_without"]
    of_a_save, of_a_step = (
        found[f"seconds_of_a_{name}"] for name in ("save", "step")
    )
    assert of_a_save == pytest.approx(more / 4, abs=1e-4)
    assert of_a_step == pytest.approx(found["seconds_without"] / 5, abs=1e-4)
    share = of_a_save / (50 * of_a_step)
    assert found["overhead"] == pytest.approx(share, abs=1e-4)
    # Weights and two moments: a layer's 12 d^2 and 13 d numbers, the vocabulary
    # and positions of 800 rows at most.
    layer, rows = 12 * 32**2 + 13 * 32, 32 * 800
    assert layer * 12 < found["megabytes_of_a_save"] * 1e6
    assert found["megabytes_of_a_save"] * 1e6 < (layer + rows) * 12 + 50_000
    assert not list(tmp_path.iterdir())
