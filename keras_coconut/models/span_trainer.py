"""The parts of Keras' training that depend on the call contract."""

import inspect
from collections.abc import Sequence
from typing import Any

import keras
import keras_hub
import numpy as np
from keras import ops

from keras_coconut import engines
from keras_coconut.backbones import max_sequence_length
from keras_coconut.checks import PathLike, refuse, shown
from keras_coconut.execution import (
    compilation,
    label_means,
    replicas,
    varying_batches,
)
from keras_coconut.text import arrays, batches, targets

_SAMPLERS = ["greedy", "top_p", "top_k", "random", "beam", "contrastive"]


class SpanTrainer(keras_hub.models.CausalLM):
    """Trains and evaluates on single batches of the call contract.

    It checks a batch before computing, and derives the labels and their
    weights. `Fitting` provides the batches; `ContinuousThoughtLM` defines the
    call.
    """

    def compile(
        self,
        optimizer: Any = "auto",
        loss: Any = "auto",
        *,
        weighted_metrics: Any = "auto",
        sampler: str | keras_hub.samplers.Sampler = "greedy",
        compilation_cache: PathLike | None = None,
        **kwargs: Any,
    ) -> None:
        """Configures training and generation.

        Args:
            optimizer: `"auto"`, an optimizer name, or a `keras.Optimizer`.
                `"auto"` is the optimizer of the paper's recipes: AdamW with
                learning rate 1e-4 and weight decay 0.01.
            loss: `"auto"`, or a `keras.losses.Loss` or function that reads
                logits, such as `keras.losses.SparseCategoricalCrossentropy(
                from_logits=True)`. `"auto"` is the cross-entropy averaged over
                the batch's labelled positions.
            weighted_metrics: `"auto"`, a list of metrics, or `None` for none.
                `"auto"` is the accuracy of single tokens.
            sampler: a sampler name, or a `keras_hub.samplers.Sampler`, for
                `generate`. Defaults to `"greedy"`.
            compilation_cache: string or path-like. A folder in which JAX keeps
                compiled programs, so that a script starts faster when it runs
                again. Holds for the whole process. JAX only. Defaults to
                `None`.
            **kwargs: See `keras.Model.compile`.

        Raises:
            ValueError: If `loss` reads probabilities or is `None`, if `sampler`
                is no sampler, or if `compilation_cache` is given on another
                backend.
        """
        loss, sampler = _checked_loss(loss), _checked_sampler(sampler)
        if compilation_cache is not None:
            compilation.keep_in(compilation_cache)
        if optimizer == "auto":
            optimizer = keras.optimizers.AdamW(1e-4, weight_decay=0.01)
        super().compile(
            optimizer=optimizer,
            loss=loss,
            # With `None`, Keras keeps the metrics of an earlier `compile`.
            weighted_metrics=[]
            if weighted_metrics is None
            else weighted_metrics,
            sampler=sampler,
            **kwargs,
        )
        label_means.track(self)

    def preprocess_samples(
        self, x: Any, y: Any = None, sample_weight: Any = None
    ) -> Any:
        # Of one batch; `CurriculumDataset` preprocesses.
        x, y, sample_weight = targets.as_arrays(x, y, sample_weight)
        self.check_data(x, y, sample_weight)
        y = targets.labels_for_weights(x, y, sample_weight)
        return keras.utils.pack_x_y_sample_weight(x, y, sample_weight)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        y, sample_weight = targets.complete_targets(x, y, sample_weight)
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        return replicas.of_the_whole_batch(self, loss, sample_weight)

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
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

    def get_metrics_result(self) -> dict[str, Any]:
        with replicas.metrics_of_all(self):
            return super().get_metrics_result()

    def train_step(self, *args: Any) -> Any:
        with engines.fast_updates(self):
            return super().train_step(*args)

    def test_step(self, *args: Any) -> Any:
        x, y, weights = keras.utils.unpack_x_y_sample_weight(args[-1])
        _, weights = targets.complete_targets(x, y, weights)
        with label_means.weighed(self, replicas.sum_of_all(weights)):
            return super().test_step(*args)

    def make_train_function(self, force: bool = False) -> None:
        if not self.optimizer.built:
            # TensorFlow would trace a step that makes variables twice.
            replicas.build_optimizer(self.optimizer, self.trainable_variables)
        make = super().make_train_function
        varying_batches.make_step(
            self, "train_function", make, force, self._check_batch
        )

    def make_test_function(self, force: bool = False) -> None:
        make = super().make_test_function
        varying_batches.make_step(
            self, "test_function", make, force, self._check_batch
        )

    def make_predict_function(self, force: bool = False) -> Any:
        make = super().make_predict_function
        varying_batches.make_step(
            self, "predict_function", make, force, self._check_batch
        )
        return self.predict_function

    def check_data(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        keys: Sequence[str] = batches.KEYS,
    ) -> None:
        """Raises a `ValueError` for data that the model cannot read.

        Args:
            x: what `fit` takes. Arrays are checked completely, datasets in
                their first batch, and iterators not at all, since they would
                lose it.
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
            of_others = isinstance(x, dict) and not set(x) & set(keys)
            if not isinstance(x, tuple | list) and not of_others:
                return self._check_batch((x, y, sample_weight), keys)
        elif _yields(x):
            return
        raise ValueError(
            f"`x` must be a dictionary with the keys {list(keys)}, a dataset "
            "of them, or problems, with `question`, `steps` and `answer`, "
            f"beside a `curriculum=`. Received: x={shown(x)} of type "
            f"{type(x).__name__}"
        )

    def __call__(self, inputs, *args, **kwargs):
        # Here, since Keras adds all arguments to an error from within `call`.
        inputs = arrays.with_arrays(inputs)
        self.check_call(inputs)
        return super().__call__(inputs, *args, **kwargs)

    def check_call(
        self, inputs: Any, keys: Sequence[str] = batches.KEYS
    ) -> None:
        """Checks the inputs of a call: values, or shapes under a tracer."""
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
            skipped = inputs.get("skipped_positions")
            if skipped is not None and varying_batches.has_values(skipped):
                given["skipped_positions"] = skipped
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
        """Returns the maximum number of positions of a row, if limited."""
        longest = max_sequence_length(self.backbone)
        if longest is None:
            return None
        # The place of `<eot>` takes no position without markers.
        return longest + (not self.markers)

    # === Saving ===

    def get_compile_config(self) -> dict[str, Any] | None:
        config = super().get_compile_config()
        if config:
            config["sampler"] = keras_hub.samplers.serialize(self.sampler)
            # One that never trained has no variables in the file.
            config["has_trained"] = self.optimizer.built
        return config

    def compile_from_config(self, config: dict[str, Any]) -> None:
        config = dict(config)
        sampler = keras_hub.samplers.deserialize(config.pop("sampler"))
        has_trained = config.pop("has_trained", True)
        config = keras.saving.deserialize_keras_object(config)
        self.compile(sampler=sampler, **config)
        if has_trained:
            # So that the file finds the variables of its optimizer's state.
            self.optimizer.build(self.trainable_variables)


def _checked_loss(loss):
    """Returns a loss of logits; raises a `ValueError` for anything else."""
    if isinstance(loss, str) and loss == "auto":
        return keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, reduction="mean_with_sample_weight"
        )
    try:
        found = keras.losses.get(loss)
    except (TypeError, ValueError):
        found = None
    if found is None:
        expected = '`"auto"`, a `keras.losses.Loss`, or a function'
        raise refuse("loss", expected, loss)
    if not _reads_logits(found):
        # Of logits, it would be NaN.
        raise ValueError(
            "`loss` must read logits, which the model returns: pass a "
            "`keras.losses` object made with `from_logits=True`. Received: "
            f"loss={shown(loss)}, with `from_logits=False`"
        )
    return found


def _reads_logits(loss) -> bool:
    """Whether a loss does not ask for probabilities."""
    if inspect.isfunction(loss):
        argument = inspect.signature(loss).parameters.get("from_logits")
        return argument is None or argument.default is not False
    return getattr(loss, "from_logits", True) is not False


def _checked_sampler(sampler) -> keras_hub.samplers.Sampler:
    """Returns a sampler; raises a `ValueError` for anything else."""
    try:
        found = keras_hub.samplers.get(sampler)
    except (KeyError, TypeError, ValueError):
        found = None
    # It asks for a second model, which `generate` does not run.
    speculative = getattr(keras_hub.samplers, "SpeculativeSampler", ())
    if isinstance(found, keras_hub.samplers.Sampler) and not isinstance(
        found, speculative
    ):
        return found
    raise refuse(
        "sampler",
        f"one of {_SAMPLERS}, or a `keras_hub.samplers.Sampler` that needs no "
        "second model",
        sampler,
    )


def _yields(x) -> bool:
    """Whether something may give batches one after the other."""
    known = str | bytes | set | frozenset
    return hasattr(x, "__iter__") and not isinstance(x, known)
