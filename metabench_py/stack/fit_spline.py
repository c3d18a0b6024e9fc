"""Ridge fits of additive splines; penalties by grouped folds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metabench_py.irt.model import Floats
from metabench_py.stack.spline import SplineBasis, SplineModel, wiggliness

# Penalties of the bend and of the size, per LLM and in units of standardised features.
BENDS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
SIZES = (1e-4, 1e-3, 1e-2)
Solver = Callable[[Floats], tuple[Floats, Floats]]
KNOTS, FEW_KNOTS, FEW_LLMS = 12, 5, 1000


@dataclass(frozen=True)
class SplineChoice:
    """Penalties of each output.

    Attributes
    ----------
    bend, size
        Of the curvature and of the knot values, per LLM.
    """

    bend: tuple[float, ...]
    size: tuple[float, ...]


def fit_splines(
    features: Floats,
    truth: Floats,
    fold: NDArray[np.int64],
    counts: Floats,
) -> tuple[SplineModel, Floats, SplineChoice]:
    """Choose penalties by folds for each output, then fit on all.

    Parameters
    ----------
    features, truth
        Shapes (n, n_features) and (n, n_outputs).
    fold, counts
        Fold and weight of each LLM, shape (n,).

    Returns
    -------
    The model, its held-out predictions, shape (n, n_outputs), and the penalties.
    """
    n_knots = KNOTS if len(features) >= FEW_LLMS else FEW_KNOTS
    grid = [(bend, size) for bend in BENDS for size in SIZES]
    held_out = np.zeros((len(grid), *truth.shape))
    for k in np.unique(fold):
        rest = fold != k
        design = Design(features[rest], n_knots, counts[rest])
        columns = design.basis.columns(features[~rest])
        for i, penalty in enumerate(grid):
            constant, coefficients = design.solver(*penalty)(truth[rest])
            held_out[i][~rest] = constant + columns @ coefficients
    best = np.argmin(((held_out - truth) ** 2 * counts[:, None]).sum(axis=1), axis=0)
    design = Design(features, n_knots, counts)
    constant = np.zeros(truth.shape[1])
    coefficients = np.zeros((design.basis.width, truth.shape[1]))
    for i in np.unique(best):
        these = best == i
        constant[these], coefficients[:, these] = design.solver(*grid[i])(truth[:, these])
    chosen = held_out[best, :, np.arange(truth.shape[1])].T
    found = SplineChoice(tuple(grid[i][0] for i in best), tuple(grid[i][1] for i in best))
    return SplineModel(design.basis, constant, coefficients), chosen, found


class Design:
    """An additive spline's columns and penalties.

    Attributes
    ----------
    basis
        With knots at the features' quantiles.
    columns
        Shape (n, width).
    """

    def __init__(self, features: Floats, n_knots: int, counts: Floats) -> None:
        self.basis = SplineBasis.at_quantiles(features, n_knots)
        self.columns = self.basis.columns(features)
        self.counts = counts / counts.mean()
        self.mean = self.counts @ self.columns / len(features)
        self.weighted = (self.columns - self.mean) * self.counts[:, None]
        self.gram = self.weighted.T @ (self.columns - self.mean)
        width = self.basis.width
        self.bend, self.size = np.zeros((width, width)), np.zeros((width, width))
        at = 0
        for column, knots in zip(features.T, self.basis.knots, strict=True):
            m = len(knots)
            if m == 0:
                continue
            block = slice(at, at + m)
            self.bend[block, block] = wiggliness(knots) * float(column.std()) ** 3
            centre = np.eye(m) - 1.0 / m
            # Every curve's mean over its knots is held at 0, else curves could trade constants.
            self.size[block, block] = centre / m + 10.0 / m**2
            at += m

    def solver(self, bend: float, size: float) -> Solver:
        """Give the function from outputs, shape (n, n_outputs), to constants and coefficients."""
        from scipy.linalg import cho_factor, cho_solve

        n = len(self.columns)
        factor = cho_factor(self.gram + n * (bend * self.bend + size * self.size))

        def solve(truth: Floats) -> tuple[Floats, Floats]:
            middle = self.counts @ truth / n
            coefficients: Floats = cho_solve(factor, self.weighted.T @ (truth - middle))
            return middle - self.mean @ coefficients, coefficients

        return solve
