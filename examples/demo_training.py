"""The three trainings of `arithmetic_demo.py`, and what its model thinks."""

import keras
from absl import flags
from arithmetic_model import NUM_STEPS, make_model, make_preprocessor

import keras_coconut
from keras_coconut import AnswerAccuracy, decode_thoughts, evaluate_problems
from keras_coconut.evaluation import CONTROLS, evaluate_controls

FLAGS = flags.FLAGS
BATCH_SIZE = 128
# The longest response: three steps, the answer, end of text.
MAX_LENGTH = 12


def train_three_ways(splits):
    """Trains chain of thought, none, and Coconut; tests each on the same.

    Returns:
        The model of Coconut, its history, and the rows of the table: a label,
        training steps, accuracy and tokens.
    """
    # Stage k replaces the first k steps by k thoughts; three rows in ten are
    # shown at another stage, so that early thoughts keep their meaning. A
    # curriculum without stages is chain of thought, and needs fewer steps. One
    # that is in its extra stage from the first epoch on, with no thoughts, is
    # no chain of thought.
    initial, *later = map(int, FLAGS.epochs)
    epochs = initial + sum(later)
    coconut = keras_coconut.Curriculum(
        max_stage=NUM_STEPS,
        initial_epochs=initial,
        epochs_per_stage=later,
        extra_stage=False,
        mixing_probability=0.3,
    )
    plans = {
        "chain of thought": ("cot", FLAGS.chain_epochs),
        "no chain of thought": ("no_cot", epochs),
        "Coconut": ("coconut", epochs),
    }
    rows = []
    for name, (method, epochs) in plans.items():
        print(f"\n== {name}", flush=True)
        curriculum = keras_coconut.method_curriculum(method, coconut)
        model, history = train(curriculum, epochs, splits)
        options = dict(max_length=MAX_LENGTH, batch_size=250)
        found = evaluate_problems(model, splits.test, **options)
        steps = f"{epochs * FLAGS.steps:,}"
        rows.append((name, steps, found.accuracy, found.tokens_generated))
        # The same model with its thoughts left out or replaced.
        controls = evaluate_controls(model, splits.test, **options)
        for control, found in controls.items():
            label = f"  {CONTROLS[control]}"
            rows.append((label, "", found.accuracy, found.tokens_generated))
    return model, history, rows


def train(curriculum, epochs, splits):
    """One `fit` moves through all the stages of a curriculum."""
    keras.utils.set_random_seed(FLAGS.seed)
    preprocessor = make_preprocessor()
    model = make_model(preprocessor, epochs * FLAGS.steps)
    dataset = keras_coconut.CurriculumDataset(
        splits.train,
        preprocessor,
        curriculum,
        batch_size=BATCH_SIZE,
        seed=FLAGS.seed,
        steps_per_epoch=FLAGS.steps,
    )
    answers = AnswerAccuracy(
        splits.validation, max_length=MAX_LENGTH, batch_size=250
    )
    history = model.fit(
        dataset,
        epochs=epochs,
        verbose=2,
        callbacks=[
            # At this learning rate a fresh Adam would take large first steps.
            keras_coconut.CurriculumScheduler(dataset, reset_optimizer="never"),
            answers,
        ],
    )
    return model, history.history


def show_thoughts(model, problems):
    """Prints what each thought decodes to, beside the running values."""
    questions = [problem.question for problem in problems]
    decoded = decode_thoughts(model, questions, top_k=2)
    answers = model.generate(questions, max_length=MAX_LENGTH)
    for problem, thoughts, answer in zip(problems, decoded, answers):
        print(f"{problem.question}   answered {answer!r}")
        for step, thought in zip(problem.steps, thoughts):
            read = ", ".join(
                f"{entry.token!r} {entry.probability:.0%}" for entry in thought
            )
            print(f"   running value {step}   thought decodes to {read}")
