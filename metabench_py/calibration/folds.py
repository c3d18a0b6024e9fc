"""Folds that keep an organisation's LLMs together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from metabench_py.errors import InputError

LEAST_FOLDS = 3


def organisation(name: str) -> str:
    """Whose LLM it is: the name up to the first slash; all of it where there is none."""
    return name.split("/", 1)[0]


def organisation_numbers(names: Sequence[str]) -> NDArray[np.int64]:
    """Give each LLM the running number of its organisation, these in alphabetical order."""
    number = {name: i for i, name in enumerate(sorted({organisation(n) for n in names}))}
    return np.array([number[organisation(name)] for name in names], dtype=np.int64)


def organisation_folds(names: Sequence[str], k: int, seed: int) -> NDArray[np.int64]:
    """Give each LLM a fold, the same for all of an organisation, folds about equally large.

    Organisations go, the largest first and equally large ones in random order, each to the fold
    that is the smallest by then.

    Parameters
    ----------
    names
        LLMs; their order does not matter.
    k
        Number of folds, at least 3: nested out-of-fold prediction holds out two.
    seed
        Of the random order.

    Returns
    -------
    Fold of each LLM, 0 to k - 1, shape (n,).
    """
    sizes = Counter(organisation(name) for name in names)
    if k < LEAST_FOLDS:
        raise InputError(f"{k} folds are too few; take {LEAST_FOLDS} or more.", folds=k)
    if len(sizes) < k:
        raise InputError(
            f"{k} folds need as many organisations, but the {len(names)} LLMs are of {len(sizes)}. "
            "Take fewer folds, or name the LLMs organisation/model.",
            folds=k,
        )
    order = sorted(sizes)
    np.random.default_rng(seed).shuffle(order)
    order.sort(key=lambda name: -sizes[name])
    load = [0] * k
    fold: dict[str, int] = {}
    for name in order:
        fold[name] = load.index(min(load))
        load[fold[name]] += sizes[name]
    return np.array([fold[organisation(name)] for name in names], dtype=np.int64)
