"""What Keras' training needs to know of a model that reads spans."""

import keras
import keras_hub
import numpy as np
from keras import ops

from keras_coconut.models import (
    compilation,
    spans,
    torch_optimizer,
    varying_batches,
)


class SpanTrainer(keras_hub.models.GPT2CausalLM):
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
        compilation.give_memory_back()
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
        torch_optimizer.update_in_blocks(self.optimizer)

    def fit(self, x=None, y=None, batch_size=None, **kwargs):
        """Trains the model; see `keras.Model.fit`.

        Args:
            x: a `CurriculumDataset`; or a dictionary of arrays with the keys
                of the call contract; or anything else that `keras.Model.fit`
                takes and that yields such dictionaries, alone or as `(x, y)`
                or `(x, y, sample_weight)`. Labels and loss weights that are
                not given follow from `response_ids` and `response_mask`.
            y: int array (B, R). Optional.
            batch_size: int. Rows in a batch of arrays; a dataset has its own.
            **kwargs: See `keras.Model.fit`.

        Raises:
            ValueError: If an array cannot be read: wrong keys or shapes, ids
                outside the vocabulary, masks with holes, rows that are too
                long. For a dataset, its first batch is looked at.
        """
        self.check_data(x)
        validation = kwargs.get("validation_data")
        if validation is not None:
            self.check_data(
                validation[0] if isinstance(validation, tuple) else validation
            )
        if isinstance(x, varying_batches.VaryingBatches):
            if kwargs.get("steps_per_epoch") is not None:
                raise ValueError(
                    "`steps_per_epoch` must be given to the dataset, which "
                    "orders its own batches, and not to `fit`. Received: "
                    f"steps_per_epoch={kwargs['steps_per_epoch']}"
                )
            x.check_callbacks(kwargs.get("callbacks"))
            x, kwargs["shuffle"] = varying_batches.adapt(x), False
        if isinstance(validation, varying_batches.VaryingBatches):
            kwargs["validation_data"] = varying_batches.adapt(validation)
        # Past KerasHub's `fit`, which refuses datasets of one's own.
        return keras.Model.fit(self, x, y, batch_size, **kwargs)

    def evaluate(self, x=None, y=None, batch_size=None, **kwargs):
        """Returns the loss and metrics; takes what `fit` takes."""
        if not kwargs.get("_use_cached_eval_dataset", False):
            self.check_data(x)
            if isinstance(x, varying_batches.VaryingBatches):
                x = varying_batches.adapt(x)
        return keras.Model.evaluate(self, x, y, batch_size, **kwargs)

    def predict(self, x, batch_size=None, **kwargs):
        """Returns logits as a NumPy array; takes what `fit` takes."""
        self.check_data(x)
        if isinstance(x, varying_batches.VaryingBatches):
            x = varying_batches.adapt(x)
        return keras.Model.predict(self, x, batch_size, **kwargs)

    def preprocess_samples(self, x, y=None, sample_weight=None):
        # `CurriculumDataset` preprocesses; batches arrive as they should be.
        return keras.utils.pack_x_y_sample_weight(x, y, sample_weight)

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        y, sample_weight = _labels(x, y, sample_weight)
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        y, sample_weight = _labels(x, y, sample_weight)
        return super().compute_metrics(x, y, y_pred, sample_weight)

    def train_step(self, *args):
        if keras.config.backend() == "torch":
            # Keras forgets the last step's gradients after its pass forward;
            # before it they are not in the way of what that keeps.
            self.zero_grad()
        return super().train_step(*args)

    def make_train_function(self, force=False):
        if not self.optimizer.built:
            # TensorFlow would trace a step that makes variables twice.
            self.optimizer.build(self.trainable_variables)
        make = super().make_train_function
        varying_batches.make_step(self, "train_function", make, force)

    def make_test_function(self, force=False):
        make = super().make_test_function
        varying_batches.make_step(self, "test_function", make, force)

    def make_predict_function(self, force=False):
        make = super().make_predict_function
        varying_batches.make_step(self, "predict_function", make, force)
        return self.predict_function

    def check_data(self, x, keys=spans.KEYS):
        """Raises a `ValueError` for data that the model cannot read.

        Args:
            x: what `fit` takes. All of an array is looked at, the first batch
                of a dataset, and nothing of an iterator, which would lose it.
            keys: the keys of the call contract that it must have.
        """
        if isinstance(x, keras.utils.PyDataset):
            x = x[0]
        elif hasattr(x, "element_spec") and hasattr(x, "as_numpy_iterator"):
            x = next(x.as_numpy_iterator(), None)
        elif not isinstance(x, (dict, tuple, list, np.ndarray)):
            if not ops.is_tensor(x):
                return
        spans.check_values(
            x[0] if isinstance(x, tuple) else x,
            self.backbone.vocabulary_size,
            # The place of `<eot>` takes no position without markers.
            self.backbone.max_sequence_length + (not self.markers),
            keys,
        )

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


def _labels(x, y, sample_weight):
    """Returns labels and weights: those given, else those of the batch."""
    if y is not None:
        return y, sample_weight
    labels, weights = spans.targets(x)
    return labels, weights if sample_weight is None else sample_weight
