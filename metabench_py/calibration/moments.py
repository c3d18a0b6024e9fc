"""Sums over folds of LLMs, from which a ridge regression and its held-out error follow.

A training set is a sum of folds, so that no fit goes over the LLMs again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np
from numpy.typing import NDArray

from metabench_py.irt.model import Floats

Integers = NDArray[np.int64]
# What a ridge penalty is chosen from; items are 0 or 1, scores in points.
PENALTIES: Floats = 2.0 ** np.arange(-2.0, 12.0)


@dataclass(frozen=True, eq=False)
class Moments:
    """First and second moments of some LLMs' items and scores.

    Attributes
    ----------
    n
        LLMs.
    total
        Sums, shape (n_items + n_targets,): items first, then scores.
    products
        Sums of products, shape (n_items + n_targets, n_items + n_targets).
    """

    n: int
    total: Floats
    products: Floats

    @classmethod
    def of(cls, items: Floats, scores: Floats) -> Moments:
        """Sum over LLMs; shapes (n, n_items) and (n, n_targets)."""
        joined = np.concatenate([items, scores], axis=1)
        return cls(len(joined), joined.sum(axis=0), joined.T @ joined)

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.n + other.n, self.total + other.total, self.products + other.products)

    @property
    def mean(self) -> Floats:
        """Means, shape (n_items + n_targets,)."""
        mean: Floats = self.total / self.n
        return mean

    def about(self, point: Floats) -> Floats:
        """Give sums of products of distances from a point, shape as `products`."""
        shift = np.outer(self.total, point)
        moved: Floats = self.products - shift - shift.T + self.n * np.outer(point, point)
        return moved

    def features(self, columns: Integers, benchmark: Integers) -> Moments:
        """Moments of some items, of each benchmark's share right among them, and of the scores.

        The share, in points, is an average of the items; a ridge penalty hardly touches its
        slope, so items are shrunk towards their benchmark's mean effect and not towards none.

        Parameters
        ----------
        columns
            Positions of the items, shape (n_kept,).
        benchmark
            Number of each item's benchmark (all items), shape (n_items,).
        """
        own = benchmark[columns]
        known = np.unique(own)
        shares = 100.0 * (own[:, None] == known) / (own[:, None] == known).sum(axis=0)
        targets = np.arange(len(benchmark), len(self.total))
        at = np.concatenate([columns, targets])
        kept, n, m = self.products[np.ix_(at, at)], len(columns), len(known)
        made = np.empty((len(at) + m, len(at) + m))
        # Items, shares, scores.
        place = np.concatenate([np.arange(n), np.arange(n + m, len(made))])
        made[np.ix_(place, place)] = kept
        crossed = kept[:, :n] @ shares
        made[place, n : n + m] = crossed
        made[n : n + m, place] = crossed.T
        made[n : n + m, n : n + m] = shares.T @ crossed[:n]
        total = np.concatenate(
            [self.total[columns], self.total[columns] @ shares, self.total[targets]]
        )
        return Moments(self.n, total, made)


@dataclass(frozen=True, eq=False)
class Ridge:
    """A ridge regression of the scores.

    Attributes
    ----------
    slopes
        Shape (n_kept, n_targets), in points.
    constant
        Shape (n_targets,).
    penalty
        Of each target, shape (n_targets,).
    """

    slopes: Floats
    constant: Floats
    penalty: Floats


def fit_ridge(folds: Sequence[Moments], columns: Integers, benchmark: Integers) -> Ridge:
    """Fit the scores on some items and on the shares right among them.

    The penalty of each target is that of `PENALTIES` with the smallest squared error on folds
    left out, one after the other; the fit is on all of them. Constants are not penalised.

    Parameters
    ----------
    folds
        Two or more.
    columns
        Positions of the items, shape (n_kept,), at least one.
    benchmark
        Number of each item's benchmark (all items), shape (n_items,).

    Returns
    -------
    Ridge
        Slopes of the items, those of the shares shared out among them.
    """
    made = [fold.features(columns, benchmark) for fold in folds]
    n_targets = len(folds[0].total) - len(benchmark)
    n = len(made[0].total) - n_targets
    squares = sum(_errors(reduce(add, (f for f in made if f is not out)), out, n) for out in made)
    chosen = np.argmin(squares, axis=0)
    train = reduce(add, made)
    about = train.about(train.mean)
    values, vectors = np.linalg.eigh(about[:n, :n])
    turned = vectors.T @ about[:n, n:]
    penalty = PENALTIES[chosen]
    slopes = vectors @ (turned / (np.maximum(values, 0.0)[:, None] + penalty))
    constant = train.mean[n:] - train.mean[:n] @ slopes
    own, known = benchmark[columns], np.unique(benchmark[columns])
    member = own[:, None] == known
    per_item = 100.0 * (member / member.sum(axis=0)) @ slopes[len(columns) :]
    return Ridge(slopes[: len(columns)] + per_item, constant, penalty)


def _errors(train: Moments, out: Moments, n: int) -> Floats:
    """Squared errors on `out` by penalty and target, shape (n_penalties, n_targets)."""
    about, there = train.about(train.mean), out.about(train.mean)
    values, vectors = np.linalg.eigh(about[:n, :n])
    turned = vectors.T @ about[:n, n:]
    found = np.empty((len(PENALTIES), about.shape[1] - n))
    for i, penalty in enumerate(PENALTIES):
        slopes = vectors @ (turned / (np.maximum(values, 0.0)[:, None] + penalty))
        found[i] = (
            np.diag(there)[n:]
            - 2.0 * (slopes * there[:n, n:]).sum(axis=0)
            + (slopes * (there[:n, :n] @ slopes)).sum(axis=0)
        )
    return found
