"""How well abilities give back the full scores: a GAM, and statistics of its errors."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from metabench_py.errors import ConvergenceError
from metabench_py.irt.model import Floats

GamSolver = Literal["native", "mgcv"]
# An adaptive spline has 40 basis functions a term; below this many LLMs a term it is not fitted.
ENOUGH_FOR_ADAPTIVE = 45
_ENOUGH_FOR_SPLINE = 15
_WIDE = 1.96


@dataclass(frozen=True)
class ScoreErrors:
    """Statistics of score minus prediction, in score points.

    Attributes
    ----------
    mae, rmse, sse
        Mean absolute error, root mean square error, sum of squared errors.
    upper
        Mean absolute error plus 1.96 of its standard deviations; None for a single LLM.
    spearman
        Rank correlation of ability and score; None where one of them does not vary.
    n
        LLMs.
    """

    mae: float
    upper: float | None
    rmse: float
    sse: float
    spearman: float | None
    n: int

    def to_dict(self) -> dict[str, float | int | None]:
        """As JSON values."""
        return asdict(self)


def score_errors(score: ArrayLike, predicted: ArrayLike, theta: ArrayLike) -> ScoreErrors:
    """Judge predictions of some LLMs' scores; all of shape (n,), n at least 1."""
    truth, at = np.asarray(score, np.float64), np.asarray(theta, np.float64)
    error = truth - np.asarray(predicted, np.float64)
    size = np.abs(error)
    mae = float(size.mean())
    squares = float((error**2).sum())
    return ScoreErrors(
        mae=mae,
        upper=mae + _WIDE * float(size.std(ddof=1)) if len(size) > 1 else None,
        rmse=float(np.sqrt(squares / len(size))),
        sse=squares,
        spearman=spearman(at, truth),
        n=len(size),
    )


def average_ranks(values: ArrayLike) -> Floats:
    """Ranks from 1; equal values share the mean of theirs, as R's ``rank`` has it."""
    _, inverse, counts = np.unique(
        np.asarray(values, np.float64), return_inverse=True, return_counts=True
    )
    last = np.cumsum(counts)
    shared: Floats = (last - (counts - 1) / 2.0)[inverse.ravel()]
    return shared


def spearman(one: ArrayLike, other: ArrayLike) -> float | None:
    """Rank correlation; None where one side does not vary."""
    a, b = average_ranks(one), average_ranks(other)
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else None


@dataclass(frozen=True, eq=False)
class Recovery:
    """A fitted curve's predictions.

    Attributes
    ----------
    fitted
        Of the training LLMs, shape (n,).
    predicted
        Of each further set of LLMs.
    curve
        ``adaptive``, ``spline`` (too few LLMs for an adaptive one) or ``line`` (for a spline).
    edf, gcv
        Effective degrees of freedom and the criterion; None for a line.
    """

    fitted: Floats
    predicted: tuple[Floats, ...]
    curve: str
    edf: float | None
    gcv: float | None


def recover(
    features: Mapping[str, Floats],
    score: Floats,
    others: Sequence[Mapping[str, Floats]] = (),
    name: str = "score",
    solver: GamSolver = "native",
) -> Recovery:
    """Fit score ~ s(feature) + ... and predict.

    Parameters
    ----------
    features
        One value a training LLM, shape (n,) each; finite.
    score
        Full scores (0-100), shape (n,).
    others
        Features of LLMs to predict.
    name
        For messages.
    solver
        Of adaptive splines: ``native``, which takes mgcv's steps, or ``mgcv``. Splines that are
        not adaptive are mgcv's, and those that the native solver finds undetermined.

    Raises
    ------
    RUnavailableError
        R with mgcv is absent and the curve needs it.
    """
    n, terms = len(score), len(features)
    distinct = min(len(np.unique(column)) for column in features.values())
    if n < _ENOUGH_FOR_SPLINE * terms or distinct < _ENOUGH_FOR_SPLINE:
        return _line(features, score, others)
    adaptive = n >= ENOUGH_FOR_ADAPTIVE * terms
    if adaptive and solver == "native":
        if terms == 1:
            return _natively(features, score, others)
        with contextlib.suppress(ConvergenceError):
            return _sum_natively(features, score, others, name)
    return _by_mgcv(features, score, others, name, adaptive=adaptive)


def _natively(
    features: Mapping[str, Floats], score: Floats, others: Sequence[Mapping[str, Floats]]
) -> Recovery:
    from metabench_py.gam.adaptive import fit_adaptive

    ((feature, column),) = features.items()
    fit = fit_adaptive(column, score)
    return Recovery(
        fitted=fit.predict(column),
        predicted=tuple(fit.predict(other[feature]) for other in others),
        curve="adaptive",
        edf=fit.edf,
        gcv=fit.gcv,
    )


def _sum_natively(
    features: Mapping[str, Floats],
    score: Floats,
    others: Sequence[Mapping[str, Floats]],
    name: str,
) -> Recovery:
    from metabench_py.gam.additive import fit_additive

    fit = fit_additive(features, score, name=name)
    return Recovery(
        fitted=fit.fitted,
        predicted=tuple(fit.gam.predict(other) for other in others),
        curve="adaptive",
        edf=fit.edf,
        gcv=fit.gcv,
    )


def _by_mgcv(
    features: Mapping[str, Floats],
    score: Floats,
    others: Sequence[Mapping[str, Floats]],
    name: str,
    *,
    adaptive: bool,
) -> Recovery:
    from metabench_py.gam.mgcv import GamOptions, fit_gam

    options = GamOptions() if adaptive else GamOptions(basis="ps", k=max(5, len(score) // 8))
    predictor, fit = fit_gam(features, score, name, predictors=tuple(features), options=options)
    return Recovery(
        fitted=predictor.predict(features),
        predicted=tuple(predictor.predict(other) for other in others),
        curve="adaptive" if adaptive else "spline",
        edf=fit.edf,
        gcv=fit.gcv,
    )


def _line(
    features: Mapping[str, Floats], score: Floats, others: Sequence[Mapping[str, Floats]]
) -> Recovery:
    def columns(table: Mapping[str, Floats]) -> Floats:
        first = next(iter(table.values()))
        return np.column_stack([np.ones(len(first)), *(table[name] for name in features)])

    weights = np.linalg.lstsq(columns(features), score, rcond=None)[0]
    return Recovery(
        fitted=columns(features) @ weights,
        predicted=tuple(columns(other) @ weights for other in others),
        curve="line",
        edf=None,
        gcv=None,
    )
