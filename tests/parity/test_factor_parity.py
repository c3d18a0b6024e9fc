"""Factor analysis against psych and the original's outputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from metabench_py.analysis.factor_fit import EngineChoice, FactorEngine
from metabench_py.analysis.factor_table import FactorTable, load_factor_table
from metabench_py.analysis.factors import FactorAnalysis, analyze_factors
from metabench_py.benchmarks import BENCHMARKS

from . import tolerances
from .report import Record

SOURCES = ("scores", "thetas_full", "thetas_reduced")


@pytest.fixture(params=["psych", "native"])
def engine(request: pytest.FixtureRequest) -> Any:
    if request.param == "psych":
        request.getfixturevalue("needs_psych")
    return request.param


def table_of(golden: Path, what: str) -> FactorTable:
    stages = golden / "pipeline"
    scores = pd.read_csv(stages / "split" / "merged-scores.csv").set_index("source")
    columns = []
    for benchmark in BENCHMARKS:
        if what == "scores":
            columns.append(scores[benchmark])
        elif what == "thetas_full":
            path = stages / "crossvalidate" / f"{benchmark}-2PL-theta.csv.gz"
            columns.append(pd.read_csv(path).set_index("source")["F1"])
        else:
            path = stages / "reduce" / f"{benchmark}-theta.csv.gz"
            columns.append(pd.read_csv(path).set_index("source")["F1"])
    merged = pd.concat(columns, axis=1, join="inner").reindex(scores.index)
    return FactorTable(
        names=tuple(merged.index),
        variables=tuple(BENCHMARKS),
        values=merged.to_numpy(np.float64),
        test=scores["in_test"].to_numpy(bool),
        against=scores["mean"].to_numpy(np.float64),
    )


def analysed(golden: Path, what: str, engine: EngineChoice, n_factors: int = 1) -> FactorAnalysis:
    return analyze_factors(table_of(golden, what), n_factors, engine=engine, n_samples=2)


@pytest.mark.parametrize("what", SOURCES)
def test_one_factor(golden: Path, what: str, engine: FactorEngine, record: Record) -> None:
    reference = json.loads((golden / "pipeline" / "meta" / "fa.json").read_text())[what]
    found = analysed(golden, what, engine)
    one = found.fits[0]
    tolerance = tolerances.PSYCH if engine == "psych" else tolerances.MINRES
    ours: dict[str, Any] = {
        "loadings": one.loadings[:, 0],
        "uniquenesses": one.uniquenesses,
        "weights_train": one.weights[:, 0],
        "R2_train": one.score_r2[0],
        "propVar": one.variance[0],
        "objective": one.objective,
        "STATISTIC": one.chi_square,
        "dof": one.dof,
        "TLI": one.tli,
        "rms": one.rmsr,
        "crms": one.crmsr,
    }
    for name, value in ours.items():
        theirs = reference[name]
        theirs = list(theirs.values()) if isinstance(theirs, dict) else theirs
        worst = np.abs(np.asarray(theirs) - value).max()
        record(f"factor {name}", f"{what}, {engine}", float(worst), tolerance)
    rmsea = reference["RMSEA"]
    for name, value in (
        ("RMSEA", one.rmsea), ("lower", one.rmsea_lower), ("upper", one.rmsea_upper)
    ):  # fmt: skip
        # psych searches the bounds to four digits of the non-centrality.
        record(f"RMSEA {name}", f"{what}, {engine}", abs(rmsea[name] - value), tolerance)


@pytest.mark.parametrize("what", SOURCES)
def test_factor_scores(golden: Path, what: str, engine: FactorEngine, record: Record) -> None:
    path = golden / "pipeline" / "meta" / "factor-scores.csv"
    reference = pd.read_csv(path).query("what == @what").set_index(["set", "source"])["MR1"]
    found = analysed(golden, what, engine)
    tolerance = tolerances.PSYCH if engine == "psych" else tolerances.MINRES
    names = np.asarray(found.table.names)
    held = found.table.test
    assert found.scores_by_own is not None
    for part, ours, where in (
        ("train", found.scores[~held], names[~held]),
        ("test", found.scores_by_own, names[held]),
    ):
        theirs = reference.loc[part].reindex(where).to_numpy()
        worst = float(np.abs(theirs - ours).max())
        record("factor scores", f"{what}, {part}, {engine}", worst, tolerance)


def test_two_factors(golden: Path, engine: FactorEngine, record: Record) -> None:
    reference = json.loads((golden / "pipeline" / "meta" / "fa.json").read_text())
    two = analysed(golden, "scores", engine, 2).fits[1]
    tolerance = tolerances.PSYCH if engine == "psych" else tolerances.MINRES_SEVERAL
    wanted = reference["two_factor_scores"]
    for name, ours in (("loadings", two.loadings), ("Phi", two.phi)):
        worst = float(np.abs(np.asarray(wanted[name]) - ours).max())
        record(f"two factors, {name}", f"scores, {engine}", worst, tolerance)


def test_published_abilities(shared_data: Path, engine: FactorEngine, record: Record) -> None:
    # The correlation of the original's factor 1 with the grand score, test LLMs of version B.
    table = load_factor_table(
        shared_data / "published" / "B" / "features.parquet",
        split=shared_data / "llm-scores.parquet",
    )
    assert (len(table.names), int(table.test.sum())) == (4634, 464)
    found = analyze_factors(table, 1, engine=engine, n_samples=1)
    for name, value in (("test_by_own", 0.9376), ("test", 0.9368)):
        worst = abs(found.spearman[name] - value)
        record(f"Spearman, {name}", f"published B, {engine}", worst, tolerances.RANKS)


@pytest.mark.usefixtures("needs_psych")
def test_parallel_analysis_agrees(golden: Path) -> None:
    ours = analysed(golden, "scores", "native").parallel
    theirs = analysed(golden, "scores", "psych").parallel
    assert (ours.n_factors, ours.n_components) == (theirs.n_factors, theirs.n_components) == (1, 1)
    np.testing.assert_allclose(ours.factor_values, theirs.factor_values, atol=1e-6)
    np.testing.assert_allclose(ours.component_values, theirs.component_values, atol=1e-12)
    # Random numbers of another generator: means of few samples.
    np.testing.assert_allclose(ours.component_random, theirs.component_random, atol=0.12)
