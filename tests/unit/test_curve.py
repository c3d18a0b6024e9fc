"""Item-budget curves: honest, the same wherever they are computed, and telling."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.calibration import write_world

from metabench_py.benchmarks import BENCHMARKS, TARGETS
from metabench_py.calibration import item_orders
from metabench_py.calibration.curve import CurveOptions, ItemCurve, curve_data, item_curve
from metabench_py.calibration.inputs import load_inputs
from metabench_py.calibration.item_orders import ITEM_ORDERS, CurveData, ItemOrder, pick_items
from metabench_py.calibration.moments import Integers, Moments, fit_ridge
from metabench_py.compute import Journal, LocalPool
from metabench_py.errors import InputError
from metabench_py.irt.model import Floats

FOLDS = 3


def data_of(responses: np.ndarray, scores: Floats) -> CurveData:
    """LLMs in folds one after the other; as many items a benchmark."""
    n, p = responses.shape
    fold = np.arange(n) % FOLDS
    parts = [fold == i for i in range(FOLDS)]
    return CurveData(
        responses=responses.astype(np.int8),
        scores=scores,
        fold=fold,
        moments=tuple(Moments.of(responses[i].astype(np.float64), scores[i]) for i in parts),
        benchmark=np.repeat(np.arange(6), p // 6),
        models=(("2PL", "MAP"),) * 6,
    )


def informative(n: int = 240, p: int = 60, telling: int = 12) -> CurveData:
    """Every fifth item tells of ability, the others are coins."""
    random = np.random.default_rng(3)
    ability = random.normal(size=n)
    chance = np.full((n, p), 0.5)
    at = np.arange(0, p, p // telling)
    chance[:, at] = 1.0 / (1.0 + np.exp(-2.5 * (ability[:, None] - random.normal(size=telling))))
    scores = 50 + 10 * ability[:, None] + random.normal(size=(n, 7))
    return data_of(random.random((n, p)) < chance, scores)


def rmse(curve: ItemCurve, order: str, n_items: int) -> dict[str, float]:
    (point,) = (p for p in curve.points if (p.order, p.n_items) == (order, n_items))
    return {target: one.rmse for target, one in point.errors.items()}


def test_orders_that_look_beat_chance() -> None:
    data = informative()
    options = CurveOptions(budgets=(12, 24, 0), folds=FOLDS, draws=6)
    found = item_curve(data, np.arange(240), options)
    assert [(p.order, p.n_items) for p in found.points] == [
        (order, n) for order in ITEM_ORDERS for n in (12, 24, 60)
    ]
    for order in ("greedy", "ridge", "information"):
        assert rmse(found, order, 12)["grand"] < 0.75 * rmse(found, "random", 12)["grand"]
        # All items are the same, whoever ordered them.
        assert rmse(found, order, 60) == rmse(found, "random", 60)
    random = next(p for p in found.points if (p.order, p.n_items) == ("random", 12))
    greedy = next(p for p in found.points if (p.order, p.n_items) == ("greedy", 12))
    for point, kind in ((random, "draws"), (greedy, "bootstrap")):
        for one in point.errors.values():
            assert one.interval == kind
            assert one.lower < one.rmse < one.upper
        assert sum(point.items.values()) == pytest.approx(12)
    assert greedy.errors["grand"].upper < random.errors["grand"].lower


@pytest.mark.parametrize("order", ["greedy", "ridge"])
def test_scores_of_nobody_are_not_predicted(order: ItemOrder) -> None:
    """With scores dealt out at random, an honest error is that of the mean; a dishonest is less."""
    random = np.random.default_rng(5)
    responses = random.random((150, 240)) < 0.5
    data = data_of(responses, random.normal(50, 10, size=(150, 7)))
    found = item_curve(data, np.arange(150), CurveOptions((15,), (order,), FOLDS))
    deviation = data.scores[:, 0].std()
    assert rmse(found, order, 15)["grand"] > 0.97 * deviation
    # The same items for all folds, chosen by all LLMs.
    (pick,) = pick_items(data, order, (15,))
    errors = np.empty(150)
    for fold in range(FOLDS):
        fit = fit_ridge(data.training(fold), np.sort(pick), data.benchmark)
        out = data.fold == fold
        predicted = responses[out][:, np.sort(pick)] @ fit.slopes[:, 0] + fit.constant[0]
        errors[out] = predicted - data.scores[out, 0]
    assert np.sqrt(np.mean(errors**2)) < 0.9 * deviation


@pytest.mark.parametrize("order", ITEM_ORDERS)
def test_items_are_chosen_without_the_held_out_llms(order: ItemOrder) -> None:
    data = informative()
    out = data.fold == 1
    responses, scores = data.responses.copy(), data.scores.copy()
    responses[out] = 1 - responses[out]
    scores[out] = 100 - scores[out]
    other = data_of(responses, scores)
    for a, b in zip(*(pick_items(d, order, (5, 20), 1) for d in (data, other)), strict=True):
        np.testing.assert_array_equal(a, b)
        assert len(set(a.tolist())) == len(a)
    if order != "random":
        changed = [pick_items(d, order, (20,), 0)[0].tolist() for d in (data, other)]
        assert changed[0] != changed[1]


def test_answers_all_alike_are_no_obstacle() -> None:
    """An item that all training LLMs get right has no parameters; it comes last."""
    data = informative(120, 18, 18)
    responses = data.responses.copy()
    responses[data.fold != 2, 3] = 1
    odd = data_of(responses, data.scores)
    most, every = pick_items(odd, "information", (17, 18), 2)
    assert 3 not in most
    assert every.tolist()[-1] == 3
    found = item_curve(odd, np.arange(120), CurveOptions((6,), ("information",), FOLDS))
    assert np.isfinite(rmse(found, "information", 6)["grand"])


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> tuple[CurveData, Integers]:
    paths = write_world(tmp_path_factory.mktemp("world"), n_llms=150, n_items=6)
    return curve_data(load_inputs(*paths), FOLDS, 1)


def test_too_many_items(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_orders, "MOST_ITEMS", 35)
    inputs = load_inputs(*write_world(tmp_path, n_llms=60, n_items=6))
    with pytest.raises(InputError, match="36 items are too many to be put in order, 35 are"):
        curve_data(inputs, FOLDS, 1)


def test_folds_are_of_organisations(real: tuple[CurveData, Integers]) -> None:
    data, groups = real
    for group in np.unique(groups):
        assert len(set(data.fold[groups == group].tolist())) == 1
    assert data.benchmark.tolist() == sorted(list(range(6)) * 6)
    assert sum(one.n for one in data.moments) == len(data.scores) == 150
    means = data.scores[:, [TARGETS.index(b) for b in BENCHMARKS]].mean(axis=1)
    np.testing.assert_allclose(data.scores[:, 0], means)


def test_workers_and_interruptions_change_nothing(
    real: tuple[CurveData, Integers], tmp_path: Path
) -> None:
    options = CurveOptions((6, 12), folds=FOLDS, draws=2)
    curves, told = [], []
    for workers in (1, 2):
        with LocalPool(workers) as pool:
            curves.append(item_curve(*real, options, executor=pool).to_dict())
    assert curves[0] == curves[1]
    here = item_curve(*real, options, progress=lambda *at: told.append(at))
    assert told[0][1:] == (0, 15)
    assert told[-1][1:] == (15, 15)
    for a, b in zip(here.rows(), item_curve(*real, options).rows(), strict=True):
        assert a == b
    for again in range(2):
        with Journal(None, tmp_path / "journal") as keeper:
            assert keeper.found == (15 if again else 0)
            found = item_curve(*real, options, executor=keeper)
        assert found.to_dict() == here.to_dict()


def test_budgets(real: tuple[CurveData, Integers]) -> None:
    assert CurveOptions().sizes(751) == (25, 50, 100, 150, 200, 300, 400, 550, 751)
    assert CurveOptions().sizes(30) == (25, 30)
    assert CurveOptions((0, 7, 7)).sizes(30) == (7, 30)
    with pytest.raises(InputError, match="A budget of 31 items: there are 30"):
        CurveOptions((31,)).sizes(30)
    with pytest.raises(InputError, match="'best': choose greedy, ridge, information, random"):
        CurveOptions(orders=("best",))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no band"):
        replace(CurveOptions(), draws=1)
