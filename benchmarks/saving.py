"""Seconds of a training that is saved, beside the same one without saves.

    KERAS_BACKEND=torch python -m benchmarks.saving --every 50

Trains in turns with and without `ResumableTraining`, after a warm-up that
compiles. The time with saves includes the wait for the last one. Prints a JSON
object: medians in seconds, the overhead as a share, and the size of a save.
"""

import json
import os
import statistics
import sys
import tempfile
import time
import warnings

from absl import flags
from command_line import check_backend, refuse_arguments, run
from flag_sections import Section, expect

FLAGS = flags.FLAGS

_HEAD, _THOUGHTS = 32, 3

measured = Section("What is measured")
measured.count("every", 50, "Steps between two saves.")
measured.count("steps", 200, "Steps of each training.", least=2)
measured.count("rounds", 3, "Trainings with saves, and without.")

sizes = Section("Sizes")
sizes.count("layers", 2, "Layers of the GPT-2.")
sizes.count("hidden_dim", 256, "Its hidden size.", least=_HEAD)
sizes.count("batch_size", 32, "Rows in a batch.")
sizes.count("question", 120, "Characters of a question.", most=300)
expect("hidden_dim", lambda size: size % _HEAD == 0, f"a multiple of {_HEAD}")


def make_training():
    """Returns a function that trains once with callbacks, and says how long."""
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
    dataset = keras_coconut.CurriculumDataset(
        problems,
        preprocessor,
        keras_coconut.Curriculum(_THOUGHTS),
        batch_size=FLAGS.batch_size,
        steps_per_epoch=FLAGS.steps,
    )
    dataset.stage = _THOUGHTS
    model.compile()

    def train(*callbacks):
        begin = time.perf_counter()
        model.fit(dataset, callbacks=[*callbacks], verbose=0)
        return time.perf_counter() - begin

    return train


def main(argv):
    refuse_arguments(argv)
    backend = check_backend()
    train = make_training()
    import keras_coconut

    # It stays at one stage.
    warnings.filterwarnings("ignore", ".*CurriculumScheduler")
    train()
    plain, saved = [], []
    for number in range(FLAGS.rounds):
        with tempfile.TemporaryDirectory() as folder:
            resumable = keras_coconut.ResumableTraining(folder, FLAGS.every)
            turns = [(plain, ()), (saved, (resumable,))]
            # What comes second may find the machine warmer.
            for seconds, callbacks in turns if number % 2 else turns[::-1]:
                seconds.append(train(*callbacks))
            size = max(entry.stat().st_size for entry in os.scandir(folder))
        print(
            f"{saved[-1]:.2f} s with saves, {plain[-1]:.2f} s without",
            file=sys.stderr,
        )
    medians = [statistics.median(seconds) for seconds in (saved, plain)]
    results = {
        "backend": backend,
        "every": FLAGS.every,
        "steps": FLAGS.steps,
        "seconds_with_saves": round(medians[0], 3),
        "seconds_without": round(medians[1], 3),
        "overhead": round(medians[0] / medians[1] - 1, 4),
        "megabytes_of_a_save": round(size / 1e6, 2),
    }
    print(json.dumps(results))


if __name__ == "__main__":
    run(main)
