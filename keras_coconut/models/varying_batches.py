"""Batches whose shapes change from stage to stage, and TensorFlow.

JAX and PyTorch take each batch as it comes. Keras on TensorFlow freezes the
shapes of a `PyDataset` at its first two batches, and traces the train step on
the symbolic shapes of its iterator, in which the number of thoughts is unknown
and a Python loop over them impossible. This file is the way around both: the
batches reach Keras through a `tf.data.Dataset` of unknown lengths, and a step
function is kept for each set of concrete shapes.
"""

import itertools

import keras
from keras import tree


class VaryingBatches(keras.utils.PyDataset):
    """A `PyDataset` that orders its own batches, of any shape in each epoch.

    Keras may shuffle the batches of a `PyDataset`; `ContinuousThoughtLM.fit`
    takes those of a `VaryingBatches` in their order, so that a seed means the
    same on every backend.
    """

    def check_callbacks(self, callbacks) -> None:
        """Called by `fit` before training with the user's callbacks."""


def adapt(dataset):
    """Returns what Keras should iterate for a `VaryingBatches`."""
    if keras.config.backend() != "tensorflow":
        return dataset
    import tensorflow as tf

    def batches():
        for index in range(len(dataset)):
            yield dataset[index]

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


def make_step(model, name, make, force) -> None:
    """Makes a step function, on TensorFlow one with a trace for each shape.

    Args:
        model: the `keras.Model`.
        name: `"train_function"`, `"test_function"` or `"predict_function"`,
            the attribute under which Keras keeps it.
        make: Keras' own method that makes it.
        force: bool. Whether to make it anew if there is one.
    """
    if keras.config.backend() != "tensorflow":
        make(force)
        return
    if getattr(model, name) is not None and not force:
        return
    functions = {}

    def function_for(batches):
        shapes = str(tree.map_structure(_shapes, batches))
        if shapes not in functions:
            make(force=True)
            functions[shapes] = getattr(model, name)
            setattr(model, name, step)
        return functions[shapes]

    def step(data):
        if name == "predict_function":
            return function_for(data)(data)
        batches = list(itertools.islice(data, model.steps_per_execution))
        if not batches:
            raise StopIteration
        # Keras takes the items of an iterator that is not a `tf.data` one as
        # they are, with concrete shapes.
        return function_for(batches)(iter(batches))

    setattr(model, name, step)


def _shapes(tensor):
    values = getattr(tensor, "values", [tensor])  # One for each replica.
    return [tuple(value.shape) for value in values]
