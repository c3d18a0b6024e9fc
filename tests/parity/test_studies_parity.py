"""The studies of synergy, architectures and seeds beside the original's numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from metabench_py.analysis.architectures import analyze_architectures
from metabench_py.analysis.llm_kinds import load_kinds
from metabench_py.analysis.residual_table import load_residuals
from metabench_py.analysis.seed_results import load_results
from metabench_py.analysis.synergy_simulation import SynergyData, estimate_abilities, synergy_errors
from tests.helpers.golden_pipeline import NAMES
from tests.helpers.r_statistics import statistics

from . import tolerances
from .report import Record

# What mirt and mgcv gave in the original's analysis/synergy.rds: correlation, dependence, seed;
# RMSE separate (train, test) and joint (train, test).
SYNERGY = (
    (0.0, 0.4, 1, 2.60367, 2.75303, 2.10647, 2.14911),
    (0.0, 0.4, 2, 2.33616, 2.32304, 1.87858, 1.97260),
    (0.0, 0.4, 3, 2.35774, 2.45235, 1.84346, 2.00795),
    (0.0, 1.0, 1, 1.91612, 1.59463, 1.81666, 1.58247),
    (0.0, 1.0, 2, 1.61572, 1.59086, 1.61504, 1.58305),
    (0.0, 1.0, 3, 1.63297, 1.38261, 1.62204, 1.34214),
    (0.5, 0.2, 1, 2.32946, 2.32160, 2.14834, 2.25549),
    (0.5, 0.2, 2, 1.93887, 1.99608, 1.83778, 1.93677),
    (0.5, 0.2, 3, 2.00206, 1.72736, 1.82659, 1.70813),
    (0.9, 0.6, 1, 1.81768, 1.96157, 1.81119, 1.96499),
    (0.9, 0.6, 2, 1.55885, 1.76547, 1.53383, 1.74548),
    (0.9, 0.6, 3, 1.49078, 1.45712, 1.48247, 1.46506),
)  # fmt: skip


@pytest.mark.usefixtures("needs_r")
def test_simulations_of_the_original(record: Record) -> None:
    """Its draws, made again by R; items fitted on all LLMs, as it does."""
    apart = []
    for correlation, dependence, seed, *published in SYNERGY:
        drawn = statistics(
            "synergy", correlation=correlation, dependence=dependence, seed=seed, n_llms=500,
            n_items=100,
        )  # fmt: skip
        answers = [drawn[name].astype(np.int8) for name in ("first", "second")]
        test = np.zeros(500, dtype=bool)
        test[drawn["test"] - 1] = True
        theta = estimate_abilities(answers, np.ones(500, dtype=bool), "mirt-path")
        data = SynergyData(theta, 100.0 * answers[0].mean(axis=1), test)
        worst = np.abs(np.array(synergy_errors(data)) - published)
        where = f"correlation {correlation:g}, dependence {dependence:g}"
        record("synergy: RMSE", where, float(worst.max()), tolerances.SYNERGY_ERROR)
        apart += worst.tolist()
    typical = float(np.median(apart))
    record("synergy: RMSE, median", "all", typical, tolerances.SYNERGY_ERROR_TYPICAL)


@pytest.mark.parametrize("benchmark", NAMES)
def test_errors_of_a_selection(
    benchmark: str, golden: Path, tmp_path: Path, record: Record
) -> None:
    """The original's reduce step, as our select would have written it."""
    folder = golden / "pipeline" / "reduce"
    known = json.loads((folder / f"{benchmark}.json").read_text())
    table = pd.read_csv(folder / f"{benchmark}-scores.csv.gz").query("table == 'sub_test'")
    llms = table[["score", "set", "theta"]].assign(
        predicted=table["p"], benchmark=benchmark, name=[f"m{i}" for i in range(len(table))]
    )
    llms.to_parquet(tmp_path / "llms.parquet")
    summary = {
        "options": {"penalty": known["lambda"], "seed": known["seed"]},
        "benchmarks": {
            benchmark: {
                "choice": {
                    "item_type": known["model_type"], "method": known["theta_type"],
                    "grid": "quantiles", "threshold": known["threshold"], "passes": 1,
                },
                "n_items": known["n_items_selected"], "n_available": known["n_items_available"],
                "errors": {"validation": known["sfs_sub_val"], "test": known["sfs_sub_test"]},
            }
        },
    }  # fmt: skip
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    (row,) = load_results([str(tmp_path)])
    for name in ("rmse", "mae"):
        apart = abs(getattr(row, name) - known["sfs_sub_test"][name])
        record(f"seeds: test {name}", benchmark, apart, tolerances.SCORE_ERROR)
    assert row.n_items == known["n_items_selected"]


def test_error_of_the_published_gam(shared_data: Path, record: Record) -> None:
    path = shared_data / "published" / "B" / "features.parquet"
    residuals = load_residuals(path)
    kinds = load_kinds(shared_data / "open-llm-leaderboard.csv", residuals.names)
    found = analyze_architectures(residuals, kinds)
    # As the original's figure of version B has it.
    apart = abs(found.everyone.rmse - 0.675)
    record("architectures: RMSE of all", "published B", apart, tolerances.GAM_RMSE)
    assert found.everyone.n == 464
    squares = sum(one.n * one.rmse**2 for one in found.groups)
    kind = np.array([one or "" for one in kinds.architecture])
    inside = np.isin(kind, [one.name for one in found.groups])
    assert squares == pytest.approx(float((residuals.residual[inside] ** 2).sum()))
