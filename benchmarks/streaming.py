"""Trains on a problem file of gigabytes that it makes, and measures memory.

    KERAS_BACKEND=torch python -m benchmarks.streaming --gigabytes 2

Prints one JSON object: the seconds until the first batch when the file is
tokenized and when its tokens are in the cache, and by how much the memory of
each process grew from before the dataset to the end of the training.
"""

import itertools
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time

from absl import flags
from command_line import check_backend, refuse_arguments, run
from flag_sections import Section, expect

FLAGS = flags.FLAGS

data = Section("Data")
data.number("gigabytes", 2.0, "Size of the problem file.", least=1e-4)
data.text(
    "folder",
    None,
    "Where the files lie while it runs; the system's folder of temporary files "
    "if unset.",
    value="FOLDER",
)

training = Section("Training")
training.count("steps", 50, "Steps in each of two epochs.")
training.count("batch_size", 32, "Rows in a batch.")
training.count("length_groups", 1, "Groups of lengths.")
training.hidden("measured")

expect(
    "folder",
    lambda path: os.path.isdir(path) and os.access(path, os.W_OK),
    "a folder that exists and can be written to",
)

_WORDS = ("How much are ", " together?", "### ", " + ", " = ", ", ")


def write_problems(path, size):
    """Writes sums of eight numbers until the file has its size."""
    draw = random.Random(0)
    count = 0
    with open(path, "w") as file:
        while file.tell() < size:
            lines = []
            for _ in range(10_000):
                numbers = [draw.randrange(1_000) for _ in range(8)]
                total, steps = numbers[0], []
                for number in numbers[1:]:
                    steps.append(f"{total} + {number} = {total + number}")
                    total += number
                listed = ", ".join(map(str, numbers))
                question = f"How much are {listed} together?"
                entry = {"question": question, "steps": steps}
                lines.append(json.dumps({**entry, "answer": str(total)}))
            file.write("\n".join(lines) + "\n")
            count += len(lines)
    return count


def memory(name):
    """Megabytes of the process as Linux counts them."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"`{name}` must be a line of /proc/self/status")


def measure():
    """Trains in this process, and prints what it took."""
    started = time.perf_counter()
    import keras_hub

    import keras_coconut
    from keras_coconut import make_word_tokenizer

    numbers = [str(number) for number in range(1_000)]
    preprocessor = keras_coconut.ContinuousThoughtPreprocessor(
        make_word_tokenizer([*_WORDS, *numbers])
    )
    backbone = keras_hub.models.GPT2Backbone(
        preprocessor.tokenizer.vocabulary_size(),
        num_layers=2,
        num_heads=2,
        hidden_dim=64,
        intermediate_dim=128,
        max_sequence_length=128,
    )
    model = keras_coconut.ContinuousThoughtLM(backbone, preprocessor)
    model.compile()
    curriculum = keras_coconut.Curriculum(max_stage=1, extra_stage=False)
    options = dict(
        batch_size=FLAGS.batch_size, length_groups=FLAGS.length_groups
    )
    folder = pathlib.Path(FLAGS.folder)
    path = folder / "problems.jsonl"
    few = itertools.islice(
        keras_coconut.stream_problems(path), 2 * FLAGS.batch_size
    )
    small = keras_coconut.CurriculumDataset(
        few, preprocessor, curriculum, **options
    )
    # What any step takes is not the file's.
    model.fit(
        small,
        epochs=3,
        callbacks=[keras_coconut.CurriculumScheduler(small)],
        verbose=0,
    )
    before = memory("VmRSS")
    began = time.perf_counter()
    dataset = keras_coconut.CurriculumDataset(
        path,
        preprocessor,
        curriculum,
        cache_folder=folder / "cache",
        steps_per_epoch=FLAGS.steps,
        **options,
    )
    dataset[0]
    first_batch = time.perf_counter()
    history = model.fit(
        dataset,
        epochs=2,
        callbacks=[keras_coconut.CurriculumScheduler(dataset)],
        verbose=0,
    )
    print(
        json.dumps(
            {
                "seconds_to_first_batch": round(first_batch - began, 1),
                "with_imports": round(first_batch - started, 1),
                "megabytes_before": round(before),
                "megabytes_grown": round(memory("VmHWM") - before),
                "losses": history.history["loss"],
            }
        )
    )


def main(argv):
    refuse_arguments(argv)
    backend = check_backend()
    if FLAGS.measured:
        measure()
        return
    with tempfile.TemporaryDirectory(dir=FLAGS.folder) as folder:
        path = pathlib.Path(folder) / "problems.jsonl"
        count = write_problems(path, FLAGS.gigabytes * 10**9)
        results = {
            "backend": backend,
            "problems": count,
            "gigabytes": round(path.stat().st_size / 10**9, 3),
        }
        for start in ("first_start", "second_start"):
            command = [sys.executable, "-m", "benchmarks.streaming"]
            command += ["--measured=yes", f"--folder={folder}"]
            for name in ("steps", "batch_size", "length_groups"):
                command.append(f"--{name}={getattr(FLAGS, name)}")
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
            if done.returncode:
                raise SystemExit(done.returncode)
            print(done.stdout, file=sys.stderr, end="")
            results[start] = json.loads(done.stdout.splitlines()[-1])
        tokens = pathlib.Path(folder, "cache").rglob("*.bin")
        size = sum(file.stat().st_size for file in tokens)
        results["cache_gigabytes"] = round(size / 10**9, 3)
        print(json.dumps(results))


if __name__ == "__main__":
    run(main)
