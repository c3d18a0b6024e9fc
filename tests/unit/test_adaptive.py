"""Adaptive tests: exposure, generated answers, recovery, grids, the comparison with subsets."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metabench_py.adaptive import CatSettings, simulate
from metabench_py.adaptive.catr import catr_bank, simulate_by_catr
from metabench_py.adaptive.compare import compare_static
from metabench_py.adaptive.engine import generate_responses, score_all
from metabench_py.adaptive.live import LiveTest, run_live
from metabench_py.adaptive.recovery import agreement, curve, predict_scores
from metabench_py.adaptive.study import CatData, best_rows, drawn, grid_of, run_grid, run_study
from metabench_py.adaptive.sympson import sympson_hetter
from metabench_py.compute import LocalPool
from metabench_py.errors import InputError, ResponseError
from metabench_py.irt.model import ItemParameters
from metabench_py.responses import ResponseMatrix


def bank(n: int = 40, seed: int = 3) -> ItemParameters:
    random = np.random.default_rng(seed)
    return ItemParameters(
        tuple(f"i{k}" for k in range(n)), random.uniform(0.8, 2.5, n),
        random.normal(0.0, 1.2, n), np.zeros(n), np.ones(n),
    )  # fmt: skip


@pytest.fixture(scope="module")
def data() -> CatData:
    """Drawn LLMs whose full score is a curve of their ability, of six organisations."""
    theta = np.random.default_rng(8).standard_normal(300)
    plain = drawn("arc", bank(), theta, 2)
    score = 100.0 / (1.0 + np.exp(-1.3 * theta))
    fold = np.arange(300, dtype=np.int64) % 6
    return CatData("arc", plain.parameters, plain.responses, None, score, fold)


def spread(parameters: ItemParameters, theta: Any, k: int) -> list[list[int]]:
    """A rule: items of evenly spread difficulty."""
    order = np.argsort(parameters.difficulty)
    return [[int(order[i]) for i in np.linspace(0, len(order) - 1, k).astype(int)]]


def test_true_abilities_come_back() -> None:
    theta = np.random.default_rng(1).standard_normal(400)
    matrix = generate_responses(bank(200), theta, np.random.default_rng(2))
    for estimator in ("MAP", "EAP", "WLE"):
        found = simulate(matrix, bank(200), CatSettings(estimator=estimator, se=0.3))  # type: ignore[arg-type]
        told = agreement(found.theta, theta)
        assert told.rmse is not None
        # The standard error says how far off estimates are.
        assert 0.24 < told.rmse < 0.36
        assert abs(told.bias or 0.0) < 0.05
        assert 5 < found.n_items.mean() < 40


def test_adaptive_beats_chance_and_batches_cost_little(data: CatData) -> None:
    found = {}
    for name, settings in {
        "adaptive": CatSettings(max_items=10),
        "batches": CatSettings(max_items=10, batch=5),
        "random": CatSettings(max_items=10, criterion="random"),
    }.items():
        summary = run_study(data, settings).summary
        assert (summary.least_items, summary.most_items) == (10, 10)
        found[name] = summary.theta.rmse or 0.0
    assert found["adaptive"] < found["batches"] < found["random"]


@pytest.mark.parametrize("exposure", ["randomesque", "progressive", "sympson-hetter"])
def test_exposure_is_controlled(exposure: str) -> None:
    parameters = bank(60)
    theta = np.random.default_rng(4).standard_normal(1000)
    matrix = generate_responses(parameters, theta, np.random.default_rng(5))
    plain = simulate(matrix, parameters, CatSettings(max_items=12))
    assert plain.exposure.max() == 1.0
    assert plain.exposure.sum() == pytest.approx(12.0)
    settings = CatSettings(max_items=12, exposure=exposure, max_exposure=0.4)  # type: ignore[arg-type]
    filter = sympson_hetter(parameters, settings) if exposure == "sympson-hetter" else None
    found = simulate(matrix, parameters, settings, filter=filter)
    assert (found.n_items == 12).all()
    assert found.overlap < plain.overlap
    limit = {"randomesque": 0.75, "progressive": 0.75, "sympson-hetter": 0.46}[exposure]
    assert found.exposure.max() < limit
    if filter is not None:
        assert ((filter > 0) & (filter <= 1)).all()
        assert (found.chosen >= np.bincount(found.used.ravel(), minlength=60)).all()


def test_impossible_exposure_is_refused() -> None:
    settings = CatSettings(max_items=30, exposure="sympson-hetter", max_exposure=0.5)
    with pytest.raises(InputError, match=r"30 of 40 items .* 75 % .* above .* 50 %"):
        sympson_hetter(bank(40), settings)
    with pytest.raises(InputError, match="filter"):
        simulate(drawn("arc", bank(), np.zeros(2), 1).responses, bank(), settings)


def test_missing_answers() -> None:
    parameters = bank(10)
    matrix = drawn("arc", parameters, np.zeros(3), 1).responses
    values = matrix.values.copy()
    values[0, :7] = -1
    values[1] = -1
    holes = ResponseMatrix(matrix.llms, matrix.items, values)
    found = simulate(holes, parameters, CatSettings(max_items=5))
    assert found.n_items.tolist() == [3, 0, 5]
    assert found.stop == ("no items", "no items", "length")
    assert (found.theta[1], found.se[1]) == (0.0, 1.0)
    found = simulate(holes, parameters, CatSettings(max_items=5, estimator="WLE"))
    assert np.isnan([found.theta[1], found.se[1]]).all()
    with pytest.raises(ResponseError, match="no LLM has answered"):
        CatData("arc", parameters, ResponseMatrix(("a",), matrix.items, values[[1]]))


def test_start_rules() -> None:
    parameters = bank(30)
    matrix = drawn("arc", parameters, np.zeros(50), 1).responses
    two = simulate(matrix, parameters, CatSettings(start=(-2.0, 2.0), max_items=4))
    assert len({tuple(row[:2]) for row in two.used}) == 1
    low, high = two.used[0][:2]
    assert parameters.difficulty[low] < -1.0 < 1.0 < parameters.difficulty[high]
    random = simulate(matrix, parameters, CatSettings(n_random=3, max_items=4))
    assert len({tuple(row[:3]) for row in random.used}) > 40


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"criterion": "best"}, "choose MFI"),
        ({"estimator": "ML"}, "choose MAP"),
        ({"se": 0.0}, "standard error"),
        ({"max_items": 2, "min_items": 3}, "no test is both"),
        ({"start": ()}, "one ability"),
        ({"start": (9.0,)}, "-6 to 6"),
        ({"batch": 0}, "0 items a batch"),
        ({"max_items": 5, "n_random": 10}, "10 items at random to begin with and 5 at most"),
        ({"max_exposure": 0.0}, "largest exposure of 0.0: take one above 0 and at most 1"),
        ({"acceleration": float("nan")}, "acceleration"),
    ],
)
def test_wrong_settings(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        CatSettings(**wrong)


def test_scores_are_predicted_out_of_fold(data: CatData) -> None:
    assert data.score is not None
    assert data.fold is not None
    theta, _ = score_all(data.responses, data.parameters)
    found = predict_scores(theta, data.score, data.fold)
    inside = data.fold == 2
    # What held-out LLMs score does not matter to their own prediction.
    other = data.score.copy()
    other[inside] = 0.0
    assert np.array_equal(predict_scores(theta, other, data.fold)[inside], found[inside])
    told = agreement(found, data.score)
    assert told.correlation is not None
    assert told.correlation > 0.95


def test_the_curve_is_flat_beyond_the_fitted_abilities() -> None:
    theta = np.random.default_rng(0).standard_normal(300)
    # The last LLM pulls the end of the curve down.
    score = np.append(50.0 + 10.0 * theta, 40.0)
    theta = np.append(theta, theta.max() + 0.05)
    low, high, beyond = curve(theta, score, np.array([theta.min() - 5, theta.max(), 9.0]))
    assert high == beyond
    assert low == curve(theta, score, theta[[theta.argmin()]])[0]


def test_grid_in_parallel_is_the_grid_alone(data: CatData) -> None:
    grid = grid_of(
        CatSettings(min_items=8), {"criterion": ["MFI", "KLP"], "max_items": [5, 12], "se": []}
    )
    assert [(one.criterion, one.max_items) for one in grid] == [
        ("MFI", 5), ("MFI", 12), ("KLP", 5), ("KLP", 12),
    ]  # fmt: skip
    with LocalPool(2) as pool:
        rows = run_grid([data], grid, pool)
    alone = [run_study(data, settings).summary for settings in grid]
    assert [row.summary for row in rows] == alone
    (best,) = best_rows(rows, 0.0)
    assert best.summary.score is not None
    least = min(row.summary.score.rmse or 0.0 for row in rows if row.summary.score)
    assert best.summary.score.rmse == least
    (short,) = best_rows(rows, 10.0)
    assert short.settings.max_items == 5


def test_comparison_with_a_subset(data: CatData) -> None:
    group = [f"org{i % 6}" for i in range(300)]
    found = compare_static(data, CatSettings(), [5, 20], spread, group)
    short, long = found.lengths
    for one in found.lengths:
        assert one.adaptive.n == one.fixed.n == one.chance.n == 300
    assert (short.adaptive.rmse or 0) < (short.chance.rmse or 0)
    assert (long.adaptive.rmse or 0) < (short.adaptive.rmse or 0)
    assert (found.everything.rmse or 0) < (long.adaptive.rmse or 0) * 1.1
    assert short.better in ("adaptive", "fixed", "equal")
    # A test of all items is the fixed subset of all items.
    (whole,) = compare_static(data, CatSettings(), [40], spread, group).lengths
    assert whole.adaptive.rmse == pytest.approx(whole.fixed.rmse, abs=1e-6)
    with pytest.raises(InputError, match="needs full scores"):
        compare_static(
            CatData("arc", data.parameters, data.responses), CatSettings(), [5], spread, group
        )
    with pytest.raises(InputError, match="has 40 items; a test of 41"):
        compare_static(data, CatSettings(), [41], spread, group)


def test_refit_sees_the_training_llms_alone(data: CatData) -> None:
    seen: list[tuple[str, ...]] = []

    def refit(matrix: ResponseMatrix) -> ItemParameters:
        seen.append(matrix.llms)
        return data.parameters

    assert data.fold is not None
    found = compare_static(data, CatSettings(), [5], spread, ["a"] * 300, refit=refit)
    assert found.refitted
    for number, llms in enumerate(seen):
        held = {n for n, f in zip(data.responses.llms, data.fold, strict=True) if f == number}
        assert not held & set(llms)
        assert len(held) + len(llms) == 300


def test_what_catr_cannot_do(monkeypatch: pytest.MonkeyPatch) -> None:
    flat = replace(bank(3), a1=np.array([1.0, 0.0, 1.0]))
    with pytest.raises(InputError, match="slope of 0"):
        catr_bank(flat)
    monkeypatch.setattr("metabench_py.rbridge.require_package", lambda _name: None)
    one = drawn("arc", bank(), np.zeros(2), 1).responses
    with pytest.raises(InputError, match="native engine"):
        simulate_by_catr(one, bank(), CatSettings(batch=2))
    with pytest.raises(InputError, match="no seed"):
        simulate_by_catr(one, bank(), CatSettings(criterion="random"))


class Model:
    """Answers by fixed answers, and notes what it was asked."""

    def __init__(self, answers: dict[str, int], fail_at: int | None = None) -> None:
        self.answers, self.fail_at = answers, fail_at
        self.rounds: list[dict[Any, list[str]]] = []

    def __call__(self, wanted: Any) -> Any:
        if len(self.rounds) == self.fail_at:
            raise KeyboardInterrupt
        self.rounds.append({b: list(items) for b, items in wanted.items()})
        return {b: {item: self.answers[item] for item in items} for b, items in wanted.items()}


@pytest.fixture
def answers() -> dict[str, int]:
    row = generate_responses(bank(), np.array([0.6]), np.random.default_rng(11)).values[0]
    found = {f"i{k}": int(value) for k, value in enumerate(row)}
    found["i7"] = -1
    return found


LIVE = CatSettings(se=0.42, batch=4, start=(-0.7, 0.0, 0.7), exposure="randomesque", pool=3)
MADE_WITH = {"model": "m", "test": LIVE.to_dict()}


def live_tests() -> list[LiveTest]:
    other = replace(LIVE, se=None, max_items=10)
    return [LiveTest("arc", bank(), LIVE), LiveTest("gsm8k", bank(), other)]


def test_live_test_ends_by_its_rules(answers: dict[str, int], tmp_path: Path) -> None:
    model, path = Model(answers), tmp_path / "test.json"
    tests = live_tests()
    found = run_live(tests, model, path, MADE_WITH)
    assert json.loads(path.read_text()) == found
    assert found["finished"] is True
    arc, gsm8k = found["benchmarks"]["arc"], found["benchmarks"]["gsm8k"]
    assert (arc["stop"], gsm8k["stop"], gsm8k["n_items"]) == ("precision", "length", 10)
    assert arc["se"] <= 0.42 < arc["rounds"][-2][2]
    assert [len(r["arc"]) for r in model.rounds if "arc" in r] == [3] + [4] * (
        len(arc["rounds"]) - 1
    )
    asked = [item for one in model.rounds for item in one.get("arc", [])]
    assert len(set(asked)) == len(asked) == len(arc["answers"])
    # The same answers, scored at once.
    values = np.full((1, 40), -1, np.int8)
    for item, answer in arc["answers"]:
        values[0, int(item[1:])] = answer
    theta, se = score_all(ResponseMatrix(("m",), bank().items, values), bank())
    assert (theta[0], se[0]) == pytest.approx((arc["theta"], arc["se"]), abs=1e-9)


@pytest.mark.parametrize("fail_at", [1, 2])
def test_an_interrupted_test_goes_on_to_the_same_end(
    answers: dict[str, int], tmp_path: Path, fail_at: int
) -> None:
    whole = run_live(live_tests(), Model(answers), tmp_path / "whole.json", MADE_WITH)
    path, first = tmp_path / "parts.json", Model(answers, fail_at)
    with pytest.raises(KeyboardInterrupt):
        run_live(live_tests(), first, path, MADE_WITH)
    with pytest.raises(InputError, match="Give --resume"):
        run_live(live_tests(), Model(answers), path, MADE_WITH)
    with pytest.raises(InputError, match="made with other model"):
        run_live(live_tests(), Model(answers), path, MADE_WITH | {"model": "n"}, resume=True)
    second = Model(answers)
    assert run_live(live_tests(), second, path, MADE_WITH, resume=True) == whole
    before = {item for one in first.rounds for item in one["arc"]}
    assert not before & {item for one in second.rounds for item in one.get("arc", [])}
    third = Model(answers)
    assert run_live(live_tests(), third, path, MADE_WITH) == whole
    assert third.rounds == []
    again = Model(answers)
    assert run_live(live_tests(), again, path, MADE_WITH, restart=True) == whole
    assert again.rounds


def test_damaged_files_are_told(answers: dict[str, int], tmp_path: Path) -> None:
    path = tmp_path / "test.json"
    found = run_live(live_tests(), Model(answers), path, MADE_WITH)
    del found["benchmarks"]["arc"]["rounds"]
    for text in ("{", "[]", json.dumps(found)):
        path.write_text(text)
        with pytest.raises(InputError, match="--restart to begin anew"):
            run_live(live_tests(), Model(answers), path, MADE_WITH, resume=True)
    with pytest.raises(InputError, match="no answer to item"):
        live_tests()[0].take({"i3": 2})
    with pytest.raises(InputError, match="no answer to item"):
        live_tests()[0].take({"unknown": 1})
