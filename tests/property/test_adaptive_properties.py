"""What must hold of any adaptive spline, whatever the data."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.adaptive import Criterion
from hypothesis import example, given, settings
from hypothesis import strategies as st

from metabench_py.errors import InputError
from metabench_py.gam import PortableGam
from metabench_py.gam.adaptive import (
    AdaptiveFit,
    AdaptiveOptions,
    fit_adaptive,
    fit_grouped,
)

CONVERGED = AdaptiveOptions(search="converged")


def data(seed: int, n: int = 200, steps: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """A bent curve on a grid of shares, with noise."""
    rng = np.random.default_rng(seed)
    x = rng.binomial(steps, rng.beta(4.0, 2.0, n)) / steps
    return x, 100 / (1 + np.exp(-rng.uniform(2, 12) * (x - 0.6))) + rng.normal(0, 3, n)


def same(a: AdaptiveFit, b: AdaptiveFit) -> bool:
    return (
        np.array_equal(a.coefficients, b.coefficients)
        and np.array_equal(a.sp, b.sp)
        and (a.gcv, a.edf) == (b.gcv, b.edf)
    )


@given(st.integers(0, 10_000))
@settings(max_examples=25)
def test_the_order_of_rows_changes_no_digit(seed: int) -> None:
    x, y = data(seed)
    rows = np.random.default_rng(seed).permutation(len(x))
    assert same(fit_adaptive(x, y), fit_adaptive(x[rows], y[rows]))


@given(st.integers(0, 10_000))
@settings(max_examples=25)
def test_duplicate_rows_are_weights(seed: int) -> None:
    """Each row several times is one row of that weight, as far as sums round alike."""
    rng = np.random.default_rng(seed)
    x = np.unique(data(seed)[0])
    y = np.round(100 * x**2 + rng.normal(0, 4, len(x)), 1)
    times = 2 ** rng.integers(1, 4, len(x))
    options = AdaptiveOptions(basis_size=20, search="converged")
    one = fit_adaptive(np.repeat(x, times), np.repeat(y, times), options)
    other = fit_grouped(x, times.astype(float), y, 0.0, options)
    assert one.gcv == pytest.approx(other.gcv, rel=1e-6)
    np.testing.assert_allclose(one.predict(x), other.predict(x), atol=0.01)


@given(st.integers(0, 10_000))
@example(89)
@example(6651)
@settings(max_examples=25)
def test_no_smoothing_parameters_nearby_have_a_smaller_gcv(seed: int) -> None:
    x, y = data(seed)
    fit, criterion = fit_adaptive(x, y, CONVERGED), Criterion(x, y)
    rho = np.log(fit.sp)
    assert criterion.at(rho)[0] == pytest.approx(fit.gcv, rel=1e-13)
    rng = np.random.default_rng(seed)
    for size in (1e-3, 0.1, 0.5):
        for _ in range(30):
            near = criterion.at(rho + rng.normal(0, size, 5))[0]
            assert near >= fit.gcv * (1 - 1e-9)
    assert fit.gcv <= fit_adaptive(x, y).gcv


@given(st.integers(0, 10_000), st.floats(-6, 12))
@settings(max_examples=40)
def test_derivatives_are_those_of_the_criterion(seed: int, shift: float) -> None:
    criterion = Criterion(*data(seed))
    rho = criterion.start + shift + np.random.default_rng(seed).normal(0, 2, 5)
    _, slope, curve = criterion.at(rho)
    for j, step in enumerate(1e-4 * np.eye(5)):
        up, down = criterion.at(rho + step), criterion.at(rho - step)
        scale = 1 + abs(slope).max()
        assert slope[j] == pytest.approx((up[0] - down[0]) / 2e-4, abs=1e-6 * scale)
        np.testing.assert_allclose(curve[j], (up[1] - down[1]) / 2e-4, atol=1e-6 * scale)


@given(st.integers(0, 10_000))
@settings(max_examples=20)
def test_a_straight_line_is_found_and_continued(seed: int) -> None:
    x, _ = data(seed)
    fit = fit_adaptive(x, 30 + 50 * x)
    far = np.array([-2.0, -0.1, 0.3, 1.0, 1.7])
    np.testing.assert_allclose(fit.predict(far), 30 + 50 * far, atol=1e-6)


@given(st.integers(0, 10_000))
@settings(max_examples=20)
def test_beyond_the_data_it_goes_on_straight(seed: int) -> None:
    x, y = data(seed)
    fit = fit_adaptive(x, y)
    for side in (fit.knots[3] - np.arange(4.0), fit.knots[40] + np.arange(4.0)):
        bend = np.diff(fit.predict(side), 2)
        assert np.abs(bend).max() < 1e-8 * max(1.0, np.abs(fit.predict(side)).max())
    # The portable spline of bundles says the same everywhere.
    at = np.linspace(-1, 2, 301)
    portable = PortableGam("grand", 0.0, (fit.term("x"),)).predict({"x": at})
    np.testing.assert_allclose(fit.predict(at), portable, rtol=1e-9, atol=1e-9)


@given(st.integers(0, 10_000))
@settings(max_examples=20)
def test_it_lies_between_a_line_and_the_means(seed: int) -> None:
    x, y = data(seed)
    fit = fit_adaptive(x, y)
    assert 2 - 1e-6 <= fit.edf <= 40 + 1e-6
    line = np.polyval(np.polyfit(x, y, 1), x)
    assert ((y - fit.predict(x)) ** 2).sum() <= ((y - line) ** 2).sum() * (1 + 1e-9)
    # An intercept is in it, so residuals sum to zero.
    assert abs((y - fit.predict(x)).mean()) < 1e-7


@pytest.mark.parametrize(
    ("x", "y", "says"),
    [
        ([0.1] * 50, [1.0] * 50, "two or more different values"),
        ([0.1, np.nan] * 25, [1.0] * 50, "Row 2: x = nan"),
        ([0.1, 0.2] * 10, [1.0] * 20, "20 observations are fewer"),
        ([0.1, 0.2], [1.0], "of one length"),
    ],
)
def test_what_cannot_be_fitted(x: list[float], y: list[float], says: str) -> None:
    with pytest.raises(InputError, match=says):
        fit_adaptive(x, y)


def test_odd_options() -> None:
    with pytest.raises(InputError, match="'newton': choose mgcv-path, converged"):
        AdaptiveOptions(search="newton")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="3 coefficients with 5 penalties"):
        AdaptiveOptions(basis_size=3)


def test_what_is_not_finite_is_predicted_as_nan() -> None:
    fit = fit_adaptive(*data(1))
    at = fit.predict([[0.5, np.nan], [np.inf, 0.7]])
    assert at.shape == (2, 2)
    assert np.array_equal(np.isnan(at), [[False, True], [True, False]])
