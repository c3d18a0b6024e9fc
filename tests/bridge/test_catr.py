"""Whole tests by R's catR through the bridge, beside the native engine's."""

from __future__ import annotations

import numpy as np
import pytest

from metabench_py import rbridge
from metabench_py.adaptive import CatSettings, simulate
from metabench_py.adaptive.catr import catr_bank, simulate_by_catr
from metabench_py.adaptive.criteria import worth
from metabench_py.adaptive.engine import generate_responses
from metabench_py.adaptive.state import State
from metabench_py.adaptive.tables import ItemTables
from metabench_py.errors import RUnavailableError
from metabench_py.irt.model import ItemParameters
from metabench_py.responses import ResponseMatrix


@pytest.fixture(scope="module")
def bank() -> ItemParameters:
    random = np.random.default_rng(6)
    n = 20
    return ItemParameters(
        tuple(f"i{k}" for k in range(n)), random.uniform(0.8, 2.5, n), random.normal(size=n),
        random.uniform(0.0, 0.2, n), np.ones(n),
    )  # fmt: skip


@pytest.fixture(scope="module")
def answers(bank: ItemParameters) -> ResponseMatrix:
    drawn = generate_responses(bank, np.linspace(-1.5, 1.5, 6), np.random.default_rng(7))
    values = drawn.values.copy()
    values[2, :5] = -1
    return ResponseMatrix(drawn.llms, drawn.items, values)


@pytest.mark.parametrize(
    "settings",
    [
        CatSettings(max_items=8),
        CatSettings(se=0.5, max_items=12, estimator="WLE"),
        CatSettings(se=0.5, estimator="EAP", criterion="KLP"),
        CatSettings(max_items=6, start=(-1.0, 1.0)),
    ],
    ids=lambda settings: settings.name(),
)
def test_the_same_tests(
    needs_catr: None, bank: ItemParameters, answers: ResponseMatrix, settings: CatSettings
) -> None:
    theirs = simulate_by_catr(answers, bank, settings)
    ours = simulate(answers, bank, settings)
    assert np.array_equal(theirs.used, ours.used)
    assert theirs.stop == ours.stop
    # R's uniroot stops at an interval of 1.2e-4.
    assert np.abs(theirs.theta - ours.theta).max() < 2e-4
    assert np.abs(theirs.se - ours.se).max() < 2e-4


def test_random_items_have_a_seed(
    needs_catr: None, bank: ItemParameters, answers: ResponseMatrix
) -> None:
    settings = CatSettings(max_items=6, exposure="randomesque", pool=4, n_random=2)
    one, two = (simulate_by_catr(answers, bank, settings) for _ in range(2))
    assert np.array_equal(one.used, two.used)
    other = simulate_by_catr(
        answers, bank, CatSettings(max_items=6, exposure="randomesque", pool=4, n_random=2, seed=9)
    )
    assert not np.array_equal(one.used, other.used)


def test_worth_of_items(needs_catr: None, bank: ItemParameters) -> None:
    used, given = np.array([3, 8, 1]), np.array([1, 0, 1], np.int8)
    state = State(ItemTables.of(bank), 1, 20, "MAP")
    one = np.array([0])
    for item, answer in zip(used, given, strict=True):
        state.give(one, np.array([item]), np.array([answer]))
    state.estimate(one)
    free = np.ones((1, 20), np.bool_)
    free[0, used] = False
    for criterion, limit in (("MFI", 1e-9), ("KL", 1e-9), ("KLP", 1e-9), ("MEI", 1e-3)):
        found = rbridge.call(
            "cat_values", bank=catr_bank(bank), used=(used + 1).tolist(),
            answers=given.astype(int).tolist(), method="BM", criterion=criterion,
            theta=float(state.theta[0]), range=np.array([-6.0, 6.0]), n_nodes=61,
        )  # fmt: skip
        ours = worth(state, one, free, criterion)[0][free[0]]  # type: ignore[arg-type]
        scale = np.exp(state.log[0].max()) if criterion.startswith("KL") else 1.0
        theirs = np.asarray(found["worth"])
        assert np.abs(ours * scale - theirs).max() <= limit * theirs.max()


def test_without_catr(
    needs_r: None, bank: ItemParameters, answers: ResponseMatrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    if rbridge.has_package("catR"):
        pytest.skip("catR is there")
    with pytest.raises(RUnavailableError, match="catR"):
        simulate_by_catr(answers, bank, CatSettings(max_items=3))
