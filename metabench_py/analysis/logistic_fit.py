"""Logistic regressions by Newton's method: many answers on one predictor, or one on many."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metabench_py.errors import ConvergenceError
from metabench_py.irt.model import Floats

# As R's glm, which stops there with separated data and warns.
_MOST_STEPS = 25
_STILL = 1e-10
# Logits per standard deviation of the predictor: beyond, one value of it parts right from wrong.
STEEP = 30.0


@dataclass(frozen=True, eq=False)
class LogisticCurves:
    """P(right) = 1 / (1 + exp(-(intercept + slope * x))), an item each; shape (n_items,).

    Attributes
    ----------
    slope, intercept
        Logits per unit of x, and at x = 0.
    se
        Standard error of the slope.
    explained
        Share of the deviance that x explains (McFadden's R^2).
    separated
        Whether a value of x parts right from wrong answers (nearly), so that the slope is only
        where the search was stopped.
    """

    slope: Floats
    intercept: Floats
    se: Floats
    explained: Floats
    separated: NDArray[np.bool_]

    def logits(self, x: Floats) -> Floats:
        """Logits at `x`, shape (n_x, n_items)."""
        found: Floats = np.multiply.outer(x, self.slope) + self.intercept
        return found


def fit_curves(x: Floats, answers: NDArray[np.int8]) -> LogisticCurves:
    """Regress each item's answers on `x`, as R's ``glm(y ~ x, family = binomial)``.

    Parameters
    ----------
    x
        Shape (n,), not all alike.
    answers
        1 right, 0 wrong, shape (n, n_items); each item has both.
    """
    centre, spread = float(x.mean()), float(x.std())
    z = (x - centre) / spread
    y = answers.astype(np.float64)
    share = y.mean(axis=0)
    level, slope = np.log(share / (1.0 - share)), np.zeros(y.shape[1])
    null = _log_likelihood(np.broadcast_to(level, y.shape), y)
    best = null.copy()
    still = np.zeros(y.shape[1], bool)
    square = z * z
    for _ in range(_MOST_STEPS):
        p = _share(np.multiply.outer(z, slope) + level)
        weight, left = p * (1.0 - p), y - p
        s0, s1, s2 = weight.sum(axis=0), z @ weight, square @ weight
        g0, g1 = left.sum(axis=0), z @ left
        determinant = s0 * s2 - s1 * s1
        usable = determinant > 0
        bottom = np.where(usable, determinant, 1.0)
        step0 = np.where(usable, (s2 * g0 - s1 * g1) / bottom, 0.0)
        step1 = np.where(usable, (s0 * g1 - s1 * g0) / bottom, 0.0)
        factor = np.ones_like(step0)
        for _ in range(20):
            new = _log_likelihood(
                np.multiply.outer(z, slope + factor * step1) + level + factor * step0, y
            )
            worse = new < best - 1e-9 * np.abs(best)
            if not worse.any():
                break
            factor = np.where(worse, factor / 2.0, factor)
        level, slope, best = level + factor * step0, slope + factor * step1, np.maximum(new, best)
        still = np.maximum(np.abs(step0), np.abs(step1)) < _STILL * (1.0 + np.abs(slope))
        if still.all():
            break
    with np.errstate(divide="ignore", invalid="ignore"):
        se = np.sqrt(np.where(usable, s0 / bottom, np.inf)) / spread
    return LogisticCurves(
        slope=slope / spread,
        intercept=level - slope * centre / spread,
        se=se,
        explained=1.0 - best / null,
        separated=~still | (np.abs(slope) > STEEP),
    )


@dataclass(frozen=True, eq=False)
class LogisticModel:
    """One answer from several predictors.

    Attributes
    ----------
    intercept, weights
        Logits; shape (n_predictors,).
    converged
        False: predictors part right from wrong, and nothing holds the weights back.
    """

    intercept: float
    weights: Floats
    converged: bool

    def predict(self, predictors: Floats) -> Floats:
        """Probability of a right answer, shape (n,)."""
        return _share(predictors @ self.weights + self.intercept)


def fit_logistic(predictors: Floats, answer: Floats, ridge: float = 0.0) -> LogisticModel:
    """Regress one answer on others, as R's ``glm(y ~ ., family = binomial)`` where `ridge` is 0.

    Parameters
    ----------
    predictors
        Shape (n, n_predictors).
    answer
        1 or 0, shape (n,).
    ridge
        Half of it times the squared weights (not the intercept's) is taken from the
        log-likelihood: a normal prior of variance 1 / `ridge`.

    Raises
    ------
    ConvergenceError
        Predictors depend on each other and `ridge` is 0.
    """
    n, p = predictors.shape
    design = np.column_stack([np.ones(n), predictors])
    penalty = np.full(p + 1, ridge)
    penalty[0] = 0.0
    share = float(answer.mean())
    beta = np.zeros(p + 1)
    beta[0] = np.log(share / (1.0 - share)) if 0.0 < share < 1.0 else 20.0 * (share - 0.5)
    best = _objective(design, answer, beta, penalty)
    still = False
    for _ in range(_MOST_STEPS):
        probability = _share(design @ beta)
        weight = probability * (1.0 - probability)
        curvature = design.T @ (weight[:, None] * design)
        curvature[np.diag_indices(p + 1)] += penalty
        slope = design.T @ (answer - probability) - penalty * beta
        try:
            step = np.linalg.solve(curvature, slope)
        except np.linalg.LinAlgError as error:
            raise ConvergenceError(
                "Predictors depend on each other; give a ridge above 0."
            ) from error
        factor = 1.0
        new = _objective(design, answer, beta + step, penalty)
        while new < best - 1e-9 * abs(best) and factor > 1e-6:
            factor /= 2.0
            new = _objective(design, answer, beta + factor * step, penalty)
        beta, best = beta + factor * step, max(new, best)
        still = bool(np.abs(step).max() < _STILL * (1.0 + np.abs(beta).max()))
        if still:
            break
    return LogisticModel(float(beta[0]), beta[1:], still)


def log_shares(logit: Floats) -> tuple[Floats, Floats]:
    """Logarithms of the probabilities of a right and of a wrong answer."""
    # log(1 + exp(-x)) without overflow, and exact where R would cut it off at 1e-16.
    right: Floats = -np.logaddexp(0.0, -logit)
    wrong: Floats = -np.logaddexp(0.0, logit)
    return right, wrong


def _share(logit: Floats) -> Floats:
    found: Floats = 0.5 * (1.0 + np.tanh(0.5 * logit))
    return found


def _log_likelihood(logit: Floats, y: Floats) -> Floats:
    found: Floats = (y * logit - np.logaddexp(0.0, logit)).sum(axis=0)
    return found


def _objective(design: Floats, y: Floats, beta: Floats, penalty: Floats) -> float:
    logit = design @ beta
    return float(y @ logit - np.logaddexp(0.0, logit).sum() - 0.5 * penalty @ (beta * beta))
