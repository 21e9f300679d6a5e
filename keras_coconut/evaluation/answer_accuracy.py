"""The callback that answers validation problems while training."""

from collections.abc import Sequence

import keras

from keras_coconut.curriculum import check_count
from keras_coconut.evaluation.problems import evaluate_problems
from keras_coconut.problems import Problem


class AnswerAccuracy(keras.callbacks.Callback):
    """Generates answers to validation problems at the end of epochs.

    The model thinks as often as it does at the current stage, so the log
    `val_answer_accuracy` is the accuracy of the stage's own mode. Give the
    callback after the `CurriculumScheduler`, which sets how often that is.

    Args:
        problems: sequence of `Problem`s.
        every: int. Epochs from one evaluation to the next; in between, the last
            figure is repeated. Defaults to `1`.
        max_length: int. The most tokens of a response; see `generate`.
        batch_size: int. Defaults to `32`.

    Example:
    ```python
    model.fit(
        dataset,
        callbacks=[
            keras_coconut.CurriculumScheduler(dataset),
            AnswerAccuracy(validation_problems),
        ],
    )
    ```
    """

    def __init__(
        self,
        problems: Sequence[Problem],
        every: int = 1,
        max_length: int | None = None,
        batch_size: int = 32,
    ):
        super().__init__()
        check_count("every", every, least=1)
        self.problems = problems
        self.every = every
        self.max_length = max_length
        self.batch_size = batch_size
        self._accuracy = None

    def on_epoch_end(self, epoch, logs=None):
        if self._accuracy is None or (epoch + 1) % self.every == 0:
            self._accuracy = evaluate_problems(
                self.model,
                self.problems,
                max_length=self.max_length,
                batch_size=self.batch_size,
            ).accuracy
        if logs is not None:
            logs["val_answer_accuracy"] = self._accuracy
