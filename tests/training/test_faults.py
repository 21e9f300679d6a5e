"""What may go wrong in a long run, and how each of it ends.

`FAULTS` says for each fault whether it ends in an error with a name or in a
right continuation, and which test shows it.
"""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys

import keras
import pytest
import tiny
from test_resumable_training import (
    CURRICULUM,
    STEPS,
    assert_same,
    make,
    train,
)

import keras_coconut

TESTS = pathlib.Path(__file__).parents[1]
CONTINUES, ERROR = "right continuation", "named error"
FAULTS = [
    ("killed in a step, in a save, behind a validation", CONTINUES,
     "training/test_resumable_training.py::test_killed_and_resumed"),
    ("half a save on the disk", CONTINUES,
     "training/test_saves.py::test_half_a_save_is_forgotten"),
    ("a bit of a save flipped, a save cut off", ERROR,
     "training/test_saves.py::test_a_damaged_save"),
    ("other problems, curriculum, model or optimizer", ERROR,
     "training/test_resumable_training.py::test_the_saves_of_another_run"),
    ("other settings of callbacks, other validation problems", ERROR,
     "training/test_resumed_state.py::"
     "test_other_settings_and_problems_are_refused"),
    ("a log that was cut", ERROR,
     "training/test_resumable_training.py::test_a_log_that_was_cut"),
    ("a second run in the folder", ERROR,
     "training/test_resumable_training.py::test_two_runs_in_one_folder"),
    ("a second driver of the table, and one that was killed", ERROR,
     "examples/test_examples.py::test_one_table_at_a_time"),
    ("a second driver of an example while the first answers", ERROR,
     "examples/test_train_on_problems.py::"
     "test_one_run_at_a_time_until_it_has_answered"),
    ("full disk: plot", ERROR,
     "analysis/test_plots.py::test_a_plot_is_whole_or_stays_what_it_was"),
    ("no best model, since none was finite", ERROR,
     "examples/test_train_on_problems.py::"
     "test_a_best_model_that_there_is_not"),
    ("a thread that still has to say something of a run that went back",
     CONTINUES,
     "training/test_health_monitor.py::"
     "test_calls_in_threads_end_with_the_run_that_made_them"),
    ("full disk: preset, problem file, save", ERROR,
     "training/test_faults.py::test_a_disk_that_is_full_or_read_only"),
    ("read-only folder", ERROR,
     "training/test_faults.py::test_a_disk_that_is_full_or_read_only"),
    ("a worker process that dies", ERROR,
     "training/test_faults.py::test_a_worker_that_dies"),
    ("Ctrl-C at a change of the stage", CONTINUES,
     "training/test_faults.py::test_ctrl_c_at_a_change_of_the_stage"),
    ("a loss that is not finite, a spike", CONTINUES,
     "training/test_health_monitor.py::"
     "test_what_goes_back_as_if_nothing_had_been_is_the_undisturbed_run"),
    ("weights that are not finite when a save is due", CONTINUES,
     "training/test_health_monitor.py::"
     "test_no_save_is_made_of_weights_that_are_not_finite"),
    ("a best model that is not finite", CONTINUES,
     "evaluation/test_answer_accuracy.py::"
     "test_a_model_that_is_not_finite_is_not_kept"),
    ("a problem file that changes while it is tokenized", ERROR,
     "text/test_tokenized_problems.py::test_a_file_that_changes_meanwhile"),
    ("damaged tokens in the cache", ERROR,
     "text/test_tokenized_problems.py::test_a_damaged_entry_is_named"),
    ("killed while problems are tokenized", CONTINUES,
     "text/test_tokenized_problems.py::"
     "test_what_a_killed_process_left_is_deleted"),
    ("batches that the devices cannot share", ERROR,
     "training/test_distribution.py::test_rows_that_devices_cannot_share"),
]  # fmt: skip


@pytest.mark.parametrize("place", sorted({place for *_, place in FAULTS}))
def test_each_fault_has_its_test(place):
    file, name = place.split("::")
    text = (TESTS / file).read_text()
    assert re.search(rf"^def {name}\(", text, re.MULTILINE)


@pytest.mark.thorough
def test_a_disk_that_is_full_or_read_only(tmp_path):
    """On a file system of three megabytes that this process alone sees."""
    if not hasattr(os, "posix_fallocate"):
        pytest.skip("only Linux lets a process have file systems of its own")
    done = subprocess.run(
        [sys.executable, TESTS / "training/faulty_disk.py", tmp_path],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    if "unshare" in done.stderr and "not permitted" in done.stderr:
        pytest.skip("no process here may have a file system of its own")
    assert not done.returncode, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    # Each says what it was that could not be written.
    assert "preset" in found["preset"] and found["preset"] != "nothing"
    assert "No space left" in found["problems"]
    assert "a save of the run could not be written" in found["run"]
    # What was there is what it was, and nothing else is.
    assert found["litter"] == []
    assert found["read"] == 3
    assert found["same"] and found["resumed"]
    for name in ("preset", "problems", "run", "best", "cache"):
        text = found[f"read_only_{name}"]
        assert re.search("Read-only file system|that you may write", text)
    # Before the first step.
    assert found["read_only_steps"] == found["read_only_litter"] == []


class Dying(keras_coconut.CurriculumDataset):
    """Its workers end at a batch, as if the system had killed them."""

    parent = os.getpid()
    at = None

    def __getitem__(self, index):
        if os.getpid() != self.parent and (self.epoch, index) == self.at:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_worker_that_dies(tmp_path):
    def run(at):
        keras.utils.set_random_seed(3)
        model = tiny.text_model(layers=1, dropout=0.2)
        dataset = Dying(
            tiny.problems(12),
            model.preprocessor,
            CURRICULUM,
            batch_size=4,
            workers=1,
            use_multiprocessing=True,
        )
        dataset.at = at
        tiny.compiled(model, keras.optimizers.AdamW(3e-2))
        return train(tmp_path, made=(model, dataset))

    # On TensorFlow an error of the pipeline quotes it.
    with pytest.raises(Exception, match="worker process.*ended.*batch"):
        run((3, 1))
    resumed, history = run(None)
    assert history.history["stage"] == [0, 0, 1, 1, 2, 2]
    assert int(resumed.optimizer.iterations) == 2 * STEPS


@pytest.mark.parametrize(
    "late", [False, pytest.param(True, marks=pytest.mark.thorough)]
)
def test_ctrl_c_at_a_change_of_the_stage(tmp_path, late):
    """Before and behind the scheduler, which starts the optimizer anew."""

    class Interrupt(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    def run(interrupt):
        model, dataset = make()
        scheduler = keras_coconut.CurriculumScheduler(dataset)
        if interrupt and not late:

            class Early(keras_coconut.CurriculumScheduler):
                def on_epoch_begin(self, epoch, logs=None):
                    if epoch == 2:
                        raise KeyboardInterrupt
                    super().on_epoch_begin(epoch, logs)

            scheduler = Early(dataset)
        callbacks = [scheduler, Interrupt()] if interrupt else [scheduler]
        history = model.fit(
            dataset,
            epochs=6,
            verbose=0,
            callbacks=[
                *callbacks,
                keras_coconut.ResumableTraining(
                    tmp_path, every=2, allow_changes="callbacks"
                ),
            ],
        )
        return model, history

    with pytest.raises(KeyboardInterrupt):
        run(True)
    resumed, history = run(False)
    undisturbed, expected = train(tmp_path / "undisturbed")
    assert history.history == expected.history
    assert_same(resumed, undisturbed)
