"""One adaptive spline from grouped data, and cross-validated errors of many."""

# mypy: disallow-untyped-decorators=False, warn-return-any=False
from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from metabench_py.gam.adaptive_core import reduce_data, spline_rows
from metabench_py.gam.adaptive_search import polish, search
from metabench_py.irt.model import Floats

# The data's range is widened by this share on both sides, so that no value lies on its end.
MARGIN = 0.001
# Start of the search: this times the size of B beside that of each penalty.
START = 0.1
NO_GROUP = -1
# How far from a minimum others are looked for, and how much lower, beside it, one must be.
MOVES = np.array([-2.0, -1.0, 1.0, 2.0])
LEAST_GAIN = 1e-9


@njit(cache=True, nogil=True)
def spaced_knots(low: float, high: float, n_basis: int) -> Floats:
    """Evenly spaced knots of cubic B-splines over a range, three beyond either end."""
    margin = MARGIN * (high - low)
    first, last = low - margin, high + margin
    width = (last - first) / (n_basis - 3)
    knots: Floats = first + width * np.arange(-3.0, n_basis + 1.0)
    return knots


@njit(cache=True, nogil=True)
def starting_point(
    weights: Floats, start: NDArray[np.int64], rows: Floats, counts: Floats, n_basis: int
) -> Floats:
    """Logarithms of smoothing parameters that make penalties and data matter alike.

    The ratio of traces of X'X and each penalty over the coefficients that sum to zero on the
    data, as mgcv constrains the term.
    """
    m, size = weights.shape
    direction = np.zeros(n_basis)
    for i in range(counts.size):
        for k in range(4):
            direction[start[i] + k] += counts[i] * rows[i, k]
    direction /= np.sqrt((direction * direction).sum())
    data = 0.0
    for i in range(counts.size):
        along = 0.0
        for k in range(4):
            data += counts[i] * rows[i, k] * rows[i, k]
            along += rows[i, k] * direction[start[i] + k]
        data -= counts[i] * along * along
    rho = np.empty(m)
    for j in range(m):
        penalty = 0.0
        for i in range(size):
            bent = direction[i] - 2.0 * direction[i + 1] + direction[i + 2]
            penalty += weights[j, i] * (6.0 - bent * bent)
        rho[j] = np.log(START * data / penalty)
    return rho


@njit(cache=True, nogil=True)
def fit_groups(
    values: Floats, counts: Floats, means: Floats, within: float, weights: Floats,
    tolerance: float, most: int, converge: bool, knots: Floats, beta: Floats, rho: Floats,
) -> tuple[float, float, float, int, int, float]:  # fmt: skip
    """Fit one spline.

    Parameters
    ----------
    values, counts, means
        Distinct values, ascending, of the predictor; how many observations have each; the mean
        of their responses; shape (n_groups,).
    within
        Sum of squares around these means.
    weights
        Of the penalties, shape (n_penalties, n_basis - 2).
    converge
        Go on to a minimum, from the end of mgcv's search, from its start, and from a step away
        from the lowest so far; take the lowest.
    knots, beta, rho
        Taken up: knots, shape (n_basis + 4,); coefficients, shape (n_basis,); logarithms of the
        smoothing parameters, shape (n_penalties,).

    Returns
    -------
    As of `search`.
    """
    n_basis = beta.size
    knots[:] = spaced_knots(values[0], values[-1], n_basis)
    start, rows = np.empty(values.size, np.int64), np.empty((values.size, 4))
    spline_rows(values, knots, start, rows)
    data = reduce_data(start, rows, counts, means, n_basis)
    rho[:] = starting_point(weights, start, rows, counts, n_basis)
    found = search(rho, weights, data, start, rows, counts, means, within, tolerance, most, beta)
    if not converge:
        return found
    more = polish(rho, weights, data, start, rows, counts, means, within, most, beta)
    steps, calls = found[3] + more[3], found[4] + more[4]
    # GCV has several minima; the one below the start is sometimes the deeper one, and so may be
    # one that is reached from a step away along an axis.
    other_beta, first, lower = beta.copy(), True, True
    while lower:
        lower = False
        for k in range(-1 if first else 0, rho.size * MOVES.size):
            if k < 0:
                other_rho = starting_point(weights, start, rows, counts, n_basis)
            else:
                other_rho = rho.copy()
                other_rho[k // MOVES.size] += MOVES[k % MOVES.size]
            other = polish(
                other_rho, weights, data, start, rows, counts, means, within, most, other_beta
            )
            steps, calls = steps + other[3], calls + other[4]
            if other[0] < more[0] * (1.0 - LEAST_GAIN):
                more, lower = other, True
                rho[:], beta[:] = other_rho, other_beta
        first = False
    return more[0], more[1], more[2], steps, calls, more[5]


@njit(cache=True, nogil=True)
def predict(values: Floats, knots: Floats, beta: Floats) -> Floats:
    """Value of the spline at each of `values`; straight lines beyond the data."""
    start, rows = np.empty(values.size, np.int64), np.empty((values.size, 4))
    spline_rows(values, knots, start, rows)
    result = np.zeros(values.size)
    for i in range(values.size):
        for k in range(4):
            result[i] += rows[i, k] * beta[start[i] + k]
    return result


@njit(cache=True, nogil=True)
def cross_validate(
    values: Floats, group: NDArray[np.int64], response: Floats, fold: NDArray[np.int64],
    n_folds: int, weights: Floats, tolerance: float, most: int, converge: bool,
) -> Floats:  # fmt: skip
    """Root mean squared errors of a spline fitted without each fold.

    Parameters
    ----------
    values
        Distinct values of the predictor, ascending, shape (n_values,).
    group
        Which of them each observation has, -1: none, it is left out; shape (n,).
    fold
        Fold of each observation, 0 to n_folds - 1; -1: of the test set, never fitted.

    Returns
    -------
    ndarray
        Shape (n_folds, 2): of the fold and of the test set. NaN where nothing was to be
        predicted, or nothing could be fitted.
    """
    m, size = weights.shape
    beta, knots, rho = np.empty(size + 2), np.empty(size + 6), np.empty(m)
    counts, means = np.empty(values.size), np.empty(values.size)
    errors = np.full((n_folds, 2), np.nan)
    for held in range(n_folds):
        counts[:] = 0.0
        means[:] = 0.0
        for i in range(group.size):
            if group[i] >= 0 and fold[i] >= 0 and fold[i] != held:
                counts[group[i]] += 1.0
                means[group[i]] += response[i]
        present = np.flatnonzero(counts > 0.0)
        if present.size < 2:
            continue
        for g in present:
            means[g] /= counts[g]
        within = 0.0
        for i in range(group.size):
            if group[i] >= 0 and fold[i] >= 0 and fold[i] != held:
                within += (response[i] - means[group[i]]) ** 2
        found = fit_groups(
            values[present], counts[present], means[present], within, weights,
            tolerance, most, converge, knots, beta, rho,
        )  # fmt: skip
        if not np.isfinite(found[0]):
            continue
        predicted = predict(values, knots, beta)
        squares, seen = np.zeros(2), np.zeros(2)
        for i in range(group.size):
            if group[i] >= 0 and (fold[i] == held or fold[i] < 0):
                which = 0 if fold[i] == held else 1
                squares[which] += (response[i] - predicted[group[i]]) ** 2
                seen[which] += 1.0
        for which in range(2):
            if seen[which] > 0.0:
                errors[held, which] = np.sqrt(squares[which] / seen[which])
    return errors
