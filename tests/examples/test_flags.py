"""Wrong flags of the examples: one line that names them, before any work."""

import json
import pathlib
import re

import pytest
import scripts

import keras_coconut
from keras_coconut.methods import METHODS
from keras_coconut.problems import Problem

pytestmark = pytest.mark.any_backend

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


def test_training_flags(files):
    scratch = FROM_SCRATCH
    cases = {
        "": "--problems .*none",
        "problems.json": "flags only.*problems.json",
        "--problem_file x": "--problem_file is not.*mean --problems[?]",
        "--problems nix.json --words a,b": "--problems=nix.json: .*exists",
        f"{scratch} --markers false": "flags only.*--noNAME.*Received: false",
        f"{scratch} --markers=7": "--markers=7: must be true or false",
        f"{scratch} --test nix.json": "--test=nix.json: .*exists",
        f"{scratch} --validation used": "--validation=used: .*file",
        f"{scratch} --batch_size 0": "--batch_size=0: .*positive",
        f"{scratch} --batch_size many": "--batch_size=many: .*whole",
        f"{scratch} --accumulation 0": "--accumulation=0: .*positive",
        f"{scratch} --limit 0": "--limit=0: .*positive",
        f"{scratch} --epochs 0": "--epochs=0: .*positive",
        f"{scratch} --steps_per_epoch 0": "--steps_per_epoch=0: .*positive",
        f"{scratch} --num_iterations 0": "--num_iterations=0: .*positive",
        f"{scratch} --max_stage -1": "--max_stage=-1: .*non-negative",
        f"{scratch} --epochs_per_stage 1,x": "--epochs_per_stage=1,x: .*whole",
        f"{scratch} --max_length 0": "--max_length=0: .*positive",
        f"{scratch} --seed -1": "--seed=-1",
        f"{scratch} --learning_rate 0": "--learning_rate=0.*above 0",
        f"{scratch} --learning_rate nan": "--learning_rate=nan.*finite",
        f"{scratch} --weight_decay -1": "--weight_decay=-1.*at least 0",
        f"{scratch} --clipnorm -1": "--clipnorm=-1.0: .*above 0",
        f"{scratch} --dropout 1": "--dropout=1.0: .*below 1",
        f"{scratch} --mixing_probability 2": "--mixing_probability=2",
        f"{scratch} --length_groups 0": "--length_groups=0",
        f"{scratch} --dtype int8": "--dtype=int8: must be one of float32",
        f"{scratch} --separator tab": "--separator=tab: .*newline, space, none",
        f"{scratch} --method words": "--method=words: .*no_cot",
        f"{scratch} --num_heads 3": "--num_heads=3 .*--hidden_dim=128",
        f"{scratch} --family bert": "--family=bert: .*gpt2, opt",
        f"{scratch} --head_dim 8": "--head_dim .*left out.*gpt2.*mistral",
        f"{scratch} --num_key_value_heads 2": "--num_key_value_heads .*llama",
        f"{scratch} --family smollm3 --dropout 0.1": "--dropout .*smollm3",
        f"{scratch} --family llama --num_key_value_heads 3": (
            "--num_key_value_heads must divide --num_heads.*3 .*4"
        ),
        f"{scratch} --family llama --num_heads 128": "multiple of 2.* 1, of",
        f"{scratch} --family gpt_neo_x --num_heads 32": "multiple of 8.* 4, of",
        f"{scratch} --tokens_per_stage 2": "--tokens_per_stage .*icot",
        f"{scratch} --lora_rank 2": "--lora_rank needs --preset",
        f"{scratch} --lora_layers a": "--lora_layers needs --lora_rank",
        f"{scratch} --marker_tokens a,b,c": "--marker_tokens is for --preset",
        f"{scratch} --marker_tokens a,b,b": "--marker_tokens=.*three different",
        f"{scratch} --preset x": "exactly one .*--preset and --words",
        f"{scratch} --promote_after 2": "--promote_after needs --valid",
        f"{scratch} --promote_after 0": "--promote_after=0",
        f"{scratch} --on_trouble cry": "--on_trouble=cry: .*go_back",
        f"{scratch} --token_cache c": "--token_cache needs --test",
        f"{scratch} --token_cache c --limit 2": (
            "--limit must be left out with --token_cache"
        ),
        f"{scratch} --test problems.json --token_cache empty.txt/x": (
            "--token_cache must be .*empty.txt is not"
        ),
        "--problems problems.json": "exactly one of --preset.*none",
        "--problems problems.json --words nix.txt": "--words=nix.txt: .*file",
        "--problems problems.json --vocabulary used": "vocabulary.json and",
        "--problems problems.json --preset x --num_layers 2": "--num_layers",
        "--problems problems.json --preset x --family opt": "--family .*opt",
        "--problems problems.json --preset x --dropout 0.5": "--dropout .*0.5",
        "--problems problems.json --output o --preset o/preset": (
            "--preset=o/preset and --output=o"
        ),
        f"{scratch} --output=": "--output=: must be a folder",
        f"{scratch} --output used": "--output .*used.*notes.txt",
        f"{scratch} --output empty.txt/x": "--output .*empty.txt is not",
        f"{scratch} --output empty.txt/x --overwrite": (
            "--output .*empty.txt is not"
        ),
        "--evaluate_only --problems problems.json": "no preset/config.json",
        "--evaluate_only": "--evaluate_only needs one .*neither",
        "--evaluate_only --problems problems.json --test problems.json": (
            "--evaluate_only needs one .*both"
        ),
        "--evaluate_only --problems problems.json --epochs 3": (
            "--epochs is for training .*--epochs=3"
        ),
    }
    scripts.all_refused(TRAIN, cases)
    assert not (files / "runs").exists()
    assert (files / "used/notes.txt").read_text() == "mine"


def test_an_unknown_backend(files):
    for script in (TRAIN, TABLE):
        flags = FROM_SCRATCH.split() if script == TRAIN else []
        line = scripts.refused(script, *flags, KERAS_BACKEND="mxnet")
        assert "KERAS_BACKEND must be one of tensorflow, jax, torch" in line
        assert line.endswith("Received: mxnet")


def test_the_help():
    printed = scripts.run(TRAIN, "--help")
    titles = ("Data", "Model", "Model from scratch", "Curriculum", "Training")
    places = [printed.index(f"\n{title}\n") for title in titles]
    assert places == sorted(places)
    model = printed[places[1] : places[2]]
    # In the order of their definition, with a word for the value.
    assert re.search(
        "--preset PRESET.*--words FILE.*--.no.markers.*Default: true",
        model,
        re.S,
    )
    assert "Train on a problem file" in printed and "Author" not in printed
    assert "train_on_problems.py \\\n" in printed
    for line in printed.splitlines():
        assert len(line) <= 80, line


def refused_here(script, cases):
    """As `scripts.all_refused`, of what is known only with Keras."""
    with scripts.here(script) as call:
        for flags, expected in cases.items():
            line = call(*flags.split())
            assert line, f"not refused: {flags}"
            assert re.search(f"^{script}: .*{expected}", line), line
            assert "\n" not in line and len(line) < 800


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
        f"{FROM_SCRATCH} --sequence_length 9": "--problems: .*fit into 9",
        f"{FROM_SCRATCH} --epochs_per_stage 1,2": "epochs_per_stage.*7 stages",
        f"{FROM_SCRATCH} --one_thought_at_a_time": "thoughts_per_step.*least 2",
        f"{FROM_SCRATCH} --method cot --nopad_latent_to_max": (
            "--pad_latent_to_max .*cot"
        ),
        f"{FROM_SCRATCH} --method cot --max_stage 3": "--max_stage .*cot",
        f"{FROM_SCRATCH} --method pause --epochs_per_stage 3": (
            "--epochs_per_stage .*pause"
        ),
    }
    refused_here(TRAIN, cases)
    assert not (files / "runs").exists()


def test_table_flags(files):
    cases = {
        "--methods words": "--methods=words: .*some of coconut, cot, no_cot",
        "--methods cot,cot": "--methods=cot,cot: .*only once",
        "--methods=": "--methods=: .*at least one",
        "--method cot": "--method is not.*--methods[?]",
        "--seeds 0,one": "--seeds=.*whole numbers",
        "--seeds 1,01": "--seeds=.*only once",
        "--seeds=": "--seeds=.*whole numbers",
        "--seeds 4294967296": "--seeds=.*to 4294967295",
        "--processes 0": "--processes=0: .*positive",
        "--backend mxnet": "--backend=mxnet: .*tensorflow",
        "--dataset words": "--dataset=words: .*prosqa",
        "--scale huge": "--scale=huge: .*tiny",
        "--folder nix": "--folder=nix: .*exists",
        "--output empty.txt/x": "--output .*empty.txt is not",
        "--change epochs": "--change: .*NAME=VALUE.*epochs",
        "--change epochs=20 --change epochs=30": "--change: .*each name once",
        "arithmetic": "flags only.*arithmetic",
    }
    scripts.all_refused(TABLE, cases)
    assert not (files / "runs").exists()


def test_recipes_that_cannot_be_run(files):
    cases = {
        "--dataset prontoqa --scale small": "gsm8k_aug at paper.*at small",
        "--change epoch=5": "--change: .*epochs.*'epoch'",
        "--change epochs=many": "--change: `epochs` .*whole.*'many'",
        "--change epochs=0": "--change: `epochs` .*at least 1.*=0",
        "--change epochs=3": "--change: .*last stage of coconut.*epochs=3",
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
    refused_here(TABLE, cases)
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
        "now": "flags only.*now",
    }
    scripts.all_refused("arithmetic_demo.py", cases)
    assert not (files / "demo").exists()


def test_distributed_flags(files, monkeypatch):
    monkeypatch.delenv("KERAS_BACKEND")
    pathlib.Path("losses.json").write_text("[]")
    for backend in ("jax", "tensorflow", "torch"):
        cases = {
            "--device 2": "--device is not",
            "--steps 0": "--steps=0: .*positive",
            "--losses losses.json": "--losses must be a new file; --overwrite",
            "--losses nix/a.json": "--losses .*folder that exists",
            "--saves=": "--saves=: must be a folder",
            "--saves empty.txt/x": "--saves must be .*empty.txt is not",
            "2": "flags only.*2",
        }
        if backend != "torch":
            cases["--devices 3"] = "--batch_size must be a multiple of 3.*128"
        if backend == "jax":
            cases |= {
                "--coordinator a": "--coordinator=a: .*HOST:PORT",
                "--coordinator a:1 --process 0": "together.*no --processes",
                "--pod --coordinator a:1 --process 0 --processes 1": "--pod m",
                "--coordinator a:1 --process 2 --processes 2": (
                    "--process must be below.*=2 and --processes=2"
                ),
                "--devices 4 --model_parallel 3": "--model_parallel must",
            }
        scripts.all_refused(f"distributed_{backend}.py", cases)
    line = scripts.refused("distributed_jax.py", KERAS_BACKEND="torch")
    assert "KERAS_BACKEND must be jax or unset. Received: torch" in line
    assert pathlib.Path("losses.json").read_text() == "[]"


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
    late = table_recipes.change_recipe(recipe, {"evaluate_every": 9})
    with pytest.raises(ValueError, match="evaluate_every=9"):
        table_recipes.check_last_stage(late, "coconut")


def test_values_of_every_kind(examples):
    import table_recipes

    recipe = table_recipes.find_recipe("arithmetic", "tiny")
    changes = {
        "clipnorm": None,
        "learning_rate": 1,
        "preset": "gpt2_base_en",
        "markers": True,
        "epochs_per_stage": [1, 1, 1],
        "thought_kind": "pause",
    }
    changed = table_recipes.change_recipe(recipe, changes)
    assert changed.clipnorm is None and changed.learning_rate == 1
    assert changed.markers and not recipe.markers
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


def test_only_the_backend_of_the_runs_is_needed(files, monkeypatch):
    """Keras would take TensorFlow, as on an image that has JAX alone."""
    pathlib.Path("tensorflow.py").write_text("raise ImportError('missing')")
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    line = scripts.refused(
        TABLE,
        "--backend=torch",
        "--change=nix=1",
        PYTHONPATH=str(files),
        KERAS_HOME=str(files),
    )
    assert "--change: " in line and "nix" in line
