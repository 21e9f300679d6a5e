"""train_on_problems.py from start to end: trained, interrupted, asked again."""

import json
import re
import shutil

import h5py
import keras
import numpy as np
import pytest
import scripts
import tiny

import keras_coconut
from keras_coconut.backbones.families import FAMILIES

SCRIPT = "train_on_problems.py"


@pytest.fixture(scope="module")
def train():
    """The script in this process: a function of its flags."""
    with scripts.here(SCRIPT) as call:
        yield call


@pytest.fixture
def ctrl_c(monkeypatch):
    """A function that presses Ctrl-C before a step of the next run."""

    def press(step):
        steps = iter(range(step))
        begin = keras.callbacks.CallbackList.on_train_batch_begin

        def interrupt(self, batch, logs=None):
            if next(steps, None) is None:
                raise KeyboardInterrupt
            begin(self, batch, logs)

        monkeypatch.setattr(
            keras.callbacks.CallbackList, "on_train_batch_begin", interrupt
        )

    yield press


@pytest.fixture
def problems(tmp_path):
    path = tmp_path / "problems.jsonl"
    keras_coconut.write_problems(path, tiny.problems(12))
    return path


@pytest.fixture
def words(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("### \nstart\n +\n -\n *\n")
    return path


def flags_of(problems, words, output):
    return [
        f"--problems={problems}",
        f"--words={words}",
        "--nomarkers",
        "--method=pause_as_thought",
        "--num_layers=1",
        "--num_heads=2",
        "--hidden_dim=16",
        "--max_stage=2",
        "--epochs_per_stage=1",
        "--mixing_probability=0.5",
        "--length_groups=2",
        "--batch_size=4",
        "--learning_rate=0.01",
        "--max_length=6",
        f"--output={output}",
    ]


def weights(folder):
    """The weights of a saved model by name."""
    found = {}
    with h5py.File(folder / "preset/model.weights.h5") as file:
        file.visititems(
            lambda name, item: (
                found.update({name: np.array(item)})
                if isinstance(item, h5py.Dataset)
                else None
            )
        )
    return found


@pytest.mark.any_backend
def test_interrupted_resumed_finished_and_replaced(
    tmp_path, problems, words, train, ctrl_c, monkeypatch, capsys
):
    output = tmp_path / "run"
    flags = flags_of(problems, words, output)
    ctrl_c(4)
    end = train(*flags, "--save_every=1")
    monkeypatch.undo()
    assert f"interrupted in {output}: the same flags resume it" in end
    assert not (output / "predictions.json").exists()
    # Other flags or another file do not resume it; neither does it answer.
    assert "made with seed=0 and not 1" in train(*flags, "--seed=1")
    text = words.read_text()
    words.write_text(text + "7\n")
    assert "sha256 of" in train(*flags)
    words.write_text(text)
    asking = [f"--problems={problems}", f"--output={output}"]
    assert "was interrupted" in train("--evaluate_only", *asking)
    # Another process ends the same run while this one still imports Keras.
    import problem_training

    def end_elsewhere(self, problems, flag):
        (output / "predictions.json").write_text("{}")

    with monkeypatch.context() as patch:
        patch.setattr(problem_training.Training, "check_asked", end_elsewhere)
        assert "this run is finished" in train(*flags)
    assert (output / "predictions.json").read_text() == "{}"
    (output / "predictions.json").unlink()

    capsys.readouterr()
    assert train(*flags) is None
    printed = capsys.readouterr().out
    assert "resumes the run" in printed
    # Of three steps each; the second step of epoch 2 was saved.
    assert "Epoch 1/4" not in printed and "Epoch 2/4" in printed
    assert not (output / "saves").exists()
    resumed = weights(output)
    model = keras_coconut.ContinuousThoughtLM.from_preset(
        str(output / "preset")
    )
    assert model.thought_kind == "pause" and model.num_thoughts == 2
    assert model.preprocessor.markers is False
    assert len(model.preprocessor.tokenizer("### start +")) == 3

    # What the user keeps there stays, whatever happens.
    kept = [output / "notes.txt", output / "preset/notes.txt"]
    for path in kept:
        path.write_text("mine")
    before = (output / "predictions.json").read_text()
    line = train(*flags)
    assert "this run is finished" in line and "--overwrite" in line
    line = train(*flags, "--epochs=5")
    assert "made with epochs=None and not 5" in line
    assert (output / "predictions.json").read_text() == before
    capsys.readouterr()
    assert train(*flags, "--overwrite") is None
    printed = capsys.readouterr().out
    assert f"--overwrite: replaces in {output}: configuration.json" in printed
    assert "preset/config.json" in printed and "notes.txt" not in printed
    assert "Epoch 1/4" in printed
    for path in kept:
        assert path.read_text() == "mine"
    # The resumed run has trained as one that nothing interrupted.
    whole = weights(output)
    assert whole and set(whole) == set(resumed)
    for name, value in resumed.items():
        np.testing.assert_allclose(value, whole[name], atol=1e-6)


@pytest.mark.any_backend
def test_one_run_at_a_time_until_it_has_answered(
    tmp_path, problems, words, train, monkeypatch
):
    import problem_predictions
    import problem_training

    output, ends = tmp_path / "run", []
    flags = [*flags_of(problems, words, output), "--steps_per_epoch=1"]
    asking = [f"--problems={problems}", f"--output={output}", "--max_length=6"]
    evaluate = problem_predictions.evaluate

    def meanwhile(*args):
        if not ends:
            ends.append(train(*flags))
            ends.append(train(*flags, "--overwrite"))
        return evaluate(*args)

    monkeypatch.setattr(problem_predictions, "evaluate", meanwhile)
    with monkeypatch.context() as patch:
        # As if it were killed with its answers written.
        patch.setattr(
            problem_training.Training, "remove_saves", lambda self: None
        )
        assert train(*flags) is None
    for end in ends:
        assert "--output must be a folder that no other train_on_pro" in end
    # The saves that nobody removed go with the next call.
    for call in (flags, [*asking, "--evaluate_only"]):
        (output / "saves").mkdir(exist_ok=True)
        (output / "saves/save-left.save").write_text("")
        end = train(*call)
        assert end is None or "this run is finished" in end
        assert not (output / "saves").exists()
    assert (output / "predictions.json").exists()


@pytest.mark.any_backend
def test_a_best_model_that_there_is_not(
    tmp_path, problems, words, train, monkeypatch
):
    from keras_coconut.evaluation import answer_accuracy

    flags = [
        f"--problems={problems}",
        f"--validation={problems}",
        "--limit=4",
        f"--words={words}",
        "--hidden_dim=16",
        "--num_layers=1",
        "--max_length=2",
        "--max_stage=1",
        "--noextra_stage",
        "--thoughts_per_step=2",
        "--one_thought_at_a_time",
        "--epochs_per_stage=2",
    ]
    # The last stage has one thought of two: the last model is kept.
    short = tmp_path / "short"
    assert train(*flags, "--epochs=3", f"--output={short}") is None
    assert (short / "preset/config.json").exists()
    assert not (short / "preset/validation.json").exists()
    monkeypatch.setattr(answer_accuracy, "first_not_finite", lambda model: "w")
    end = train(*flags, "--epochs=4", f"--output={tmp_path / 'ruined'}")
    assert "no model of the last stage was kept" in end
    assert "evaluate_only" not in end
    # Its answers choose the model: not of another length.
    end = train(
        *flags,
        "--epochs=4",
        "--max_length=3",
        f"--output={tmp_path / 'ruined'}",
    )
    assert "made with max_length=2 and not 3" in end


@pytest.mark.any_backend
def test_json_is_written_under_a_name_of_its_own(tmp_path, train):
    import output_folder

    other = tmp_path / "a.json.partial"
    other.write_text("another writer's")
    output_folder.write_json(tmp_path / "a.json", {"ü": 1})
    assert other.read_text() == "another writer's"
    assert output_folder.read_json(tmp_path / "a.json") == {"ü": 1}


def test_training_on_a_file_and_answering_again(
    tmp_path, problems, train, capsys
):
    """On every backend; the other tests of the script need only one."""
    preset, output = tmp_path / "start", tmp_path / "run"
    tiny.text_model(layers=1).save_to_preset(str(preset))
    asking = [f"--problems={problems}", "--limit=6", "--max_length=8"]
    asking += [f"--output={output}", "--batch_size=6"]
    end = train(
        *asking,
        f"--validation={problems}",
        f"--preset={preset}",
        "--max_stage=1",
        "--noextra_stage",
        "--epochs_per_stage=2",
        "--initial_epochs=1",
        "--promote_after=1",
    )
    assert end is None
    printed = capsys.readouterr().out
    assert "1 thoughts:" in printed and "0 thoughts:" in printed
    assert "val_answer_accuracy" in printed
    report = json.loads((output / "predictions.json").read_text())
    assert report["num_thoughts"] == 1
    assert report["made_by"]["flags"]["preset"] == str(preset)
    check_rows(report, tiny.problems(12)[:6])
    assert f"{report['accuracy_without_thoughts']:.1%}" in printed
    assert train(*asking, "--evaluate_only") is None
    assert "same answers as before: True" in capsys.readouterr().out


def check_rows(report, asked):
    """Compares a predictions.json with the problems that it answers."""
    rows = report["predictions"]
    assert [row["question"] for row in rows] == [p.question for p in asked]
    assert [row["answer"] for row in rows] == [p.answer for p in asked]
    said = [row["prediction"].rpartition("#")[2] for row in rows]
    said = [text.replace(",", "").strip() for text in said]
    assert [row["extracted"] for row in rows] == said
    assert [row["correct"] for row in rows] == [
        text == problem.answer for text, problem in zip(said, asked)
    ]
    correct = sum(row["correct"] for row in rows)
    assert report["accuracy"] == correct / len(asked)


@pytest.mark.any_backend
def test_answering_beside_other_answers(tmp_path, problems, train, capsys):
    output = tmp_path / "run"
    asking = [f"--problems={problems}", "--limit=6", "--max_length=8"]
    training = ["--words=###,+", "--hidden_dim=16", "--max_stage=0"]
    training += ["--noextra_stage", "--epochs=1", f"--output={output}"]
    assert train(*asking, *training) is None
    path = output / "predictions.json"
    report = json.loads(path.read_text())
    capsys.readouterr()

    # The same model beside an answer of another model, and a file of others.
    tampered, damaged = tmp_path / "tampered", tmp_path / "damaged"
    for copy in (tampered, damaged):
        shutil.copytree(output, copy)
    report["predictions"][2]["prediction"] += "?"
    (tampered / "predictions.json").write_text(json.dumps(report))
    (damaged / "predictions.json").write_text("[]")
    cases = [
        [],
        [f"--output={tampered}"],
        ["--max_length=4"],
        ["--limit=5"],
        [f"--output={damaged}"],
        ["--max_length=4", "--overwrite"],
    ]
    before = path.read_text()
    ends, printed = [], []
    for case in cases:
        ends.append(
            train(*asking, f"--output={output}", "--evaluate_only", *case)
        )
        printed.append(capsys.readouterr().out)
        if case != cases[-1]:
            assert path.read_text() == before
    assert "same answers as before: True" in printed[0]
    assert "same answers as before: False" in printed[1]
    assert "1 of 6 differ" in printed[1]
    assert "--max_length=8 and not 4; --overwrite replaces it" in ends[2]
    assert "made with other problems than those of --problems" in ends[3]
    for index in (2, 3):
        # Nothing was generated for it.
        assert "thoughts:" not in printed[index]
    assert f"{damaged}/predictions.json must hold what" in ends[4]
    assert "not compared" in printed[5] and "same answers" not in printed[5]
    assert ends[0] is ends[1] is ends[5] is None
    assert json.loads((tampered / "predictions.json").read_text()) == report
    report, old = json.loads(path.read_text()), json.loads(before)
    assert report["made_by"]["flags"]["max_length"] == 4
    assert old["made_by"]["flags"]["max_length"] == 8


@pytest.mark.any_backend
def test_lora(tmp_path, problems, train, ctrl_c, monkeypatch, capsys):
    preset, output = tmp_path / "start", tmp_path / "run"
    start = tiny.text_model()
    start.save_to_preset(str(preset))
    flags = [
        f"--problems={problems}",
        f"--preset={preset}",
        "--lora_rank=2",
        "--lora_layers=key,feedforward_output_dense",
        "--max_stage=0",
        "--noextra_stage",
        "--epochs=1",
        "--batch_size=4",
        "--learning_rate=0.1",
        "--max_length=4",
        "--save_every=1",
        f"--test={problems}",
        f"--token_cache={tmp_path / 'cache'}",
        "--on_trouble=go_back",
        f"--output={output}",
    ]
    line = train(*flags, "--lora_layers=key,keys")
    assert re.search("--lora_layers must be some of .*query.*: keys", line)
    ctrl_c(2)
    assert "interrupted in" in train(*flags)
    monkeypatch.undo()
    assert train(*flags) is None
    assert "resumes the run" in capsys.readouterr().out
    trained = keras_coconut.ContinuousThoughtLM.from_preset(
        str(output / "preset")
    )
    changed = {
        old.path.split("/")[-2]
        for old, new in zip(start.backbone.weights, trained.backbone.weights)
        if not np.array_equal(
            keras.ops.convert_to_numpy(old), keras.ops.convert_to_numpy(new)
        )
    }
    assert changed == {"key", "feedforward_output_dense"}


@pytest.mark.any_backend
def test_flags_reach_the_model_and_its_training(
    tmp_path, problems, train, monkeypatch
):
    """With words of the problems, of which every one is a token."""
    output, compiled = tmp_path / "run", {}
    compile = keras_coconut.ContinuousThoughtLM.compile

    def note(self, *args, **kwargs):
        if args:
            compiled.update(args[0].get_config())
        compile(self, *args, **kwargs)

    monkeypatch.setattr(keras_coconut.ContinuousThoughtLM, "compile", note)
    flags = {
        "problems": problems,
        "limit": 4,
        "words": "auto",
        "separator": "none",
        "sequence_length": 50,
        "num_iterations": 2,
        "family": "mistral",
        "num_layers": 1,
        "num_heads": 4,
        "num_key_value_heads": 2,
        "hidden_dim": 16,
        "head_dim": 6,
        "intermediate_dim": 20,
        "method": "no_curriculum",
        "max_stage": 1,
        "thoughts_per_step": 2,
        "epochs": 1,
        "steps_per_epoch": 1,
        "batch_size": 2,
        "accumulation": 2,
        "weight_decay": 0.5,
        "max_length": 2,
        "output": output,
    }
    assert (
        train("--rematerialize", *[f"--{n}={v}" for n, v in flags.items()])
        is None
    )
    model = keras_coconut.ContinuousThoughtLM.from_preset(
        str(output / "preset")
    )
    assert (model.num_thoughts, model.num_iterations) == (2, 2)
    assert model.rematerialize
    assert len(model.preprocessor.tokenizer("start")) == 1
    assert model.preprocessor.separator == ""
    assert model.preprocessor.sequence_length == 50
    config = model.backbone.get_config()
    assert type(model.backbone).__name__ == "MistralBackbone"
    for name in ("num_layers", "num_key_value_heads", "hidden_dim", "head_dim"):
        assert config[name] == flags[name]
    assert config["num_query_heads"] == 4 and config["intermediate_dim"] == 20
    assert compiled["gradient_accumulation_steps"] == 2
    assert compiled["weight_decay"] == 0.5
    # Another run from it lays out its text in another way.
    more = [f"--problems={problems}", f"--preset={output / 'preset'}"]
    other = tmp_path / "other"
    more += ["--max_stage=0", "--noextra_stage", "--epochs=1"]
    assert train(*more, f"--output={other}", "--separator=space") is None
    model = keras_coconut.ContinuousThoughtLM.from_preset(other / "preset")
    assert model.preprocessor.separator == " "


@pytest.mark.any_backend
def test_every_family_from_scratch(train):
    """What is made from the flags answers, and is saved and read."""
    import scratch_families
    from absl import flags
    from absl.testing import flagsaver

    tokenizer = keras_coconut.ContinuousThoughtPreprocessor(
        tiny.text_model().preprocessor.tokenizer
    ).tokenizer
    # Those of the library, but for Gemma 2, which is a kind of Gemma.
    named = {f.backbone for f in scratch_families.FAMILIES.values()}
    assert {kind.__name__ for kind in FAMILIES} <= named
    for name, family in scratch_families.FAMILIES.items():
        with flagsaver.flagsaver():
            asked = ["", f"--family={name}", "--hidden_dim=32", "--num_heads=4"]
            if "num_key_value_heads" in family.takes:
                asked.append("--num_key_value_heads=2")
            if "head_dim" in family.takes:
                asked.append("--head_dim=6")
            flags.FLAGS(asked)
            scratch_families.check_sizes()
            backbone = scratch_families.make_backbone(
                tokenizer.vocabulary_size()
            )
        assert type(backbone).__name__ == family.backbone
        model = keras_coconut.ContinuousThoughtLM(
            backbone, keras_coconut.ContinuousThoughtPreprocessor(tokenizer)
        )
        assert isinstance(
            model.generate("start 3", num_thoughts=1, max_length=2), str
        )
