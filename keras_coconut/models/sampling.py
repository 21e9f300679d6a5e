"""Several samples for each question: settings, seeds and noise."""

import contextlib
import random
from typing import NamedTuple

import keras
import numpy as np

from keras_coconut.checks import check_count, check_flag, check_number, shown
from keras_coconut.execution import replicas
from keras_coconut.execution.random_states import (
    seed_generators,
    torch_generators,
)

# More than any memory holds.
_MOST_SAMPLES = 100_000
# Noise of a thousand times a thought leaves nothing of it; with far more, the
# numbers of the next thought are not finite.
_MOST_NOISE = 1000


class Draws(NamedTuple):
    """The sampling settings; see `ContinuousThoughtLM.generate`."""

    num_samples: int | None = None
    seed: int | None = None
    thought_noise: float = 0.0
    thought_dropout: bool = False

    @property
    def copies(self) -> int:
        """The number of responses to each question."""
        return self.num_samples or 1

    def check(self, model, thoughts_given: bool) -> "Draws":
        """Returns the checked settings.

        Args:
            model: the `ContinuousThoughtLM` that generates.
            thoughts_given: bool. Whether the thoughts are given.

        Raises:
            ValueError: If an argument is invalid, or if all samples would be
                equal.
        """
        num_samples, seed, noise, drops = self
        if num_samples is not None:
            num_samples = check_count(
                "num_samples", num_samples, least=1, most=_MOST_SAMPLES
            )
        if seed is not None:
            seed = check_count("seed", seed, most=2**63 - 1)
        noise = check_number("thought_noise", noise, least=0, most=_MOST_NOISE)
        drops = check_flag("thought_dropout", drops)
        self._check_thoughts(model, noise, drops, thoughts_given)
        is_random = is_random_sampler(model.sampler) or noise or drops
        if (num_samples or 1) > 1 and not is_random:
            raise ValueError(
                "`num_samples` needs something to draw, or all samples are "
                "equal: give `thought_noise` or `thought_dropout`, or compile "
                'the model with a sampler that draws, such as `"top_p"`. '
                f"Received: num_samples={num_samples} and a "
                f"{type(model.sampler).__name__}"
            )
        if seed is not None and not is_random:
            raise ValueError(
                "`seed` must be left out where nothing is drawn: the sampler "
                f"is a {type(model.sampler).__name__}. Received: seed={seed}"
            )
        return Draws(num_samples, seed, noise, drops)

    def _check_thoughts(self, model, noise, drops, thoughts_given):
        if not noise and not drops:
            return
        name = "thought_noise" if noise else "thought_dropout"
        received = f"Received: {name}={shown(getattr(self, name))}"
        if model.thought_kind != "continuous":
            raise ValueError(
                f"`{name}` must be left out for a model whose thoughts are "
                f"pauses, which are tokens. {received}"
            )
        if thoughts_given:
            raise ValueError(
                f"`{name}` must be left out beside `thoughts`, which the model "
                f"then takes as they are. {received}"
            )
        if drops and not any(
            getattr(layer, "rate", 0)
            for layer in model.backbone._flatten_layers()
        ):
            raise ValueError(
                "`thought_dropout` must be False for a backbone without "
                f"dropout: give `thought_noise`. {received}"
            )

    def check_counts(self, model, counts) -> None:
        """Raises a `ValueError` for questions whose samples were all equal.

        Args:
            model: the `ContinuousThoughtLM` that generates.
            counts: list of ints, how often each question is thought on.
        """
        only_noise = not self.thought_dropout and not is_random_sampler(
            model.sampler
        )
        if self.copies > 1 and only_noise and not all(counts):
            raise ValueError(
                "`num_thoughts` must be at least 1 for each question where "
                "samples differ by `thought_noise` alone. Received: 0 for "
                f"question {counts.index(0)}"
            )

    def begin(self) -> "Draws":
        """Returns the settings with a seed for thoughts, drawn by Python."""
        if self.seed is None and (self.thought_noise or self.thought_dropout):
            if replicas.num_processes() > 1:
                raise ValueError(
                    "`seed` must be given where there are several processes, "
                    "each of which would draw another. Received: seed=None"
                )
            # `keras.utils.set_random_seed` seeds Python too.
            return self._replace(seed=random.randrange(2**31))
        return self

    def noise(self, rows, slots: int, hidden_dim: int) -> np.ndarray:
        """Returns noise (rows, slots, D) that does not depend on the batch.

        Args:
            rows: list of ints, the numbers of the responses: those to the
                first question, then those to the second.
            slots: int, K.
            hidden_dim: int, D.
        """
        drawn = [
            # More samples begin with those of fewer.
            np.random.default_rng(
                [self.seed, *divmod(row, self.copies)]
            ).standard_normal((slots, hidden_dim), "float32")
            for row in rows
        ]
        return np.stack(drawn) * np.float32(self.thought_noise)


def is_random_sampler(sampler) -> bool:
    """Whether a sampler draws random numbers."""
    return bool(seed_generators(sampler))


@contextlib.contextmanager
def seeded(model, draws: Draws, sampler_too: bool, batch: int):
    """Sets the seeds of a batch, and restores their state afterwards.

    Args:
        model: the `ContinuousThoughtLM`.
        draws: `Draws` that have begun.
        sampler_too: bool. Whether the seed is that of the sampler, too.
        batch: int, the number of the batch.
    """
    states = []
    if draws.thought_dropout:
        known = {id(weight) for weight in model.backbone.weights}
        states += [v for v in model.backbone.variables if id(v) not in known]
    if sampler_too:
        states += [seeds.state for seeds in seed_generators(model.sampler)]
    before = [keras.ops.convert_to_numpy(state) for state in states]
    drawn = np.random.default_rng([draws.seed or 0, batch, 1])
    with contextlib.ExitStack() as stack:
        if draws.thought_dropout and keras.config.backend() == "torch":
            # A dropout layer without its own seed draws from PyTorch.
            stack.enter_context(_torch_seeded(int(drawn.integers(2**31))))
        for state, value in zip(states, before):
            stack.callback(state.assign, value)
            state.assign(drawn.integers(2**31, size=2).astype(state.dtype))
        yield


@contextlib.contextmanager
def _torch_seeded(seed):
    """Seeds PyTorch's generators that this process draws from."""
    # `torch.manual_seed` would seed those of all devices.
    generators = torch_generators().values()
    before = [generator.get_state() for generator in generators]
    try:
        for generator in generators:
            generator.manual_seed(seed)
        yield
    finally:
        for generator, state in zip(generators, before):
            generator.set_state(state)
