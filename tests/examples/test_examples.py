"""The scripts in examples/ run from start to end, at a small size."""

import json
import os
import pathlib
import subprocess
import sys

import pytest
import tiny

import keras_coconut

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"


def run(script, *arguments):
    finished = subprocess.run(
        [sys.executable, str(EXAMPLES / script), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    output = finished.stdout + finished.stderr
    assert finished.returncode == 0, output[-4000:]
    return finished.stdout


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


def test_training_on_a_file_and_asking_again(tmp_path):
    problems = tmp_path / "problems.jsonl"
    keras_coconut.write_problems(problems, tiny.problems(12))
    preset = tmp_path / "start"
    tiny.text_model().save_to_preset(str(preset))
    arguments = [
        f"--problems={problems}",
        "--limit=6",
        f"--output={tmp_path / 'run'}",
        "--max_length=8",
    ]
    first = run(
        "train_on_problems.py",
        *arguments,
        f"--preset={preset}",
        "--max_stage=2",
        "--epochs_per_stage=1",
        "--batch_size=3",
    )
    assert "2 thoughts:" in first and "0 thoughts:" in first
    answers = json.loads((tmp_path / "run/predictions.json").read_text())
    assert len(answers) == 6
    again = run("train_on_problems.py", *arguments, "--evaluate_only")
    assert "same answers as before: True" in again


def test_a_learning_rate_that_falls(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
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
    with pytest.raises(AssertionError, match="changes=.*4.*and not.*5"):
        run("reproduce_table.py", *arguments, "--change=epochs=5")
    with pytest.raises(AssertionError, match="gsm8k_aug at paper.*at small"):
        run("reproduce_table.py", "--dataset=prontoqa", "--scale=small")
    with pytest.raises(AssertionError, match="epochs.*'epoch'"):
        run("reproduce_table.py", "--change=epoch=5")
    with pytest.raises(AssertionError, match="no_cot.*words"):
        run("reproduce_table.py", "--methods=words")
