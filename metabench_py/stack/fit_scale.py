"""The local scale of the error: a smooth model of the expected absolute held-out error."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metabench_py.irt.model import Floats
from metabench_py.stack.fit_spline import Design
from metabench_py.stack.spline import SplineModel

KNOTS = 5
# Penalties (bend, size) to choose from, smooth ones first.
PENALTIES = ((3.0, 3.0), (1.0, 1.0), (0.3, 0.3), (0.1, 0.1), (0.03, 0.03), (0.01, 0.01))
ROUNDS = 15
# Errors beyond this quantile count as if they were there.
CAP = 0.99
# A predicted logarithm stays this near to the mean error's.
FARTHEST = 2.0


def fit_scale(
    features: Floats, errors: Floats, fold: NDArray[np.int64]
) -> tuple[SplineModel, Floats, list[float]]:
    """Model log E|error| by additive splines: a gamma regression with logarithmic link.

    Parameters
    ----------
    features
        Shape (n, n_features).
    errors
        Held-out errors, score points, shape (n, n_targets).
    fold
        Shape (n,); the penalty is chosen by these.

    Returns
    -------
    The model, each LLM's scale from the other folds, shape (n, n_targets), and the penalties.
    """
    absolute = np.abs(errors)
    absolute = np.minimum(absolute, np.quantile(absolute, CAP, axis=0))
    # An error of all but nothing would weigh without bound.
    absolute = np.maximum(absolute, 1e-3 * absolute.mean(axis=0) + 1e-9)
    held_out = np.zeros((len(PENALTIES), *absolute.shape))
    for k in np.unique(fold):
        rest = fold != k
        design = Design(features[rest], KNOTS, np.ones(int(rest.sum())))
        inside = np.clip(features[~rest], features[rest].min(axis=0), features[rest].max(axis=0))
        columns = design.basis.columns(inside)
        for i, penalty in enumerate(PENALTIES):
            constant, coefficients = _gamma(design, absolute[rest], penalty)
            held_out[i][~rest] = constant + columns @ coefficients
    middle = np.log(absolute.mean(axis=0))
    held_out = np.clip(held_out, middle - FARTHEST, middle + FARTHEST)
    deviance = (held_out + absolute * np.exp(-held_out)).mean(axis=1)
    best = np.argmin(deviance, axis=0)
    design = Design(features, KNOTS, np.ones(len(features)))
    constant = np.zeros(absolute.shape[1])
    coefficients = np.zeros((design.basis.width, absolute.shape[1]))
    for i in np.unique(best):
        these = best == i
        constant[these], coefficients[:, these] = _gamma(design, absolute[:, these], PENALTIES[i])
    scale = np.exp(held_out[best, :, np.arange(len(best))].T)
    model = SplineModel(design.basis, constant, coefficients)
    return model, scale, [PENALTIES[i][0] for i in best]


def _gamma(design: Design, absolute: Floats, penalty: tuple[float, float]) -> tuple[Floats, Floats]:
    """Fisher scoring; with this link every LLM weighs alike, so the equations stay the same."""
    columns = design.columns
    middle = np.log(absolute.mean(axis=0))
    constant, coefficients = middle, np.zeros((design.basis.width, absolute.shape[1]))
    solver = design.solver(*penalty)
    for _ in range(ROUNDS):
        linear = np.clip(constant + columns @ coefficients, middle - FARTHEST, middle + FARTHEST)
        working = linear + np.clip(absolute * np.exp(-linear) - 1.0, -1.0, 3.0)
        constant, coefficients = solver(working)
    return constant, coefficients
