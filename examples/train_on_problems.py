"""
Title: Coconut on a file of problems
Author: the keras_coconut developers
Date created: 2026/11/23
Description: Train on a problem file with a vocabulary or a preset, and test.

From a pretrained GPT-2, as the paper does for ProsQA:

    KERAS_BACKEND=jax python examples/train_on_problems.py \
        --problems prosqa_train.json --test prosqa_test.json \
        --preset gpt2_base_en --max_stage 6 --epochs_per_stage 5 --epochs 50

From scratch, with the vocabulary of a folder that holds `vocabulary.json` and
`merges.txt`, or with a vocabulary of bytes and the words in a file:

    KERAS_BACKEND=torch python examples/train_on_problems.py \
        --problems prosqa_train.json --limit 32 --vocabulary gpt2/ \
        --num_layers 2 --hidden_dim 128 --num_heads 4
    KERAS_BACKEND=torch python examples/train_on_problems.py \
        --problems prosqa_train.json --limit 32 --words words.txt --nomarkers

The model is saved as a preset in OUTPUT/preset. Then it answers the problems
of `--test`, or those it was trained on. OUTPUT/predictions.json holds each
question with the right answer, the prediction and whether that is right, and
the accuracy with and without thoughts. `--evaluate_only` asks a saved model
again.

An interrupted run resumes when the script is called again with the same flags:
from its last save in OUTPUT/saves, of which there is one every `--save_every`
steps, and exactly as if it had not been interrupted.

A folder that is in use is refused. `--overwrite` replaces what this script
wrote in it and leaves every other file. `--help` lists all flags by section.
The model and its training stand in problem_training.py.
"""

import pathlib
import time

from command_line import check_backend, run
from output_folder import remove_written
from problem_checks import (
    WRITTEN,
    check_flags,
    check_trained_folder,
    check_training_folder,
    training_configuration,
)
from problem_flags import FLAGS, SECTIONS


def main(_):
    start = time.perf_counter()
    check_flags()
    check_backend()
    output = pathlib.Path(FLAGS.output)
    if FLAGS.evaluate_only:
        check_trained_folder(output)
    else:
        configuration = training_configuration()
        resumed = check_training_folder(output, configuration)

    # Here and not above: Keras takes seconds to import.
    from problem_predictions import ask, ask_again
    from problem_training import Training, load_trained, read_problem_file

    asked = "test" if FLAGS.test else "problems"
    test = read_problem_file(asked)
    if FLAGS.evaluate_only:
        ask_again(load_trained(output), test, output, asked)
    else:
        training = Training(output)
        training.check_asked(test, asked)
        training.check_unused()
        if FLAGS.overwrite:
            remove_written(output, WRITTEN)
        model = training.run(configuration, resumed)
        ask(model, test, output)
        training.remove_saves()
    print(f"took {time.perf_counter() - start:.0f} seconds")


if __name__ == "__main__":
    run(main, SECTIONS)
