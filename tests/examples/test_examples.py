"""The scripts in examples/ run from start to end, at a small size."""

import json
import subprocess
import sys

import pytest
import scripts
from scripts import run

import keras_coconut


def test_the_demo(tmp_path):
    printed = run(
        "arithmetic_demo.py",
        f"--output={tmp_path}",
        "--train_problems=500",
        "--test_problems=20",
        "--steps=3",
        "--epochs=1,1,0,1",
        "--chain_epochs=1",
    )
    assert "chain of thought" in printed and "no thoughts at all" in printed
    assert printed.count("   thought decodes to ") == 5 * 3
    assert (tmp_path / "stages.png").stat().st_size > 10_000
    model = keras_coconut.ContinuousThoughtLM.from_preset(
        str(tmp_path / "preset")
    )
    assert model.num_thoughts == 3
    line = scripts.refused("arithmetic_demo.py", f"--output={tmp_path}")
    assert "--output must be a new or an empty folder" in line


def test_a_learning_rate_that_falls(monkeypatch):
    monkeypatch.syspath_prepend(scripts.EXAMPLES)
    import table_recipes
    import table_run

    recipe = table_recipes.find_recipe("arithmetic", "tiny")
    falling = table_recipes.change_recipe(recipe, {"decay": True})
    for step, share in ((0, 1.0), (5, 0.5), (10, 0.0)):
        optimizer = table_run.make_optimizer(falling, 10)
        optimizer.iterations.assign(step)
        found = float(optimizer.learning_rate)
        assert found == pytest.approx(share * recipe.learning_rate, abs=1e-9)
    with pytest.raises(ValueError, match='"never".*"?stage'):
        table_recipes.change_recipe(falling, {"reset_optimizer": "stage"})


def test_the_table(tmp_path):
    folder = tmp_path / "table"
    arguments = [
        "--dataset=prosqa_symbolic",
        "--methods=coconut,pause_as_thought",
        "--seeds=3",
        "--change=epochs=4",
        "--change=steps_per_epoch=1",
        f"--output={folder}",
    ]
    printed = run("reproduce_table.py", *arguments)
    assert "2 runs, 2 to do" in printed and "coconut / pause" in printed
    for method, controls in (
        ("coconut", {"none", "noise", "other", "mean"}),
        ("pause_as_thought", {"none"}),
    ):
        result = json.loads((folder / f"{method}-3/result.json").read_text())
        assert set(result["controls"]) == controls
        assert len(result["test"]["predictions"]) == 64
        assert set(result["reasoning"]) == {"0", "1", "2"}
        for forced in result["reasoning"].values():
            assert abs(sum(forced["classes"].values()) - 1) < 1e-9
        assert f"| {method} " in (folder / "table.md").read_text()
    assert (folder / "table.png").stat().st_size > 10_000
    # What is finished is not done again; another table is not mixed in.
    assert "2 runs, 0 to do" in run("reproduce_table.py", *arguments)
    line = scripts.refused(
        "reproduce_table.py", *arguments, "--change=length_groups=2"
    )
    assert "made with changes=" in line and "and not" in line
    damaged = folder / "coconut-3/result.json"
    damaged.write_text(damaged.read_text()[:99])
    line = scripts.refused("reproduce_table.py", *arguments)
    assert f"{damaged} must be a whole JSON file" in line


def test_a_run_ends_with_the_script_that_started_it():
    code = "import table_run, time; table_run.end_with_driver(); time.sleep(99)"
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=scripts.EXAMPLES,
        stdin=subprocess.PIPE,
    )
    process.stdin.close()  # As the end of that script does.
    assert process.wait(90) == 1


def test_one_table_at_a_time(tmp_path):
    folder = tmp_path / "table"
    flags = ["--methods=no_cot", "--seeds=0", f"--output={folder}"]
    driver = subprocess.Popen(
        [sys.executable, scripts.EXAMPLES / "reproduce_table.py", *flags],
        stdout=subprocess.PIPE,
    )
    try:
        driver.stdout.readline()  # It has begun.
        line = scripts.refused("reproduce_table.py", *flags)
    finally:
        driver.kill()
        driver.communicate()
    assert "--output must be a folder that no other" in line
