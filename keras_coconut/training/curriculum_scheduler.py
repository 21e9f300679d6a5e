"""The callback that moves the stage inside one `fit()`."""

import warnings
from typing import Literal

import keras

from keras_coconut.checks import check_choice, check_instance, shown
from keras_coconut.training.curriculum_dataset import CurriculumDataset


class CurriculumScheduler(keras.callbacks.Callback):
    """Moves a `CurriculumDataset` from stage to stage during one `fit()`.

    At the start of an epoch it sets the dataset's stage and the model's
    `num_thoughts` and `thought_kind`, and resets the optimizer where the stage
    changes. Wherever it stands in a list of callbacks, `fit` calls it first; a
    `keras.callbacks.CallbackList` keeps its own order, so put it first there.
    The stage follows from the epoch alone, so a run that is resumed, by
    `ResumableTraining` or with `initial_epoch`, continues in its stage.
    `stage` and `thoughts` stand in the progress bar and in `History`.

    Args:
        dataset: the `CurriculumDataset` that `fit` trains on.
        validation_dataset: a `CurriculumDataset` that follows the same stages,
            given to `fit` as `validation_data`. Optional.
        reset_optimizer: when the optimizer starts anew: `"stage"`, at each
            change of the stage; `"epoch"`, at each epoch, as the published
            code does; or `"never"`. The learning rate stays as it is, and a
            schedule starts from its beginning. Defaults to `"stage"`.

    Raises:
        ValueError: If an argument is not one of these.

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

    def __init__(
        self,
        dataset: CurriculumDataset,
        validation_dataset: CurriculumDataset | None = None,
        reset_optimizer: Literal["stage", "epoch", "never"] = "stage",
    ):
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

    @property
    def curriculum(self):
        """The `Curriculum` of the dataset."""
        return self.dataset.curriculum

    def on_train_begin(self, logs=None):
        epochs = (self.params or {}).get("epochs")
        needed = self.curriculum.first_epoch(self.curriculum.last_stage) + 1
        if epochs is not None and epochs < needed:
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

    def on_epoch_begin(self, epoch, logs=None):
        self.dataset.set_epoch(epoch)
        if self.validation_dataset is not None:
            self.validation_dataset.set_epoch(epoch)
        self.model.num_thoughts = self.dataset.num_thoughts
        self.model.thought_kind = self.curriculum.thought_kind
        if epoch > 0 and (
            self.reset_optimizer == "epoch"
            or (self.reset_optimizer == "stage" and self._begins_stage(epoch))
        ):
            restart_optimizer(self.model.optimizer, self.model)

    def on_train_batch_end(self, batch, logs=None):
        self._log_stage(logs)

    def on_epoch_end(self, epoch, logs=None):
        self._log_stage(logs)

    def _begins_stage(self, epoch):
        stage = self.curriculum.stage
        return stage(epoch) != stage(epoch - 1)

    def _log_stage(self, logs):
        if logs is not None:
            logs["stage"] = self.dataset.stage
            logs["thoughts"] = self.dataset.num_thoughts


def restart_optimizer(optimizer, model) -> None:
    """Gives an optimizer the state of a new one.

    The learning rate stays as it is, and so do the averages of the weights
    (`use_ema`), which `keras.callbacks.SwapEMAWeights` may have put into the
    weights' place: the first step begins the average anew. The scale of a loss
    in float16 stays, too: it does not depend on what is learned.

    Args:
        optimizer: a `keras.Optimizer`.
        model: the `keras.Model` whose weights it trains.

    Raises:
        ValueError: If the optimizer's class cannot be made from its config.
    """
    # What mixed precision with float16 wraps.
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    if not optimizer.built:
        return
    fresh = _new_of_same_kind(optimizer)
    fresh.build(model.trainable_variables)
    kept = {id(variable) for variable in _averages(optimizer)}
    for variable, start in zip(
        optimizer.variables, fresh.variables, strict=True
    ):
        if id(variable) not in kept:
            variable.assign(start)


def _averages(optimizer):
    """Returns the averages of weights that an optimizer keeps, if any."""
    found = getattr(optimizer, "_model_variables_moving_average", None) or []
    for one in getattr(optimizer, "optimizers", ()):  # Of a `MultiOptimizer`.
        found = [*found, *_averages(one)]
    return found


def _new_of_same_kind(optimizer):
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    try:
        return type(optimizer).from_config(optimizer.get_config())
    except Exception as error:
        raise ValueError(
            "`optimizer` must be one that its `get_config` describes, to start "
            'anew at a change of the stage; `reset_optimizer="never"` needs '
            f"none. Received: {type(optimizer).__name__}, which cannot be made "
            f"from its config: {shown(str(error))}"
        ) from error
