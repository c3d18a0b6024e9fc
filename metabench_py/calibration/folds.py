"""Folds that keep an organisation's LLMs together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from metabench_py.errors import InputError
from metabench_py.stack.folds import fill_evenly

LEAST_FOLDS = 3


def organisation(name: str) -> str:
    """Whose LLM it is: the name up to the first slash, or all of it where there is none.

    Folders of logs have two underscores in place of the slash.
    """
    return name.split("/" if "/" in name else "__", 1)[0]


def organisation_numbers(names: Sequence[str]) -> NDArray[np.int64]:
    """Give each LLM the running number of its organisation, these in alphabetical order."""
    number = {name: i for i, name in enumerate(sorted({organisation(n) for n in names}))}
    return np.array([number[organisation(name)] for name in names], dtype=np.int64)


def organisation_folds(names: Sequence[str], k: int, seed: int) -> NDArray[np.int64]:
    """Give each LLM a fold, the same for all of an organisation; see `group_folds`."""
    return group_folds(names, organisation_numbers(names), k, seed)


def group_folds(
    names: Sequence[str], groups: NDArray[np.int64], k: int, seed: int
) -> NDArray[np.int64]:
    """Give each LLM a fold, the same for all of a group, folds about equally large.

    Groups go, the largest first and equally large ones in random order, each to the fold that is
    the smallest by then.

    Parameters
    ----------
    names
        LLMs; their order does not matter.
    groups
        Whatever stays together (an organisation, near-duplicates, or both joined), shape (n,).
    k
        Number of folds, at least 3: nested out-of-fold prediction holds out two.
    seed
        Of the random order.

    Returns
    -------
    Fold of each LLM, 0 to k - 1, shape (n,).
    """
    # A group is called by its first LLM, so that neither its number nor the order matters.
    called: dict[int, tuple[str, str]] = {}
    for name, group in zip(names, groups.tolist(), strict=True):
        key = (organisation(name), name)
        called[group] = min(called.get(group, key), key)
    key_of = [called[group] for group in groups.tolist()]
    sizes = Counter(key_of)
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
    order.sort(key=lambda one: -sizes[one])
    fold = dict(zip(order, fill_evenly([sizes[key] for key in order], k), strict=True))
    return np.array([fold[one] for one in key_of], dtype=np.int64)
