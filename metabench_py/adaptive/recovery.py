"""How well adaptive tests give back abilities and full scores."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench_py.adaptive.engine import CatResult
from metabench_py.errors import InputError
from metabench_py.irt.model import Floats

# An adaptive spline has 40 coefficients; below this many LLMs or distinct abilities it is not
# fitted, but a line.
_ENOUGH = 100
_DISTINCT = 15


@dataclass(frozen=True)
class Agreement:
    """Estimates beside what they should be.

    Attributes
    ----------
    rmse, bias
        Root mean square and mean of estimate less target; None without LLMs.
    correlation
        Pearson's; None where one side does not vary.
    n
        LLMs with both.
    """

    rmse: float | None
    bias: float | None
    correlation: float | None
    n: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def agreement(estimate: Floats, target: Floats) -> Agreement:
    """Compare where both are finite; both of shape (n,)."""
    both = np.isfinite(estimate) & np.isfinite(target)
    one, other = estimate[both], target[both]
    if not len(one):
        return Agreement(None, None, None, 0)
    apart = one - other
    vary = len(one) > 1 and float(np.ptp(one)) > 0 and float(np.ptp(other)) > 0
    return Agreement(
        rmse=float(np.sqrt((apart**2).mean())),
        bias=float(apart.mean()),
        correlation=float(np.corrcoef(one, other)[0, 1]) if vary else None,
        n=len(one),
    )


def predict_scores(theta: Floats, score: Floats, fold: NDArray[np.int64]) -> Floats:
    """Predict full scores from abilities out of fold: score ~ s(theta), an adaptive spline.

    Parameters
    ----------
    theta
        Finite, shape (n,).
    score
        Full scores (0-100), shape (n,); NaN where not known: predicted, but not fitted to.
    fold
        Of each LLM, 0 and up; an organisation's LLMs belong in one.

    Returns
    -------
    Shape (n,), within 0 and 100.
    """
    if theta.shape != score.shape or theta.shape != fold.shape:
        raise InputError("Abilities, scores and folds must be of the same LLMs.")
    predicted = np.full(len(theta), np.nan)
    for number in np.unique(fold):
        inside = fold == number
        train = ~inside & np.isfinite(score) & np.isfinite(theta)
        if not train.any():
            raise InputError("No LLM of other folds has a full score; take fewer folds.")
        predicted[inside] = curve(theta[train], score[train], theta[inside])
    return np.asarray(np.clip(predicted, 0.0, 100.0), np.float64)


def curve(theta: Floats, score: Floats, at: Floats) -> Floats:
    """Fit score ~ s(theta) on some LLMs and predict others.

    Beyond the fitted abilities the curve is flat: the few LLMs at its ends say nothing of its
    slope there.
    """
    at = np.clip(at, theta.min(), theta.max())
    distinct = len(np.unique(theta))
    if len(theta) >= _ENOUGH and distinct >= _DISTINCT:
        from metabench_py.gam.adaptive import fit_adaptive

        return np.asarray(fit_adaptive(theta, score).predict(at), np.float64)
    if distinct < 2:
        return np.full(len(at), float(score.mean()), np.float64)
    slope, start = (float(value) for value in np.polyfit(theta, score, 1))
    return np.asarray(start + slope * at, np.float64)


@dataclass(frozen=True)
class Summary:
    """Adaptive tests of one benchmark's LLMs in numbers.

    Attributes
    ----------
    n_llms, bank
        LLMs, and items to choose from.
    mean_items, median_items, least_items, most_items
        Lengths of the tests.
    mean_se
        Of the final estimates.
    stops
        Tests by why they ended.
    theta
        Final against the ability from all answers (or the one that answers were drawn from).
    score
        Full score predicted out of fold; None without full scores.
    highest_exposure, overlap
        Largest share of LLMs that an item went to; items that two LLMs share on average.
    """

    n_llms: int
    bank: int
    mean_items: float
    median_items: float
    least_items: int
    most_items: int
    mean_se: float
    stops: dict[str, int]
    theta: Agreement
    score: Agreement | None
    highest_exposure: float
    overlap: float | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def summarise(result: CatResult, truth: Floats, score: Agreement | None) -> Summary:
    """Summarise tests; `truth` is the ability that they should find, shape (n_llms,)."""
    lengths, overlap = result.n_items, result.overlap
    finite = result.se[np.isfinite(result.se)]
    return Summary(
        n_llms=len(lengths),
        bank=len(result.items),
        mean_items=float(lengths.mean()),
        median_items=float(np.median(lengths)),
        least_items=int(lengths.min()),
        most_items=int(lengths.max()),
        mean_se=float(finite.mean()) if len(finite) else float("nan"),
        stops={reason: result.stop.count(reason) for reason in sorted(set(result.stop))},
        theta=agreement(result.theta, truth),
        score=score,
        highest_exposure=float(result.exposure.max()),
        overlap=overlap if np.isfinite(overlap) else None,
    )
