"""The folder that an example writes to: new, its own from before, or refused.

`configuration.json` in the folder says what made it. A script goes on in a
folder only with the same configuration, and replaces what it wrote only when
told to. Files that it did not write stay.
"""

import contextlib
import json
import os
import pathlib
import shutil
import tempfile

from absl import app

CONFIGURATION, LOCK = "configuration.json", "lock"
# What `ContinuousThoughtLM.save_to_preset` and `AnswerAccuracy` write.
PRESET_FILES = tuple(
    f"preset/{name}"
    for name in (
        "assets/tokenizer/merges.txt",
        "assets/tokenizer/vocabulary.json",
        "assets/tokenizer/vocabulary.spm",
        "config.json",
        "metadata.json",
        "model.weights.h5",
        "model.weights.json",
        "model_0*.weights.h5",
        "preprocessor.json",
        "task.json",
        "task.weights.h5",
        "tokenizer.json",
        "validation.json",
    )
)


def check_folder(folder, configuration=None, remedy=""):
    """Checks that a script may write to a folder; writes nothing.

    Args:
        folder: `pathlib.Path`, of the flag `--output`.
        configuration: dictionary of what makes the results, as JSON gives it
            back. `None` if the script cannot go on with an earlier run.
        remedy: string, added to an error about a folder that is in use.

    Returns:
        Whether the folder holds an earlier run of this configuration.

    Raises:
        app.UsageError: If the folder cannot be made, holds something else, or
            is of another configuration.
    """
    check_can_be_made(folder)
    found = [] if not folder.exists() else sorted(os.listdir(folder))
    if not set(found) - {LOCK}:
        return False
    path = folder / CONFIGURATION
    if configuration is None or not path.exists():
        names = ", ".join(found[:5])
        raise app.UsageError(
            f"--output must be a new or an empty folder. Received: {folder}, "
            f"which holds {names}{remedy}"
        )
    differing = differences(read_json(path), configuration)
    if differing:
        raise app.UsageError(
            "--output must be a new folder or one of the same configuration. "
            f"Received: {folder}, made with {differing[0]}{remedy}"
        )
    return True


def check_can_be_made(folder, flag="--output"):
    """Raises a `UsageError` unless a folder can be made or written to."""
    nearest = next(
        path for path in (folder, *folder.absolute().parents) if path.exists()
    )
    try:
        # Permissions alone do not say it. The file has no name.
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise app.UsageError(
            f"{flag} must be a folder that can be written to. Received: "
            f"{folder}, and {nearest} is not: {error.strerror}"
        ) from error


def differences(made, wanted):
    """Returns a text for each entry in which two dictionaries differ."""
    if not isinstance(made, dict):
        return [f"an unknown {CONFIGURATION}"]
    return [
        f"{name}={made.get(name)!r} and not {wanted[name]!r}"
        for name in wanted
        if name not in made or made[name] != wanted[name]
    ]


def read_json(path):
    """Reads a JSON file; an error names the file."""
    try:
        return json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise app.UsageError(
            f"{path} must be a whole JSON file. Received: {error}"
        ) from error


def write_json(path, content):
    """Writes a JSON file, which appears only once it is whole."""
    # Here and below, and not above: Keras takes seconds to import.
    from keras_coconut.files import write_whole

    text = json.dumps(content, indent=1, ensure_ascii=False)
    write_whole(path, text + "\n")


def claim_folder(folder, configuration):
    """Makes a folder that `check_folder` has checked."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / CONFIGURATION, configuration)


@contextlib.contextmanager
def only_one(folder, script):
    """Refuses a folder in which a script is running already.

    Args:
        folder: `pathlib.Path`, made if it is missing.
        script: string, the file name of the script.
    """
    from keras_coconut.files import try_lock

    folder.mkdir(parents=True, exist_ok=True)
    # It stays: another script may have opened it.
    with open(folder / LOCK, "a") as file:
        if not try_lock(file):
            raise app.UsageError(
                f"--output must be a folder that no other {script} works in. "
                f"Received: {folder}, where one is running"
            )
        yield


def remove_left_saves(folder):
    """Removes the saves of a finished run that was killed before it did.

    Nothing is removed while a script works in the folder.
    """
    from keras_coconut.files import try_lock

    if not (folder / "saves").exists():
        return
    with open(folder / LOCK, "a") as file:
        if try_lock(file):
            shutil.rmtree(folder / "saves", ignore_errors=True)


def written_files(folder, patterns):
    """Returns the files in a folder that match a script's own patterns."""
    return [
        path
        for pattern in patterns
        for path in sorted(folder.glob(pattern))
        if path.is_file()
    ]


def remove_written(folder, patterns):
    """Removes what an earlier run wrote, and says so; the rest stays."""
    files = written_files(folder, patterns)
    if not files:
        return
    names = ", ".join(str(path.relative_to(folder)) for path in files)
    print(f"--overwrite: replaces in {folder}: {names}", flush=True)
    for path in files:
        path.unlink()
    # Deepest first; a folder that holds anything else stays.
    inner = {parent for path in files for parent in path.parents}
    for parent in sorted(inner, key=lambda path: -len(path.parts)):
        if folder in parent.parents and not any(parent.iterdir()):
            parent.rmdir()
