"""A `fit` that is saved while it runs, and resumes exactly."""

import contextlib
import datetime
import logging
import sys
import time
import zlib
from typing import Any

import keras

from keras_coconut.checks import refuse, shown
from keras_coconut.execution import replicas
from keras_coconut.execution.finite import first_not_finite
from keras_coconut.execution.optimizer_views import innermost
from keras_coconut.training import run_state
from keras_coconut.training.callback_state import (
    CallbackStates,
    cut_logs,
    log_sizes,
    this_process,
)
from keras_coconut.training.health_monitor import (
    GoBack,
    HealthMonitor,
    TrainingTroubleError,
)
from keras_coconut.training.resumable_training import ResumableTraining
from keras_coconut.training.saves import Saves

_log = logging.getLogger("keras_coconut")
# What a monitor says of the steps that a run goes back from.
_TROUBLES = (GoBack, TrainingTroubleError)


class SavedRun(keras.callbacks.CallbackList):
    """The callbacks of a `fit`, which saves it between training steps.

    A save must come before all callbacks when a step begins, and after all
    callbacks, `History` included, when an epoch ends. No single callback has
    these positions. In a resumed epoch Keras counts through the steps taken
    before; callbacks are not told of them, and the model skips them.

    A context manager, which releases the folder.

    Args:
        callbacks: list of callbacks, one of them a `ResumableTraining`.
        model: the `ContinuousThoughtLM` that is trained.
        dataset: the `CurriculumDataset` that it is trained on.
        epochs: int.
        verbose: see `keras.Model.fit`.
        described: what `run_state.describe_run` returned when the `fit` began.
    """

    _executor: Any  # Keras', of the threads that call callbacks.

    def __init__(self, callbacks, model, dataset, epochs, verbose, described):
        self._options = _only_one(callbacks)
        # Before a callback begins a log.
        self._logs_before = log_sizes(callbacks)
        self._dataset = dataset
        self._described = run_state.as_begun(
            described, model, self._options.folder
        )
        self._is_first = replicas.process_index() == 0
        if replicas.num_processes() > 1 and not isinstance(
            self._options.every, int
        ):
            raise refuse(
                "every",
                "a number of steps where several processes train together, "
                "whose clocks differ",
                self._options.every,
            )
        self._saves: Any = None  # Until the folder is open.
        self._restored: Any = None
        error: Exception | None = None
        try:
            self._saves = Saves(
                self._options.folder, self._options.keep, self._is_first
            )
            self._restored = self._saves.newest()
            if self._restored is not None:
                self._check(self._restored["described"])
        except (ValueError, OSError) as raised:
            error = raised
        try:
            self._agree(error)
            super().__init__(
                callbacks,
                add_history=True,
                add_progbar=verbose != 0,
                model=model,
                verbose=verbose,
                epochs=epochs,
                steps=len(dataset),
            )
        except BaseException:
            if self._saves is not None:
                self._saves.close()
            raise
        self._monitors = [c for c in callbacks if isinstance(c, HealthMonitor)]
        self._skipped = set().union(*(m.skipped_steps for m in self._monitors))
        self._told = False
        self._epoch = self._first_step = self._step = 0
        self._steps = 0  # Of the whole run.
        self._saved_steps, self._saved_at = 0, time.monotonic()

    def __enter__(self):
        self._model._resumes_runs = True
        return self

    def __exit__(self, kind, *_):
        try:
            self._end_threads(kind)
            if kind is GoBack:
                # What they remember of steps that count as not taken.
                self._states.reset()
                if any(m.returns_since_save > 1 for m in self._monitors):
                    self._saves.drop_newest()
            elif kind is not None:
                # A step that failed may have left JAX's optimizer without
                # values.
                with contextlib.suppress(Exception):
                    self._note_rates()
        finally:
            self._model._resumes_runs = False
            self._model._initial_epoch = None
            self._model.skips_step = self._model.leaves_step_out = False
            self._dataset.first_batch = 0
            self._saves.close()
        if kind is GoBack:
            # None shall read the folder before the first has written to it.
            replicas.numbers_of_all(0)

    def _end_threads(self, kind):
        """Waits for the calls that threads still make for this run.

        In the next run they would tell the same callbacks of steps that count
        as not taken.
        """
        if self._executor is None:
            return
        self._executor.shutdown()
        if kind is GoBack:
            # The `fit` goes on. Any other error has ended it.
            for future in self._futures:
                error = future.exception()
                if error and not isinstance(error, _TROUBLES):
                    raise error

    def _agree(self, error):
        """Raises an error where processes do not resume from the same save."""
        read = 0
        if not error:
            read = 1 + zlib.crc32(self._saves.newest_name().encode()) // 4
        found = replicas.numbers_of_all(read)
        if error:
            raise error
        if len(set(found)) > 1:
            raise ValueError(
                "`folder` must be one that all processes share, and of which "
                "none refuses what it holds. Received: "
                f"folder={self._options.folder!r}, in which they find "
                "different saves, or of which one has raised an error"
            )

    # === Where Keras calls ===

    def on_train_begin(self, logs=None):
        if keras.config.backend() == "tensorflow":
            # Elsewhere `fit` has made the metrics' variables by now.
            self._model._symbolic_build(data_batch=self._dataset[0])
        processes = self._saves.note(this_process())
        if self._restored is not None:
            self._check_variables(self._restored["model"])
            if self._is_first:
                cut_logs(
                    self.callbacks,
                    self._restored["logs"],
                    # Earlier versions kept no time.
                    self._restored.get("saved_at", 0.0),
                    processes,
                    self._logs_before,
                )
        super().on_train_begin(logs)
        self._states = CallbackStates(self.callbacks)
        if self._restored is None:
            self._save(0, 0)
            self._saves.wait()
        else:
            self._restore(self._restored)

    def on_epoch_begin(self, epoch, logs=None):
        super().on_epoch_begin(epoch, logs)
        self._note_rates()
        self._epoch, self._first_step = epoch, 0
        if self._restored is not None:
            self._first_step = self._restored["step"]
            self._dataset.first_batch = self._first_step

    def on_train_batch_begin(self, batch, logs=None):
        self._model.skips_step = batch < self._first_step
        if self._model.skips_step:
            return
        left_out = (self._epoch, batch) in self._skipped
        self._model.skips_step = self._model.leaves_step_out = left_out
        if self._restored is not None:
            if batch:
                # Again, because what runs at the start of an epoch, and may
                # reset or draw something, ran before the save.
                self._give(self._restored)
                model = self._options.model
                run_state.give_metrics(model, self._restored["model"])
            self._restored = None
        if self._model.skips_step:
            return
        self._step = batch
        # Not before the first: what begins an epoch would do so twice.
        if batch and self._is_due():
            self._save(self._epoch, batch)
        super().on_train_batch_begin(batch, logs)

    def on_train_batch_end(self, batch, logs=None):
        if self._model.skips_step:
            return
        # Keras counts on where the last execution has fewer steps.
        self._steps += min(batch + 1, len(self._dataset)) - self._step
        super().on_train_batch_end(batch, logs)

    def on_epoch_end(self, epoch, logs=None):
        self._dataset.first_batch = 0
        self._restored = None
        super().on_epoch_end(epoch, logs)
        self._note_rates()
        ends = epoch + 1 == self.params["epochs"] or self._model.stop_training
        if ends or self._is_due():
            self._save(epoch + 1, 0)
        if ends:
            self._saves.wait()

    # === Saving ===

    def _note_rates(self):
        # Where an epoch begins or ends, and where it is broken off: within it,
        # JAX has the variables.
        model, folder = self._options.model, self._options.folder
        run_state.note_rates(self._described, model, folder)

    def _is_due(self):
        if isinstance(self._options.every, datetime.timedelta):
            passed = time.monotonic() - self._saved_at
            return passed >= self._options.every.total_seconds()
        return self._steps - self._saved_steps >= self._options.every

    def _save(self, epoch, step):
        if self._async_train:
            self._flush_futures()
        # The property of a callback brings the variables up to date on JAX.
        model = self._options.model
        self._saved_steps, self._saved_at = self._steps, time.monotonic()
        not_finite = first_not_finite(model)
        for monitor in self._monitors:
            monitor.before_save(not_finite)
        if not_finite is not None:
            if not self._told:
                _log.warning(
                    "the run is not saved any more, so that its last good save "
                    "stays: the weight %s is not finite",
                    not_finite,
                )
            self._told = True
            return
        self._saves.write(
            self._steps,
            {
                "described": self._described,
                "epoch": epoch,
                "step": step,
                "steps": self._steps,
                "saved_at": time.time(),
                "stopped": bool(model.stop_training),
                "model": run_state.take_model(model, keep=self._is_first),
                "random": run_state.take_random(),
                "callbacks": self._states.get(),
                "logs": log_sizes(self.callbacks),
            },
        )

    # === Resuming ===

    def _check(self, saved):
        """Raises a `ValueError` for the save of another run."""
        found = run_state.differences(saved, self._described)
        for name in self._options.allow_changes:
            found.pop(name, None)
        if found:
            raise ValueError(
                f"`folder` must hold the saves of this run, to resume it. "
                f"Received: folder={self._options.folder!r}, where "
                f"{'; '.join(found.values())}. Choose another folder, delete "
                "this one to begin anew, or name what may differ in "
                f"`allow_changes`: {', '.join(found)}"
            )

    def _check_variables(self, saved):
        model, step = self._options.model, self._restored["step"]
        wrong = run_state.differing_variables(model, saved)
        if wrong is None and step >= len(self._dataset):
            wrong = (
                f"a save before step {step + 1} of an epoch, which has "
                f"{len(self._dataset)} now"
            )
        if wrong is None and step % model.steps_per_execution:
            wrong = (
                f"a save after step {step} of an epoch, which is no multiple "
                f"of `steps_per_execution`={model.steps_per_execution}"
            )
        if wrong:
            raise ValueError(
                "`folder` must hold the saves of such a run. Received: "
                f"folder={self._options.folder!r}, with {wrong}"
            )

    def _restore(self, saved):
        model, epochs = self._options.model, self.params["epochs"]
        self._give(saved)
        self._steps = self._saved_steps = saved["steps"]
        model._initial_epoch = epochs if saved["stopped"] else saved["epoch"]
        if model._initial_epoch >= epochs:
            # No epoch begins, which would set the stage.
            for callback in self.callbacks:
                if getattr(callback, "_sets_stages", False):
                    callback.show_stage()
        if not self._is_first:
            return
        said = (
            f"resumes epoch {saved['epoch'] + 1} at step {saved['step'] + 1} "
            f"from {self._options.folder}"
        )
        if model._initial_epoch >= epochs:
            ended = "stopped early" if saved["stopped"] else "finished"
            said = (
                f"the run in {self._options.folder} has {ended}, in epoch "
                f"{saved['epoch']}; its model is restored and not trained again"
            )
        print(f"keras_coconut: {said}", file=sys.stderr, flush=True)

    def _give(self, saved):
        model = self._options.model
        run_state.give_model(model, saved["model"])
        rate, before = (
            run_state.described_rate(each["optimizer"])
            for each in (self._described, saved["described"])
        )
        if rate is not None and rate != before:
            # It may differ: a learning rate that was changed is wanted.
            innermost(model.optimizer).learning_rate = rate
        self._states.set(saved["callbacks"])
        run_state.give_random(saved["random"])
        for monitor in self._monitors:
            monitor.after_restore()


def _only_one(callbacks):
    found = [c for c in callbacks if isinstance(c, ResumableTraining)]
    others = [
        type(callback).__name__
        for callback in callbacks
        if isinstance(callback, keras.callbacks.BackupAndRestore)
    ]
    if len(found) != 1 or others:
        names = ["ResumableTraining"] * len(found) + others
        raise ValueError(
            "`callbacks` must hold one callback that resumes a run. Received: "
            f"{', '.join(names)}"
        )
    return found[0]


def resumable(callbacks) -> bool:
    """Returns whether callbacks given to `fit` hold a `ResumableTraining`."""
    in_a_list = isinstance(callbacks, keras.callbacks.CallbackList)
    every = callbacks.callbacks if in_a_list else callbacks
    every = every if isinstance(every, list | tuple) else [every]
    found = any(isinstance(each, ResumableTraining) for each in every)
    if found and in_a_list:
        raise refuse(
            "callbacks",
            "a list with `ResumableTraining`, not a `CallbackList`",
            shown(callbacks),
        )
    return found
