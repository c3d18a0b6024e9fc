"""Ridge fits of additive splines; penalties by grouped folds."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench_py.irt.model import Floats
from metabench_py.stack.spline import SplineBasis, SplineModel, wiggliness

# Penalties of the bend and of the size, per LLM and in units of standardised features.
BENDS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
SIZES = (1e-4, 1e-3, 1e-2)
KNOTS, FEW_KNOTS, FEW_LLMS = 12, 5, 1000


def fit_splines(
    features: Floats, truth: Floats, fold: NDArray[np.int64]
) -> tuple[SplineModel, Floats, dict[str, Any]]:
    """Choose penalties by folds for each output, then fit on all.

    Returns
    -------
    The model, its held-out predictions, shape (n, n_outputs), and the penalties for the report.
    """
    n_knots = KNOTS if len(features) >= FEW_LLMS else FEW_KNOTS
    grid = [(bend, size) for bend in BENDS for size in SIZES]
    held_out = np.zeros((len(grid), *truth.shape))
    for k in np.unique(fold):
        rest = fold != k
        design = _Design(features[rest], truth[rest], n_knots)
        columns = design.basis.columns(features[~rest])
        for i, penalty in enumerate(grid):
            intercept, coefficients = design.solve(*penalty)
            held_out[i][~rest] = intercept + columns @ coefficients
    best = np.argmin(((held_out - truth) ** 2).mean(axis=1), axis=0)
    design = _Design(features, truth, n_knots)
    intercept = np.zeros(truth.shape[1])
    coefficients = np.zeros((design.basis.width, truth.shape[1]))
    for i in np.unique(best):
        these = best == i
        every, each = design.solve(*grid[i])
        intercept[these], coefficients[:, these] = every[these], each[:, these]
    chosen = held_out[best, :, np.arange(truth.shape[1])].T
    report = {"bend": [grid[i][0] for i in best], "size": [grid[i][1] for i in best]}
    return SplineModel(design.basis, intercept, coefficients), chosen, report


def fit_spline(
    features: Floats, truth: Floats, n_knots: int, penalty: tuple[float, float]
) -> SplineModel:
    """Fit with given penalties."""
    design = _Design(features, truth, n_knots)
    return SplineModel(design.basis, *design.solve(*penalty))


class _Design:
    """Normal equations of the additive model."""

    def __init__(self, features: Floats, truth: Floats, n_knots: int) -> None:
        self.basis = SplineBasis.at_quantiles(features, n_knots)
        columns = self.basis.columns(features)
        self.n = len(features)
        self.mean, self.truth_mean = columns.mean(axis=0), truth.mean(axis=0)
        centred = columns - self.mean
        self.gram = centred.T @ centred
        self.moment = centred.T @ (truth - self.truth_mean)
        width = self.basis.width
        self.bend, self.size = np.zeros((width, width)), np.zeros((width, width))
        at = 0
        for column, knots in zip(features.T, self.basis.knots, strict=True):
            m = len(knots)
            if m == 0:
                continue
            span = float(column.std())
            block = slice(at, at + m)
            self.bend[block, block] = wiggliness(knots) * span**3
            centre = np.eye(m) - 1.0 / m
            # Every curve's mean over its knots is held at 0, else curves could trade constants.
            self.size[block, block] = centre / m + 10.0 / m**2
            at += m

    def solve(self, bend: float, size: float) -> tuple[Floats, Floats]:
        """Give intercepts and coefficients."""
        penalised = self.gram + self.n * (bend * self.bend + size * self.size)
        coefficients: Floats = np.linalg.solve(penalised, self.moment)
        return self.truth_mean - self.mean @ coefficients, coefficients
