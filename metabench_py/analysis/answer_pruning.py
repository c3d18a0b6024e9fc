"""Linear predictors of the score from fewer and fewer items: backward steps, and the lasso."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from metabench_py.errors import InputError, MissingDependencyError
from metabench_py.gam.linear import fit_linear
from metabench_py.irt.model import Floats

PruneRule = Literal["error", "coefficient"]
PRUNE_RULES: tuple[PruneRule, ...] = get_args(PruneRule)
# Coefficients that differ by less are alike: of items of one score they all are.
_ALIKE = 1e-9
# The original's penalty, score points (it tried cross-validation and then fixed it).
ORIGINAL_PENALTY = 0.9
_PENALTIES = 100


@dataclass(frozen=True, eq=False)
class Pruning:
    """Items in the order in which they were removed, and a linear predictor at each step.

    Attributes
    ----------
    removed
        Columns, the first removed first; the last one is alone at the end; shape (n_items,).
    weights
        Row d - 1: least squares of the score on the d items that are left, 0 for the others;
        shape (n_items, n_items).
    intercepts
        Shape (n_items,).
    """

    removed: NDArray[np.int64]
    weights: Floats
    intercepts: Floats

    def kept(self, size: int) -> NDArray[np.int64]:
        """Columns of the items that are left when there are `size`, ascending."""
        return np.sort(self.removed[len(self.removed) - size :])

    def predict(self, answers: NDArray[np.int8]) -> Floats:
        """Predictions of every step, shape (n_llms, n_items); column d - 1 has d items."""
        found: Floats = answers.astype(np.float64) @ self.weights.T + self.intercepts
        return found


def prune(answers: NDArray[np.int8], score: Floats, rule: PruneRule = "error") -> Pruning:
    """Remove one item after the other, refitting ``lm(score ~ .)`` each time.

    Parameters
    ----------
    answers
        1 right, 0 wrong, shape (n_llms, n_items).
    score
        Shape (n_llms,).
    rule
        ``error``: the item without which the squared error grows least. ``coefficient``: that of
        the smallest absolute coefficient, as the original; among equal ones by the error.

    Raises
    ------
    InputError
        The rule is unknown, or there are not more LLMs than items.
    """
    if rule not in PRUNE_RULES:
        raise InputError(f"Rule {rule!r}: choose {', '.join(PRUNE_RULES)}.")
    n, m = answers.shape
    if n < m + 2:
        raise InputError(
            f"{n} LLMs do not determine a linear predictor of {m} items; take fewer items.",
            n_llms=n,
        )
    x = answers.astype(np.float64)
    means, level = x.mean(axis=0), float(score.mean())
    centred = x - means
    gram, moment = centred.T @ centred, centred.T @ (score - level)
    # R's lm gives none to items that earlier ones determine; they go first.
    full = fit_linear(answers, score)
    removed = np.flatnonzero(full.weights == 0.0).tolist() if full.rank < m + 1 else []
    weights, intercepts = np.zeros((m, m)), np.full(m, level)
    for step in range(len(removed)):
        weights[m - 1 - step] = full.weights
        intercepts[m - 1 - step] = full.intercept
    left = np.setdiff1d(np.arange(m), removed)
    while len(left):
        inverse = np.linalg.inv(gram[np.ix_(left, left)])
        beta = inverse @ moment[left]
        weights[len(left) - 1, left] = beta
        intercepts[len(left) - 1] = level - float(means[left] @ beta)
        cost = beta**2 / np.diag(inverse)
        if rule == "coefficient":
            size = np.abs(beta)
            cost = np.where(size <= size.min() * (1.0 + _ALIKE), cost, np.inf)
        at = int(cost.argmin())
        removed.append(int(left[at]))
        left = np.delete(left, at)
    return Pruning(np.array(removed, np.int64), weights, intercepts)


@dataclass(frozen=True, eq=False)
class LassoPath:
    """Lasso fits of falling penalty, as ``glmnet`` with standardised items.

    Attributes
    ----------
    penalties
        Score points, descending, shape (n_penalties,).
    weights, intercepts
        In units of the answers; shape (n_penalties, n_items) and (n_penalties,).
    best
        Which penalty has the smallest error on folds left out.
    """

    penalties: Floats
    weights: Floats
    intercepts: Floats
    best: int

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Items with a weight, shape (n_penalties,)."""
        found: NDArray[np.int64] = (self.weights != 0.0).sum(axis=1)
        return found

    def of_size(self, size: int) -> int:
        """Smallest penalty before more than `size` items first have a weight."""
        over = self.sizes > size
        return int(np.argmax(over)) - 1 if over.any() else len(self.penalties) - 1

    def predict(self, answers: NDArray[np.int8]) -> Floats:
        """Predictions by every penalty, shape (n_llms, n_penalties)."""
        found: Floats = answers.astype(np.float64) @ self.weights.T + self.intercepts
        return found


def lasso(
    answers: NDArray[np.int8],
    score: Floats,
    fold: NDArray[np.int64] | None,
    penalties: Sequence[float] = (),
) -> LassoPath:
    """Fit (1 / 2n) sum of squared errors + penalty * sum of absolute standardised weights.

    Parameters
    ----------
    fold
        Label of each LLM's fold for choosing the penalty, shape (n_llms,); None: take the first.
    penalties
        Empty: 100 from the smallest that leaves no item, down to a thousandth of it.

    Raises
    ------
    MissingDependencyError
        scikit-learn is absent.
    """
    top = float(np.abs(_standard(answers)[0].T @ (score - score.mean())).max() / len(score))
    grid = np.array(sorted(penalties, reverse=True) or np.geomspace(top, top / 1e3, _PENALTIES))
    weights, intercepts = _path(answers, score, grid)
    errors = np.zeros(len(grid))
    for held in () if fold is None else np.unique(fold):
        out = fold == held
        inner, level = _path(answers[~out], score[~out], grid)
        predicted = answers[out].astype(np.float64) @ inner.T + level
        errors += ((predicted - score[out, None]) ** 2).sum(axis=0)
    return LassoPath(grid, weights, intercepts, int(errors.argmin()))


def _standard(answers: NDArray[np.int8]) -> tuple[Floats, Floats, Floats]:
    x = answers.astype(np.float64)
    centre, spread = x.mean(axis=0), x.std(axis=0)
    spread[spread == 0.0] = 1.0
    return (x - centre) / spread, centre, spread


def _path(answers: NDArray[np.int8], score: Floats, grid: Floats) -> tuple[Floats, Floats]:
    try:
        from sklearn.linear_model import lasso_path
    except ImportError as error:
        raise MissingDependencyError(
            "The lasso needs scikit-learn; install it with `pip install scikit-learn`."
        ) from error
    z, centre, spread = _standard(answers)
    level = float(score.mean())
    gram, moment = z.T @ z, z.T @ (score - level)
    _, found, _ = lasso_path(
        z, score - level, alphas=grid, precompute=gram, Xy=moment, max_iter=20_000, tol=1e-6
    )
    weights = found.T / spread
    return weights, level - weights @ centre
