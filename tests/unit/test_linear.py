"""Linear predictors, rank deficiency, sub-scores, joined features."""

from __future__ import annotations

import numpy as np
import pytest

from metabench_py.benchmarks import BENCHMARKS
from metabench_py.errors import InputError
from metabench_py.gam.features import feature_names, join_features, target_features
from metabench_py.gam.linear import fit_linear, out_of_fold, subscore


def simulated(n: int, d: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    ability = rng.normal(size=n)
    responses = (rng.normal(size=(n, d)) < ability[:, None]).astype(np.int8)
    return responses, 50 + 10 * ability + rng.normal(size=n)


def test_least_squares() -> None:
    x, y = simulated(200, 12)
    fit = fit_linear(x, y)
    residual = y - fit.predict(x)
    # The normal equations: residuals are orthogonal to every column.
    np.testing.assert_allclose(np.column_stack([np.ones(200), x]).T @ residual, 0, atol=1e-9)
    assert (fit.rank, fit.n) == (13, 200)


def test_dependent_columns_get_weight_zero_in_order() -> None:
    x, y = simulated(150, 8)
    constant, copy = np.ones((150, 1), np.int8), x[:, [2]]
    zero = np.zeros((150, 1), np.int8)
    wide = np.hstack([constant, x[:, :4], copy, zero, x[:, 4:]])
    fit, plain = fit_linear(wide, y), fit_linear(x, y)
    assert np.flatnonzero(fit.weights == 0).tolist() == [0, 5, 6]
    np.testing.assert_allclose(np.delete(fit.weights, [0, 5, 6]), plain.weights, atol=1e-10)
    assert (fit.rank, fit.intercept) == (9, pytest.approx(plain.intercept))


def test_fewer_llms_than_items_interpolates() -> None:
    x, y = simulated(10, 30)
    x = np.unique(x, axis=0)
    y = y[: len(x)]
    fit = fit_linear(x, y)
    assert fit.rank <= len(x)
    assert np.count_nonzero(fit.weights) <= fit.rank - 1


def test_unanswered_items() -> None:
    x, y = simulated(100, 5)
    holey = x.copy()
    holey[3, 1] = -1
    fit = fit_linear(holey, y)
    rest = np.arange(100) != 3
    assert fit.n == 99
    np.testing.assert_allclose(fit.weights, fit_linear(x[rest], y[rest]).weights)
    assert np.isnan(fit.predict(holey)).tolist() == (~rest).tolist()


def test_out_of_fold_never_saw_the_fold() -> None:
    x, y = simulated(120, 6)
    fold = np.array(["a", "b", "c"])[np.arange(120) % 3]
    predicted = out_of_fold(x, y, fold)
    moved = y + 1000.0 * (fold == "a")
    np.testing.assert_array_equal(out_of_fold(x, moved, fold)[fold == "a"], predicted[fold == "a"])
    here = fold == "b"
    np.testing.assert_allclose(
        predicted[here], fit_linear(x[~here], y[~here]).predict(x[here]), rtol=1e-14
    )


def test_subscores() -> None:
    x = np.array([[1, 1, 0, 1], [1, -1, 0, -1], [-1, -1, -1, -1]], np.int8)
    np.testing.assert_array_equal(subscore(x), [75.0, 50.0, np.nan])
    np.testing.assert_array_equal(subscore(x, extra=1), [60.0, 100 / 3, np.nan])


@pytest.mark.parametrize(
    ("responses", "score", "says"),
    [
        (np.ones(3), np.ones(3), "matrix"),
        (np.ones((3, 2)) * 0.5, np.ones(3), "1 right"),
        (np.ones((3, 2)), np.ones(2), "3 finite scores"),
        (np.ones((3, 2)), [1.0, 2.0, np.nan], "finite"),
        (-np.ones((3, 2)), np.ones(3), "answered all"),
    ],
)
def test_unusable_input_is_refused(responses: object, score: object, says: str) -> None:
    with pytest.raises(InputError, match=says):
        fit_linear(responses, score)  # type: ignore[arg-type]


def test_folds_must_be_several() -> None:
    x, y = simulated(20, 3)
    with pytest.raises(InputError, match="two folds"):
        out_of_fold(x, y, np.zeros(20))
    with pytest.raises(InputError, match="one fold label"):
        out_of_fold(x, y, np.zeros(19))


def test_joined_features() -> None:
    rng = np.random.default_rng(1)
    theta, linear, sub = ({b: rng.normal(size=4) for b in BENCHMARKS} for _ in range(3))
    table = join_features(theta, linear, sub)
    np.testing.assert_allclose(table["grand.l"], sum(linear.values()) / 6)
    mmlu = target_features(table, "mmlu")
    assert tuple(mmlu) == feature_names("mmlu")
    assert mmlu["this.s"] is table["mmlu.s"]
    assert mmlu["arc"] is table["arc"]
    assert "this.l" not in target_features(table, "grand")
    with pytest.raises(InputError, match=r"'mmlu\.l'"):
        join_features(theta, {b: v for b, v in linear.items() if b != "mmlu"}, sub)
    with pytest.raises(InputError, match="same LLMs"):
        join_features({**theta, "arc": np.zeros(3)}, linear, sub)
