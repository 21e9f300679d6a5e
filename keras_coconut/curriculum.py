"""The training schedule of Coconut as pure arithmetic: no Keras, no tensors.

An epoch belongs to a stage; a stage says how many language steps of a problem
are hidden and how many thoughts stand in their place (arXiv 2412.06769,
section 3, "Training procedure").
"""

import dataclasses
import math
from collections.abc import Sequence
from functools import partial
from typing import Literal, NamedTuple, get_args

from keras_coconut.checks import (
    check_choice,
    check_count,
    check_flag,
    check_number,
    refuse,
    shown,
)

ThoughtKind = Literal["continuous", "pause"]

# More than anybody trains: a mistyped count must not fill the memory.
MOST_STAGES = 10_000
# Of steps, epochs, thoughts and tokens.
MOST_COUNT = 2**31 - 1


class Layout(NamedTuple):
    """What a problem looks like at a stage: steps hidden, thoughts instead.

    `hidden_tokens` are hidden from the front of the steps that are left.
    """

    hidden_steps: int
    num_thoughts: int
    hidden_tokens: int = 0
    thought_kind: ThoughtKind = "continuous"


@dataclasses.dataclass(frozen=True)
class Curriculum:
    """Which stage an epoch trains, and what a stage shows of a problem.

    Stage 0 shows the whole chain of thought. Stage `k` hides the first `k`
    language steps and puts `k * thoughts_per_step` thoughts in their place; a
    problem with fewer steps loses them all and still gets that many thoughts.
    After stage `max_stage` comes the extra stage, which keeps the thoughts and
    hides every remaining step. Training stays in the last stage to the end.

    The defaults of `extra_stage` and `pad_latent_to_max` are those of the
    published recipes.

    Args:
        max_stage: int, at most 10,000. The last stage that hides one more step.
            0 trains no thoughts: with `extra_stage=False` plain chain of
            thought.
        thoughts_per_step: int. Thoughts that replace one step (`c` in the
            paper). Defaults to `1`.
        epochs_per_stage: int, or a sequence of ints, one for each stage after
            stage 0. Epochs spent in each later stage. Defaults to `1`.
        initial_epochs: int. Epochs spent in stage 0. Defaults to
            `epochs_per_stage` if that is an int, else to `1`.
        extra_stage: bool. Whether a stage that hides all remaining steps
            follows stage `max_stage`. Defaults to `True`.
        mixing_probability: float. Probability with which a problem is shown at
            a random stage between 0 and its number of steps instead of the
            stage of the epoch (`uniform_prob` in the published code). Defaults
            to `0.0`.
        pad_latent_to_max: bool. Whether every problem gets the maximum number
            of thoughts in the extra stage; else a problem gets
            `min(steps, max_stage) * thoughts_per_step`. Defaults to `True`.
        thought_kind: `"continuous"`, or `"pause"` for a learned token in the
            place of each thought, all of which are read at once. Defaults to
            `"continuous"`.
        tokens_per_stage: int. Stages hide tokens of the chain instead of
            steps, so many more at each, and the extra stage all of them, as
            iCoT does (arXiv 2405.14838). Needs `thoughts_per_step=0`. Defaults
            to `None`.
        removal_smoothing: float. With `tokens_per_stage`, a problem loses
            `o` further tokens with a probability proportional to
            `exp(-removal_smoothing * o)` (iCoT, section 3.2); none if `None`.
            Defaults to `None`.

    Raises:
        ValueError: If an argument is of a wrong type or out of range, if
            `epochs_per_stage` has a wrong length, or if arguments do not go
            together.

    Example:
    ```python
    curriculum = keras_coconut.Curriculum(max_stage=3, initial_epochs=2)
    [curriculum.stage(epoch) for epoch in range(7)]  # [0, 0, 1, 2, 3, 4, 4]
    curriculum.layout(num_steps=5, stage=2)  # hidden_steps=2, num_thoughts=2
    curriculum.layout(num_steps=5, stage=4)  # hidden_steps=5, num_thoughts=3
    ```
    """

    max_stage: int
    thoughts_per_step: int = 1
    epochs_per_stage: int | Sequence[int] = 1
    initial_epochs: int | None = None
    extra_stage: bool = True
    mixing_probability: float = 0.0
    pad_latent_to_max: bool = True
    thought_kind: ThoughtKind = "continuous"
    tokens_per_stage: int | None = None
    removal_smoothing: float | None = None

    def __post_init__(self):
        for name, check in _CHECKS.items():
            value = getattr(self, name)
            if value is not None or name not in _OPTIONAL:
                object.__setattr__(self, name, check(name, value))
        # Last, as its length depends on the stages.
        object.__setattr__(self, "epochs_per_stage", self._checked_epochs())
        self._check_tokens()

    def _checked_epochs(self) -> int | tuple[int, ...]:
        epochs = self.epochs_per_stage
        if hasattr(epochs, "tolist"):
            # NumPy's arrays and numbers, and columns of pandas.
            epochs = epochs.tolist()
        if isinstance(epochs, Sequence) and not isinstance(epochs, str | bytes):
            if len(epochs) != self.last_stage:
                raise ValueError(
                    "`epochs_per_stage` given as a sequence must have one entry"
                    f" for each of the {self.last_stage} stages after stage 0. "
                    f"Received: epochs_per_stage={shown(epochs)}"
                )
            return tuple(
                check_count(
                    f"epochs_per_stage[{index}]", count, most=MOST_COUNT
                )
                for index, count in enumerate(epochs)
            )
        try:
            return check_count("epochs_per_stage", epochs, most=MOST_COUNT)
        except ValueError:
            raise refuse(
                "epochs_per_stage",
                f"a whole number from 0 to {MOST_COUNT}, or a sequence of them",
                self.epochs_per_stage,
            ) from None

    def _check_tokens(self):
        if self.tokens_per_stage is None:
            if self.removal_smoothing is not None:
                raise ValueError(
                    "`removal_smoothing` must be left out without "
                    "`tokens_per_stage`. Received: removal_smoothing="
                    f"{shown(self.removal_smoothing)}"
                )
            return
        for name in ("thoughts_per_step", "mixing_probability"):
            if getattr(self, name):
                raise ValueError(
                    f"`{name}` must be 0 with `tokens_per_stage`, which hides "
                    "tokens and puts nothing in their place. Received: "
                    f"{name}={shown(getattr(self, name))}"
                )

    @property
    def last_stage(self) -> int:
        """The stage in which training stays: the extra one if there is one."""
        return self.max_stage + 1 if self.extra_stage else self.max_stage

    @property
    def stage_epochs(self) -> tuple[int, ...]:
        """Epochs spent in each stage before the last."""
        later = self.epochs_per_stage
        if not isinstance(later, tuple):
            later = (later,) * self.last_stage
        return (self._epochs_of_stage_0, *later)[: self.last_stage]

    @property
    def num_epochs(self) -> int:
        """Epochs of the whole schedule, the last stage's own included."""
        if self.last_stage == 0:
            return max(1, self._epochs_of_stage_0)
        last = self.epochs_per_stage
        return sum(self.stage_epochs) + max(
            1, last[-1] if isinstance(last, tuple) else last
        )

    @property
    def _epochs_of_stage_0(self) -> int:
        if self.initial_epochs is not None:
            return self.initial_epochs
        epochs = self.epochs_per_stage
        return 1 if isinstance(epochs, tuple) else epochs

    def stage(self, epoch: int) -> int:
        """Returns the stage that `epoch` (counted from 0) trains."""
        epoch = check_count("epoch", epoch)
        for stage, epochs in enumerate(self.stage_epochs):
            epoch -= epochs
            if epoch < 0:
                return stage
        return self.last_stage

    def first_epoch(self, stage: int) -> int:
        """Returns the epoch (counted from 0) with which `stage` begins."""
        return sum(self.stage_epochs[: self.check_stage(stage)])

    def num_thoughts(self, stage: int) -> int:
        """Returns the most thoughts that `stage` itself gives to a problem."""
        stage = self.check_stage(stage)
        return min(stage, self.max_stage) * self.thoughts_per_step

    def layout(self, num_steps: int, stage: int) -> Layout:
        """Returns what `stage` hides of a problem of `num_steps` steps.

        `stage` may lie beyond the last one, as the mixing of stages draws it;
        it then means the extra stage, as in the published code.
        """
        num_steps = _check_steps(num_steps)
        # Called for every problem of every batch, nearly always with an int.
        if type(stage) is not int or stage < 0:
            stage = check_count("stage", stage)
        if self.tokens_per_stage is not None:
            if stage <= self.max_stage:
                return Layout(0, 0, stage * self.tokens_per_stage)
            return Layout(num_steps, 0)
        hidden, steps = stage, stage
        if stage > self.max_stage:
            hidden, steps = num_steps, self.max_stage
            if not self.pad_latent_to_max:
                steps = min(num_steps, self.max_stage)
        return Layout(
            min(hidden, num_steps),
            steps * self.thoughts_per_step,
            thought_kind=self.thought_kind,
        )

    def draw_layout(self, num_steps: int, stage: int, random) -> Layout:
        """Returns what a problem looks like this time.

        Differs from `layout` where stages are mixed or removal is smoothed.

        Args:
            num_steps: int. The number of steps of the problem.
            stage: int. The stage of the epoch.
            random: a `numpy.random.Generator`. Nothing is drawn from it while
                neither is asked for.
        """
        if not hasattr(random, "integers") or not hasattr(random, "geometric"):
            raise refuse("random", "a `numpy.random.Generator`", random)
        num_steps = _check_steps(num_steps)
        if self.mixing_probability and (
            random.random() < self.mixing_probability
        ):
            stage = int(random.integers(0, num_steps + 1))
        layout = self.layout(num_steps, stage)
        if self.removal_smoothing is None:
            return layout
        # Of a geometric distribution, which starts at 1. Unlike `1 - exp`,
        # `expm1` does not become 0 where little is smoothed.
        more = random.geometric(-math.expm1(-self.removal_smoothing)) - 1
        return layout._replace(hidden_tokens=layout.hidden_tokens + int(more))

    def layouts_shown(self, num_steps: int, stage: int) -> list[Layout]:
        """Returns every layout from which `draw_layout` may choose.

        Smoothing hides more of one of these.
        """
        stages = {check_count("stage", stage)}
        if self.mixing_probability:
            # Whatever lies beyond `max_stage` is the extra stage.
            most = min(_check_steps(num_steps), self.max_stage + 1)
            stages.update(range(most + 1))
        return [self.layout(num_steps, stage) for stage in sorted(stages)]

    def check_stage(self, stage: int) -> int:
        """Returns a stage that the curriculum has, else raises an error."""
        return check_count("stage", stage, most=self.last_stage)


def check_thought_kind(kind, name: str = "thought_kind") -> ThoughtKind:
    """Returns `kind` if it names a kind of thoughts, else raises an error."""
    return check_choice(name, kind, get_args(ThoughtKind))


_CHECKS = {
    "max_stage": partial(check_count, most=MOST_STAGES),
    "thoughts_per_step": partial(check_count, most=MOST_COUNT),
    "initial_epochs": partial(check_count, most=MOST_COUNT),
    "extra_stage": check_flag,
    "mixing_probability": partial(check_number, least=0, most=1),
    "pad_latent_to_max": check_flag,
    "thought_kind": partial(check_choice, choices=get_args(ThoughtKind)),
    "tokens_per_stage": partial(check_count, least=1, most=MOST_COUNT),
    "removal_smoothing": partial(check_number, above=0),
}
_OPTIONAL = ("initial_epochs", "tokens_per_stage", "removal_smoothing")


def _check_steps(num_steps) -> int:
    if type(num_steps) is int and 0 <= num_steps <= MOST_COUNT:
        return num_steps
    return check_count("num_steps", num_steps, most=MOST_COUNT)
