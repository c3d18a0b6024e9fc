"""What holds for every adaptive test."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from metabench_py.adaptive import CatSettings, simulate
from metabench_py.adaptive.engine import generate_responses, score_all
from metabench_py.adaptive.settings import CRITERIA, ESTIMATORS
from metabench_py.irt.model import ItemParameters, information, probability
from metabench_py.irt.native.scoring import score
from metabench_py.responses import MISSING, ResponseMatrix


def bank(seed: int, n: int, kind: str = "4PL") -> ItemParameters:
    random = np.random.default_rng(seed)
    lower = np.zeros(n) if kind == "2PL" else random.uniform(0.0, 0.3, n)
    upper = random.uniform(0.8, 1.0, n) if kind == "4PL" else np.ones(n)
    return ItemParameters(
        tuple(f"i{k}" for k in range(n)), random.uniform(0.3, 3.0, n), random.normal(size=n),
        lower, upper,
    )  # fmt: skip


def answers(parameters: ItemParameters, seed: int, n: int, holes: float) -> ResponseMatrix:
    random = np.random.default_rng(seed)
    drawn = generate_responses(parameters, random.standard_normal(n), random)
    values = drawn.values.copy()
    values[random.random(values.shape) < holes] = MISSING
    return ResponseMatrix(drawn.llms, drawn.items, values)


rules = st.builds(
    CatSettings,
    criterion=st.sampled_from(CRITERIA),
    estimator=st.sampled_from(ESTIMATORS),
    start=st.sampled_from([(0.0,), (-1.0, 1.0)]),
    n_random=st.integers(0, 2),
    se=st.sampled_from([None, 0.4, 0.7]),
    max_items=st.sampled_from([None, 5, 8]),
    min_items=st.integers(1, 4),
    batch=st.integers(1, 3),
    exposure=st.sampled_from(["none", "randomesque", "progressive"]),
    seed=st.integers(0, 3),
)


@settings(max_examples=60)
@given(rules, st.integers(0, 50), st.sampled_from([0.0, 0.3, 0.9]))
def test_rules_are_kept(rule: CatSettings, seed: int, holes: float) -> None:
    parameters = bank(seed, 12)
    matrix = answers(parameters, seed, 6, holes)
    found = simulate(matrix, parameters, rule)
    for i in range(6):
        n = int(found.n_items[i])
        used = found.used[i][:n]
        there = int((matrix.values[i] != MISSING).sum())
        assert len(set(used.tolist())) == n
        assert (found.used[i][n:] == -1).all()
        assert (matrix.values[i, used] != MISSING).all()
        assert n <= rule.longest(12)
        se = found.se[i]
        if found.stop[i] == "precision":
            assert rule.se is not None
            assert se <= rule.se
            assert n >= rule.min_items
        elif found.stop[i] == "length":
            assert n == rule.max_items
        else:
            assert n == there
            assert rule.max_items is None or n < rule.max_items
        # No test went on after its standard error was reached.
        reached = rule.se is not None and n > rule.batch + max(len(rule.start), rule.n_random)
        if reached and rule.batch == 1:
            earlier = found.se_path[i][rule.min_items - 1 : n - 1]
            begun = max(len(rule.start) if not rule.n_random else rule.n_random, 1)
            offset = max(begun - rule.min_items, 0)
            assert (earlier[offset:] > (rule.se or 0.0)).all()
    again = simulate(matrix, parameters, rule)
    assert np.array_equal(found.used, again.used)


@given(st.integers(0, 200))
def test_the_most_informative_item_is_chosen(seed: int) -> None:
    parameters = bank(seed, 15)
    matrix = answers(parameters, seed, 4, 0.2)
    found = simulate(matrix, parameters, CatSettings(max_items=8))
    for i in range(4):
        at = 0.0
        left = matrix.values[i] != MISSING
        for step in range(int(found.n_items[i])):
            here = information(parameters, at)[0]
            item = found.used[i][step]
            assert here[item] == here[left].max()
            left[item] = False
            at = found.theta_path[i][step]


@given(st.integers(0, 200), st.sampled_from(ESTIMATORS), st.sampled_from(["2PL", "3PL", "4PL"]))
def test_abilities_are_the_engines(seed: int, estimator: str, kind: str) -> None:
    parameters = bank(seed, 25, kind)
    matrix = answers(parameters, seed, 8, 0.1)
    theta, _ = score_all(matrix, parameters, estimator)  # type: ignore[arg-type]
    if estimator == "EAP":
        wanted = score(matrix, parameters, "EAP").theta
        assert np.abs(theta - wanted).max() < 1e-10
    elif estimator == "MAP":
        wanted = score(matrix, parameters, "MAP").theta
        # The engine takes the mode next to the mean, and stays half a step of 1e-6 below it.
        same = np.abs(theta - wanted) < 5e-6
        at = (_log_posterior(matrix, parameters, t) for t in (theta, wanted))
        mine, other = at
        assert (same | (mine >= other)).all()


def _log_posterior(
    matrix: ResponseMatrix, parameters: ItemParameters, theta: np.ndarray
) -> np.ndarray:
    right = probability(parameters, theta)
    chance = np.where(matrix.values == 1, right, 1.0 - right)
    chance[matrix.values == MISSING] = 1.0
    value: np.ndarray = np.log(chance).sum(axis=1) - 0.5 * theta**2
    return value


@given(st.integers(0, 30), st.sampled_from(ESTIMATORS))
def test_precision_grows_on_average(seed: int, estimator: str) -> None:
    parameters = bank(seed, 30, "2PL")
    matrix = answers(parameters, seed, 40, 0.0)
    found = simulate(matrix, parameters, CatSettings(estimator=estimator, max_items=20))  # type: ignore[arg-type]
    # At the estimate, not the true ability, so single steps may go up.
    middle = np.median(found.se_path, axis=0)[[1, 3, 7, 19]]
    assert (np.diff(middle) < 0.0).all()
