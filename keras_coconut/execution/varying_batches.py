"""Batches whose shapes change from stage to stage, on their way to a step.

On TensorFlow Keras freezes the shapes of a `PyDataset` at its first two batches
and traces the step on the symbolic shapes of its iterator, in which the
number of thoughts is unknown and a loop over them impossible. So there the
batches reach Keras through a `tf.data.Dataset` of unknown lengths, and a step
function is kept for each set of concrete shapes. JAX and PyTorch take each
batch as it comes.

On every backend a step function checks its batch before it runs: JAX reads an
id outside the vocabulary as NaN, and a GPU may read it as 0.
"""

import contextlib
import contextvars
import inspect
import itertools
from typing import Any

import keras
from keras import tree

from keras_coconut.execution import compilation, replicas
from keras_coconut.execution.prefetching import Prefetcher

# True while a step runs whose batch has been checked.
_within_step = contextvars.ContextVar("within_step", default=False)


class VaryingBatches(keras.utils.PyDataset):
    """A `PyDataset` that orders its own batches, of any shape in each epoch.

    Keras may shuffle the batches of a `PyDataset`; `ContinuousThoughtLM.fit`
    takes those of a `VaryingBatches` in their order, so that a seed means the
    same on every backend. With `workers` or `use_multiprocessing` they are
    made ahead, but never past the end of an epoch: a batch follows from `state`
    and its index, however many workers make it.
    """

    # The first batch to train on in the epoch; those before it are skipped.
    first_batch = 0

    @property
    def state(self) -> Any:
        """What else than its index a batch follows from; it can be pickled."""
        return None

    @state.setter
    def state(self, state):
        del state

    def describe(self) -> dict[str, Any]:
        """Returns everything that determines the batches, as plain values."""
        return {}

    def check_callbacks(self, callbacks: Any, validation: bool = False) -> None:
        """Refuses callbacks of a `fit` that do not go with the dataset.

        Args:
            callbacks: what `fit` was given.
            validation: bool. Whether this is the `validation_data`. Defaults
                to `False`.
        """

    def train(
        self, fit: Any, callbacks: Any, model: Any, epochs: int, verbose: Any
    ) -> Any:
        """Returns what a `fit` returns, with callbacks as the dataset wants.

        Args:
            fit: function of callbacks, Keras' `fit` with all other arguments.
            callbacks, epochs, verbose: what `fit` was given.
            model: the model that trains.
        """
        del model, epochs, verbose
        return fit(callbacks)


class _InOrder(keras.utils.PyDataset):
    """A `VaryingBatches` as Keras iterates it: one batch after the other."""

    def __init__(self, dataset, get, training):
        super().__init__()
        self._dataset, self._get, self._training = dataset, get, training
        self._skipped = None

    def __len__(self):
        return len(self._dataset)

    def __getitem__(self, index):
        if not self._training or index >= self._dataset.first_batch:
            return self._get(index)
        if self._skipped is None:
            # Any batch will do, and the workers shall not make them all.
            self._skipped = self._dataset[index]
        return self._skipped

    def on_epoch_begin(self):
        self._dataset.on_epoch_begin()

    def on_epoch_end(self):
        self._dataset.on_epoch_end()


@contextlib.contextmanager
def adapted(dataset, training=False):
    """Gives what Keras should iterate in place of a dataset.

    Dictionaries that a generator yields alone become tuples, which Keras wants
    there. Anything else is passed on unchanged.

    Args:
        dataset: what a method of the model was given.
        training: bool. Whether to train on it, from its `first_batch` on: it
            may be the validation data, too. Defaults to `False`.
    """
    if inspect.isgenerator(dataset):
        yield (b if isinstance(b, tuple) else (b,) for b in dataset)
        return
    if not isinstance(dataset, VaryingBatches):
        yield dataset
        return
    with Prefetcher(dataset) as get:
        ordered = _InOrder(dataset, get, training)
        if keras.config.backend() == "tensorflow":
            yield _of_unknown_lengths(ordered)
        else:
            yield ordered


def _of_unknown_lengths(dataset):
    import tensorflow as tf

    def batches():
        dataset.on_epoch_begin()
        for index in range(len(dataset)):
            yield dataset[index]
        dataset.on_epoch_end()

    signature = tree.map_structure(
        lambda array: tf.TensorSpec([None] * array.ndim, array.dtype),
        dataset[0],
    )
    data = tf.data.Dataset.from_generator(batches, output_signature=signature)
    data = data.apply(tf.data.experimental.assert_cardinality(len(dataset)))
    options = tf.data.Options()
    # There is nothing to tune, and the tuner's thread sleeps for twice as long
    # each time: an epoch that ends then may wait for it, up to a minute.
    options.autotune.enabled = False
    data = data.with_options(options)
    # A stage must not change under batches that were made ahead of it: the
    # iterator of an epoch ends with the epoch, so no more is read than it has.
    return data.prefetch(1)


def make_step(model, name, make, force, look=None) -> None:
    """Makes a step function that checks its batches before it runs.

    On TensorFlow it has a trace for each set of shapes.

    Args:
        model: the `keras.Model`.
        name: `"train_function"`, `"test_function"` or `"predict_function"`,
            the attribute under which Keras keeps it.
        make: Keras' own method that makes it.
        force: bool. Whether to make it again if there is one.
        look: function of a batch, which raises an error if the model cannot
            read it. Defaults to `None`.
    """
    if getattr(model, name) is not None and not force:
        return
    backend = keras.config.backend()
    functions, function = {}, None
    if backend == "jax":
        # Now: it asks the variables how devices share them, and within an
        # epoch they are empty.
        with _as_new(model, name):
            make(force=True)
        function = getattr(model, name)

    def function_for(batches):
        """Returns a function for such batches, and whether it is a new one."""
        shapes = None
        if backend != "torch":
            shapes = str(tree.map_structure(_shapes, batches))
        if shapes in functions:
            return functions[shapes], False
        # JAX keeps the programs of several shapes itself.
        functions[shapes] = function
        if function is None:
            make(force=True)
            functions[shapes] = getattr(model, name)
            setattr(model, name, step)
        return functions[shapes], backend != "torch"

    def step(*args):
        # JAX hands the state in; all hand in batches or an iterator of them.
        *state, data = args
        given = isinstance(data, list | tuple)
        if name == "train_function" and getattr(model, "skips_step", False):
            # It was taken before the run was interrupted.
            if not given:
                list(itertools.islice(data, model.steps_per_execution))
            logs = {}
            if getattr(model, "leaves_step_out", False):
                # It may be the last one, whose logs are those of the epoch.
                logs = _metrics(model, *state)
            return (logs, *state) if state else logs
        try:
            batches = data
            if not given:
                batches = list(
                    itertools.islice(data, model.steps_per_execution)
                )
            if look is not None:
                for batch in batches:
                    for part in _local_parts(batch):
                        look(part)
        except BaseException:
            if state:
                _give_back(model, name, state[0])
            raise
        if not batches:
            raise StopIteration
        function, new = function_for(batches)
        within = _within_step.set(True)
        try:
            with (
                compilation.announced(_describe(name, batches), new),
                replicas.clipping_together(model),
            ):
                return function(*state, batches if given else iter(batches))
        except BaseException:
            # Such as Ctrl-C while a program is compiled.
            if state and not any(map(_is_donated, tree.flatten(state))):
                _give_back(model, name, state[0])
            raise
        finally:
            _within_step.reset(within)

    setattr(model, name, step)


@contextlib.contextmanager
def _as_new(model, name):
    """Makes Keras give JAX a new function for each step function.

    JAX finds programs by their function, and a method equals itself. So after
    `compile` it would reuse the old program, with the old loss and metrics.
    """
    step = name.replace("function", "step")
    method = getattr(model, step)
    model.__dict__[step] = lambda *args: method(*args)
    try:
        yield
    finally:
        del model.__dict__[step]


def _metrics(model, state=None):
    """Returns the metrics as they are; on JAX they are in the state."""
    if state is None:
        return model.get_metrics_result()
    values = zip(model.metrics_variables, state[-1])
    with keras.StatelessScope([*values]):
        return model.get_metrics_result()


def looked_at() -> bool:
    """Whether a step is running that has checked its batch."""
    return _within_step.get()


def has_values(tensor) -> bool:
    """Whether a tensor's values can be read, not only its shape."""
    if isinstance(tensor, keras.KerasTensor):
        return False
    backend = keras.config.backend()
    if backend == "jax":
        import jax

        return not isinstance(tensor, jax.core.Tracer)
    if backend == "tensorflow":
        import tensorflow as tf

        return not tf.is_symbolic_tensor(tensor)
    import torch

    if torch.compiler.is_compiling():
        return False
    return not (torch.is_tensor(tensor) and tensor.is_meta)


def _is_donated(value) -> bool:
    """Whether JAX has given the memory of an array to a program."""
    return hasattr(value, "is_deleted") and value.is_deleted()


def _give_back(model, name, state) -> None:
    """Puts back the values that Keras takes out of the variables on JAX.

    It does so itself only once a step has run.
    """
    groups = [model.trainable_variables, model.non_trainable_variables]
    if name == "train_function":
        groups.append(model.optimizer.variables)
    if name != "predict_function":
        groups.append(model.metrics_variables)
    for variables, values in zip(groups, state):
        for variable, value in zip(variables, values):
            variable.assign(value)


def _local_parts(batch):
    """Returns the parts of a batch that this process holds, one a device."""
    leaves = [_parts_of(tensor) for tensor in tree.flatten(batch)]
    return [
        tree.pack_sequence_as(
            batch, [parts[min(i, len(parts) - 1)] for parts in leaves]
        )
        for i in range(max(map(len, leaves)))
    ]


def _parts_of(tensor):
    if not getattr(tensor, "is_fully_addressable", True):
        return [shard.data for shard in tensor.addressable_shards]
    # `tf.distribute` has one value for each replica.
    values = getattr(tensor, "values", None)
    return list(values) if isinstance(values, tuple) else [tensor]


def _shapes(tensor):
    if tensor is None:  # No labels or no weights.
        return None
    return [tuple(part.shape) for part in _parts_of(tensor)]


def _describe(name, batches) -> str:
    what = {"train": "training", "test": "evaluation"}.get(
        name.removesuffix("_function"), "prediction"
    )
    x, *_ = keras.utils.unpack_x_y_sample_weight(batches[0])
    lengths = [
        f"{key.removesuffix('_mask')} {_shapes(value)[0][1]}"
        for key, value in x.items()
        if key.endswith("_mask")
    ]
    return f"the {what} step for the lengths {', '.join(lengths)}"
