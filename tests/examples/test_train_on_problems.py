"""train_on_problems.py from start to end: trained, interrupted, asked again."""

import json
import shutil

import h5py
import keras
import numpy as np
import pytest
import scripts
import tiny

import keras_coconut

SCRIPT = "train_on_problems.py"

# Runs the script and presses Ctrl-C before a step of the whole run.
INTERRUPTED = """
import runpy, sys
step, script, *arguments = sys.argv[1:]
sys.path.insert(0, script.rpartition("/")[0])
import keras
steps = iter(range(int(step)))
def interrupt(self, batch, logs=None):
    if next(steps, None) is None:
        raise KeyboardInterrupt
keras.callbacks.CallbackList.on_train_batch_begin = interrupt
sys.argv = [script, *arguments]
runpy.run_path(script, run_name="__main__")
"""


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


def test_interrupted_resumed_finished_and_replaced(tmp_path, problems, words):
    output = tmp_path / "run"
    flags = flags_of(problems, words, output)
    interrupted = scripts.start(
        ["-c", INTERRUPTED, 4, scripts.EXAMPLES / SCRIPT, *flags]
        + ["--save_every=1"]
    )
    assert interrupted.returncode == 1, interrupted.stderr[-4000:]
    assert "Traceback" not in interrupted.stderr
    assert "interrupted in" in interrupted.stderr.splitlines()[-1]
    assert not (output / "predictions.json").exists()
    # Other flags or another file do not resume it; neither is it asked.
    line = scripts.refused(SCRIPT, *flags, "--seed=1")
    assert "made with seed=0 and not 1" in line
    text = words.read_text()
    words.write_text(text + "7\n")
    assert "sha256 of" in scripts.refused(SCRIPT, *flags)
    words.write_text(text)
    asking = [f"--problems={problems}", f"--output={output}"]
    line = scripts.refused(SCRIPT, "--evaluate_only", *asking)
    assert "was interrupted" in line

    printed = scripts.run(SCRIPT, *flags)
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
    line = scripts.refused(SCRIPT, *flags)
    assert "this run is finished" in line and "--overwrite" in line
    line = scripts.refused(SCRIPT, *flags, "--epochs=5")
    assert "made with epochs=None and not 5" in line
    assert (output / "predictions.json").read_text() == before
    printed = scripts.run(SCRIPT, *flags, "--overwrite")
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


def test_training_on_a_file_and_asking_again(tmp_path, problems):
    preset, output = tmp_path / "start", tmp_path / "run"
    tiny.text_model().save_to_preset(str(preset))
    asking = [f"--problems={problems}", "--limit=6", "--max_length=8"]
    printed = scripts.run(
        SCRIPT,
        *asking,
        f"--output={output}",
        f"--validation={problems}",
        f"--preset={preset}",
        "--max_stage=2",
        "--epochs_per_stage=1",
        "--batch_size=3",
    )
    assert "2 thoughts:" in printed and "0 thoughts:" in printed
    assert "val_answer_accuracy" in printed
    path = output / "predictions.json"
    report = json.loads(path.read_text())
    assert report["num_thoughts"] == 2
    assert report["made_by"]["flags"]["preset"] == str(preset)
    asked = tiny.problems(12)[:6]
    answers = report["predictions"]
    assert [a["question"] for a in answers] == [p.question for p in asked]
    assert [a["answer"] for a in answers] == [p.answer for p in asked]
    said = [a["prediction"].rpartition("#")[2].strip() for a in answers]
    assert [a["correct"] for a in answers] == [
        text == problem.answer for text, problem in zip(said, asked)
    ]
    assert report["accuracy"] == sum(a["correct"] for a in answers) / 6
    assert f"{report['accuracy_without_thoughts']:.1%}" in printed

    # The same model beside an answer of another model, and a file of others.
    tampered, damaged = tmp_path / "tampered", tmp_path / "damaged"
    for copy in (tampered, damaged):
        shutil.copytree(output, copy)
    answers[2]["prediction"] += "?"
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
    found = scripts.one_after_another(
        SCRIPT,
        [
            [*asking, f"--output={output}", "--evaluate_only", *case]
            for case in cases
        ],
    )
    printed, ends = zip(*found)
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


def test_lora(tmp_path, problems):
    preset, output = tmp_path / "start", tmp_path / "run"
    start = tiny.text_model()
    start.save_to_preset(str(preset))
    flags = [
        f"--problems={problems}",
        f"--preset={preset}",
        "--lora_rank=2",
        "--max_stage=0",
        "--epochs=1",
        "--batch_size=4",
        "--learning_rate=0.1",
        "--max_length=4",
        "--save_every=1",
        f"--output={output}",
    ]
    interrupted = scripts.start(
        ["-c", INTERRUPTED, 2, scripts.EXAMPLES / SCRIPT, *flags]
    )
    assert "interrupted in" in interrupted.stderr.splitlines()[-1]
    assert "resumes the run" in scripts.run(SCRIPT, *flags)
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
    assert changed == {"query", "value"}
