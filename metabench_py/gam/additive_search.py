"""The search for the smoothing parameters of a sum of adaptive splines.

The same steps as `adaptive_search` takes for one term, on dense matrices.
"""

# mypy: disallow-untyped-decorators=False
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from metabench_py.gam.adaptive_search import (
    DESCENT_TRIALS,
    LEAST_STEPS,
    LONGEST_NEWTON,
    MOST_STRIDES,
    NEWTON_TRIALS,
    STRIDE,
    newton_step,
)
from metabench_py.irt.model import Floats

# A pivot this small beside the largest one determines no coefficient.
_SINGULAR = 1e-11


@dataclass(frozen=True, eq=False)
class Point:
    """GCV somewhere.

    Attributes
    ----------
    rho
        Logarithms of the smoothing parameters, shape (m,).
    gcv, squares, edf
        Infinite where no estimate is determined.
    beta
        Coefficients, shape (q,).
    parts
        exp(rho_j) v_j, shape (m, n_differences).
    root
        G' = (D R^-1)', shape (q, n_differences); P is GG'.
    """

    rho: Floats
    gcv: float
    squares: float
    edf: float
    beta: Floats
    parts: Floats
    root: Floats


@dataclass(frozen=True, eq=False)
class Found:
    """Where the search ended; see `AdditiveFit`."""

    rho: Floats
    gcv: float
    squares: float
    edf: float
    beta: Floats
    slope: float
    steps: int
    evaluations: int


class Problem:
    """Penalised least squares at any smoothing parameters.

    Parameters
    ----------
    design
        Intercept and all terms, shape (n, q).
    y
        Shape (n,).
    differences
        Of each term, shape (n_basis - 2, n_basis - 1).
    weights
        Of a term's penalties, shape (n_penalties, n_basis - 2).
    start
        Where the search begins, shape (m,).
    """

    def __init__(
        self, design: Floats, y: Floats, differences: Sequence[Floats], weights: Floats,
        start: Floats,
    ) -> None:  # fmt: skip
        (rows, columns), terms = differences[0].shape, len(differences)
        self.start, self.n, self.calls = start, len(y), 0
        self.differences = np.zeros((terms * rows, 1 + terms * columns))
        self.weights = np.zeros((terms * len(weights), terms * rows))
        for t, block in enumerate(differences):
            at = slice(t * rows, (t + 1) * rows)
            self.differences[at, 1 + t * columns : 1 + (t + 1) * columns] = block
            self.weights[t * len(weights) : (t + 1) * len(weights), at] = weights
        self._turned = np.ascontiguousarray(self.differences.T)
        # How many rows of D begin in each column or before it.
        first = np.repeat(1 + columns * np.arange(terms), rows)
        self._begun = np.searchsorted(first, np.arange(1 + terms * columns), side="right")
        # n observations are not needed any more, only the triangular factor of [X y].
        factor: Floats = np.asarray(np.linalg.qr(np.column_stack([design, y]), mode="r"))
        self._data = factor[: design.shape[1] + 1]
        self._stacked = np.zeros((terms * rows + len(self._data), design.shape[1] + 1))
        self._stacked[terms * rows :] = self._data

    def at(self, rho: Floats) -> Point:
        """Fit."""
        self.calls += 1
        with np.errstate(over="ignore"):
            parts = np.exp(rho)[:, None] * self.weights
        penalty = parts.sum(axis=0)
        q = self.differences.shape[1]
        nowhere = Point(rho, np.inf, np.inf, np.inf, np.empty(0), parts, np.empty(0))
        if not np.isfinite(penalty).all():
            return nowhere
        # The heaviest rows first, else they would wash out the digits of the light ones.
        order = np.argsort(-penalty, kind="stable")
        rows = self._stacked[: len(penalty), :q]
        np.multiply(np.sqrt(penalty[order])[:, None], self.differences[order], out=rows)
        factor: Floats = np.asarray(np.linalg.qr(self._stacked, mode="r"))
        pivots = np.abs(np.diagonal(factor)[:q])
        if not pivots.min() > _SINGULAR * pivots.max():
            return nowhere
        beta = _back(factor)
        root = _divide(self._turned, factor, self._begun)
        left = self._data[:, q] - self._data[:, :q] @ beta
        squares = float(left @ left)
        edf = q - float(penalty @ np.einsum("ij,ij->j", root, root))
        gcv = self.n * squares / (self.n - edf) ** 2 if edf < self.n else np.inf
        return Point(rho, gcv, squares, edf, beta, parts, root)

    def derivatives(self, at: Point) -> tuple[Floats, Floats]:
        """First and second derivatives of GCV by `rho`; see `adaptive_core.derivatives`."""
        parts, penalty = at.parts, at.parts.sum(axis=0)
        p = at.root.T @ at.root
        q = p - (p * penalty) @ p
        forces = parts * (self.differences @ at.beta)
        pulls = forces @ p
        pull = pulls.sum(axis=0)
        edf_slope = -parts @ np.diagonal(q)
        squares_slope = 2.0 * forces @ pull
        left = self.n - at.edf
        gradient = self.n * (squares_slope + 2.0 * at.squares * edf_slope / left) / left**2
        edf_curve = 2.0 * parts @ (p * q) @ parts.T + np.diag(edf_slope)
        mixed = (parts * pull) @ pulls.T
        squares_curve = 2.0 * (forces @ q @ forces.T - mixed - mixed.T) + np.diag(squares_slope)
        both = np.outer(squares_slope, edf_slope)
        value = squares_curve + 2.0 * (both + both.T + at.squares * edf_curve) / left
        value += 6.0 * at.squares * np.outer(edf_slope, edf_slope) / left**2
        return gradient, np.ascontiguousarray(self.n * value / left**2)


def search(problem: Problem, tolerance: float, most: int) -> Found:
    """Minimise GCV as `adaptive_search.search` does."""
    here = problem.at(problem.start)
    steps, largest = 0, np.inf
    while steps < most and np.isfinite(here.gcv):
        gradient, hessian = problem.derivatives(here)
        largest = float(np.abs(gradient).max())
        there = _lower(problem, here, gradient, hessian)
        if there is None:
            break
        steps += 1
        gain, here = here.gcv - there.gcv, there
        if steps >= LEAST_STEPS and gain < tolerance * (1.0 + here.gcv):
            break
    if np.isfinite(here.gcv):
        gradient, _ = problem.derivatives(here)
        largest = float(np.abs(gradient).max())
        here = _stride(problem, here, gradient)
    return Found(
        here.rho, here.gcv, here.squares, here.edf, here.beta, largest, steps, problem.calls
    )


def _lower(problem: Problem, here: Point, gradient: Floats, hessian: Floats) -> Point | None:
    """Take one step; None: no step makes GCV smaller."""
    step = np.empty(len(gradient))
    if newton_step(gradient, hessian, step):
        step *= min(1.0, LONGEST_NEWTON / np.abs(step).max())
        there = _halved(problem, here, step, NEWTON_TRIALS)
        if there is not None:
            return there
    largest = np.abs(gradient).max()
    if largest == 0.0:
        return None
    return _halved(problem, here, -gradient / largest, DESCENT_TRIALS)


def _halved(problem: Problem, here: Point, step: Floats, trials: int) -> Point | None:
    for number in range(trials):
        there = problem.at(here.rho + step * 0.5**number)
        if there.gcv < here.gcv:
            return there
    return None


def _stride(problem: Problem, here: Point, gradient: Floats) -> Point:
    for j, slope in enumerate(gradient):
        for _ in range(MOST_STRIDES):
            rho = here.rho.copy()
            rho[j] += STRIDE if slope < 0.0 else -STRIDE
            there = problem.at(rho)
            if not there.gcv < here.gcv:
                break
            here = there
    return here


@njit(cache=True, nogil=True)
def _back(factor: Floats) -> Floats:
    """Solve R b = f, R being the factor's first columns and f its last."""
    q = factor.shape[1] - 1
    beta = np.empty(q)
    for c in range(q - 1, -1, -1):
        total = factor[c, q]
        for k in range(c + 1, q):
            total -= factor[c, k] * beta[k]
        beta[c] = total / factor[c, c]
    return beta


@njit(cache=True, nogil=True)
def _divide(differences: Floats, factor: Floats, begun: NDArray[np.int64]) -> Floats:
    """Transpose of D R^-1 from that of D, whose column i is zero before begun[c] > i."""
    root = differences.copy()
    q = root.shape[0]
    for c in range(q):
        for i in range(begun[c]):
            root[c, i] /= factor[c, c]
        for k in range(c + 1, q):
            value = factor[c, k]
            for i in range(begun[c]):
                root[k, i] -= value * root[c, i]
    return root
