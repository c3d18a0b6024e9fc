"""Cross-validated errors of subsets of items: what a worker does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metabench_py.compute import Shared
from metabench_py.errors import ConvergenceError
from metabench_py.gam.adaptive import AdaptiveOptions, penalty_weights
from metabench_py.irt.model import Floats
from metabench_py.responses import MISSING


@dataclass(frozen=True, eq=False)
class Problem:
    """What all subsets of a benchmark have in common.

    Attributes
    ----------
    answers
        int8, shape (n_items, n_llms), training LLMs first: 1 right, 0 wrong, -1 missing.
    score
        Full scores, shape (n_llms,).
    fold
        Fold of each LLM; -1: of the test set.
    spline
        How the spline is fitted.
    second_stage
        ``native`` or ``mgcv``.
    """

    answers: NDArray[np.int8]
    score: Floats
    fold: NDArray[np.int64]
    n_folds: int
    spline: AdaptiveOptions
    second_stage: str


def chunk_errors(shared: Shared[Problem], picks: NDArray[np.int64]) -> Floats:
    """Measure some subsets: validation and test RMSE.

    Parameters
    ----------
    picks
        Positions of each subset's items, shape (n_subsets, n_items).

    Returns
    -------
    Shape (n_subsets, n_folds, 2), in score points; NaN where nobody was to be predicted.
    """
    judge = _native if shared.value.second_stage == "native" else _mgcv
    return np.stack([judge(shared.value, rows) for rows in picks])


def shares(answers: NDArray[np.int8], rows: NDArray[np.int64]) -> tuple[Floats, NDArray[np.int64]]:
    """Share of right answers among those given to some items.

    Returns
    -------
    tuple
        Its possible values, ascending, and which of them each LLM has, -1: it answered none.
    """
    chosen = answers[rows]
    right = (chosen == 1).sum(axis=0, dtype=np.int64)
    answered = (chosen != MISSING).sum(axis=0, dtype=np.int64)
    if (answered == len(rows)).all():
        return np.arange(len(rows) + 1) / len(rows), right
    share = right / np.maximum(answered, 1)
    values, group = np.unique(share, return_inverse=True)
    return values, np.where(answered > 0, group, -1).astype(np.int64)


def _native(problem: Problem, rows: NDArray[np.int64]) -> Floats:
    # Only a stage that computes imports numba.
    from metabench_py.gam.adaptive_fit import cross_validate

    values, group = shares(problem.answers, rows)
    spline = problem.spline
    errors: Floats = cross_validate(
        values,
        group,
        problem.score,
        problem.fold,
        problem.n_folds,
        penalty_weights(spline.basis_size, spline.penalties),
        spline.tolerance,
        spline.most_steps,
        spline.search == "converged",
    )
    return errors


def _mgcv(problem: Problem, rows: NDArray[np.int64]) -> Floats:
    from metabench_py.errors import RError
    from metabench_py.gam.mgcv import GamOptions, fit_gam

    values, group = shares(problem.answers, rows)
    known = group >= 0
    share = np.where(known, values[group], np.nan)
    errors = np.full((problem.n_folds, 2), np.nan)
    for held in range(problem.n_folds):
        train = known & (problem.fold >= 0) & (problem.fold != held)
        try:
            gam, _ = fit_gam(
                {"reduced": share[train]},
                problem.score[train],
                "subset",
                predictors=("reduced",),
                options=GamOptions(k=problem.spline.basis_size),
            )
        except RError as error:
            raise ConvergenceError(
                f"mgcv cannot fit a spline of {problem.spline.basis_size} coefficients on "
                f"{int(train.sum())} LLMs ({error}); take a smaller basis."
            ) from error
        for which, mask in enumerate((known & (problem.fold == held), known & (problem.fold < 0))):
            if mask.any():
                left = problem.score[mask] - gam.predict({"reduced": share[mask]})
                errors[held, which] = np.sqrt(np.mean(left**2))
    return errors
