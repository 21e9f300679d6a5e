# %% [markdown]
"""
# GSM8k-Aug with a pretrained backbone and LoRA

**Author:** the keras_coconut developers<br>
**Date created:** 2026/11/27<br>
**Description:** Fine-tune SmolLM2-135M to think about grade-school sums.

GSM8k-Aug holds 385,620 word problems whose steps are equations. The paper fine-tunes GPT-2 for
days; this notebook shows the whole path with a small backbone, LoRA and a share of the problems.
**The outputs below come from a smoke run on a CPU**, with 48 problems of the validation file and
the weights of SmolLM2-135M-Instruct: they show that each cell runs and what it prints, and their
accuracy means nothing. On a GPU, raise `PROBLEMS` and `EPOCHS_OF_STAGES`.
"""

# %%
import math
import os

os.environ["KERAS_BACKEND"] = "torch"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras

import keras_coconut as kc

PRESET = "hf://HuggingFaceTB/SmolLM2-135M"
PROBLEMS = 48
TEST_PROBLEMS = 16
EPOCHS_OF_STAGES = [1, 1, 1]
BATCH_SIZE = 8
MAX_LENGTH = 48
# On a GPU, "mixed_bfloat16": faster, and activations take half the memory.
DTYPE = "float32"

# %% [markdown]
"""
## Problems

`load_gsm8k` downloads the published files once and checks them.
"""

# %%
splits = kc.load_gsm8k()
train, test = splits.train[:PROBLEMS], splits.test[:TEST_PROBLEMS]
print(len(train), len(test))
train[0]

# %% [markdown]
"""
## A pretrained backbone, with LoRA

`from_preset` takes any preset of a supported family: a built-in name, `hf://`, `kaggle://` or a
folder. It adds the marker tokens; the outputs for all other tokens stay the same. With LoRA
only the adapters train, and the embedding of the markers would stay as it began, so
`markers=False` leaves them out.
"""

# %%
keras.utils.set_random_seed(0)
model = kc.ContinuousThoughtLM.from_preset(PRESET, markers=False, dtype=DTYPE)
model.backbone.enable_lora(8)
print(
    f"{sum(math.prod(w.shape) for w in model.trainable_weights):,} weights of "
    f"{model.count_params():,} train"
)

# %% [markdown]
"""
## Train

Two thoughts replace each step, as in the paper. Rows of similar length share a batch
(`length_groups`). An interrupted run resumes from its last save when the notebook is run again: on
Colab, put the folder on a mounted Drive. After a change of the constants, delete it.
"""

# %%
initial, *later = EPOCHS_OF_STAGES
curriculum = kc.Curriculum(
    max_stage=2,
    thoughts_per_step=2,
    initial_epochs=initial,
    epochs_per_stage=later,
    extra_stage=False,
)
dataset = kc.CurriculumDataset(
    train,
    model.preprocessor,
    curriculum,
    batch_size=BATCH_SIZE,
    length_groups=2,
)
model.compile(
    keras.optimizers.AdamW(2e-4, weight_decay=0.01, global_clipnorm=1.0)
)
history = model.fit(
    dataset,
    epochs=curriculum.num_epochs,
    verbose=2,
    callbacks=[
        kc.CurriculumScheduler(dataset),
        kc.ResumableTraining("gsm8k_saves", every=100),
    ],
)

# %% [markdown]
"""
## Answers, with the thoughts and without
"""

# %%
options = dict(max_length=MAX_LENGTH, batch_size=16, verbose=0)
found = kc.evaluate_problems(model, test, **options)
without = kc.evaluate_problems(model, test, num_thoughts=0, **options)
for name, result in {"with thoughts": found, "without": without}.items():
    share = result.interval
    print(f"{name}: {share.share:.1%} ({share.low:.1%} to {share.high:.1%})")
for problem, response in list(zip(test, found.predictions))[:3]:
    print(problem.question, "| right", problem.answer, "| written", response)

# %% [markdown]
"""
## Keep it

A preset holds the backbone with its adapters and the preprocessor.
"""

# %%
model.save_to_preset("gsm8k_coconut")
again = kc.ContinuousThoughtLM.from_preset("gsm8k_coconut")
questions = [problem.question for problem in test[:4]]
assert again.generate(questions, max_length=16) == model.generate(
    questions, max_length=16
)
