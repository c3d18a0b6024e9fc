"""Fitting item parameters natively: the objective, the optimum, and refusals."""

from __future__ import annotations

import numpy as np
import pytest

from metabench_py.benchmarks import ItemType
from metabench_py.errors import InputError, ResponseError
from metabench_py.irt.engine import FitOptions
from metabench_py.irt.model import Floats, ItemParameters, probability
from metabench_py.irt.native import NativeEngine
from metabench_py.irt.native.counts import Patterns
from metabench_py.irt.native.marginal import SLOPE_LIMIT, Curves, Marginal, coordinates
from metabench_py.responses import ResponseMatrix

ENGINE = NativeEngine()
CONVERGED = FitOptions(mode="converged")
SIZES: dict[ItemType, int] = {"2PL": 2, "3PL": 3, "4PL": 4}


def simulate(
    n: int = 400, n_items: int = 8, seed: int = 3, missing: float = 0.0
) -> tuple[ResponseMatrix, ItemParameters]:
    random = np.random.default_rng(seed)
    truth = ItemParameters(
        tuple(f"i{j}" for j in range(n_items)),
        random.uniform(0.7, 2.0, n_items),
        random.uniform(-1.5, 1.5, n_items),
        np.zeros(n_items),
        np.ones(n_items),
    )
    chance = probability(truth, random.normal(size=n))
    values = (random.uniform(size=chance.shape) < chance).astype(np.int8)
    values[random.uniform(size=chance.shape) < missing] = -1
    return ResponseMatrix(tuple(f"llm{i}" for i in range(n)), truth.items, values), truth


def marginal_log_likelihood(responses: ResponseMatrix, parameters: ItemParameters) -> float:
    """Written out anew, LLM by LLM, so that the engine does not vouch for itself."""
    nodes = np.linspace(-6, 6, 61)
    prior = np.exp(-(nodes**2) / 2)
    prior /= prior.sum()
    right = probability(parameters, nodes)
    total = 0.0
    for answers in responses.values:
        likelihood = prior.copy()
        for item, answer in enumerate(answers):
            if answer == 1:
                likelihood *= right[:, item]
            elif answer == 0:
                likelihood *= 1 - right[:, item]
        total += np.log(likelihood.sum())
    return float(total)


def as_parameters(items: tuple[str, ...], z: Floats) -> ItemParameters:
    curves = Curves.of(z)
    return ItemParameters(items, curves.a, curves.d, curves.g, curves.u)


@pytest.mark.parametrize("item_type", ["2PL", "3PL", "4PL"])
@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_value_and_gradient(item_type: ItemType, missing: float) -> None:
    responses, _ = simulate(n=60, n_items=4, missing=missing)
    size = SIZES[item_type]
    random = np.random.default_rng(8)
    z = random.normal(size=(4, size))
    z[0, 0] = -1.3
    objective = Marginal(Patterns.of(responses))
    point = objective.at(z)
    brute = marginal_log_likelihood(responses, as_parameters(responses.items, z))
    assert -point.value * objective.n == pytest.approx(brute, abs=1e-9)
    step = 1e-5
    for item in range(4):
        for k in range(size):
            moved = [z.copy(), z.copy()]
            moved[0][item, k] -= step
            moved[1][item, k] += step
            low, high = (
                marginal_log_likelihood(responses, as_parameters(responses.items, m)) for m in moved
            )
            slope = -(high - low) / (2 * step) / objective.n
            assert point.gradient[item, k] == pytest.approx(slope, abs=2e-7)


def test_coordinates_go_there_and_back() -> None:
    random = np.random.default_rng(4)
    a, d = random.normal(0, 3, 50).clip(-9, 9), random.normal(size=50)
    g, u = random.uniform(0.01, 0.4, 50), random.uniform(0.5, 0.99, 50)
    curves = Curves.of(coordinates(a, d, g, u, 4))
    for ours, given in ((curves.a, a), (curves.d, d), (curves.g, g), (curves.u, u)):
        np.testing.assert_allclose(ours, given, atol=1e-12)
    np.testing.assert_allclose(curves.above, 1 - u, atol=1e-12)


def test_converged_finds_what_made_the_data() -> None:
    responses, truth = simulate(n=6000, n_items=12, seed=1)
    fit = ENGINE.fit(responses, "2PL", CONVERGED)
    assert fit.converged
    assert fit.mode == "converged"
    assert fit.messages == ()
    np.testing.assert_allclose(fit.parameters.a1, truth.a1, atol=0.2)
    np.testing.assert_allclose(fit.parameters.d, truth.d, atol=0.15)


def test_both_modes_agree_where_the_optimum_is_sharp() -> None:
    responses, _ = simulate(missing=0.1)
    converged = ENGINE.fit(responses, "2PL", CONVERGED)
    path = ENGINE.fit(responses, "2PL")
    assert path.converged
    assert path.messages == ()
    assert path.gradient_norm is not None
    assert converged.gradient_norm is not None
    assert converged.gradient_norm < path.gradient_norm < 1e-3
    assert path.log_likelihood <= converged.log_likelihood < path.log_likelihood + 0.05
    np.testing.assert_allclose(converged.parameters.a1, path.parameters.a1, atol=0.02)


def test_order_of_llms_and_items_does_not_matter() -> None:
    responses, _ = simulate()
    fit = ENGINE.fit(responses, "2PL", CONVERGED)
    turned = ResponseMatrix(
        responses.llms[::-1], responses.items[::-1], responses.values[::-1, ::-1]
    )
    other = ENGINE.fit(turned, "2PL", CONVERGED)
    np.testing.assert_allclose(other.parameters.a1[::-1], fit.parameters.a1, atol=1e-4)
    assert other.log_likelihood == pytest.approx(fit.log_likelihood, abs=1e-6)


def test_slopes_stay_within_their_bound_and_it_is_said() -> None:
    responses, _ = simulate(n=300, n_items=6)
    ability = responses.values.sum(axis=1)
    # A perfect step at one ability: its likelihood rises with the slope without end.
    step = (ability > 3).astype(np.int8)
    values = np.column_stack([responses.values, step, step, step]).astype(np.int8)
    items = (*responses.items, "step1", "step2", "step3")
    fit = ENGINE.fit(ResponseMatrix(responses.llms, items, values), "2PL", CONVERGED)
    assert np.abs(fit.parameters.a1).max() <= SLOPE_LIMIT
    assert any("bound" in message and "step1" in message for message in fit.messages)


def test_too_few_iterations_are_said() -> None:
    responses, _ = simulate()
    fit = ENGINE.fit(responses, "2PL", FitOptions(mode="converged", max_cycles=3))
    assert not fit.converged
    assert fit.iterations == 3
    assert "No optimum after 3" in fit.messages[0]


def test_an_item_answered_alike_is_named() -> None:
    responses, _ = simulate()
    values = responses.values.copy()
    values[:, 2] = 1
    with pytest.raises(ResponseError, match="'i2'"):
        ENGINE.fit(ResponseMatrix(responses.llms, responses.items, values), "2PL")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (FitOptions(mode="fast"), "mode"),  # type: ignore[arg-type]
        (FitOptions(tolerance=0.0), "tolerance"),
        (FitOptions(max_cycles=0), "at least 1"),
        (FitOptions(max_cycles=2.5), "whole number"),  # type: ignore[arg-type]
    ],
)
def test_options_out_of_range(options: FitOptions, message: str) -> None:
    responses, _ = simulate(n=50, n_items=3)
    with pytest.raises(InputError, match=message):
        ENGINE.fit(responses, "2PL", options)


def test_too_little_to_fit() -> None:
    one = ResponseMatrix(("a", "b"), ("i",), np.array([[0], [1]], dtype=np.int8))
    with pytest.raises(ResponseError, match="at least 2 items"):
        ENGINE.fit(one, "2PL")
