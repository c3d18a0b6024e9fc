"""Native fits along mirt's path: simulated cases and the published parameters; false stops."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from metabench_py.benchmarks import Benchmark, ItemType
from metabench_py.irt.engine import FitOptions, IrtFit
from metabench_py.irt.native import NativeEngine
from metabench_py.responses import ResponseMatrix

from . import tolerances
from .report import Record

ENGINE = NativeEngine()
CASES = ("sim-2pl", "sim-2pl-hostile", "sim-2pl-missing", "sim-3pl", "sim-4pl")


def golden_responses(folder: Path) -> ResponseMatrix:
    answers = pd.read_csv(folder / "responses.csv")
    return ResponseMatrix(
        tuple(f"llm-{i}" for i in range(len(answers))),
        tuple(answers.columns),
        answers.fillna(-1).to_numpy().astype(np.int8),
    )


def compare_parameters(record: Record, where: str, fit: IrtFit, table: pd.DataFrame) -> None:
    table = table.assign(item=table["item"].astype(str)).set_index("item")
    table = table.loc[list(fit.parameters.items)]
    for name in ("a1", "d", "g", "u"):
        worst = np.abs(getattr(fit.parameters, name) - table[name].to_numpy(np.float64)).max()
        record(f"fitted {name}", where, float(worst), tolerances.PARAMETERS)


@pytest.mark.parametrize("case", CASES)
def test_mirt_path(case: str, golden: Path, record: Record) -> None:
    folder = golden / "irt" / case
    manifest = json.loads((folder / "manifest.json").read_text())
    fit = ENGINE.fit(golden_responses(folder), manifest["itemtype"])
    compare_parameters(record, case, fit, pd.read_csv(folder / "items.csv"))
    tolerance = (
        tolerances.LOG_LIKELIHOOD_3PL
        if manifest["itemtype"] == "3PL"
        else tolerances.LOG_LIKELIHOOD
    )
    record("log-likelihood", case, abs(fit.log_likelihood - manifest["logLik"]), tolerance)
    record("EM cycles", case, abs(fit.iterations - manifest["iterations"]), tolerances.CYCLES)
    assert fit.converged == manifest["converged"]
    assert (fit.engine, fit.mode) == ("native", "mirt-path")


@pytest.mark.parametrize(
    ("benchmark", "item_type", "cycles"),
    [
        ("winogrande", "4PL", 3),
        pytest.param("truthfulqa", "2PL", 1000, marks=pytest.mark.slow),
    ],
)
def test_published_parameters(
    benchmark: Benchmark, item_type: ItemType, cycles: int, shared_data: Path, record: Record
) -> None:
    responses = ResponseMatrix.load(shared_data / "llm-responses" / "B" / f"{benchmark}.parquet")
    fit = ENGINE.fit(responses, item_type)
    published = pd.read_parquet(shared_data / "published" / "B" / f"items-{benchmark}.parquet")
    compare_parameters(record, f"published {benchmark}", fit, published)
    record("EM cycles", f"published {benchmark}", abs(fit.iterations - cycles), tolerances.CYCLES)


@pytest.mark.parametrize("case", CASES)
def test_converged_is_at_least_as_likely(case: str, golden: Path) -> None:
    folder = golden / "irt" / case
    manifest = json.loads((folder / "manifest.json").read_text())
    fit = ENGINE.fit(golden_responses(folder), manifest["itemtype"], FitOptions(mode="converged"))
    assert fit.converged
    assert fit.gradient_norm is not None
    assert fit.gradient_norm <= 1e-7
    assert fit.log_likelihood >= manifest["logLik"] - 1e-6


def test_a_false_stop_of_the_4pl_is_told(shared_data: Path) -> None:
    responses = ResponseMatrix.load(shared_data / "llm-responses" / "B" / "winogrande.parquet")
    path = ENGINE.fit(responses, "4PL")
    assert path.converged
    assert path.gradient_norm is not None
    assert path.gradient_norm > 1e-2
    (message,) = path.messages
    assert "no optimum" in message
    assert "upper asymptote" in message
    true = ENGINE.fit(responses, "4PL", FitOptions(mode="converged"))
    assert true.converged
    assert true.log_likelihood > path.log_likelihood + 6000
