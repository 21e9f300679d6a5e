"""The callback that detects trouble in training, and may go back to a save."""

import logging
import math
import statistics
from typing import Any, Literal

import keras

from keras_coconut.checks import (
    check_choice,
    check_count,
    check_flag,
    check_number,
    shown,
)
from keras_coconut.execution import replicas
from keras_coconut.execution.optimizer_views import innermost
from keras_coconut.training.health_measures import LossNotes, measure_thoughts

_log = logging.getLogger("keras_coconut")

# Losses that are compared with, and how many of them are enough.
_WINDOW, _ENOUGH = 50, 10
# A loss near 0 may rise many times and mean nothing.
_LEAST_LOSS = 0.1
# Rows of a batch that are thought on, and problems that a message names.
_ROWS, _NAMED = 16, 32
_FIGURES = ("thought_norm", "thought_spread")


class TrainingTroubleError(RuntimeError):
    """The error of a training that went wrong: how, and on which problems.

    Example:
    ```python
    try:
        model.fit(dataset, callbacks=[keras_coconut.HealthMonitor("raise")])
    except keras_coconut.TrainingTroubleError as error:
        print(error)
    ```
    """


class GoBack(Exception):
    """Ends a `fit` that begins again from its last save."""


class HealthMonitor(keras.callbacks.Callback):
    """Detects trouble in training, names the batch, and may go back to a save.

    It reports a loss that is not finite; a loss that is `spike` times the
    median of the last 50 batches (counted as at least 0.1); weights that are
    not finite when a save is due; and thoughts whose norms explode, or that
    have the same direction for all problems. The logger `keras_coconut` then
    names the training step and the problems of its batch, by their indices in
    the dataset's `problems`.

    A loss is checked when the next training step begins, so that no device has
    to wait for it. The report names the batch and the one before it, because a
    step that ruins the weights shows in the loss of the next.

    Every `thoughts_every` training steps the monitor computes the thoughts of a
    few problems of the batch. `History` holds `thought_norm`, their mean norm,
    and `thought_spread`, from 0 to 1: 1 minus the squared length of the mean
    direction of a slot's thoughts, averaged over the slots. It is 0 if all
    problems have thoughts of the same direction.

    With `on_trouble="go_back"` the run continues from the last save of its
    `ResumableTraining` in the same `fit`, without the two batches and with a
    lower learning rate. If that save leads to trouble again, the run continues
    from the one before it. Later saves hold the lower learning rate. A run that
    is killed and started again forgets which batches it left out and how many
    times it went back.

    Args:
        on_trouble: `"warn"`, which continues; `"raise"`, which ends the `fit`
            with a `TrainingTroubleError`; or `"go_back"`. Defaults to `"warn"`.
        spike: float, above 1. Largest ratio of a loss to the median; `None`
            allows any. Defaults to `10.0`.
        thoughts_every: int. Training steps between two measurements of the
            thoughts; `None` takes none. Defaults to `200`.
        most_growth: float, above 1. Largest ratio of the mean norm of thoughts
            to the first one measured; `None` allows any. Defaults to `10.0`.
        least_spread: float, from 0 to 1. Smallest spread of the thoughts.
            Defaults to `1e-4`.
        rate_factor: float, above 0 and at most 1. Factor of the learning rate
            each time the run goes back. Defaults to `0.5`.
        skip_batches: bool. Whether the run leaves out the two batches when it
            goes back. Defaults to `True`.
        most_returns: int. Maximum number of times that a run may go back before
            it ends with an error. Defaults to `3`.

    Raises:
        ValueError: If an argument is invalid. When the `fit` begins: if it does
            not train on a `CurriculumDataset`; or, with `"go_back"`, if there
            is no `ResumableTraining`, or if a schedule or a
            `LearningRateScheduler` sets the learning rate and `rate_factor` is
            not 1.
        TrainingTroubleError: If training goes wrong with
            `on_trouble="raise"`, or after `most_returns` with `"go_back"`.

    Example:
    ```python
    model.fit(
        dataset,
        epochs=dataset.curriculum.num_epochs,
        callbacks=[
            keras_coconut.CurriculumScheduler(dataset),
            keras_coconut.ResumableTraining("runs/saves"),
            keras_coconut.HealthMonitor(on_trouble="go_back"),
        ],
    )
    ```
    """

    @property
    def async_safe(self) -> bool:
        # After a batch it only takes a note: no need to wait for the device.
        # Several processes must check the same losses before the same step.
        return replicas.num_processes() == 1

    def __init__(
        self,
        on_trouble: Literal["warn", "raise", "go_back"] = "warn",
        *,
        spike: float | None = 10.0,
        thoughts_every: int | None = 200,
        most_growth: float | None = 10.0,
        least_spread: float = 1e-4,
        rate_factor: float = 0.5,
        skip_batches: bool = True,
        most_returns: int = 3,
    ) -> None:
        super().__init__()
        self.on_trouble = check_choice(
            "on_trouble", on_trouble, ("warn", "raise", "go_back")
        )
        self.spike = spike
        if spike is not None:
            self.spike = check_number("spike", spike, above=1)
        self.thoughts_every = thoughts_every
        if thoughts_every is not None:
            self.thoughts_every = check_count(
                "thoughts_every", thoughts_every, least=1
            )
        self.most_growth = most_growth
        if most_growth is not None:
            self.most_growth = check_number("most_growth", most_growth, above=1)
        self.least_spread = check_number(
            "least_spread", least_spread, least=0, most=1
        )
        self.rate_factor = check_number(
            "rate_factor", rate_factor, above=0, most=1
        )
        self.skip_batches = check_flag("skip_batches", skip_batches)
        self.most_returns = check_count("most_returns", most_returns)
        self._begin()
        self._aftermath = _Aftermath()

    def _begin(self):
        """Forgets an earlier `fit`."""
        self._epoch = self._stage = None
        # Plain values, which `ResumableTraining` saves. Of the stage:
        self._losses = []
        # Of the epoch: steps that have begun and were not checked yet, the
        # first and the last batch of the two steps before them, batches so
        # far, and the sum of their losses.
        self._begun, self._last = [], []
        self._batches, self._sum = 0, 0.0
        self._warned = []
        # Of the run.
        self._first_norm = None
        self._figures = {}
        self._steps = 0
        self._notes = LossNotes()

    @property
    def skipped_steps(self) -> set[tuple[int, int]]:
        """The skipped training steps: the epoch and first batch of each."""
        return self._aftermath.skipped

    @property
    def returns_since_save(self) -> int:
        """Number of times that the run went back to the newest save."""
        return self._aftermath.returns_since_save

    @property
    def num_returns(self) -> int:
        """Number of times that the run went back."""
        return self._aftermath.returns

    # === Where Keras calls ===

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._begin()
        if not hasattr(self._dataset, "first_rows"):
            raise ValueError(
                "`HealthMonitor` needs a `fit` on a `CurriculumDataset`, whose "
                f"problems it can name. Received: {shown(self._dataset)}"
            )
        if self.on_trouble != "go_back":
            return
        if not getattr(self.model, "_resumes_runs", False):
            raise ValueError(
                "`callbacks` must hold a `ResumableTraining`, from whose saves "
                '`HealthMonitor(on_trouble="go_back")` resumes. Received: none'
            )
        if self.rate_factor != 1 and self._rate() is None:
            raise ValueError(
                "`rate_factor` must be 1 where the learning rate is a "
                f"schedule. Received: rate_factor={self.rate_factor}"
            )

    def on_epoch_begin(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        self._epoch = epoch
        self._notes.clear()
        self._begun, self._last = [], []
        self._batches, self._sum = 0, 0.0
        self._warned = []
        stage = (self._dataset.stage, self._dataset.num_thoughts)
        if stage != self._stage:
            # Newly hidden steps and new thoughts raise the loss at first.
            self._stage, self._losses = stage, []

    def on_train_batch_begin(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        self._look_at_losses()
        if self.thoughts_every is not None:
            if self._steps % self.thoughts_every == self.thoughts_every - 1:
                self._look_at_thoughts(batch)
        self._steps += 1
        self._begun = [*self._begun, batch]

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        self._notes.take(batch, (logs or {}).get("loss"))

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        self._look_at_losses()
        if not self._figures and self.thoughts_every is not None:
            self._look_at_thoughts(0)
        if logs is not None and self.thoughts_every is not None:
            # Without thoughts, too: a log file wants the same figures of all.
            logs.update(self._figures or dict.fromkeys(_FIGURES, math.nan))

    # === Where a run that is saved calls ===

    def begin_run(self, callbacks: list) -> None:
        """Resets the number of returns of an earlier `fit`.

        Args:
            callbacks: all callbacks of the `fit`.

        Raises:
            ValueError: If one of them sets the learning rate that a return
                lowers.
        """
        self._aftermath = _Aftermath()
        others = [
            type(each).__name__
            for each in callbacks
            if isinstance(each, keras.callbacks.LearningRateScheduler)
        ]
        if others and self.on_trouble == "go_back" and self.rate_factor != 1:
            raise ValueError(
                "`rate_factor` must be 1 where a callback sets the learning "
                f"rate. Received: rate_factor={self.rate_factor} and a "
                f"{others[0]}"
            )

    def before_save(self, not_finite: str | None) -> None:
        """Checks all training steps so far, so that no save holds a bad state.

        Args:
            not_finite: string, the path of a weight that is not finite, or
                `None`.
        """
        self._look_at_losses()
        if not_finite is not None:
            self._meet("weight", f"the weight {not_finite} is not finite")
        # It holds the learning rate as it is now.
        self._aftermath.returns_since_save = 0

    def after_restore(self) -> None:
        """Lowers the learning rate that a save has restored."""
        returns = self._aftermath.returns_since_save
        if returns and self.rate_factor != 1:
            rate = self._rate() * self.rate_factor**returns
            innermost(self.model.optimizer).learning_rate = rate

    # === Looking ===

    def _look_at_losses(self):
        """Checks the losses of the finished training steps, in order."""
        while self._begun:
            mean, stop = self._notes.of(self._begun)
            if stop is None:
                return  # A device, or a thread, is still at it.
            # Keras counts on where the last execution has fewer steps.
            stop = min(stop, len(self._dataset) - 1)
            first, *self._begun = self._begun
            self._last = [*self._last, (first, stop)][-2:]
            # Keras logs the mean of the epoch so far.
            batches = stop + 1 - first
            self._batches += batches
            total = mean * self._batches
            loss = (total - self._sum) / batches
            self._sum = total
            if not math.isfinite(mean):
                self._meet("loss", f"the loss is {mean}")
                # The mean of this epoch will never be finite again.
                self._sum = 0.0
                continue
            self._look_at_loss(loss)

    def _look_at_loss(self, loss):
        if self.spike is not None and len(self._losses) >= _ENOUGH:
            usual = max(statistics.median(self._losses), _LEAST_LOSS)
            if loss > self.spike * usual:
                self._meet(
                    "spike", f"the loss is {loss:.3g}, {usual:.3g} is usual"
                )
        self._losses = [*self._losses, loss][-_WINDOW:]

    def _look_at_thoughts(self, step):
        """Checks norms and directions of thoughts on a batch's problems."""
        model = self.model  # Brings the variables up to date on JAX.
        x = self._dataset.first_rows(step, _ROWS)
        mask = x["thought_mask"].astype(bool)
        if not mask.any():
            return
        norm, spread = measure_thoughts(model.predict_thoughts(x), mask)
        self._figures = dict(zip(_FIGURES, (norm, spread)))
        if self._first_norm is None:
            self._first_norm = norm
        if not math.isfinite(norm):
            self._meet("thought", "a thought is not finite")
        elif self.most_growth and norm > self.most_growth * self._first_norm:
            self._meet(
                "norm",
                f"the mean norm of thoughts is {norm:.3g}, "
                f"{self._first_norm:.3g} at first",
            )
        elif spread < self.least_spread:
            self._meet(
                "spread",
                f"the spread of thoughts is {spread:.2g}: they are nearly the "
                "same for all problems",
            )

    # === Acting ===

    def _meet(self, kind, what):
        """Reports what went wrong, and acts on `on_trouble`."""
        epoch = 0 if self._epoch is None else self._epoch
        text = f"epoch {epoch + 1}: {what}. {self._name(self._last)}"
        if self.on_trouble == "warn":
            # Once an epoch: what was not mended will be met again.
            if kind not in self._warned:
                self._warned = [*self._warned, kind]
                _log.warning("%s", text)
            return
        if self.on_trouble == "raise":
            raise TrainingTroubleError(text)
        aftermath = self._aftermath
        if aftermath.returns >= self.most_returns:
            raise TrainingTroubleError(
                f"{text}. The run has gone back {aftermath.returns} times, as "
                "often as `most_returns` allows"
            )
        _log.warning("%s. The run goes back to its last save", text)
        aftermath.returns += 1
        aftermath.returns_since_save += 1
        if self.skip_batches:
            aftermath.skipped |= {(epoch, first) for first, _ in self._last}
        raise GoBack

    def _name(self, steps):
        """Returns a text that names the problems of steps of this epoch."""
        parts = []
        for step in [
            step for first, stop in steps for step in range(first, stop + 1)
        ]:
            numbers = self._dataset.problem_numbers(step)
            listed = ", ".join(map(str, numbers[:_NAMED]))
            more = len(numbers) - _NAMED
            listed += f" and {more} more" if more > 0 else ""
            parts.append(f"step {step + 1} had the problems {listed}")
        return "; ".join(parts) or "No step of the epoch was taken"

    @property
    def _dataset(self):
        return getattr(self._model, "_training_dataset", None)

    def _rate(self):
        """Returns the learning rate; `None` if it is a schedule."""
        optimizer = innermost(self.model.optimizer)
        if not isinstance(optimizer.get_config()["learning_rate"], float):
            return None
        return float(keras.ops.convert_to_numpy(optimizer.learning_rate))


class _Aftermath:
    """What a run that goes back must remember. Not plain, so never saved."""

    def __init__(self):
        self.returns = self.returns_since_save = 0
        self.skipped = set()
