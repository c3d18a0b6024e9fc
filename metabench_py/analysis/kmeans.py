"""K-means: k-means++ starts, Lloyd's steps, then single moves as Hartigan & Wong have them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metabench_py.errors import InputError
from metabench_py.irt.model import Floats

_MOST_ROUNDS = 200


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
    """Find a partition of small inertia: the best of several starts.

    Each ends where no single point can change its cluster with profit, the condition of Hartigan &
    Wong (1979, algorithm AS 136, which R's ``kmeans`` runs) - a Lloyd optimum need not meet it.

    Parameters
    ----------
    points
        Shape (n, n_dimensions), finite.
    k
        Clusters, at most as many as there are different points.
    starts
        How often to begin anew.

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
    for _ in range(starts):
        label = _exchange(points, _lloyd(points, _seeds(points, k, random)), k)
        found = _clusters(points, label, k)
        if best is None or found.inertia < best.inertia - 1e-12 * best.inertia:
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
        distance = ((points[:, None, :] - centres) ** 2).sum(axis=2)
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
    """Move single points as long as that lowers the inertia."""
    label = label.copy()
    centres = _means(points, label, k)
    size = np.bincount(label, minlength=k).astype(np.float64)
    for _ in range(_MOST_ROUNDS):
        moved = False
        for i, point in enumerate(points):
            own = label[i]
            if size[own] == 1:
                continue
            squares = ((centres - point) ** 2).sum(axis=1)
            gain = squares[own] * size[own] / (size[own] - 1.0)
            cost = squares * size / (size + 1.0)
            cost[own] = np.inf
            other = int(cost.argmin())
            if cost[other] < gain * (1.0 - 1e-10):
                centres[own] += (centres[own] - point) / (size[own] - 1.0)
                centres[other] += (point - centres[other]) / (size[other] + 1.0)
                size[own] -= 1.0
                size[other] += 1.0
                label[i] = other
                moved = True
        if not moved:
            break
    return label


def _clusters(points: Floats, label: NDArray[np.int64], k: int) -> Clusters:
    _, first = np.unique(label, return_index=True)
    number = np.empty(k, np.int64)
    number[label[np.sort(first)]] = np.arange(k)
    label = number[label]
    centres = _means(points, label, k)
    return Clusters(label, centres, float(((points - centres[label]) ** 2).sum()))


def _means(points: Floats, label: NDArray[np.int64], k: int) -> Floats:
    sums = np.zeros((k, points.shape[1]))
    np.add.at(sums, label, points)
    found: Floats = sums / np.bincount(label, minlength=k)[:, None]
    return found
