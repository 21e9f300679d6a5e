"""The scripts in examples/ run from start to end, at a small size.

They are the same on every backend, and what they call is tested on each. So
they run with PyTorch alone, but for the runs of the table, which are JAX's.
"""

import json
import os
import subprocess
import sys
import types

import pytest
import scripts
import tiny

import keras_coconut
from keras_coconut.files import try_lock

pytestmark = pytest.mark.any_backend


def test_the_demo(tmp_path, capsys):
    flags = [
        f"--output={tmp_path}",
        "--train_problems=500",
        "--test_problems=20",
        "--steps=3",
        "--epochs=1,1,0,1",
        "--chain_epochs=1",
    ]
    with scripts.here("arithmetic_demo.py") as demo:
        too_many = demo("--train_problems=999999", f"--output={tmp_path}")
        assert "--train_problems, --test_problems: " in too_many
        assert not any(tmp_path.iterdir())
        capsys.readouterr()
        assert demo(*flags) is None
        printed = capsys.readouterr().out
        line = demo(f"--output={tmp_path}")
    assert "chain of thought" in printed and "no thoughts at all" in printed
    assert printed.count("   thought decodes to ") == 5 * 3
    assert (tmp_path / "stages.png").stat().st_size > 10_000
    model = keras_coconut.ContinuousThoughtLM.from_preset(
        str(tmp_path / "preset")
    )
    assert model.num_thoughts == 3
    assert "--output must be a new or an empty folder" in line


def test_a_learning_rate_that_falls(monkeypatch):
    monkeypatch.syspath_prepend(scripts.EXAMPLES)
    import table_recipes
    import table_run

    recipe = table_recipes.find_recipe("arithmetic", "tiny")
    shares = {True: {0: 1.0, 5: 0.5, 10: 0.0}, False: {0: 1.0, 10: 1.0}}
    for decay, of_steps in shares.items():
        changed = table_recipes.change_recipe(recipe, {"decay": decay})
        for step, share in of_steps.items():
            optimizer = table_run.make_optimizer(changed, 10)
            optimizer.iterations.assign(step)
            assert float(optimizer.learning_rate) == pytest.approx(
                share * recipe.learning_rate, abs=1e-9
            )
    falling = table_recipes.change_recipe(recipe, {"decay": True})
    with pytest.raises(ValueError, match='"never".*"?stage'):
        table_recipes.change_recipe(falling, {"reset_optimizer": "stage"})


@pytest.fixture
def table(monkeypatch):
    # The script sets it for its runs; what this puts back is what it was.
    monkeypatch.setenv("KERAS_BACKEND", os.environ["KERAS_BACKEND"])
    with scripts.here("reproduce_table.py") as call:
        yield call


def test_the_table(tmp_path, table, capsys):
    folder = tmp_path / "table"
    arguments = [
        "--backend=jax",
        "--dataset=prosqa_symbolic",
        "--methods=coconut,pause_as_thought",
        "--seeds=3",
        "--change=epochs=4",
        "--change=steps_per_epoch=1",
        "--change=evaluate_every=4",
        "--change=max_length=8",
        "--change=layers=1",
        "--change=hidden=16",
        '--change=data={"train": 40, "validation": 4, "test": 8}',
        f"--output={folder}",
    ]
    assert table(*arguments) is None
    printed = capsys.readouterr().out
    assert "2 runs, 2 to do" in printed and "coconut / pause" in printed
    for method, controls in (
        ("coconut", set(keras_coconut.evaluation.CONTROLS)),
        ("pause_as_thought", {"none", "removed"}),
    ):
        result = json.loads((folder / f"{method}-3/result.json").read_text())
        assert result["versions"]["backend"] == "jax"
        assert set(result["controls"]) == controls
        assert len(result["test"]["predictions"]) == 8
        assert set(result["reasoning"]) == {"0", "1", "2"}
        for forced in result["reasoning"].values():
            assert abs(sum(forced["classes"].values()) - 1) < 1e-9
        assert f"| {method} " in (folder / "table.md").read_text()
    assert (folder / "table.png").stat().st_size > 10_000
    # What is finished is not done again; another table is not mixed in.
    assert table(*arguments) is None
    assert "2 runs, 0 to do" in capsys.readouterr().out
    line = table(*arguments, "--change=length_groups=2")
    assert "made with changes=" in line and "and not" in line
    damaged = folder / "coconut-3/result.json"
    damaged.write_text(damaged.read_text()[:99])
    line = table(*arguments)
    assert f"{damaged} must be a whole JSON file" in line


def test_a_run_of_the_table_without_a_best_model(tmp_path, monkeypatch):
    """It is trained again only where there is a model that opens."""
    monkeypatch.syspath_prepend(scripts.EXAMPLES)
    import table_recipes
    import table_run
    from absl import app

    model = keras_coconut.ContinuousThoughtLM
    monkeypatch.setattr(model, "fit", lambda *args, **kwargs: None)
    monkeypatch.setattr(
        table_run, "make_model", lambda *args: tiny.text_model(layers=1)
    )
    splits = types.SimpleNamespace(
        train=tiny.problems(4), validation=tiny.problems(2)
    )
    recipe = table_recipes.find_recipe("arithmetic", "tiny")
    arguments = (recipe, "coconut", 0, splits, "arithmetic", tmp_path)
    with pytest.raises(app.UsageError, match="no model of the last stage was"):
        table_run.train(*arguments)
    (tmp_path / "best").mkdir()
    (tmp_path / "best/validation.json").write_text("{}")
    with pytest.raises(ValueError, match="best"):
        table_run.train(*arguments)
    assert not (tmp_path / "trained").exists()


def test_a_run_ends_with_the_script_that_started_it():
    code = "import command_line as c, time; c.end_with_driver(); time.sleep(99)"
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=scripts.EXAMPLES,
        stdin=subprocess.PIPE,
    )
    process.stdin.close()  # As the end of that script does.
    assert process.wait(90) == 1


def test_one_table_at_a_time(tmp_path, table, monkeypatch):
    import reproduce_table

    folder, runs = tmp_path / "table", []
    monkeypatch.setattr(
        reproduce_table, "run_all", lambda *args: runs.append(args) or args[1]
    )
    flags = ["--methods=no_cot", "--seeds=0", f"--output={folder}"]
    assert "1 runs failed: no_cot-0" in table(*flags)
    assert len(runs) == 1
    with open(folder / "lock", "a") as file:
        assert try_lock(file)  # As one that is running does.
        line = table(*flags)
    assert "--output must be a folder that no other" in line
    assert len(runs) == 1
