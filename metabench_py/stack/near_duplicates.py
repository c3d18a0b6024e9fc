"""LLMs that are all but the same (copies, merges and light fine-tunes), found and kept together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metabench_py.errors import InputError
from metabench_py.irt.model import Floats

# Two LLMs that answer at most this share of the items differently are near-duplicates. Of 751
# items, LLMs of equal ability but different origin differ on about every fifth.
DIFFERENT_ITEMS = 0.01
# Without responses: all full scores equal to so many points, which chance does not bring about.
DIFFERENT_POINTS = 0.1
# With fewer items than this, LLMs agree on all but 1 % by chance alone.
LEAST_ITEMS = 200
_CHUNK = 512


def near_duplicates(
    responses: Sequence[ArrayLike] = (), scores: ArrayLike | None = None
) -> NDArray[np.int64]:
    """Give near-duplicate LLMs a common number; links are transitive.

    Parameters
    ----------
    responses
        Matrices of some benchmarks, each of shape (n, n_items), 0-1; every item must be there.
        Taken into account from 200 items on.
    scores
        Full scores of at least three benchmarks (0-100), shape (n, n_benchmarks).

    Returns
    -------
    Cluster of each LLM, shape (n,), numbered by first appearance; an LLM alone has its own.

    Raises
    ------
    InputError
        Neither is given, or they are of different LLMs.
    """
    found: list[NDArray[np.int64]] = []
    lengths = {len(np.asarray(r)) for r in responses}
    if scores is not None:
        points = np.asarray(scores, np.float64)
        lengths.add(len(points))
        if points.ndim == 2 and points.shape[1] >= 3:
            found.append(_linked_scores(points))
    if len(lengths) != 1:
        raise InputError("Near-duplicates need responses or scores, all of the same LLMs.")
    if responses:
        joined = np.concatenate([np.asarray(r, np.float64) for r in responses], axis=1)
        if joined.shape[1] >= LEAST_ITEMS:
            found.append(_linked_responses(joined))
    clusters = np.arange(lengths.pop(), dtype=np.int64)
    for pairs in found:
        clusters = join_labels(clusters, _cluster(len(clusters), pairs))
    return clusters


def join_labels(*labels: NDArray[Any]) -> NDArray[np.int64]:
    """Join groupings: LLMs that any of them puts together are together.

    Parameters
    ----------
    labels
        Groupings of the same LLMs, each of shape (n,): organisations, near-duplicates.

    Returns
    -------
    Group of each LLM, shape (n,), numbered by first appearance.
    """
    n = len(labels[0])
    pairs = []
    for label in labels:
        if len(label) != n:
            raise InputError("Groupings to join must be of the same LLMs.")
        _, first, number = np.unique(label, return_index=True, return_inverse=True)
        pairs.append(np.column_stack([first[number], np.arange(n)]))
    return _cluster(n, np.concatenate(pairs).astype(np.int64))


def _linked_responses(joined: Floats) -> NDArray[np.int64]:
    # Squared distance of 0-1 answers counts differing items; expected responses fit in.
    squares = (joined**2).sum(axis=1)
    most = DIFFERENT_ITEMS * joined.shape[1] + 1e-6
    pairs = []
    for start in range(0, len(joined), _CHUNK):
        some = joined[start : start + _CHUNK]
        distance = squares[start : start + _CHUNK, None] + squares - 2.0 * some @ joined.T
        pairs.append(np.argwhere(distance <= most) + np.array([start, 0]))
    return np.concatenate(pairs)


def _linked_scores(points: Floats) -> NDArray[np.int64]:
    pairs = []
    for start in range(0, len(points), _CHUNK):
        some = points[start : start + _CHUNK]
        close = np.ones((len(some), len(points)), dtype=bool)
        for i in range(points.shape[1]):
            close &= np.abs(some[:, i, None] - points[:, i]) <= DIFFERENT_POINTS
        pairs.append(np.argwhere(close) + np.array([start, 0]))
    return np.concatenate(pairs)


def _cluster(n: int, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Follow the links; connected components are numbered by their first member."""
    parent = list(range(n))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for a, b in pairs.tolist():
        one, other = root(a), root(b)
        if one != other:
            parent[max(one, other)] = min(one, other)
    roots = np.array([root(i) for i in range(n)])
    _, number = np.unique(roots, return_inverse=True)
    return number.astype(np.int64)
