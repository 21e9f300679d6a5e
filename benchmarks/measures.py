"""The measurements themselves, on the backend of this process."""

import dataclasses
import platform
import resource
import time

import keras
import numpy as np

from benchmarks import models


def seconds_of(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def fit_function(model, data, batch_size):
    """One `fit` over the data, as a user runs it."""
    if keras.config.backend() == "tensorflow":
        batches = batches_without_tuner(data, batch_size)
        return lambda: model.fit(batches, verbose=0)
    x, y, weights = data
    return lambda: model.fit(
        x,
        y,
        sample_weight=weights,
        batch_size=batch_size,
        shuffle=False,
        verbose=0,
    )


def batches_without_tuner(data, batch_size):
    """A `tf.data.Dataset` without autotuning.

    The tuner's thread wakes after 10, 20, 40 ms and so on; a `fit` that ends
    while it sleeps may wait for it. Seen here: every `fit` of 10.3 to 20.4
    seconds took 20.5.
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    batches = tf.data.Dataset.from_tensor_slices(data).batch(batch_size)
    return batches.with_options(options)


def train(shape, mode, rounds, steps):
    """Seconds a training step, the model and its baseline in turns."""
    ours, baseline = models.make_batches(shape, steps)
    runs = {
        "coconut": fit_function(
            models.make_coconut(shape, mode), ours, shape.batch
        ),
        "baseline": fit_function(
            models.make_baseline(shape, mode), baseline, shape.batch
        ),
    }
    result = {f"{name}_first": seconds_of(run) for name, run in runs.items()}
    taken = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            taken[name].append(seconds_of(run) / steps)
    return {**result, **taken}


def compile_stages(shape, mode, rounds, steps):
    """Seconds to trace and compile, stage by stage, and the baseline's.

    What the first step of a stage takes longer than its second. Slots and
    lengths are the same in all stages, as a `CurriculumDataset` makes them on
    these backends where the responses of the stages are of one length.
    """
    del rounds, steps
    model = models.make_coconut(shape, mode)
    first = []
    for thoughts in range(shape.thoughts + 1):
        data, _ = models.make_batches(shape, 1, used=thoughts)
        run = fit_function(model, data, shape.batch)
        first.append(seconds_of(run) - seconds_of(run))
    _, data = models.make_batches(shape, 1)
    run = fit_function(models.make_baseline(shape, mode), data, shape.batch)
    return {"stages": first, "baseline": seconds_of(run) - seconds_of(run)}


def growth(shape, mode, rounds, steps):
    """Seconds a step by the number of thoughts, in turns.

    The slots are those that are used on PyTorch, and elsewhere as many in all
    cases, as a `CurriculumDataset` makes them.
    """
    model, runs = models.make_coconut(shape, mode), {}
    for thoughts in (0, shape.thoughts // 2, shape.thoughts):
        of_case, used = shape, thoughts
        if keras.config.backend() == "torch":
            of_case = dataclasses.replace(shape, thoughts=thoughts)
        data, _ = models.make_batches(of_case, steps, used=used)
        runs[thoughts] = fit_function(model, data, shape.batch)
        runs[thoughts]()
    taken = {thoughts: [] for thoughts in runs}
    for _ in range(rounds):
        for thoughts, run in runs.items():
            taken[thoughts].append(seconds_of(run) / steps)
    return {"coconut": taken}


def memory(shape, mode, rounds, steps, which, rematerialize=False):
    """Peak memory in bytes of a process that trains three steps."""
    del rounds, steps
    ours, baseline = models.make_batches(shape, 3)
    if which == "coconut":
        model, data = models.make_coconut(shape, mode, rematerialize), ours
    else:
        model, data = models.make_baseline(shape, mode), baseline
    fit_function(model, data, shape.batch)()
    # Kilobytes on Linux.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"peak": peak}


def generate(shape, mode, rounds, steps, tokens):
    """Seconds a question, and those of the first call."""
    del steps
    model = models.make_coconut(shape, mode)
    (x, _, _), _ = models.make_batches(shape, 1)
    x = {key: x[key] for key in list(x)[:3]}
    x["response_ids"] = np.zeros((shape.batch, 1), "int32")

    def run():
        model.generate(x, max_length=tokens, stop_token_ids=None)

    first = seconds_of(run)
    taken = [seconds_of(run) / shape.batch for _ in range(rounds)]
    return {"first": first, "coconut": taken}


MEASURES = {
    "train": train,
    "compile": compile_stages,
    "growth": growth,
    "memory": memory,
    "generate": generate,
}


def versions():
    return {
        "python": platform.python_version(),
        "keras": keras.__version__,
        keras.config.backend(): backend_version(),
    }


def backend_version():
    return __import__(keras.config.backend()).__version__


def device():
    backend = keras.config.backend()
    if backend == "jax":
        import jax

        return jax.devices()[0].device_kind
    if backend == "torch":
        import torch

        if torch.cuda.is_available():
            return torch.cuda.get_device_name()
        return f"cpu, {torch.get_num_threads()} threads"
    import tensorflow as tf

    names = tf.config.list_physical_devices("GPU")
    return names[0].name if names else "cpu"
