r"""
Title: Coconut on a file of problems
Author: the keras_coconut developers
Date created: 2026/11/23
Description: Train on a problem file with a vocabulary or a preset, and test.

From a pretrained GPT-2, as the paper does for ProsQA:

    KERAS_BACKEND=jax python examples/train_on_problems.py \
        --problems prosqa_train.json --test prosqa_test.json \
        --preset gpt2_base_en --max_stage 6 --epochs_per_stage 5 --epochs 50

From a preset of another family, with LoRA:

    KERAS_BACKEND=jax python examples/train_on_problems.py \
        --problems problems.jsonl --preset llama3.2_1b --dtype bfloat16 \
        --lora_rank 8 --lora_layers query,key,value

From scratch, with the words of the problems as tokens:

    KERAS_BACKEND=torch python examples/train_on_problems.py \
        --problems problems.csv --words auto --nomarkers \
        --family llama --num_layers 2 --hidden_dim 128 --num_heads 4

The model is saved as a preset in OUTPUT/preset. Then it answers the problems
of `--test`, or those it was trained on. OUTPUT/predictions.json holds each
question with the right answer, the response, the answer in it and whether that
is right, and the accuracy with and without thoughts. `--evaluate_only` asks a
saved model again.

An interrupted run resumes when the script is called again with the same flags:
from its last save in OUTPUT/saves, of which there is one every `--save_every`
steps, and exactly as if it had not been interrupted.

A folder that is in use is refused. `--overwrite` replaces what this script
wrote in it and leaves every other file. `--help` lists all flags by section.
The model and its training stand in problem_training.py.
"""

import os
import pathlib
import sys
import time

from command_line import check_backend, refuse_arguments, run
from output_folder import only_one, remove_left_saves, remove_written
from problem_checks import (
    WRITTEN,
    check_flags,
    check_trained_folder,
    check_training_folder,
    training_configuration,
)
from problem_flags import FLAGS

SCRIPT = pathlib.Path(__file__).name


def main(argv):
    start = time.perf_counter()
    refuse_arguments(argv)
    check_flags()
    check_backend()
    output = pathlib.Path(FLAGS.output)
    if FLAGS.evaluate_only:
        check_trained_folder(output)
        answer_again(output)
    else:
        configuration = training_configuration()
        check_training_folder(output, configuration)
        try:
            train(output, configuration)
        except KeyboardInterrupt:
            remedy = "nothing was saved yet"
            if any((output / "saves").glob("*.save")):
                same = "the same flags"
                if FLAGS.overwrite:
                    same += " without --overwrite"
                remedy = f"{same} resume it from its last save"
            sys.exit(f"interrupted in {output}: {remedy}")
    print(f"took {time.perf_counter() - start:.0f} seconds")


def train(output, configuration):
    """Trains a model, saves it, and lets it answer."""
    # Here and below, and not above: Keras takes seconds to import.
    from problem_curriculum import make_curriculum
    from problem_data import read_files

    curriculum, files = make_curriculum(), read_files()

    from problem_predictions import answer
    from problem_training import Training

    training = Training(output, curriculum, files)
    with only_one(output, SCRIPT):
        # Once more: another run may have ended there since.
        resumed = check_training_folder(output, configuration)
        if FLAGS.overwrite:
            remove_written(output, WRITTEN)
        model = training.run(configuration, resumed)
        answer(model, files.test, output)
        training.remove_saves()


def answer_again(output):
    """Lets the model that a run has saved answer once more."""
    from problem_data import read_problem_file

    asked = "test" if FLAGS.test else "problems"
    test = read_problem_file(asked)

    from problem_predictions import compare
    from problem_training import load_trained

    # A folder that cannot be written to changes for nobody.
    if not os.access(output, os.W_OK):
        compare(load_trained(output), test, output, asked)
        return
    remove_left_saves(output)
    with only_one(output, SCRIPT):
        compare(load_trained(output), test, output, asked)


if __name__ == "__main__":
    run(main)
