"""Adaptive splines without R: y ~ s(x, bs = "ad") as mgcv fits it by default.

A cubic B-spline of 40 coefficients whose second differences are penalised, the penalty's weight
varying along x as a B-spline of five coefficients. Those five are chosen by generalised cross
validation. Model and penalty: ``mgcv::smooth.construct.ad.smooth.spec`` for one variable and
Eilers & Marx (1996); search: Wood (2004), Journal of the American Statistical Association 99.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metabench_py.errors import ConvergenceError, InputError
from metabench_py.gam.portable import SplineTerm
from metabench_py.irt.model import Floats

Search = Literal["mgcv-path", "converged"]
SEARCHES: tuple[Search, ...] = get_args(Search)
LEAST_BASIS = 8


@dataclass(frozen=True)
class AdaptiveOptions:
    """How to fit.

    Attributes
    ----------
    basis_size, penalties
        Coefficients of the spline and of its penalty's weight.
    search
        ``mgcv-path`` takes mgcv's steps and stops where it stops, often before a minimum;
        ``converged`` goes on to one, from there and from the start, and takes the lower.
    tolerance
        The search ends once a step lowers GCV by less than this share of 1 + GCV.
    most_steps
        Steps at most.
    """

    basis_size: int = 40
    penalties: int = 5
    search: Search = "mgcv-path"
    tolerance: float = 1e-7
    most_steps: int = 2000

    def __post_init__(self) -> None:
        if self.search not in SEARCHES:
            raise InputError(f"Search {self.search!r}: choose {', '.join(SEARCHES)}.")
        if self.basis_size < LEAST_BASIS or not 4 <= self.penalties <= self.basis_size - 2:
            raise InputError(
                f"{self.basis_size} coefficients with {self.penalties} penalties: take "
                f"{LEAST_BASIS} coefficients or more, and 4 penalties or more.",
                basis_size=self.basis_size,
            )


@dataclass(frozen=True, eq=False)
class AdaptiveFit:
    """A fitted spline, its intercept included.

    Attributes
    ----------
    knots, coefficients
        Shape (basis_size + 4,) and (basis_size,); in units of the response.
    sp
        Smoothing parameters, as mgcv scales them, shape (penalties,).
    edf
        Effective degrees of freedom, the intercept's included.
    gcv, scale
        Criterion and residual variance, in squared units of the response.
    n
        Observations.
    slope
        Largest derivative of GCV by a log smoothing parameter where the last step began.
    steps, evaluations
        Of the search.
    """

    knots: Floats
    coefficients: Floats
    sp: Floats
    edf: float
    gcv: float
    scale: float
    n: int
    slope: float
    steps: int
    evaluations: int

    def predict(self, x: ArrayLike) -> Floats:
        """Predict at `x`, shape kept; straight lines beyond the data, NaN where x is not finite."""
        from metabench_py.gam import adaptive_fit

        values = np.asarray(x, np.float64)
        finite = np.isfinite(values)
        flat = np.where(finite, values, self.knots[4]).ravel()
        found = adaptive_fit.predict(flat, self.knots, self.coefficients).reshape(values.shape)
        return np.where(finite, found, np.nan)

    def term(self, feature: str) -> SplineTerm:
        """As the term of a `PortableGam` with intercept 0."""
        return SplineTerm(feature, self.knots, self.coefficients)


@functools.cache
def penalty_weights(basis_size: int = 40, penalties: int = 5) -> Floats:
    """Weights of the squared second differences, one row a penalty.

    B-splines over the numbers of the differences, scaled as mgcv scales penalty matrices: by
    their largest column sum.

    Returns
    -------
    ndarray
        Shape (penalties, basis_size - 2).
    """
    from metabench_py.gam import adaptive_core, adaptive_fit

    size = basis_size - 2
    at = np.arange(1.0, size + 1.0)
    start, rows = np.empty(size, np.int64), np.empty((size, 4))
    adaptive_core.spline_rows(
        at, adaptive_fit.spaced_knots(1.0, float(size), penalties), start, rows
    )
    weights = np.zeros((penalties, size))
    for i in range(size):
        weights[start[i] : start[i] + 4, i] = rows[i]
    differences = np.diff(np.eye(basis_size), 2, axis=0)
    for row in weights:
        row /= np.abs(differences.T @ (row[:, None] * differences)).sum(axis=0).max()
    weights.flags.writeable = False
    return weights


def fit_adaptive(x: ArrayLike, y: ArrayLike, options: AdaptiveOptions | None = None) -> AdaptiveFit:
    """Fit y ~ s(x, bs = "ad").

    Parameters
    ----------
    x, y
        Finite, shape (n,); the order does not matter, not even for the last digit.

    Raises
    ------
    InputError
        Values are not finite, all of x is alike, or there are fewer observations than
        coefficients.
    ConvergenceError
        No smoothing parameters give an estimate.
    """
    options = options or AdaptiveOptions()
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise InputError(f"x and y must be of one length, not {x.shape} and {y.shape}.")
    bad = ~(np.isfinite(x) & np.isfinite(y))
    if bad.any():
        row = int(np.argmax(bad))
        raise InputError(
            f"Row {row + 1}: x = {x[row]}, y = {y[row]}; leave out what is not finite.", row=row
        )
    # Sums are then of the same numbers in the same order, however the rows came.
    order = np.lexsort((y, x))
    x, y = x[order], y[order]
    values, group, counts = np.unique(x, return_inverse=True, return_counts=True)
    means = np.bincount(group, y) / counts
    within = float(((y - means[group]) ** 2).sum())
    return fit_grouped(values, counts.astype(np.float64), means, within, options)


def fit_grouped(
    values: NDArray[np.float64],
    counts: Floats,
    means: Floats,
    within: float,
    options: AdaptiveOptions | None = None,
) -> AdaptiveFit:
    """Fit from distinct values of x with counts, means of y and the squares around these.

    Parameters
    ----------
    values, counts, means
        Shape (n_groups,); values ascending.
    within
        Sum of squares of y around the means.
    """
    from metabench_py.gam import adaptive_fit

    options = options or AdaptiveOptions()
    n = float(np.sum(counts))
    if len(values) < 2 or not (np.diff(values) > 0).all():
        raise InputError(
            f"An adaptive spline needs two or more different values of x, ascending, not "
            f"{len(values)}."
        )
    if n < options.basis_size:
        raise InputError(
            f"{n:g} observations are fewer than the spline's {options.basis_size} coefficients; "
            "take a smaller basis.",
            n=n,
        )
    weights = penalty_weights(options.basis_size, options.penalties)
    knots, beta = np.empty(options.basis_size + 4), np.empty(options.basis_size)
    rho = np.empty(options.penalties)
    gcv, squares, edf, steps, evaluations, slope = adaptive_fit.fit_groups(
        np.ascontiguousarray(values, np.float64),
        np.ascontiguousarray(counts, np.float64),
        np.ascontiguousarray(means, np.float64),
        float(within),
        weights,
        options.tolerance,
        options.most_steps,
        options.search == "converged",
        knots,
        beta,
        rho,
    )
    if not np.isfinite(gcv):
        raise ConvergenceError(
            f"No smoothing parameters determine a spline of {options.basis_size} coefficients on "
            f"{len(values)} different values; take a smaller basis."
        )
    return AdaptiveFit(
        knots=knots,
        coefficients=beta,
        sp=np.exp(rho),
        edf=float(edf),
        gcv=float(gcv),
        scale=float(squares / (n - edf)),
        n=int(n),
        slope=float(slope),
        steps=int(steps),
        evaluations=int(evaluations),
    )
