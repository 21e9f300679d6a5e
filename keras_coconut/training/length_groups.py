"""Groups problems of similar length into a few groups of one shape each."""

from typing import Any

import numpy as np


def group_by_length(
    question_lengths, response_lengths, batch_size, num_groups
) -> list[np.ndarray]:
    """Splits problems into groups whose batches are padded to one shape.

    The group whose best cut saves the most positions is cut in two, along the
    length of the question or of the response, until there are as many groups
    as asked for or a cut saves nothing. Cuts leave whole batches on one side,
    so that a pass over all groups has one batch at most that is not full.

    Args:
        question_lengths, response_lengths: int arrays, one entry for each
            problem.
        batch_size: int.
        num_groups: int, the most groups.

    Returns:
        A list of int arrays, the problems of each group in ascending order.
    """
    lengths = np.stack([question_lengths, response_lengths])
    everything = np.arange(lengths.shape[1])
    if num_groups == 1:
        return [everything]
    groups = [(everything, _best_cut(everything, lengths, batch_size))]
    while len(groups) < num_groups:
        most = max(range(len(groups)), key=lambda i: groups[i][1][0])
        saved, parts = groups[most][1]
        if saved <= 0:
            break
        groups[most : most + 1] = [
            (part, _best_cut(part, lengths, batch_size)) for part in parts
        ]
    return [np.sort(rows) for rows, _ in groups]


def _best_cut(rows, lengths, batch_size):
    """Returns the positions that the best cut saves, and its two parts."""
    best: tuple[Any, Any] = (0, None)
    sizes = np.arange(batch_size, len(rows), batch_size)
    if not len(sizes):
        return best
    filled = -(-len(rows) // batch_size) * batch_size
    uncut = filled * lengths[:, rows].max(axis=1).sum()
    for key in lengths:
        # The shorter ones to the left, and their cut from the left or from the
        # right: whichever side the batch that is not full is on.
        order = rows[np.argsort(key[rows], kind="stable")]
        ordered = lengths[:, order]
        longest_left = np.maximum.accumulate(ordered, axis=1)
        longest_right = np.maximum.accumulate(ordered[:, ::-1], axis=1)[:, ::-1]
        for cuts in (sizes, len(rows) - sizes):
            left = -(-cuts // batch_size) * batch_size
            cost = left * longest_left[:, cuts - 1].sum(axis=0)
            cost += (filled - left) * longest_right[:, cuts].sum(axis=0)
            at = int(np.argmin(cost))
            if uncut - cost[at] > best[0]:
                parts = (order[: cuts[at]], order[cuts[at] :])
                best = (uncut - cost[at], parts)
    return best
