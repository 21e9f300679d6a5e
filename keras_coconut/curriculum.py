"""The training schedule of Coconut as pure arithmetic: no Keras, no tensors.

An epoch belongs to a stage; a stage says how many language steps of a problem
are hidden and how many thoughts stand in their place (arXiv 2412.06769,
section 3, "Training procedure").
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

from keras_coconut.checks import check_count

ThoughtKind = Literal["continuous", "pause"]


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
        max_stage: int. The last stage that hides one more step. 0 trains no
            thoughts: with `extra_stage=False` plain chain of thought.
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
        ValueError: If a count is negative or not whole, if the probability is
            outside [0, 1], if `epochs_per_stage` has a wrong length, or if
            arguments do not go together.

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
        check_count("max_stage", self.max_stage)
        check_count("thoughts_per_step", self.thoughts_per_step)
        if isinstance(self.epochs_per_stage, Sequence):
            object.__setattr__(
                self, "epochs_per_stage", tuple(self.epochs_per_stage)
            )
            if len(self.epochs_per_stage) != self.last_stage:
                raise ValueError(
                    "`epochs_per_stage` given as a sequence must have one entry"
                    f" for each of the {self.last_stage} stages after stage 0. "
                    f"Received: epochs_per_stage={self.epochs_per_stage}"
                )
            for epochs in self.epochs_per_stage:
                check_count("epochs_per_stage", epochs)
        else:
            check_count("epochs_per_stage", self.epochs_per_stage)
        if self.initial_epochs is not None:
            check_count("initial_epochs", self.initial_epochs)
        if not 0 <= self.mixing_probability <= 1:
            raise ValueError(
                "`mixing_probability` must be between 0 and 1. Received: "
                f"mixing_probability={self.mixing_probability}"
            )
        check_thought_kind(self.thought_kind)
        self._check_tokens()

    def _check_tokens(self):
        if self.tokens_per_stage is None:
            if self.removal_smoothing is not None:
                raise ValueError(
                    "`removal_smoothing` must be left out without "
                    "`tokens_per_stage`. Received: removal_smoothing="
                    f"{self.removal_smoothing}"
                )
            return
        check_count("tokens_per_stage", self.tokens_per_stage, least=1)
        for name in ("thoughts_per_step", "mixing_probability"):
            if getattr(self, name):
                raise ValueError(
                    f"`{name}` must be 0 with `tokens_per_stage`, which hides "
                    "tokens and puts nothing in their place. Received: "
                    f"{name}={getattr(self, name)}"
                )
        if self.removal_smoothing is not None and self.removal_smoothing <= 0:
            raise ValueError(
                "`removal_smoothing` must be above 0. Received: "
                f"removal_smoothing={self.removal_smoothing}"
            )

    @property
    def last_stage(self) -> int:
        """The stage in which training stays: the extra one if there is one."""
        return self.max_stage + 1 if self.extra_stage else self.max_stage

    @property
    def stage_epochs(self) -> tuple[int, ...]:
        """Epochs spent in each stage before the last."""
        if isinstance(self.epochs_per_stage, tuple):
            later, initial = self.epochs_per_stage, 1
        else:
            later = (self.epochs_per_stage,) * self.last_stage
            initial = self.epochs_per_stage
        if self.initial_epochs is not None:
            initial = self.initial_epochs
        return (initial, *later)[: self.last_stage]

    @property
    def num_epochs(self) -> int:
        """Epochs of the whole schedule, the last stage's own included."""
        if self.last_stage == 0:
            return max(1, self.initial_epochs or 1)
        last = self.epochs_per_stage
        return sum(self.stage_epochs) + max(
            1, last[-1] if isinstance(last, tuple) else last
        )

    def stage(self, epoch: int) -> int:
        """Returns the stage that `epoch` (counted from 0) trains."""
        check_count("epoch", epoch)
        for stage, epochs in enumerate(self.stage_epochs):
            epoch -= epochs
            if epoch < 0:
                return stage
        return self.last_stage

    def first_epoch(self, stage: int) -> int:
        """Returns the epoch (counted from 0) with which `stage` begins."""
        self.check_stage(stage)
        return sum(self.stage_epochs[:stage])

    def num_thoughts(self, stage: int) -> int:
        """Returns the most thoughts that `stage` itself gives to a problem."""
        self.check_stage(stage)
        return min(stage, self.max_stage) * self.thoughts_per_step

    def layout(self, num_steps: int, stage: int) -> Layout:
        """Returns what `stage` hides of a problem of `num_steps` steps.

        `stage` may lie beyond the last one, as the mixing of stages draws it;
        it then means the extra stage, as in the published code.
        """
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
        if self.mixing_probability and (
            random.random() < self.mixing_probability
        ):
            stage = int(random.integers(0, num_steps + 1))
        layout = self.layout(num_steps, stage)
        if self.removal_smoothing is None:
            return layout
        # Of a geometric distribution, which starts at 1.
        more = random.geometric(1 - math.exp(-self.removal_smoothing)) - 1
        return layout._replace(hidden_tokens=layout.hidden_tokens + int(more))

    def layouts_shown(self, num_steps: int, stage: int) -> list[Layout]:
        """Returns every layout from which `draw_layout` may choose.

        Smoothing hides more of one of these.
        """
        stages = {stage}
        if self.mixing_probability:
            stages.update(range(num_steps + 1))
        return [self.layout(num_steps, shown) for shown in sorted(stages)]

    def check_stage(self, stage: int) -> None:
        """Raises a `ValueError` for a stage that the curriculum lacks."""
        check_count("stage", stage)
        if stage > self.last_stage:
            raise ValueError(
                f"`stage` must be at most {self.last_stage}, the last stage of "
                f"this curriculum. Received: stage={stage}"
            )


def check_thought_kind(kind) -> None:
    """Raises a `ValueError` unless `kind` names a kind of thoughts."""
    if kind not in get_args(ThoughtKind):
        raise ValueError(
            f"`thought_kind` must be one of {list(get_args(ThoughtKind))}. "
            f"Received: thought_kind={kind!r}"
        )
