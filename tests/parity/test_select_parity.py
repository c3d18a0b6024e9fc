"""Information filtering against the original's reduce step: items, order, and numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from metabench_py.calibration.information_filter import (
    GRID_TYPES,
    bin_maxima,
    filter_items,
    quantiles_type4,
    theta_grid,
)
from metabench_py.calibration.recovery import ScoreErrors, average_ranks, recover, score_errors
from metabench_py.calibration.select import SelectOptions, select_benchmarks
from metabench_py.calibration.selector import Choice, SelectionRule, Selector
from metabench_py.rbridge import sampling
from tests.helpers.golden_pipeline import NAMES, benchmark_data

from . import tolerances
from .cases import parameters_of
from .report import Record

# Our names of the original's statistics.
STATISTICS = {"mae": "mae", "rmse": "rmse", "ub": "upper"}


def compare_errors(record: Record, where: str, ours: ScoreErrors, known: dict[str, Any]) -> None:
    for name, field in STATISTICS.items():
        apart = abs(getattr(ours, field) - known[name])
        wide = name == "ub"
        tolerance = tolerances.RECOVERY_UPPER if wide else tolerances.RECOVERY_RMSE
        record(f"recovery {name}", where, apart, tolerance)
    assert ours.spearman == pytest.approx(known["r"], abs=1e-12)


@pytest.mark.parametrize("benchmark", NAMES)
def test_every_variant_of_the_filter(benchmark: str, golden: Path) -> None:
    stages = golden / "pipeline"
    items = pd.read_csv(
        stages / "crossvalidate" / f"{benchmark}-2PL-items.csv", dtype={"item": str}
    )
    parameters = parameters_of(items)
    table = pd.read_csv(stages / "crossvalidate" / f"{benchmark}-2PL-theta.csv.gz")
    theta = table.loc[table["set"] == "train", "F1"].to_numpy(np.float64)
    variants = pd.read_csv(
        stages / "reduce" / f"{benchmark}-select-variants.csv", dtype={"items": str}
    )
    assert len(variants) == 36
    for row in variants.to_dict("records"):
        n_bins = int(row["n_quant"])
        grid = theta_grid(theta, GRID_TYPES[int(row["grid.type"]) - 1], n_bins)
        columns = filter_items(bin_maxima(parameters, grid, n_bins), float(row["threshold"]))
        assert [parameters.items[i] for i in columns] == str(row["items"]).split()


@pytest.mark.parametrize("benchmark", NAMES)
def test_quantiles_bit_by_bit(benchmark: str, golden: Path) -> None:
    stages = golden / "pipeline"
    table = pd.read_csv(stages / "crossvalidate" / f"{benchmark}-2PL-theta.csv.gz")
    theta = table.loc[table["set"] == "train", "F1"].to_numpy(np.float64)
    known = pd.read_csv(stages / "reduce" / f"{benchmark}-info-quantiles.csv")
    ours = quantiles_type4(theta, np.arange(251) / 250)
    assert ours.tolist() == known["quantile"].tolist()


@pytest.mark.parametrize("benchmark", NAMES)
@pytest.mark.usefixtures("needs_r")
def test_whole_step(benchmark: str, golden: Path, record: Record) -> None:
    folder = golden / "pipeline" / "reduce"
    known = json.loads((folder / f"{benchmark}.json").read_text())
    data = benchmark_data(golden, benchmark)
    options = SelectOptions(penalty=0.0, engine="native", mode="mirt-path", item_types=("2PL",))
    ours = select_benchmarks({benchmark: data}, options)[benchmark]
    where = f"{benchmark}, select stage"
    assert list(ours.items) == known["selected_in_order"]
    held = [name for name, which in zip(ours.llms, ours.sets, strict=True) if which == "validation"]
    assert held == known["val_llms"]
    items = pd.read_csv(folder / f"{benchmark}-items.csv", dtype={"item": str})
    for name in ("a1", "d"):
        apart = np.abs(getattr(ours.parameters, name) - items[f"refit_{name}"].to_numpy()).max()
        record(f"item parameter {name}", where, apart, tolerances.PARAMETERS)
    apart = np.abs(ours.information - items["info.max"].to_numpy()).max()
    record("information", where, apart, tolerances.MAP)
    apart = np.abs(ours.ability - items["info.argmax"].to_numpy()).max()
    record("ability of most information", where, apart, tolerances.MAP)
    theta = pd.read_csv(folder / f"{benchmark}-theta.csv.gz")
    assert ours.llms == tuple(theta["source"])
    record("MAP", where, np.abs(ours.theta - theta["F1"].to_numpy()).max(), tolerances.MAP)
    apart = abs(float(ours.fit["log_likelihood"]) - known["refit"]["logLik"])
    record("log-likelihood", where, apart, tolerances.LOG_LIKELIHOOD)
    assert ours.fit["iterations"] == known["refit"]["iterations"]
    compare_errors(record, f"{where}, all items", ours.base, known["sfs_base"])
    compare_errors(record, where, ours.validation, known["sfs_sub_val"])
    assert ours.test is not None
    compare_errors(record, f"{where}, test", ours.test, known["sfs_sub_test"])


@pytest.mark.parametrize("benchmark", ["arc", "gsm8k", "hellaswag"])
@pytest.mark.usefixtures("needs_r")
def test_other_hyperparameters(benchmark: str, golden: Path, record: Record) -> None:
    folder = golden / "pipeline" / "reduce"
    known = json.loads((folder / f"{benchmark}-alt.json").read_text())
    asked = known["hyper"]
    choice = Choice(
        known["model"], known["theta"], GRID_TYPES[asked["grid.type"] - 1], asked["threshold"]
    )
    data = benchmark_data(golden, benchmark)
    rule = SelectionRule(penalty=0.0, mode="mirt-path", max_cycles=500)
    ours = Selector(data, sampling.partition(data.train_score, 0.1, 1), rule).evaluate(choice)
    where = f"{benchmark} {choice.item_type} {choice.method}, select stage"
    items = pd.read_csv(folder / f"{benchmark}-alt-items.csv", dtype={"item": str})
    assert ours.items == tuple(items["item"])
    assert ours.fit is not None
    assert ours.errors is not None
    for name in ("a1", "d", "g", "u"):
        known_values = items[f"refit.{name}"].to_numpy(np.float64)
        apart = np.abs(getattr(ours.fit.parameters, name) - known_values).max()
        record(f"item parameter {name}", where, apart, tolerances.PARAMETERS)
    assert ours.fit.iterations == known["iterations"]
    compare_errors(record, where, ours.errors, known["sfs_val"])


@pytest.mark.parametrize("benchmark", NAMES)
@pytest.mark.usefixtures("needs_r")
def test_statistics_from_the_same_abilities(benchmark: str, golden: Path, record: Record) -> None:
    folder = golden / "pipeline" / "reduce"
    known = json.loads((folder / f"{benchmark}.json").read_text())
    table = pd.read_csv(folder / f"{benchmark}-scores.csv.gz")
    for name, key in (("base_val", "sfs_base"), ("sub_val", "sfs_sub_val")):
        part = table[table["table"] == name]
        train, held = (part[part["set"] == which] for which in ("train", "test"))
        score, theta, p = (held[c].to_numpy(np.float64) for c in ("score", "theta", "p"))
        ours = score_errors(score, p, theta)
        for statistic, field in (*STATISTICS.items(), ("sse", "sse"), ("r", "spearman")):
            assert getattr(ours, field) == pytest.approx(known[key][statistic], rel=1e-10)
        assert average_ranks(score).tolist() == held["rank.score"].tolist()
        found = recover(
            {"theta": train["theta"].to_numpy(np.float64)},
            train["score"].to_numpy(np.float64),
            [{"theta": theta}],
        )
        worst = np.abs(found.predicted[0] - p).max()
        record("recovered score", f"{benchmark} {name}", worst, tolerances.RECOVERED)
