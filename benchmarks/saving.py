"""What saving costs: seconds of a training with `ResumableTraining` or without.

    KERAS_BACKEND=torch python -m benchmarks.saving --every 50

Trains in turns with saves and without, after a warm-up. The saves follow each
other closely, so that their seconds stand out from the noise of a training; the
overhead is computed from them. They include the saves before the first step and
after the last one, for which the training waits. Prints a JSON object: medians
in seconds, the overhead of one save every `--every` steps as a share, and the
size of a save.
"""

import json
import os
import statistics
import sys
import tempfile
import time
import warnings

from absl import app, flags
from command_line import check_backend, refuse_arguments, run
from flag_sections import Section, expect

FLAGS = flags.FLAGS

_HEAD, _THOUGHTS = 32, 3

measured = Section("What is measured")
measured.count("every", 50, "Steps between two saves, for the overhead.")
measured.count("apart", 5, "Steps between two saves of a measured training.")
measured.count("steps", 60, "Steps of each training.")
measured.count("rounds", 4, "Trainings with saves, and without.")
measured.text(
    "folder",
    None,
    "Where the saves lie while it runs, on the disk that counts; "
    "the system's folder of temporary files if unset.",
    value="FOLDER",
)

sizes = Section("Sizes")
sizes.count("layers", 2, "Layers of the GPT-2.")
sizes.count("hidden_dim", 256, "Its hidden size.", least=_HEAD)
sizes.count("batch_size", 32, "Rows in a batch.")
sizes.count("question", 120, "Characters of a question.", most=300)
expect(
    "folder",
    lambda path: os.path.isdir(path) and os.access(path, os.W_OK),
    "a folder that exists and can be written to",
)
expect("hidden_dim", lambda size: size % _HEAD == 0, f"a multiple of {_HEAD}")


def make_training():
    """Returns a function that trains with callbacks and returns the seconds."""
    import keras
    import keras_hub

    import keras_coconut

    keras.utils.set_random_seed(0)
    preprocessor = keras_coconut.ContinuousThoughtPreprocessor(
        keras_coconut.make_word_tokenizer([" then"])
    )
    model = keras_coconut.ContinuousThoughtLM(
        keras_hub.models.GPT2Backbone(
            preprocessor.tokenizer.vocabulary_size(),
            num_layers=FLAGS.layers,
            num_heads=FLAGS.hidden_dim // _HEAD,
            hidden_dim=FLAGS.hidden_dim,
            intermediate_dim=4 * FLAGS.hidden_dim,
            dropout=0.0,
            max_sequence_length=512,
        ),
        preprocessor,
    )
    problems = [
        keras_coconut.Problem(
            "q" * FLAGS.question, [" then"] * (_THOUGHTS + 8), str(number)
        )
        for number in range(FLAGS.batch_size)
    ]
    model.compile()

    def train(steps, *callbacks):
        dataset = keras_coconut.CurriculumDataset(
            problems,
            preprocessor,
            keras_coconut.Curriculum(_THOUGHTS),
            batch_size=FLAGS.batch_size,
            steps_per_epoch=steps,
        )
        dataset.stage = _THOUGHTS
        begin = time.perf_counter()
        model.fit(dataset, callbacks=[*callbacks], verbose=0)
        return time.perf_counter() - begin

    return train


def main(argv):
    refuse_arguments(argv)
    backend = check_backend()
    if FLAGS.apart >= FLAGS.steps:
        raise app.UsageError(
            "--apart must be below --steps, for a save while it trains. "
            f"Received: {FLAGS.apart} of {FLAGS.steps}"
        )
    train = make_training()
    # It stays at one stage.
    warnings.filterwarnings("ignore", ".*CurriculumScheduler")
    train(2)
    plain, saved = [], []
    for number in range(FLAGS.rounds):
        # What comes second may find the machine warmer.
        for with_saves in (number % 2 > 0, number % 2 == 0):
            if with_saves:
                seconds, size = train_with_saves(train)
                saved.append(seconds)
            else:
                plain.append(train(FLAGS.steps))
        print(
            f"{saved[-1]:.2f} s with saves, {plain[-1]:.2f} s without",
            file=sys.stderr,
        )
    with_saves, without = statistics.median(saved), statistics.median(plain)
    # One before the first step, and one after the last.
    saves = 2 + (FLAGS.steps - 1) // FLAGS.apart
    of_a_step = without / FLAGS.steps
    of_a_save = (with_saves - without) / saves
    results = {
        "backend": backend,
        "steps": FLAGS.steps,
        "saves": saves,
        "seconds_with_saves": round(with_saves, 5),
        "seconds_without": round(without, 5),
        "seconds_of_a_step": round(of_a_step, 5),
        "seconds_of_a_save": round(of_a_save, 5),
        "overhead": round(of_a_save / (FLAGS.every * of_a_step), 5),
        "every": FLAGS.every,
        "megabytes_of_a_save": round(size / 1e6, 2),
    }
    print(json.dumps(results))


def train_with_saves(train):
    """Returns the seconds of a training, and the bytes of a save."""
    import keras_coconut

    with tempfile.TemporaryDirectory(dir=FLAGS.folder) as folder:
        saving = keras_coconut.ResumableTraining(folder, FLAGS.apart)
        seconds = train(FLAGS.steps, saving)
        saves = [e for e in os.scandir(folder) if e.name.endswith(".save")]
        return seconds, max(save.stat().st_size for save in saves)


if __name__ == "__main__":
    run(main)
