"""Model comparison against the original's crossvalidate step; item fit against mirt's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from metabench_py.calibration.crossvalidate import CrossValidationOptions, crossvalidate
from metabench_py.calibration.recovery import recover
from metabench_py.irt.native import NativeEngine
from tests.helpers.golden_pipeline import NAMES, benchmark_data

from . import tolerances
from .cases import CASES, load_case
from .report import Record

MODELS = [(name, "2PL") for name in NAMES] + [("arc", "3PL"), ("hellaswag", "3PL")]


@pytest.mark.parametrize(("benchmark", "model"), MODELS)
@pytest.mark.usefixtures("needs_r")
def test_crossvalidate(benchmark: str, model: str, golden: Path, record: Record) -> None:
    folder = golden / "pipeline" / "crossvalidate"
    known = json.loads((folder / f"{benchmark}-{model}.json").read_text())
    items = pd.read_csv(folder / f"{benchmark}-{model}-items.csv", dtype={"item": str})
    table = pd.read_csv(folder / f"{benchmark}-{model}-theta.csv.gz")
    data = benchmark_data(golden, benchmark)
    options = CrossValidationOptions(
        methods=("MAP", "EAPsum", "EAP"), engine="native", mode="mirt-path"
    )
    ours = crossvalidate(data, model, options)
    where = f"{benchmark} {model}, fit stage"
    assert ours.train.items == tuple(items["item"])
    assert (*ours.train.llms, *ours.test.llms) == tuple(table["source"])
    for name in ("a1", "d", "g", "u"):
        apart = np.abs(getattr(ours.fit.parameters, name) - items[name].to_numpy()).max()
        record(f"item parameter {name}", where, apart, tolerances.PARAMETERS)
    apart = abs(ours.fit.log_likelihood - known["logLik"])
    record("log-likelihood", where, apart, tolerances.LOG_LIKELIHOOD)
    apart = abs(ours.fit.iterations - known["iterations"])
    record("EM cycles", where, apart, tolerances.CYCLES)
    assert ours.fit.converged == known["converged"]
    assert ours.n_free == known["nest"]
    record("AIC", where, abs(ours.aic - known["AIC"]), tolerances.CRITERIA)
    record("BIC", where, abs(ours.bic - known["BIC"]), tolerances.CRITERIA)
    for method, column, tolerance in (
        ("MAP", "F1", tolerances.MAP),
        ("EAPsum", "EAPsum_F1", tolerances.EAP_SUM),
        ("EAP", "EAP_F1", tolerances.EAP),
    ):
        found = ours.recovered[method]  # type: ignore[index]
        theta = np.concatenate([found.theta_train[:, 0], found.theta_test[:, 0]])
        record(method, where, np.abs(theta - table[column].to_numpy()).max(), tolerance)
    sub = np.concatenate([ours.subscore_train, ours.subscore_test])
    record("sub-score", where, np.abs(sub - table["sub"].to_numpy()).max(), tolerances.SUBSCORE)
    way = ours.recovered["MAP"]
    assert way.test is not None
    for name, value in (("rmse_train", way.train.rmse), ("rmse_test", way.test.rmse)):
        record("recovery RMSE", where, abs(value - known[name]), tolerances.RECOVERY_RMSE)


@pytest.mark.parametrize(("benchmark", "model"), MODELS)
@pytest.mark.usefixtures("needs_r")
def test_recovery_from_the_same_abilities(
    benchmark: str, model: str, golden: Path, record: Record
) -> None:
    path = golden / "pipeline" / "crossvalidate" / f"{benchmark}-{model}-theta.csv.gz"
    table = pd.read_csv(path)
    train, test = (table[table["set"] == which] for which in ("train", "test"))
    features = [
        {name: part[name].to_numpy(np.float64) for name in ("F1", "sub")} for part in (train, test)
    ]
    found = recover(features[0], train["score"].to_numpy(np.float64), [features[1]])
    p = np.concatenate([found.fitted, found.predicted[0]])
    worst = np.abs(p - table["p"].to_numpy()).max()
    record("recovered score", f"{benchmark} {model}, fit stage", worst, tolerances.RECOVERED)


@pytest.mark.parametrize("name", CASES)
def test_item_fit(name: str, golden: Path, record: Record) -> None:
    case = load_case(golden / "irt" / name)
    table = pd.read_csv(case.folder / "itemfit.csv")
    theta = case.scores["theta_MAP"].to_numpy(np.float64)
    ours = NativeEngine().item_fit(case.responses, case.parameters, theta)
    assert ours.items == tuple(table["item"])
    for statistic in ("outfit", "z.outfit", "infit", "z.infit"):
        apart = getattr(ours, statistic.replace(".", "_")) - table[statistic].to_numpy(np.float64)
        recycled = statistic == "z.outfit" and "missing" in name
        tolerance = tolerances.Z_OUTFIT_MISSING if recycled else tolerances.ITEM_FIT
        record(f"item fit {statistic}", f"{name}, native", np.abs(apart).max(), tolerance)
