"""``metabench-py analyze synergy`` as a person or a script uses it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from metabench_py.cli.app import app
from metabench_py.errors import InputError

SMALL = (
    "--correlation", 0, "--correlation", 0.5, "--dependence", 0.4, "--seeds", 2, "--llms", 160,
    "--items", 20, "--workers", 1,
)  # fmt: skip


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(app, ["analyze", "synergy", *map(str, arguments)])


def test_table_runs_and_plot(tmp_path: Path) -> None:
    out, plot = tmp_path / "runs.csv", tmp_path / "p.svg"
    result = run(*SMALL, "--out", out, "--plot", plot)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith("2 tests of 20 items; 160 LLMs; 2 simulations a setting.")
    assert lines[2].split()[:4] == ["correlation", "separate", "joint", "gain"]
    assert [line.split()[0] for line in lines[3:5]] == ["0", "0.5"]
    assert "simulations: 4 of 4: 4 done" in result.stderr
    table = pd.read_csv(out)
    assert len(table) == 4
    gain = table["separate_test"] - table["joint_test"]
    assert float(lines[3].split()[3]) == pytest.approx(gain[:2].mean(), abs=6e-4)
    assert plot.read_text().startswith("<?xml")
    assert {path.name for path in tmp_path.iterdir()} == {"runs.csv", "p.svg"}


def test_json_is_the_same_by_two_workers(tmp_path: Path) -> None:
    out = tmp_path / "runs.parquet"
    one = json.loads(run(*SMALL, "--json", "--out", out).stdout)
    two = json.loads(run(*SMALL[:-1], 2, "--json").stdout)
    assert one == two
    assert len(pd.read_parquet(out)) == 4
    assert one["options"]["seeds"] == [1, 2]
    seen = json.loads(run(*SMALL, "--seen", 10, "--seed", 5, "--json").stdout)
    assert seen["options"]["seeds"] == [5, 6]
    worse = zip(seen["by_correlation"], one["by_correlation"], strict=True)
    assert all(few["separate"] > all_["separate"] for few, all_ in worse)


def test_llms_beyond_the_others_are_told() -> None:
    result = run("--correlation", 0, "--dependence", 0, "--seed", 3, "--seeds", 2, "--seen", 20,
                 "--workers", 1)  # fmt: skip
    line = result.stdout.splitlines()[-1]
    assert line.startswith("In 1 of 2 simulations a test LLM's ability is beyond those of")
    gain, lower, upper = (float(result.stdout.splitlines()[3].split()[i]) for i in (3, 4, 6))
    assert lower < gain < upper
    # One simulation of an outlier alone would make it -5.7.
    assert abs(gain) < 0.3


def test_bad_arguments(tmp_path: Path) -> None:
    for arguments in (
        ("--correlation", 2),
        ("--seeds", 0),
        ("--seed", -1),
        ("--llms", 20),
        ("--plot", tmp_path / "p.docx"),
        ("--out", tmp_path / "p.xlsx"),
        ("--workers", 0),
    ):
        assert isinstance(run(*SMALL, *arguments).exception, InputError), arguments
    assert run("--mode", "fast").exit_code == 2
