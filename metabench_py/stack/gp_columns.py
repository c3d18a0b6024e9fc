"""The sparse process as a ridge regression: its columns, and what they miss.

Constant, features, responses and the smooth kernels' inducing columns, each of unit prior variance.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from metabench_py.irt.model import Floats
from metabench_py.stack.evidence import JITTER, Settings
from metabench_py.stack.gp import Inducing, item_distances
from metabench_py.stack.gp_data import GpData

# Standard deviation of the constant, in those of the scores.
CONSTANT = 10.0


class Columns:
    """The columns of some LLMs.

    Attributes
    ----------
    settings, kernel, points
        Hyperparameters, the smooth parts' kernel, inducing points.
    design
        Shape (n, n_columns).
    missed
        Variance of each LLM that the inducing columns do not have, shape (n,).
    """

    def __init__(self, data: GpData, settings: Settings, points: Inducing) -> None:
        from scipy.linalg import cholesky, solve_triangular

        # A feature that does not vary here may do so in a new LLM, and must not count then.
        kernel = settings.kernel()
        kernel = self.kernel = replace(kernel, rates=kernel.rates * data.varying)
        self.settings, self.points = settings, points
        self.slope = np.sqrt(settings.values("slope"))
        share = settings.values("item_slope") / np.array(data.sizes, np.float64)
        self.item_slope = np.sqrt(np.repeat(share, data.sizes))
        self.item_mean = data.responses.mean(axis=0)
        among = kernel.between(
            points.features,
            points.features,
            item_distances(points.responses, points.responses, data.sizes),
        )
        among[np.diag_indices(len(points))] += JITTER * kernel.variance
        self.lower = cholesky(among, lower=True)
        near = kernel.between(
            data.standard,
            points.features,
            item_distances(data.responses, points.responses, data.sizes),
        )
        smooth = solve_triangular(self.lower, near.T, lower=True).T
        self.missed = np.maximum(kernel.variance - (smooth**2).sum(axis=1), 0.0)
        self.design = np.concatenate(
            [
                np.full((len(near), 1), CONSTANT),
                data.standard * self.slope,
                data.centred * self.item_slope,
                smooth,
            ],
            axis=1,
        )

    def unpack(self, solution: Floats) -> tuple[float, Floats, Floats, Floats]:
        """Give constant, slopes of features and items, and weights of the inducing points."""
        from scipy.linalg import solve_triangular

        f, i = len(self.slope), len(self.item_slope)
        item_slopes = solution[1 + f : 1 + f + i] * self.item_slope
        weights = solve_triangular(self.lower, solution[1 + f + i :], lower=True, trans="T")
        constant = float(CONSTANT * solution[0] - self.item_mean @ item_slopes)
        return constant, solution[1 : 1 + f] * self.slope, item_slopes, weights
