"""K-means: k-means++ starts, Lloyd's steps, then single moves as Hartigan & Wong have them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metabench_py.errors import InputError
from metabench_py.irt.model import Floats

_MOST_ROUNDS = 200
# Rounding must not move points to and fro.
_LEAST_GAIN = 1e-10
# Random swaps after each start's worth of work.
_SWAPS = 8


@dataclass(frozen=True, eq=False)
class Clusters:
    """A partition.

    Attributes
    ----------
    label
        Cluster of each point, 0 to k - 1 in the order of their first points, shape (n,).
    centres
        Shape (k, n_dimensions).
    inertia
        Squared distances of points to their centres, summed (R's ``tot.withinss``).
    """

    label: NDArray[np.int64]
    centres: Floats
    inertia: float


def kmeans(points: Floats, k: int, seed: int = 1, starts: int = 25) -> Clusters:
    """Find a partition of small inertia: the best of several starts, then random swaps.

    Each start ends where no single point can change its cluster with profit, the condition of
    Hartigan & Wong (1979, algorithm AS 136, which R's ``kmeans`` runs) - a Lloyd optimum need not
    meet it. A swap puts a centre of the best partition on some point and searches on from there
    (Franti & Kivijarvi 2000). On parameters of 100 items scikit-learn's ``KMeans``, which stops
    at Lloyd's optimum, ends up to 7 % higher with as many starts.

    Parameters
    ----------
    points
        Shape (n, n_dimensions), finite.
    k
        Clusters, at most as many as there are different points.
    starts
        How often to begin anew; with 8 swaps for each of them.

    Raises
    ------
    InputError
        There are fewer different points than clusters, or a number is out of range.
    """
    different = len(np.unique(points, axis=0))
    if not 1 <= k <= different:
        raise InputError(
            f"{k} clusters of {different} different points; take 1 to {different}.", k=k
        )
    if starts < 1:
        raise InputError(f"{starts} starts: take 1 or more.")
    random = np.random.default_rng(seed)
    best: Clusters | None = None
    for step in range(starts * (1 + _SWAPS)):
        if best is None or step < starts:
            centres = _seeds(points, k, random)
        else:
            centres = best.centres.copy()
            centres[int(random.integers(k))] = points[int(random.integers(len(points)))]
        label = _exchange(points, _lloyd(points, centres), k)
        found = _clusters(points, label, k)
        if best is None or found.inertia < best.inertia * (1.0 - _LEAST_GAIN):
            best = found
    assert best is not None
    return best


def _seeds(points: Floats, k: int, random: np.random.Generator) -> Floats:
    """Arthur & Vassilvitskii (2007): far points are likelier."""
    at = [int(random.integers(len(points)))]
    near = ((points - points[at[0]]) ** 2).sum(axis=1)
    while len(at) < k:
        chosen = int(np.searchsorted(np.cumsum(near), random.random() * near.sum(), side="right"))
        chosen = min(chosen, len(points) - 1)
        if near[chosen] == 0.0:
            chosen = int(near.argmax())
        at.append(chosen)
        near = np.minimum(near, ((points - points[chosen]) ** 2).sum(axis=1))
    return points[at]


def _lloyd(points: Floats, centres: Floats) -> NDArray[np.int64]:
    label = np.full(len(points), -1, np.int64)
    k = len(centres)
    for _ in range(_MOST_ROUNDS):
        distance = _squares(points, centres)
        new = distance.argmin(axis=1).astype(np.int64)
        # An empty cluster takes the point that is worst off where it is not alone.
        for empty in np.setdiff1d(np.arange(k), new):
            alone = np.bincount(new, minlength=k)[new] == 1
            own = np.where(alone, -1.0, distance[np.arange(len(points)), new])
            new[int(own.argmax())] = empty
        if np.array_equal(new, label):
            break
        label = new
        centres = _means(points, label, k)
    return label


def _exchange(points: Floats, label: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """Move the point whose move lowers the inertia most, as long as one does."""
    label = label.copy()
    centres = _means(points, label, k)
    size = np.bincount(label, minlength=k).astype(np.float64)
    row = np.arange(len(points))
    squares = _squares(points, centres)
    while True:
        own = size[label]
        # A point that is alone stays.
        gain = np.where(own > 1.0, squares[row, label] * own / np.maximum(own - 1.0, 1.0), 0.0)
        cost = squares * (size / (size + 1.0))
        cost[row, label] = np.inf
        other = cost.argmin(axis=1)
        saved = gain - cost[row, other]
        i = int(saved.argmax())
        if saved[i] <= _LEAST_GAIN * gain[i]:
            return label
        old, new = int(label[i]), int(other[i])
        label[i] = new
        size[old] -= 1.0
        size[new] += 1.0
        for c in (old, new):
            centres[c] = points[label == c].mean(axis=0)
            squares[:, c] = ((points - centres[c]) ** 2).sum(axis=1)


def _clusters(points: Floats, label: NDArray[np.int64], k: int) -> Clusters:
    _, first = np.unique(label, return_index=True)
    number = np.empty(k, np.int64)
    number[label[np.sort(first)]] = np.arange(k)
    label = number[label]
    centres = _means(points, label, k)
    return Clusters(label, centres, float(((points - centres[label]) ** 2).sum()))


def _squares(points: Floats, centres: Floats) -> Floats:
    """Squared distances, shape (n, k)."""
    found: Floats = ((points[:, None, :] - centres) ** 2).sum(axis=2)
    return found


def _means(points: Floats, label: NDArray[np.int64], k: int) -> Floats:
    sums = np.zeros((k, points.shape[1]))
    np.add.at(sums, label, points)
    found: Floats = sums / np.bincount(label, minlength=k)[:, None]
    return found
