"""The M-step's search: one variable-metric minimisation over all items.

Nash (1979), Compact Numerical Methods for Computers, algorithm 21: inverse Hessian by the BFGS
formula from the identity, backtracking without a curvature condition, restarts from the identity.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from metabench_py.irt.model import Floats
from metabench_py.irt.native.objective import gradient, value

_SHRINK = 0.2
_ARMIJO = 1e-4
_RELATIVE_TOLERANCE = 1.4901161193847656e-8
# A coordinate that a step changes by less than one part in 1e15 of this has not moved.
_OFFSET = 10.0


@njit(cache=True)
def minimise(
    start: Floats, size: int, nodes: Floats, right: Floats, wrong: Floats, max_iterations: int
) -> Floats:
    """Minimise the M-step's objective from `start`; gives the last accepted point.

    Parameters
    ----------
    start
        Item parameters, shape (n_items * size,).
    right, wrong
        Expected answers, shape (n_items, n_nodes).
    max_iterations
        Gradients at most.
    """
    n = start.size
    share = np.empty_like(right)
    x = start.copy()
    previous = np.empty(n)
    slope = np.empty(n)
    change = np.empty(n)
    step = np.empty(n)
    inverse = np.empty((n, n))
    best = value(x, size, nodes, right, wrong, share)
    gradient(x, size, nodes, right, wrong, share, slope)
    current = best
    gradients = 1
    reset_at = 1
    while True:
        if reset_at == gradients:
            inverse[:] = 0.0
            for i in range(n):
                inverse[i, i] = 1.0
        previous[:] = x
        change[:] = slope
        _multiply(inverse, slope, step)
        descent = 0.0
        for i in range(n):
            step[i] = -step[i]
            descent += step[i] * slope[i]
        moved = False
        if descent < 0.0:
            length = 1.0
            accepted = False
            while True:
                moved = False
                for i in range(n):
                    x[i] = previous[i] + length * step[i]
                    moved = moved or _OFFSET + x[i] != _OFFSET + previous[i]
                if not moved:
                    break
                current = value(x, size, nodes, right, wrong, share)
                accepted = current <= best + descent * length * _ARMIJO
                if accepted:
                    break
                length *= _SHRINK
            gain = abs(current - best)
            enough = gain > _RELATIVE_TOLERANCE * (abs(best) + _RELATIVE_TOLERANCE)
            # Even a rejected value becomes the reference when it is this close (as in Nash).
            if accepted or not enough:
                best = current
            moved = accepted and enough
            if moved:
                gradient(x, size, nodes, right, wrong, share, slope)
                gradients += 1
                for i in range(n):
                    step[i] *= length
                    change[i] = slope[i] - change[i]
                if not _update(inverse, step, change):
                    reset_at = gradients
        if not moved:
            if reset_at == gradients:
                break
            reset_at = gradients
        if gradients >= max_iterations:
            break
        if gradients - reset_at > 2 * n:
            reset_at = gradients
    return x


@njit(cache=True)
def _multiply(matrix: Floats, vector: Floats, result: Floats) -> None:
    """Fill `result` with the product; row by row, so that the loop vectorises."""
    result[:] = 0.0
    for i in range(vector.size):
        factor = vector[i]
        for j in range(vector.size):
            result[j] += factor * matrix[i, j]


@njit(cache=True)
def _update(inverse: Floats, step: Floats, change: Floats) -> bool:
    """Update the inverse Hessian in place; False where the curvature is not positive."""
    curvature = 0.0
    for i in range(step.size):
        curvature += step[i] * change[i]
    if not curvature > 0.0:
        return False
    image = np.empty(step.size)
    _multiply(inverse, change, image)
    scale = 0.0
    for i in range(step.size):
        scale += image[i] * change[i]
    scale = 1.0 + scale / curvature
    for i in range(step.size):
        for j in range(step.size):
            inverse[i, j] += (
                scale * step[i] * step[j] - step[i] * image[j] - image[i] * step[j]
            ) / curvature
    return True
