"""The callback that changes the stage within one `fit()`."""

import math
import warnings
from typing import Any, Literal

import keras

from keras_coconut.checks import (
    check_choice,
    check_count,
    check_instance,
    check_string,
    check_text,
    shown,
)
from keras_coconut.curriculum import Curriculum
from keras_coconut.execution import replicas
from keras_coconut.execution.optimizer_views import innermost
from keras_coconut.training.curriculum_dataset import CurriculumDataset


class CurriculumScheduler(keras.callbacks.Callback):
    """Moves a `CurriculumDataset` from stage to stage during one `fit()`.

    At the start of an epoch it sets the dataset's stage and the model's
    `num_thoughts` and `thought_kind`, and resets the optimizer if the stage
    changes. `fit` calls it first, wherever it is in the list of callbacks; a
    `keras.callbacks.CallbackList` keeps its own order, so put it first there.
    The stage depends only on the epoch, so a run that is resumed by
    `ResumableTraining` or with `initial_epoch` continues in its stage. With
    `promote_after`, only `ResumableTraining` restores the stage. The progress
    bar and `History` show `stage` and `thoughts`.

    Args:
        dataset: the `CurriculumDataset` that `fit` trains on.
        validation_dataset: a `CurriculumDataset` that follows the same stages,
            passed to `fit` as `validation_data`. Optional.
        reset_optimizer: when to reset the optimizer's state: `"stage"`, at each
            change of stage; `"epoch"`, at each epoch, as the published code
            does; or `"never"`. The learning rate stays the same; a schedule
            restarts. Defaults to `"stage"`.
        promote_after: int. The next stage begins early after this many
            consecutive epochs in which `monitor` did not improve on its best
            value in the stage, but not before the stage has all of its
            thoughts. `Curriculum.epochs_per_stage` is then the maximum number
            of epochs of a stage, and the last stage gets the remaining epochs.
            Defaults to `None`: the stage depends only on the epoch.
        monitor: string, a key of `History`. Lower is better if it ends in
            `loss`, else higher. Defaults to `"val_loss"`.

    Raises:
        ValueError: If an argument is invalid. When the second epoch begins: if
            the logs lack `monitor`.

    Example:
    ```python
    model.fit(
        dataset,
        epochs=dataset.curriculum.num_epochs,
        callbacks=[keras_coconut.CurriculumScheduler(dataset)],
    )
    ```
    """

    # Only adds to the logs after a batch: no need to wait for the device.
    async_safe = True
    # What `fit` looks for among its callbacks.
    _sets_stages = True

    def __init__(
        self,
        dataset: CurriculumDataset,
        validation_dataset: CurriculumDataset | None = None,
        *,
        reset_optimizer: Literal["stage", "epoch", "never"] = "stage",
        promote_after: int | None = None,
        monitor: str = "val_loss",
    ) -> None:
        super().__init__()
        for name, value in (
            ("dataset", dataset),
            (
                "validation_dataset",
                dataset if validation_dataset is None else validation_dataset,
            ),
        ):
            check_instance(
                name,
                value,
                CurriculumDataset,
                "a `keras_coconut.CurriculumDataset`",
            )
        reset_optimizer = check_choice(
            "reset_optimizer", reset_optimizer, ("stage", "epoch", "never")
        )
        self.dataset = dataset
        self.validation_dataset = validation_dataset
        self.reset_optimizer = reset_optimizer
        if promote_after is not None:
            promote_after = check_count("promote_after", promote_after, least=1)
        self.promote_after = promote_after
        check_string("monitor", monitor, empty=False)
        self.monitor = check_text("monitor", monitor)
        dataset.promotes = None if promote_after is None else self.monitor
        self._begin()

    def _begin(self):
        """Forgets an earlier `fit`."""
        self._epoch: int | None = None
        # Set when the first epoch begins.
        self._stage = self._first_epoch = 0
        # Of the stage so far: its best figure, and the epochs since.
        self._best: float | None = None
        self._waited = 0
        self._logs: dict[str, Any] | None = None

    @property
    def curriculum(self) -> Curriculum:
        """The `Curriculum` of the dataset."""
        return self.dataset.curriculum

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._begin()
        epochs = (self.params or {}).get("epochs")
        needed = self.curriculum.first_epoch(self.curriculum.last_stage) + 1
        if epochs is not None and epochs < needed and not self.promote_after:
            warnings.warn(
                f"`epochs` must be at least {needed} for the curriculum to "
                f"reach its last stage, {self.curriculum.last_stage}. "
                f"Received: epochs={epochs}, which ends in stage "
                f"{self.curriculum.stage(max(epochs - 1, 0))}.",
                stacklevel=2,
            )
        if self.reset_optimizer != "never":
            # Now, and not when the stage changes after hours of training.
            _new_of_same_kind(self.model.optimizer)

    def on_epoch_begin(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        if self.promote_after is None or self._epoch is None:
            self._stage = self.curriculum.stage(epoch)
            self._first_epoch = self.curriculum.first_epoch(self._stage)
        elif epoch != self._epoch:
            # Else the epoch is resumed, and this was done before.
            self._promote(epoch, self.promote_after)
        self._epoch = epoch
        self.show_stage()
        if epoch > 0 and (
            self.reset_optimizer == "epoch"
            or (self.reset_optimizer == "stage" and epoch == self._first_epoch)
        ):
            restart_optimizer(self.model.optimizer, self.model)

    def show_stage(self) -> None:
        """Sets the stage of the datasets and of the model to the epoch's.

        A run that has ended calls it when it is restored, without an epoch.
        """
        if self._epoch is None:
            return
        in_stage = self._epoch - self._first_epoch
        for dataset in (self.dataset, self.validation_dataset):
            if dataset is not None:
                dataset.set_epoch(
                    self._epoch, self._stage, epoch_of_stage=in_stage
                )
        # What `evaluate` on problems goes by.
        self.model.__dict__["_last_epoch"] = self.curriculum, self.dataset.state
        self.model.num_thoughts = self.dataset.num_thoughts
        self.model.thought_kind = self.curriculum.thought_kind

    def _promote(self, epoch, after):
        """Moves to the next stage after `after` epochs without progress."""
        curriculum, stage = self.curriculum, self._stage
        self._look_at(self._logs or {})
        if stage == curriculum.last_stage:
            return
        spent = epoch - self._first_epoch
        every_thought = curriculum.num_thoughts(stage)
        if curriculum.num_thoughts(stage, spent - 1) < every_thought:
            # Figures with fewer thoughts say nothing of those with all.
            self._best, self._waited = None, 0
        over = self._waited >= after
        epochs = curriculum.stage_epochs
        if over or spent >= epochs[stage]:
            stage += 1
            while stage < curriculum.last_stage and not epochs[stage]:
                stage += 1
            self._stage, self._first_epoch = stage, epoch
            self._best, self._waited = None, 0

    def _look_at(self, logs):
        if self.monitor not in logs:
            raise ValueError(
                "`monitor` must be a figure of each epoch. Received: monitor="
                f"{self.monitor!r}, where there are {sorted(logs)}"
            )
        value = logs[self.monitor]
        if not self.monitor.endswith("loss"):
            value = -value
        # Nothing is better than a figure that is not finite.
        if math.isfinite(value) and (self._best is None or value < self._best):
            self._best, self._waited = value, 0
        else:
            self._waited += 1

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        self._log_stage(logs)

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        self._log_stage(logs)
        # Read when the next epoch begins: the callbacks after this one add
        # their figures.
        self._logs = logs

    def _log_stage(self, logs):
        if logs is not None:
            logs["stage"] = self.dataset.stage
            logs["thoughts"] = self.dataset.num_thoughts


def restart_optimizer(optimizer, model) -> None:
    """Resets the state of an optimizer.

    The learning rate stays the same. So do the averages of the weights
    (`use_ema`), which `keras.callbacks.SwapEMAWeights` may have swapped with
    the weights: the first training step starts the average anew. The scale of a
    loss in float16 stays too, since it does not depend on what is learned.

    Args:
        optimizer: a `keras.Optimizer`.
        model: the `keras.Model` whose weights it trains.

    Raises:
        ValueError: If the optimizer's class cannot be made from its config.
    """
    optimizer = innermost(optimizer)
    if not optimizer.built:
        return
    kept = {id(variable) for variable in _averages(optimizer)}
    for variable, start in _starts(optimizer, model.trainable_variables):
        if id(variable) not in kept:
            variable.assign(start)


def _starts(optimizer, weights):
    """Yields the variables of an optimizer, and with what each would start."""

    def fresh(weights):
        made = _new_of_same_kind(optimizer)
        replicas.build_optimizer(made, weights)
        return made.variables

    def paths(weights):
        return {start.path for start in fresh(weights)}

    state = {variable.path: variable for variable in optimizer.variables}
    common = paths([])
    # Not weights of one name, nor state that is named by its place, or not at
    # all, as some of Nadam's.
    named = len(state) == len(optimizer.variables) and (
        paths(weights[:1]) & paths(weights[1:2]) <= common <= state.keys()
    )
    if named and all(paths([weight]) <= state.keys() for weight in weights):
        # One by one: a second state of all may not fit on the device.
        for weight in weights:
            for start in fresh([weight]):
                yield state[start.path], start
    else:
        yield from zip(optimizer.variables, fresh(weights), strict=True)


def _averages(optimizer):
    """Returns the averages of weights that an optimizer keeps, if any."""
    found = getattr(optimizer, "_model_variables_moving_average", None) or []
    for one in getattr(optimizer, "optimizers", ()):  # Of a `MultiOptimizer`.
        found = [*found, *_averages(one)]
    return found


def _new_of_same_kind(optimizer):
    optimizer = innermost(optimizer)
    try:
        return type(optimizer).from_config(optimizer.get_config())
    except Exception as error:
        raise ValueError(
            "`optimizer` must be described by its `get_config`, to be reset at "
            'a change of stage; or set `reset_optimizer="never"`. Received: a '
            f"{type(optimizer).__name__}, which cannot be made "
            f"from its config: {shown(str(error))}"
        ) from error
