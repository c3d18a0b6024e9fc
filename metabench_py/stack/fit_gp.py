"""Fitting the sparse Gaussian process: FITC with the linear parts kept in full.

Snelson & Ghahramani (2006). In weights, not functions: a ridge regression on features, responses
and the smooth kernels' inducing columns, where each LLM's noise has what the inducing points miss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metabench_py.irt.model import Floats
from metabench_py.stack.evidence import Settings, optimise
from metabench_py.stack.gp import GaussianProcess, Inducing, Kernel
from metabench_py.stack.gp_columns import Columns
from metabench_py.stack.gp_data import GpData
from metabench_py.stack.placement import placed

# The likelihood's noise is multiplied by the one of these that predicts other groups best.
NOISES = (0.5, 1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True, eq=False)
class GpOutput:
    """One output of the process.

    Attributes
    ----------
    settings, noise
        Hyperparameters by marginal likelihood, and the noise's factor by grouped folds.
    points
        Inducing points.
    held_out
        Prediction from the other folds, shape (n,).
    fitted
        Prediction of all LLMs by the fit without each fold, the fit on all last, shape
        (n_folds + 1, n).
    """

    settings: Settings
    noise: float
    points: Inducing
    kernel: Kernel
    constant: float
    slopes: Floats
    item_slopes: Floats
    weights: Floats
    held_out: Floats
    fitted: Floats


def fit_output(data: GpData, truth: Floats, relative: Floats, *, move: bool) -> GpOutput:
    """Fit one output (a worker calls it).

    Parameters
    ----------
    truth
        Scores, shape (n,).
    relative
        Each LLM's noise variance is the noise times this, shape (n,).
    move
        Place inducing points by likelihood. A fold is then predicted with points that were placed
        on half of the other folds, as points that have seen its scores would flatter.
    """
    centre, unit = float(truth.mean()), float(truth.std()) or 1.0
    score = (truth - centre) / unit
    some = data.chosen
    start = optimise(
        data.standard[some], data.centred[some], data.sizes, score[some], relative[some]
    )
    folds = np.unique(data.fold)

    def columns(rows: NDArray[np.bool_]) -> Columns:
        if not move:
            return Columns(data, start, data.inducing)
        return Columns(data, *placed(data, score, relative, start, rows))

    whole = _Ridge(data, columns(np.ones(len(score), dtype=bool)), score, relative)
    fitted = np.zeros((len(NOISES), len(folds), len(score)))
    for part in (0, 1):
        own = np.arange(len(folds)) % 2 == part
        ridge = whole
        if move:
            ridge = _Ridge(data, columns(~np.isin(data.fold, folds[own])), score, relative)
        for f in np.flatnonzero(own):
            for i, noise in enumerate(NOISES):
                fitted[i, f] = ridge.columns.design @ ridge.solve(noise, without=folds[f])
    held_out = fitted[:, np.searchsorted(folds, data.fold), np.arange(len(score))]
    best = int(np.argmin(((held_out - score) ** 2 / data.copies).sum(axis=1)))
    solution = whole.solve(NOISES[best])
    everybody = np.concatenate([fitted[best], (whole.columns.design @ solution)[None]])
    constant, slopes, item_slopes, weights = whole.columns.unpack(unit * solution)
    return GpOutput(
        whole.columns.settings,
        NOISES[best],
        whole.columns.points,
        whole.columns.kernel,
        centre + constant,
        slopes,
        item_slopes,
        weights,
        centre + unit * held_out[best],
        centre + unit * everybody,
    )


def join_outputs(data: GpData, outputs: Sequence[GpOutput]) -> GaussianProcess:
    """Put the outputs together."""
    return GaussianProcess(
        data.sizes,
        data.mean,
        data.deviation,
        tuple(o.points for o in outputs),
        tuple(o.kernel for o in outputs),
        np.array([o.constant for o in outputs]),
        np.column_stack([o.slopes for o in outputs]),
        np.column_stack([o.item_slopes for o in outputs]),
        np.column_stack([o.weights for o in outputs]),
    )


class _Ridge:
    """Ridge regressions on one set of columns, with all folds or without one."""

    def __init__(self, data: GpData, columns: Columns, score: Floats, relative: Floats) -> None:
        self.columns = columns
        noise = columns.settings.one("noise") * relative
        scales = 1.0 / (columns.missed + noise) / data.copies
        weighted, target = columns.design * np.sqrt(scales)[:, None], score * np.sqrt(scales)
        self.grams, self.moments = {}, {}
        for fold in np.unique(data.fold):
            own = data.fold == fold
            self.grams[fold] = weighted[own].T @ weighted[own]
            self.moments[fold] = weighted[own].T @ target[own]
        self.gram, self.moment = sum(self.grams.values()), sum(self.moments.values())

    def solve(self, penalty: float, *, without: np.int64 | None = None) -> Floats:
        """Give the coefficients of the columns."""
        from scipy.linalg import cho_factor, cho_solve

        gram, moment = self.gram.copy(), self.moment
        if without is not None:
            gram -= self.grams[without]
            moment = moment - self.moments[without]
        gram[np.diag_indices(len(gram))] += penalty
        solved: Floats = cho_solve(cho_factor(gram, lower=True, overwrite_a=True), moment)
        return solved
