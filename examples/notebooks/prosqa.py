# %% [markdown]
"""
# ProsQA: from data to the search tree, with a control

**Author:** the keras_coconut developers<br>
**Date created:** 2026/11/27<br>
**Description:** Train a Coconut on a graph search, and see whether its thoughts search.

A ProsQA problem is a graph and two of its nodes: which of them can the root reach? The claim of
the paper ([arXiv 2412.06769](https://arxiv.org/abs/2412.06769), section 5) is that a continuous
thought holds several next nodes at once, so that a chain of thoughts searches breadth-first. The
same pictures can appear in models whose thoughts do nothing, so this notebook trains a *control*
beside the Coconut: the same model, with pauses where the Coconut thinks.

Training takes about five minutes on a GPU and half an hour on a CPU for each of the two models. A
trained model is kept in the folder `prosqa_models`; a second run of this notebook reads it. The
outputs below are of such a second run, with models that this recipe trained on a GPU.
"""

# %%
import os
import pathlib

os.environ["KERAS_BACKEND"] = "jax"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import keras_hub

import keras_coconut as kc

EPOCHS_OF_STAGES = [25, 20, 12, 12, 11]
STEPS_PER_EPOCH = 100
TRAIN_PROBLEMS, TEST_PROBLEMS = 50_000, 500
PAIRS = 200
FOLDER = pathlib.Path("prosqa_models")

# %% [markdown]
"""
## Data

`load_prosqa` draws problems as the published ones are distributed, here with 12 nodes and in
symbols: `|<1><2>` is an edge, `?<5><2>` the choice and `@<1>` the root. The steps name the nodes on
the way.
"""

# %%
splits = kc.load_prosqa(
    train=TRAIN_PROBLEMS,
    validation=200,
    test=TEST_PROBLEMS,
    num_nodes=12,
    max_steps=4,
    symbolic=True,
)
problem = splits.test[0]
print(problem.question)
print(problem.steps, problem.answer)

# %% [markdown]
"""
## The model and its control

Two layers, from scratch. The control differs in one word: `method_curriculum` turns the thoughts
into pauses, the same learned embedding in each slot. `AnswerAccuracy` keeps the model that answers
most validation problems in the last stage.
"""

# %%
initial, *later = EPOCHS_OF_STAGES
coconut = kc.Curriculum(
    max_stage=4,
    initial_epochs=initial,
    epochs_per_stage=later,
    extra_stage=False,
    mixing_probability=0.1,
)


def make_model():
    keras.utils.set_random_seed(0)
    preprocessor = kc.ContinuousThoughtPreprocessor(
        kc.make_word_tokenizer(kc.symbolic_words()),
        separator="",
        markers=False,
    )
    backbone = keras_hub.models.GPT2Backbone(
        vocabulary_size=preprocessor.tokenizer.vocabulary_size(),
        num_layers=2,
        num_heads=4,
        hidden_dim=128,
        intermediate_dim=512,
        dropout=0.0,
        max_sequence_length=512,
    )
    for weight in backbone.trainable_variables:
        # KerasHub's first weights suit a hidden size of 768.
        if weight.name != "gamma":
            weight.assign(weight * 4)
    return kc.ContinuousThoughtLM(backbone, preprocessor)


def train(method):
    FOLDER.mkdir(exist_ok=True)
    folder = FOLDER / method
    if folder.exists():
        return kc.ContinuousThoughtLM.from_preset(str(folder))
    model = make_model()
    curriculum = kc.method_curriculum(method, coconut)
    dataset = kc.CurriculumDataset(
        splits.train,
        model.preprocessor,
        curriculum,
        batch_size=64,
        steps_per_epoch=STEPS_PER_EPOCH,
    )
    steps = coconut.num_epochs * STEPS_PER_EPOCH
    model.compile(
        keras.optimizers.AdamW(
            keras.optimizers.schedules.CosineDecay(1e-3, steps),
            weight_decay=0.01,
            beta_2=0.98,
            global_clipnorm=1.0,
        )
    )
    model.fit(
        dataset,
        epochs=coconut.num_epochs,
        verbose=2,
        callbacks=[
            kc.CurriculumScheduler(dataset, reset_optimizer="never"),
            kc.AnswerAccuracy(
                splits.validation,
                every=4,
                max_length=16,
                batch_size=64,
                best_preset=FOLDER / f"{method}-best",
                curriculum=curriculum,
            ),
        ],
    )
    best = kc.ContinuousThoughtLM.from_preset(str(FOLDER / f"{method}-best"))
    # Only a training that ended is read by a second run.
    best.save_to_preset(str(folder))
    return best


# %%
model = train("coconut")

# %%
pauses = train("pause_as_thought")

# %% [markdown]
"""
## Do the thoughts carry the answer?
"""

# %%
options = dict(max_length=16, batch_size=64, verbose=0)
found = kc.evaluate_problems(model, splits.test, **options)
of_pauses = kc.evaluate_problems(pauses, splits.test, **options)
controls = kc.evaluate_controls(model, splits.test, **options)
for name, result in {"thoughts": found, "pauses": of_pauses}.items():
    share = result.interval
    print(f"{name}: {share.share:.1%} ({share.low:.1%} to {share.high:.1%})")
kc.plot_controls(found, controls)

# %% [markdown]
"""
## The search tree

After each forced number of thoughts, how probable is each node as the next step? The *frontier* is
the nodes one step further than the model has thought. Chance is the frontier's share of the nodes
that a right step can name.
"""

# %%
tree = kc.search_tree(
    model, splits.test, control=pauses, batch_size=64, verbose=0
)
for level in tree.levels:
    if level.num_problems:
        mass = level.frontier_mass.frontier
        print(
            f"after {level.num_thoughts} thoughts {mass.share.mean:.1%} of the "
            f"value is on the frontier, by chance {mass.chance:.1%}"
        )
kc.plot_search_tree(tree, splits.test)

# %%
kc.plot_frontier_mass(tree)

# %% [markdown]
"""
The hatched bars are the control's. Where they are as high as the model's, the picture says nothing
about thoughts.

## Which nodes do the thoughts resemble?

Inner products of each thought with the embeddings of nodes, by group
([arXiv 2505.12514](https://arxiv.org/abs/2505.12514), section 5), and attention to their edges.
"""

# %%
held = kc.superposition(
    model, splits.test, control=pauses, batch_size=64, verbose=0
)
kc.plot_groups(held)

# %% [markdown]
"""
## Cause, not pattern

Move the one edge that decides the answer, and the answer should change with it.
"""

# %%
edges = kc.evaluate_counterfactuals(
    model,
    splits.test,
    control=pauses,
    num_pairs=PAIRS,
    max_length=16,
    verbose=0,
)
print("follows:", edges.following)
print("control:", edges.control.following)
kc.plot_counterfactuals(edges)
