"""``metabench-py analyze factors`` as a person or a script uses it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from metabench_py.cli.app import app
from metabench_py.errors import InputError, RUnavailableError


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(app, ["analyze", "factors", *map(str, arguments)])


@pytest.fixture
def scores(golden: Path, tmp_path: Path) -> Path:
    merged = pd.read_csv(golden / "pipeline" / "split" / "merged-scores.csv")
    table = merged.rename(columns={"source": "name", "mean": "grand"})
    table["split"] = np.where(table.pop("in_test"), "test", "train")
    path = tmp_path / "scores.parquet"
    table.to_parquet(path)
    return path


def test_table(scores: Path) -> None:
    result = run(scores, "--engine", "native", "--samples", 2)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "350 training LLMs, 40 test LLMs, 6 variables"
    assert lines[3].split() == [
        "1", "0.751", "11.8", "9", "0.030", "0.000", "-", "0.071", "0.0117", "0.0151", "0.9985",
        "0.9975",
    ]  # fmt: skip
    assert "Parallel analysis: 1 factors, 1 components." in lines
    assert lines[-1].startswith("Fitted by the native engine")


def test_json_scores_and_plot(scores: Path, tmp_path: Path) -> None:
    out, plot = tmp_path / "f.csv", tmp_path / "f.svg"
    result = run(
        scores, "--engine", "native", "--samples", 2, "--json", "--out", out, "--plot", plot,
        "--factors", 2,
    )  # fmt: skip
    value = json.loads(result.stdout)
    assert [one["n_factors"] for one in value["solutions"]] == [1, 2]
    assert value["solutions"][0]["loadings"]["arc"][0] == pytest.approx(0.861858, abs=1e-6)
    table = pd.read_csv(out)
    assert len(table) == 390
    assert table["factor_by_own"].notna().sum() == 40
    merged = pd.read_parquet(scores)
    assert table["factor"].corr(merged["grand"], method="spearman") > 0.99
    svg = plot.read_text()
    assert svg.startswith("<?xml")
    assert len(svg) > 10_000


def test_other_columns(scores: Path) -> None:
    columns = [part for name in ("arc", "mmlu", "gsm8k") for part in ("--column", name)]
    options = ("--engine", "native", "--samples", 1, "--json")
    value = json.loads(run(scores, *columns, "--factors", 1, *options).stdout)
    assert value["variables"] == ["arc", "mmlu", "gsm8k"]
    assert isinstance(run(scores, *columns, *options).exception, InputError)


@pytest.mark.usefixtures("needs_psych")
def test_psych_gives_the_same_table(scores: Path) -> None:
    ours = run(scores, "--engine", "native", "--samples", 2).stdout.splitlines()
    theirs = run(scores, "--engine", "psych", "--samples", 2).stdout.splitlines()
    assert theirs[-1].startswith("Fitted by psych")
    assert ours[:-1] == theirs[:-1]


def test_bad_arguments(scores: Path, tmp_path: Path) -> None:
    for arguments in (
        (tmp_path / "none.parquet",),
        (scores, "--plot", tmp_path / "p.docx"),
        (scores, "--out", tmp_path / "p.xlsx"),
        (scores, "--factors", 9),
        (scores, "--samples", 0),
    ):
        assert isinstance(run(*arguments, "--engine", "native").exception, InputError), arguments
    assert run(scores, "--engine", "stan").exit_code == 2


def test_without_psych_the_error_says_how_to_get_it(scores: Path) -> None:
    from metabench_py import rbridge

    if rbridge.has_package("psych"):
        pytest.skip("psych is there")
    result = run(scores, "--engine", "psych")
    assert isinstance(result.exception, RUnavailableError)
