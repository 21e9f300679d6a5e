"""The model of `train_on_problems.py` and its training, in one `fit()`.

Made from the flags of problem_flags.py, which are checked before.
"""

import shutil
import sys

import keras
import keras_hub
from absl import app
from command_line import blame
from flag_sections import given, vocabulary_files
from output_folder import claim_folder
from problem_data import read_words
from problem_flags import FLAGS, SEPARATORS
from scratch_families import make_backbone

import keras_coconut
from keras_coconut import AnswerAccuracy, make_word_tokenizer
from keras_coconut.evaluation.answer_accuracy import first_full_epoch

# What a preset of ours says about its text.
OF_TEXT = ("markers", "marker_tokens", "sequence_length", "separator")


def load_trained(output, flag="--evaluate_only"):
    with blame(flag, KeyError, TypeError):
        return keras_coconut.ContinuousThoughtLM.from_preset(
            str(output / "preset")
        )


def make_tokenizer():
    """A vocabulary of words and bytes, or that of a folder, with markers."""
    if FLAGS.words:
        with blame("--words"):
            return make_word_tokenizer(read_words())
    with blame("--vocabulary", KeyError, TypeError, AttributeError):
        return keras_coconut.add_thought_tokens(
            keras_hub.tokenizers.GPT2Tokenizer(
                *vocabulary_files(FLAGS.vocabulary)
            )
        )


def make_model():
    """A model from a preset, or a new one for a vocabulary."""
    thinking = {"rematerialize": FLAGS.rematerialize}
    if FLAGS.num_iterations:
        thinking["num_iterations"] = FLAGS.num_iterations
    if FLAGS.preset:
        return load_preset(thinking)
    tokenizer = make_tokenizer()
    with blame("--family"):
        backbone = make_backbone(tokenizer.vocabulary_size())
    preprocessor = keras_coconut.ContinuousThoughtPreprocessor(
        tokenizer,
        sequence_length=FLAGS.sequence_length,
        separator=SEPARATORS[FLAGS.separator],
        markers=FLAGS.markers,
    )
    return keras_coconut.ContinuousThoughtLM(backbone, preprocessor, **thinking)


def load_preset(thinking):
    """A model from a preset of KerasHub's, or of one that was saved."""
    # Unasked, a preset of ours keeps its own.
    options = {name: FLAGS[name].value for name in given(OF_TEXT)}
    if "separator" in options:
        options["separator"] = SEPARATORS[FLAGS.separator]
    with blame("--preset", KeyError, TypeError):
        model = keras_coconut.ContinuousThoughtLM.from_preset(
            FLAGS.preset, dtype=FLAGS.dtype, **thinking, **options
        )
    if FLAGS.lora_rank:
        enable_lora(model.backbone)
    return model


def enable_lora(backbone):
    """Adds LoRA weights, of which there must be some, and freezes the rest."""
    named = {
        weight.path.split("/")[-2]
        for weight in backbone.weights
        if weight.name == "kernel"
    }
    wanted = set(FLAGS.lora_layers or named)
    if wanted - named:
        raise app.UsageError(
            f"--lora_layers must be some of {', '.join(sorted(named))}, the "
            f"layers of a {type(backbone).__name__}. Received: "
            f"{', '.join(sorted(wanted - named))}"
        )
    backbone.enable_lora(FLAGS.lora_rank, FLAGS.lora_layers)
    if not backbone.trainable_weights:
        raise app.UsageError(
            f"--lora_rank needs --lora_layers for a {type(backbone).__name__}, "
            f"some of {', '.join(sorted(named))}. Received: none"
        )


class Training:
    """All that is needed for training, made and checked before it begins.

    Args:
        output: `pathlib.Path`, the folder of the run.
        curriculum: a `keras_coconut.Curriculum`.
        files: a `ProblemFiles`.
    """

    def __init__(self, output, curriculum, files):
        self.output = output
        self.validation = files.validation
        self.curriculum = curriculum
        self.epochs = FLAGS.epochs or self.curriculum.num_epochs
        keras.utils.set_random_seed(FLAGS.seed)
        self.model = make_model()
        self.model.compile(
            keras.optimizers.AdamW(
                FLAGS.learning_rate,
                weight_decay=FLAGS.weight_decay,
                clipnorm=FLAGS.clipnorm,
                gradient_accumulation_steps=(
                    FLAGS.accumulation if FLAGS.accumulation > 1 else None
                ),
            )
        )
        with blame("--problems"):
            self.dataset = keras_coconut.CurriculumDataset(
                files.problems,
                self.model.preprocessor,
                self.curriculum,
                batch_size=FLAGS.batch_size,
                steps_per_epoch=FLAGS.steps_per_epoch,
                length_groups=FLAGS.length_groups,
                seed=FLAGS.seed,
                drop_too_long=FLAGS.drop_too_long,
                cache_folder=FLAGS.token_cache,
            )
        self.check_asked(files.test, files.asked)
        if self.validation is not None:
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
        if self.validation is None:
            return False
        return self.epochs > first_full_epoch(self.curriculum)

    def make_callbacks(self):
        callbacks = [
            keras_coconut.CurriculumScheduler(
                self.dataset,
                reset_optimizer=FLAGS.reset_optimizer,
                promote_after=FLAGS.promote_after,
                monitor="val_answer_accuracy",
            ),
            keras_coconut.HealthMonitor(on_trouble=FLAGS.on_trouble),
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
        except keras_coconut.TrainingTroubleError as error:
            sys.exit(f"{self.output}: {error}")
        if self.keeps_best:
            return self.load_best()
        self.model.save_to_preset(str(self.output / "preset"))
        return self.model

    def load_best(self):
        """The model that answered best; ends the script if there is none."""
        if not (self.output / "preset" / "validation.json").exists():
            sys.exit(
                f"{self.output}: no model of the last stage was kept: no epoch "
                "of it ended with weights that are finite. Train anew with "
                "--overwrite and a lower --learning_rate"
            )
        return load_trained(self.output, "--output")

    def remove_saves(self):
        shutil.rmtree(self.output / "saves", ignore_errors=True)
