"""The recipes of `reproduce_table.py`: what each dataset is trained with.

`tiny` is a smoke run of minutes on a CPU, `small` trains a small model from
scratch, `cpu` a smaller one on smaller problems within an hour of one core,
`paper` fine-tunes GPT-2 as published. Recipes are plain data: no model is made
here.
"""

import dataclasses
from typing import Literal

from table_values import check_field

import keras_coconut
from keras_coconut.checks import check_count, check_number


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How one dataset is trained at one scale; every method takes the same.

    Args:
        curriculum: the `Curriculum` of the Coconut row.
        epochs: int. Of every method.
        tokens_per_stage, chain_tokens: for iCoT; see `method_curriculum`.
        max_length: int. Maximum number of tokens in a response.
        preset: string. GPT-2 preset to start from; from scratch if `None`.
        layers, heads, hidden: sizes of a model from scratch.
        markers: bool. Whether tokens mark where thoughts begin and end; for a
            model from scratch.
        initial_scale: what its first weights are multiplied with. KerasHub's
            suit a hidden size of 768; narrower models learn sooner with larger
            ones, see docs/log.md.
        steps_per_epoch: int. One pass over the problems if `None`.
        decay: bool. Whether the learning rate falls to 0 over the whole run,
            along half a cosine; stays as it is else. Needs an optimizer that is
            never reset.
        data: what `load_dataset` takes.
    """

    curriculum: keras_coconut.Curriculum
    epochs: int
    tokens_per_stage: int = 8
    chain_tokens: int = 64
    max_length: int = 128
    preset: str | None = None
    layers: int = 2
    heads: int = 4
    hidden: int = 128
    markers: bool = True
    initial_scale: float = 1.0
    batch_size: int = 128
    accumulation: int = 1
    steps_per_epoch: int | None = None
    learning_rate: float = 1e-4
    decay: bool = False
    beta_2: float = 0.999
    clipnorm: float | None = None
    reset_optimizer: Literal["stage", "epoch", "never"] = "stage"
    length_groups: int = 1
    evaluate_every: int = 1
    data: dict = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        for name in (
            "epochs",
            "tokens_per_stage",
            "max_length",
            "layers",
            "heads",
            "hidden",
            "batch_size",
            "accumulation",
            "steps_per_epoch",
            "length_groups",
            "evaluate_every",
        ):
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name), least=1)
        check_count("chain_tokens", self.chain_tokens)
        for name in ("initial_scale", "learning_rate", "clipnorm"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), above=0)
        check_number("beta_2", self.beta_2, above=0)
        if self.beta_2 >= 1:
            raise ValueError(
                f"`beta_2` must be below 1. Received: beta_2={self.beta_2}"
            )
        if self.hidden % self.heads:
            raise ValueError(
                "`heads` must divide `hidden`. Received: "
                f"heads={self.heads}, hidden={self.hidden}"
            )
        if self.decay and self.reset_optimizer != "never":
            raise ValueError(
                '`decay` needs `reset_optimizer` to be "never": a reset starts '
                "the decay anew. Received: "
                f"reset_optimizer={self.reset_optimizer!r}"
            )


def _curriculum(*args, **kwargs):
    return keras_coconut.Curriculum(*args, **kwargs)


def _published(max_stage, c, initial, later, **kwargs):
    return Recipe(
        _curriculum(
            max_stage=max_stage,
            thoughts_per_step=c,
            initial_epochs=initial,
            epochs_per_stage=later,
        ),
        epochs=50,
        preset="gpt2_base_en",
        # 128 rows at a time need more memory than most cards have.
        batch_size=32,
        accumulation=4,
        length_groups=8,
        **kwargs,
    )


_SMOKE = dict(hidden=64, batch_size=32, learning_rate=1e-3, clipnorm=1.0)
_GRAPH_SMOKE = dict(
    curriculum=_curriculum(max_stage=2, epochs_per_stage=1),
    epochs=5,
    steps_per_epoch=20,
    max_length=96,
    tokens_per_stage=32,
    data=dict(train=400, validation=32, test=64),
    **_SMOKE,
)

RECIPES = {
    # As the demo trains Coconut.
    ("arithmetic", "tiny"): Recipe(
        # Mixed stages keep early thoughts meaning what they did: docs/log.md.
        _curriculum(
            max_stage=3,
            initial_epochs=2,
            epochs_per_stage=[1, 2, 3],
            extra_stage=False,
            mixing_probability=0.3,
        ),
        epochs=8,
        # A step is one token here.
        tokens_per_stage=1,
        chain_tokens=3,
        max_length=12,
        markers=False,
        initial_scale=4.0,
        steps_per_epoch=120,
        learning_rate=1e-3,
        decay=True,
        beta_2=0.98,
        clipnorm=1.0,
        reset_optimizer="never",
        data=dict(train=50_000, validation=250, test=1_000),
    ),
    ("prosqa", "tiny"): Recipe(**_GRAPH_SMOKE),
    ("prosqa_symbolic", "tiny"): Recipe(**_GRAPH_SMOKE),
    ("prontoqa", "tiny"): Recipe(**_GRAPH_SMOKE),
    ("gsm8k_aug", "tiny"): Recipe(
        _curriculum(max_stage=2, thoughts_per_step=2, epochs_per_stage=1),
        epochs=5,
        steps_per_epoch=20,
        max_length=64,
        tokens_per_stage=20,
        chain_tokens=40,
        **_SMOKE,
    ),
    # As "Reasoning by Superposition" (arXiv 2505.12514), section 5.
    ("prosqa_symbolic", "small"): Recipe(
        _curriculum(
            max_stage=4,
            initial_epochs=25,
            epochs_per_stage=25,
            extra_stage=False,
            mixing_probability=0.1,
        ),
        epochs=300,
        tokens_per_stage=1,
        chain_tokens=4,
        max_length=16,
        layers=2,
        heads=8,
        hidden=768,
        # The published code of that paper has none: the last token of the
        # question is the root, and predicts the first step.
        markers=False,
        batch_size=256,
        beta_2=0.95,
        evaluate_every=5,
        length_groups=2,
        data=dict(train=14_785, validation=257, test=419),
    ),
    # The same with less: narrower, smaller graphs, larger steps that shrink.
    ("prosqa_symbolic", "cpu"): Recipe(
        _curriculum(
            max_stage=4,
            initial_epochs=25,
            epochs_per_stage=[20, 12, 12, 11],
            extra_stage=False,
            mixing_probability=0.1,
        ),
        epochs=80,
        tokens_per_stage=1,
        chain_tokens=4,
        max_length=16,
        hidden=128,
        markers=False,
        initial_scale=4.0,
        batch_size=64,
        steps_per_epoch=100,
        learning_rate=1e-3,
        decay=True,
        beta_2=0.98,
        clipnorm=1.0,
        reset_optimizer="never",
        evaluate_every=4,
        data=dict(
            train=50_000,
            validation=200,
            test=500,
            num_nodes=12,
            max_steps=4,
        ),
    ),
    ("prosqa", "paper"): _published(6, 1, 5, 5),
    ("prontoqa", "paper"): _published(6, 1, 5, 5, max_length=160),
    ("gsm8k_aug", "paper"): _published(3, 2, 6, 3, chain_tokens=40),
}


def find_recipe(dataset: str, scale: str) -> Recipe:
    """Returns a recipe; an unknown pair lists the known ones."""
    if (dataset, scale) not in RECIPES:
        known = ", ".join(f"{d} at {s}" for d, s in RECIPES)
        raise ValueError(
            f"`dataset` and `scale` must be one of: {known}. Received: "
            f"{dataset} at {scale}"
        )
    return RECIPES[dataset, scale]


def change_recipe(recipe: Recipe, changes: dict) -> Recipe:
    """Returns a recipe with other values, its own or its curriculum's.

    Raises:
        ValueError: If a name is unknown, with the known ones, or if a value is
            of a wrong type or out of bounds.
    """
    own = {field.name for field in dataclasses.fields(recipe)}
    of_curriculum = {f.name for f in dataclasses.fields(recipe.curriculum)}
    known = sorted((own | of_curriculum) - {"curriculum"})
    for name in changes:
        if name not in known:
            raise ValueError(
                f"a change must name one of {known}. Received: {name!r}"
            )
    # What both have, such as `tokens_per_stage`, is the recipe's.
    mine = {name: value for name, value in changes.items() if name in own}
    rest = {name: value for name, value in changes.items() if name not in own}
    for owner, values in ((recipe, mine), (recipe.curriculum, rest)):
        for name, value in values.items():
            check_field(type(owner), name, value)
    curriculum = dataclasses.replace(recipe.curriculum, **rest)
    return dataclasses.replace(recipe, curriculum=curriculum, **mine)


def method_curriculum(recipe: Recipe, method: str):
    """Returns the curriculum of a method by a recipe."""
    return keras_coconut.method_curriculum(
        method,
        recipe.curriculum,
        tokens_per_stage=recipe.tokens_per_stage,
        chain_tokens=recipe.chain_tokens,
    )


def check_last_stage(recipe: Recipe, method: str) -> None:
    """Raises a `ValueError` if no epoch of the last stage is evaluated.

    There would be no best model to test.
    """
    curriculum = method_curriculum(recipe, method)
    if not any(
        curriculum.stage(epoch) == curriculum.last_stage
        for epoch in range(recipe.epochs)
        if (epoch + 1) % recipe.evaluate_every == 0
    ):
        first = curriculum.first_epoch(curriculum.last_stage) + 1
        raise ValueError(
            "`epochs` and `evaluate_every` must leave an evaluated epoch in "
            f"the last stage of {method}, which begins with epoch {first}. "
            f"Received: epochs={recipe.epochs}, "
            f"evaluate_every={recipe.evaluate_every}"
        )
