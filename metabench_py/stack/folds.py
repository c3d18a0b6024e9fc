"""Inner folds of the stack that keep groups together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench_py.errors import InputError


def group_folds(groups: NDArray[Any], k: int, seed: int) -> NDArray[np.int64]:
    """Give each LLM a fold, the same for all of a group, folds about equally large.

    Groups go, the largest first and equally large ones in random order, each to the fold that is
    the smallest by then.

    Parameters
    ----------
    groups
        Label of each LLM's group, shape (n,).
    k
        Folds; fewer where there are fewer groups.

    Raises
    ------
    InputError
        There is one group only.
    """
    _, number, size = np.unique(groups, return_inverse=True, return_counts=True)
    if len(size) < 2:
        raise InputError("The stack's folds need LLMs of two organisations or more.")
    k = min(k, len(size))
    order = np.random.default_rng(seed).permutation(len(size))
    order = order[np.argsort(-size[order], kind="stable")]
    fold = np.zeros(len(size), np.int64)
    fold[order] = fill_evenly(size[order].tolist(), k)
    chosen: NDArray[np.int64] = fold[number]
    return chosen


def fill_evenly(sizes: Sequence[int], k: int) -> list[int]:
    """Give each group, in this order, the fold that is the smallest by then."""
    load = [0] * k
    folds = []
    for size in sizes:
        fold = load.index(min(load))
        load[fold] += size
        folds.append(fold)
    return folds
