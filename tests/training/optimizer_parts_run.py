"""Optimizers on two processes, each with its part of the state, and alone.

    torchrun --nproc_per_node=2 tests/training/optimizer_parts_run.py

`test_model_parallel.py` reads the JSON of a line of each process.
"""

import json
import os
import sys

os.environ.setdefault("KERAS_BACKEND", "torch")
STEPS = 4


class Model:
    """What an update needs to know of a model."""

    def __init__(self, optimizer):
        import keras
        import numpy as np

        random = np.random.default_rng(0)
        self.optimizer = optimizer
        # Sizes that two processes cannot share evenly, and a single number.
        self.trainable_variables = [
            keras.Variable(random.normal(size=shape).astype("float32"))
            for shape in ((5, 3), (7,), (1,), (4, 4))
        ]


def optimizers():
    import keras

    every = keras.optimizers
    for name in (
        "Adadelta",
        "Adagrad",
        "Adam",
        "Adamax",
        "AdamW",
        "Lion",
        "Nadam",
        "RMSprop",
        "SGD",
    ):
        yield name, lambda name=name: getattr(every, name)(0.1)
    yield "momentum", lambda: every.SGD(0.1, momentum=0.9)
    yield "amsgrad", lambda: every.Adam(0.1, amsgrad=True)
    for clip in ("clipnorm", "global_clipnorm", "clipvalue"):
        yield clip, lambda clip=clip: every.AdamW(0.1, **{clip: 0.5})
    yield (
        "accumulation",
        lambda: every.Adam(0.1, gradient_accumulation_steps=2),
    )
    yield "loss scale", lambda: every.LossScaleOptimizer(every.Adam(0.1))


def update(optimizer):
    """Weights and state after some steps, and the bytes of the state."""
    import numpy as np
    import torch

    from keras_coconut.execution import optimizer_parts

    model = Model(optimizer)
    optimizer_parts.build(optimizer, model.trainable_variables)
    random = np.random.default_rng(1)
    for _ in range(STEPS):
        gradients = [
            torch.from_numpy(random.normal(size=v.shape).astype("float32"))
            for v in model.trainable_variables
        ]
        with optimizer_parts.updating(model):
            model.optimizer.apply(gradients, model.trainable_variables)
    assert model.optimizer is optimizer
    with optimizer_parts.gathered():
        state = [np.array(v) for v in optimizer.variables]
    values = [np.array(v) for v in model.trainable_variables]
    held = sum(v.value.nbytes for v in optimizer.variables)
    return values + state, held


def compare(make):
    from keras_coconut.execution import optimizer_parts

    alone, whole = update(make())
    with optimizer_parts.divided(True):
        together, part = update(make())
    return {
        "apart": max(
            float(abs(a - b).max())
            for a, b in zip(alone, together, strict=True)
        ),
        "whole": whole,
        "part": part,
    }


def error_of(call):
    try:
        call()
    except ValueError as error:
        return str(error)


def refused():
    import keras

    from keras_coconut.execution import optimizer_parts

    every = keras.optimizers

    class Own(every.AdamW):
        pass

    with optimizer_parts.divided(True):
        found = {
            name: error_of(lambda make=make: update(make()))
            for name, make in (
                ("a subclass", lambda: Own(0.1)),
                ("Adafactor", lambda: every.Adafactor(0.1)),
                ("averages", lambda: every.AdamW(0.1, use_ema=True)),
            )
        }
        model = Model(every.AdamW(0.1))
        model.optimizer.build(model.trainable_variables[:])
        found["built"] = error_of(lambda: optimizer_parts.prepare(model))
        model = Model(every.AdamW(0.1))
        optimizer_parts.prepare(model)
        slot = model.optimizer.variables[-1]
        found["saved by one"] = error_of(slot.numpy)
    return found


def main():
    import torch

    torch.distributed.init_process_group("gloo")
    found = {name: compare(make) for name, make in optimizers()}
    line = json.dumps({"updates": found, "refused": refused()}) + "\n"
    sys.stdout.write(line)
    sys.stdout.flush()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
