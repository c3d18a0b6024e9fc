"""Where inducing points lie: moved to greater marginal likelihood.

The sparse process's own likelihood (FITC; Snelson & Ghahramani 2006) says where points tell most
of the scores, which means of LLMs near each other do not. On features alone the hyperparameters
move with them; with item responses they stay, as new organisations' LLMs were predicted worse by
hyperparameters that siblings had a say in.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench_py.irt.model import Floats
from metabench_py.stack.evidence import JITTER, Settings, log_prior
from metabench_py.stack.gp import ROOT3, Inducing, item_distances, matern, squared_distance
from metabench_py.stack.gp_columns import CONSTANT
from metabench_py.stack.gp_data import GpData

# Steps of Adam (Kingma & Ba 2015), and how far one goes in deviations of a feature; twice as many
# predicted no better.
STEPS, RATE = 20, 0.05
DECAY = (0.9, 0.99)
# Leading axes of the responses' linear part; what is beyond them counts as noise here.
ITEM_AXES = 100
# In deviations of a feature.
LEAST_APART = 0.01


@dataclass(frozen=True, eq=False)
class Fixed:
    """What stays where it is while the points move.

    Attributes
    ----------
    columns
        Of unit prior variance: the constant and the linear part of the responses, shape
        (n, n_columns).
    near, among
        Covariances by responses, with the points and among them, shapes (n, m) and (m, m).
    extra
        Variance by responses of one LLM that the columns do not have, shape (n,).
    copies
        Size of each LLM's near-duplicate cluster, shape (n,).
    relative
        Each LLM's noise variance is the noise times this, shape (n,).
    """

    columns: Floats
    near: Floats
    among: Floats
    extra: Floats
    copies: Floats
    relative: Floats


class SparseEvidence:
    """Negative log posterior density of points and hyperparameters, and its gradient."""

    def __init__(self, standard: Floats, truth: Floats, fixed: Fixed, settings: Settings) -> None:
        self.standard, self.truth, self.fixed, self.settings = standard, truth, fixed, settings

    def __call__(self, logs: Floats, points: Floats) -> tuple[float, Floats, Floats]:
        """Evaluate.

        Parameters
        ----------
        logs
            Hyperparameters, as in `Settings`; those of responses get no gradient.
        points
            Standardised features, shape (m, n_features).
        """
        from scipy.linalg import cho_factor, cho_solve, cholesky, solve_triangular

        settings, x, fixed = replace(self.settings, logs=logs), self.standard, self.fixed
        amplitude, noise = settings.one("amplitude"), settings.one("noise")
        rates, slope = settings.values("rate"), np.sqrt(settings.values("slope"))
        near, near_decay = _matern(x, points, rates, amplitude)
        among, among_decay = _matern(points, points, rates, amplitude)
        total = among + fixed.among
        total[np.diag_indices(len(points))] += JITTER * settings.kernel().variance
        lower = cholesky(total, lower=True)
        smooth = solve_triangular(lower, (near + fixed.near).T, lower=True).T
        own = amplitude + settings.one("item_amplitude")
        missed = np.maximum(own - (smooth**2).sum(axis=1), 0.0)
        each = (missed + noise * fixed.relative + fixed.extra) * fixed.copies
        linear = x * slope
        design = np.concatenate([fixed.columns, linear, smooth], axis=1)
        weighted = design / np.sqrt(each)[:, None]
        inner = weighted.T @ weighted
        inner[np.diag_indices(len(inner))] += 1.0
        factor = cho_factor(inner, lower=True)
        scaled = design / each[:, None]
        solved = cho_solve(factor, scaled.T).T
        weights = self.truth / each - solved @ (scaled.T @ self.truth)
        prior, prior_slope = log_prior(settings)
        value = (
            0.5 * (self.truth @ weights + np.log(each).sum())
            + np.log(np.diag(factor[0])).sum()
            + prior
        )
        # By the design, and by each LLM's own variance.
        pull = solved - np.outer(weights, weights @ design)
        by_each = 0.5 * fixed.copies * ((1.0 - (solved * design).sum(axis=1)) / each - weights**2)
        first = fixed.columns.shape[1]
        by_smooth = pull[:, first + x.shape[1] :] - 2.0 * (by_each * (missed > 0))[:, None] * smooth
        by_near = solve_triangular(lower, by_smooth.T, lower=True, trans="T").T
        by_among = -0.5 * solve_triangular(lower, smooth.T @ by_near, lower=True, trans="T")
        gradient = np.zeros_like(logs)

        def put(kind: str, slope: Any) -> None:
            gradient[settings.where(kind)] = slope

        put("noise", noise * (by_each @ fixed.relative))
        put("slope", 0.5 * (pull[:, first : first + x.shape[1]] * linear).sum(axis=0))
        put(
            "amplitude",
            (by_near * near).sum()
            + (by_among * among).sum()
            + amplitude * (JITTER * np.trace(by_among) + (by_each * (missed > 0)).sum()),
        )
        near_mass, among_mass = by_near * near_decay, by_among * among_decay
        put(
            "rate",
            -1.5 * rates * (_squares(near_mass, x, points) + _squares(among_mass, points, points)),
        )
        moved = near_mass.sum(axis=0)[:, None] * points - near_mass.T @ x
        both = among_mass + among_mass.T
        moved += both.sum(axis=0)[:, None] * points - both @ points
        return float(value), gradient + prior_slope, -3.0 * rates * moved


def placed(
    data: GpData, score: Floats, relative: Floats, start: Settings, rows: NDArray[np.bool_]
) -> tuple[Settings, Inducing]:
    """Move the features of the inducing points up the likelihood.

    Hyperparameters go with them where there are no responses.

    Parameters
    ----------
    score
        Of mean 0 and variance 1, shape (n,).
    relative
        Each LLM's noise variance is the noise times this, shape (n,).
    rows
        LLMs that the likelihood sees, shape (n,).
    """
    points = data.inducing
    evidence = SparseEvidence(
        data.standard[rows], score[rows], fixed_parts(data, relative, start, rows), start
    )
    n_logs = len(start.logs)
    at = np.concatenate([start.logs, points.features.ravel()])
    mean, square = np.zeros_like(at), np.zeros_like(at)
    for step in range(1, STEPS + 1):
        _, by_logs, by_points = evidence(at[:n_logs], at[n_logs:].reshape(points.features.shape))
        if data.sizes:
            by_logs = np.zeros_like(by_logs)
        slope = np.concatenate([by_logs, by_points.ravel()])
        mean = DECAY[0] * mean + (1.0 - DECAY[0]) * slope
        square = DECAY[1] * square + (1.0 - DECAY[1]) * slope**2
        speed = np.sqrt(square / (1.0 - DECAY[1] ** step)) + 1e-8
        at -= RATE * mean / (1.0 - DECAY[0] ** step) / speed
    moved = at[n_logs:].reshape(points.features.shape)
    # A point that has come to an LLM stays the mean that it was.
    apart = np.sqrt(squared_distance(moved, data.standard).min(axis=1))
    moved = np.where((apart < LEAST_APART)[:, None], points.features, moved)
    rounded = moved.astype(np.float32).astype(np.float64)
    return replace(start, logs=at[:n_logs]), Inducing(rounded, points.responses)


def fixed_parts(
    data: GpData, relative: Floats, settings: Settings, rows: NDArray[np.bool_]
) -> Fixed:
    """Work out what stays while the points move; see `placed`."""
    points, answers = data.inducing.responses, data.responses[rows]
    share = settings.values("item_slope") / np.array(data.sizes, np.float64)
    scaled = data.centred[rows] * np.sqrt(np.repeat(share, data.sizes))
    _, axes = np.linalg.eigh(scaled.T @ scaled)
    axes = axes[:, ::-1][:, :ITEM_AXES]
    leading = scaled @ axes
    extra = np.maximum((scaled**2).sum(axis=1) - (leading**2).sum(axis=1), 0.0)
    near, among = (
        settings.one("item_amplitude")
        * matern(
            np.tensordot(settings.values("item_rate"), item_distances(a, points, data.sizes), 1)
        )
        for a in (answers, points)
    )
    constant = np.full((len(answers), 1), CONSTANT)
    return Fixed(
        np.concatenate([constant, leading], axis=1),
        near,
        among,
        extra,
        data.copies[rows],
        relative[rows],
    )


def _matern(one: Floats, other: Floats, rates: Floats, amplitude: float) -> tuple[Floats, Floats]:
    """Covariances, and their derivative by the squared distance over -3/2."""
    root = np.sqrt(rates)
    r = ROOT3 * np.sqrt(squared_distance(one * root, other * root))
    decay = amplitude * np.exp(-r)
    return (1.0 + r) * decay, decay


def _squares(mass: Floats, one: Floats, other: Floats) -> NDArray[np.float64]:
    """Sum of mass times squared difference, by feature."""
    found: Floats = (
        mass.sum(axis=1) @ one**2
        + mass.sum(axis=0) @ other**2
        - 2.0 * (one * (mass @ other)).sum(axis=0)
    )
    return found
