# %% [markdown]
"""
# Your own data: from a CSV file to a model that thinks

**Author:** the keras_coconut developers<br>
**Date created:** 2026/11/27<br>
**Description:** Read and check a file of problems, train on it, ask whether thoughts help.

Replace the file that this notebook writes with your own: a CSV file with the columns `question`,
`steps` (one step per line) and `answer`, or JSON with the same keys.
"""

# %%
import csv
import itertools
import os
import random

os.environ["KERAS_BACKEND"] = "torch"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import keras_hub

import keras_coconut as kc

EPOCHS_OF_STAGES = [2, 1, 2, 2]
STEPS_PER_EPOCH = 100
TEST_PROBLEMS = 500
ROWS = 20_000
BATCH_SIZE = 128

# %% [markdown]
"""
## A file of problems

Here: the game of cups. A ball lies under one of five cups, and pairs of cups swap places. The
steps say where the ball is after each swap.
"""

# %%
random.seed(0)
SWAPS = list(itertools.combinations("ABCDE", 2))


def make_row():
    place = random.choice("ABCDE")
    question, steps = f"Ball {place}.", []
    for one, two in random.choices(SWAPS, k=3):
        question += f" {one}{two}"
        place = {one: two, two: one}.get(place, place)
        steps.append(place)
    return {"question": question, "steps": "\n".join(steps), "answer": place}


# No question twice.
rows = {row["question"]: row for row in (make_row() for _ in range(ROWS))}
with open("cups.csv", "w", newline="") as file:
    writer = csv.DictWriter(file, ["question", "steps", "answer"])
    writer.writeheader()
    writer.writerows(rows.values())

# %% [markdown]
"""
## Read and check it

`read_problems` names the row and the column of whatever is wrong. Each step is one inference, in
the order in which a person would make it: a thought replaces a step. The answer is short.
"""

# %%
problems = kc.read_problems("cups.csv")
train, test = problems[:-TEST_PROBLEMS], problems[-TEST_PROBLEMS:]
assert len(train) > len(test), "TEST_PROBLEMS leaves too few to train on"
print(len(train), len(test), train[0])

# %% [markdown]
"""
## A model

For text in words, start from a pretrained backbone:
`kc.ContinuousThoughtLM.from_preset("gpt2_base_en")`. A small artificial language trains from
scratch. Its vocabulary holds the words of the problems, and `markers=False` makes the hidden state
that would predict a step the thought that replaces it.
"""

# %%
words = kc.problem_words(problems)
print(len(words), words[:12])


def make_model():
    keras.utils.set_random_seed(0)
    preprocessor = kc.ContinuousThoughtPreprocessor(
        kc.make_word_tokenizer(words), markers=False
    )
    backbone = keras_hub.models.Llama3Backbone(
        vocabulary_size=preprocessor.tokenizer.vocabulary_size(),
        num_layers=2,
        num_query_heads=4,
        num_key_value_heads=4,
        hidden_dim=128,
        intermediate_dim=512,
        tie_word_embeddings=True,
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
## Three ways to train it

The same loop trains chain of thought, answers at once, and Coconut: each is a curriculum. For your
own file, choose `max_stage` by its number of steps and `max_length` by the longest response.
"""

# %%
initial, *later = EPOCHS_OF_STAGES
coconut = kc.Curriculum(
    max_stage=3,
    initial_epochs=initial,
    epochs_per_stage=later,
    extra_stage=False,
    mixing_probability=0.3,
)
models, found = {}, {}
for method in ("cot", "no_cot", "coconut"):
    model = models[method] = make_model()
    dataset = kc.CurriculumDataset(
        train,
        model.preprocessor,
        kc.method_curriculum(method, coconut),
        batch_size=BATCH_SIZE,
        steps_per_epoch=STEPS_PER_EPOCH,
    )
    model.fit(
        dataset,
        epochs=coconut.num_epochs,
        verbose=0,
        callbacks=[kc.CurriculumScheduler(dataset, reset_optimizer="never")],
    )
    found[method] = kc.evaluate_problems(
        model, test, max_length=12, batch_size=100, verbose=0
    )
    share = found[method].interval
    print(
        f"{method:8} {share.share:6.1%} ({share.low:.1%} to {share.high:.1%}), "
        f"{found[method].tokens_generated:.1f} tokens"
    )

# %% [markdown]
"""
`compare` is McNemar's test: on how many problems is one model right and the other wrong?
"""

# %%
print(found["coconut"].compare(found["no_cot"]))
kc.plot_tokens(found)

# %% [markdown]
"""
## Do the thoughts carry the answer?
"""

# %%
controls = kc.evaluate_controls(
    models["coconut"], test, max_length=12, batch_size=100, verbose=0
)
kc.plot_controls(found["coconut"], controls)

# %% [markdown]
"""
## Where it fails

Each response stands beside its problem.
"""

# %%
wrong = [
    (problem, response)
    for problem, response, right in zip(
        test, found["coconut"].predictions, found["coconut"].correct
    )
    if not right
]
print(f"{len(wrong)} of {len(test)} wrong")
for problem, response in wrong[:3]:
    print(problem.question, "| right", problem.answer, "| written", response)
models["coconut"].save_to_preset("cups_coconut")
