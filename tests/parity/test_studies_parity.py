"""The studies of synergy, architectures and seeds beside the original's numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from metabench_py.analysis.architectures import analyze_architectures
from metabench_py.analysis.residual_table import load_kinds, load_residuals
from metabench_py.analysis.seed_results import load_results
from tests.helpers.golden_pipeline import NAMES

from . import tolerances
from .report import Record


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
