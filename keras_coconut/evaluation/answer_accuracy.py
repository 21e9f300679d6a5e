"""The callback that answers validation problems while training."""

import json
import pathlib
from collections.abc import Sequence

import keras

from keras_coconut.checks import check_count
from keras_coconut.curriculum import Curriculum
from keras_coconut.evaluation.problems import evaluate_problems
from keras_coconut.files import write_whole
from keras_coconut.problems import Problem


class AnswerAccuracy(keras.callbacks.Callback):
    """Generates answers to validation problems at the end of epochs.

    The model thinks as often as it does at the current stage, so the log
    `val_answer_accuracy` is the accuracy of the stage's own mode. Give the
    callback after the `CurriculumScheduler`, which sets how often that is, and
    before `keras.callbacks.TensorBoard`, so that its logs hold the accuracy.

    Args:
        problems: sequence of `Problem`s.
        every: int. Epochs from one evaluation to the next; in between, the last
            figure is repeated. Defaults to `1`.
        max_length: int. The most tokens of a response; see `generate`.
        batch_size: int. Defaults to `32`.
        best_preset: string or path-like, a folder. The model is saved there as
            a preset when it is at its best so far *in the last stage*, as the
            paper chooses its checkpoints; what it answered stands beside it in
            `validation.json`. A run that is taken up again in that stage goes
            on from the best that is there. Optional.
        curriculum: the `Curriculum` that is trained, which knows the last
            stage. Needed with `best_preset`.

    Raises:
        ValueError: If a count is not whole or less than one, or if
            `best_preset` is given without a curriculum.

    Example:
    ```python
    model.fit(
        dataset,
        callbacks=[
            keras_coconut.CurriculumScheduler(dataset),
            AnswerAccuracy(
                validation_problems,
                best_preset="runs/best",
                curriculum=dataset.curriculum,
            ),
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
        best_preset=None,
        curriculum: Curriculum | None = None,
    ):
        super().__init__()
        check_count("every", every, least=1)
        self.problems = problems
        self.every = every
        self.max_length = max_length
        self.batch_size = batch_size
        self.best_preset = None
        if best_preset is not None:
            if not isinstance(curriculum, Curriculum):
                raise ValueError(
                    "`curriculum` must be the `keras_coconut.Curriculum` that "
                    "is trained, for `best_preset` to keep the best of its "
                    f"last stage. Received: curriculum={curriculum!r}"
                )
            self.best_preset = pathlib.Path(best_preset)
        self.curriculum = curriculum
        self._accuracy = None

    def on_epoch_begin(self, epoch, logs=None):
        if self.best_preset is not None and self._begins_last_stage(epoch):
            # What an earlier run left is not to be beaten.
            self._best_figures.unlink(missing_ok=True)

    def on_epoch_end(self, epoch, logs=None):
        if self._accuracy is None or (epoch + 1) % self.every == 0:
            found = evaluate_problems(
                self.model,
                self.problems,
                max_length=self.max_length,
                batch_size=self.batch_size,
            )
            self._accuracy = found.accuracy
            if self.best_preset is not None and self._in_last_stage(epoch):
                self._keep_best(found)
        if logs is not None:
            logs["val_answer_accuracy"] = self._accuracy

    @property
    def _best_figures(self):
        return self.best_preset / "validation.json"

    def _in_last_stage(self, epoch):
        return self.curriculum.stage(epoch) == self.curriculum.last_stage

    def _begins_last_stage(self, epoch):
        return epoch == self.curriculum.first_epoch(self.curriculum.last_stage)

    def _keep_best(self, found):
        if self._best_figures.exists():
            best = json.loads(self._best_figures.read_text(encoding="utf-8"))
            if found.accuracy <= best["accuracy"]:
                return
        self.model.save_to_preset(str(self.best_preset))
        write_whole(self._best_figures, json.dumps(found.to_dict(), indent=1))
