"""Sums of adaptive splines without R against the original's second stage."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from metabench_py.benchmarks import TARGETS
from metabench_py.gam.adaptive import AdaptiveOptions
from metabench_py.gam.additive import fit_additive
from metabench_py.gam.features import target_features

from . import tolerances
from .report import Record

# The original's names of two benchmarks.
SHORT = {"hs": "hellaswag", "tfqa": "truthfulqa", "wg": "winogrande"}


@pytest.mark.parametrize(
    ("target", "size"),
    [("grand", 20), pytest.param("arc", 20, marks=pytest.mark.slow),
     pytest.param("grand", 40, marks=pytest.mark.slow)],
)  # fmt: skip
def test_second_stage(target: str, size: int, golden: Path, record: Record) -> None:
    """Eight terms and forty smoothing parameters; of a benchmark ten and fifty."""
    folder = golden / "pipeline" / "meta"
    name = f"grand-gam-k{size}" if target == "grand" else f"specific-{target}-gam-k{size}"
    known = json.loads((folder / f"{name}.json").read_text())
    table = pd.read_csv(folder / "grand-frame.csv.gz")
    table = table.rename(columns=lambda c: ".".join(SHORT.get(p, p) for p in c.split(".")))
    assert target in TARGETS
    parts = [table[table["set"] == which] for which in ("train", "test")]
    true = table["grand"]
    if target != "grand":
        true = pd.read_csv(folder / f"specific-{target}-k{size}.csv.gz")["target"]
    score = [true[part.index].to_numpy(np.float64) for part in parts]
    columns = [{c: part[c].to_numpy(np.float64) for c in part.columns[2:]} for part in parts]
    train, test = (target_features(c, target) for c in columns)
    fit = fit_additive(train, score[0], AdaptiveOptions(basis_size=size), target)
    where = f"{target}, {size} a term"
    flat = target != "grand"
    tolerance = tolerances.SUM_GCV_FLAT if flat else tolerances.SUM_GCV
    record("sum of splines, GCV", where, abs(fit.gcv - known["gam"]["gcv"]), tolerance)
    predicted = fit.gam.predict(test)
    rmse = float(np.sqrt(np.mean((predicted - score[1]) ** 2)))
    expected = known["rmse_test"] if "rmse_test" in known else known["test"]["rmse"]
    tolerance = tolerances.SUM_RMSE_FLAT if flat else tolerances.SUM_PREDICTED
    record("sum of splines, test RMSE", where, abs(rmse - expected), tolerance)
    if not flat:
        apart = abs(fit.edf - known["gam"]["edf_total"])
        record("sum of splines, edf", where, apart, tolerances.SUM_EDF)
    if "pred_test" in known:
        apart = np.abs(predicted - np.array(known["pred_test"])).max()
        record("sum of splines, predicted", where, apart, tolerances.SUM_PREDICTED)
