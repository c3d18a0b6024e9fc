"""Inducing points: made-up LLMs that stand for all, none of them anybody's own row.

Each is the mean of at least three different LLMs that lie together (a k-means cluster, or where
that is smaller the LLMs nearest to its centre), which gives away no LLM's answers. With many LLMs
they are where `placement` starts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metabench_py.irt.model import Floats
from metabench_py.stack.gp import STEPS, Inducing, squared_distance

MOST_POINTS = 500
LEAST_MIXED = 3
ROUNDS = 12


def inducing_points(standard: Floats, responses: Floats, seed: int) -> Inducing:
    """Choose at most 500 points.

    Parameters
    ----------
    standard
        Standardised features, shape (n, n_features).
    responses
        Shape (n, n_items); no columns where they are not used.
    """
    place = _space(standard, responses)
    # Copies of one LLM count once, so that a mean of three is one of three different rows. Copies
    # answer alike, though their out-of-fold linear predictors differ.
    alike = responses if responses.shape[1] else standard
    _, different = np.unique(alike, axis=0, return_index=True)
    different = np.sort(different)
    place, standard, responses = place[different], standard[different], responses[different]
    centres = place if len(place) <= MOST_POINTS else _cluster(place, MOST_POINTS, seed)
    distance = squared_distance(centres, place)
    nearest = np.argmin(distance, axis=0)
    mixed = np.zeros((len(centres), len(place)))
    mixed[nearest, np.arange(len(place))] = 1.0
    small = np.flatnonzero(mixed.sum(axis=1) < LEAST_MIXED)
    mixed[small] = 0.0
    close = np.argsort(distance[small], axis=1, kind="stable")[:, :LEAST_MIXED]
    mixed[small[:, None], close] = 1.0
    # Two clusters may have drawn the same three LLMs.
    mixed = mixed[np.sort(np.unique(mixed, axis=0, return_index=True)[1])]
    mixed /= mixed.sum(axis=1, keepdims=True)
    features = (mixed @ standard).astype(np.float32).astype(np.float64)
    return Inducing(features, np.rint(mixed @ responses * STEPS) / STEPS)


def _space(standard: Floats, responses: Floats) -> Floats:
    """Features and responses beside each other, about equally important."""
    parts = [standard / np.sqrt(max(standard.shape[1], 1))]
    if responses.shape[1]:
        spread = float(np.sqrt(responses.var(axis=0).sum())) or 1.0
        parts.append(responses / spread)
    joined: Floats = np.concatenate(parts, axis=1)
    return joined


def _cluster(place: Floats, k: int, seed: int) -> Floats:
    """Lloyd's k-means from points drawn by squared distance (k-means++)."""
    rng = np.random.default_rng(seed)
    first = int(rng.integers(len(place)))
    chosen: list[int] = [first]
    nearest = squared_distance(place, place[[first]])[:, 0]
    for _ in range(k - 1):
        total = np.cumsum(nearest)
        chosen.append(int(min(np.searchsorted(total, rng.random() * total[-1]), len(place) - 1)))
        nearest = np.minimum(nearest, squared_distance(place, place[[chosen[-1]]])[:, 0])
    centres = place[chosen]
    before: NDArray[np.intp] | None = None
    for _ in range(ROUNDS):
        own = np.argmin(squared_distance(place, centres), axis=1)
        if before is not None and np.array_equal(own, before):
            break
        before = own
        sums, counts = np.zeros_like(centres), np.bincount(own, minlength=k)
        np.add.at(sums, own, place)
        full = counts > 0
        centres[full] = sums[full] / counts[full, None]
    return centres
