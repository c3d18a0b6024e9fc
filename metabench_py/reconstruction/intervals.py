"""Intervals around a reconstructed score."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metabench_py.bundle.schema import ErrorTable
from metabench_py.irt.model import Floats

# The original's window around a prediction, in score points.
RADIUS = 2.0


def local_rmse(errors: ErrorTable, predicted: Floats, radius: float = RADIUS) -> Floats:
    """Root mean squared held-out error of the LLMs with near predictions, shape (n,).

    As ``get.local.rmse`` of the original: from the LLM whose prediction is nearest to
    predicted - radius to the one nearest to predicted + radius.
    """
    order = np.argsort(errors.predicted, kind="stable")
    seen = errors.predicted[order]
    total = np.concatenate([[0.0], np.cumsum(errors.error[order] ** 2)])
    first = _nearest(seen, predicted - radius)
    last = _nearest(seen, predicted + radius)
    result: Floats = np.sqrt((total[last + 1] - total[first]) / (last - first + 1))
    return result


def _nearest(ascending: Floats, wanted: Floats) -> NDArray[np.intp]:
    """Index of the nearest value; of equally near ones the first, as R's which.min."""
    right = np.clip(np.searchsorted(ascending, wanted), 0, len(ascending) - 1)
    left = np.maximum(right - 1, 0)
    nearer_left = np.abs(ascending[left] - wanted) <= np.abs(ascending[right] - wanted)
    # Of equal values the first.
    return np.searchsorted(ascending, ascending[np.where(nearer_left, left, right)])


def percentile(population: Floats, levels: Floats, score: Floats) -> Floats:
    """Percentage of the calibration LLMs with at most this score, shape (n,)."""
    return 100.0 * np.interp(score, population, levels)
