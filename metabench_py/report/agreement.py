"""How well one series of numbers agrees with another, as figures tell it."""

from __future__ import annotations

import numpy as np

from metabench_py.irt.model import Floats


def rmse(one: Floats, other: Floats) -> float:
    """Root mean squared difference."""
    return float(np.sqrt(np.mean((np.asarray(one) - np.asarray(other)) ** 2)))


def spearman(one: Floats, other: Floats) -> float:
    """Spearman's rank correlation; NaN where one of them is constant."""
    from scipy.stats import rankdata

    return pearson(rankdata(one), rankdata(other))


def pearson(one: Floats, other: Floats) -> float:
    """Pearson's correlation; NaN where one of them is constant."""
    if np.ptp(one) == 0.0 or np.ptp(other) == 0.0:
        return float("nan")
    return float(np.corrcoef(one, other)[0, 1])


def told(score: Floats, predicted: Floats) -> str:
    """Give the number of LLMs, RMSE and rank correlation in lines, for a corner of a panel."""
    return (
        f"n = {len(score):,}\nRMSE = {rmse(score, predicted):.2f}\n"
        f"r = {spearman(score, predicted):.3f}"
    )
