"""Native fits along mirt's path: simulated cases and the published parameters; false stops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from metabench_py.benchmarks import Benchmark, ItemType
from metabench_py.irt.engine import FitOptions, IrtFit
from metabench_py.irt.model import ItemParameters
from metabench_py.irt.native import NativeEngine
from metabench_py.responses import ResponseMatrix

from . import tolerances
from .cases import CASES, load_case, parameters_of
from .report import Record

ENGINE = NativeEngine()


def compare_parameters(record: Record, where: str, fit: IrtFit, expected: ItemParameters) -> None:
    expected = expected.select(fit.parameters.items)
    for name in ("a1", "d", "g", "u"):
        worst = np.abs(getattr(fit.parameters, name) - getattr(expected, name)).max()
        record(f"item parameter {name}", where, float(worst), tolerances.PARAMETERS)


@pytest.mark.parametrize("name", CASES)
def test_mirt_path(name: str, golden: Path, record: Record) -> None:
    case = load_case(golden / "irt" / name)
    manifest, where = case.manifest, f"{name}, native"
    fit = ENGINE.fit(case.responses, manifest["itemtype"])
    compare_parameters(record, where, fit, case.parameters)
    tolerance = (
        tolerances.LOG_LIKELIHOOD_3PL
        if manifest["itemtype"] == "3PL"
        else tolerances.LOG_LIKELIHOOD
    )
    record("log-likelihood", where, abs(fit.log_likelihood - manifest["logLik"]), tolerance)
    record("EM cycles", where, abs(fit.iterations - manifest["iterations"]), tolerances.CYCLES)
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
    compare_parameters(record, f"published {benchmark}", fit, parameters_of(published))
    record("EM cycles", f"published {benchmark}", abs(fit.iterations - cycles), tolerances.CYCLES)


@pytest.mark.parametrize("name", CASES)
def test_converged_is_at_least_as_likely(name: str, golden: Path) -> None:
    case = load_case(golden / "irt" / name)
    manifest = case.manifest
    fit = ENGINE.fit(case.responses, manifest["itemtype"], FitOptions(mode="converged"))
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
