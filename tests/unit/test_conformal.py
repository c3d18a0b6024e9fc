"""Conformal intervals: quantile rule, local width, order, bad input."""

from __future__ import annotations

import numpy as np
import pytest

from metabench_py.bundle.schema import ErrorTable
from metabench_py.errors import InputError
from metabench_py.reconstruction.conformal import ConformalInterval


def uniform_errors(n: int, seed: int = 0) -> ErrorTable:
    random = np.random.default_rng(seed)
    return ErrorTable(random.uniform(20, 80, n), random.normal(size=n))


def test_the_quantile_is_the_finite_sample_one():
    # Nine equal predictions: one window, so the ratios are the errors by leave-one-out width.
    conformal = ConformalInterval.from_errors(
        ErrorTable(np.full(9, 50.0), np.arange(1.0, 10.0) * [1, -1, 1, -1, 1, -1, 1, -1, 1])
    )
    assert conformal.ratios.shape == (9,)
    # ceil((9 + 1) * .9) = 9th of 9, ceil(10 * .5) = 5th.
    assert conformal.quantile(0.9) == conformal.ratios[8]
    assert conformal.quantile(0.5) == conformal.ratios[4]
    assert conformal.quantile(0.99) == conformal.ratios[8]


def test_an_llms_own_error_does_not_widen_its_own_interval():
    errors = np.full(10, 1.0)
    errors[3] = 5.0
    conformal = ConformalInterval.from_errors(ErrorTable(np.full(10, 50.0), errors))
    # The cap is the 99 % quantile of the errors; without itself the width is the others' mean, 1.
    capped = np.quantile(errors, 0.99)
    assert conformal.ratios[-1] == pytest.approx(5.0)
    assert conformal.ratios[0] == pytest.approx(9 / (8 + capped))


def test_the_width_follows_the_errors():
    random = np.random.default_rng(1)
    predicted = random.uniform(0, 100, 3000)
    error = random.normal(size=3000) * np.where(predicted < 50, 1.0, 4.0)
    lower, upper = ConformalInterval.from_errors(ErrorTable(predicted, error)).interval(
        [20.0, 80.0]
    )
    narrow, wide = upper - lower
    assert 3.0 < wide / narrow < 5.0


def test_one_wild_error_does_not_widen_its_neighbourhood():
    table = uniform_errors(2000)
    wild = table.error.copy()
    wild[7] = 500.0
    at = table.predicted[7]
    before = np.subtract(*ConformalInterval.from_errors(table).interval(at)[::-1])
    after = np.subtract(
        *ConformalInterval.from_errors(ErrorTable(table.predicted, wild)).interval(at)[::-1]
    )
    assert after == pytest.approx(before, rel=0.05)


def test_beyond_the_calibrated_range_the_width_stays():
    conformal = ConformalInterval.from_errors(uniform_errors(500))
    lower, upper = conformal.interval([-1e6, -10.0, 90.0, 1e6])
    width = upper - lower
    assert width[0] == pytest.approx(width[1])
    assert width[2] == pytest.approx(width[3])


def test_errors_of_zero_give_a_vanishing_interval():
    conformal = ConformalInterval.from_errors(ErrorTable(np.arange(50.0), np.zeros(50)))
    lower, upper = conformal.interval(25.0)
    assert lower == upper == 25.0


def test_one_error_is_enough_for_an_interval():
    conformal = ConformalInterval.from_errors(ErrorTable(np.array([50.0]), np.array([-2.0])))
    lower, upper = conformal.interval(60.0)
    assert (float(lower), float(upper)) == pytest.approx((58.0, 62.0))


@pytest.mark.parametrize("level", [0.0, 1.0, -0.1, 90.0, np.nan])
def test_a_level_that_is_no_share_is_refused(level: float):
    conformal = ConformalInterval.from_errors(uniform_errors(50))
    with pytest.raises(InputError, match="between 0 and 1"):
        conformal.interval(50.0, level)


@pytest.mark.parametrize(
    ("predicted", "error"),
    [([], []), ([50.0], [np.nan]), ([np.inf], [1.0]), ([50.0, 51.0], [1.0]), ([[50.0]], [[1.0]])],
)
def test_errors_that_are_not_usable_are_refused(predicted: list[float], error: list[float]):
    with pytest.raises(InputError, match="Conformal intervals need"):
        ConformalInterval.from_errors(ErrorTable(np.array(predicted), np.array(error)))
