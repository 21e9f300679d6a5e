"""Probes of one step from one slot: how they are trained and compared."""

import dataclasses
import threading

import numpy as np

from keras_coconut.analysis.probing import softmax_regression
from keras_coconut.analysis.probing.step_labels import Labels
from keras_coconut.evaluation.statistics import (
    Interval,
    Share,
    holm,
    mean_interval,
    share_interval,
)


@dataclasses.dataclass(frozen=True)
class StepProbe:
    """A probe that reads one step from one slot, on held-out problems.

    Attributes:
        accuracy: `Share` of the problems whose label the probe predicts.
        majority: `Share` of those with the most frequent label of the training
            problems: what a probe reaches that reads nothing.
        shuffled: `Share` for a probe that was trained and tested with the
            labels of random problems.
        num_labels: int, how many different labels the step has.
        selectivity: `Interval`, how much more the probe gains than the one for
            the best other step in the same slot, on the problems that have both
            steps. A gain is the accuracy minus that of the step's own most
            frequent label, as steps with few or unequal labels are read well
            from anything. `None` if there is no other step.
        best_other: int, that other step. `None` if there is none.
        p_value: float, of the exact two-sided test whose null is that the
            difference of the gains on a problem is as likely with either sign,
            against each other step, the largest one; corrected by Holm's method
            for all probes of the model. It is 1 unless this step gains most.
            `None` if there is no other step.

    Example:
    ```python
    found = keras_coconut.thought_probes(model, problems, folds=2)
    probe = found.thoughts[1][1]  # The second thought, and the second step.
    probe.accuracy.share, probe.majority.share, probe.selectivity
    ```
    """

    accuracy: Share
    majority: Share
    shuffled: Share
    num_labels: int
    selectivity: Interval | None = None
    best_other: int | None = None
    p_value: float | None = None


# The limit on threads holds for the process: two at once would each restore
# what they found, and the last could find the limit of the first.
_ONE_AT_A_TIME = threading.Lock()

# By slot, then by step. `None` where too few problems have both.
Probes = tuple[tuple[StepProbe | None, ...], ...]


@dataclasses.dataclass(frozen=True)
class Trainer:
    """Trains probes for all steps on the vectors of a slot.

    Args:
        labels: the `Labels` of the problems.
        fold_of: int array (B,), the fold of each problem.
        folds: int.
        regularization: float.
        seed: int.
    """

    labels: Labels
    fold_of: np.ndarray
    folds: int
    regularization: float
    seed: int

    def table(self, vectors, used, progress) -> Probes:
        """Returns the probes of vectors (B, K, D), where they are used."""
        from threadpoolctl import threadpool_limits

        # NumPy and SciPy have threads of their own, and products this small
        # take ten times as long if the ones wait for the others.
        with _ONE_AT_A_TIME, threadpool_limits(1, user_api="blas"):
            return tuple(
                self._slot(vectors[:, slot].astype("float64"), rows, progress)
                for slot, rows in enumerate(used.T)
            )

    def _slot(self, vectors, used, progress) -> tuple[StepProbe | None, ...]:
        """Returns the probe of each step; `used` is a bool array (B,)."""
        # The same labels for every slot and model: only the vectors differ.
        random = np.random.default_rng(self.seed)
        own = [np.where(used, numbers, -1) for numbers in self.labels.numbers.T]
        shuffled = [_shuffled(numbers, random) for numbers in own]
        right = np.zeros((3, len(own), len(used)), "bool")
        rows = np.flatnonzero(used)
        for x, held_out in softmax_regression.prepared(
            vectors[rows], self.fold_of[rows], self.folds
        ):
            for step, count in enumerate(self.labels.sizes):
                for kind, numbers in ((0, own[step]), (2, shuffled[step])):
                    numbers = numbers[rows]
                    train = ~held_out & (numbers >= 0)
                    if not train.any():
                        continue
                    test = held_out & (numbers >= 0)
                    weights = softmax_regression.fit(
                        x[train], numbers[train], count, self.regularization
                    )
                    predicted = softmax_regression.predict(x[test], weights)
                    at = rows[test]
                    right[kind, step, at] = predicted == numbers[test]
                    if kind == 0:
                        most = np.argmax(np.bincount(numbers[train]))
                        right[1, step, at] = numbers[test] == most
            progress.add(int(held_out.sum()))
        return self._probes(own, right)

    def _probes(self, own, right) -> tuple[StepProbe | None, ...]:
        labelled = [numbers >= 0 for numbers in own]
        enough = [rows.sum() >= self.folds for rows in labelled]
        # How much more is right than with the most frequent label.
        gains = right[0].astype(int) - right[1]
        probes: list[StepProbe | None] = []
        for step, rows in enumerate(labelled):
            if not enough[step]:
                probes.append(None)
                continue
            others = [
                _Difference.of(gains[step, both], gains[other, both], other)
                for other, both in enumerate(
                    rows & labelled_too for labelled_too in labelled
                )
                if other != step and enough[other] and both.any()
            ]
            accuracy, majority, shuffled = (
                share_interval(kind[step][rows]) for kind in right
            )
            num_labels = len(np.unique(own[step][rows]))
            probe = StepProbe(accuracy, majority, shuffled, num_labels)
            if others:
                best = min(others, key=lambda other: other.interval.mean)
                probe = dataclasses.replace(
                    probe,
                    selectivity=best.interval,
                    best_other=best.step,
                    p_value=max(other.p_value for other in others),
                )
            probes.append(probe)
        return tuple(probes)


@dataclasses.dataclass(frozen=True)
class _Difference:
    """How much more the probe of a step gains than that of `step`."""

    step: int
    interval: Interval
    p_value: float

    @classmethod
    def of(cls, gains, of_other, other):
        """Compares the gains on problems, from -1 to 1, of two steps."""
        differences = gains - of_other
        interval = mean_interval(differences)
        # Only that the step is read better counts.
        p_value = sign_test(differences) if interval.mean > 0 else 1.0
        return cls(other, interval, p_value)


def sign_test(differences: np.ndarray) -> float:
    """Returns the p-value of differences whose signs are random.

    It is the chance that a sum of these sizes with random signs is as far from
    0 as theirs: exact, two-sided, and McNemar's test if no size is 2.

    Args:
        differences: int array, from -2 to 2.

    Example:
    ```python
    sign_test(np.array([1, 1, 0, 1]))  # 0.25
    ```
    """
    from scipy import stats

    ones, twos = (int((abs(differences) == size).sum()) for size in (1, 2))
    # How many of the signs are positive; one of a size of 2 counts twice.
    of_twos = np.zeros(2 * twos + 1)
    of_twos[::2] = stats.binom.pmf(np.arange(twos + 1), twos, 0.5)
    of_ones = stats.binom.pmf(np.arange(ones + 1), ones, 0.5)
    chances = np.convolve(of_ones, of_twos)
    sums = 2 * np.arange(len(chances)) - ones - 2 * twos
    as_far = abs(sums) >= abs(differences.sum())
    return min(float(chances[as_far].sum()), 1.0)


def _shuffled(numbers, random) -> np.ndarray:
    """Returns labels given to other rows; those without one keep none."""
    shuffled, labelled = numbers.copy(), numbers >= 0
    shuffled[labelled] = random.permutation(numbers[labelled])
    return shuffled


def corrected(tables: list[Probes]) -> list[Probes]:
    """Returns tables whose p-values are corrected for all tests in them."""
    tests = [
        probe.p_value
        for table in tables
        for slot in table
        for probe in slot
        if probe is not None and probe.p_value is not None
    ]
    if not tests:
        return tables
    p_values = iter(holm(tests))
    return [
        tuple(
            tuple(
                probe
                if probe is None or probe.p_value is None
                else dataclasses.replace(probe, p_value=next(p_values))
                for probe in slot
            )
            for slot in table
        )
        for table in tables
    ]
