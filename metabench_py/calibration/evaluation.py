"""How far a second stage is off on LLMs that it has not seen, and how wide intervals must be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench_py.benchmarks import Benchmark, Target
from metabench_py.bundle.schema import ErrorTable, Growth
from metabench_py.irt.model import Floats
from metabench_py.reconstruction.conformal import ConformalInterval

LEVEL = 0.9
# Shares of a benchmark's items that are masked to see how errors grow.
SHARES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.98)
# A benchmark, and the share of its items that is masked.
Mask = tuple[Benchmark, float]
# Score points in errors.parquet come in so many parts: 1e-6 points, and files half as large.
_PARTS = float(1 << 20)


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Predictions of LLMs by fits without their fold; every array has shape (n,).

    Attributes
    ----------
    predicted
        By target.
    scale
        Local scale of the error as told beforehand, by target; 1 where none is told.
    """

    predicted: dict[Target, Floats]
    scale: dict[Target, Floats]

    @classmethod
    def empty(cls, targets: tuple[Target, ...], n: int) -> HeldOut:
        """Give one to be filled fold by fold."""
        return cls(
            {t: np.full(n, np.nan) for t in targets}, {t: np.full(n, np.nan) for t in targets}
        )


def error_table(
    held_out: HeldOut, target: Target, score: Floats, groups: NDArray[np.int64], scaled: bool
) -> ErrorTable:
    """Errors of one target, in order of the prediction and rounded to a millionth of a point.

    The order keeps rows of two targets from being the same LLM by position.

    Parameters
    ----------
    scaled
        Whether the second stage tells a scale.
    """
    predicted = np.round(held_out.predicted[target] * _PARTS) / _PARTS
    error = np.round((predicted - score) * _PARTS) / _PARTS
    # Three digits of a scale are more than it knows.
    scale = _significant(held_out.scale[target]) if scaled else None
    order = np.argsort(predicted, kind="stable")
    return ErrorTable(
        predicted[order], error[order], groups[order], None if scale is None else scale[order]
    )


def evaluation(
    held_out: HeldOut, scores: Mapping[Target, Floats], fold: NDArray[np.int64], how: str
) -> dict[str, Any]:
    """Errors on held-out LLMs, and what intervals from the other folds' errors hold of them.

    Parameters
    ----------
    fold
        Fold of each LLM, shape (n,).
    how
        In words, for who reads the bundle.

    Returns
    -------
    JSON values: ``folds``, ``level``, ``how``, and by target ``n``, ``rmse``, ``mae``, ``bias``,
    ``coverage``, ``width`` (of intervals clipped to 0-100), ``worst_fifth`` (lowest coverage in a
    fifth of the predictions).
    """
    targets: dict[str, Any] = {}
    for target, predicted in held_out.predicted.items():
        score, scale = scores[target], held_out.scale[target]
        clipped = np.clip(predicted, 0.0, 100.0)
        inside, width = np.zeros(len(score), dtype=bool), np.zeros(len(score))
        for one in np.unique(fold):
            out = fold == one
            rest = ErrorTable(predicted[~out], (predicted - score)[~out], scale=scale[~out])
            conformal = ConformalInterval.from_errors(rest)
            lower, upper = conformal.interval(clipped[out], LEVEL, scale[out])
            lower, upper = np.maximum(lower, 0.0), np.minimum(upper, 100.0)
            inside[out] = (lower <= score[out]) & (score[out] <= upper)
            width[out] = upper - lower
        error = clipped - score
        fifths = np.array_split(inside[np.argsort(predicted, kind="stable")], 5)
        targets[target] = {
            "n": len(score),
            "rmse": float(np.sqrt(np.mean(error**2))),
            "mae": float(np.abs(error).mean()),
            "bias": float(error.mean()),
            "coverage": float(inside.mean()),
            "width": float(width.mean()),
            "worst_fifth": min(float(part.mean()) for part in fifths if part.size),
        }
    return {"folds": len(np.unique(fold)), "level": LEVEL, "how": how, "targets": targets}


def growth(
    whole: HeldOut, masked: Mapping[Mask, HeldOut], scores: Mapping[Target, Floats]
) -> Growth:
    """By how much intervals must widen where a share of one benchmark's items is masked.

    Such that the interval of a whole run, widened by the factor, holds as many of the masked runs
    as it holds of whole ones (at `LEVEL`). Factors never fall with the share.

    Parameters
    ----------
    masked
        By the benchmark whose items were masked, and the share of them.
    """
    shares = sorted({share for _, share in masked})
    factors: dict[Target, dict[Benchmark, Floats]] = {}
    for target, score in scores.items():
        if target not in whole.predicted:
            continue
        complete = ErrorTable(
            whole.predicted[target],
            whole.predicted[target] - score,
            scale=whole.scale[target],
        )
        conformal = ConformalInterval.from_errors(complete)
        usual = conformal.quantile(LEVEL)
        factors[target] = {}
        for benchmark in dict.fromkeys(b for b, _ in masked):
            found = []
            for share in shares:
                held_out = masked[benchmark, share]
                if target not in held_out.predicted:
                    break
                predicted, scale = held_out.predicted[target], held_out.scale[target]
                clipped = np.clip(predicted, 0.0, 100.0)
                ratios = np.abs(clipped - score) / (conformal.width(clipped) * scale)
                found.append(float(np.quantile(ratios, LEVEL, method="higher")) / usual)
            else:
                rising: Floats = np.maximum.accumulate(np.maximum(np.array(found), 1.0))
                factors[target][benchmark] = np.round(rising, 4)
    return Growth(np.array(shares), factors)


def _significant(values: Floats) -> Floats:
    digits = 10.0 ** (2 - np.floor(np.log10(values)))
    rounded: Floats = np.round(values * digits) / digits
    return rounded
