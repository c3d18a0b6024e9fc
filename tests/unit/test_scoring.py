"""Native scoring against hand calculation, continuous integrals and brute force."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import integrate

from metabench_py.benchmarks import SCORE_METHODS, ScoreMethod
from metabench_py.errors import InputError, ResponseError
from metabench_py.irt.engine import get_engine
from metabench_py.irt.model import ItemParameters, information, probability
from metabench_py.irt.native import NativeEngine, modes, quadrature
from metabench_py.irt.native.scoring import score
from metabench_py.responses import ResponseMatrix


def items(
    a1: list[float], d: list[float], g: list[float] | None = None, u: list[float] | None = None
) -> ItemParameters:
    n = len(a1)
    ids = tuple(f"i{j}" for j in range(n))
    return ItemParameters(
        ids, np.array(a1), np.array(d), np.array(g or [0.0] * n), np.array(u or [1.0] * n)
    )


def answers(*rows: list[int]) -> ResponseMatrix:
    values = np.array(rows)
    llms = tuple(f"m{i}" for i in range(len(rows)))
    return ResponseMatrix(llms, tuple(f"i{j}" for j in range(values.shape[1])), values)


ONE = items([1.0], [0.0])


def as_mirt(*theta: float) -> object:
    """Where mirt's search ends: half a step of its forward differences below the mode."""
    return pytest.approx([t - 0.5e-6 * max(abs(t), 1.0) for t in theta], abs=1e-10)


def random_case(seed: int, n: int = 300, k: int = 25) -> tuple[ResponseMatrix, ItemParameters]:
    rng = np.random.default_rng(seed)
    parameters = items(
        list(rng.normal(1.2, 0.7, k)),
        list(rng.normal(0, 1.5, k)),
        list(rng.uniform(0, 0.3, k)),
        list(rng.uniform(0.8, 1.0, k)),
    )
    values = (rng.random((n, k)) < probability(parameters, rng.normal(size=n))).astype(np.int8)
    values[rng.random((n, k)) < 0.1] = -1
    return answers(*values.tolist()), parameters


def test_a_search_that_begins_in_a_valley_leaves_it() -> None:
    # Two items that mirror each other: the EAP is 0, where Warm's criterion is lowest nearby.
    mirrored = items([1.0, -1.0], [3.0, 3.0])
    result = score(answers([0, 0]), mirrored, "WLE")

    def criterion(theta: float) -> float:
        p = probability(mirrored, np.array([theta]))
        return float(
            np.log(1.0 - p).sum() + 0.5 * np.log(information(mirrored, np.array([theta])).sum())
        )

    peak = float(result.theta[0])
    assert criterion(peak) > criterion(0.0) + 0.1
    assert criterion(peak) > max(criterion(peak - 0.01), criterion(peak + 0.01))
    assert 0.0 < result.se[0] < np.inf


def test_map_of_one_right_answer_solves_its_equation() -> None:
    # d/dtheta: 1 / (1 + exp(theta)) = theta.
    result = score(answers([1], [0]), ONE, "MAP")
    theta = 0.40105813754154706
    assert result.theta == as_mirt(theta, -theta)
    # mirt's second derivative holds 1e-4 ahead of the mode.
    curvatures = [
        1.0 + math.exp(t) / (1.0 + math.exp(t)) ** 2 for t in (theta + 1e-4, 1e-4 - theta)
    ]
    assert result.se == pytest.approx([1.0 / math.sqrt(c) for c in curvatures], rel=1e-9)
    assert (result.method, result.engine) == ("MAP", "native")


def test_ml_of_one_right_and_one_wrong_is_where_they_balance() -> None:
    result = score(answers([1, 0]), items([1.0, 1.0], [0.5, 0.5]), "ML")
    assert result.theta == as_mirt(-0.5)
    # Of the curvature 1e-4 ahead of the mode, as mirt's.
    assert result.se == pytest.approx([math.sqrt(2.0)], rel=1e-8)


def test_wle_of_one_right_answer_is_log_three() -> None:
    # 1.5 log P + 0.5 log Q has its maximum at P = 3/4.
    result = score(answers([1], [0]), ONE, "WLE")
    assert result.theta == as_mirt(math.log(3), -math.log(3))


@pytest.mark.parametrize("seed", range(3))
def test_eap_equals_the_continuous_integral(seed: int) -> None:
    responses, parameters = random_case(seed, n=3)
    result = score(responses, parameters, "EAP")
    for row, values in enumerate(responses.values):

        def posterior(theta: float, power: int, values: np.ndarray = values) -> float:
            p = probability(parameters, theta)[0]
            like = np.where(values == 1, p, np.where(values == 0, 1 - p, 1.0)).prod()
            return float(theta**power * like * math.exp(-(theta**2) / 2))

        whole, first, second = (
            integrate.quad(posterior, -6, 6, args=(k,), epsabs=0, epsrel=1e-11, limit=200)[0]
            for k in range(3)
        )
        mean = first / whole
        assert result.theta[row] == pytest.approx(mean, abs=1e-6)
        assert result.se[row] == pytest.approx(math.sqrt(second / whole - mean**2), abs=1e-6)


def test_eapsum_with_missing_answers_equals_brute_force() -> None:
    """Sum scores of the answered items, every pattern of right and wrong written out."""
    parameters = items(
        [0.8, 1.5, -0.7, 2.0, 1.1], [0.3, -1.0, 0.2, 1.0, -0.5], [0.1] * 5, [0.95] * 5
    )
    responses = answers(
        [1, 0, 1, 1, 0], [1, -1, 1, 0, -1], [-1, -1, 0, -1, 1], [-1] * 5, [0, 1, -1, -1, 1]
    )
    nodes = np.linspace(-6, 6, 61)
    prior = np.exp(-(nodes**2) / 2)
    p = probability(parameters, nodes)
    result = score(responses, parameters, "EAPsum")
    for row, values in enumerate(responses.values):
        at = np.flatnonzero(values >= 0)
        like = np.zeros(61)
        for pattern in itertools.product((0, 1), repeat=len(at)):
            if sum(pattern) == (values == 1).sum():
                like += np.where(np.array(pattern, bool), p[:, at], 1 - p[:, at]).prod(axis=1)
        posterior = like * prior / (like * prior).sum()
        mean = posterior @ nodes
        assert result.theta[row] == pytest.approx(mean, abs=1e-12)
        assert result.se[row] == pytest.approx(np.sqrt(posterior @ (nodes - mean) ** 2), abs=1e-12)


def test_eapsum_survives_scores_too_unlikely_for_floating_point() -> None:
    """Half of 400 steep items point the other way, so all wrong is below 1e-308 everywhere."""
    half = 200
    parameters = items([3.0, -3.0] * half, [5.0, 5.0] * half)
    responses = answers([0] * 2 * half, [1, 0] * half)
    plain = quadrature.score_distribution(probability(parameters, np.linspace(-6, 6, 61)))
    assert plain[0].max() == 0.0
    result = score(responses, parameters, "EAPsum")
    # The items are symmetric about 0, and no answer right is likeliest at 0.
    assert result.theta[0] == pytest.approx(0.0, abs=1e-9)
    assert 0.0 < result.se[0] < 1.0
    assert np.isfinite(result.theta).all()


def test_log_and_plain_score_distributions_agree() -> None:
    _, parameters = random_case(5)
    nodes = np.linspace(-6, 6, 61)
    p = probability(parameters, nodes)
    logs = quadrature._log_score_distribution(p, 1 - p)
    assert np.exp(logs) == pytest.approx(quadrature.score_distribution(p), abs=1e-13)


def test_map_takes_the_mode_uphill_from_the_eap_not_the_highest() -> None:
    """Hard steep items with guessing make the posterior bimodal, as in MMLU."""
    parameters = items([1.0, 9.0, 9.0, 9.0], [1.0, -14.0, -14.5, -15.0], [0.0, 0.3, 0.3, 0.3])
    responses = answers([1, 1, 1, 1])
    grid = np.linspace(-4, 4, 80_001)
    value = np.log(probability(parameters, grid)).sum(axis=1) - grid**2 / 2
    at = np.flatnonzero((value[1:-1] > value[:-2]) & (value[1:-1] >= value[2:])) + 1
    assert at.size == 2
    low, high = grid[at]
    assert value[at[1]] > value[at[0]]
    valley = grid[at[0] + np.argmin(value[at[0] : at[1]])]
    start = score(responses, parameters, "EAP").theta[0]
    expected = low if start < valley else high
    assert score(responses, parameters, "MAP").theta[0] == pytest.approx(expected, abs=1e-4)
    # A fifth item pulls the start, and with it the mode, to the other side.
    more = items(
        [1.0, 9.0, 9.0, 9.0, 1.5],
        [1.0, -14.0, -14.5, -15.0, 0.0 if expected == high else -4.0],
        [0.0, 0.3, 0.3, 0.3, 0.0],
    )
    moved = score(answers([1, 1, 1, 1, int(expected == low)]), more, "MAP").theta[0]
    assert (moved < valley) == (expected == high)


@pytest.mark.parametrize("method", SCORE_METHODS)
def test_silent_llm_gets_the_prior_or_nothing(method: ScoreMethod) -> None:
    result = score(answers([-1, -1], [1, 0]), items([1.0, 0.7], [0.0, 0.3]), method)
    if method in ("ML", "WLE"):
        assert np.isnan(result.theta[0])
        assert np.isnan(result.se[0])
    else:
        assert result.theta[0] == pytest.approx(0.0, abs=1e-12)
        # The grid ends at 6, so its variance lacks the tails.
        assert result.se[0] == pytest.approx(1.0, abs=1e-7)
    assert np.isfinite(result.theta[1])
    assert np.isfinite(result.se[1])


def test_ml_of_all_wrong_and_all_right_is_infinite() -> None:
    parameters = items([1.0, -0.5, 2.0], [0.0, 0.3, 1.0], [0.2, 0.0, 0.1], [1.0, 0.9, 1.0])
    result = score(answers([0, 0, 0], [1, 1, 1], [0, -1, 0], [-1, 1, -1]), parameters, "ML")
    assert result.theta.tolist() == [-math.inf, math.inf, -math.inf, math.inf]
    assert np.isinf(result.se).all()


@pytest.mark.parametrize("method", SCORE_METHODS)
def test_chunks_do_not_show(method: ScoreMethod, monkeypatch: pytest.MonkeyPatch) -> None:
    responses, parameters = random_case(7)
    whole = score(responses, parameters, method)
    monkeypatch.setattr(modes, "_CHUNK_CELLS", 170)
    monkeypatch.setattr(quadrature, "_CHUNK_CELLS", 500)
    parts = score(responses, parameters, method)
    assert parts.theta == pytest.approx(whole.theta, abs=1e-7, nan_ok=True)
    assert parts.se == pytest.approx(whole.se, abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("method", SCORE_METHODS)
def test_no_llms_and_one_llm(method: ScoreMethod) -> None:
    responses, parameters = random_case(3)
    everyone = score(responses, parameters, method)
    nobody = score(responses.rows([]), parameters, method)
    assert nobody.theta.shape == nobody.se.shape == (0,)
    alone = score(responses.rows(["m4"]), parameters, method)
    assert alone.theta[0] == pytest.approx(everyone.theta[4], abs=1e-7)


def test_columns_are_matched_by_item_id() -> None:
    responses, parameters = random_case(4)
    order = list(reversed(parameters.items))
    shuffled = ResponseMatrix(
        responses.llms,
        (*order, "not in the model"),
        np.column_stack([responses.select(order).values, np.ones(responses.n_llms, np.int8)]),
    )
    expected = score(responses, parameters, "MAP").theta
    assert np.array_equal(score(shuffled, parameters, "MAP").theta, expected)


def test_missing_item_and_unknown_method_are_refused() -> None:
    responses, parameters = random_case(4)
    with pytest.raises(ResponseError, match=r"1 of 25 items .* 'i24'"):
        score(responses.select(parameters.items[:-1]), parameters, "MAP")
    with pytest.raises(InputError, match="No score method 'MLE'; there are MAP, EAP"):
        score(responses, parameters, "MLE")  # type: ignore[arg-type]


def test_the_engine_is_the_same_functions() -> None:
    responses, parameters = random_case(4)
    engine = get_engine("native")
    assert isinstance(engine, NativeEngine)
    ours = engine.score(responses, parameters, "WLE")
    assert np.array_equal(ours.theta, score(responses, parameters, "WLE").theta)
    grid = np.linspace(-3, 3, 7)
    assert np.array_equal(engine.information(parameters, grid), information(parameters, grid))
