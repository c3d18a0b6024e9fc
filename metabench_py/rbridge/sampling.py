"""Draws by R's random numbers, so that a seed gives what it gives in an R script.

R numbers from 1, these functions from 0, as Python does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metabench_py.errors import InputError
from metabench_py.rbridge.session import call, has_package, require_package

Integers = NDArray[np.int64]
Partitioner = Literal["auto", "caret", "base"]
_SEED_LIMIT = 2**31


def sample(n: int, size: int, seed: int) -> Integers:
    """Draw without replacement: ``set.seed(seed); sample(n, size)``.

    Parameters
    ----------
    n
        Draw from 0 to n - 1.
    size
        How many, at most `n`.
    seed
        As for R's ``set.seed``.

    Returns
    -------
    ndarray
        Shape (size,), in the order of the draws.

    Raises
    ------
    InputError
        `size` is not between 0 and `n`, or a number is too large for R.
    """
    drawn: Integers = sample_each(n, size, [seed])[0]
    return drawn


def sample_each(n: int, size: int, seeds: Sequence[int]) -> Integers:
    """Draw once for each seed, as `sample` does, in one call of R.

    Returns
    -------
    ndarray
        Shape (n_seeds, size).
    """
    if not 0 <= size <= n < _SEED_LIMIT:
        raise InputError(
            f"Cannot draw {size} of {n} without replacement: give 0 <= size <= n < 2^31.",
            n=n,
            size=size,
        )
    for seed in seeds:
        _check_seed(seed)
    numbers = np.asarray(seeds, np.int64)
    drawn: NDArray[np.int32] = call("sampling_sample", n=n, size=size, seeds=numbers)
    return drawn.astype(np.int64) - 1


def partition(score: ArrayLike, share: float, seed: int, by: Partitioner = "auto") -> Integers:
    """Draw a share of the LLMs from each quarter of their scores.

    What ``set.seed(seed); caret::createDataPartition(score, p = share)`` draws (of each quarter
    the share, rounded up).

    Parameters
    ----------
    score
        Shape (n_llms,), finite, not all alike.
    share
        Between 0 and 1.
    by
        ``caret``; ``base``, the same draw by R alone; ``auto``: caret where R has it.

    Returns
    -------
    ndarray
        Rows that were drawn, sorted.

    Raises
    ------
    InputError
        The scores or the share are not usable.
    RUnavailableError
        R is absent, or caret was asked for by name and is absent.
    """
    if not 0 < share < 1:
        raise InputError(f"A share of {share} is not between 0 and 1.", share=share)
    values = _scores(score, 2)
    _check_seed(seed)
    drawn: NDArray[np.int32] = call(
        "sampling_partition", score=values, p=float(share), seed=seed, caret=_by_caret(by)
    )
    return drawn.astype(np.int64) - 1


def folds(score: ArrayLike, k: int, seed: int, by: Partitioner = "auto") -> Integers:
    """Give each LLM a fold, so that all folds have LLMs of all scores.

    What ``set.seed(seed); caret::createFolds(score, k, list = FALSE)`` gives.

    Parameters
    ----------
    score
        Shape (n_llms,), finite, not all alike; more LLMs than folds.
    k
        Number of folds, 2 or more.
    by
        As for `partition`.

    Returns
    -------
    ndarray
        Fold of each LLM, 0 to k - 1, shape (n_llms,).

    Raises
    ------
    InputError
        The scores or `k` are not usable.
    RUnavailableError
        R is absent, or caret was asked for by name and is absent.
    """
    if k < 2:
        raise InputError(f"{k} folds are too few: give 2 or more.", k=k)
    values = _scores(score, k + 1)
    _check_seed(seed)
    found: NDArray[np.int32] = call(
        "sampling_folds", score=values, k=int(k), seed=seed, caret=_by_caret(by)
    )
    return found.astype(np.int64) - 1


def _by_caret(by: Partitioner) -> bool:
    if by == "auto":
        return has_package("caret")
    if by == "caret":
        require_package("caret")
    return by == "caret"


def _scores(score: ArrayLike, least: int) -> NDArray[np.float64]:
    values = np.asarray(score, np.float64)
    if values.ndim != 1 or len(values) < least:
        raise InputError(
            f"Scores of shape {values.shape} cannot be split: give {least} or more in one "
            "dimension.",
            shape=values.shape,
        )
    bad = ~np.isfinite(values)
    if bad.any():
        row = int(np.argmax(bad))
        raise InputError(
            f"Score {row + 1} of {len(values)} is {values[row]}; leave out LLMs without a score.",
            row=row,
        )
    if np.ptp(values) == 0:
        raise InputError(
            f"All {len(values)} scores are {values[0]:g}, so there are no classes to split by.",
            score=float(values[0]),
        )
    return values


def _check_seed(seed: int) -> None:
    if not -_SEED_LIMIT < seed < _SEED_LIMIT:
        raise InputError(
            f"The seed {seed} does not fit R's integers (below 2^31 in size).", seed=seed
        )
