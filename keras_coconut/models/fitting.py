"""`fit`, `evaluate` and `predict` on problems, or on batches of ids."""

import contextlib
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_coconut.checks import check_count, shown
from keras_coconut.curriculum import Curriculum
from keras_coconut.execution import replicas, varying_batches
from keras_coconut.models.span_trainer import SpanTrainer
from keras_coconut.text import arrays, targets
from keras_coconut.training import problem_training


class Fitting(SpanTrainer):
    """`fit`, `evaluate` and `predict`.

    KerasHub's methods take strings and arrays. These take problems and a
    curriculum, or any data that yields dictionaries of the call contract.
    """

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        *,
        curriculum: Curriculum | None = None,
        **kwargs: Any,
    ) -> keras.callbacks.History:
        """Trains the model on problems, or on batches.

        With problems and a `curriculum`, `fit` makes a `CurriculumDataset` of
        the problems, another of `validation_data` if it holds problems, and
        puts a `CurriculumScheduler` before the callbacks, which sets the stage
        of each epoch. For more control, make these yourself.

        Args:
            x: problems: a list of `Problem`s or of dictionaries of `question`,
                `steps` and `answer`; a path that `read_problems` reads; a table
                of pandas, Polars or PyArrow; a dataset of Hugging Face, PyTorch
                or `tf.data` that yields such dictionaries. Or batches: a
                `CurriculumDataset`; a dictionary of arrays with the keys of the
                call contract; anything else that `keras.Model.fit` takes and
                that yields such dictionaries, alone or as `(x, y)` or `(x, y,
                sample_weight)`. Labels and loss weights that are not given
                follow from `response_ids` and `response_mask`.
            y: int array (B, R), the token that each position predicts; -100
                where it predicts none. The last position of a row counts only
                with a `sample_weight` of its own. Optional. Not for problems.
            batch_size: int. Number of problems, or of rows of arrays, in a
                batch. Not for a dataset of batches. Defaults to `32`.
            curriculum: a `Curriculum`. Needed for problems, and for nothing
                else.
            **kwargs: See `keras.Model.fit`. For problems, `epochs` defaults to
                `curriculum.num_epochs`, and `validation_data` may be problems
                too. For arrays, `sample_weight` is a float array: (B, R), the
                weight of each position; or (B,), one factor for the loss of
                each row.

        Returns:
            A `keras.callbacks.History`.

        Raises:
            ValueError: If a problem cannot be read or is too long; names it. If
                a batch cannot be read: wrong keys or shapes, ids outside the
                vocabulary, masks with holes, rows that are too long, labels or
                weights that do not fit. Arrays are checked before training,
                and every batch before its training step. If `class_weight` is
                given, or a `curriculum` without problems.

        Example:
        ```python
        problems = [
            {"question": "1 + 2 + 3?", "steps": ["1 + 2 = 3"], "answer": "6"},
            {"question": "2 + 2 + 1?", "steps": ["2 + 2 = 4"], "answer": "5"},
        ]
        curriculum = keras_coconut.Curriculum(max_stage=1, epochs_per_stage=2)
        model.fit(problems, curriculum=curriculum, validation_data=problems)
        ```
        """
        if curriculum is not None or problem_training.are_problems(x):
            kwargs = problem_training.fit_arguments(
                self, x, y, batch_size, curriculum, kwargs
            )
            x, y, batch_size = kwargs.pop("x"), None, None
        return self._fit_batches(x, y, batch_size, kwargs)

    def _fit_batches(self, x, y, batch_size, kwargs):
        """Runs a `fit` on batches; `kwargs` holds its other arguments."""
        _refuse_class_weight(kwargs.get("class_weight"))
        batch_size = _check_batch_size(batch_size, x)
        x, y, weights = targets.as_arrays(x, y, kwargs.get("sample_weight"))
        self.check_data(x, y, weights)
        _check_rows(x, batch_size)
        y = targets.labels_for_weights(x, y, weights)
        kwargs["sample_weight"] = weights
        if isinstance(x, varying_batches.VaryingBatches):
            for name in ("steps_per_epoch", "shuffle"):
                if kwargs.get(name) is not None:
                    raise _of_the_dataset(name, kwargs[name], name)
            x.check_callbacks(kwargs.get("callbacks"))
            kwargs["shuffle"] = False
        validation = kwargs.get("validation_data")
        if validation is not None:
            name = "validation_batch_size"
            _check_batch_size(kwargs.get(name), validation, name)
            kwargs["validation_data"] = self._check_validation(
                validation,
                kwargs.get("callbacks"),
                kwargs.get("validation_steps"),
            )
        if replicas.num_processes() > 1:
            self._begin_as_one_of_many(x, kwargs)
        else:
            replicas.check_joined()

        def fit(callbacks):
            with contextlib.ExitStack() as stack:
                given = {**kwargs, "callbacks": callbacks}
                data = stack.enter_context(
                    varying_batches.adapted(x, training=True)
                )
                if validation is not None:
                    given["validation_data"] = stack.enter_context(
                        varying_batches.adapted(kwargs["validation_data"])
                    )
                # Callbacks may read it during the run.
                self.__dict__["_training_dataset"] = x
                stack.callback(self.__dict__.pop, "_training_dataset", None)
                # Not KerasHub's `fit`, which refuses custom datasets.
                return keras.Model.fit(self, data, y, batch_size, **given)

        callbacks = kwargs.get("callbacks")
        if not isinstance(x, varying_batches.VaryingBatches):
            return fit(callbacks)
        epochs, verbose = kwargs.get("epochs", 1), kwargs.get("verbose", "auto")
        return x.train(fit, callbacks, self, epochs, verbose)

    def _begin_as_one_of_many(self, x, kwargs):
        """Begins a `fit` in which several processes train together."""
        if not isinstance(x, varying_batches.VaryingBatches):
            raise ValueError(
                "`x` must be a `CurriculumDataset` where several processes "
                "train together: it gives each of them its part of a batch. "
                f"Received: x={shown(x)} of type {type(x).__name__}"
            )
        replicas.check_within_distribute()
        for name, data in (
            ("x", x),
            ("validation_data", kwargs.get("validation_data")),
        ):
            if isinstance(data, varying_batches.VaryingBatches):
                replicas.check_alike(name, data.describe())
        replicas.begin_alike(self)
        if replicas.process_index():
            kwargs["verbose"] = 0

    def _check_validation(self, validation, callbacks, steps):
        """Returns validation data with the labels that its weights need."""
        if isinstance(validation, varying_batches.VaryingBatches):
            if steps is not None:
                # Keras would go on in the next epoch where it stopped in this
                # one: with other problems, in the stage before.
                raise ValueError(
                    "`validation_steps` must be left out for problems and for "
                    "a dataset that makes its own batches: each validation "
                    "measures all of them. Give fewer problems. Received: "
                    f"validation_steps={shown(steps)}"
                )
            validation.check_callbacks(callbacks, validation=True)
        if not isinstance(validation, tuple | list):
            self.check_data(validation)
            return validation
        x, y, weights = targets.as_arrays(
            *keras.utils.unpack_x_y_sample_weight(validation)
        )
        self.check_data(x, y, weights)
        return keras.utils.pack_x_y_sample_weight(
            x, targets.labels_for_weights(x, y, weights), weights
        )

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        *,
        curriculum: Curriculum | None = None,
        stage: int | None = None,
        **kwargs: Any,
    ) -> Any:
        """Returns the loss and metrics of problems or batches, as in `fit`.

        These are figures of single tokens, each predicted from the correct
        tokens before it. The loss of `loss="auto"` is the mean over the labels
        of all batches; the `loss` of a training epoch, in which the weights
        change, is the mean of its batches. `keras_coconut.evaluate_problems`
        generates responses and compares their answers.

        Args:
            x, y, batch_size: see `fit`.
            curriculum: a `Curriculum`, only for problems; an iterator of them
                needs it. Defaults to that of the last epoch trained.
            stage: int, the stage of the curriculum in which problems are shown,
                only for problems; no other stage is mixed in. Defaults to that
                of the last epoch trained with this curriculum, else to the
                curriculum's last stage.
            **kwargs: See `keras.Model.evaluate`.

        Returns:
            What `keras.Model.evaluate` returns.

        Raises:
            ValueError: See `fit`. If problems come without a curriculum.

        Example:
        ```python
        curriculum = keras_coconut.Curriculum(max_stage=2)
        model.evaluate(problems, curriculum=curriculum, stage=1)
        ```
        """
        if kwargs.get("_use_cached_eval_dataset", False):
            # Within `fit`, which has checked the data.
            return keras.Model.evaluate(self, x, y, batch_size, **kwargs)
        if curriculum is not None or problem_training.are_problems(x):
            problem_training.refuse_arrays(y, kwargs)
            x = problem_training.dataset_of(
                self, x, batch_size, curriculum, stage
            )
            batch_size = None
        else:
            problem_training.refuse_stage(stage)
        batch_size = _check_batch_size(batch_size, x)
        x, y, weights = targets.as_arrays(x, y, kwargs.get("sample_weight"))
        self.check_data(x, y, weights)
        _check_rows(x, batch_size)
        y = targets.labels_for_weights(x, y, weights)
        kwargs["sample_weight"] = weights
        with varying_batches.adapted(x) as x:
            return keras.Model.evaluate(self, x, y, batch_size, **kwargs)

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        *,
        curriculum: Curriculum | None = None,
        stage: int | None = None,
        **kwargs: Any,
    ) -> np.ndarray:
        """Returns the logits of given responses; takes what `fit` takes.

        To answer questions, use `generate`.

        Args:
            x, batch_size: see `fit`.
            curriculum, stage: see `evaluate`.
            **kwargs: See `keras.Model.predict`.

        Returns:
            Float NumPy array (rows, R, V), with problems in the given order.

        Raises:
            ValueError: See `fit`. If problems come without a curriculum. If
                there are several processes, unless `x` are arrays and the
                backend is PyTorch.

        Example:
        ```python
        curriculum = keras_coconut.Curriculum(max_stage=2)
        logits = model.predict(problems, curriculum=curriculum)
        ```
        """
        rows = None
        of_problems = curriculum is not None or problem_training.are_problems(x)
        if replicas.num_processes() > 1 and (
            of_problems
            or isinstance(x, varying_batches.VaryingBatches)
            or keras.config.backend() == "jax"
        ):
            raise ValueError(
                "`predict` must be called in a program of one process, or on "
                "PyTorch with arrays: each of several would have a part of the "
                f"rows. Received: {replicas.num_processes()} processes and x="
                f"{shown(x)}"
            )
        if of_problems:
            x = problem_training.dataset_of(
                self, x, batch_size, curriculum, stage
            )
            # Padding rows of the last batch are left out.
            rows, batch_size = len(x.kept), None
        else:
            problem_training.refuse_stage(stage)
        batch_size = _check_batch_size(batch_size, x)
        x = arrays.with_arrays(x)
        self.check_data(x)
        if _is_shared_by_jax(x):
            # Padding rows of the last batch are computed, then left out.
            rows = len(x["response_ids"])
            fill = -rows % replicas.devices_of_a_batch()
            x = {
                key: np.pad(value, [(0, fill)] + [(0, 0)] * (ndim - 1), "edge")
                for key, value in x.items()
                for ndim in [len(value.shape)]
            }
            _check_rows(x, batch_size)
        with varying_batches.adapted(x) as x:
            found = keras.Model.predict(self, x, batch_size, **kwargs)
        return found[:rows]

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: None = None,
        **kwargs: Any,
    ) -> Any:
        """Takes one training step on one batch, given as in `fit`."""
        _refuse_class_weight(class_weight)
        return super().train_on_batch(x, y, sample_weight, **kwargs)


def _is_shared_by_jax(x) -> bool:
    """Whether several of JAX's devices share the rows of arrays."""
    if keras.config.backend() != "jax" or not isinstance(x, Mapping):
        return False
    return replicas.devices_of_a_batch() > 1


def _check_rows(x, batch_size) -> None:
    """Raises a `ValueError` for arrays whose rows JAX's devices cannot share.

    A `CurriculumDataset` has no such batches: it adds padding rows.
    """
    if not _is_shared_by_jax(x):
        return
    rows = len(x["response_ids"])
    batch_size = min(batch_size or 32, rows)
    replicas.check_rows("batch_size", batch_size)
    if rows % batch_size:
        replicas.check_rows("rows of the last batch", rows % batch_size)


def _check_batch_size(batch_size, x, name="batch_size") -> int | None:
    """Returns a batch size; raises a `ValueError` for anything else."""
    # `None` leaves it to Keras, or to the dataset.
    if batch_size is None:
        return None
    if isinstance(x, varying_batches.VaryingBatches):
        raise _of_the_dataset(name, batch_size, "batch_size")
    return check_count(name, batch_size, least=1)


def _of_the_dataset(name, value, own_name) -> ValueError:
    """Returns an error for an argument that a dataset has decided."""
    return ValueError(
        f"`{name}` must be left out for a dataset that makes its own batches: "
        f"give it `{own_name}`. Received: {name}={shown(value)}"
    )


def _refuse_class_weight(class_weight) -> None:
    if class_weight is not None:
        raise ValueError(
            "`class_weight` must be left out: the classes are tokens. Give "
            "`sample_weight`, one factor for each row or for each position. "
            f"Received: class_weight={shown(class_weight)}"
        )
