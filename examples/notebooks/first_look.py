# %% [markdown]
"""
# A first look: sums in continuous thoughts

**Author:** the keras_coconut developers<br>
**Date created:** 2026/11/27<br>
**Description:** Train a two-layer GPT-2 to do sums in its head, and look inside.

A problem such as "start 3, +4, *2, -5" is solved step by step, modulo 10: 7, 4, 9. A language
model can write these steps before the answer. With
[Coconut](https://arxiv.org/abs/2412.06769) it *thinks* them: it feeds its last hidden state
back as the next input and writes the answer alone. Training begins with written steps and
replaces them with thoughts, stage by stage.

The whole notebook takes a few minutes on a free CPU.
"""

# %% [markdown]
"""
The backend is chosen before Keras is imported: `"torch"`, `"jax"` or `"tensorflow"`.
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
TEST_PROBLEMS = 500
print(keras.config.backend(), keras.__version__)

# %% [markdown]
"""
## Problems

A problem has a question, its steps and an answer. `load_arithmetic` draws them; no test problem
is among the training problems.
"""

# %%
splits = kc.load_arithmetic(
    train=50_000, validation=250, test=TEST_PROBLEMS, num_operations=3
)
splits.test[0]

# %% [markdown]
"""
## A model

A small vocabulary, in which each operation and each step is one token, and a KerasHub backbone.
With `markers=False`, the hidden state that would predict a step becomes the thought that replaces
it. For a pretrained backbone, one line does all of this:
`kc.ContinuousThoughtLM.from_preset("gpt2_base_en", markers=False)`.
"""

# %%
SEED = 0
HIDDEN = 128


def make_model():
    keras.utils.set_random_seed(SEED)
    preprocessor = kc.ContinuousThoughtPreprocessor(
        kc.make_word_tokenizer(kc.arithmetic_words()), markers=False
    )
    backbone = keras_hub.models.GPT2Backbone(
        vocabulary_size=preprocessor.tokenizer.vocabulary_size(),
        num_layers=2,
        num_heads=4,
        hidden_dim=HIDDEN,
        intermediate_dim=4 * HIDDEN,
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
    return model


# %% [markdown]
"""
## One `fit` through all stages

At stage k, k thoughts replace the first k steps. Three rows in ten are shown at a random stage, so
that early thoughts keep their meaning. `AnswerAccuracy` lets the model answer problems while it
trains.
"""

# %%
initial, *later = EPOCHS_OF_STAGES
curriculum = kc.Curriculum(
    max_stage=3,
    initial_epochs=initial,
    epochs_per_stage=later,
    extra_stage=False,
    mixing_probability=0.3,
)
model = make_model()
dataset = kc.CurriculumDataset(
    splits.train,
    model.preprocessor,
    curriculum,
    batch_size=128,
    steps_per_epoch=STEPS_PER_EPOCH,
)
history = model.fit(
    dataset,
    epochs=curriculum.num_epochs,
    verbose=2,
    callbacks=[
        kc.CurriculumScheduler(dataset, reset_optimizer="never"),
        kc.AnswerAccuracy(splits.validation, max_length=12, batch_size=250),
    ],
)

# %%
kc.plot_stages(history.history)

# %% [markdown]
"""
## What it answers, and what it thinks

`generate` thinks, then writes. `decode_thoughts` shows which tokens the language head reads from
each thought; a thought is fed back whole, and never becomes a token.
"""

# %%
questions = [problem.question for problem in splits.test[:3]]
answers = model.generate(questions, max_length=12)
for problem, answer, thoughts in zip(
    splits.test, answers, kc.decode_thoughts(model, questions, top_k=2)
):
    print(f"{problem.question}   answered {answer!r}")
    for step, thought in zip(problem.steps, thoughts):
        read = ", ".join(f"{t.token!r} {t.probability:.0%}" for t in thought)
        print(f"   running value {step}   the thought decodes to {read}")

# %% [markdown]
"""
## Do the thoughts matter?

An accuracy alone does not show it. `evaluate_controls` asks the same model with its thoughts left
out, or replaced by noise, by another problem's thoughts, and so on. If the thoughts carry the
answer, the accuracy falls. With `none` this model has no slot to think in and writes its steps as
words, as in stage 0. `removed` leaves the thoughts out and the response in its place.
"""

# %%
options = dict(max_length=12, batch_size=250, verbose=0)
found = kc.evaluate_problems(model, splits.test, **options)
controls = kc.evaluate_controls(model, splits.test, **options)
print(f"own thoughts {found.accuracy:.1%}")
for name, control in controls.items():
    print(f"{name} {control.accuracy:.1%}")
kc.plot_controls(found, controls)

# %% [markdown]
"""
## Keep it

A preset holds the model and its preprocessor. It opens on every backend.
"""

# %%
model.save_to_preset("arithmetic_coconut")
again = kc.ContinuousThoughtLM.from_preset("arithmetic_coconut")
assert again.generate(questions, max_length=12) == answers
