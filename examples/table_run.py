"""One run of `reproduce_table.py`: a method, a seed, everything measured.

    KERAS_BACKEND=jax python examples/table_run.py FOLDER METHOD SEED

FOLDER holds the table's `configuration.json`. The run trains in
FOLDER/METHOD-SEED, resumes where it was interrupted, and ends with
`result.json` there. It ends itself when the script that started it does.
"""

import json
import os
import pathlib
import shutil
import sys
import time

import keras
import keras_hub
from absl import app
from command_line import DRIVEN, METHODS, blame, end_with_driver, stop
from output_folder import read_json
from table_recipes import (
    Recipe,
    change_recipe,
    find_recipe,
    method_curriculum,
)

import keras_coconut
from keras_coconut import (
    AnswerAccuracy,
    arithmetic_words,
    evaluate_controls,
    evaluate_problems,
    evaluate_reasoning,
    load_dataset,
    make_word_tokenizer,
    problem_words,
    symbolic_words,
)
from keras_coconut.files import write_whole


def make_preprocessor(recipe: Recipe, dataset, problems):
    """A small vocabulary for a model from scratch, and the text's layout."""
    words, separator = [], "\n"
    if dataset == "arithmetic":
        words = arithmetic_words()
    elif dataset == "prosqa_symbolic":
        words, separator = symbolic_words(), ""
    else:
        words = problem_words(problems, most=5_000)
    return keras_coconut.ContinuousThoughtPreprocessor(
        make_word_tokenizer(words),
        separator=separator,
        markers=recipe.markers,
    )


def make_model(recipe: Recipe, dataset, problems):
    if recipe.preset:
        return keras_coconut.ContinuousThoughtLM.from_preset(recipe.preset)
    preprocessor = make_preprocessor(recipe, dataset, problems)
    backbone = keras_hub.models.GPT2Backbone(
        vocabulary_size=preprocessor.tokenizer.vocabulary_size(),
        num_layers=recipe.layers,
        num_heads=recipe.heads,
        hidden_dim=recipe.hidden,
        intermediate_dim=4 * recipe.hidden,
        dropout=0.0,
        max_sequence_length=512,
    )
    for weight in backbone.trainable_variables:
        if weight.name != "gamma":  # Biases and betas are 0.
            weight.assign(weight * recipe.initial_scale)
    return keras_coconut.ContinuousThoughtLM(backbone, preprocessor)


def make_optimizer(recipe: Recipe, steps: int):
    rate = recipe.learning_rate
    if recipe.decay:
        rate = keras.optimizers.schedules.CosineDecay(rate, steps)
    return keras.optimizers.AdamW(
        rate,
        weight_decay=0.01,
        beta_2=recipe.beta_2,
        global_clipnorm=recipe.clipnorm,
        gradient_accumulation_steps=(
            recipe.accumulation if recipe.accumulation > 1 else None
        ),
    )


def compilation_cache(folder):
    """Runs compile the same programs; JAX can keep them from run to run."""
    if keras.config.backend() != "jax":
        return None
    return str(folder.parent / "compiled")


def train(recipe, method, seed, splits, dataset_name, folder):
    """One `fit` through the method's curriculum; returns the best model."""
    best, trained = folder / "best", folder / "trained"
    if trained.exists():
        return keras_coconut.ContinuousThoughtLM.from_preset(str(best))
    keras.utils.set_random_seed(seed)
    model = make_model(recipe, dataset_name, splits.train)
    curriculum = method_curriculum(recipe, method)
    dataset = keras_coconut.CurriculumDataset(
        splits.train,
        model.preprocessor,
        curriculum,
        batch_size=recipe.batch_size,
        seed=seed,
        steps_per_epoch=recipe.steps_per_epoch,
        length_groups=recipe.length_groups,
    )
    model.compile(
        make_optimizer(recipe, recipe.epochs * len(dataset)),
        compilation_cache=compilation_cache(folder),
    )
    model.fit(
        dataset,
        epochs=recipe.epochs,
        verbose=2,
        callbacks=[
            keras_coconut.CurriculumScheduler(
                dataset, reset_optimizer=recipe.reset_optimizer
            ),
            # Chosen on validation in the last stage, as in the paper.
            AnswerAccuracy(
                splits.validation,
                every=recipe.evaluate_every,
                max_length=recipe.max_length,
                batch_size=recipe.batch_size,
                best_preset=best,
                curriculum=curriculum,
            ),
            keras.callbacks.CSVLogger(str(folder / "epochs.csv"), append=True),
            keras_coconut.ResumableTraining(folder / "saves", every=500),
        ],
    )
    if not (best / "validation.json").exists():
        raise app.UsageError(
            f"{folder}: no model of the last stage was kept: no epoch of it "
            "that is evaluated ended with weights that are finite. Delete the "
            "folder to train anew"
        )
    model = keras_coconut.ContinuousThoughtLM.from_preset(str(best))
    # Not before it opens: a run that is done again would go on from here.
    trained.touch()
    return model


def measure(model, recipe, problems, dataset_name):
    """Accuracy, its controls, and on ProsQA what kind of paths were taken."""
    options = dict(max_length=recipe.max_length, batch_size=recipe.batch_size)
    found = evaluate_problems(model, problems, **options)
    result = {"test": found.to_dict(), "controls": {}, "reasoning": {}}
    for name, control in evaluate_controls(model, problems, **options).items():
        result["controls"][name] = control.to_dict()
    if dataset_name.startswith("prosqa"):
        most = model.num_thoughts
        for count, (forced, shares) in evaluate_reasoning(
            model, problems, num_thoughts=range(most + 1), **options
        ).items():
            result["reasoning"][count] = {
                "accuracy": forced.accuracy,
                "classes": shares,
                "predictions": forced.predictions,
            }
    return result


def read_arguments(arguments):
    """Returns folder, configuration, method and seed of the command line."""
    if len(arguments) != 3:
        raise app.UsageError(
            f"expected FOLDER METHOD SEED. Received: {' '.join(arguments)}"
        )
    table_folder, method, seed = arguments
    configuration = read_json(pathlib.Path(table_folder) / "configuration.json")
    needed = {"dataset", "scale", "folder", "changes", "backend"}
    if not isinstance(configuration, dict) or not needed <= set(configuration):
        raise app.UsageError(
            "FOLDER must hold a configuration.json of reproduce_table.py. "
            f"Received: {table_folder}"
        )
    if configuration["backend"] != keras.config.backend():
        raise app.UsageError(
            f"KERAS_BACKEND must be {configuration['backend']}, as in "
            f"{table_folder}. Received: {keras.config.backend()}"
        )
    if method not in METHODS:
        raise app.UsageError(
            f"METHOD must be one of {', '.join(METHODS)}. Received: {method}"
        )
    if not seed.isdecimal():
        raise app.UsageError(
            f"SEED must be a whole number of at least 0. Received: {seed}"
        )
    return pathlib.Path(table_folder), configuration, method, int(seed)


def main(table_folder, configuration, method, seed):
    start = time.perf_counter()
    with blame("configuration.json"):
        recipe = change_recipe(
            find_recipe(configuration["dataset"], configuration["scale"]),
            configuration["changes"],
        )
    folder = table_folder / f"{method}-{seed}"
    folder.mkdir(exist_ok=True)
    # The problems are the same for all seeds, so that methods can be compared
    # problem by problem.
    kwargs = {"folder": configuration["folder"]}
    if kwargs["folder"] is None and configuration["dataset"] != "gsm8k_aug":
        kwargs.update(recipe.data)
    splits = load_dataset(configuration["dataset"], **kwargs)
    model = train(
        recipe, method, seed, splits, configuration["dataset"], folder
    )
    result = {
        "method": method,
        "seed": seed,
        "num_thoughts": model.num_thoughts,
        "data": splits.content_hash,
        **measure(model, recipe, splits.test, configuration["dataset"]),
        "seconds": time.perf_counter() - start,
        "versions": {
            "keras": keras.__version__,
            "backend": keras.config.backend(),
        },
    }
    write_whole(folder / "result.json", json.dumps(result, indent=1))
    shutil.rmtree(folder / "saves", ignore_errors=True)


if __name__ == "__main__":
    if os.environ.get(DRIVEN):
        end_with_driver()
    try:
        main(*read_arguments(sys.argv[1:]))
    except app.UsageError as error:
        stop(error)
