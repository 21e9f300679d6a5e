"""A small training run that is killed again and again, and resumed.

    KERAS_BACKEND=jax python tests/training/killed_run.py FOLDER --kills 20

compares it with an undisturbed run, bit for bit. Without `--kills`, it is the
run itself, in FOLDER; `test_resumable_training.py` calls it so.
"""

import argparse
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

TESTS = pathlib.Path(__file__).parents[1]
# What a run does until it is killed, in the environment: a word and a count.
WHEN = "KILLED_RUN_WHEN"


def start(folder, when=None, **variables):
    """Starts the run in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
    environment.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
    environment.pop(WHEN, None)
    if when is not None:
        environment[WHEN] = when
        # It reads JAX's cache, and leaves no half of a program in it.
        environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "1e9"
    folder.mkdir(parents=True, exist_ok=True)
    return subprocess.Popen(
        [sys.executable, __file__, str(folder)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=(folder / "errors.txt").open("w"),
        text=True,
    )


def finish(folder, **variables):
    """Runs to the end; returns what the run wrote about its result."""
    process = start(folder, **variables)
    process.communicate()
    if process.returncode:
        raise RuntimeError((folder / "errors.txt").read_text())
    return json.loads((folder / "result.json").read_text())


def kill(folder, when):
    """Runs until the run kills itself; returns whether it did."""
    process = start(folder, when)
    process.communicate()
    if process.returncode not in (0, -signal.SIGKILL):
        raise RuntimeError((folder / "errors.txt").read_text())
    return process.returncode != 0


def kill_somewhere(folder, draw, longest):
    """Kills a run at a random moment after its first save."""
    process = start(folder)
    process.stdout.readline()
    try:
        process.wait(draw.random() * longest)
    except subprocess.TimeoutExpired:
        process.kill()
    process.communicate()
    if process.returncode not in (0, -signal.SIGKILL):
        raise RuntimeError((folder / "errors.txt").read_text())
    return process.returncode != 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--kills", type=int)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.kills is None:
        return run(arguments.folder)
    begin = time.perf_counter()
    undisturbed = finish(arguments.folder / "undisturbed")
    longest = undisturbed.pop("seconds")
    print(f"undisturbed: {time.perf_counter() - begin:.0f} s", flush=True)
    draw = random.Random(arguments.seed)
    kills, runs = 0, 0
    while kills < arguments.kills:
        folder = arguments.folder / f"run-{runs}"
        killed, runs = 0, runs + 1
        while kills < arguments.kills:
            if draw.random() < 0.3:
                when = f"save {draw.randint(1, 6)}"
                alive = not kill(folder, when)
            else:
                when = "a random moment"
                alive = not kill_somewhere(folder, draw, longest)
            if alive:
                break
            kills, killed = kills + 1, killed + 1
            print(f"run {runs}, kill {kills}: {when}", flush=True)
        result = finish(folder)
        del result["seconds"]
        differing = [k for k in result if result[k] != undisturbed[k]]
        print(f"run {runs}: {killed} kills, differs in {differing}", flush=True)
        if differing:
            sys.exit(1)


# === The run ===


def run(folder):
    import hashlib

    import keras

    sys.path.insert(0, str(TESTS))
    import tiny
    from keras import ops

    import keras_coconut
    from keras_coconut.evaluation.answer_accuracy import AnswerAccuracy

    word, count = os.environ.get(WHEN, "never 0").split()
    if word == "save":
        kill_in_save(int(count))

    class At(keras.callbacks.Callback):
        """Kills the process at a step or in a validation."""

        async_safe = True
        seen = 0

        def on_train_batch_begin(self, batch, logs=None):
            if not self.seen:
                print("begun", flush=True)  # And so saved once.
                self.begun = time.perf_counter()
            self.seen += 1
            if word == "step" and self.seen == int(count):
                os.kill(os.getpid(), signal.SIGKILL)

        def on_epoch_end(self, epoch, logs=None):
            if word == "epoch" and epoch == int(count):
                os.kill(os.getpid(), signal.SIGKILL)

    keras.utils.set_random_seed(3)
    dropout = float(os.environ.get("KILLED_RUN_DROPOUT", "0.2"))
    model = tiny.text_model(layers=1, dropout=dropout)
    curriculum = keras_coconut.Curriculum(
        max_stage=1, epochs_per_stage=3, mixing_probability=0.3
    )
    dataset = keras_coconut.CurriculumDataset(
        tiny.problems(22), model.preprocessor, curriculum, batch_size=4, seed=1
    )
    tiny.compiled(model, keras.optimizers.AdamW(3e-2))
    at = At()
    history = model.fit(
        dataset,
        epochs=curriculum.num_epochs,
        verbose=0,
        callbacks=[
            keras_coconut.CurriculumScheduler(dataset),
            at,
            AnswerAccuracy(
                tiny.problems(6),
                every=2,
                max_length=4,
                best_preset=folder / "best",
                curriculum=curriculum,
            ),
            keras.callbacks.CSVLogger(str(folder / "log.csv"), append=True),
            keras.callbacks.ReduceLROnPlateau("loss", 0.5, patience=1),
            keras_coconut.ResumableTraining(
                folder / "saves",
                every=2,
                keep=int(os.environ.get("KILLED_RUN_KEEP", "2")),
            ),
        ],
    )
    best = folder / "best" / "validation.json"
    figures = json.loads(best.read_text())
    loaded = keras_coconut.ContinuousThoughtLM.from_preset(str(folder / "best"))

    def digest(variables):
        found = hashlib.sha256()
        for variable in variables:
            found.update(ops.convert_to_numpy(variable).tobytes())
        return found.hexdigest()

    result = {
        "variables": digest(model.variables),
        "optimizer": digest(model.optimizer.variables),
        "best": digest(loaded.weights),
        "best_accuracy": [figures["accuracy"], figures["predictions"]],
        "history": history.history,
        "epochs": history.epoch,
        "log": (folder / "log.csv").read_text(),
        "num_thoughts": model.num_thoughts,
        "seconds": time.perf_counter() - getattr(at, "begun", 0),
    }
    (folder / "result.json").write_text(json.dumps(result))


def kill_in_save(count):
    """Lets the process kill itself with a part of a save written."""
    from keras_coconut.training import saves

    write_save, write = saves.Saves._write, saves._Hashed.write
    begun = []

    def counted(self, number, state):
        begun.append(number)
        write_save(self, number, state)

    def half(self, data):
        if len(begun) == count and self._file.tell() > 10_000:
            write(self, data[: len(data) // 2])
            self._file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        return write(self, data)

    saves.Saves._write, saves._Hashed.write = counted, half


if __name__ == "__main__":
    main()
