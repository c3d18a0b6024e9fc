"""Our adaptive spline beside mgcv's, on data that are not the golden ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.adaptive import Criterion
from helpers.golden_subsample import benchmark_data

from metabench_py import rbridge
from metabench_py.calibration.subsample import SubsampleOptions, subsample
from metabench_py.gam.adaptive import AdaptiveOptions, fit_adaptive
from metabench_py.gam.mgcv import GamOptions, fit_gam

pytestmark = pytest.mark.usefixtures("needs_r")


def draw(name: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    x = np.round(rng.uniform(0.2, 1.0, 400) * 60) / 60
    noise = rng.normal(size=400)
    if name == "logistic":
        return x, 100 / (1 + np.exp(-8 * (x - 0.6))) + 3 * noise
    if name == "wave":
        return x, 5 * np.sin(12 * x) + noise
    if name == "jump":
        return x, 20.0 * (x > 0.7) + noise
    if name == "negative x":
        return 40 - 100 * x, (x - 0.5) ** 3 * 200 + noise
    # Fewer different values than coefficients.
    return np.round(x * 15) / 15, 50 * x**2 + noise


@pytest.mark.parametrize("name", ["logistic", "wave", "negative x", "few values"])
@pytest.mark.parametrize("k", [40, 20])
def test_same_steps_same_spline(name: str, k: int) -> None:
    x, y = draw(name)
    ours = fit_adaptive(x, y, AdaptiveOptions(basis_size=k))
    theirs, fit = fit_gam({"x": x}, y, "grand", predictors=("x",), options=GamOptions(k=k))
    # mgcv counts the last look at the slope as a step.
    assert ours.steps + 1 == fit.iterations
    assert ours.gcv == pytest.approx(fit.gcv, rel=1e-9)
    assert ours.edf == pytest.approx(fit.edf, abs=1e-6)
    assert ours.scale == pytest.approx(fit.scale, rel=1e-9)
    np.testing.assert_allclose(np.log(ours.sp), np.log(fit.sp), atol=1e-5)
    width = np.ptp(x)
    # Inside, at the ends of the data and of the knots, and far outside.
    at = np.linspace(x.min() - width, x.max() + width, 331)
    np.testing.assert_allclose(ours.predict(at), theirs.predict({"x": at}), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["logistic", "wave", "jump", "negative x", "few values"])
def test_converged_is_no_worse_than_mgcv(name: str) -> None:
    """By exact arithmetic: at penalties of 1e13 mgcv's own figure for GCV is 0.1 % off."""
    x, y = draw(name)
    _, fit = fit_gam({"x": x}, y, "grand", predictors=("x",))
    ours = fit_adaptive(x, y, AdaptiveOptions(search="converged"))
    exact = Criterion(x, y).at(np.log(fit.sp))[0]
    assert ours.gcv <= exact + 1e-9
    assert exact == pytest.approx(fit.gcv, rel=2e-3 if name == "jump" else 1e-9)


def test_second_stage_by_mgcv(golden: Path) -> None:
    data = benchmark_data(golden, "arc")
    options = SubsampleOptions(n_items=60, subsets=2, rule="original", partitioner="base")
    native = subsample(data, options)
    mgcv = subsample(data, replace(options, second_stage="mgcv"))
    np.testing.assert_allclose(native.rmse_validation, mgcv.rmse_validation, atol=1e-6)
    np.testing.assert_allclose(native.rmse_test, mgcv.rmse_test, atol=1e-6)


def test_draws_leave_rs_random_numbers_alone() -> None:
    assert rbridge.has_package("mgcv")
    data = benchmark_data(Path(__file__).resolve().parents[1] / "golden", "arc")
    options = SubsampleOptions(n_items=5, subsets=1, rule="original", partitioner="base")
    first, again = subsample(data, options), subsample(data, options)
    assert np.array_equal(first.picks, again.picks)
    assert np.array_equal(first.fold, again.fold)
