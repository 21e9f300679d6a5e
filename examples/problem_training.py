"""The model of `train_on_problems.py` and its training, in one `fit()`.

Made from the flags of problem_flags.py, which are checked before.
"""

import os
import pathlib
import shutil
import sys

import keras
import keras_hub
from absl import app
from command_line import blame, given
from output_folder import claim_folder
from problem_flags import FLAGS, vocabulary_files

import keras_coconut
from keras_coconut.evaluation.answer_accuracy import AnswerAccuracy
from keras_coconut.files import try_lock
from keras_coconut.text.word_tokenizer import make_word_tokenizer

# Positions of a model from scratch.
LONGEST = 1024
# What the flags of the curriculum are when they are not given.
CURRICULUM_FLAGS = (
    "max_stage",
    "thoughts_per_step",
    "initial_epochs",
    "epochs_per_stage",
    "extra_stage",
    "mixing_probability",
)


def read_problem_file(flag):
    """Returns the problems of a file flag, the first `--limit` of them."""
    with blame(f"--{flag}"):
        return keras_coconut.read_problems(FLAGS[flag].value)[: FLAGS.limit]


def load_trained(output):
    with blame("--evaluate_only", KeyError, TypeError):
        return keras_coconut.ContinuousThoughtLM.from_preset(
            str(output / "preset")
        )


def read_words(value):
    """Returns the words of `--words`, each with the spaces that it has."""
    words = value.split(",")
    if os.path.isfile(value):
        text = pathlib.Path(value).read_text(encoding="utf-8-sig")
        words = text.splitlines()
    words = [word for word in words if word.strip()]
    if not words:
        raise ValueError(f"expected at least one word. Received: {value!r}")
    return words


def make_tokenizer():
    """A vocabulary of words and bytes, or that of a folder, with markers."""
    if FLAGS.words:
        with blame("--words"):
            return make_word_tokenizer(read_words(FLAGS.words))
    with blame("--vocabulary", KeyError, TypeError, AttributeError):
        return keras_coconut.add_thought_tokens(
            keras_hub.tokenizers.GPT2Tokenizer(
                *map(str, vocabulary_files(FLAGS.vocabulary))
            )
        )


def make_model():
    """A model from a preset, or a new one for a vocabulary."""
    if FLAGS.preset:
        with blame("--preset", KeyError, TypeError):
            model = keras_coconut.ContinuousThoughtLM.from_preset(
                FLAGS.preset,
                dtype=FLAGS.dtype,
                # Unasked, a preset of ours keeps its own.
                **({"markers": FLAGS.markers} if given(["markers"]) else {}),
            )
        if FLAGS.lora_rank:
            model.backbone.enable_lora(FLAGS.lora_rank)
        return model
    tokenizer = make_tokenizer()
    backbone = keras_hub.models.GPT2Backbone(
        vocabulary_size=tokenizer.vocabulary_size(),
        num_layers=FLAGS.num_layers,
        num_heads=FLAGS.num_heads,
        hidden_dim=FLAGS.hidden_dim,
        intermediate_dim=4 * FLAGS.hidden_dim,
        dropout=FLAGS.dropout,
        max_sequence_length=LONGEST,
        dtype=FLAGS.dtype,
    )
    preprocessor = keras_coconut.ContinuousThoughtPreprocessor(
        tokenizer, markers=FLAGS.markers
    )
    return keras_coconut.ContinuousThoughtLM(backbone, preprocessor)


def make_curriculum(**changes):
    """The curriculum of `--method`, with other flags if asked for."""
    values = {name: FLAGS[name].value for name in CURRICULUM_FLAGS}
    return keras_coconut.method_curriculum(
        FLAGS.method,
        keras_coconut.Curriculum(**{**values, **changes}),
        tokens_per_stage=FLAGS.tokens_per_stage,
        chain_tokens=FLAGS.chain_tokens,
    )


def check_curriculum(curriculum):
    """Raises a `UsageError` for a flag that the method does not look at."""
    for name in given(CURRICULUM_FLAGS):
        default = FLAGS[name].default
        if FLAGS[name].value != default and curriculum == make_curriculum(
            **{name: default}
        ):
            raise app.UsageError(
                f"--{name} must be left out with --method={FLAGS.method}, "
                f"which does not use it. Received: --{name}={FLAGS[name].value}"
            )


class Training:
    """All that is needed for training, made and checked before it begins.

    Args:
        output: `pathlib.Path`, the folder of the run.
    """

    def __init__(self, output):
        self.output = output
        self.curriculum = make_curriculum()
        check_curriculum(self.curriculum)
        self.epochs = FLAGS.epochs or self.curriculum.num_epochs
        problems = read_problem_file("problems")
        keras.utils.set_random_seed(FLAGS.seed)
        self.model = make_model()
        self.model.compile(
            keras.optimizers.AdamW(
                FLAGS.learning_rate, weight_decay=0.01, clipnorm=FLAGS.clipnorm
            )
        )
        with blame("--problems"):
            self.dataset = keras_coconut.CurriculumDataset(
                problems,
                self.model.preprocessor,
                self.curriculum,
                batch_size=FLAGS.batch_size,
                length_groups=FLAGS.length_groups,
                seed=FLAGS.seed,
                drop_too_long=FLAGS.drop_too_long,
            )
        self.validation = None
        if FLAGS.validation:
            self.validation = read_problem_file("validation")
            self.check_asked(self.validation, "validation")

    def check_asked(self, problems, flag):
        """Raises a `UsageError` for a problem that leaves no room to answer."""
        preprocessor = self.model.preprocessor
        thoughts = self.curriculum.num_thoughts(self.curriculum.last_stage)
        response = 1 + (FLAGS.max_length or 1)
        for number, problem in enumerate(
            preprocessor.tokenize_problems(problems), start=1
        ):
            positions = len(problem.question) + thoughts + response
            if positions > preprocessor.sequence_length:
                raise app.UsageError(
                    f"--{flag}: question, thoughts and response must fit into "
                    f"{preprocessor.sequence_length} positions. Received: "
                    f"problem {number} with {positions} "
                    f"({len(problem.question)} of the question, {thoughts} "
                    f"thoughts, {response} of the response)"
                )

    @property
    def keeps_best(self):
        """Whether there are epochs of the last stage to choose from."""
        last = self.curriculum.first_epoch(self.curriculum.last_stage)
        return self.validation is not None and self.epochs > last

    def make_callbacks(self):
        callbacks = [
            keras_coconut.CurriculumScheduler(
                self.dataset, reset_optimizer=FLAGS.reset_optimizer
            )
        ]
        if self.validation is not None:
            best = {}
            if self.keeps_best:
                best = {
                    "best_preset": self.output / "preset",
                    "curriculum": self.curriculum,
                }
            callbacks.append(
                AnswerAccuracy(
                    self.validation,
                    max_length=FLAGS.max_length,
                    batch_size=FLAGS.batch_size,
                    **best,
                )
            )
        callbacks.append(
            keras_coconut.ResumableTraining(
                self.output / "saves", every=FLAGS.save_every
            )
        )
        return callbacks

    def run(self, configuration, resumed):
        """Trains through the whole curriculum; returns the saved model."""
        if resumed:
            print(f"resumes the run in {self.output}", flush=True)
        claim_folder(self.output, configuration)
        try:
            self.model.fit(
                self.dataset,
                epochs=self.epochs,
                callbacks=self.make_callbacks(),
                verbose=2,
            )
        except KeyboardInterrupt:
            sys.exit(
                f"interrupted in {self.output}: the same flags resume it from "
                "its last save"
            )
        if self.keeps_best:
            return load_trained(self.output)
        self.model.save_to_preset(str(self.output / "preset"))
        return self.model

    def check_unused(self):
        """Raises a `UsageError` if a run is going on in the folder."""
        lock = self.output / "saves" / "lock"
        if not lock.exists():
            return
        with lock.open("a") as file:
            if not try_lock(file):
                raise app.UsageError(
                    "--output must be a folder that no run works in. Received: "
                    f"{self.output}, where one is running"
                )

    def remove_saves(self):
        shutil.rmtree(self.output / "saves", ignore_errors=True)
