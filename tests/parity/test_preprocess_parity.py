"""Preprocessing against the original's on simulated benchmarks: items, LLMs, order, numbers."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from metabench_py.calibration.preprocess import PreprocessOptions
from metabench_py.calibration.preprocess_folder import preprocess_folder
from metabench_py.responses import ResponseMatrix

from . import tolerances
from .report import Record

BENCHMARKS = ("arc", "gsm8k", "hellaswag", "mmlu", "truthfulqa", "winogrande")
pytestmark = pytest.mark.usefixtures("needs_r")


@pytest.fixture(scope="module")
def out(golden: Path, tmp_path_factory: pytest.TempPathFactory, needs_r: None) -> Path:
    del needs_r
    folder = tmp_path_factory.mktemp("preprocess") / "out"
    options = PreprocessOptions(item_rule="original", order="icu")
    preprocess_folder(golden / "pipeline" / "inputs", folder, options)
    return folder


def expected_items(golden: Path, benchmark: str) -> pd.DataFrame:
    path = golden / "pipeline" / "preprocess" / f"{benchmark}-items.csv"
    return pd.read_csv(path, dtype={"item": str, "reason_first": str}, keep_default_na=False,
                       na_values={"disc": ["NaN"]})  # fmt: skip


def difference(ours: pd.Series, theirs: pd.Series) -> float:
    """Largest difference; infinite where only one of them has a number."""
    if (ours.isna() != theirs.isna()).any():
        return float("inf")
    return float(np.nanmax(np.abs(ours.to_numpy() - theirs.to_numpy())))


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_items(benchmark: str, golden: Path, out: Path, record: Record) -> None:
    table = pd.read_parquet(out / "items.parquet")
    table = table[table["benchmark"] == benchmark].reset_index(drop=True)
    facts = json.loads((golden / "pipeline" / "preprocess" / f"{benchmark}.json").read_text())
    duplicate = table.index[table["reason"] == "duplicate"] + 1
    assert duplicate.tolist() == facts["duplicate_positions"]
    rest = table[table["reason"] != "duplicate"].reset_index(drop=True)
    expected = expected_items(golden, benchmark)
    assert rest["item"].tolist() == expected["item"].tolist()
    assert rest["reason"].tolist() == expected["reason_first"].tolist()
    for ours, theirs in (("sd", "sd"), ("discrimination", "disc")):
        worst = difference(rest[ours], expected[theirs])
        record(f"item {ours}", benchmark, worst, tolerances.ITEM_STATISTIC)
    worst = difference(rest["difficulty"], expected["diff"])
    record("item difficulty", benchmark, worst, tolerances.ITEM_DIFFICULTY)


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_llms_and_responses(benchmark: str, golden: Path, out: Path, record: Record) -> None:
    folder = golden / "pipeline" / "preprocess"
    facts: dict[str, Any] = json.loads((folder / f"{benchmark}.json").read_text())
    matrix = ResponseMatrix.load(out / f"{benchmark}.parquet")
    llms = pd.read_csv(folder / f"{benchmark}-llms.csv")
    assert list(matrix.llms) == llms["source"].tolist()
    assert list(matrix.items) == facts["kept_items"]
    with gzip.open(folder / f"{benchmark}-data.csv.gz", "rt") as stream:
        data = pd.read_csv(stream, dtype=str)
    assert list(matrix.llms) == data["source"].tolist()
    assert ["".join(map(str, row)) for row in matrix.values] == data["bits"].tolist()
    scores = pd.read_parquet(out / "scores.parquet").set_index("name")[benchmark]
    worst = np.abs(scores[list(matrix.llms)].to_numpy() - llms["score_pct"].to_numpy()).max()
    record("score", f"{benchmark}, preprocessing", float(worst), tolerances.RAW_SCORE)
    assert scores.notna().sum() == len(llms)


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_counts(benchmark: str, golden: Path, out: Path) -> None:
    facts = json.loads((golden / "pipeline" / "preprocess" / f"{benchmark}.json").read_text())
    ours = json.loads((out / "summary.json").read_text())["benchmarks"][benchmark]
    names = {
        "items_read": "n_items_file_or_merged",
        "llms_read": "n_llms_loaded",
        "duplicate": "n_duplicates",
        "max_points": "max_points_orig",
        "tail_threshold": "tail_threshold",
        "llms_tail": "n_llms_removed",
        "llms_kept": "n_llms",
        "least_discrimination": "disc_limit",
        "variance": "count_variance",
        "too_easy": "count_too_easy",
        "low_disc": "count_low_disc",
        "items_kept": "n_kept",
    }
    assert {name: ours[name] for name in names} == {k: facts[v] for k, v in names.items()}


def test_our_rule_keeps_easy_items_that_correlate(golden: Path, tmp_path: Path) -> None:
    """The original's discrimination makes them look flat; nothing else is different."""
    preprocess_folder(golden / "pipeline" / "inputs", tmp_path / "out", benchmarks=["arc"])
    ours = pd.read_parquet(tmp_path / "out" / "items.parquet").set_index("item")
    theirs = expected_items(golden, "arc").set_index("item")
    ours = ours[ours["reason"] != "duplicate"]
    differs = ours.index[ours["reason"] != theirs["reason_first"]]
    assert len(differs) == 19
    assert (theirs.loc[differs, "reason_first"] == "low_disc").all()
    assert (ours.loc[differs, "reason"] == "").all()
    share_wrong = 1 - ours["difficulty"] / 0.75
    np.testing.assert_allclose(
        (ours["discrimination"] * share_wrong).dropna(),
        theirs["disc"][ours["discrimination"].notna()],
        atol=1e-12,
    )
