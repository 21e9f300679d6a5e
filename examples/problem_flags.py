"""The flags of `train_on_problems.py`, by section.

Nothing here imports Keras, so that a wrong value is refused at once. What goes
together stands in problem_checks.py.
"""

import os

from absl import flags
from command_line import DTYPES, METHODS, MOST_SEED
from flag_sections import (
    Section,
    expect,
    expect_counts,
    expect_file,
    expect_vocabulary,
)
from scratch_families import FAMILIES

FLAGS = flags.FLAGS
# `--words` that are taken from the problems.
AUTO = "auto"
SEPARATORS = {"newline": "\n", "space": " ", "none": ""}

data = Section("Data")
data.text(
    "problems",
    None,
    "The problems to train on: a file that keras_coconut.read_problems reads.",
    value="FILE",
)
data.text(
    "validation",
    None,
    "Problems that are answered after each epoch. The best model of the last "
    "stage is kept; without it, that of the last epoch.",
    value="FILE",
)
data.text(
    "test",
    None,
    "Problems to answer in the end. Those of --problems if unset.",
    value="FILE",
)
data.count("limit", None, "Only the first so many problems of each file.")
data.switch(
    "drop_too_long", False, "Leave out training problems that do not fit."
)
data.text(
    "token_cache",
    None,
    "Folder that keeps the tokens of --problems, for a file of gigabytes. "
    "Needs --test.",
    value="FOLDER",
)

model = Section("Model")
model.text(
    "preset",
    None,
    "Start from a preset: a name of KerasHub's, hf://..., kaggle://... or a "
    "folder.",
    value="PRESET",
)
model.text(
    "words",
    None,
    "Start from scratch, with these words as one token each: a file with one "
    "word a line, words with commas between them, or auto for the words of "
    "--problems. A space in front counts. Other text becomes one token a byte.",
    value="FILE",
)
model.text(
    "vocabulary",
    None,
    "Start from scratch, with the GPT-2 vocabulary of a folder that holds "
    "vocabulary.json and merges.txt.",
    value="FOLDER",
)
model.switch(
    "markers",
    True,
    "Whether marker tokens stand around the thoughts. Small models learn "
    "sooner without: --nomarkers.",
)
model.several(
    "marker_tokens",
    None,
    "With a plain --preset: the tokens of its vocabulary that begin thoughts, "
    "end them, and pause.",
    value="BEGIN,END,PAUSE",
)
model.choice(
    "separator",
    "newline",
    list(SEPARATORS),
    "What stands behind the question and each step.",
)
model.count(
    "sequence_length",
    1024,
    "Maximum number of tokens of question, thoughts and response together.",
)
model.count(
    "num_iterations",
    None,
    "Compute all thoughts at once, so many times (parallel thoughts by Jacobi "
    "iterations). One after the other if unset.",
)
model.choice("dtype", None, DTYPES, "Type of the computation.")
model.switch(
    "rematerialize",
    False,
    "Compute layers again in the backward pass: slower, with less memory.",
)
model.count(
    "lora_rank",
    None,
    "With --preset: train LoRA weights of this rank, and no others.",
)
model.several(
    "lora_layers",
    None,
    "With --lora_rank: names of the layers that get them, such as "
    "query,key,value. Those of the queries and values if unset.",
)

scratch = Section("Model from scratch")
scratch.choice("family", "gpt2", list(FAMILIES), "Its architecture.")
scratch.count("num_layers", 2, "Layers.")
scratch.count("num_heads", 4, "Heads of a layer's attention.")
scratch.count(
    "num_key_value_heads",
    None,
    "Number of key-value heads; must divide --num_heads, its default. "
    "Not for gpt2, opt and gpt_neo_x.",
)
scratch.count("hidden_dim", 128, "Hidden size.")
scratch.count(
    "head_dim",
    None,
    "Size of a head; --hidden_dim divided by --num_heads if unset. For "
    f"{', '.join(n for n, f in FAMILIES.items() if 'head_dim' in f.takes)}.",
)
scratch.count(
    "intermediate_dim",
    None,
    "Size of the feed-forward layers; 4 times --hidden_dim if unset.",
)
scratch.number("dropout", 0.0, "Share that is dropped.", least=0, below=1)

curriculum = Section("Curriculum")
curriculum.choice("method", "coconut", METHODS, "Row of the paper's Table 1.")
curriculum.count("max_stage", 6, "Last regular stage.", least=0)
curriculum.count("thoughts_per_step", 1, "Thoughts for each step.", least=0)
curriculum.count("initial_epochs", None, "Epochs of stage 0.", least=0)
curriculum.several(
    "epochs_per_stage",
    ["5"],
    "Epochs of each later stage: one number, or one for each stage.",
    value="N or N,N,...",
)
curriculum.switch(
    "extra_stage", True, "Whether a last stage hides all steps that are left."
)
curriculum.switch(
    "pad_latent_to_max",
    True,
    "Whether every problem gets the most thoughts in the extra stage, and not "
    "as many as its steps ask for.",
)
curriculum.number(
    "mixing_probability",
    0.0,
    "Share of problems that are shown at a random stage.",
    least=0,
    most=1,
)
curriculum.switch(
    "one_thought_at_a_time",
    False,
    "Whether a stage with several new thoughts adds one at each epoch.",
)
curriculum.count(
    "promote_after",
    None,
    "Epochs without a better accuracy on --validation after which the next "
    "stage begins early; --epochs_per_stage then is the most of a stage.",
)
curriculum.count(
    "tokens_per_stage",
    8,
    "With --method=icot: tokens of the chain that a stage removes.",
)
curriculum.count(
    "chain_tokens",
    64,
    "With --method=icot: tokens after which the rest goes at once.",
    least=0,
)

training = Section("Training")
training.count("epochs", None, "Epochs; the whole curriculum if unset.")
training.count(
    "steps_per_epoch", None, "Batches in an epoch; all problems if unset."
)
training.count(
    "batch_size", 32, "Problems in a batch, for training and for answers."
)
training.count(
    "accumulation", 1, "Batches whose gradients make one update of the weights."
)
training.count(
    "length_groups",
    1,
    "Groups of problems of like length; more of them mean less padding.",
)
training.number("learning_rate", 1e-4, "Learning rate of AdamW.", above=0)
training.number("weight_decay", 0.01, "Weight decay of AdamW.", least=0)
training.number("clipnorm", None, "Largest norm of each gradient.", above=0)
training.choice(
    "reset_optimizer",
    "stage",
    ["stage", "epoch", "never"],
    "When the optimizer starts anew.",
)
training.count(
    "seed",
    0,
    "Random seed of the weights and of the order of problems.",
    least=0,
    most=MOST_SEED,
)
training.choice(
    "on_trouble",
    "warn",
    ["warn", "raise", "go_back"],
    "What follows a loss that is not finite or jumps, or thoughts that explode "
    "or collapse: a line in the log; the end; or the last save again, with "
    "half the learning rate and without the batch.",
)

answers = Section("Answers")
answers.count("max_length", None, "Maximum number of tokens in a response.")
answers.switch(
    "evaluate_only", False, "Let the model in --output answer again."
)

output = Section("Saving and output")
output.text(
    "output",
    "runs/coconut",
    "Folder for preset/, predictions.json and, while training, saves/.",
    value="FOLDER",
)
output.switch(
    "overwrite",
    False,
    "Replace what an earlier run of this script left in --output.",
)
output.count(
    "save_every",
    100,
    "Steps from one save to the next, from which a run resumes.",
)

for _name in ("problems", "validation", "test"):
    expect_file(_name)
expect("output", bool, "a folder")
expect("token_cache", bool, "a folder")
expect("preset", bool, "a preset")
expect_vocabulary("vocabulary")
expect_counts("epochs_per_stage", different=False)
expect(
    "marker_tokens",
    lambda tokens: len(tokens) == len(set(tokens)) == 3 and all(tokens),
    "three different tokens with commas between them",
)
expect(
    "lora_layers",
    lambda names: names and all(names),
    "names of layers with commas between them",
)
expect(
    "words",
    lambda value: value == AUTO or "," in value or os.path.isfile(value),
    f"a file that exists, words with commas between them, or {AUTO}",
)
