"""Minimum-residual factors and their oblique rotation, in NumPy alone."""

from __future__ import annotations

import numpy as np

from metabench_py.errors import ConvergenceError
from metabench_py.irt.model import Floats

# As psych: no variable is explained altogether.
LEAST_UNIQUENESS = 0.005
_MOST_STEPS = 500
_FLAT = 1e-10
_SHORTEST = 1e-10
_ROTATION_STEPS = 5000
_ROTATED = 1e-7


def minres(correlation: Floats, n_factors: int) -> tuple[Floats, Floats]:
    """Find loadings that leave the smallest squared residuals off the diagonal.

    Unweighted least squares over the uniquenesses alone, by Gauss-Newton steps (Harman & Jones
    1966; Joreskog 1977), from squared multiple correlations.

    Parameters
    ----------
    correlation
        Shape (n_variables, n_variables), positive definite.

    Returns
    -------
    loadings
        Shape (n_variables, n_factors), unrotated; every column sums to 0 or more.
    uniquenesses
        Shape (n_variables,).

    Raises
    ------
    ConvergenceError
        The search does not come to rest.
    """
    psi = np.clip(1.0 / np.diag(np.linalg.inv(correlation)), LEAST_UNIQUENESS, 1.0)
    for _ in range(_MOST_STEPS):
        value, gradient, curvature = _least_squares(correlation, psi, n_factors)
        held = ((psi <= LEAST_UNIQUENESS) & (gradient > 0)) | ((psi >= 1.0) & (gradient < 0))
        free = ~held
        if not free.any() or np.abs(gradient[free]).max() < _FLAT:
            break
        step = np.zeros_like(psi)
        matrix = curvature[np.ix_(free, free)]
        matrix = matrix + 1e-8 * np.eye(len(matrix))
        step[free] = -np.linalg.solve(matrix, gradient[free])
        length = 1.0
        while length > _SHORTEST:
            moved = np.clip(psi + length * step, LEAST_UNIQUENESS, 1.0)
            if _least_squares(correlation, moved, n_factors)[0] < value:
                break
            length /= 2.0
        else:
            # Rounding hides any further gain.
            break
        psi = moved
    else:
        raise ConvergenceError(
            f"Minimum residuals with {n_factors} factors did not come to rest in {_MOST_STEPS} "
            "steps; ask for fewer factors.",
            n_factors=n_factors,
        )
    values, vectors = np.linalg.eigh(correlation - np.diag(psi))
    top = np.argsort(values)[::-1][:n_factors]
    loadings: Floats = vectors[:, top] * np.sqrt(np.maximum(values[top], 0.0))
    loadings = loadings * _signs(loadings)
    return loadings, 1.0 - (loadings**2).sum(axis=1)


def _least_squares(
    correlation: Floats, psi: Floats, n_factors: int
) -> tuple[float, Floats, Floats]:
    """Half the sum of the squared eigenvalues that the factors leave, with its derivatives."""
    values, vectors = np.linalg.eigh(correlation - np.diag(psi))
    # A negative eigenvalue among the first leaves nothing for its factor.
    rest, basis = values[:-n_factors], vectors[:, :-n_factors]
    value = 0.5 * float(rest @ rest)
    gradient: Floats = -(basis**2) @ rest
    curvature: Floats = (basis @ basis.T) ** 2
    return value, gradient, curvature


def oblimin(loadings: Floats) -> tuple[Floats, Floats]:
    """Turn factors to a simple structure, oblique: direct quartimin (oblimin with gamma 0).

    Gradient projection (Jennrich 2002). Factors come in the order of their squared loadings.

    Returns
    -------
    loadings
        Shape (n_variables, n_factors).
    phi
        Correlations of the factors, shape (n_factors, n_factors).

    Raises
    ------
    ConvergenceError
        The search does not come to rest.
    """
    n = loadings.shape[1]
    if n == 1:
        return loadings, np.eye(1)
    turn = np.eye(n)
    step = 1.0
    rotated, value, slope = _quartimin(loadings, turn)
    for _ in range(_ROTATION_STEPS):
        projected = slope - turn * (turn * slope).sum(axis=0)
        size = float((projected**2).sum())
        if size < _ROTATED**2:
            break
        step *= 2.0
        while True:
            moved = turn - step * projected
            moved = moved / np.sqrt((moved**2).sum(axis=0))
            new = _quartimin(loadings, moved)
            if new[1] <= value - 0.5 * size * step or step < _SHORTEST:
                break
            step /= 2.0
        if not new[1] < value:
            # Rounding hides any further gain.
            break
        turn, (rotated, value, slope) = moved, new
    else:
        raise ConvergenceError(
            f"The oblique rotation of {n} factors did not come to rest in {_ROTATION_STEPS} steps; "
            "ask for fewer factors.",
            n_factors=n,
        )
    phi = turn.T @ turn
    order = np.argsort(-np.diag(phi @ rotated.T @ rotated), kind="stable")
    rotated, phi = rotated[:, order], phi[np.ix_(order, order)]
    signs = _signs(rotated)
    return rotated * signs, phi * np.outer(signs, signs)


def _quartimin(loadings: Floats, turn: Floats) -> tuple[Floats, float, Floats]:
    inverse = np.linalg.inv(turn)
    rotated: Floats = loadings @ inverse.T
    squares = rotated**2
    others = squares.sum(axis=1, keepdims=True) - squares
    value = 0.25 * float((squares * others).sum())
    slope: Floats = -(rotated.T @ (rotated * others) @ inverse).T
    return rotated, value, slope


def _signs(loadings: Floats) -> Floats:
    return np.where(loadings.sum(axis=0) < 0.0, -1.0, 1.0)
