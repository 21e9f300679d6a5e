"""Runs an exported model without Keras: file, inputs, where to put logits."""

import os
import sys

import numpy as np

path, inputs, output = sys.argv[1:]
with np.load(inputs) as file:
    batch = dict(file)


def onnx(path):
    import onnxruntime

    assert "keras" not in sys.modules
    session = onnxruntime.InferenceSession(path)
    assert {each.name for each in session.get_inputs()} == set(batch)
    return lambda x: session.run(["logits"], x)[0]


def saved_model(path):
    import tensorflow as tf

    loaded = tf.saved_model.load(path)
    serve = loaded.signatures["serving_default"]
    (keys,) = serve.structured_input_signature[1:]
    assert set(keys) == set(batch)

    def run(x):
        tensors = {key: tf.constant(value) for key, value in x.items()}
        return serve(**tensors)["logits"].numpy()

    return run


run = onnx(path) if os.path.isfile(path) else saved_model(path)
found = {
    "whole": run(batch),
    "alone": run({key: value[1:2] for key, value in batch.items()}),
}
assert not {"keras_hub", "keras_coconut"} & set(sys.modules)
np.savez(output, **found)
