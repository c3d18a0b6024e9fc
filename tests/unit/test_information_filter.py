"""Information filtering on small cases that can be done by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabench_py.calibration.information_filter import (
    bin_maxima,
    filter_items,
    quantiles_type4,
    theta_grid,
)
from metabench_py.errors import InputError
from metabench_py.irt.model import ItemParameters, information

NONE = -np.inf


def test_each_interval_takes_its_best_remaining_item() -> None:
    maxima = np.array([[1.0, 3.0, 2.0], [1.0, 9.0, 2.0], [NONE, NONE, NONE], [5.0, 9.0, 9.0]])
    assert filter_items(maxima) == [1, 2, 0]


def test_the_first_of_equals_wins() -> None:
    assert filter_items(np.array([[2.0, 2.0, 2.0], [2.0, 2.0, 2.0]])) == [0, 1]


def test_an_item_at_the_threshold_counts() -> None:
    maxima = np.array([[1.0, 0.5], [1.0, 0.5], [0.2, 0.49]])
    assert filter_items(maxima, 0.5) == [0, 1]
    assert filter_items(maxima, 0.51) == [0]
    assert filter_items(maxima, 2.0) == []


def test_a_budget_goes_round_again_or_stops() -> None:
    maxima = np.array([[4.0, 3.0, 2.0, 1.0], [1.0, 2.0, 3.0, 4.0]])
    assert filter_items(maxima) == [0, 3]
    assert filter_items(maxima, budget=1) == [0]
    assert filter_items(maxima, budget=3) == [0, 3, 1]
    assert filter_items(maxima, budget=9) == [0, 3, 1, 2]
    assert filter_items(maxima, 3.5, budget=9) == [0, 3]


@pytest.mark.parametrize(("threshold", "budget"), [(-0.1, None), (float("nan"), None), (0.0, 0)])
def test_bad_values(threshold: float, budget: int | None) -> None:
    with pytest.raises(InputError):
        filter_items(np.ones((2, 2)), threshold, budget)


def test_maxima_are_over_half_open_intervals() -> None:
    parameters = ItemParameters(("a", "b"), *np.array([[2, 1], [-2, 1], [0, 0], [1, 1]], float))
    grid = theta_grid([-1.0, 0.0, 1.0, 2.0], "quantiles", 2)
    inside = information(parameters, grid)
    ours = bin_maxima(parameters, grid, 2)
    # Quantiles -1, 0, 2: the lowest LLM alone, then two; the best is in none.
    assert ours[0].tolist() == inside[0].tolist()
    assert ours[1].tolist() == inside[1:3].max(axis=0).tolist()


def test_the_range_grid_ends_at_both_ends() -> None:
    grid = theta_grid([0.3, -1.7, 2.9], "range", 7)
    assert (grid[0], grid[-1], len(grid)) == (-1.7, 2.9, 7)
    assert np.diff(grid) == pytest.approx(4.6 / 6)


@given(
    st.lists(st.floats(-5, 5), min_size=1, max_size=40),
    st.integers(1, 30),
)
def test_empty_intervals_give_nothing_and_no_item_comes_twice(
    theta: list[float], n_bins: int
) -> None:
    parameters = ItemParameters(
        ("a", "b", "c"), *np.array([[1, 2, 0.5], [0, -1, 1], [0, 0.2, 0], [1, 1, 0.9]], float)
    )
    grid = theta_grid(theta, "quantiles", n_bins)
    maxima = bin_maxima(parameters, grid, n_bins)
    edges = quantiles_type4(grid, np.arange(n_bins + 1) / n_bins)
    for row, low, high in zip(maxima, edges[:-1], edges[1:], strict=True):
        inside = grid[(grid >= low) & (grid < high)]
        if inside.size:
            assert row.tolist() == information(parameters, inside).max(axis=0).tolist()
        else:
            assert (row == NONE).all()
    chosen = filter_items(maxima)
    assert len(set(chosen)) == len(chosen)
