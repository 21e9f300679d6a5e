# %% [markdown]
"""
# Reading a report card

**Author:** the keras_coconut developers<br>
**Date created:** 2026/11/27<br>
**Description:** One page that says whether thoughts carry the answer, and how to read it.

`report_card` measures a model in every way that applies to its problems, and says in words what
follows. This notebook trains a small Coconut on sums and a control with pauses, and reads the two
cards. It takes a few minutes on a free CPU.
"""

# %%
import os

os.environ["KERAS_BACKEND"] = "torch"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import keras_hub

import keras_coconut as kc

EPOCHS_OF_STAGES = [2, 1, 2, 3]
STEPS_PER_EPOCH = 120
TEST_PROBLEMS = 300
PAIRS = 100

# %% [markdown]
"""
## Two models

The first thinks. The second has pauses in the same places, and the same training otherwise.
"""

# %%
splits = kc.load_arithmetic(
    train=50_000, validation=0, test=TEST_PROBLEMS, num_operations=3
)
initial, *later = EPOCHS_OF_STAGES
coconut = kc.Curriculum(
    max_stage=3,
    initial_epochs=initial,
    epochs_per_stage=later,
    extra_stage=False,
    mixing_probability=0.3,
)


def train(method):
    keras.utils.set_random_seed(0)
    preprocessor = kc.ContinuousThoughtPreprocessor(
        kc.make_word_tokenizer(kc.arithmetic_words()), markers=False
    )
    backbone = keras_hub.models.GPT2Backbone(
        vocabulary_size=preprocessor.tokenizer.vocabulary_size(),
        num_layers=2,
        num_heads=4,
        hidden_dim=128,
        intermediate_dim=512,
        dropout=0.0,
        max_sequence_length=64,
    )
    for weight in backbone.trainable_variables:
        # KerasHub's first weights suit a hidden size of 768.
        if weight.name not in ("gamma", "scale"):
            weight.assign(weight * 4)
    model = kc.ContinuousThoughtLM(backbone, preprocessor)
    steps = sum(EPOCHS_OF_STAGES) * STEPS_PER_EPOCH
    model.compile(
        keras.optimizers.AdamW(
            keras.optimizers.schedules.CosineDecay(1e-3, steps),
            weight_decay=0.01,
            beta_2=0.98,
            global_clipnorm=1.0,
        )
    )
    dataset = kc.CurriculumDataset(
        splits.train,
        preprocessor,
        kc.method_curriculum(method, coconut),
        batch_size=128,
        steps_per_epoch=STEPS_PER_EPOCH,
    )
    model.fit(
        dataset,
        epochs=coconut.num_epochs,
        verbose=0,
        callbacks=[kc.CurriculumScheduler(dataset, reset_optimizer="never")],
    )
    return model


model, pauses = train("coconut"), train("pause_as_thought")

# %% [markdown]
"""
## The card

Each verdict is a question, an outcome, and a sentence with the figures it rests on. Shares stand
with their 95% intervals (Wilson).
"""

# %%
card = kc.report_card(
    model,
    splits.test,
    control=pauses,
    num_pairs=PAIRS,
    max_length=12,
    batch_size=100,
    verbose=0,
    path="report.html",
)
for verdict in card.verdicts:
    print(f"{verdict.question} {verdict.outcome}.")
    print(f"   {verdict.text}\n")

# %% [markdown]
"""
How to read them:

- **Do the thoughts carry the answer?** The model answers with its own thoughts, and with others in
  their place. "They carry it" means that the accuracy falls with each of them. An accuracy that
  stays says that the model answers from the question alone.
- **What do the thoughts hold?** Linear probes that read each step from each thought, beside the
  best guess without a thought. A step that can be read need not be used.
- **How many thoughts are needed?** The accuracy by forced numbers of thoughts.
- **What does an answer cost?** In tokens and in seconds, on this machine.
- **Does a control model show the same?** Every pattern that the control shows, too, is no evidence.

`report.html` holds these sentences, the pictures and all tables in one file that needs no network.
Download it from Colab's file panel, or open it from your own folder. The results that it rests on
are at hand, too, each with its plot.
"""

# %%
kc.plot_thought_budget(card.sections["budget"].result)

# %%
kc.plot_probes(card.sections["probes"].result)

# %%
kc.plot_minimal_pairs(card.sections["minimal_pairs"].result)

# %% [markdown]
"""
## The same card for the control

A pause is the same token in every problem, so nothing that is fed back can carry the answer. Its
state can still be read, since it attends to the question: the card above says which steps it shows.
"""

# %%
other = kc.report_card(
    pauses,
    splits.test,
    num_pairs=PAIRS,
    max_length=12,
    batch_size=100,
    verbose=0,
)
first = other.verdicts[0]
print(first.question, first.outcome)
print(first.text)

# %% [markdown]
"""
## From a terminal

For a saved model and a file of problems, one command makes the page:
`python -m keras_coconut.report sums_coconut sums.json`. Here it runs with the notebook's own
Python.
"""

# %%
import subprocess
import sys

model.save_to_preset("sums_coconut")
kc.write_problems("sums.json", splits.test[:60])
command = [sys.executable, "-m", "keras_coconut.report"]
command += ["sums_coconut", "sums.json", "--output", "from_terminal.html"]
done = subprocess.run(command, check=True, capture_output=True, text=True)
print(done.stdout)
