"""Sums of adaptive splines: against one spline, finite differences, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from metabench_py.errors import ConvergenceError, InputError
from metabench_py.gam.adaptive import AdaptiveOptions, fit_adaptive, penalty_weights
from metabench_py.gam.additive import _Term, fit_additive
from metabench_py.gam.additive_search import Problem

SMALL = AdaptiveOptions(basis_size=12)


def curves(n: int = 200) -> tuple[dict[str, np.ndarray], np.ndarray]:
    random = np.random.default_rng(3)
    a, b = random.normal(size=n), random.uniform(size=n)
    return {"a": a, "b": b}, 50 + 10 * np.tanh(2 * a) + 5 * b**2 + random.normal(size=n)


def test_one_term_is_the_adaptive_spline() -> None:
    features, y = curves()
    many, one = fit_additive({"a": features["a"]}, y), fit_adaptive(features["a"], y)
    assert many.n == one.n
    # A long search along flat GCV; rounding ends it a step earlier or later.
    assert abs(many.steps - one.steps) <= 2
    assert many.gcv == pytest.approx(one.gcv, rel=1e-8)
    assert many.edf == pytest.approx(one.edf, rel=1e-5)
    at = np.linspace(-4, 4, 50)
    assert np.abs(many.gam.predict({"a": at}) - one.predict(at)).max() < 1e-4


def test_derivatives_are_those_of_gcv() -> None:
    features, y = curves()
    weights = penalty_weights(12)
    terms = [_Term.on(x, 12) for x in features.values()]
    design = np.column_stack([np.ones(len(y)), *(term.centred for term in terms)])
    start = np.concatenate([term.start(weights) for term in terms])
    problem = Problem(design, y, [term.differences for term in terms], weights, start)
    gradient, hessian = problem.derivatives(problem.at(start))
    h = 1e-4
    for j, step in enumerate(h * np.eye(len(start))):
        above, below = (problem.at(start + sign * step) for sign in (1, -1))
        assert gradient[j] == pytest.approx((above.gcv - below.gcv) / (2 * h), abs=1e-7)
        slopes = [problem.derivatives(point)[0] for point in (above, below)]
        assert hessian[j] == pytest.approx((slopes[0] - slopes[1]) / (2 * h), abs=1e-7)


def test_gcv_is_that_of_the_dense_normal_equations() -> None:
    features, y = curves()
    fit = fit_additive(features, y, SMALL)
    weights = penalty_weights(12)
    terms = [_Term.on(x, 12) for x in features.values()]
    design = np.column_stack([np.ones(len(y)), *(term.centred for term in terms)])
    whole = design.T @ design
    for t, (term, sp) in enumerate(zip(terms, np.split(fit.sp, 2), strict=True)):
        at = slice(1 + 11 * t, 1 + 11 * (t + 1))
        whole[at, at] += term.differences.T @ ((sp @ weights)[:, None] * term.differences)
    hat = design @ np.linalg.solve(whole, design.T)
    left = y - hat @ y
    n, edf = len(y), np.trace(hat)
    assert fit.edf == pytest.approx(edf, rel=1e-6)
    assert fit.gcv == pytest.approx(n * (left @ left) / (n - edf) ** 2, rel=1e-8)
    assert np.abs(fit.gam.predict(features) - fit.fitted).max() < 1e-9
    assert np.abs(fit.fitted - hat @ y).max() < 1e-6


def test_rows_in_another_order_change_nothing() -> None:
    features, y = curves()
    order = np.random.default_rng(1).permutation(len(y))
    one = fit_additive(features, y, SMALL)
    other = fit_additive({name: x[order] for name, x in features.items()}, y[order], SMALL)
    assert np.abs(one.fitted[order] - other.fitted).max() < 1e-6


def test_what_cannot_be_fitted_is_refused() -> None:
    features, y = curves(60)
    with pytest.raises(InputError, match="fewer than the GAM's 79"):
        fit_additive(features, y)
    with pytest.raises(InputError, match="Row 3: b = nan"):
        fit_additive({**features, "b": np.where(np.arange(60) == 2, np.nan, 1.0)}, y, SMALL)
    with pytest.raises(InputError, match="'b' does not vary"):
        fit_additive({**features, "b": np.ones(60)}, y, SMALL)
    with pytest.raises(InputError, match="no search 'converged'"):
        fit_additive(features, y, AdaptiveOptions(basis_size=12, search="converged"))
    with pytest.raises(InputError, match="needs a feature"):
        fit_additive({}, y, SMALL)
    twice = {"a": features["a"], "b": 2.0 * features["a"]}
    with pytest.raises(ConvergenceError, match="GAM of 'score'"):
        fit_additive(twice, y, SMALL)
