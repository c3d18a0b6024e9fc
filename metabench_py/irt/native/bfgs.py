"""The M-step's search: one variable-metric minimisation over all items.

Nash (1979), Compact Numerical Methods for Computers, algorithm 21: BFGS from the identity,
backtracking without a curvature condition, restarts from the identity. The inverse Hessian is
kept as its few updates (Nocedal 1980), which gives the same directions in a fraction of the time.
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
# Nodes that fewer than this many LLMs are expected at say nothing.
_NEGLIGIBLE = 1e-14


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
    peopled = np.flatnonzero((right + wrong).sum(axis=0) > _NEGLIGIBLE)
    part = slice(peopled[0], peopled[-1] + 1)
    return _minimise(
        start,
        size,
        np.ascontiguousarray(nodes[part]),
        np.ascontiguousarray(right[:, part]).ravel(),
        np.ascontiguousarray(wrong[:, part]).ravel(),
        max_iterations,
    )


def largest_derivative(x: Floats, size: int, nodes: Floats, right: Floats, wrong: Floats) -> float:
    """Largest absolute derivative of the objective at `x`; arguments as for `minimise`."""
    work = np.empty((4, right.size))
    slope = np.empty(x.size)
    value(x, size, nodes, right.ravel(), wrong.ravel(), work)
    gradient(x, size, nodes, right.ravel(), wrong.ravel(), work, slope)
    return float(np.abs(slope).max())


@njit(cache=True)
def _minimise(
    start: Floats, size: int, nodes: Floats, right: Floats, wrong: Floats, max_iterations: int
) -> Floats:
    n = start.size
    work = np.empty((4, right.size))
    x = start.copy()
    previous = np.empty(n)
    slope = np.empty(n)
    steps = np.empty((max_iterations, n))
    changes = np.empty((max_iterations, n))
    curvatures = np.empty(max_iterations)
    known = 0
    best = value(x, size, nodes, right, wrong, work)
    current = best
    gradient(x, size, nodes, right, wrong, work, slope)
    gradients = 1
    while True:
        previous[:] = x
        step = _direction(slope, steps[:known], changes[:known], curvatures[:known])
        descent = np.sum(step * slope)
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
                current = value(x, size, nodes, right, wrong, work)
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
                changes[known] = slope
                gradient(x, size, nodes, right, wrong, work, slope)
                gradients += 1
                steps[known] = length * step
                changes[known] = slope - changes[known]
                curvatures[known] = np.sum(steps[known] * changes[known])
                known = known + 1 if curvatures[known] > 0.0 else 0
        if not moved:
            if known == 0:
                break
            known = 0
        if gradients >= max_iterations:
            break
        if known > 2 * n:
            known = 0
    return x


@njit(cache=True)
def _direction(slope: Floats, steps: Floats, changes: Floats, curvatures: Floats) -> Floats:
    """Give minus the inverse Hessian times the slope, from the updates so far."""
    result = -slope
    weights = np.empty(len(steps))
    for k in range(len(steps) - 1, -1, -1):
        weights[k] = np.sum(steps[k] * result) / curvatures[k]
        result -= weights[k] * changes[k]
    for k in range(len(steps)):
        result += (weights[k] - np.sum(changes[k] * result) / curvatures[k]) * steps[k]
    return result
