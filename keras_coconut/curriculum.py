"""The training schedule of Coconut as pure arithmetic: no Keras, no tensors.

An epoch belongs to a stage; a stage says how many language steps of a problem
are hidden and how many thoughts replace them (arXiv 2412.06769, section 3,
"Training procedure").
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from keras_coconut.checks import (
    check_choice,
    check_count,
    check_flag,
    check_number,
    refuse,
    shown,
)

if TYPE_CHECKING:
    import numpy as np

ThoughtKind = Literal["continuous", "pause"]

# More than anybody trains: a mistyped count must not fill the memory.
MOST_STAGES = 10_000
# Of steps, epochs, thoughts and tokens.
MOST_COUNT = 2**31 - 1


class Layout(NamedTuple):
    """What a stage hides of a problem, and how many thoughts replace it.

    `hidden_steps` counts the steps hidden from the front, `num_thoughts` the
    thoughts, and `hidden_tokens` the tokens hidden from the front of the
    remaining steps.

    Example:
    ```python
    layout = keras_coconut.Curriculum(max_stage=3).layout(5, stage=2)
    layout.hidden_steps, layout.num_thoughts  # (2, 2)
    ```
    """

    hidden_steps: int
    num_thoughts: int
    hidden_tokens: int = 0
    thought_kind: ThoughtKind = "continuous"


@dataclasses.dataclass(frozen=True)
class Curriculum:
    """Which stage an epoch trains, and what a stage shows of a problem.

    Stage 0 shows the whole chain of thought. Stage `k` hides the first `k`
    language steps and replaces them with `k * thoughts_per_step` thoughts. A
    problem with fewer steps loses all of them and still gets that many
    thoughts. After stage `max_stage` comes the extra stage, which keeps the
    thoughts and hides every remaining step. Training stays in the last stage
    until the end.

    The defaults of `extra_stage` and `pad_latent_to_max` are those of the
    published recipes.

    Args:
        max_stage: int, at most 10,000. The last stage that hides one more step
            than the stage before. With 0 no thoughts are trained; with
            `extra_stage=False` too, this is plain chain of thought.
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
            of thoughts in the extra stage. If not, a problem gets
            `min(steps, max_stage) * thoughts_per_step`. Defaults to `True`.
        thought_kind: `"continuous"`, or `"pause"` for a learned token in place
            of each thought. All pauses are read in one pass. Defaults to
            `"continuous"`.
        tokens_per_stage: int. If given, each stage hides this many more tokens
            of the chain instead of steps, and the extra stage hides all of
            them, as iCoT does (arXiv 2405.14838). Needs `thoughts_per_step=0`.
            Defaults to `None`.
        removal_smoothing: float. With `tokens_per_stage`, a problem loses
            `o` further tokens with a probability proportional to
            `exp(-removal_smoothing * o)` (iCoT, section 3.2). With `None` it
            loses none. Defaults to `None`.
        one_thought_at_a_time: bool. Whether a stage that adds several thoughts
            starts with one of them and adds another in each epoch. The loss
            spikes if a stage adds three at once (appendix C.1). Needs
            `thoughts_per_step` of at least 2, and at least that many epochs
            in each of these stages. Defaults to `False`.

    Raises:
        ValueError: If an argument is of a wrong type or out of range, if
            `epochs_per_stage` has a wrong length, or if arguments exclude each
            other.

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
    _: dataclasses.KW_ONLY
    epochs_per_stage: int | Sequence[int] = 1
    initial_epochs: int | None = None
    extra_stage: bool = True
    mixing_probability: float = 0.0
    pad_latent_to_max: bool = True
    thought_kind: ThoughtKind = "continuous"
    tokens_per_stage: int | None = None
    removal_smoothing: float | None = None
    one_thought_at_a_time: bool = False

    def __post_init__(self) -> None:
        for name, check in _CHECKS.items():
            value = getattr(self, name)
            if value is not None or name not in _OPTIONAL:
                object.__setattr__(self, name, check(name, value))
        # Last, as its length depends on the stages.
        object.__setattr__(self, "epochs_per_stage", self._checked_epochs())
        self._check_tokens()
        if self.one_thought_at_a_time:
            self._check_epochs_of_thoughts()

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
                    "tokens and does not replace them. Received: "
                    f"{name}={shown(getattr(self, name))}"
                )

    def _check_epochs_of_thoughts(self):
        thoughts, epochs = self.thoughts_per_step, self.epochs_per_stage
        if thoughts < 2:
            raise ValueError(
                "`one_thought_at_a_time` needs `thoughts_per_step` of at least "
                f"2. Received: thoughts_per_step={thoughts}"
            )
        if isinstance(epochs, int):
            fewest = epochs
        else:
            fewest = min(epochs[: self.max_stage], default=thoughts)
        if fewest < thoughts:
            raise ValueError(
                "`one_thought_at_a_time` needs `epochs_per_stage` of at least "
                f"{thoughts} (`thoughts_per_step`), one for each thought. "
                f"Received: epochs_per_stage={shown(epochs)}"
            )

    @property
    def last_stage(self) -> int:
        """The stage in which training stays: the extra one if there is one."""
        return self.max_stage + 1 if self.extra_stage else self.max_stage

    @property
    def stage_epochs(self) -> tuple[int, ...]:
        """Epochs spent in each stage before the last."""
        later = self.epochs_per_stage
        if isinstance(later, int):
            later = (later,) * self.last_stage
        return (self._epochs_of_stage_0, *later)[: self.last_stage]

    @property
    def num_epochs(self) -> int:
        """Epochs of the whole schedule, including those of the last stage."""
        if self.last_stage == 0:
            return max(1, self._epochs_of_stage_0)
        last = self.epochs_per_stage
        return sum(self.stage_epochs) + max(
            1, last if isinstance(last, int) else last[-1]
        )

    @property
    def _epochs_of_stage_0(self) -> int:
        if self.initial_epochs is not None:
            return self.initial_epochs
        epochs = self.epochs_per_stage
        return epochs if isinstance(epochs, int) else 1

    def stage(self, epoch: int) -> int:
        """Returns the stage that `epoch` (counted from 0) trains."""
        epoch = check_count("epoch", epoch)
        for stage, epochs in enumerate(self.stage_epochs):
            epoch -= epochs
            if epoch < 0:
                return stage
        return self.last_stage

    def first_epoch(self, stage: int) -> int:
        """Returns the first epoch (counted from 0) of `stage`."""
        return sum(self.stage_epochs[: self.check_stage(stage)])

    def num_thoughts(
        self, stage: int, epoch_of_stage: int | None = None
    ) -> int:
        """Returns the maximum number of thoughts of a problem at `stage`.

        Args:
            stage: int.
            epoch_of_stage: int. An epoch of the stage, counted from 0; with
                `one_thought_at_a_time` early epochs have fewer thoughts.
                Defaults to `None`, the last epoch.
        """
        stage = self.check_stage(stage)
        most = min(stage, self.max_stage) * self.thoughts_per_step
        if epoch_of_stage is None:
            return most
        epoch_of_stage = check_count("epoch_of_stage", epoch_of_stage)
        if not self.one_thought_at_a_time:
            return most
        before = max(stage - 1, 0) * self.thoughts_per_step
        return min(most, before + 1 + epoch_of_stage)

    def layout(self, num_steps: int, stage: int) -> Layout:
        """Returns what `stage` hides of a problem of `num_steps` steps.

        `stage` may lie beyond the last one, since the mixing of stages may draw
        such a stage. It then means the extra stage, as in the published code.
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

    def draw_layout(
        self,
        num_steps: int,
        stage: int,
        random: "np.random.Generator",
        *,
        num_thoughts: int | None = None,
    ) -> Layout:
        """Returns the layout of a problem, drawn at random where needed.

        It differs from `layout` if stages are mixed, if removal is smoothed, or
        if the stage does not have all of its thoughts yet.

        Args:
            num_steps: int. The number of steps of the problem.
            stage: int. The stage of the epoch.
            random: a `numpy.random.Generator`. Used only for mixing and
                smoothing.
            num_thoughts: int. The number of thoughts of the epoch, if it is
                smaller than that of its stage. Defaults to `None`.
        """
        if not hasattr(random, "integers") or not hasattr(random, "geometric"):
            raise refuse("random", "a `numpy.random.Generator`", random)
        num_steps = _check_steps(num_steps)
        shown_stage = stage
        if self.mixing_probability and (
            random.random() < self.mixing_probability
        ):
            shown_stage = int(random.integers(0, num_steps + 1))
        layout = self.layout(num_steps, shown_stage)
        if num_thoughts is not None and shown_stage == stage:
            fewer = min(layout.num_thoughts, num_thoughts)
            layout = layout._replace(num_thoughts=fewer)
        if self.removal_smoothing is None:
            return layout
        # Of a geometric distribution, which starts at 1. Unlike `1 - exp`,
        # `expm1` does not become 0 where little is smoothed.
        more = random.geometric(-math.expm1(-self.removal_smoothing)) - 1
        return layout._replace(hidden_tokens=layout.hidden_tokens + int(more))

    def layouts_shown(self, num_steps: int, stage: int) -> list[Layout]:
        """Returns every layout that `draw_layout` may choose from.

        Smoothing hides further tokens of one of these.
        """
        stages = {check_count("stage", stage)}
        if self.mixing_probability:
            # Whatever lies beyond `max_stage` is the extra stage.
            most = min(_check_steps(num_steps), self.max_stage + 1)
            stages.update(range(most + 1))
        return [self.layout(num_steps, stage) for stage in sorted(stages)]

    def check_stage(self, stage: int) -> int:
        """Returns `stage` if the curriculum has it, else raises an error."""
        return check_count("stage", stage, most=self.last_stage)


def check_thought_kind(kind, name: str = "thought_kind") -> ThoughtKind:
    """Returns `kind` if it names a kind of thoughts, else raises an error."""
    return check_choice(name, kind, get_args(ThoughtKind))


_CHECKS: dict[str, Callable[..., Any]] = {
    "max_stage": partial(check_count, most=MOST_STAGES),
    "thoughts_per_step": partial(check_count, most=MOST_COUNT),
    "initial_epochs": partial(check_count, most=MOST_COUNT),
    "extra_stage": check_flag,
    "mixing_probability": partial(check_number, least=0, most=1),
    "pad_latent_to_max": check_flag,
    "thought_kind": partial(check_choice, choices=get_args(ThoughtKind)),
    "tokens_per_stage": partial(check_count, least=1, most=MOST_COUNT),
    "removal_smoothing": partial(check_number, above=0),
    "one_thought_at_a_time": check_flag,
}
_OPTIONAL = ("initial_epochs", "tokens_per_stage", "removal_smoothing")


def _check_steps(num_steps) -> int:
    if type(num_steps) is int and 0 <= num_steps <= MOST_COUNT:
        return num_steps
    return check_count("num_steps", num_steps, most=MOST_COUNT)
