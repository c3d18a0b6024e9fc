"""The E-step: how many LLMs of each ability are expected to answer each item right and wrong.

Bock & Aitkin (1981). A posterior over 61 nodes is mostly zeros, so each response pattern keeps a
window of nodes, outside of which its posterior is below 1e-15 of its largest value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from metabench_py.irt.model import Floats
from metabench_py.irt.native.quadrature import NODES, grid
from metabench_py.irt.native.vector_math import exp_into
from metabench_py.responses import MISSING, ResponseMatrix

# Nodes are computed in groups that fill SIMD registers; the last ones are padding.
_GROUP = 8
_PADDED = 64
_PADDING = -1e300
# exp(-700) is 1e-304, still a normal number.
_LOWEST = -700.0
# A new window reaches down to 1e-20 of the top; one whose edge comes above 1e-15 is made anew.
_WINDOW = 46.0
_EDGE = math.exp(-34.5)
# All windows are made anew this often, in case that a second mode grows outside.
_RENEW_EVERY = 16

# Unsigned, or numba would look for negative positions at every access.
_Positions = NDArray[np.uint32]
_Bounds = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Patterns:
    """Distinct response patterns, as lists of items.

    Attributes
    ----------
    right, missing
        Positions of the items answered right, and not answered, pattern after pattern.
    right_at, missing_at
        Where each pattern's list begins, shape (n_patterns + 1,).
    frequency
        LLMs with the pattern, shape (n_patterns,).
    n_right, n_wrong
        LLMs that answer each item right and wrong, shape (n_items,).
    """

    right: _Positions
    right_at: _Bounds
    missing: _Positions
    missing_at: _Bounds
    frequency: Floats
    n_right: Floats
    n_wrong: Floats

    @property
    def n_llms(self) -> int:
        """LLMs that answered something."""
        return int(self.frequency.sum())

    @property
    def n_items(self) -> int:
        """Number of items."""
        return self.n_right.size

    @classmethod
    def of(cls, responses: ResponseMatrix) -> Patterns:
        """Collapse LLMs with the same answers; who answered nothing carries no information."""
        values = responses.values
        values = values[(values != MISSING).any(axis=1)]
        # Rows as opaque bytes sort much faster than by columns.
        keys = np.ascontiguousarray(values).view(np.dtype((np.void, values.shape[1]))).ravel()
        _, first, frequency = np.unique(keys, return_index=True, return_counts=True)
        distinct = values[first]
        right, right_at = _lists(distinct == 1)
        missing, missing_at = _lists(distinct == MISSING)
        return cls(
            right=right,
            right_at=right_at,
            missing=missing,
            missing_at=missing_at,
            frequency=frequency.astype(np.float64),
            n_right=(values == 1).sum(axis=0).astype(np.float64),
            n_wrong=(values == 0).sum(axis=0).astype(np.float64),
        )


def _lists(mask: NDArray[np.bool_]) -> tuple[_Positions, _Bounds]:
    at = np.concatenate([[0], np.cumsum(mask.sum(axis=1))])
    return np.nonzero(mask)[1].astype(np.uint32), at.astype(np.int64)


@dataclass(frozen=True, eq=False)
class Counts:
    """Expected answers at every node, shape (n_items, 61), and the log-likelihood."""

    right: Floats
    wrong: Floats
    log_likelihood: float


class Expectation:
    """The E-step over some patterns; remembers every pattern's window between calls."""

    def __init__(self, patterns: Patterns) -> None:
        self._patterns = patterns
        n = patterns.frequency.size
        self._first = np.zeros(n, dtype=np.int64)
        self._last = np.full(n, _PADDED, dtype=np.int64)
        self._calls = 0

    def __call__(self, log_right: Floats, log_wrong: Floats, *, anew: bool = False) -> Counts:
        """Compute expected counts under the current curves.

        Parameters
        ----------
        log_right, log_wrong
            Log-probability of a right and of a wrong answer, shape (n_items, 61).
        anew
            Make all windows anew.
        """
        if anew or self._calls % _RENEW_EVERY == 0:
            self._first[:] = 0
            self._last[:] = _PADDED
        self._calls += 1
        patterns = self._patterns
        _, prior = grid(NODES)
        base = np.full(_PADDED, _PADDING)
        base[:NODES] = log_wrong.sum(axis=0) + np.log(prior)
        odds = np.zeros((patterns.n_items, _PADDED))
        odds[:, :NODES] = log_right - log_wrong
        unanswered = np.zeros((patterns.n_items, _PADDED))
        unanswered[:, :NODES] = -log_wrong
        right = np.zeros((patterns.n_items, _PADDED))
        missing = np.zeros((patterns.n_items, _PADDED))
        people = np.zeros(_PADDED)
        log_likelihood = _expect(
            patterns.right,
            patterns.right_at,
            patterns.missing,
            patterns.missing_at,
            patterns.frequency,
            base,
            odds,
            unanswered,
            self._first,
            self._last,
            right,
            missing,
            people,
        )
        wrong = people - missing - right
        # What cancellation leaves of an empty node may be below zero.
        return Counts(right[:, :NODES], np.maximum(wrong[:, :NODES], 0.0), log_likelihood)


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def _expect(
    right: _Bounds,
    right_at: _Bounds,
    missing: _Bounds,
    missing_at: _Bounds,
    frequency: Floats,
    base: Floats,
    odds: Floats,
    unanswered: Floats,
    first: _Bounds,
    last: _Bounds,
    right_counts: Floats,
    missing_counts: Floats,
    people: Floats,
) -> float:
    """Fill the counts (the last three) and renew windows; gives the log-likelihood."""
    log_likelihood = 0.0
    depth = np.empty(_PADDED)
    posterior = np.empty(_PADDED)
    for pattern in range(frequency.size):
        answered = right[right_at[pattern] : right_at[pattern + 1]]
        skipped = missing[missing_at[pattern] : missing_at[pattern + 1]]
        while True:
            low, high = first[pattern], last[pattern]
            depth[low:high] = base[low:high]
            for start in range(low, high, _GROUP):
                end = start + _GROUP
                _add_rows(depth[start:end], odds[:, start:end], answered)
                _add_rows(depth[start:end], unanswered[:, start:end], skipped)
            top = depth[low]
            for q in range(low, high):
                top = max(top, depth[q])
            for q in range(low, high):
                depth[q] = max(depth[q] - top, _LOWEST)
            exp_into(depth[low:high], posterior[low:high])
            if low == 0 and high == _PADDED:
                _renew(depth, first, last, pattern)
                break
            at_left = low > 0 and posterior[low] > _EDGE
            if not at_left and (high == _PADDED or posterior[high - 1] < _EDGE):
                break
            first[pattern], last[pattern] = 0, _PADDED
        total = 0.0
        for q in range(low, high):
            total += posterior[q]
        log_likelihood += frequency[pattern] * (top + np.log(total))
        weight = frequency[pattern] / total
        for q in range(low, high):
            posterior[q] *= weight
            people[q] += posterior[q]
        _add_to_rows(right_counts[:, low:high], posterior[low:high], answered)
        _add_to_rows(missing_counts[:, low:high], posterior[low:high], skipped)
    return log_likelihood


@njit(cache=True)
def _renew(depth: Floats, first: _Bounds, last: _Bounds, pattern: int) -> None:
    """Set the window to the groups of nodes that reach above the threshold, and one node more."""
    low = 0
    while depth[low] < -_WINDOW:
        low += 1
    high = _PADDED
    while depth[high - 1] < -_WINDOW:
        high -= 1
    low = max(low - 1, 0)
    width = -(-(min(high + 1, _PADDED) - low) // _GROUP) * _GROUP
    first[pattern] = min(low, _PADDED - width)
    last[pattern] = first[pattern] + width


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def _add_rows(result: Floats, table: Floats, rows: _Positions) -> None:
    """Add some of the table's rows, eight columns each, to the result."""
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
    # Eight sums in registers: an inner loop would go through memory at each row.
    for row in rows:
        s0 += table[row, 0]
        s1 += table[row, 1]
        s2 += table[row, 2]
        s3 += table[row, 3]
        s4 += table[row, 4]
        s5 += table[row, 5]
        s6 += table[row, 6]
        s7 += table[row, 7]
    result[0] += s0
    result[1] += s1
    result[2] += s2
    result[3] += s3
    result[4] += s4
    result[5] += s5
    result[6] += s6
    result[7] += s7


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def _add_to_rows(table: Floats, values: Floats, rows: _Positions) -> None:
    """Add the values to some of the table's rows."""
    for row in rows:
        line = table[row]
        for k in range(values.size):
            line[k] += values[k]
