"""The scripts in examples/ run from start to end, at a small size."""

import json
import os
import pathlib
import subprocess
import sys

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
    assert finished.returncode == 0, finished.stderr[-4000:]
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
    assert "chain of thought" in printed and "thoughts left out" in printed
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
