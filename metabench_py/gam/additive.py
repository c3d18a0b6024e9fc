"""Sums of adaptive splines without R: y ~ s(a, bs = "ad") + s(b, bs = "ad") + ... as mgcv has it.

Model, penalties and search are those of `adaptive`; with several terms each is centred on the
data, the least squares are dense, and the smoothing parameters of all terms are searched together
(Wood 2004). What GCV's derivatives need is again in P = D A^-1 D', D being the differences of all
terms' coefficients, so that a step costs a few products of matrices however many parameters
there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metabench_py.errors import ConvergenceError, InputError
from metabench_py.gam.adaptive import AdaptiveOptions, penalty_weights
from metabench_py.gam.portable import PortableGam, SplineTerm
from metabench_py.irt.model import Floats


@dataclass(frozen=True, eq=False)
class AdditiveFit:
    """A fitted sum of splines.

    Attributes
    ----------
    gam
        Predicts.
    fitted
        At the observations, shape (n,).
    sp
        Smoothing parameters of all terms, as mgcv scales them, shape (n_terms * penalties,).
    edf, gcv, scale, n, slope, steps, evaluations
        As of `AdaptiveFit`.
    """

    gam: PortableGam
    fitted: Floats
    sp: Floats
    edf: float
    gcv: float
    scale: float
    n: int
    slope: float
    steps: int
    evaluations: int


def fit_additive(
    features: Mapping[str, Floats],
    score: Floats,
    options: AdaptiveOptions | None = None,
    name: str = "score",
) -> AdditiveFit:
    """Fit score ~ s(feature) + ... by mgcv's steps.

    Parameters
    ----------
    features
        One value an LLM, shape (n,) each; finite.
    score
        Shape (n,), finite.
    name
        Of the fit's target.

    Raises
    ------
    InputError
        The search is not ``mgcv-path``; values are not finite; a feature does not vary; fewer
        observations than coefficients.
    ConvergenceError
        The terms do not determine an estimate.
    """
    from metabench_py.gam.additive_search import Problem, search

    options = options or AdaptiveOptions()
    y = np.asarray(score, np.float64)
    columns = {key: np.asarray(column, np.float64) for key, column in features.items()}
    _check(columns, y, options)
    weights = penalty_weights(options.basis_size, options.penalties)
    terms = [_Term.on(column, options.basis_size) for column in columns.values()]
    design = np.column_stack([np.ones(len(y)), *(term.centred for term in terms)])
    problem = Problem(
        design, y, [term.differences for term in terms], weights,
        np.concatenate([term.start(weights) for term in terms]),
    )  # fmt: skip
    found = search(problem, options.tolerance, options.most_steps)
    if not np.isfinite(found.gcv):
        raise ConvergenceError(
            f"The GAM of {name!r}: no smoothing parameters determine {design.shape[1]} "
            f"coefficients on {len(y)} LLMs; take a smaller basis.",
            target=name,
        )
    pieces = np.split(found.beta[1:], len(terms))
    splines = tuple(
        SplineTerm(feature, term.knots, term.null @ piece)
        for feature, term, piece in zip(columns, terms, pieces, strict=True)
    )
    return AdditiveFit(
        gam=PortableGam(name, float(found.beta[0]), splines),
        fitted=design @ found.beta,
        sp=np.exp(found.rho),
        edf=found.edf,
        gcv=found.gcv,
        scale=found.squares / (len(y) - found.edf),
        n=len(y),
        slope=found.slope,
        steps=found.steps,
        evaluations=found.evaluations,
    )


def _check(columns: Mapping[str, Floats], y: Floats, options: AdaptiveOptions) -> None:
    if options.search != "mgcv-path":
        raise InputError(f"A sum of splines has no search {options.search!r}: take mgcv-path.")
    if not columns:
        raise InputError("A GAM needs a feature.")
    for name, column in columns.items():
        if column.ndim != 1 or column.shape != y.shape:
            raise InputError(f"{name!r} must be as long as the score, {y.shape}.", feature=name)
        bad = ~(np.isfinite(column) & np.isfinite(y))
        if bad.any():
            row = int(np.argmax(bad))
            raise InputError(
                f"Row {row + 1}: {name} = {column[row]}, score = {y[row]}; leave out what is not "
                "finite.",
                row=row,
                feature=name,
            )
        if column.min() == column.max():
            raise InputError(f"{name!r} does not vary; leave it out.", feature=name)
    size = 1 + len(columns) * (options.basis_size - 1)
    if len(y) < size:
        raise InputError(
            f"{len(y)} observations are fewer than the GAM's {size} coefficients; take a smaller "
            "basis.",
            n=len(y),
        )


@dataclass(frozen=True, eq=False)
class _Term:
    """One term, its spline constrained to sum to zero over the data.

    Attributes
    ----------
    knots
        Shape (size + 4,).
    null
        Orthonormal directions of coefficients whose spline sums to zero, shape (size, size - 1).
    centred
        The design in these directions, shape (n, size - 1).
    differences
        Second differences of the coefficients in these directions, shape (size - 2, size - 1).
    """

    knots: Floats
    null: Floats
    centred: Floats
    differences: Floats

    @classmethod
    def on(cls, x: NDArray[np.float64], size: int) -> _Term:
        from metabench_py.gam import adaptive_core, adaptive_fit

        knots = adaptive_fit.spaced_knots(float(x.min()), float(x.max()), size)
        start, rows = np.empty(len(x), np.int64), np.empty((len(x), 4))
        adaptive_core.spline_rows(x, knots, start, rows)
        plain = np.zeros((len(x), size))
        for k in range(4):
            plain[np.arange(len(x)), start + k] = rows[:, k]
        whole, _ = np.linalg.qr(plain.sum(axis=0)[:, None], mode="complete")
        null = np.ascontiguousarray(whole[:, 1:])
        return cls(knots, null, plain @ null, np.diff(null, 2, axis=0))

    def start(self, weights: Floats) -> Floats:
        """Logarithms of smoothing parameters that make penalties and data matter alike."""
        from metabench_py.gam.adaptive_fit import START

        data = float((self.centred**2).sum())
        penalties = weights @ (self.differences**2).sum(axis=1)
        rho: Floats = np.log(START * data / penalties)
        return rho
