"""Seconds of a step on one device and on several, at the same global batch.

    KERAS_BACKEND=torch python -m benchmarks.scaling --devices 1,2

Each device is one core of the CPU and has it for itself: PyTorch and JAX run a
process on each, TensorFlow one process with a logical device for each. Divided
by the number of devices, the seconds of one device are what several would take
if nothing had to be communicated; what they take beyond that is the cost of
communication, and of all that a process does for itself. Prints a JSON object.
"""

import itertools
import json
import math
import os
import socket
import statistics
import subprocess
import sys
import time
import warnings

from absl import app, flags
from command_line import check_backend, refuse_arguments, run
from flag_sections import Section, expect

FLAGS = flags.FLAGS

measured = Section("What is measured")
measured.several(
    "devices",
    ["1", "2"],
    "Numbers of devices, 1 among them.",
    value="N,N,...",
)
measured.count("steps", 12, "Steps, of which 4 warm up.", least=6)
measured.count("rounds", 3, "Times that each number of devices is measured.")
measured.hidden("measured")

sizes = Section("Sizes")
sizes.count("layers", 6, "Layers of the GPT-2.")
sizes.count("hidden_dim", 384, "Its hidden size.", least=64)
sizes.count("vocabulary", 8_192, "Its tokens.", least=300)
sizes.count("batch_size", 16, "Rows of all devices together.")
sizes.count("question", 96, "Characters of a question.", most=300)
expect("hidden_dim", lambda size: size % 64 == 0, "a multiple of 64")
expect(
    "devices",
    lambda counts: (
        all(count.isdecimal() and int(count) for count in counts)
        and "1" in counts
        and len({*counts}) == len(counts)
    ),
    "whole numbers with commas, 1 among them, each only once",
)

_WARM_UP, _THOUGHTS = 4, 3


def start_engine(backend, count, rank, address):
    """Makes devices of the CPU, and joins this process to the others."""
    cores = [*range(count)] if backend == "tensorflow" else [rank]
    os.sched_setaffinity(0, cores)
    if backend == "tensorflow":
        import tensorflow as tf

        (cpu,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * count
        )
    elif backend == "jax":
        import jax

        if count > 1:
            jax.config.update("jax_cpu_collectives_implementation", "gloo")
            jax.distributed.initialize(address, count, rank)
    else:
        import torch

        torch.set_num_threads(1)
        host, port = address.split(":")
        if count > 1:
            torch.distributed.init_process_group(
                "gloo",
                init_method=f"tcp://{host}:{port}",
                world_size=count,
                rank=rank,
            )


def measure(rank):
    """Trains in this process; prints the median seconds of a step."""
    import keras
    import keras_hub

    import keras_coconut
    from keras_coconut import make_word_tokenizer

    class Seconds(keras.callbacks.Callback):
        """Notes when each step was over, loss and all."""

        def __init__(self):
            super().__init__()
            self.ends = []

        def on_train_batch_end(self, batch, logs=None):
            float(logs["loss"])
            self.ends.append(time.perf_counter())

    words = [f" w{number}" for number in range(FLAGS.vocabulary - 261)]
    steps = [" w1 w2 w3 w4"] * (_THOUGHTS + 3)
    problems = [
        keras_coconut.Problem("q" * FLAGS.question, steps, str(number))
        for number in range(FLAGS.batch_size)
    ]
    keras.utils.set_random_seed(0)
    with keras_coconut.distribute():
        preprocessor = keras_coconut.ContinuousThoughtPreprocessor(
            make_word_tokenizer(words)
        )
        model = keras_coconut.ContinuousThoughtLM(
            keras_hub.models.GPT2Backbone(
                preprocessor.tokenizer.vocabulary_size(),
                num_layers=FLAGS.layers,
                num_heads=FLAGS.hidden_dim // 64,
                hidden_dim=FLAGS.hidden_dim,
                intermediate_dim=4 * FLAGS.hidden_dim,
                dropout=0.0,
                max_sequence_length=512,
            ),
            preprocessor,
        )
        dataset = keras_coconut.CurriculumDataset(
            problems,
            preprocessor,
            keras_coconut.Curriculum(_THOUGHTS),
            batch_size=FLAGS.batch_size,
            steps_per_epoch=FLAGS.steps,
        )
        dataset.stage = _THOUGHTS
        model.compile()
        # It stays at one stage.
        warnings.filterwarnings("ignore", ".*CurriculumScheduler")
        seconds = Seconds()
        model.fit(dataset, callbacks=[seconds], verbose=0)
    if rank:
        return
    ends = seconds.ends[_WARM_UP - 1 :]
    taken = [after - before for before, after in itertools.pairwise(ends)]
    weights = sum(math.prod(w.shape) for w in model.trainable_weights)
    print(json.dumps([statistics.median(taken), weights]))


def _run(backend, count):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    names = ("layers", "hidden_dim", "vocabulary", "batch_size", "question")
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.scaling"]
    command += [f"--{n}={getattr(FLAGS, n)}" for n in (*names, "steps")]
    processes = [
        subprocess.Popen(
            [*command, f"--measured={count} {rank} {address}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for rank in range(1 if backend == "tensorflow" else count)
    ]
    done = [process.communicate() for process in processes]
    for process, (_, error) in zip(processes, done):
        if process.returncode:
            raise SystemExit(error[-4000:])
    return json.loads(done[0][0].splitlines()[-1])


def main(argv):
    refuse_arguments(argv)
    backend = check_backend()
    if FLAGS.measured:
        count, rank, address = FLAGS.measured.split()
        start_engine(backend, int(count), int(rank), address)
        measure(int(rank))
        return
    counts = sorted(map(int, FLAGS.devices))
    if counts[-1] > os.cpu_count():
        raise app.UsageError(
            f"--devices must be at most {os.cpu_count()}, the number of cores. "
            f"Received: {counts[-1]}"
        )
    if any(FLAGS.batch_size % count for count in counts):
        raise app.UsageError(
            "--batch_size must be a multiple of each number of devices. "
            f"Received: {FLAGS.batch_size} for {counts}"
        )
    taken = {count: [] for count in counts}
    for _ in range(FLAGS.rounds):
        for count in counts:
            seconds, weights = _run(backend, count)
            taken[count].append(seconds)
            print(f"{count} devices: {seconds:.3f} s", file=sys.stderr)
    medians = {count: statistics.median(of) for count, of in taken.items()}
    results = {"backend": backend, "trainable_weights": weights}
    for count, seconds in medians.items():
        results[f"{count} devices"] = {
            "seconds": round(seconds, 4),
            "efficiency": round(medians[1] / count / seconds, 3),
            "beyond_a_share": round(seconds - medians[1] / count, 4),
        }
    print(json.dumps(results))


if __name__ == "__main__":
    run(main)
