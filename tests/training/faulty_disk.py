"""What is written on a disk that is full, and in a folder that is read-only.

    python tests/training/faulty_disk.py FOLDER

Makes a small file system of its own in FOLDER, in which only this process and
its children see it, and prints what happened as JSON.
"""

import json
import os
import pathlib
import subprocess
import sys

import keras

TESTS = pathlib.Path(__file__).parents[1]
MEGABYTES = 3


def main(folder):
    if len(sys.argv) == 2:
        mount = f"mount -t tmpfs -o size={MEGABYTES}m tmpfs {folder}"
        command = [sys.executable, __file__, str(folder), "mounted"]
        os.execvp(
            "unshare",
            ["unshare", "-rm", "sh", "-c", f'{mount} && exec "$@"', "sh"]
            + command,
        )
    sys.path.insert(0, str(TESTS))
    found = {**full(folder / "full"), **read_only(folder / "full")}
    print(json.dumps(found))


def refused(function, *args, **kwargs):
    """Returns what a function raises, as text."""
    try:
        function(*args, **kwargs)
    except OSError as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


def listed(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def fill(folder):
    """Leaves no byte; returns the file that takes them."""
    filler = folder / "filler"
    with open(filler, "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1024))
        except OSError:
            pass
    return filler


def full(folder):
    import tiny
    from test_resumable_training import make, train, values

    import keras_coconut

    folder.mkdir(parents=True)
    model, dataset = make()
    saves, preset, file = (folder / n for n in ("saves", "preset", "p.json"))
    # Two epochs of six, and files that are whole.
    try:
        train(saves, step=7, made=(model, dataset))
    except Exception as error:
        assert type(error).__name__ == "Interruption", error
    model.save_to_preset(preset)
    keras_coconut.write_problems(file, tiny.problems(3))
    before = listed(folder)
    filler = fill(folder)
    found = {
        "preset": refused(model.save_to_preset, preset),
        "problems": refused(
            keras_coconut.write_problems, file, tiny.problems(200)
        ),
        "run": refused(train, saves, made=make()),
    }
    filler.unlink()
    found["litter"] = sorted({*listed(folder)} ^ {*before})
    found["read"] = len(keras_coconut.read_problems(file))
    again = keras_coconut.ContinuousThoughtLM.from_preset(preset)
    found["same"] = all(
        (a == b).all() for a, b in zip(again.get_weights(), model.get_weights())
    )
    resumed, _ = train(saves, made=make())
    undisturbed, _ = train(folder / "other")
    found["resumed"] = all(
        (a == b).all()
        for a, b in zip(values(resumed), values(undisturbed), strict=True)
    )
    return found


def read_only(folder):
    import tiny
    from test_resumable_training import CURRICULUM, make, train

    import keras_coconut
    from keras_coconut.evaluation.answer_accuracy import AnswerAccuracy

    model, dataset = make()
    keras_coconut.write_problems(folder / "p.json", tiny.problems(3))
    taken = []
    count = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: taken.append(batch)
    )
    best = AnswerAccuracy(
        tiny.problems(2),
        best_preset=folder / "best",
        curriculum=CURRICULUM,
    )
    before = listed(folder)
    subprocess.run(["mount", "-o", "remount,ro", folder.parent], check=True)
    found = {
        "read_only_preset": refused(model.save_to_preset, folder / "new"),
        "read_only_problems": refused(
            keras_coconut.write_problems, folder / "p.json", tiny.problems(2)
        ),
        "read_only_run": refused(
            train, folder / "runs", callbacks=[count], made=make()
        ),
        "read_only_best": refused(
            model.fit,
            dataset,
            epochs=6,
            callbacks=[
                keras_coconut.CurriculumScheduler(dataset), best, count
            ],
        ),
        "read_only_cache": refused(
            keras_coconut.CurriculumDataset,
            folder / "p.json",
            model.preprocessor,
            CURRICULUM,
            cache_folder=folder / "cache",
        ),
    }  # fmt: skip
    found["read_only_steps"] = taken
    found["read_only_litter"] = sorted({*listed(folder)} ^ {*before})
    return found


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
