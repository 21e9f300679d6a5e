"""What Keras' training needs to know of a model that reads spans."""

import contextlib
from collections.abc import Mapping

import keras
import keras_hub
import numpy as np
from keras import ops

from keras_coconut import engines
from keras_coconut.backbones import max_sequence_length
from keras_coconut.checks import check_count, shown
from keras_coconut.models import compilation, replicas, varying_batches
from keras_coconut.text import arrays, batches, targets


class SpanTrainer(keras_hub.models.CausalLM):
    """`compile`, `fit` and their like for batches of the call contract.

    KerasHub's own `fit` takes strings and arrays only; this one takes whatever
    yields dictionaries of the contract's keys, looks at it before it trains,
    and derives the labels. `ContinuousThoughtLM` adds what is computed.
    """

    def compile(
        self,
        optimizer="auto",
        loss="auto",
        *,
        weighted_metrics="auto",
        sampler="greedy",
        compilation_cache=None,
        **kwargs,
    ):
        """Configures training and generation.

        Args:
            optimizer: `"auto"`, an optimizer name, or a `keras.Optimizer`.
                `"auto"` is that of the paper's recipes: AdamW with learning
                rate 1e-4 and weight decay 0.01.
            loss: `"auto"`, a loss name, or a `keras.losses.Loss`. `"auto"` is
                the cross entropy averaged over the batch's labelled positions.
            weighted_metrics: `"auto"`, or a list of metrics. `"auto"` is the
                accuracy of single tokens.
            sampler: A sampler name, or a `keras_hub.samplers.Sampler`, for
                `generate`. Defaults to `"greedy"`.
            compilation_cache: string, a folder. JAX keeps what it compiles
                there, for the whole process, so that a script run again
                starts at once. JAX only. Defaults to `None`.
            **kwargs: See `keras.Model.compile`.

        Raises:
            ValueError: If `compilation_cache` is given on another backend.
        """
        if compilation_cache is not None:
            compilation.keep_in(compilation_cache)
        if optimizer == "auto":
            optimizer = keras.optimizers.AdamW(1e-4, weight_decay=0.01)
        if loss == "auto":
            loss = keras.losses.SparseCategoricalCrossentropy(
                from_logits=True, reduction="mean_with_sample_weight"
            )
        super().compile(
            optimizer=optimizer,
            loss=loss,
            weighted_metrics=weighted_metrics,
            sampler=sampler,
            **kwargs,
        )

    def fit(self, x=None, y=None, batch_size=None, **kwargs):
        """Trains the model; see `keras.Model.fit`.

        Args:
            x: a `CurriculumDataset`; or a dictionary of arrays with the keys
                of the call contract; or anything else that `keras.Model.fit`
                takes and that yields such dictionaries, alone or as `(x, y)`
                or `(x, y, sample_weight)`. Labels and loss weights that are
                not given follow from `response_ids` and `response_mask`.
            y: int array (B, R), the token that each position predicts; -100
                where it predicts none. Optional.
            batch_size: int. Rows in a batch of arrays; a dataset has its own.
            **kwargs: See `keras.Model.fit`. `sample_weight` is a float array
                (B, R), which is used as it is; or (B,), one factor for the loss
                of each row.

        Raises:
            ValueError: If a batch cannot be read: wrong keys or shapes, ids
                outside the vocabulary, masks with holes, rows that are too
                long, labels or weights that do not fit. Arrays are looked at
                before training, and every batch before its step. If
                `class_weight` is given.
        """
        _refuse_class_weight(kwargs.get("class_weight"))
        batch_size = _check_batch_size(batch_size)
        x = arrays.with_arrays(x)
        self.check_data(x, y, kwargs.get("sample_weight"))
        _check_rows(x, batch_size)
        y = _labels_for_weights(x, y, kwargs.get("sample_weight"))
        if isinstance(x, varying_batches.VaryingBatches):
            if kwargs.get("steps_per_epoch") is not None:
                raise ValueError(
                    "`steps_per_epoch` must be given to the dataset, which "
                    "orders its own batches, and not to `fit`. Received: "
                    f"steps_per_epoch={shown(kwargs['steps_per_epoch'])}"
                )
            x.check_callbacks(kwargs.get("callbacks"))
            kwargs["shuffle"] = False
        validation = kwargs.get("validation_data")
        if validation is not None:
            kwargs["validation_data"] = self._check_validation(
                validation, kwargs.get("callbacks")
            )
        if replicas.num_processes() > 1:
            self._begin_as_one_of_many(x, kwargs)
        with contextlib.ExitStack() as stack:
            data = stack.enter_context(varying_batches.adapted(x))
            if validation is not None:
                kwargs["validation_data"] = stack.enter_context(
                    varying_batches.adapted(kwargs["validation_data"])
                )
            # What a callback may want to know of the run.
            self.__dict__["_training_dataset"] = x
            stack.callback(self.__dict__.pop, "_training_dataset", None)
            if isinstance(x, varying_batches.VaryingBatches):
                kwargs["callbacks"] = stack.enter_context(
                    x.arranged(
                        kwargs.get("callbacks"),
                        self,
                        kwargs.get("epochs", 1),
                        kwargs.get("verbose", "auto"),
                    )
                )
            # Past KerasHub's `fit`, which refuses datasets of one's own.
            return keras.Model.fit(self, data, y, batch_size, **kwargs)

    def _begin_as_one_of_many(self, x, kwargs):
        """Begins a `fit` in which several processes train together."""
        if not isinstance(x, varying_batches.VaryingBatches):
            raise ValueError(
                "`x` must be a `CurriculumDataset` where several processes "
                "train together: it gives each of them its part of a batch. "
                f"Received: x={shown(x)} of type {type(x).__name__}"
            )
        if replicas.devices_of_a_batch() < replicas.num_processes():
            raise ValueError(
                "`fit` must be called within `keras_coconut.distribute()` "
                "where there are several processes. Received: "
                f"{replicas.num_processes()} of them, each of which would "
                "train alone"
            )
        replicas.begin_alike(self)
        if replicas.process_index():
            kwargs["verbose"] = 0

    def _check_validation(self, validation, callbacks):
        """Returns validation data with the labels that its weights need."""
        if isinstance(validation, varying_batches.VaryingBatches):
            validation.check_callbacks(callbacks, validation=True)
        if not isinstance(validation, tuple | list):
            self.check_data(validation)
            return validation
        x, y, weights = keras.utils.unpack_x_y_sample_weight(validation)
        self.check_data(x, y, weights)
        return keras.utils.pack_x_y_sample_weight(
            x, _labels_for_weights(x, y, weights), weights
        )

    def evaluate(self, x=None, y=None, batch_size=None, **kwargs):
        """Returns the loss and metrics; takes what `fit` takes."""
        if kwargs.get("_use_cached_eval_dataset", False):
            # Within `fit`, which has looked at the data.
            return keras.Model.evaluate(self, x, y, batch_size, **kwargs)
        batch_size = _check_batch_size(batch_size)
        weights = kwargs.get("sample_weight")
        x = arrays.with_arrays(x)
        self.check_data(x, y, weights)
        _check_rows(x, batch_size)
        y = _labels_for_weights(x, y, weights)
        with varying_batches.adapted(x) as x:
            return keras.Model.evaluate(self, x, y, batch_size, **kwargs)

    def predict(self, x, batch_size=None, **kwargs):
        """Returns logits as a NumPy array; takes what `fit` takes."""
        batch_size = _check_batch_size(batch_size)
        x = arrays.with_arrays(x)
        self.check_data(x)
        rows = None
        if _is_shared_by_jax(x):
            # Rows that fill the last batch up are computed, and left out.
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
        self, x, y=None, sample_weight=None, class_weight=None, **kwargs
    ):
        """Takes one step; takes what `fit` takes, as one batch."""
        _refuse_class_weight(class_weight)
        return super().train_on_batch(x, y, sample_weight, **kwargs)

    def preprocess_samples(self, x, y=None, sample_weight=None):
        # Of one batch; `CurriculumDataset` preprocesses.
        self.check_data(x, y, sample_weight)
        y = _labels_for_weights(x, y, sample_weight)
        return keras.utils.pack_x_y_sample_weight(x, y, sample_weight)

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        y, sample_weight = targets.complete_targets(x, y, sample_weight)
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        return replicas.of_the_whole_batch(self, loss, sample_weight)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        y, sample_weight = targets.complete_targets(x, y, sample_weight)
        return super().compute_metrics(x, y, y_pred, sample_weight)

    def _symbolic_build(self, iterator=None, data_batch=None):
        if data_batch is not None:
            # Under a strategy of TensorFlow's, Keras hands in the mean of what
            # the devices have: ids that are no whole numbers.
            x, *others = data_batch
            x = {
                key: keras.KerasTensor(value.shape, "int32")
                if key in batches.KEYS
                else value
                for key, value in x.items()
            }
            data_batch = x, *others
        super()._symbolic_build(iterator, data_batch)

    def get_metrics_result(self):
        with replicas.metrics_of_all(self):
            return super().get_metrics_result()

    def train_step(self, *args):
        with engines.fast_updates(self):
            return super().train_step(*args)

    def make_train_function(self, force=False):
        if not self.optimizer.built:
            # TensorFlow would trace a step that makes variables twice.
            self.optimizer.build(self.trainable_variables)
        make = super().make_train_function
        varying_batches.make_step(
            self, "train_function", make, force, self._check_batch
        )

    def make_test_function(self, force=False):
        make = super().make_test_function
        varying_batches.make_step(
            self, "test_function", make, force, self._check_batch
        )

    def make_predict_function(self, force=False):
        make = super().make_predict_function
        varying_batches.make_step(
            self, "predict_function", make, force, self._check_batch
        )
        return self.predict_function

    def check_data(self, x, y=None, sample_weight=None, keys=batches.KEYS):
        """Raises a `ValueError` for data that the model cannot read.

        Args:
            x: what `fit` takes. All of an array is looked at, the first batch
                of a dataset, and nothing of an iterator, which would lose it.
            y, sample_weight: labels and weights beside arrays. Optional.
            keys: the keys of the call contract that it must have.
        """
        if isinstance(x, keras.utils.PyDataset):
            return self._check_batch(x[0], keys)
        if hasattr(x, "element_spec") and hasattr(x, "as_numpy_iterator"):
            first = next(x.as_numpy_iterator(), None)
            if first is None:
                raise ValueError(
                    "`x` must hold at least one batch. Received: a "
                    "`tf.data.Dataset` without any"
                )
            return self._check_batch(first, keys)
        if isinstance(x, dict | tuple | list | np.ndarray) or ops.is_tensor(x):
            if not isinstance(x, tuple | list):
                return self._check_batch((x, y, sample_weight), keys)
        elif _yields(x):
            return
        raise ValueError(
            f"`x` must be a dictionary with the keys {list(keys)}, or "
            f"a dataset of them. Received: x={shown(x)} of type "
            f"{type(x).__name__}"
        )

    def __call__(self, inputs, *args, **kwargs):
        # Here, since Keras adds all arguments to an error from within `call`.
        self.check_call(inputs)
        return super().__call__(inputs, *args, **kwargs)

    def check_call(self, inputs, keys=batches.KEYS):
        """Looks at what a call is given: values, or shapes under a tracer."""
        batches.check_keys(inputs, keys)
        if "thoughts" in inputs:
            batches.check_thoughts(inputs, self.backbone.hidden_dim)
        if not varying_batches.looked_at() and all(
            varying_batches.has_values(inputs[key]) for key in keys
        ):
            given = {key: inputs[key] for key in keys}
            thoughts = inputs.get("thoughts")
            if thoughts is not None and varying_batches.has_values(thoughts):
                given["thoughts"] = thoughts
            self.check_data(given, keys=keys)

    def _check_batch(self, batch, keys=batches.KEYS):
        x, y, weights = keras.utils.unpack_x_y_sample_weight(batch)
        batches.check_values(
            x,
            self.backbone.vocabulary_size,
            self._longest_row(),
            keys,
        )
        if "thoughts" in x:
            batches.check_thoughts(x, self.backbone.hidden_dim)
            arrays.finite_numbers("thoughts", x["thoughts"])
        targets.check_targets(x, y, weights, self.backbone.vocabulary_size)

    def _longest_row(self) -> int | None:
        """Returns the most positions of a row, if they have an end."""
        longest = max_sequence_length(self.backbone)
        if longest is None:
            return None
        # The place of `<eot>` takes no position without markers.
        return longest + (not self.markers)

    # === Saving ===

    def get_compile_config(self):
        config = super().get_compile_config()
        if config:
            config["sampler"] = keras_hub.samplers.serialize(self.sampler)
        return config

    def compile_from_config(self, config):
        config = dict(config)
        sampler = keras_hub.samplers.deserialize(config.pop("sampler"))
        config = keras.saving.deserialize_keras_object(config)
        self.compile(sampler=sampler, **config)
        # So that a `.keras` file finds the variables of its optimizer state.
        self.optimizer.build(self.trainable_variables)


def _yields(x) -> bool:
    """Whether something may give batches one after the other."""
    known = str | bytes | set | frozenset
    return hasattr(x, "__iter__") and not isinstance(x, known)


def _labels_for_weights(x, y, sample_weight):
    """Returns labels of arrays where Keras needs them to keep weights."""
    if y is None and sample_weight is not None and isinstance(x, Mapping):
        y, _ = targets.targets({k: arrays.to_numpy(x[k]) for k in batches.KEYS})
    return y


def _is_shared_by_jax(x) -> bool:
    """Whether several of JAX's devices share the rows of arrays."""
    if keras.config.backend() != "jax" or not isinstance(x, Mapping):
        return False
    return replicas.devices_of_a_batch() > 1


def _check_rows(x, batch_size) -> None:
    """Raises a `ValueError` for arrays whose rows JAX's devices cannot share.

    The devices of a `CurriculumDataset` share all batches: it fills them up.
    """
    if not _is_shared_by_jax(x):
        return
    rows = len(x["response_ids"])
    batch_size = min(batch_size or 32, rows)
    replicas.check_rows("batch_size", batch_size)
    if rows % batch_size:
        replicas.check_rows("rows of the last batch", rows % batch_size)


def _check_batch_size(batch_size) -> int | None:
    """Returns a size; raises a `ValueError` for what is none."""
    # `None` leaves it to Keras, or to the dataset.
    if batch_size is None:
        return None
    return check_count("batch_size", batch_size, least=1)


def _refuse_class_weight(class_weight) -> None:
    if class_weight is not None:
        raise ValueError(
            "`class_weight` must be left out: the classes are tokens. Give "
            "`sample_weight`, one factor for each row or for each position. "
            f"Received: class_weight={shown(class_weight)}"
        )
