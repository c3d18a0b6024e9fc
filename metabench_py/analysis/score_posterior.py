"""Posterior of an LLM's score from its answers, by the items' curves and a prior.

As ``analysis/logistic.R`` of the original, which takes its mode.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metabench_py.analysis.kernel_density import density
from metabench_py.analysis.logistic_fit import LogisticCurves, log_shares
from metabench_py.irt.model import Floats

# A density of 0 keeps a logarithm.
_FEW = 1e-300


@dataclass(frozen=True, eq=False)
class ScorePosterior:
    """Posterior of scores from answers.

    Attributes
    ----------
    grid
        Scores, shape (n_points,).
    log_prior
        Shape (n_points,).
    right, wrong
        Log-probabilities of either answer, shape (n_items, n_points).
    """

    grid: Floats
    log_prior: Floats
    right: Floats
    wrong: Floats

    @classmethod
    def of(cls, curves: LogisticCurves, score: Floats, points: int = 1024) -> ScorePosterior:
        """Make it of the training LLMs' curves and scores (0-100)."""
        grid = np.linspace(0.0, 100.0, points)
        right, wrong = log_shares(curves.logits(grid).T)
        prior = density(score, points, 0.0, 100.0)
        return cls(grid, np.log(np.maximum(prior, _FEW)), right, wrong)

    def log_posterior(self, answers: NDArray[np.int8], columns: Sequence[int]) -> Floats:
        """Up to a constant an LLM, shape (n_llms, n_points); `columns` of the items answered."""
        at = list(columns)
        given = answers[:, at].astype(np.float64)
        found: Floats = (
            given @ (self.right[at] - self.wrong[at]) + self.wrong[at].sum(axis=0) + self.log_prior
        )
        return found

    def predict(
        self, answers: NDArray[np.int8], columns: Sequence[int]
    ) -> tuple[Floats, Floats, Floats]:
        """Mode, mean and standard deviation of the score, shape (n_llms,) each."""
        logs = self.log_posterior(answers, columns)
        mode = self.grid[logs.argmax(axis=1)]
        weight = np.exp(logs - logs.max(axis=1, keepdims=True))
        weight /= weight.sum(axis=1, keepdims=True)
        mean = weight @ self.grid
        variance = weight @ self.grid**2 - mean**2
        return mode, mean, np.sqrt(np.maximum(variance, 0.0))
