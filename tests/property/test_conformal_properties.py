"""What must hold for any held-out errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from metabench_py.bundle.schema import ErrorTable
from metabench_py.reconstruction.conformal import ConformalInterval

scores = st.floats(0, 100, allow_subnormal=False)
errors = st.floats(-100, 100, allow_subnormal=False)
tables = st.integers(1, 120).flatmap(
    lambda n: st.builds(
        ErrorTable, arrays(float, n, elements=scores), arrays(float, n, elements=errors)
    )
)


@given(tables, st.lists(st.floats(-50, 150), min_size=1, max_size=5), st.floats(0.01, 0.99))
def test_bounds_are_finite_and_contain_the_prediction(table, predicted, level):
    lower, upper = ConformalInterval.from_errors(table).interval(predicted, level)
    assert np.isfinite(lower).all()
    assert np.isfinite(upper).all()
    assert (lower <= predicted).all()
    assert (predicted <= upper).all()


@given(tables, st.floats(0, 100), st.lists(st.floats(0.01, 0.99), min_size=2, max_size=6))
def test_a_higher_level_is_never_narrower(table, predicted, levels):
    conformal = ConformalInterval.from_errors(table)
    bounds = np.array([conformal.interval(predicted, level) for level in sorted(levels)])
    assert (np.diff(bounds[:, 0]) <= 0).all()
    assert (np.diff(bounds[:, 1]) >= 0).all()


@given(tables, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(table, random):
    order = list(range(table.error.size))
    random.shuffle(order)
    shuffled = ErrorTable(table.predicted[order], table.error[order])
    ours = ConformalInterval.from_errors(table).interval([10.0, 50.0, 90.0])
    theirs = ConformalInterval.from_errors(shuffled).interval([10.0, 50.0, 90.0])
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


@settings(deadline=None)
@given(tables, st.floats(0.1, 10))
def test_the_interval_scales_with_the_errors(table, factor):
    lower, upper = ConformalInterval.from_errors(table).interval(50.0)
    scaled = ErrorTable(table.predicted, table.error * factor)
    low, high = ConformalInterval.from_errors(scaled).interval(50.0)
    assert float(high - low) == pytest.approx(factor * float(upper - lower), rel=1e-6, abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.5, 0.8, 0.9, 0.95]),
    st.sampled_from(["normal", "skewed", "heavy"]),
)
def test_coverage_of_new_llms_under_uneven_noise(seed, level, noise):
    random = np.random.default_rng(seed)
    n, n_new = 2000, 4000
    predicted = 100 * random.beta(3, 2, n + n_new)
    sd = 0.3 + 3.0 * np.sin(predicted / 20) ** 2
    draw = {
        "normal": random.normal(size=n + n_new),
        "skewed": random.exponential(size=n + n_new) - 1.0,
        "heavy": random.standard_t(3, size=n + n_new),
    }[noise]
    error = sd * draw
    conformal = ConformalInterval.from_errors(ErrorTable(predicted[:n], error[:n]))
    lower, upper = conformal.interval(predicted[n:], level)
    true = predicted[n:] - error[n:]
    covered = ((lower <= true) & (true <= upper)).mean()
    # Sampling of both sets: sd of about sqrt(p (1 - p) (1 / n + 1 / n_new)), at most .014; 5 sd.
    tolerance = 5 * np.sqrt(level * (1 - level) * (1 / n + 1 / n_new))
    assert abs(covered - level) < tolerance
