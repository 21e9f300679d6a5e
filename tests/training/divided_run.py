"""A run on several devices, and what it computed, as JSON on the last line.

    KERAS_BACKEND=jax python tests/training/divided_run.py 4
    KERAS_BACKEND=jax python tests/training/divided_run.py 4 model_parallel=2
    torchrun --nproc_per_node=2 tests/training/divided_run.py 2
    torchrun --nproc_per_node=2 tests/training/divided_run.py 2 \
        shard_optimizer=True

`test_distribution.py` and `test_model_parallel.py` compare it with the same run
on one device.
"""

import ast
import json
import os
import pathlib
import sys


def make_devices(count):
    """Makes several logical devices of one CPU."""
    if os.environ["KERAS_BACKEND"] == "jax":
        import jax

        jax.config.update("jax_num_cpu_devices", count)
    if os.environ["KERAS_BACKEND"] != "tensorflow":
        return
    import tensorflow as tf

    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * count
    )


def held_bytes(variables):
    """Bytes of variables on the first device of this process."""
    found = 0
    for variable in variables:
        value = variable.value
        if hasattr(value, "addressable_shards"):
            value = value.addressable_shards[0].data
        found += getattr(value, "nbytes", 0)
    return found


def next_number():
    """What dropout draws from next on PyTorch."""
    if os.environ["KERAS_BACKEND"] != "torch":
        return None
    import torch

    return float(torch.rand(()))


def make_optimizer(name):
    import keras

    if name == "SGD":
        # A gradient that is twice too large makes a step twice too large.
        return keras.optimizers.SGD(0.03)
    # Clipped: of the gradient of the whole batch, not of a device's part.
    return keras.optimizers.AdamW(1e-3, global_clipnorm=1.0)


def run(count, saves=None, of_model=None, optimizer="AdamW", **options):
    import keras
    import numpy as np
    import tiny

    import keras_coconut
    from keras_coconut.evaluation.problems import evaluate_problems

    losses = []

    class StepLosses(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            self.model.reset_metrics()

        def on_train_batch_end(self, batch, logs=None):
            losses.append(float(logs["loss"]))

    curriculum = keras_coconut.Curriculum(max_stage=2, mixing_probability=0.2)
    with keras_coconut.distribute(count, **options) as devices:
        assert devices.count * devices.model_parallel == count, devices
        keras.utils.set_random_seed(3)
        model = tiny.text_model(**{"layers": 2, **(of_model or {})})
        # The last batch holds 2 problems, and 6 rows that fill it up.
        dataset, validation = (
            keras_coconut.CurriculumDataset(
                tiny.problems(rows),
                model.preprocessor,
                curriculum,
                batch_size=8,
                seed=1,
            )
            for rows in (18, 9)
        )
        tiny.compiled(model, make_optimizer(optimizer))
        callbacks = [
            keras_coconut.CurriculumScheduler(dataset, validation),
            StepLosses(),
            keras_coconut.HealthMonitor(thoughts_every=2),
        ]
        if keras.config.backend() == "torch":
            import torch

            # Each process drops other numbers, as the documentation says.
            torch.manual_seed(devices.process)
        if saves:
            callbacks.append(keras_coconut.ResumableTraining(saves, every=2))
        history = model.fit(
            dataset,
            epochs=curriculum.num_epochs,
            validation_data=validation,
            callbacks=callbacks,
            verbose=0,
        ).history
        found = evaluate_problems(model, tiny.problems(5), max_length=4)
        x, *_ = validation[0]
        logits = np.zeros(1)
        if keras.config.backend() == "jax":
            # Ten rows are for no even number of devices but two.
            x = {key: np.concatenate([v, v])[:10] for key, v in x.items()}
            logits = model.predict(x, verbose=0)
        weights = model.get_weights()
        return {
            "process": devices.process,
            "losses": losses,
            "val_loss": history["val_loss"],
            "accuracy": history["sparse_categorical_accuracy"],
            "epochs": len(history["loss"]),
            # Stage 0 has no thoughts.
            "thought_norm": history["thought_norm"][1:],
            "predictions": list(found.predictions),
            "logits": [float(logits.mean()), *logits.shape],
            "weights": [float(np.abs(weight).sum()) for weight in weights],
            "optimizer": type(model.optimizer).__name__,
            "next_number": next_number(),
            "weight_bytes": held_bytes(model.trainable_variables),
            "state_bytes": held_bytes(model.optimizer.variables),
        }


def main(count, *options):
    sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
    make_devices(count)
    options = dict(option.split("=") for option in options)
    result = run(
        count,
        os.environ.get("DIVIDED_RUN_SAVES"),
        json.loads(os.environ.get("DIVIDED_RUN_MODEL", "{}")),
        os.environ.get("DIVIDED_RUN_OPTIMIZER", "AdamW"),
        **{name: ast.literal_eval(value) for name, value in options.items()},
    )
    # At once: the processes of `torchrun` share their output, and `print`
    # writes the end of a line apart where nothing is buffered.
    sys.stdout.write(json.dumps(result) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
