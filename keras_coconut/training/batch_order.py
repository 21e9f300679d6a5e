"""Which problems share a batch: pure arithmetic from a seed."""

from typing import Any, NamedTuple

import numpy as np


class Grouping(NamedTuple):
    """Problems in groups, each with a pair of lengths for its batches."""

    # For each problem the number of its group; `None` if there is only one.
    group_of: np.ndarray | None
    lengths: list[tuple[int, int]]  # Of question and response.


class Chosen(NamedTuple):
    """The problems of a batch, all of one group."""

    rows: list[int]
    num_real: int  # Later rows are padding.
    group: int


class BatchOrder:
    """The batches of an epoch, as a function of seed, epoch and index.

    Args:
        total: int. The number of problems.
        batch_size: int.
        shuffle: bool. Whether each pass has its own order.
        seed: int.
        steps_per_epoch: int. Batches in an epoch; one pass if `None`.
    """

    def __init__(self, total, batch_size, shuffle, seed, steps_per_epoch):
        self._total = total
        self._batch_size = batch_size
        self._shuffle = shuffle
        self._seed = seed
        self._steps_per_epoch = steps_per_epoch
        # Of the two passes that were used last, between which threads may be
        # making batches. Each tuple is replaced as a whole.
        self._orders: tuple[tuple[int, Any], ...] = ()
        self._passes: tuple[tuple[int, Grouping, Any], ...] = ()

    def __len__(self):
        return self._steps_per_epoch or -(-self._total // self._batch_size)

    def choose(self, epoch: int, index: int, grouping: Grouping) -> Chosen:
        """Returns the problems of a batch of an epoch."""
        size, total = self._batch_size, self._total
        if self._steps_per_epoch is None:
            rows, group, _ = self._batch(epoch, index, grouping)
            missing = size - len(rows)
            return Chosen([*rows, *rows[-1:] * missing], len(rows), group)
        index += epoch * self._steps_per_epoch
        if grouping.group_of is None:
            # A pass continues where the one before ends.
            rows = np.arange(index * size, (index + 1) * size)
            found = [
                self._ordered(number)[rows[rows // total == number] % total]
                for number in range(rows[0] // total, rows[-1] // total + 1)
            ]
            return Chosen(np.concatenate(found).tolist(), size, 0)
        number, index = divmod(index, -(-total // size))
        rows, group, others = self._batch(number, index, grouping)
        more = np.arange(size - len(rows)) % len(others)
        return Chosen([*rows, *others[more].tolist()], size, group)

    def _batch(self, number, index, grouping):
        """Returns the problems of a batch of a pass, its group, and those."""
        rows_of, batches = self._batches(number, grouping)
        group, start = batches[index].tolist()
        rows = rows_of[group][start : start + self._batch_size]
        return rows.tolist(), group, rows_of[group]

    def _batches(self, number, grouping):
        """Returns the problems of each group, in the order of a pass.

        And the group and the first problem of each batch.
        """
        for of, known, found in self._passes:
            # It is held, so that no other one can have its identity.
            if of == number and known is grouping:
                return found
        ordered, rows_of = self._ordered(number), []
        if grouping.group_of is None:
            rows_of = [ordered]
        else:
            group_of = grouping.group_of[ordered]
            for group in range(len(grouping.lengths)):
                rows_of.append(ordered[group_of == group])
        starts = [np.arange(0, len(rows), self._batch_size) for rows in rows_of]
        groups = np.repeat(np.arange(len(rows_of)), [*map(len, starts)])
        batches = np.stack([groups, np.concatenate(starts)], axis=1)
        if self._shuffle and len(rows_of) > 1:
            random = np.random.default_rng([self._seed, 2, number])
            batches = batches[random.permutation(len(batches))]
        found = rows_of, batches
        self._passes = (*self._passes[-1:], (number, grouping, found))
        return found

    def _ordered(self, number):
        """Returns all problems in the order of a pass."""
        for of, order in self._orders:
            if of == number:
                return order
        order = np.arange(self._total)
        if self._shuffle:
            random = np.random.default_rng([self._seed, 0, number])
            order = random.permutation(order)
        self._orders = (*self._orders[-1:], (number, order))
        return order
