"""Orders of items: forward selection against brute force, and lists that a bundle takes."""

from __future__ import annotations

from functools import reduce
from operator import add

import numpy as np
import pytest

from metabench_py.calibration.greedy import greedy_order
from metabench_py.calibration.item_orders import check_listed, with_least
from metabench_py.calibration.moments import PENALTIES, Moments, fit_ridge
from metabench_py.errors import InputError
from metabench_py.irt.model import Floats

FOLDS = 4


def world(seed: int = 1, n: int = 200, p: int = 12) -> tuple[Floats, Floats]:
    random = np.random.default_rng(seed)
    ability = random.normal(size=n)
    slope = random.uniform(0.0, 2.0, p)
    chance = 1.0 / (1.0 + np.exp(-slope * ability[:, None] + random.normal(size=p)))
    items = (random.random((n, p)) < chance).astype(np.float64)
    scores = np.column_stack([50 + 10 * ability, 40 + 5 * ability + random.normal(size=n)])
    return items, scores


def folds_of(items: Floats, scores: Floats) -> list[Moments]:
    return [Moments.of(items[i::FOLDS], scores[i::FOLDS]) for i in range(FOLDS)]


def held_out_square(
    items: Floats, scores: Floats, kept: list[int], penalty: float, weights: Floats
) -> float:
    """Squared error of ridge regressions written down as in a textbook."""
    total = 0.0
    for fold in range(FOLDS):
        out = np.arange(len(items)) % FOLDS == fold
        x, y = items[:, kept], scores
        mean, level = x[~out].mean(axis=0), y[~out].mean(axis=0)
        centred = x[~out] - mean
        gram = centred.T @ centred + penalty * np.eye(len(kept))
        slopes = np.linalg.solve(gram, centred.T @ (y[~out] - level))
        error = level + (x[out] - mean) @ slopes - y[out]
        total += float((error**2).sum(axis=0) @ weights)
    return total


@pytest.mark.parametrize("weights", [(1.0, 0.0), (0.3, 2.0)])
def test_greedy_is_brute_force(weights: tuple[float, float]) -> None:
    items, scores = world()
    weight = np.array(weights)
    order = greedy_order(folds_of(items, scores), items.shape[1], weight, 3.0, items.shape[1])
    assert sorted(order.tolist()) == list(range(items.shape[1]))
    kept: list[int] = []
    for item in order.tolist():
        free = [i for i in range(items.shape[1]) if i not in kept]
        errors = [held_out_square(items, scores, [*kept, i], 3.0, weight) for i in free]
        assert free[int(np.argmin(errors))] == item
        kept.append(item)


def test_ridge_is_that_of_all_features() -> None:
    """Items and shares right as columns, solved as in a textbook."""
    items, scores = world(p=9)
    benchmark = np.repeat([0, 1, 2], 3)
    columns = np.array([0, 2, 3, 7, 8])
    folds = folds_of(items, scores)
    fit = fit_ridge(folds, columns, benchmark)
    own = benchmark[columns]
    shares = [100 * items[:, columns][:, own == b].mean(axis=1) for b in (0, 1, 2)]
    features = np.column_stack([items[:, columns], *shares])
    centred = features - features.mean(axis=0)
    for target in range(2):
        errors = [
            held_out_square(features, scores, list(range(8)), penalty, np.eye(2)[target])
            for penalty in PENALTIES
        ]
        assert fit.penalty[target] == PENALTIES[int(np.argmin(errors))]
        gram = centred.T @ centred + fit.penalty[target] * np.eye(8)
        level = scores[:, target].mean()
        slopes = np.linalg.solve(gram, centred.T @ (scores[:, target] - level))
        predicted = items[:, columns] @ fit.slopes[:, target] + fit.constant[target]
        np.testing.assert_allclose(predicted, level + centred @ slopes, atol=1e-8)


def test_moments_add_up() -> None:
    items, scores = world()
    joined = reduce(add, folds_of(items, scores))
    whole = Moments.of(items, scores)
    np.testing.assert_allclose(joined.products, whole.products)
    point = np.arange(14.0)
    apart = np.column_stack([items, scores]) - point
    np.testing.assert_allclose(whole.about(point), apart.T @ apart, rtol=1e-9, atol=1e-6)


def test_lists_have_the_least_of_each_benchmark() -> None:
    benchmark = np.array([0] * 8 + [1] * 4 + [2] * 1)
    order = [0, 1, 2, 3, 8, 4, 5, 6, 7, 9, 10, 11, 12]
    assert with_least(order, benchmark, 13, 3) == order
    # Three of the first, three of the second, and all that the third has.
    assert with_least(order, benchmark, 7, 3) == [0, 1, 2, 8, 9, 10, 12]
    assert with_least(order, benchmark, 9, 3) == [0, 1, 2, 3, 8, 4, 9, 10, 12]


def test_a_list_of_too_few_or_too_many() -> None:
    benchmark = np.array([0] * 30 + [1] * 12 + [2] * 4)
    check_listed(benchmark, 24)
    for n in (23, 47):
        with pytest.raises(InputError, match=r"take 24 or more, .* at most the 46"):
            check_listed(benchmark, n)
