"""The loops behind an adaptive test, compiled: modes of ability, and expected information.

A mode is bracketed by the nodes of ability beside the best one, then found as the root of the
criterion's derivative: log-likelihood' minus theta (MAP), or plus J / 2I (WLE, Warm 1989, whose
criterion needs no closed form so).
"""

# mypy: disallow-untyped-decorators=False, warn-return-any=False
from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from metabench_py.irt.model import LOGIT_LIMIT, Floats

_TOLERANCE = 1e-12
_MOST_STEPS = 200
NOBODY = -1


@njit(cache=True, nogil=True)
def derivative(
    theta: float,
    used: NDArray[np.int64],
    answers: NDArray[np.int8],
    n: int,
    extra: int,
    extra_answer: int,
    bank: Floats,
    warm: bool,
) -> tuple[float, float]:
    """Give the derivative of the criterion at theta, and the items' information there.

    Parameters
    ----------
    used, answers, n
        Items that were given (the first `n`), and 0 or 1 for each.
    extra, extra_answer
        One more item, or -1.
    bank
        a1, d, g, u in rows, shape (4, n_items).
    """
    first, info, bias = 0.0, 0.0, 0.0
    for i in range(n + 1):
        if i < n:
            item, answer = used[i], int(answers[i])
        else:
            item, answer = extra, extra_answer
        if item < 0:
            continue
        a1, d, g, u = bank[0, item], bank[1, item], bank[2, item], bank[3, item]
        logit = min(max(a1 * theta + d, -LOGIT_LIMIT), LOGIT_LIMIT)
        odds = math.exp(-logit)
        share = 1.0 / (1.0 + odds)
        rest = odds * share
        right = g + (u - g) * share
        wrong = (1.0 - u) + (u - g) * rest
        slope = a1 * (u - g) * share * rest
        first += slope / right if answer == 1 else -slope / wrong
        info += slope * slope / (right * wrong)
        if warm:
            bias += slope * a1 * slope * (rest - share) / (right * wrong)
    if not warm:
        first -= theta
    elif info > 0.0:
        first += 0.5 * bias / info
    return first, info


@njit(cache=True, nogil=True)
def root(
    low: float,
    high: float,
    at_low: float,
    at_high: float,
    used: NDArray[np.int64],
    answers: NDArray[np.int8],
    n: int,
    extra: int,
    extra_answer: int,
    bank: Floats,
    warm: bool,
) -> float:
    """Where the derivative falls through 0 between two abilities (false position, Illinois)."""
    regular = at_low > 0.0 > at_high
    side = 0
    for _ in range(_MOST_STEPS):
        if high - low < _TOLERANCE:
            break
        # Without a change of sign in sight the mode lies inside all the same: halve.
        middle = (low * at_high - high * at_low) / (at_high - at_low) if regular else 0.0
        if not regular or not low < middle < high:
            middle = 0.5 * (low + high)
        value, _ = derivative(middle, used, answers, n, extra, extra_answer, bank, warm)
        if abs(value) < _TOLERANCE:
            return middle
        if value > 0.0:
            low, at_low = middle, value
            if side == 1:
                at_high *= 0.5
            side = 1
        else:
            high, at_high = middle, value
            if side == -1:
                at_low *= 0.5
            side = -1
    return 0.5 * (low + high)


@njit(cache=True, nogil=True)
def _at_node(
    k: int, slope: Floats, information: Floats, bias: Floats, nodes: Floats, warm: bool
) -> float:
    """Give the derivative of the criterion at a node, from the sums there."""
    if not warm:
        return slope[k] - nodes[k]
    if information[k] > 0.0:
        return slope[k] + 0.5 * bias[k] / information[k]
    return slope[k]


@njit(cache=True, nogil=True)
def mode(
    log: Floats,
    slope: Floats,
    information: Floats,
    bias: Floats,
    nodes: Floats,
    used: NDArray[np.int64],
    answers: NDArray[np.int8],
    n: int,
    extra: int,
    extra_answer: int,
    bank: Floats,
    warm: bool,
) -> float:
    """Ability at the highest mode; the sums at the nodes hold the extra item, too."""
    last = nodes.size - 1
    best, top, height, before = 0, -np.inf, 0.0, 0.0
    for k in range(nodes.size):
        if warm:
            # The criterion up to a constant, from its derivative.
            here = _at_node(k, slope, information, bias, nodes, warm)
            if k > 0:
                height += 0.5 * (before + here) * (nodes[k] - nodes[k - 1])
            before = here
        else:
            height = log[k] - 0.5 * nodes[k] * nodes[k]
        if height > top:
            best, top = k, height
    at_best = _at_node(best, slope, information, bias, nodes, warm)
    if at_best == 0.0:
        return nodes[best]
    low, high = (best, best + 1) if at_best > 0.0 else (best - 1, best)
    if low < 0 or high > last:
        return nodes[best]
    return root(
        nodes[low], nodes[high],
        _at_node(low, slope, information, bias, nodes, warm),
        _at_node(high, slope, information, bias, nodes, warm),
        used, answers, n, extra, extra_answer, bank, warm,
    )  # fmt: skip


@njit(cache=True, nogil=True)
def modes(
    rows: NDArray[np.int64],
    log: Floats,
    slope: Floats,
    information: Floats,
    bias: Floats,
    nodes: Floats,
    used: NDArray[np.int64],
    answers: NDArray[np.int8],
    counts: NDArray[np.int64],
    bank: Floats,
    warm: bool,
) -> tuple[Floats, Floats]:
    """Modes of some LLMs, and the information of their items there; both of shape (n_rows,)."""
    theta, info = np.empty(rows.size), np.empty(rows.size)
    for r in range(rows.size):
        i = rows[r]
        theta[r] = mode(
            log[i], slope[i], information[i], bias[i], nodes,
            used[i], answers[i], counts[i], NOBODY, 0, bank, warm,
        )  # fmt: skip
        _, info[r] = derivative(theta[r], used[i], answers[i], counts[i], NOBODY, 0, bank, warm)
    return theta, info


@njit(cache=True, nogil=True)
def ahead(
    rows: NDArray[np.int64],
    free: NDArray[np.bool_],
    log: Floats,
    slope: Floats,
    information: Floats,
    bias: Floats,
    item_log: Floats,
    item_slope: Floats,
    item_information: Floats,
    item_bias: Floats,
    nodes: Floats,
    used: NDArray[np.int64],
    answers: NDArray[np.int8],
    counts: NDArray[np.int64],
    bank: Floats,
    warm: bool,
) -> Floats:
    """Modes after a wrong and a right answer to every free item, shape (2, n_rows, n_items)."""
    n_items = free.shape[1]
    result = np.zeros((2, rows.size, n_items))
    size = nodes.size
    one, two, three, four = np.empty(size), np.empty(size), np.empty(size), np.empty(size)
    for r in range(rows.size):
        i = rows[r]
        for item in range(n_items):
            if not free[r, item]:
                continue
            for answer in range(2):
                for k in range(size):
                    one[k] = log[i, k] + item_log[answer, item, k]
                    two[k] = slope[i, k] + item_slope[answer, item, k]
                    if warm:
                        three[k] = information[i, k] + item_information[item, k]
                        four[k] = bias[i, k] + item_bias[item, k]
                result[answer, r, item] = mode(
                    one, two, three, four, nodes,
                    used[i], answers[i], counts[i], item, answer, bank, warm,
                )  # fmt: skip
    return result
