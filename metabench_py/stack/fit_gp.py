"""Fitting the sparse Gaussian process: FITC with the linear parts kept in full.

Snelson & Ghahramani (2006). In weights, not functions: a ridge regression on features, responses
and the smooth kernels' inducing columns, where each LLM's noise has what the inducing points miss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from metabench_py.irt.model import Floats
from metabench_py.stack.evidence import JITTER, Settings, optimise, representative
from metabench_py.stack.gp import GaussianProcess, Inducing, Kernel, item_distances
from metabench_py.stack.inducing import inducing_points

# LLMs that the marginal likelihood looks at.
MOST_LIKELIHOOD = 800
# The likelihood's noise is multiplied by the one of these that predicts other groups best.
NOISES = (0.5, 1.0, 2.0, 4.0, 8.0)
# Standard deviation of the constant, in those of the scores.
CONSTANT = 10.0


@dataclass(frozen=True, eq=False)
class GpData:
    """What all outputs share.

    Attributes
    ----------
    mean, deviation
        Of the features; where one is constant, 1.
    varying
        1 for a feature that is not constant, else 0, shape (n_features,).
    standard
        Standardised features, shape (n, n_features).
    responses, sizes
        Shape (n, n_items), and items a benchmark.
    inducing
        Made-up LLMs.
    fold
        Fold of each LLM, shape (n,).
    copies
        Size of each LLM's near-duplicate cluster, shape (n,): together they count as one.
    chosen
        LLMs for the likelihood.
    """

    mean: Floats
    deviation: Floats
    varying: Floats
    standard: Floats
    responses: Floats
    sizes: tuple[int, ...]
    inducing: Inducing
    fold: NDArray[np.int64]
    copies: Floats
    chosen: NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class GpChoice:
    """Hyperparameters of one output.

    Attributes
    ----------
    settings
        By marginal likelihood.
    noise
        Its factor, by grouped folds.
    """

    settings: Settings
    noise: float


@dataclass(frozen=True, eq=False)
class GpOutput:
    """One output of the process.

    Attributes
    ----------
    held_out
        Prediction from the other folds, shape (n,).
    fitted
        Prediction of all LLMs by the fit without each fold, the fit on all last, shape
        (n_folds + 1, n).
    """

    choice: GpChoice
    kernel: Kernel
    constant: float
    slopes: Floats
    item_slopes: Floats
    weights: Floats
    held_out: Floats
    fitted: Floats


def gp_data(
    features: Floats,
    responses: Floats,
    sizes: Sequence[int],
    groups: NDArray[np.int64],
    clusters: NDArray[np.int64],
    fold: NDArray[np.int64],
    seed: int,
) -> GpData:
    """Standardise, and choose inducing points and the LLMs for the likelihood."""
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    varying = deviation > 1e-9
    deviation = np.where(varying, deviation, 1.0)
    standard = (features - mean) / deviation
    _, number, copies = np.unique(clusters, return_inverse=True, return_counts=True)
    return GpData(
        mean,
        deviation,
        varying.astype(np.float64),
        standard,
        responses,
        tuple(sizes),
        inducing_points(standard, responses, seed),
        fold,
        copies[number].astype(np.float64),
        representative(groups, clusters, MOST_LIKELIHOOD, seed),
    )


def fit_output(data: GpData, truth: Floats, choice: GpChoice | None = None) -> GpOutput:
    """Fit one output (a worker calls it).

    Parameters
    ----------
    truth
        Scores, shape (n,).
    choice
        Hyperparameters of an earlier fit; None: find them.
    """
    centre, unit = float(truth.mean()), float(truth.std()) or 1.0
    score = (truth - centre) / unit
    centred = data.responses - data.responses.mean(axis=0)
    if choice is None:
        some = data.chosen
        settings = optimise(data.standard[some], centred[some], data.sizes, score[some])
    else:
        settings = choice.settings
    columns = _Columns(data, centred, settings)
    design, scales = columns.design, 1.0 / (columns.missed + settings.one("noise")) / data.copies
    weighted = design * np.sqrt(scales)[:, None]
    moments, grams = [], []
    folds = np.unique(data.fold)
    for k in folds:
        own = data.fold == k
        grams.append(weighted[own].T @ weighted[own])
        moments.append(weighted[own].T @ (score[own] * np.sqrt(scales[own])))
    gram, moment = sum(grams), sum(moments)
    noises = NOISES if choice is None else (choice.noise,)
    fitted = np.zeros((len(noises), len(folds), len(score)))
    for f, (own_gram, own_moment) in enumerate(zip(grams, moments, strict=True)):
        for i, noise in enumerate(noises):
            fitted[i, f] = design @ _ridge(gram - own_gram, moment - own_moment, noise)
    held_out = fitted[:, np.searchsorted(folds, data.fold), np.arange(len(score))]
    best = int(np.argmin(((held_out - score) ** 2 / data.copies).sum(axis=1)))
    solution = _ridge(gram, moment, noises[best])
    everybody = np.concatenate([fitted[best], (design @ solution)[None]])
    solution *= unit
    constant, slopes, item_slopes, weights = columns.unpack(solution)
    return GpOutput(
        GpChoice(settings, noises[best]),
        columns.kernel,
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
        data.inducing,
        tuple(o.kernel for o in outputs),
        np.array([o.constant for o in outputs]),
        np.column_stack([o.slopes for o in outputs]),
        np.column_stack([o.item_slopes for o in outputs]),
        np.column_stack([o.weights for o in outputs]),
    )


def _ridge(gram: Floats, moment: Floats, penalty: float) -> Floats:
    from scipy.linalg import cho_factor, cho_solve

    shrunk = gram.copy()
    shrunk[np.diag_indices(len(gram))] += penalty
    solved: Floats = cho_solve(cho_factor(shrunk, lower=True, overwrite_a=True), moment)
    return solved


class _Columns:
    """The design: constant, features, responses, inducing columns, each of unit prior variance."""

    def __init__(self, data: GpData, centred: Floats, settings: Settings) -> None:
        from scipy.linalg import cholesky, solve_triangular

        # A feature that does not vary here may do so in a new LLM, and must not count then.
        kernel = settings.kernel()
        kernel = self.kernel = replace(kernel, rates=kernel.rates * data.varying)
        points = data.inducing
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
                centred * self.item_slope,
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
