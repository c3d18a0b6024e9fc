"""The M-step's objective: the expected log-likelihood of the item parameters, negated.

Parameters stand item by item in one vector: slope, intercept, then the logits of the lower (3PL)
and of the upper asymptote (4PL).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from metabench_py.irt.model import LOGIT_LIMIT, Floats
from metabench_py.irt.native.quadrature import LIMIT
from metabench_py.irt.native.vector_math import exp_into, log_into

# What an impossible point counts, so that the line search steps back from it (as in mirt).
IMPOSSIBLE = 1e100
_LIMIT = LOGIT_LIMIT
# Sums over nodes may be taken in any order, so that they vectorise.
_SUMS = {"contract", "reassoc"}


@njit(cache=True)
def _asymptotes(x: Floats, at: int, size: int) -> tuple[float, float]:
    """Lower and upper asymptote of the item whose `size` parameters begin at `at`."""
    g = 1.0 / (1.0 + np.exp(-x[at + 2])) if size > 2 else 0.0
    u = 1.0 / (1.0 + np.exp(-x[at + 3])) if size > 3 else 1.0
    return g, u


@njit(cache=True)
def possible(x: Floats, size: int, n_items: int) -> bool:
    """Tell whether every item has u > g and 0 < P < 1 up to both ends of the quadrature.

    Curves are monotone, so the ends suffice; a 2PL is always possible, for its logit is clipped.
    """
    if size < 3:
        return True
    for item in range(n_items):
        at = item * size
        g, u = _asymptotes(x, at, size)
        if not u > g:
            return False
        for node in (-LIMIT, LIMIT):
            logit = min(max(x[at] * node + x[at + 1], -_LIMIT), _LIMIT)
            p = g + (u - g) / (1.0 + np.exp(-logit))
            if not 0.0 < p < 1.0:
                return False
    return True


@njit(cache=True, fastmath=_SUMS, error_model="numpy")
def value(x: Floats, size: int, nodes: Floats, right: Floats, wrong: Floats, work: Floats) -> float:
    """Negated expected log-likelihood at `x`.

    Parameters
    ----------
    x
        Parameters, shape (n_items * size,).
    right, wrong
        Expected answers, item by item, shape (n_items * n_nodes,).
    work
        Scratch, shape (4, n_items * n_nodes); its first row receives the logistic part of every
        curve, which `gradient` reads.
    """
    m = nodes.size
    n_items = x.size // size
    if not possible(x, size, n_items):
        return IMPOSSIBLE
    share, logit, one, other = work[0], work[1], work[2], work[3]
    for item in range(n_items):
        a, d = x[item * size], x[item * size + 1]
        for q in range(m):
            logit[item * m + q] = -min(max(a * nodes[q] + d, -_LIMIT), _LIMIT)
    exp_into(logit, one)
    for cell in range(share.size):
        one[cell] += 1.0
        share[cell] = 1.0 / one[cell]
    total = 0.0
    if size == 2:
        # -log P = log(1 + e), -log Q = logit + log(1 + e), where e = exp(-logit).
        odds = one
        log_into(odds, other, share)
        for cell in range(share.size):
            share[cell] = 1.0 / odds[cell]
            total += (right[cell] + wrong[cell]) * other[cell] - wrong[cell] * logit[cell]
    else:
        for item in range(n_items):
            g, u = _asymptotes(x, item * size, size)
            for cell in range(item * m, item * m + m):
                one[cell] = g + (u - g) * share[cell]
                other[cell] = 1.0 - one[cell]
        total += _minus_weighted_logs(one, right, logit)
        total += _minus_weighted_logs(other, wrong, logit)
    return total if np.isfinite(total) else IMPOSSIBLE


@njit(cache=True, fastmath=_SUMS, error_model="numpy")
def _minus_weighted_logs(p: Floats, weights: Floats, scratch: Floats) -> float:
    logs = np.empty_like(p)
    log_into(p, logs, scratch)
    total = 0.0
    for cell in range(p.size):
        total -= weights[cell] * logs[cell]
    return total


@njit(cache=True, fastmath=_SUMS, error_model="numpy")
def gradient(
    x: Floats,
    size: int,
    nodes: Floats,
    right: Floats,
    wrong: Floats,
    work: Floats,
    result: Floats,
) -> None:
    """Fill `result`, shape (n_items * size,), with the derivatives at the point last valued."""
    m = nodes.size
    share = work[0]
    for item in range(x.size // size):
        at = item * size
        first = item * m
        by_a = by_d = by_g = by_u = 0.0
        if size == 2:
            for q in range(m):
                cell = first + q
                pull = right[cell] - (right[cell] + wrong[cell]) * share[cell]
                by_d += pull
                by_a += pull * nodes[q]
            result[at] = -by_a
            result[at + 1] = -by_d
            continue
        g, u = _asymptotes(x, at, size)
        for q in range(m):
            cell = first + q
            s = share[cell]
            p = g + (u - g) * s
            pull = right[cell] / p - wrong[cell] / (1.0 - p)
            by_logit = pull * s * (1.0 - s)
            by_d += by_logit
            by_a += by_logit * nodes[q]
            by_g += pull * (1.0 - s)
            by_u += pull * s
        result[at] = -(u - g) * by_a
        result[at + 1] = -(u - g) * by_d
        result[at + 2] = -g * (1.0 - g) * by_g
        if size > 3:
            result[at + 3] = -u * (1.0 - u) * by_u


def log_curves(x: Floats, size: int, nodes: Floats) -> tuple[Floats, Floats]:
    """Log-probability of right and wrong answers, both of shape (n_items, n_nodes)."""
    rows = x.reshape(-1, size)
    logit = np.multiply.outer(rows[:, 0], nodes) + rows[:, 1:2]
    np.clip(logit, -_LIMIT, _LIMIT, out=logit)
    odds = np.exp(-logit)
    if size == 2:
        right = -np.log1p(odds)
        return right, right - logit
    g, u = (bound[:, None] for bound in asymptotes(rows))
    share = 1.0 / (1.0 + odds)
    with np.errstate(divide="ignore", invalid="ignore"):
        return (
            np.log(g + (u - g) * share),
            np.log((1.0 - u) + (u - g) * odds * share),
        )


def asymptotes(rows: Floats) -> tuple[Floats, Floats]:
    """Lower and upper asymptotes of parameters in rows, shape (n_items,) each."""
    n, size = rows.shape
    g = 1.0 / (1.0 + np.exp(-rows[:, 2])) if size > 2 else np.zeros(n)
    u = 1.0 / (1.0 + np.exp(-rows[:, 3])) if size > 3 else np.ones(n)
    return g, u
