"""Forward selection of items by the held-out error of a ridge regression."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add

import numpy as np

from metabench_py.calibration.moments import Integers, Moments
from metabench_py.irt.model import Floats


def greedy_order(
    folds: Sequence[Moments], n_items: int, weights: Floats, penalty: float, most: int
) -> Integers:
    """Take items one by one, always the one that lowers the held-out squared error most.

    Each fold is left out in turn and predicted from the others; the errors of all are summed. A
    step costs a product of as many rows as there are items and as many columns as are taken: the
    Gram matrices are swept column by column, as a pivoted Cholesky factorisation does it.

    Parameters
    ----------
    folds
        Two or more.
    n_items
        Items that there are.
    weights
        Of the targets' squared errors, shape (n_targets,), not negative.
    penalty
        Of the ridge regression, positive.
    most
        How many to take, at most `n_items`.

    Returns
    -------
    Positions of the items in the order taken, shape (most,). Of equal ones the first is taken.
    """
    sides = [_Side(folds, out, n_items, weights, penalty, most) for out in range(len(folds))]
    free = np.ones(n_items, dtype=bool)
    order = np.empty(most, np.int64)
    for step in range(most):
        change = sum(side.changes() for side in sides)
        best = int(np.argmin(np.where(free, change, np.inf)))
        order[step] = best
        free[best] = False
        for side in sides:
            side.take(best, step)
    return order


class _Side:
    """One fold left out: the fit on the others, and its errors there.

    All columns stand for items less what the taken ones tell of them.
    """

    def __init__(
        self,
        folds: Sequence[Moments],
        out: int,
        n_items: int,
        weights: Floats,
        penalty: float,
        most: int,
    ) -> None:
        train = reduce(add, (fold for i, fold in enumerate(folds) if i != out))
        about, there = train.about(train.mean), folds[out].about(train.mean)
        used = n_items + np.flatnonzero(weights)
        # Targets that are stretched by the root of their weight have it in their squares.
        stretch = np.sqrt(weights[weights > 0])
        self.gram = about[:n_items, :n_items] + penalty * np.eye(n_items)
        self.left = there[:n_items, :n_items]
        self.diagonal = np.diag(self.gram).copy()
        self.square = np.diag(self.left).copy()
        self.slope = about[:n_items, used] * stretch
        self.cross = there[:n_items, used] * stretch
        self.factors = np.zeros((n_items, most))
        self.ratios = np.zeros((n_items, most))
        self.columns = np.zeros((n_items, most))
        self.corners = np.zeros(most)

    def changes(self) -> Floats:
        """By how much each item would change the squared error, shape (n_items,)."""
        step = self.slope / self.diagonal[:, None]
        change: Floats = ((step * self.square[:, None] - 2.0 * self.cross) * step).sum(axis=1)
        return change

    def take(self, item: int, at: int) -> None:
        """Sweep an item out of all columns; `at` were taken before."""
        factors, ratios, columns = (m[:, :at] for m in (self.factors, self.ratios, self.columns))
        swept = self.gram[:, item] - factors @ factors[item]
        pivot = swept[item]
        ratio = swept / pivot
        column = (
            self.left[:, item]
            - ratios @ (columns[item] - self.corners[:at] * ratios[item])
            - columns @ ratios[item]
        )
        step = self.slope[item] / pivot
        own = column[item]
        self.cross = (
            self.cross
            - np.outer(ratio, self.cross[item])
            - np.outer(column, step)
            + np.outer(ratio, own * step)
        )
        self.square = self.square - 2.0 * ratio * column + ratio**2 * own
        self.diagonal = self.diagonal - ratio * swept
        # Nothing is left of it: neither a slope, nor anything to divide.
        self.diagonal[item] = 1.0
        self.slope = self.slope - np.outer(ratio, self.slope[item])
        self.factors[:, at] = swept / np.sqrt(pivot)
        self.ratios[:, at] = ratio
        self.columns[:, at] = column
        self.corners[at] = own
