"""Linear predictors and sub-scores: full score from item responses, without a latent trait."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metabench_py.errors import InputError
from metabench_py.irt.model import Floats
from metabench_py.responses import MISSING

# R's lm calls a column dependent if less than this share of its norm is left by the others.
RANK_TOLERANCE = 1e-7


@dataclass(frozen=True, eq=False)
class LinearPredictor:
    """score = intercept + responses @ weights, by least squares.

    Attributes
    ----------
    intercept
        In score points.
    weights
        One an item, shape (n_items,); 0 for an item that earlier ones determine.
    rank
        Rank of the design, the intercept included.
    n
        Number of LLMs in the fit.
    """

    intercept: float
    weights: Floats
    rank: int
    n: int

    def predict(self, responses: ArrayLike) -> Floats:
        """Predict scores, shape (n,); NaN for an LLM with an unanswered item."""
        values = _matrix(responses, len(self.weights))
        score: Floats = self.intercept + values @ self.weights
        score[(values == MISSING).any(axis=1)] = np.nan
        return score


def fit_linear(responses: ArrayLike, score: ArrayLike) -> LinearPredictor:
    """Regress the full score on the item responses, as R's ``lm(score ~ .)``.

    Parameters
    ----------
    responses
        1 right, 0 wrong, -1 not answered, shape (n, n_items). As in R, an LLM with an
        unanswered item is left out.
    score
        Full scores (0-100), shape (n,), finite.

    Notes
    -----
    R's pivoting: columns are taken in order, and one of which less than 1e-7 of its norm is
    left after projection on those before it gets the coefficient NA, which predicts as 0.
    """
    values = _matrix(responses)
    target = np.asarray(score, dtype=np.float64)
    if target.shape != (len(values),) or not np.isfinite(target).all():
        raise InputError(f"The linear predictor needs {len(values)} finite scores, one an LLM.")
    complete = (values != MISSING).all(axis=1)
    n = int(complete.sum())
    if n == 0:
        raise InputError("The linear predictor needs an LLM that answered all items.")
    design = np.column_stack([np.ones(n), values[complete], target[complete]])
    # Norms, angles and hence ranks are the same in the triangle, which is much smaller.
    triangle: Floats = np.linalg.qr(design, mode="r")  # type: ignore[assignment]
    kept = _independent(triangle[:, :-1])
    coefficients = np.zeros(design.shape[1] - 1)
    coefficients[kept] = _solve(triangle[:, kept], triangle[:, -1])
    return LinearPredictor(float(coefficients[0]), coefficients[1:], len(kept), n)


def out_of_fold(responses: ArrayLike, score: ArrayLike, fold: ArrayLike) -> Floats:
    """Predict each LLM's score from LLMs of the other folds.

    Parameters
    ----------
    responses, score
        As for `fit_linear`.
    fold
        Fold label of each LLM, shape (n,).

    Returns
    -------
    Shape (n,); NaN for an LLM with an unanswered item.
    """
    values = _matrix(responses)
    target = np.asarray(score, dtype=np.float64)
    label = np.asarray(fold)
    if label.shape != (len(values),) or target.shape != label.shape:
        raise InputError("Out-of-fold prediction needs one score and one fold label an LLM.")
    folds = np.unique(label)
    if len(folds) < 2:
        raise InputError("Out-of-fold prediction needs at least two folds.")
    predicted = np.full(len(values), np.nan)
    for one in folds:
        held_out = label == one
        fit = fit_linear(values[~held_out], target[~held_out])
        predicted[held_out] = fit.predict(values[held_out])
    return predicted


def subscore(responses: ArrayLike, *, extra: int = 0) -> Floats:
    """Share of right answers among the answered items, in per cent.

    Parameters
    ----------
    responses
        As for `fit_linear`.
    extra
        Added to the denominator. The original's training sub-scores counted the score column
        too, so imported bundles' GAMs were trained with 1.

    Returns
    -------
    Shape (n,), 0 to 100; NaN for an LLM without answers.
    """
    values = _matrix(responses)
    answered = (values != MISSING).sum(axis=1)
    right = (values == 1).sum(axis=1)
    share = np.full(len(values), np.nan)
    np.divide(100.0 * right, answered + extra, out=share, where=answered > 0)
    return share


def _matrix(responses: ArrayLike, n_items: int | None = None) -> NDArray[np.int8]:
    values = np.asarray(responses)
    if values.ndim != 2 or (n_items is not None and values.shape[1] != n_items):
        wanted = "LLMs x items" if n_items is None else f"LLMs x {n_items} items"
        raise InputError(f"Responses must be a matrix of {wanted}, not of shape {values.shape}.")
    if values.dtype != np.int8:
        small = values.astype(np.int8)
        if not np.array_equal(small, values):
            raise InputError("Responses must be 1 right, 0 wrong or -1 not answered.")
        values = small
    return values


def _independent(columns: Floats) -> list[int]:
    """Which columns R's limited column pivoting keeps, by Gram-Schmidt done twice."""
    norms = np.linalg.norm(columns, axis=0)
    basis = np.zeros((len(columns), 0))
    kept: list[int] = []
    for j, norm in enumerate(norms):
        rest = columns[:, j] - basis @ (basis.T @ columns[:, j])
        rest -= basis @ (basis.T @ rest)
        left = float(np.linalg.norm(rest))
        if left >= RANK_TOLERANCE * norm and norm > 0 and len(kept) < len(columns):
            basis = np.column_stack([basis, rest / left])
            kept.append(j)
    return kept


def _solve(columns: Floats, target: Floats) -> Floats:
    """Least squares on independent columns."""
    q, r = np.linalg.qr(columns)
    solution: Floats = np.linalg.solve(r, q.T @ target)
    return solution
