"""The training that `distributed_{jax,tensorflow,torch}.py` divide.

It is the same for one device and for many: `--batch_size` is that of all
devices together, and so is the loss of a step.
"""

import contextlib
import json
import pathlib
import time

import keras
from arithmetic_model import NUM_STEPS, make_model, make_preprocessor
from command_line import blame
from distributed_flags import FLAGS, check_devices

import keras_coconut
from keras_coconut import evaluate_problems, load_arithmetic
from keras_coconut.files import write_whole


class StepLosses(keras.callbacks.Callback):
    """Keeps the loss of every step, and ends after the last."""

    def __init__(self, steps):
        super().__init__()
        self.steps, self.losses = steps, []

    def on_train_batch_begin(self, batch, logs=None):
        # Keras logs the mean over the epoch so far.
        self.model.reset_metrics()

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(float(logs["loss"]))
        if len(self.losses) >= self.steps:
            self.model.stop_training = True


def train(devices, **options):
    """Trains the demo's arithmetic from a seed through all stages.

    Args:
        devices: int, or `None` for all there are.
        **options: Passed to `keras_coconut.distribute`.
    """
    splits = load_arithmetic(train=50_000, validation=0, test=200, seed=0)
    keras.utils.set_random_seed(FLAGS.seed)
    with contextlib.ExitStack() as stack:
        with blame(", ".join(f"--{name}" for name in ("devices", *options))):
            found = stack.enter_context(
                keras_coconut.distribute(devices, **options)
            )
        _train(found, splits)


def _train(devices, splits):
    check_devices(devices.count)
    model = make_model(make_preprocessor(), FLAGS.steps)
    curriculum = keras_coconut.Curriculum(
        max_stage=NUM_STEPS, extra_stage=False, mixing_probability=0.3
    )
    epochs = curriculum.num_epochs
    dataset = keras_coconut.CurriculumDataset(
        splits.train,
        model.preprocessor,
        curriculum,
        batch_size=FLAGS.batch_size,
        seed=FLAGS.seed,
        steps_per_epoch=-(-FLAGS.steps // epochs),
    )
    losses = StepLosses(FLAGS.steps)
    callbacks = [
        keras_coconut.CurriculumScheduler(dataset, reset_optimizer="never"),
        losses,
    ]
    if FLAGS.saves:
        callbacks.append(keras_coconut.ResumableTraining(FLAGS.saves))
    start = time.perf_counter()
    model.fit(dataset, epochs=epochs, callbacks=callbacks, verbose=2)
    seconds = time.perf_counter() - start
    # Every process computes the same answers.
    found = evaluate_problems(model, splits.test, max_length=12, verbose=0)
    if devices.process:
        return
    if FLAGS.losses:
        write_whole(pathlib.Path(FLAGS.losses), json.dumps(losses.losses))
    print(
        f"{len(losses.losses)} steps in {seconds:.1f} s, {found.accuracy:.1%} "
        f"of {len(splits.test)} answers right"
    )
