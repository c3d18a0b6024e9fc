"""GCV of an adaptive spline anywhere, for tests of what the search found."""

from __future__ import annotations

import numpy as np

from metabench_py.gam.adaptive import penalty_weights
from metabench_py.gam.adaptive_core import derivatives, reduce_data, spline_rows
from metabench_py.gam.adaptive_fit import spaced_knots, starting_point
from metabench_py.gam.adaptive_search import score


class Criterion:
    """GCV and its derivatives at any smoothing parameters."""

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        values, group, counts = np.unique(x, return_inverse=True, return_counts=True)
        self.n = len(x)
        means = np.bincount(group, y) / counts
        start, rows = np.empty(len(values), np.int64), np.empty((len(values), 4))
        spline_rows(values, spaced_knots(values[0], values[-1], 40), start, rows)
        weight = counts.astype(float)
        self.weights = penalty_weights()
        self.start = starting_point(self.weights, start, rows, weight, 40)
        self.fixed = (
            reduce_data(start, rows, weight, means, 40),
            start,
            rows,
            weight,
            means,
            float(((y - means[group]) ** 2).sum()),
        )

    def at(self, rho: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        parts, root, beta = np.empty((5, 38)), np.empty((40, 38)), np.empty(40)
        gcv, squares, edf = score(
            rho, self.weights, *self.fixed, parts, np.empty((40, 5)), root, beta
        )
        slope, curve = np.empty(5), np.empty((5, 5))
        derivatives(parts, root, beta, float(self.n), squares, edf, slope, curve)
        return gcv, slope, curve
