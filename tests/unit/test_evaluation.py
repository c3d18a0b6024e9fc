"""What a calibration says of its errors: coverage of exchangeable LLMs, growth, rounding."""

from __future__ import annotations

import numpy as np
import pytest

from metabench_py.bundle.schema import ErrorTable
from metabench_py.calibration.evaluation import (
    LEVEL,
    SHARES,
    HeldOut,
    Mask,
    error_table,
    evaluation,
    growth,
)
from metabench_py.irt.model import Floats
from metabench_py.reconstruction.conformal import ConformalInterval

N = 3000


def world(seed: int, n: int = N, noise: float = 1.0) -> tuple[HeldOut, dict[str, Floats]]:
    """LLMs whose errors follow a scale that the second stage knows only in part."""
    random = np.random.default_rng(seed)
    score = 100 * random.beta(4, 3, n)
    known = np.exp(random.normal(0.0, 0.4, n))
    spread = known * (0.5 + np.abs(score - 50) / 50) * noise
    predicted = score + spread * random.standard_t(5, n)
    return HeldOut({"arc": predicted}, {"arc": known}), {"arc": score}


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.95])
def test_new_exchangeable_llms_are_covered_at_any_level(level: float) -> None:
    held, scores = world(1)
    error = held.predicted["arc"] - scores["arc"]
    table = ErrorTable(held.predicted["arc"], error, scale=held.scale["arc"])
    conformal = ConformalInterval.from_errors(table)
    new, truth = world(2, 6000)
    lower, upper = conformal.interval(new.predicted["arc"], level, new.scale["arc"])
    inside = (lower <= truth["arc"]) & (truth["arc"] <= upper)
    tolerance = 4 * np.sqrt(level * (1 - level) * (1 / N + 1 / 6000))
    assert abs(inside.mean() - level) < tolerance
    # Wide where the told scale is large: otherwise these LLMs would not be covered.
    large = new.scale["arc"] > np.quantile(new.scale["arc"], 0.8)
    assert abs(inside[large].mean() - level) < 0.05
    # Without the scale they are not.
    plain = ConformalInterval.from_errors(ErrorTable(held.predicted["arc"], error))
    lower, upper = plain.interval(new.predicted["arc"], level)
    blind = (lower <= truth["arc"]) & (truth["arc"] <= upper)
    assert blind[large].mean() < inside[large].mean() - 0.02


def test_evaluation_tells_what_is_true_of_new_llms() -> None:
    held, scores = world(3)
    fold = np.random.default_rng(1).integers(10, size=N)
    told = evaluation(held, scores, fold, "somehow")
    assert (told["folds"], told["level"], told["how"]) == (10, LEVEL, "somehow")
    arc = told["targets"]["arc"]
    error = np.clip(held.predicted["arc"], 0, 100) - scores["arc"]
    assert arc["n"] == N
    assert arc["rmse"] == pytest.approx(np.sqrt(np.mean(error**2)))
    assert arc["mae"] == pytest.approx(np.abs(error).mean())
    assert arc["coverage"] == pytest.approx(0.9, abs=0.02)
    assert 0.84 < arc["worst_fifth"] <= arc["coverage"]
    assert 0 < arc["width"] < 100


def test_evaluation_does_not_judge_a_fold_by_itself() -> None:
    held, scores = world(4)
    fold = np.arange(N) % 3
    # One fold's errors are ten times as large: the others' intervals cannot hold them.
    wild = fold == 0
    held.predicted["arc"][wild] += 10 * (held.predicted["arc"] - scores["arc"])[wild]
    told = evaluation(held, scores, fold, "somehow")
    assert told["targets"]["arc"]["coverage"] < 0.85


def test_masked_llms_are_covered_after_widening() -> None:
    whole, scores = world(5)
    noises = dict(zip(SHARES, (1.05, 1.2, 1.6, 2.5, 4.0, 5.0), strict=True))
    masked: dict[Mask, HeldOut] = {
        ("arc", share): world(5, noise=noise)[0] for share, noise in noises.items()
    }
    # Masked items of another benchmark do nothing to this score.
    masked |= {("mmlu", share): whole for share in SHARES}
    found = growth(whole, masked, scores)
    np.testing.assert_array_equal(found.shares, SHARES)
    np.testing.assert_array_equal(found.factors["arc"]["mmlu"], 1.0)
    factors = found.factors["arc"]["arc"]
    assert (np.diff(factors) >= 0).all()
    assert factors[0] >= 1.0
    np.testing.assert_allclose(factors[:3], list(noises.values())[:3], rtol=0.1)
    error = whole.predicted["arc"] - scores["arc"]
    conformal = ConformalInterval.from_errors(
        ErrorTable(whole.predicted["arc"], error, scale=whole.scale["arc"])
    )
    for share, factor in zip(SHARES, factors, strict=True):
        new, truth = world(6, noise=noises[share])
        score = np.clip(new.predicted["arc"], 0, 100)
        lower, upper = conformal.interval(score, LEVEL, new.scale["arc"])
        half = factor * (upper - lower) / 2
        assert (np.abs(score - truth["arc"]) <= half).mean() == pytest.approx(LEVEL, abs=0.025)


def test_errors_that_do_not_grow_ask_for_no_widening() -> None:
    whole, scores = world(7)
    better = HeldOut({"arc": (whole.predicted["arc"] + scores["arc"]) / 2}, whole.scale)
    np.testing.assert_array_equal(
        growth(whole, {("arc", 0.5): better}, scores).factors["arc"]["arc"], [1.0]
    )


def test_tables_are_sorted_and_rounded() -> None:
    held, scores = world(8, 50)
    table = error_table(held, "arc", scores["arc"], np.arange(50), scaled=True)
    assert (np.diff(table.predicted) >= 0).all()
    order = np.argsort(held.predicted["arc"])
    np.testing.assert_array_equal(table.group, order)
    np.testing.assert_allclose(table.predicted, held.predicted["arc"][order], atol=1e-6)
    true = table.predicted - table.error
    np.testing.assert_allclose(true, scores["arc"][order], atol=1e-6)
    assert table.scale is not None
    np.testing.assert_allclose(table.scale, held.scale["arc"][order], rtol=0.006)
    assert error_table(held, "arc", scores["arc"], np.arange(50), scaled=False).scale is None
