"""Inner folds of the stack that keep groups together."""

from __future__ import annotations

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
    load = np.zeros(k, np.int64)
    fold = np.zeros(len(size), np.int64)
    for group in order:
        fold[group] = int(np.argmin(load))
        load[fold[group]] += size[group]
    chosen: NDArray[np.int64] = fold[number]
    return chosen
