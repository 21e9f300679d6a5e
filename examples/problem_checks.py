"""What `train_on_problems.py` checks before it imports Keras.

Flags that do not go together, and the folder that it writes to.
"""

import hashlib
import os
import pathlib

from absl import app
from flag_sections import flag_values, given, vocabulary_files
from output_folder import (
    PRESET_FILES,
    check_can_be_made,
    check_folder,
    remove_left_saves,
)
from problem_flags import AUTO, FLAGS, scratch
from scratch_families import check_sizes

WRITTEN = (
    "configuration.json",
    "predictions.json",
    "saves/lock",
    "saves/processes",
    "saves/save-*.save",
    *PRESET_FILES,
)
# Where a model comes from; from the last two, it starts from scratch.
SOURCES = ("preset", "vocabulary", "words")
ICOT_ONLY = ("tokens_per_stage", "chain_tokens")
# What asking a trained model again takes.
ASKED_AGAIN = (
    "problems",
    "test",
    "limit",
    "batch_size",
    "max_length",
    "evaluate_only",
    "output",
    "overwrite",
)
# What an interrupted run may change when it is resumed.
NOT_OF_TRAINING = (
    "test",
    "max_length",
    "save_every",
    "token_cache",
    "evaluate_only",
    "output",
    "overwrite",
)


def check_flags():
    """Raises a `UsageError` for flags that do not go together.

    A flag that would be ignored is one of them.
    """
    if FLAGS.evaluate_only:
        _check_asked_again()
        return
    if not FLAGS.problems:
        raise app.UsageError(
            "--problems must be the problem file to train on. Received: none"
        )
    if FLAGS.token_cache:
        _refuse(given(["limit"]), "must be left out with --token_cache")
        if not FLAGS.test:
            raise app.UsageError(
                "--token_cache needs --test: all problems of a large file are "
                "too many to answer. Received: none"
            )
        check_can_be_made(pathlib.Path(FLAGS.token_cache), "--token_cache")
    if FLAGS.promote_after and not FLAGS.validation:
        raise app.UsageError(
            "--promote_after needs --validation, whose accuracy it follows. "
            "Received: none"
        )
    _check_model()
    if FLAGS.method != "icot":
        _refuse(given(ICOT_ONLY), "is for --method=icot only")


def _check_asked_again():
    others = set(flag_values()) - set(ASKED_AGAIN)
    _refuse(
        given(others),
        "is for training and must be left out with --evaluate_only",
    )
    if bool(FLAGS.problems) == bool(FLAGS.test):
        raise app.UsageError(
            "--evaluate_only needs one problem file, --problems or --test. "
            f"Received: {'both' if FLAGS.test else 'neither'}"
        )


def _check_model():
    sources = [f"--{name}" for name in SOURCES if FLAGS[name].value]
    if len(sources) != 1:
        raise app.UsageError(
            "expected exactly one of --preset, --vocabulary and --words. "
            f"Received: {' and '.join(sources) or 'none'}"
        )
    if FLAGS.lora_layers and not FLAGS.lora_rank:
        raise app.UsageError("--lora_layers needs --lora_rank. Received: none")
    if FLAGS.preset:
        _refuse(
            given(scratch.values),
            "is for a model from scratch and must be left out with --preset",
        )
        written = pathlib.Path(FLAGS.output) / "preset"
        if written.resolve() == pathlib.Path(FLAGS.preset).resolve():
            raise app.UsageError(
                "--preset must not be the preset that is written to --output. "
                f"Received: --preset={FLAGS.preset} and --output={FLAGS.output}"
            )
        return
    if FLAGS.lora_rank:
        raise app.UsageError(
            "--lora_rank needs --preset: all other weights of a model from "
            f"scratch would stay random. Received: --lora_rank="
            f"{FLAGS.lora_rank} and {sources[0]}"
        )
    _refuse(
        given(["marker_tokens"]),
        f"is for --preset: {sources[0]} makes marker tokens of its own",
    )
    check_sizes()


def _refuse(names, reason):
    if names:
        name = sorted(names)[0]
        value = FLAGS[name].value
        if isinstance(value, list):
            value = ",".join(value)
        raise app.UsageError(f"--{name} {reason}. Received: --{name}={value}")


def training_configuration():
    """Returns what makes a trained model: flags and the content of files."""
    left_out = set(NOT_OF_TRAINING)
    if FLAGS.validation:
        # Its answers are of this length, and choose the best model.
        left_out.remove("max_length")
    configuration = {
        "script": "train_on_problems.py",
        **flag_values(left_out),
    }
    files = [FLAGS.problems, FLAGS.validation]
    if FLAGS.words not in (None, AUTO) and os.path.isfile(FLAGS.words):
        files.append(FLAGS.words)
    if FLAGS.vocabulary:
        files += vocabulary_files(FLAGS.vocabulary)
    for path in filter(None, files):
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256")
        configuration[f"sha256 of {path}"] = digest.hexdigest()
    return configuration


def check_training_folder(output, configuration):
    """Returns whether an interrupted run of the same flags is in the folder."""
    if FLAGS.overwrite:
        # Replaced later, once everything else is known to be right.
        check_can_be_made(output)
        return False
    resumed = check_folder(
        output,
        configuration,
        "; choose another folder, or --overwrite to replace what this script "
        "wrote there",
    )
    if resumed and (output / "predictions.json").exists():
        remove_left_saves(output)
        raise app.UsageError(
            "--output must be a new folder or one of an interrupted run. "
            f"Received: {output}, where this run is finished; --evaluate_only "
            "asks the model again, --overwrite trains anew"
        )
    return resumed


def check_trained_folder(output):
    """Raises a `UsageError` unless the folder holds a trained model."""
    finished = (output / "predictions.json").exists()
    if (output / "saves").exists() and not finished:
        raise app.UsageError(
            "--evaluate_only needs a finished run in --output. Received: "
            f"{output}, which was interrupted; the same flags without "
            "--evaluate_only resume it"
        )
    if not (output / "preset" / "config.json").is_file():
        raise app.UsageError(
            "--evaluate_only needs a trained model in --output. Received: "
            f"{output}, which holds no preset/config.json"
        )
