"""The flags of `train_on_problems.py`, by section.

Nothing here imports Keras, so that a wrong value is refused at once. What goes
together stands in problem_checks.py.
"""

import os
import pathlib

from absl import flags
from command_line import (
    DTYPES,
    METHODS,
    expect,
    expect_file,
    expect_number,
)

FLAGS = flags.FLAGS
PROBLEMS, MODEL, CURRICULUM, TRAINING, ASKING, OUTPUT = (
    {"module_name": title}
    for title in (
        "problems",
        "model",
        "curriculum",
        "training",
        "asking",
        "output",
    )
)
SECTIONS = [
    section["module_name"]
    for section in (PROBLEMS, MODEL, CURRICULUM, TRAINING, ASKING, OUTPUT)
]

flags.DEFINE_string("problems", None, "Problem file to train on.", **PROBLEMS)
flags.DEFINE_string(
    "validation",
    None,
    "Problem file that is answered after each epoch. The best model of the "
    "last stage is kept; without it, that of the last epoch.",
    **PROBLEMS,
)
flags.DEFINE_string(
    "test", None, "Problem file to test on; --problems if unset.", **PROBLEMS
)
flags.DEFINE_integer(
    "limit",
    None,
    "Use only the first so many problems of each file.",
    lower_bound=1,
    **PROBLEMS,
)
flags.DEFINE_bool(
    "drop_too_long",
    False,
    "Leave out training problems that do not fit.",
    **PROBLEMS,
)

flags.DEFINE_string("preset", None, "KerasHub preset to start from.", **MODEL)
flags.DEFINE_string(
    "vocabulary",
    None,
    "From scratch: folder of vocabulary.json and merges.txt.",
    **MODEL,
)
flags.DEFINE_string(
    "words",
    None,
    "From scratch: the words that become one token each, as a file with one "
    "word a line or with commas between them. A space in front counts. "
    "Everything else becomes one token a byte.",
    **MODEL,
)
flags.DEFINE_integer(
    "num_layers", 2, "From scratch: layers.", lower_bound=1, **MODEL
)
flags.DEFINE_integer(
    "num_heads", 4, "From scratch: heads.", lower_bound=1, **MODEL
)
flags.DEFINE_integer(
    "hidden_dim", 128, "From scratch: hidden size.", lower_bound=1, **MODEL
)
flags.DEFINE_float("dropout", 0.0, "From scratch: dropout.", **MODEL)
flags.DEFINE_bool(
    "markers",
    True,
    "Whether marker tokens stand around the thoughts. Small "
    "models learn sooner without.",
    **MODEL,
)
flags.DEFINE_enum("dtype", None, DTYPES, "Type of the computation.", **MODEL)
flags.DEFINE_integer(
    "lora_rank",
    None,
    "With a preset: train LoRA weights of this rank only.",
    lower_bound=1,
    **MODEL,
)

flags.DEFINE_enum(
    "method", "coconut", METHODS, "Row of the paper's Table 1.", **CURRICULUM
)
flags.DEFINE_integer(
    "max_stage", 6, "Last regular stage.", lower_bound=0, **CURRICULUM
)
flags.DEFINE_integer(
    "thoughts_per_step",
    1,
    "Thoughts for each step.",
    lower_bound=0,
    **CURRICULUM,
)
flags.DEFINE_integer(
    "initial_epochs", None, "Epochs of stage 0.", lower_bound=0, **CURRICULUM
)
flags.DEFINE_integer(
    "epochs_per_stage",
    5,
    "Epochs of each later stage.",
    lower_bound=0,
    **CURRICULUM,
)
flags.DEFINE_bool(
    "extra_stage", True, "Whether a last stage hides all steps.", **CURRICULUM
)
flags.DEFINE_float(
    "mixing_probability",
    0.0,
    "Share of problems that are shown at a random stage.",
    lower_bound=0.0,
    upper_bound=1.0,
    **CURRICULUM,
)
flags.DEFINE_integer(
    "tokens_per_stage",
    8,
    "With --method=icot: tokens of the chain that a stage removes.",
    lower_bound=1,
    **CURRICULUM,
)
flags.DEFINE_integer(
    "chain_tokens",
    64,
    "With --method=icot: tokens after which the rest goes at once.",
    lower_bound=0,
    **CURRICULUM,
)

flags.DEFINE_integer(
    "epochs",
    None,
    "Epochs; the whole curriculum if unset.",
    lower_bound=1,
    **TRAINING,
)
flags.DEFINE_integer(
    "batch_size",
    32,
    "Problems in a batch, for training and asking.",
    lower_bound=1,
    **TRAINING,
)
flags.DEFINE_integer(
    "length_groups",
    1,
    "Groups of problems of like length; more of them mean less padding.",
    lower_bound=1,
    **TRAINING,
)
flags.DEFINE_float("learning_rate", 1e-4, "Of AdamW.", **TRAINING)
flags.DEFINE_float("clipnorm", None, "Largest norm of a gradient.", **TRAINING)
flags.DEFINE_enum(
    "reset_optimizer",
    "stage",
    ["stage", "epoch", "never"],
    "When the optimizer starts anew.",
    **TRAINING,
)
flags.DEFINE_integer(
    "seed",
    0,
    "Seed of the weights and of the order.",
    lower_bound=0,
    upper_bound=2**32 - 1,
    **TRAINING,
)
flags.DEFINE_integer(
    "save_every",
    100,
    "Steps from one save to the next, from which a run resumes.",
    lower_bound=1,
    **TRAINING,
)

flags.DEFINE_integer(
    "max_length", None, "Most tokens of a response.", lower_bound=1, **ASKING
)
flags.DEFINE_bool(
    "evaluate_only", False, "Ask the model in --output again.", **ASKING
)

flags.DEFINE_string(
    "output",
    "runs/coconut",
    "Folder for `preset`, `predictions.json`, and `saves` while training.",
    **OUTPUT,
)
flags.DEFINE_bool(
    "overwrite",
    False,
    "Replace what an earlier run of this script left in --output.",
    **OUTPUT,
)

for _name in ("problems", "validation", "test"):
    expect_file(_name)
expect_number("dropout", least=0, below=1)
expect_number("learning_rate", above=0)
expect_number("clipnorm", above=0)
expect("output", bool, "a folder")
expect(
    "vocabulary",
    lambda folder: all(path.is_file() for path in vocabulary_files(folder)),
    "a folder that holds vocabulary.json and merges.txt",
)
expect(
    "words",
    lambda value: "," in value or os.path.isfile(value),
    "a file that exists, or words with commas between them",
)


def vocabulary_files(folder):
    """Returns the paths of a vocabulary's two files."""
    folder = pathlib.Path(folder)
    return folder / "vocabulary.json", folder / "merges.txt"


def flag_values(left_out=()):
    """Returns the values of this script's flags by name."""
    return {
        flag.name: flag.value
        for title in SECTIONS
        for flag in FLAGS.flags_by_module_dict()[title]
        if flag.name not in left_out
    }
