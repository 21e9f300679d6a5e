"""The geometry of thoughts: their lengths, their angles and their rank."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from keras import ops

from keras_coconut import backbones
from keras_coconut.analysis.beside_control import beside_control
from keras_coconut.analysis.plain import to_plain
from keras_coconut.analysis.pooled_means import pair_mean
from keras_coconut.analysis.ranks import ranks
from keras_coconut.checks import Verbose, check_count, check_verbose, shown
from keras_coconut.evaluation.controls import replace_thoughts
from keras_coconut.evaluation.request import check_model, check_request
from keras_coconut.evaluation.statistics import Interval, mean_interval
from keras_coconut.models.continuous_thought_lm import ContinuousThoughtLM
from keras_coconut.models.thought_reader import read_states
from keras_coconut.problems import Problem, as_problems
from keras_coconut.progress import Progress
from keras_coconut.text.arrays import Counts

# Token embeddings that are compared at once with all thoughts.
_AT_ONCE = 2048


@dataclasses.dataclass(frozen=True)
class SlotGeometry:
    """The geometry of the vectors in one slot.

    An `Interval` is the mean over the problems with its 95% interval.

    Attributes:
        slot: int, from 0. Slot 0 holds what the paper calls the first thought.
        count: int. Number of problems that think in this slot.
        norm: `Interval`, the Euclidean norm.
        norm_in_embeddings: `Interval`, the norm of what enters the first layer,
            in units of the root mean square norm of the token embeddings that
            enter there.
        to_next: `Interval`, the cosine to the next thought of the same problem.
            `None` in the last slot.
        across_problems: `Interval`, the mean cosine to the same slot of the
            other problems. Each pair counts for both of its problems: the
            interval is the jackknife's over problems, NaN for fewer than three.
            `None` if only one problem thinks in it.
        nearest_embedding: `Interval`, the cosine to the nearest token
            embedding.
        effective_rank: float; see `effective_rank`.
        centered_rank: float, the effective rank after the mean vector of the
            slot is subtracted.

    Example:
    ```python
    found = keras_coconut.thought_geometry(model, problems)
    found.thoughts.slots[0].norm.mean, found.noise.slots[0].norm.mean
    ```
    """

    slot: int
    count: int
    norm: Interval
    norm_in_embeddings: Interval
    to_next: Interval | None
    across_problems: Interval | None
    nearest_embedding: Interval
    effective_rank: float
    centered_rank: float


@dataclasses.dataclass(frozen=True)
class VectorGeometry:
    """The geometry of the vectors of many problems.

    Attributes:
        slots: tuple of `SlotGeometry`s.
        effective_rank: float, of the vectors in all slots together.
        centered_rank: float, the same after their mean is subtracted.

    Example:
    ```python
    found = keras_coconut.thought_geometry(model, problems)
    found.thoughts.effective_rank, found.noise.effective_rank
    ```
    """

    slots: tuple[SlotGeometry, ...]
    effective_rank: float
    centered_rank: float


@dataclasses.dataclass(frozen=True)
class ThoughtGeometry:
    """The result of `thought_geometry`.

    Attributes:
        thoughts: `VectorGeometry` of the thoughts.
        noise: `VectorGeometry` of random directions with the norms of the
            thoughts, the null of every figure.
        embedding_norm: float, the root mean square norm of the token embeddings
            as they enter the first layer.
        control: the `ThoughtGeometry` of the control model, or `None`.

    Example:
    ```python
    found = keras_coconut.thought_geometry(model, problems)
    found.to_dict()["thoughts"]["slots"][0]["norm"]["mean"]
    ```
    """

    thoughts: VectorGeometry
    noise: VectorGeometry
    embedding_norm: float
    control: "ThoughtGeometry | None" = None

    def to_dict(self) -> dict[str, Any]:
        """Returns a dictionary for JSON."""
        return to_plain(self)


def thought_geometry(
    model: ContinuousThoughtLM,
    problems: Iterable[Problem | Mapping],
    *,
    num_thoughts: Counts | None = None,
    control: ContinuousThoughtLM | None = None,
    seed: int = 0,
    batch_size: int = 32,
    verbose: Verbose = "auto",
) -> ThoughtGeometry:
    """Measures lengths, angles and ranks of thoughts.

    Thoughts that are alike in all problems (a cosine near 1 across problems, a
    centered rank near 1) cannot hold what differs between the problems. Each
    figure stands beside that of noise with the same norms, and beside that of
    a control model if there is one. The states of a model that pauses are those
    that Coconut would feed back; see `read_states` of the model.

    Args:
        model: a `ContinuousThoughtLM` with a preprocessor.
        problems: iterable of `Problem`s, at least two.
        num_thoughts: int, or one int for each problem. Defaults to the model's
            `num_thoughts`, also for the control.
        control: a `ContinuousThoughtLM`, such as one that pauses. Optional.
        seed: int. Seed of the noise. Defaults to `0`.
        batch_size, verbose: see `evaluate_problems`.

    Returns:
        A `ThoughtGeometry`.

    Raises:
        ValueError: If there are fewer than two problems, if no problem thinks,
            if one does not fit a model, or if an argument is invalid.

    Example:
    ```python
    found = keras_coconut.thought_geometry(model, problems)
    for slot, noise in zip(found.thoughts.slots, found.noise.slots):
        print(slot.effective_rank, noise.effective_rank)
    ```
    """
    verbose = check_verbose(verbose)
    seed = check_count("seed", seed)
    problems = as_problems("problems", problems)
    if len(problems) < 2:
        raise ValueError(
            "`problems` must hold at least two problems, whose thoughts are "
            f"compared. Received: {len(problems)}"
        )
    requests = [
        check_request(model, problems, num_thoughts, batch_size=batch_size)
    ]
    if not any(requests[0].counts):
        raise ValueError(
            "`num_thoughts` must be at least 1 for one of the problems. "
            f"Received: num_thoughts={shown(num_thoughts)} and "
            f"model.num_thoughts={model.num_thoughts}"
        )
    if control is not None:
        control = check_model(control, "control")
        requests.append(
            check_request(
                control, problems, requests[0].counts, batch_size=batch_size
            )
        )
    found: list[ThoughtGeometry] = []
    total = len(requests) * len(problems)
    with Progress("thought geometry", total, verbose) as progress:
        for request in requests:
            states = read_states(
                request.model,
                request.questions,
                request.counts,
                request.batch_size,
                on_batch=progress.add,
            )
            found.append(
                _measure(request.model, states.thoughts, request.counts, seed)
            )
    return beside_control(found)


def _measure(model, thoughts, counts, seed) -> ThoughtGeometry:
    """Returns the geometry of thoughts (B, K, D)."""
    decoder = backbones.describe(model.backbone)
    used = np.arange(thoughts.shape[1]) < np.asarray(counts)[:, None]
    thoughts = thoughts.astype("float64")
    # Unused slots have no direction.
    noise = replace_thoughts(np.where(used[..., None], thoughts, 1), seed)
    both = thoughts, noise["noise"]
    units = [_unit(vectors[used]) for vectors in both]
    nearest, embedding_norm = _nearest(model, decoder, np.concatenate(units))
    scale = decoder.thought_scale / embedding_norm
    measured = []
    for vectors, cosines in zip(both, np.split(nearest, 2)):
        nearest = np.zeros(used.shape)
        nearest[used] = cosines
        slots = tuple(
            _slot(slot, vectors, used, nearest[:, slot], scale)
            for slot in range(max(counts))
        )
        measured.append(VectorGeometry(slots, *ranks(vectors[used])))
    own, null = measured
    return ThoughtGeometry(own, null, embedding_norm)


def _slot(slot, vectors, used, nearest, scale) -> SlotGeometry:
    """Returns the geometry of one slot of vectors (B, K, D)."""
    rows = used[:, slot]
    here = vectors[rows, slot]
    norms, units = np.linalg.norm(here, axis=-1), _unit(here)
    to_next = across = None
    if slot + 1 < used.shape[1] and used[:, slot + 1].any():
        both = used[:, slot + 1]
        following = _unit(vectors[both, slot + 1])
        to_next = mean_interval(
            (_unit(vectors[both, slot]) * following).sum(axis=-1)
        )
    if len(units) > 1:
        # With each of the others, without a matrix of all pairs.
        others = units.sum(axis=0) - units
        across = pair_mean((units * others).sum(axis=-1))
    return SlotGeometry(
        slot,
        len(here),
        mean_interval(norms),
        mean_interval(norms * scale),
        to_next,
        across,
        mean_interval(nearest[rows]),
        *ranks(here),
    )


def _nearest(model, decoder, units) -> tuple[np.ndarray, float]:
    """Returns the cosine of each vector to the nearest token embedding.

    Also the root mean square norm of the token embeddings.
    """
    units = ops.cast(ops.convert_to_tensor(units), "float32")
    size = model.backbone.vocabulary_size
    nearest, squares = np.full(len(units), -1.0), 0.0
    for start in range(0, size, _AT_ONCE):
        ids = np.arange(start, min(start + _AT_ONCE, size), dtype="int32")
        embeddings = ops.cast(
            decoder.embed(ops.convert_to_tensor(ids[None]))[0], "float32"
        )
        norms = ops.sqrt(ops.sum(ops.square(embeddings), axis=-1))
        squares += float((ops.convert_to_numpy(norms) ** 2.0).sum())
        cosines = ops.matmul(units, ops.transpose(embeddings))
        cosines = ops.max(cosines / ops.maximum(norms, 1e-12), axis=-1)
        nearest = np.maximum(nearest, ops.convert_to_numpy(cosines))
    return nearest, float(np.sqrt(squares / size))


def _unit(vectors) -> np.ndarray:
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(norms, np.finfo("float64").tiny)
