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
`merges.txt`:

    KERAS_BACKEND=torch python examples/train_on_problems.py \
        --problems prosqa_train.json --limit 32 --vocabulary gpt2/ \
        --num_layers 2 --hidden_dim 128 --num_heads 4

Without `--test`, the training problems themselves are asked. The model is saved
as a preset, `--evaluate_only` asks a saved one again, and the answers stand in
`predictions.json` beside it.
"""

import json
import pathlib
import time

import keras
import keras_hub
from absl import app, flags

import keras_coconut
from keras_coconut.evaluation.problems import evaluate_problems

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "problems", None, "Problem file to train on.", required=True
)
flags.DEFINE_string("test", None, "Problem file to test on.")
flags.DEFINE_integer("limit", None, "Use the first so many problems only.")
flags.DEFINE_string("preset", None, "GPT-2 preset to start from.")
flags.DEFINE_string("vocabulary", None, "Folder of vocabulary and merges.")
flags.DEFINE_integer("num_layers", 2, "Layers, without a preset.")
flags.DEFINE_integer("num_heads", 4, "Heads, without a preset.")
flags.DEFINE_integer("hidden_dim", 128, "Hidden size, without a preset.")
flags.DEFINE_float("dropout", 0.0, "Dropout, without a preset.")
flags.DEFINE_string("dtype", None, "Type of the computation.")
flags.DEFINE_integer("max_stage", 6, "Last regular stage of the curriculum.")
flags.DEFINE_integer("thoughts_per_step", 1, "Thoughts for each step.")
flags.DEFINE_integer("initial_epochs", None, "Epochs of stage 0.")
flags.DEFINE_integer("epochs_per_stage", 5, "Epochs of each later stage.")
flags.DEFINE_integer("epochs", None, "Epochs; the whole curriculum if unset.")
flags.DEFINE_bool("extra_stage", True, "Whether a last stage hides all steps.")
flags.DEFINE_enum(
    "reset_optimizer", "stage", ["stage", "epoch", "never"], "When to reset it."
)
flags.DEFINE_integer("batch_size", 32, "Problems in a batch.")
flags.DEFINE_float("learning_rate", 1e-4, "Of AdamW.")
flags.DEFINE_float("clipnorm", None, "Largest norm of a gradient.")
flags.DEFINE_bool("drop_too_long", False, "Leave out problems that don't fit.")
flags.DEFINE_integer("max_length", None, "Most tokens of a response.")
flags.DEFINE_integer("seed", 0, "Seed of the weights and of the order.")
flags.DEFINE_string("output", "runs/coconut", "Folder for the preset.")
flags.DEFINE_bool("evaluate_only", False, "Ask the preset in --output again.")


def make_model(longest):
    """A model from a preset, or a new one for a vocabulary."""
    if FLAGS.preset:
        return keras_coconut.ContinuousThoughtLM.from_preset(
            FLAGS.preset, dtype=FLAGS.dtype
        )
    if not FLAGS.vocabulary:
        raise app.UsageError("give --preset or --vocabulary")
    folder = pathlib.Path(FLAGS.vocabulary)
    tokenizer = keras_coconut.add_thought_tokens(
        keras_hub.tokenizers.GPT2Tokenizer(
            str(folder / "vocabulary.json"), str(folder / "merges.txt")
        )
    )
    backbone = keras_hub.models.GPT2Backbone(
        vocabulary_size=tokenizer.vocabulary_size(),
        num_layers=FLAGS.num_layers,
        num_heads=FLAGS.num_heads,
        hidden_dim=FLAGS.hidden_dim,
        intermediate_dim=4 * FLAGS.hidden_dim,
        dropout=FLAGS.dropout,
        max_sequence_length=longest,
        dtype=FLAGS.dtype,
    )
    return keras_coconut.ContinuousThoughtLM(
        backbone, keras_coconut.ContinuousThoughtPreprocessor(tokenizer)
    )


def train(problems, output):
    """Trains through the whole curriculum and saves the preset."""
    keras.utils.set_random_seed(FLAGS.seed)
    model = make_model(longest=1024)
    model.compile(
        keras.optimizers.AdamW(
            FLAGS.learning_rate, weight_decay=0.01, clipnorm=FLAGS.clipnorm
        )
    )
    curriculum = keras_coconut.Curriculum(
        max_stage=FLAGS.max_stage,
        thoughts_per_step=FLAGS.thoughts_per_step,
        initial_epochs=FLAGS.initial_epochs,
        epochs_per_stage=FLAGS.epochs_per_stage,
        extra_stage=FLAGS.extra_stage,
    )
    dataset = keras_coconut.CurriculumDataset(
        problems,
        model.preprocessor,
        curriculum,
        batch_size=FLAGS.batch_size,
        seed=FLAGS.seed,
        drop_too_long=FLAGS.drop_too_long,
    )
    scheduler = keras_coconut.CurriculumScheduler(
        dataset, reset_optimizer=FLAGS.reset_optimizer
    )
    model.fit(
        dataset,
        epochs=FLAGS.epochs or curriculum.num_epochs,
        callbacks=[scheduler],
        verbose=2,
    )
    model.save_to_preset(str(output))
    return model


def main(_):
    start = time.perf_counter()
    output = pathlib.Path(FLAGS.output)
    problems = keras_coconut.read_problems(FLAGS.problems)[: FLAGS.limit]
    if FLAGS.evaluate_only:
        model = keras_coconut.ContinuousThoughtLM.from_preset(str(output))
    else:
        model = train(problems, output)
    test = problems
    if FLAGS.test:
        test = keras_coconut.read_problems(FLAGS.test)[: FLAGS.limit]
    # The control beside the accuracy: the same model, told not to think.
    for count in (model.num_thoughts, 0):
        result = evaluate_problems(
            model, test, count, FLAGS.max_length, FLAGS.batch_size
        )
        print(
            f"{count} thoughts: {result.accuracy:.1%} of {len(test)} answers "
            f"right, {result.tokens_generated:.1f} tokens generated"
        )
        if count == model.num_thoughts:
            predictions = list(result.predictions)
    path = output / "predictions.json"
    if FLAGS.evaluate_only and path.exists():
        same = json.loads(path.read_text()) == predictions
        print(f"same answers as before: {same}")
    path.write_text(json.dumps(predictions, indent=1))
    print(f"took {time.perf_counter() - start:.0f} seconds")


if __name__ == "__main__":
    app.run(main)
