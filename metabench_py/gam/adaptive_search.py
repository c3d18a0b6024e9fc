"""The search for an adaptive spline's smoothing parameters.

GCV is minimised over the logarithms of the smoothing parameters as Wood (2004, JASA 99, 673-686)
and the help page of mgcv's ``magic`` describe it: Newton's step where the Hessian is positive
definite, no component longer than 5; the steepest descent of length 1 elsewhere and where
Newton's step fails; steps are halved until GCV falls and never made longer, for GCV is flat far
out. How often, and the strides at the end, were found by watching what mgcv 1.8-41 evaluates.
"""

# mypy: disallow-untyped-decorators=False
from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from metabench_py.gam.adaptive_core import (
    derivatives,
    residual_squares,
    root_of_covariance,
    solve,
)
from metabench_py.irt.model import Floats

LONGEST_NEWTON = 5.0
# Trials of a Newton step, halved each time; where all fail the quadratic model is poor.
NEWTON_TRIALS = 3
DESCENT_TRIALS = 15
LEAST_STEPS = 3
# At the end each smoothing parameter goes in long strides along its own slope, GCV permitting.
STRIDE = 2.0
MOST_STRIDES = 5
# Polishing ends where all slopes are this small beside GCV.
LEAST_SLOPE = 1e-10
DAMPINGS = 30


@njit(cache=True, nogil=True)
def score(
    rho: Floats, weights: Floats, data: Floats, start: NDArray[np.int64], rows: Floats,
    weight: Floats, mean: Floats, within: float, parts: Floats, factor: Floats, root: Floats,
    beta: Floats,
) -> tuple[float, float, float]:  # fmt: skip
    """GCV, residual sum of squares and effective degrees of freedom at `rho`.

    The last four arguments are taken up. GCV is infinite where no estimate is determined.
    """
    m, size = weights.shape
    penalty = np.zeros(size)
    for j in range(m):
        smoothing = np.exp(rho[j])
        for i in range(size):
            parts[j, i] = smoothing * weights[j, i]
            penalty[i] += parts[j, i]
    if not np.isfinite(penalty.max()) or not solve(data, penalty, factor, beta):
        return np.inf, np.inf, np.inf
    root_of_covariance(factor, root)
    squares = within + residual_squares(start, rows, weight, mean, beta)
    edf = float(beta.size)
    diagonal = np.zeros(size)
    for c in range(beta.size):
        for i in range(min(c + 1, size)):
            diagonal[i] += root[c, i] * root[c, i]
    for i in range(size):
        edf -= penalty[i] * diagonal[i]
    n = weight.sum()
    if not edf < n:
        return np.inf, squares, edf
    return n * squares / (n - edf) ** 2, squares, edf


@njit(cache=True, nogil=True)
def newton_step(gradient: Floats, hessian: Floats, step: Floats) -> bool:
    """Fill `step` with -H^-1 g by Cholesky's factor; False where H is not positive definite."""
    m = gradient.size
    lower = np.zeros((m, m))
    for j in range(m):
        for k in range(j + 1):
            value = hessian[j, k]
            for i in range(k):
                value -= lower[j, i] * lower[k, i]
            if j > k:
                lower[j, k] = value / lower[k, k]
            elif value > 0.0:
                lower[j, j] = np.sqrt(value)
            else:
                return False
    for j in range(m):
        value = -gradient[j]
        for i in range(j):
            value -= lower[j, i] * step[i]
        step[j] = value / lower[j, j]
    for j in range(m - 1, -1, -1):
        value = step[j]
        for i in range(j + 1, m):
            value -= lower[i, j] * step[i]
        step[j] = value / lower[j, j]
    return True


@njit(cache=True, nogil=True)
def search(
    rho: Floats, weights: Floats, data: Floats, start: NDArray[np.int64], rows: Floats,
    weight: Floats, mean: Floats, within: float, tolerance: float, most: int, beta: Floats,
) -> tuple[float, float, float, int, int, float]:  # fmt: skip
    """Minimise GCV from `rho`, which is taken up, as is `beta`.

    Returns
    -------
    GCV, residual sum of squares, effective degrees of freedom, steps, evaluations, largest
    derivative.
    """
    m, size = weights.shape
    n = weight.sum()
    parts, factor = np.empty((m, size)), np.empty((size + 2, 5))
    root = np.empty((size + 2, size))
    trial_parts, trial_factor, trial_root = parts.copy(), factor.copy(), root.copy()
    trial_beta, trial = beta.copy(), rho.copy()
    gradient, hessian, step = np.empty(m), np.empty((m, m)), np.empty(m)
    best, squares, edf = score(
        rho, weights, data, start, rows, weight, mean, within, parts, factor, root, beta
    )
    calls, steps, largest = 1, 0, np.inf
    while steps < most and np.isfinite(best):
        derivatives(parts, root, beta, n, squares, edf, gradient, hessian)
        largest = np.abs(gradient).max()
        newton = newton_step(gradient, hessian, step)
        if newton:
            longest = np.abs(step).max()
            if longest > LONGEST_NEWTON:
                step *= LONGEST_NEWTON / longest
        moved = False
        gain = 0.0
        for attempt in range(2):
            if attempt == 1 or not newton:
                if largest == 0.0:
                    break
                step[:] = -gradient / largest
            allowed = NEWTON_TRIALS if newton and attempt == 0 else DESCENT_TRIALS
            for _ in range(allowed):
                trial[:] = rho + step
                value, trial_squares, trial_edf = score(
                    trial, weights, data, start, rows, weight, mean, within,
                    trial_parts, trial_factor, trial_root, trial_beta,
                )  # fmt: skip
                calls += 1
                if value < best:
                    moved = True
                    break
                step *= 0.5
            if moved or not newton:
                break
        if not moved:
            break
        steps += 1
        gain = best - value
        best, squares, edf = value, trial_squares, trial_edf
        rho[:], beta[:] = trial, trial_beta
        parts, trial_parts = trial_parts, parts
        factor, trial_factor = trial_factor, factor
        root, trial_root = trial_root, root
        if steps >= LEAST_STEPS and gain < tolerance * (1.0 + best):
            break
    if np.isfinite(best):
        derivatives(parts, root, beta, n, squares, edf, gradient, hessian)
        largest = np.abs(gradient).max()
        for j in range(m):
            stride = STRIDE if gradient[j] < 0.0 else -STRIDE
            for _ in range(MOST_STRIDES):
                trial[:] = rho
                trial[j] += stride
                value, trial_squares, trial_edf = score(
                    trial, weights, data, start, rows, weight, mean, within,
                    trial_parts, trial_factor, trial_root, trial_beta,
                )  # fmt: skip
                if not value < best:
                    break
                best, squares, edf = value, trial_squares, trial_edf
                rho[:], beta[:] = trial, trial_beta
    return best, squares, edf, steps, calls, largest


@njit(cache=True, nogil=True)
def polish(
    rho: Floats, weights: Floats, data: Floats, start: NDArray[np.int64], rows: Floats,
    weight: Floats, mean: Floats, within: float, most: int, beta: Floats,
) -> tuple[float, float, float, int, int, float]:  # fmt: skip
    """Go on from `rho` to a true minimum by damped Newton steps; as `search` otherwise."""
    m, size = weights.shape
    n = weight.sum()
    parts, factor = np.empty((m, size)), np.empty((size + 2, 5))
    root = np.empty((size + 2, size))
    trial, trial_beta, kept_parts, kept_root = rho.copy(), beta.copy(), parts.copy(), root.copy()
    gradient, hessian, step = np.empty(m), np.empty((m, m)), np.empty(m)
    best, squares, edf = score(
        rho, weights, data, start, rows, weight, mean, within, kept_parts, factor, kept_root, beta
    )
    calls, steps, largest, damping = 1, 0, np.inf, 0.0
    while steps < most and np.isfinite(best):
        derivatives(kept_parts, kept_root, beta, n, squares, edf, gradient, hessian)
        largest = np.abs(gradient).max()
        scale = np.abs(hessian).max()
        if largest <= LEAST_SLOPE * best:
            break
        moved = False
        for _ in range(DAMPINGS):
            damped = hessian + damping * np.eye(m)
            if newton_step(gradient, damped, step):
                longest = np.abs(step).max()
                if longest > LONGEST_NEWTON:
                    step *= LONGEST_NEWTON / longest
                trial[:] = rho + step
                value, trial_squares, trial_edf = score(
                    trial, weights, data, start, rows, weight, mean, within,
                    parts, factor, root, trial_beta,
                )  # fmt: skip
                calls += 1
                if value < best:
                    moved = True
                    break
            damping = max(4.0 * damping, 1e-4 * scale)
        if not moved:
            break
        steps += 1
        damping = damping / 8.0 if damping > 1e-5 * scale else 0.0
        best, squares, edf = value, trial_squares, trial_edf
        rho[:], beta[:] = trial, trial_beta
        parts, kept_parts = kept_parts, parts
        root, kept_root = kept_root, root
    return best, squares, edf, steps, calls, largest
