"""The M-step's objective: the expected log-likelihood of the item parameters, negated.

Parameters stand item by item in one vector: slope, intercept, then the logits of the lower (3PL)
and of the upper asymptote (4PL).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from metabench_py.irt.model import LOGIT_LIMIT, Floats

# What an impossible point counts, so that the line search steps back from it (as in mirt).
IMPOSSIBLE = 1e100
_LIMIT = LOGIT_LIMIT


@njit(cache=True)
def asymptotes(x: Floats, at: int, size: int) -> tuple[float, float]:
    """Lower and upper asymptote of the item whose `size` parameters begin at `at`."""
    g = 1.0 / (1.0 + np.exp(-x[at + 2])) if size > 2 else 0.0
    u = 1.0 / (1.0 + np.exp(-x[at + 3])) if size > 3 else 1.0
    return g, u


@njit(cache=True)
def value(
    x: Floats, size: int, nodes: Floats, right: Floats, wrong: Floats, share: Floats
) -> float:
    """Negated expected log-likelihood at `x`; fills `share`, the logistic part of every curve.

    Parameters
    ----------
    x
        Parameters, shape (n_items * size,).
    right, wrong, share
        Expected answers, and the result, shape (n_items, n_nodes).
    """
    total = 0.0
    for item in range(right.shape[0]):
        at = item * size
        g, u = asymptotes(x, at, size)
        if not u > g:
            return IMPOSSIBLE
        for q in range(nodes.size):
            logit = min(max(x[at] * nodes[q] + x[at + 1], -_LIMIT), _LIMIT)
            share[item, q] = 1.0 / (1.0 + np.exp(-logit))
            p = g + (u - g) * share[item, q]
            if p <= 0.0 or p >= 1.0:
                return IMPOSSIBLE
            if right[item, q] + wrong[item, q] > 0.0:
                total += right[item, q] * np.log(p) + wrong[item, q] * np.log(1.0 - p)
    return -total if np.isfinite(total) else IMPOSSIBLE


@njit(cache=True)
def gradient(
    x: Floats,
    size: int,
    nodes: Floats,
    right: Floats,
    wrong: Floats,
    share: Floats,
    result: Floats,
) -> None:
    """Fill `result`, shape (n_items * size,), with the derivatives at the last valued point."""
    for item in range(right.shape[0]):
        at = item * size
        g, u = asymptotes(x, at, size)
        by_a = by_d = by_g = by_u = 0.0
        for q in range(nodes.size):
            s = share[item, q]
            p = g + (u - g) * s
            pull = right[item, q] / p - wrong[item, q] / (1.0 - p)
            by_logit = pull * s * (1.0 - s)
            by_d += by_logit
            by_a += by_logit * nodes[q]
            by_g += pull * (1.0 - s)
            by_u += pull * s
        result[at] = -(u - g) * by_a
        result[at + 1] = -(u - g) * by_d
        if size > 2:
            result[at + 2] = -g * (1.0 - g) * by_g
        if size > 3:
            result[at + 3] = -u * (1.0 - u) * by_u


def log_curves(x: Floats, size: int, nodes: Floats) -> tuple[Floats, Floats]:
    """Log-probability of right and wrong answers, both of shape (n_items, n_nodes)."""
    rows = x.reshape(-1, size)
    logit = np.multiply.outer(rows[:, 0], nodes) + rows[:, 1:2]
    np.clip(logit, -_LIMIT, _LIMIT, out=logit)
    right = 1.0 / (1.0 + np.exp(-logit))
    if size > 2:
        g, u = bounds_of(rows)
        right = g[:, None] + (u - g)[:, None] * right
    with np.errstate(divide="ignore"):
        return np.log(right), np.log(1.0 - right)


def bounds_of(rows: Floats) -> tuple[Floats, Floats]:
    """Lower and upper asymptotes of parameters in rows, shape (n_items,) each."""
    n, size = rows.shape
    g = 1.0 / (1.0 + np.exp(-rows[:, 2])) if size > 2 else np.zeros(n)
    u = 1.0 / (1.0 + np.exp(-rows[:, 3])) if size > 3 else np.ones(n)
    return g, u
