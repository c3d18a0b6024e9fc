"""What holds for every item model and every set of answers."""

from __future__ import annotations

import itertools
import math

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from metabench_py.benchmarks import ItemType, ScoreMethod
from metabench_py.irt.model import Floats, ItemParameters, information, probability
from metabench_py.irt.native.quadrature import score_distribution
from metabench_py.irt.native.scoring import score
from metabench_py.responses import ResponseMatrix

# mirt's forward differences end half a step below the mode, and so do ours.
OFFSET = 0.5e-6
METHODS: tuple[ScoreMethod, ...] = ("MAP", "EAP", "EAPsum", "ML", "WLE")
methods = st.sampled_from(METHODS)


@st.composite
def models(
    draw: st.DrawFn, kind: ItemType | None = None, *, rising: bool = False, most: int = 8
) -> ItemParameters:
    kind = kind or draw(st.sampled_from(("2PL", "3PL", "4PL")))
    n = draw(st.integers(1, most))

    def some(lower: float, upper: float) -> Floats:
        return np.array(draw(st.lists(st.floats(lower, upper), min_size=n, max_size=n)))

    a1 = some(0.1, 4.0)
    if not rising:
        signs = draw(st.lists(st.sampled_from((1.0, 1.0, -1.0)), min_size=n, max_size=n))
        a1 = a1 * np.array(signs)
    g = some(0.0, 0.4) if kind != "2PL" else np.zeros(n)
    u = some(0.6, 1.0) if kind == "4PL" else np.ones(n)
    return ItemParameters(tuple(f"i{j}" for j in range(n)), a1, some(-4.0, 4.0), g, u)


@st.composite
def answers(draw: st.DrawFn, model: ItemParameters, lowest: int = -1) -> ResponseMatrix:
    n = draw(st.integers(1, 6))
    row = st.lists(st.integers(lowest, 1), min_size=len(model.items), max_size=len(model.items))
    values = np.array(draw(st.lists(row, min_size=n, max_size=n)))
    return ResponseMatrix(tuple(f"m{i}" for i in range(n)), model.items, values)


def log_posterior(values: np.ndarray, model: ItemParameters, theta: float) -> float:
    p = probability(model, theta)[0]
    like = np.where(values == 1, p, np.where(values == 0, 1.0 - p, 1.0))
    return float(np.log(like).sum() - theta**2 / 2.0)


@given(st.data(), models(), methods)
def test_the_order_of_llms_does_not_matter(
    data: st.DataObject, model: ItemParameters, method: ScoreMethod
) -> None:
    responses = data.draw(answers(model))
    order = data.draw(st.permutations(responses.llms))
    plain = score(responses, model, method)
    mixed = score(responses.rows(order), model, method)
    at = [responses.llms.index(name) for name in order]
    assert np.array_equal(mixed.theta, plain.theta[at], equal_nan=True)
    assert np.array_equal(mixed.se, plain.se[at], equal_nan=True)


@given(st.data(), models("2PL"))
def test_the_order_of_items_does_not_matter(data: st.DataObject, model: ItemParameters) -> None:
    """Of all item models, the 2PL alone has one mode for certain."""
    responses = data.draw(answers(model))
    order = data.draw(st.permutations(model.items))
    for method in ("MAP", "EAP", "EAPsum"):
        plain = score(responses, model, method)
        for mixed in (
            score(responses, model.select(order), method),
            score(responses.select(order), model, method),
        ):
            np.testing.assert_allclose(mixed.theta, plain.theta, atol=1e-8)
            np.testing.assert_allclose(mixed.se, plain.se, atol=1e-8)


@given(st.data(), models("2PL"), methods)
def test_a_missing_answer_is_a_dropped_item(
    data: st.DataObject, model: ItemParameters, method: ScoreMethod
) -> None:
    values = data.draw(answers(model)).values[0]
    there = [item for item, value in zip(model.items, values, strict=True) if value >= 0]
    assume(there)
    responses = ResponseMatrix(("m",), model.items, values[None])
    with_gaps = score(responses, model, method)
    dropped = score(responses.select(there), model.select(there), method)
    np.testing.assert_allclose(with_gaps.theta, dropped.theta, atol=1e-7)
    np.testing.assert_allclose(with_gaps.se, dropped.se, rtol=1e-6)


@given(st.data(), models())
def test_eap_is_within_the_grid_and_has_a_proper_sd(
    data: st.DataObject, model: ItemParameters
) -> None:
    responses = data.draw(answers(model))
    for method in ("EAP", "EAPsum"):
        result = score(responses, model, method)
        assert (np.abs(result.theta) < 6.0).all()
        # No posterior on an interval of length 12 has a larger sd.
        assert ((result.se > 0.0) & (result.se <= 6.0)).all()


@given(st.data(), models())
def test_mirrored_items_mirror_the_abilities(data: st.DataObject, model: ItemParameters) -> None:
    responses = data.draw(answers(model))
    mirror = ItemParameters(model.items, -model.a1, model.d, model.g, model.u)
    swapped = ItemParameters(model.items, -model.a1, -model.d, 1.0 - model.u, 1.0 - model.g)
    recoded = np.where(responses.values < 0, -1, 1 - responses.values)
    for method in ("EAP", "EAPsum"):
        plain = score(responses, model, method)
        np.testing.assert_allclose(score(responses, mirror, method).theta, -plain.theta, atol=1e-9)
        opposite = ResponseMatrix(responses.llms, responses.items, recoded)
        again = score(opposite, swapped, method)
        np.testing.assert_allclose(again.theta, plain.theta, atol=1e-9)
        np.testing.assert_allclose(again.se, plain.se, atol=1e-9)


@given(st.data(), models(rising=True))
def test_eapsum_rises_with_the_number_right(data: st.DataObject, model: ItemParameters) -> None:
    n = len(model.items)
    stairs = np.tril(np.ones((n + 1, n), dtype=np.int8), -1)
    order = data.draw(st.permutations(range(n)))
    responses = ResponseMatrix(tuple(f"m{i}" for i in range(n + 1)), model.items, stairs[:, order])
    assert (np.diff(score(responses, model, "EAPsum").theta) >= -1e-12).all()


@given(st.data(), models())
def test_map_is_a_peak_of_the_posterior_with_its_curvature(
    data: st.DataObject, model: ItemParameters
) -> None:
    responses = data.draw(answers(model))
    result = score(responses, model, "MAP")
    for values, theta, se in zip(responses.values, result.theta, result.se, strict=True):
        if (values >= 0).any():
            theta += OFFSET * max(abs(theta), 1.0)
        h = 1e-4
        below, here, above = (log_posterior(values, model, theta + k * h) for k in (-1, 0, 1))
        assert abs(above - below) / (2 * h) < 1e-6
        assert here >= max(below, above) - 1e-12
        curvature = (above - 2 * here + below) / h**2
        # A flat peak has no SE worth the name; the second difference knows 1e-7.
        if curvature < -1e-3:
            assert math.isclose(se, 1.0 / math.sqrt(-curvature), rel_tol=1e-3)


@given(st.data(), models("2PL"))
def test_se_under_the_2pl_is_from_the_information(
    data: st.DataObject, model: ItemParameters
) -> None:
    """Observed and expected information are the same there."""
    responses = data.draw(answers(model, lowest=0))
    for method, prior in (("MAP", 1.0), ("ML", 0.0)):
        result = score(responses, model, method)
        inside = np.abs(result.theta) < 19.0
        total = information(model, result.theta[inside]).sum(axis=1) + prior
        # The standard error is of the curvature 1e-4 ahead of the mode, as mirt's.
        np.testing.assert_allclose(result.se[inside], 1.0 / np.sqrt(total), rtol=1e-3)


@given(st.data(), models("2PL"))
def test_wle_is_a_peak_of_warms_criterion(data: st.DataObject, model: ItemParameters) -> None:
    responses = data.draw(answers(model, lowest=0))
    result = score(responses, model, "WLE")
    for values, theta in zip(responses.values, result.theta, strict=True):
        if abs(theta) >= 15.0:
            continue
        theta += OFFSET * max(abs(theta), 1.0)

        def criterion(at: float, values: np.ndarray = values) -> float:
            like = log_posterior(values, model, at) + at**2 / 2.0
            return like + 0.5 * math.log(information(model, at).sum())

        h = 1e-4
        below, here, above = (criterion(theta + k * h) for k in (-1, 0, 1))
        assert abs(above - below) / (2 * h) < 1e-6
        assert here >= max(below, above) - 1e-12


@given(st.data(), models())
def test_ml_of_all_wrong_and_all_right(data: st.DataObject, model: ItemParameters) -> None:
    answered = np.array(
        data.draw(st.lists(st.booleans(), min_size=len(model.items), max_size=len(model.items)))
    )
    assume(answered.any())
    values = np.stack([np.where(answered, 0, -1), np.where(answered, 1, -1)])
    result = score(ResponseMatrix(("w", "r"), model.items, values), model, "ML")
    assert result.theta.tolist() == [-math.inf, math.inf]
    assert result.se.tolist() == [math.inf, math.inf]


@given(models())
def test_silent_llms_get_the_prior(model: ItemParameters) -> None:
    silent = ResponseMatrix(("m",), model.items, np.full((1, len(model.items)), -1))
    for method in ("MAP", "EAP", "EAPsum"):
        result = score(silent, model, method)
        assert abs(result.theta[0]) < 1e-12
        assert math.isclose(result.se[0], 1.0, abs_tol=1e-7)
    for method in ("ML", "WLE"):
        result = score(silent, model, method)
        assert math.isnan(result.theta[0])
        assert math.isnan(result.se[0])


@given(models(), st.floats(-6.0, 6.0))
def test_score_distribution_equals_brute_force(model: ItemParameters, theta: float) -> None:
    p = probability(model, theta)
    ours = score_distribution(p)[:, 0]
    assert math.isclose(ours.sum(), 1.0, rel_tol=1e-13)
    expected = np.zeros(len(model.items) + 1)
    for pattern in itertools.product((0, 1), repeat=len(model.items)):
        expected[sum(pattern)] += np.where(np.array(pattern) == 1, p[0], 1.0 - p[0]).prod()
    np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-300)


@given(models(), st.floats(-5.0, 5.0))
def test_information_is_the_squared_slope_over_the_variance(
    model: ItemParameters, theta: float
) -> None:
    ours = information(model, theta)[0]
    assert (ours >= 0.0).all()
    h = 1e-5
    below, p, above = probability(model, [theta - h, theta, theta + h])
    slope = (above - below) / (2 * h)
    # 1 - P loses digits where P is nearly 1.
    clear = (p > 1e-6) & (p < 1.0 - 1e-6)
    expected = slope**2 / (p * (1.0 - p))
    np.testing.assert_allclose(ours[clear], expected[clear], rtol=1e-4, atol=1e-9)
