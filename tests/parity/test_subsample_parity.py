"""Subsampling against the original's golden draws, errors and choices."""

from __future__ import annotations

from decimal import Decimal, localcontext
from pathlib import Path

import numpy as np
import pytest
from helpers.golden_subsample import NAMES, Golden, load

from metabench_py import rbridge
from metabench_py.calibration.subsample import (
    SubsampleOptions,
    SubsampleResult,
    draw_folds,
    draw_subsets,
    subsample,
)
from metabench_py.calibration.subsample_errors import chunk_errors
from metabench_py.compute import Shared
from metabench_py.gam.adaptive import AdaptiveOptions, fit_adaptive, penalty_weights

from . import tolerances
from .report import Record

ORIGINAL = SubsampleOptions(n_items=60, subsets=40, rule="original", partitioner="base")
# Splines whose search ends far from flat GCV.
STEEP = ("arc", "gsm8k", "truthfulqa", "winogrande")


@pytest.fixture(params=NAMES)
def case(request: pytest.FixtureRequest, golden: Path) -> Golden:
    return load(golden, request.param)


@pytest.mark.usefixtures("needs_r")
def test_draws_are_the_originals(case: Golden) -> None:
    assert np.array_equal(draw_subsets(case.data.train.n_items, ORIGINAL), case.picks)
    fold = draw_folds(case.data.train.llms, case.data.train_score, ORIGINAL)
    assert np.array_equal(fold, case.fold)


@pytest.mark.usefixtures("needs_caret")
def test_folds_by_caret_itself(case: Golden) -> None:
    options = SubsampleOptions(rule="original", partitioner="caret")
    fold = draw_folds(case.data.train.llms, case.data.train_score, options)
    assert np.array_equal(fold, case.fold)


def test_errors_and_choice(case: Golden, record: Record) -> None:
    """All 200 splines of a benchmark, from the golden draws."""
    name = case.data.benchmark
    rmse = chunk_errors(Shared(case.problem()), case.picks)
    off = np.abs(rmse - case.rmse).max(axis=2).ravel()
    record("subsample RMSE", f"{name}, median", np.median(off), tolerances.SUBSAMPLE_RMSE_TYPICAL)
    # The 94 % that agree best.
    worst = np.sort(off)[int(0.94 * len(off)) - 1]
    record("subsample RMSE", f"{name}, 94 %", worst, tolerances.SUBSAMPLE_RMSE)
    found = SubsampleResult(
        name, case.data.train.items, case.picks, case.fold, rmse[..., 0], rmse[..., 1]
    )
    assert found.chosen + 1 == case.known["min_index"]
    assert list(found.chosen_items) == case.known["chosen_colnames"]
    minimax = abs(found.worst[found.chosen] - case.known["minimax_val"])
    record("minimax RMSE", name, minimax, tolerances.MINIMAX)


@pytest.mark.usefixtures("needs_r")
def test_whole_stage_chooses_as_the_original(golden: Path) -> None:
    case = load(golden, "arc")
    found = subsample(case.data, ORIGINAL)
    assert found.chosen + 1 == case.known["min_index"]
    assert list(found.chosen_items) == case.known["chosen_colnames"]


def test_one_spline(case: Golden, record: Record) -> None:
    name, gam = case.data.benchmark, case.gam
    x, y, test = case.first()
    fit = fit_adaptive(x, y)
    tolerance = tolerances.ADAPTIVE if name in STEEP else tolerances.ADAPTIVE_FLAT
    for what, ours, theirs in (
        ("fitted", fit.predict(x), gam["fitted_train"]),
        ("predicted", fit.predict(test), gam["pred_test"]),
        ("edf", fit.edf, gam["edf_total"]),
        ("residual variance", fit.scale, gam["sig2"]),
    ):
        worst = np.abs(np.asarray(ours) - np.asarray(theirs)).max()
        record("adaptive spline", f"{name}, {what}", worst, tolerance)


def test_gcv_at_mgcv_parameters_and_at_ours(case: Golden, record: Record) -> None:
    """What mgcv calls GCV is rounded where penalties are huge; sixty digits say how much."""
    x, y, _ = case.first()
    sp = np.array(list(case.gam["sp"].values()))
    exact = extended_gcv(x, y, sp)
    if sp.max() < np.exp(25):
        off = abs(exact - case.gam["gcv"])
        record("adaptive GCV", case.data.benchmark, off, tolerances.ADAPTIVE_GCV)
    fit = fit_adaptive(x, y)
    # Ours does not lose digits there.
    again = abs(extended_gcv(x, y, fit.sp) - fit.gcv)
    record("adaptive GCV", f"{case.data.benchmark}, ours", again, tolerances.ADAPTIVE_GCV)
    converged = fit_adaptive(x, y, AdaptiveOptions(search="converged"))
    excess = max(0.0, converged.gcv - exact)
    record("our GCV above mgcv's", case.data.benchmark, excess, tolerances.GCV_EXCESS)


def extended_gcv(x: np.ndarray, y: np.ndarray, sp: np.ndarray) -> float:
    """GCV from its definition by a dense Cholesky factor of numbers of 60 digits."""
    with localcontext() as context:
        context.prec = 60
        exact = np.vectorize(Decimal, otypes=[object])
        knots = exact(fit_adaptive(x, y, AdaptiveOptions(most_steps=1)).knots)
        width = (knots[-1] - knots[0]) / (len(knots) - 1)
        design = exact(np.zeros((len(x), 40)))
        for i, at in enumerate(exact(x)):
            # The cardinal cubic B-spline, piece by piece.
            for j in range(40):
                u = (at - knots[j]) / width
                if 0 <= u < 4:
                    pieces = enumerate((1, 4, 6, 4, 1))
                    design[i, j] = sum((-1) ** k * c * max(u - k, 0) ** 3 for k, c in pieces) / 6
        weight = (exact(sp)[:, None] * exact(penalty_weights())).sum(axis=0)
        differences = exact(np.diff(np.eye(40), 2, axis=0))
        normal = design.T @ design
        whole = normal + differences.T @ (weight[:, None] * differences)
        lower = exact(np.zeros((40, 40)))
        for j in range(40):
            rest = whole[j:, j] - lower[j:, :j] @ lower[j, :j] if j else whole[j:, j]
            lower[j:, j] = rest / rest[0].sqrt()

        def solve(right: np.ndarray) -> np.ndarray:
            out = right.copy()
            for j in range(40):
                out[j] = (out[j] - (lower[j, :j] @ out[:j] if j else 0)) / lower[j, j]
            for j in range(39, -1, -1):
                later = lower[j + 1 :, j] @ out[j + 1 :] if j < 39 else 0
                out[j] = (out[j] - later) / lower[j, j]
            return out

        left = exact(y) - design @ solve(design.T @ exact(y))
        edf = np.trace(solve(normal))
        return float(len(y) * (left @ left) / (len(y) - edf) ** 2)


@pytest.mark.slow
@pytest.mark.usefixtures("needs_r")
def test_where_we_differ_mgcv_differs_from_itself(golden: Path, record: Record) -> None:
    """The splines beyond the tolerance, by mgcv with the rows in six orders."""
    rng = np.random.default_rng(1)
    for name in NAMES:
        case = load(golden, name)
        problem = case.problem()
        rmse = chunk_errors(Shared(problem), case.picks)
        off = np.abs(rmse - case.rmse).max(axis=2)
        ratio = 0.0
        for subset, held in np.argwhere(off > tolerances.SUBSAMPLE_RMSE.value):
            share = (problem.answers[case.picks[subset]] == 1).mean(axis=0)
            train = np.flatnonzero((problem.fold >= 0) & (problem.fold != held))
            theirs = [case.rmse[subset, held]]
            for _ in range(6):
                rows = rng.permutation(train)
                data = {"y": problem.score[rows], "x": share[rows]}
                fit = rbridge.call("gam_fit", data=data, response="y", predictors=["x"])
                pair = []
                for mask in (problem.fold == held, problem.fold < 0):
                    at = rbridge.call("gam_predict", fit=fit, data={"x": share[mask]})
                    pair.append(np.sqrt(np.mean((problem.score[mask] - at) ** 2)))
                theirs.append(np.array(pair))
            moved = np.ptp(theirs, axis=0).max()
            nearest = np.abs(np.array(theirs) - rmse[subset, held]).max(axis=1).min()
            ratio = max(ratio, nearest / moved)
        record("RMSE beside mgcv's own changes", name, ratio, tolerances.REORDERED)
