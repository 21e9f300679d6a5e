"""Wrong flags of the examples: one line that names them, before any work."""

import json
import pathlib
import re

import pytest
import scripts

import keras_coconut
from keras_coconut.methods import METHODS
from keras_coconut.problems import Problem

PROBLEM = Problem("start 3, +4", ["7"], "7")
TRAIN = "train_on_problems.py"
TABLE = "reproduce_table.py"


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A folder with problem files, where the scripts run."""
    monkeypatch.chdir(tmp_path)
    keras_coconut.write_problems("problems.json", [PROBLEM, PROBLEM])
    long = Problem("start " + 1_100 * "3", ["7"], "7")
    keras_coconut.write_problems("long.json", [PROBLEM, long])
    pathlib.Path("damaged.json").write_text('[{"question": ')
    pathlib.Path("empty.txt").write_text(" \n")
    pathlib.Path("used").mkdir()
    pathlib.Path("used/notes.txt").write_text("mine")
    return tmp_path


FROM_SCRATCH = "--problems problems.json --words ###,+"


# Refused before Keras is imported.
@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("", "--problems .*none"),
        ("problems.json", "flags only.*problems.json"),
        ("--problem_file x", "problem_file"),
        ("--problems nix.json --words a,b", "--problems=nix.json: .*exists"),
        (f"{FROM_SCRATCH} --test nix.json", "--test=nix.json: .*exists"),
        (f"{FROM_SCRATCH} --validation used", "--validation=used: .*file"),
        (f"{FROM_SCRATCH} --batch_size 0", "--batch_size=0: .*positive"),
        (f"{FROM_SCRATCH} --batch_size many", "--batch_size=many: .*whole"),
        (f"{FROM_SCRATCH} --limit 0", "--limit=0: .*positive"),
        (f"{FROM_SCRATCH} --epochs 0", "--epochs=0: .*positive"),
        (f"{FROM_SCRATCH} --max_stage -1", "--max_stage=-1: .*non-negative"),
        (f"{FROM_SCRATCH} --max_length 0", "--max_length=0: .*positive"),
        (f"{FROM_SCRATCH} --seed -1", "--seed=-1"),
        (f"{FROM_SCRATCH} --learning_rate 0", "--learning_rate=0.*above 0"),
        (f"{FROM_SCRATCH} --learning_rate nan", "--learning_rate=nan.*finite"),
        (f"{FROM_SCRATCH} --clipnorm -1", "--clipnorm=-1.0: .*above 0"),
        (f"{FROM_SCRATCH} --dropout 1", "--dropout=1.0: .*below 1"),
        (f"{FROM_SCRATCH} --mixing_probability 2", "--mixing_probability=2"),
        (f"{FROM_SCRATCH} --length_groups 0", "--length_groups=0"),
        (f"{FROM_SCRATCH} --dtype int8", "--dtype=int8: .*float32"),
        (f"{FROM_SCRATCH} --method words", "--method=words: .*no_cot"),
        (f"{FROM_SCRATCH} --num_heads 3", "--num_heads=3 .*--hidden_dim=128"),
        (f"{FROM_SCRATCH} --tokens_per_stage 2", "--tokens_per_stage .*icot"),
        (f"{FROM_SCRATCH} --lora_rank 2", "--lora_rank needs --preset"),
        (f"{FROM_SCRATCH} --preset x", "exactly one .*--preset and --words"),
        ("--problems problems.json", "exactly one of --preset.*none"),
        ("--problems problems.json --words nix.txt", "--words=nix.txt: .*file"),
        ("--problems problems.json --vocabulary used", "vocabulary.json and"),
        ("--problems problems.json --preset x --num_layers 2", "--num_layers"),
        (
            "--problems problems.json --preset x --dropout 0.5",
            "--dropout .*0.5",
        ),
        (
            "--problems problems.json --output o --preset o/preset",
            "--preset=o/preset and --output=o",
        ),
        (f"{FROM_SCRATCH} --output used", "--output .*used.*notes.txt"),
        (f"{FROM_SCRATCH} --output empty.txt/x", "--output .*empty.txt is not"),
        (
            f"{FROM_SCRATCH} --output empty.txt/x --overwrite",
            "--output .*empty.txt is not",
        ),
        ("--evaluate_only --problems problems.json", "no preset/config.json"),
        ("--evaluate_only", "--evaluate_only needs one .*neither"),
        (
            "--evaluate_only --problems problems.json --test problems.json",
            "--evaluate_only needs one .*both",
        ),
        (
            "--evaluate_only --problems problems.json --epochs 3",
            "--epochs is for training .*--epochs=3",
        ),
    ],
)
def test_training_flags(files, flags, expected):
    line = scripts.refused(TRAIN, *flags.split())
    assert re.search(expected, line), line
    assert len(line) < 500
    assert not (files / "runs").exists()
    assert (files / "used/notes.txt").read_text() == "mine"


def test_an_unknown_backend(files):
    for script in (TRAIN, TABLE):
        flags = FROM_SCRATCH.split() if script == TRAIN else []
        line = scripts.refused(script, *flags, KERAS_BACKEND="mxnet")
        assert "KERAS_BACKEND must be one of tensorflow, jax, torch" in line
        assert line.endswith("Received: mxnet")


def test_the_sections_of_the_help():
    printed = scripts.run(TRAIN, "--help")
    sections = ("problems", "model", "curriculum", "training", "asking")
    places = [printed.index(f"\n{section}:\n") for section in sections]
    assert places == sorted(places)
    model = printed[places[1] : places[2]]
    assert "--words" in model and "--[no]markers" in model
    assert "Title: Coconut on a file of problems" in printed


def test_files_that_training_cannot_use(files):
    # Keras is there by now, but no model was trained and no folder made.
    cases = {
        "--problems damaged.json --words ###,+": "--problems: .*damaged.json",
        "--problems long.json --words ###,+": "--problems: .*does not fit",
        f"{FROM_SCRATCH} --test long.json": "--test: .*1024 .*problem 2",
        f"{FROM_SCRATCH} --validation damaged.json": "--validation: .*damaged",
        f"{FROM_SCRATCH} --max_length 1024": "--problems: .*fit into 1024",
        "--problems problems.json --words empty.txt": "--words: .*one word",
        "--problems problems.json --preset nix": "--preset: .*nix",
        f"{FROM_SCRATCH} --method cot --max_stage 3": "--max_stage .*cot",
        f"{FROM_SCRATCH} --method pause --epochs_per_stage 3": (
            "--epochs_per_stage .*pause"
        ),
    }
    scripts.all_refused(TRAIN, cases)
    assert not (files / "runs").exists()


# Refused before Keras is imported.
@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("--methods words", "--methods=.*words.*no_cot"),
        ("--methods cot,cot", "--methods=.*only once"),
        ("--seeds 0,one", "--seeds=.*whole numbers"),
        ("--seeds 1,01", "--seeds=.*only once"),
        ("--seeds=", "--seeds=.*whole numbers"),
        ("--processes 0", "--processes=0: .*positive"),
        ("--backend mxnet", "--backend=mxnet: .*tensorflow"),
        ("--dataset words", "--dataset=words: .*prosqa"),
        ("--scale huge", "--scale=huge: .*tiny"),
        ("--folder nix", "--folder=nix: .*exists"),
        ("--output empty.txt/x", "--output .*empty.txt is not"),
        ("arithmetic", "flags only.*arithmetic"),
    ],
)
def test_table_flags(files, flags, expected):
    line = scripts.refused(TABLE, *flags.split())
    assert re.search(expected, line), line
    assert len(line) < 500
    assert not (files / "runs").exists()


def test_recipes_that_cannot_be_run(files):
    cases = {
        "--dataset prontoqa --scale small": "gsm8k_aug at paper.*at small",
        "--change epochs": "--change: .*NAME=VALUE.*epochs",
        "--change epoch=5": "--change: .*epochs.*'epoch'",
        "--change epochs=many": "--change: `epochs` .*whole.*'many'",
        "--change epochs=0": "--change: `epochs` .*at least 1.*=0",
        "--change epochs=3": "--change: .*last stage of coconut.*epochs=3",
        "--change epochs=20 --change epochs=30": "--change: .*each name once",
        "--change extra_stage=3": "--change: `extra_stage` .*true or false",
        "--change epochs_per_stage=[1,2.5]": "--change: .*a list, each entry",
        "--change reset_optimizer=now": '--change: .*"never".*now',
        "--change learning_rate=0": "--change: .*learning_rate.*above 0",
        "--change beta_2=1": "--change: .*beta_2.*below 1",
        "--change mixing_probability=2": "--change: .*mixing_probability",
        "--change heads=3": "--change: .*heads=3, hidden=128",
        '--change data={"trian":3}': "--change=data: .*trian",
        "--folder used": "--folder .*arithmetic.*no published",
        "--folder used --dataset prosqa": "--folder .*prosqa_train.json",
        '--folder used --dataset prosqa --change data={"train":3}': (
            "--change=data .*--folder=used"
        ),
        '--dataset gsm8k_aug --change data={"train":3}': "--change=data.*gsm8k",
        "--output used": "--output .*used.*notes.txt",
        "--output damaged": "damaged/configuration.json must be a whole JSON",
        "--output other": "--output .*other, made with an unknown",
    }
    for folder, text in (("damaged", "{"), ("other", "[]")):
        pathlib.Path(folder).mkdir()
        pathlib.Path(folder, "configuration.json").write_text(text)
    scripts.all_refused(TABLE, cases)
    assert not (files / "runs").exists()


def test_demo_flags(files):
    cases = {
        "--output used": "--output .*used.*notes.txt.*--overwrite",
        "--output empty.txt/x --overwrite": "--output .*empty.txt is not",
        "--epochs 1,2": "--epochs must be 4 .*1,2",
        "--epochs 1,2,3,0": "--epochs .*last of them.*1,2,3,0",
        "--epochs 1,2,3,x": "--epochs=.*whole numbers",
        "--chain_epochs 0": "--chain_epochs=0: .*positive",
        "--steps 0": "--steps=0: .*positive",
        "--test_problems 1": "--test_problems=1",
        "--train_problems 999999": "--train_problems, --test_problems: ",
        "now": "flags only.*now",
    }
    scripts.all_refused("arithmetic_demo.py", cases)
    assert not (files / "demo").exists()


@pytest.fixture
def examples(monkeypatch):
    monkeypatch.syspath_prepend(scripts.EXAMPLES)


def test_arguments_of_a_run(examples, tmp_path):
    import keras
    import table_run
    from absl import app

    configuration = {
        "dataset": "arithmetic",
        "scale": "tiny",
        "folder": None,
        "changes": {},
        "backend": keras.config.backend(),
    }
    path = tmp_path / "configuration.json"

    def refused(expected, *arguments, **changes):
        path.write_text(json.dumps({**configuration, **changes}))
        with pytest.raises(app.UsageError, match=expected):
            table_run.read_arguments(list(map(str, arguments)))

    refused("FOLDER METHOD SEED.*cot", "cot")
    refused("configuration.json.*No such file", tmp_path / "nix", "cot", 0)
    refused("METHOD .*no_cot.*words", tmp_path, "words", 0)
    refused("SEED .*one", tmp_path, "cot", "one")
    refused("KERAS_BACKEND must be mxnet", tmp_path, "cot", 0, backend="mxnet")
    path.write_text("[]")
    with pytest.raises(app.UsageError, match="FOLDER must hold"):
        table_run.read_arguments([str(tmp_path), "cot", "0"])
    path.write_text(json.dumps(configuration))
    folder, read, method, seed = table_run.read_arguments(
        [str(tmp_path), "cot", "0"]
    )
    assert (folder, method, seed) == (tmp_path, "cot", 0)
    assert read == configuration


def test_the_methods_that_flags_take(examples):
    import command_line

    assert command_line.METHODS == METHODS


def test_every_recipe_reaches_the_last_stage_of_every_method(examples):
    import table_recipes

    for recipe in table_recipes.RECIPES.values():
        for method in METHODS:
            table_recipes.check_last_stage(recipe, method)
    recipe = table_recipes.find_recipe("arithmetic", "tiny")
    late = table_recipes.change_recipe(recipe, {"evaluate_every": 11})
    with pytest.raises(ValueError, match="evaluate_every=11"):
        table_recipes.check_last_stage(late, "coconut")


def test_values_of_every_kind(examples):
    import table_recipes

    recipe = table_recipes.find_recipe("arithmetic", "tiny")
    changes = {
        "clipnorm": None,
        "learning_rate": 1,
        "preset": "gpt2_base_en",
        "markers": False,
        "epochs_per_stage": [1, 1, 1],
        "thought_kind": "pause",
    }
    changed = table_recipes.change_recipe(recipe, changes)
    assert changed.clipnorm is None and changed.learning_rate == 1
    assert changed.curriculum.epochs_per_stage == (1, 1, 1)
    for name, value in {
        "clipnorm": "none",
        "learning_rate": True,
        "preset": 3,
        "markers": "false",
        "epochs_per_stage": ["1"],
        "thought_kind": "words",
        "epochs": 2.5,
        "data": [],
    }.items():
        with pytest.raises(ValueError, match=f"`{name}` must be .*{name}="):
            table_recipes.change_recipe(recipe, {name: value})
