"""Adaptive tests against catR's formulas, choices and whole tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metabench_py.adaptive import CatSettings, simulate
from metabench_py.adaptive.criteria import worth
from metabench_py.adaptive.settings import Criterion, Estimator
from metabench_py.adaptive.state import State
from metabench_py.adaptive.tables import ItemTables
from metabench_py.irt.model import ItemParameters, information
from metabench_py.responses import ResponseMatrix

from . import tolerances
from .report import Record

KINDS = ("2PL", "3PL", "4PL")
METHODS: dict[str, Estimator] = {"BM": "MAP", "EAP": "EAP", "WL": "WLE"}
CRITERIA: tuple[Criterion, ...] = ("MFI", "KL", "KLP", "MEI")
ONE = np.array([0])


@pytest.fixture(scope="module", params=KINDS)
def reference(request: pytest.FixtureRequest, golden: Path) -> dict[str, Any]:
    content = json.loads((golden / "cat" / "cat.json").read_text(encoding="utf-8"))
    return {"kind": request.param, **content[request.param]}


def bank(reference: dict[str, Any]) -> ItemParameters:
    a, b, c, d = np.array(reference["items"]).T
    return ItemParameters(tuple(f"i{k}" for k in range(len(a))), a, -a * b, c, d)


def after(case: dict[str, Any], tables: ItemTables, answers: Any, estimator: Estimator) -> State:
    state = State(tables, 1, tables.n_items, estimator)
    for item in np.array(case["used"]) - 1:
        given = np.array([answers[case["row"] - 1, item]], np.int8)
        state.give(ONE, np.array([item]), given)
    state.estimate(ONE)
    return state


@pytest.mark.parametrize("method", METHODS)
def test_abilities(reference: dict[str, Any], method: str, record: Record) -> None:
    tables, answers = ItemTables.of(bank(reference)), np.array(reference["responses"])
    apart = {"root": 0.0, "theta": 0.0, "se": 0.0}
    for case in reference["cases"]:
        state = after(case, tables, answers, METHODS[method])
        wanted = case[method]
        apart["root"] = max(apart["root"], abs(state.theta[0] - wanted["root"]))
        apart["theta"] = max(apart["theta"], abs(state.theta[0] - wanted["theta"]))
        apart["se"] = max(apart["se"], abs(state.se[0] - wanted["sem"]))
    name = f"{reference['kind']} {METHODS[method]}"
    by_nodes = method == "EAP"
    record(
        "CAT theta", name, apart["root"], tolerances.CAT_EAP if by_nodes else tolerances.CAT_ROOT
    )
    record("CAT SE", name, apart["se"], tolerances.CAT_EAP if by_nodes else tolerances.CAT_SE)
    record("CAT thetaEst", name, apart["theta"], tolerances.CAT_THETA)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_worth_and_choice(reference: dict[str, Any], criterion: str, record: Record) -> None:
    parameters = bank(reference)
    tables, answers = ItemTables.of(parameters), np.array(reference["responses"])
    apart, others = 0.0, 0
    for case in reference["cases"]:
        state = after(case, tables, answers, "MAP")
        free = np.ones((1, tables.n_items), np.bool_)
        free[0, np.array(case["used"]) - 1] = False
        found = worth(state, ONE, free, criterion)[0]  # type: ignore[arg-type]
        # The likelihood's highest value is 1 here, a product of probabilities there.
        scale = float(np.exp(state.log[0].max())) if criterion.startswith("KL") else 1.0
        wanted = np.array(case["information" if criterion == "MFI" else criterion])
        apart = max(apart, float(np.abs(found[free[0]] * scale - wanted).max() / wanted.max()))
        others += int(np.argmax(found)) + 1 != case["next"][criterion]
        if criterion == "MFI":
            direct = information(parameters, state.theta)[0][free[0]]
            assert np.array_equal(direct, found[free[0]])
    name = f"{reference['kind']} {criterion}"
    record("CAT worth", name, apart, tolerances.CAT_WORTH)
    record("CAT choice", name, others, tolerances.CAT_ITEMS)


def test_whole_tests(reference: dict[str, Any], record: Record) -> None:
    parameters, answers = bank(reference), np.array(reference["responses"])
    others, apart = 0, 0.0
    assert len(reference["runs"]) == 42
    for run in reference["runs"]:
        settings = CatSettings(
            criterion=run["criterion"], estimator=METHODS[run["method"]], se=0.45, max_items=15
        )
        one = ResponseMatrix(("one",), parameters.items, answers[[run["row"] - 1]])
        found = simulate(one, parameters, settings)
        items = found.used[0][: found.n_items[0]] + 1
        others += items.tolist() != run["items"]
        last = len(items) - 1
        apart = max(
            apart,
            abs(found.theta[0] - run["final"]),
            abs(found.se[0] - run["final_se"]),
            float(np.abs(found.theta_path[0][: last + 1] - run["theta"]).max()),
        )
    record("CAT whole tests", reference["kind"], others, tolerances.CAT_ITEMS)
    record("CAT path", reference["kind"], apart, tolerances.CAT_THETA)
