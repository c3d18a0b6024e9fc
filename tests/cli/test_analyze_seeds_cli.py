"""``metabench-py analyze seeds`` on what our own calibrations write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from helpers.leaderboard import write_leaderboard
from typer.testing import CliRunner, Result

from metabench_py.cli.app import app
from metabench_py.errors import InputError
from tests.helpers.golden_pipeline import write_folder

SELECT = (
    "--benchmark", "arc", "--item-type", "2PL", "--method", "MAP", "--evaluations", 4, "--engine",
    "native",
)  # fmt: skip


def invoke(*arguments: Any) -> Result:
    result = CliRunner().invoke(app, list(map(str, arguments)))
    if result.exit_code == 0 or result.exception is None:
        assert result.exit_code == 0, result.output
    return result


def seeds(*arguments: Any) -> Result:
    return invoke("analyze", "seeds", *arguments)


@pytest.fixture(scope="module")
def selections(
    golden: Path, needs_r: None, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[int, float], Path]:
    """Two splits of the simulated leaderboard, two penalties each."""
    folder = tmp_path_factory.mktemp("seeds")
    data = write_folder(golden, folder / "data", ("arc",))
    found = {}
    for seed in (1, 2):
        made = folder / f"split-{seed}"
        made.mkdir()
        (made / "scores.parquet").symlink_to(data / "scores.parquet")
        assert invoke("calibrate", "split", "--data", made, "--seed", seed).exit_code == 0
        for penalty in (0.001, 0.05):
            out = folder / f"out-{seed}-{penalty}"
            result = invoke(
                "calibrate", "select", "--data", data, "--split", made / "split.parquet", "--out",
                out, "--penalty", penalty, "--seed", seed, *SELECT,
            )  # fmt: skip
            assert result.exit_code == 0, result.output
            found[seed, penalty] = out
    return found


def test_best_settings_and_spread(
    selections: dict[tuple[int, float], Path], tmp_path: Path
) -> None:
    out, plot = tmp_path / "rows.csv", tmp_path / "p.svg"
    result = seeds(*selections.values(), "--out", out, "--plot", plot)
    assert result.exit_code == 0, result.output
    table = pd.read_csv(out)
    assert sorted(zip(table["seed"], table["penalty"], strict=True)) == sorted(selections)
    assert table.groupby("seed")["split"].nunique().tolist() == [1, 1]
    assert set(table["split"]) == {"A", "B"}
    assert table.groupby("seed")["best"].sum().tolist() == [1, 1]
    for (seed, penalty), folder in selections.items():
        known = json.loads((folder / "summary.json").read_text())["benchmarks"]["arc"]
        (row,) = table[(table["seed"] == seed) & (table["penalty"] == penalty)].to_dict("records")
        errors = known["errors"]
        assert row["n_items"] == known["n_items"]
        assert row["rmse"] == pytest.approx(errors["test"]["rmse"], abs=1e-9)
        assert row["mae"] == pytest.approx(errors["test"]["mae"], abs=1e-9)
        assert row["rmse_validation"] == errors["validation"]["rmse"]
        assert row["n_llms"] == errors["test"]["n"]
    lines = result.stdout.splitlines()
    assert lines[0] == "Selected items (calibrate select); RMSE in points (test LLMs)"
    assert sum(line.endswith("!") for line in lines) == 2
    assert any(line.split()[:6] == ["ARC", "penalty", "0.001", "2", "2", lines_rmse(table)]
               for line in lines)  # fmt: skip
    assert plot.read_text().startswith("<?xml")


def lines_rmse(table: pd.DataFrame) -> str:
    return f"{table.loc[table['penalty'] == 0.001, 'rmse'].mean():.3f}"


def test_json_and_cost(selections: dict[tuple[int, float], Path]) -> None:
    cheap = json.loads(seeds(*selections.values(), "--cost", 0, "--json").stdout)
    for one in cheap["rows"]:
        others = [o["rmse_validation"] for o in cheap["rows"] if o["seed"] == one["seed"]]
        assert one["best"] == (one["rmse_validation"] == min(others))
    assert {one["n"] for one in cheap["spread"]} == {2}


@pytest.mark.usefixtures("needs_r")
def test_the_work_folder_of_a_run(tmp_path: Path) -> None:
    config = write_leaderboard(tmp_path, ("mine", "yours"), out="items")
    with config.open("a") as stream:
        stream.write("\n[split]\nseed = 5\n\n[fit]\nitem_types = ['2PL']\nengine = 'native'\n")
    result = invoke("calibrate", "run", "--config", config)
    assert result.exit_code == 0, result.output
    # The result that was put in its place is a copy of the last stage.
    value = json.loads(seeds(tmp_path / ".items.work", f"5={tmp_path / 'items'}", "--json").stdout)
    rows = [(one["stage"], one["benchmark"], one["split"]) for one in value["rows"]]
    assert set(rows) == {(s, b, "5") for s in ("fit", "select") for b in ("mine", "yours")}
    fits = [one for one in value["rows"] if one["stage"] == "fit"]
    assert {one["setting"] for one in fits} == {"2PL MAP", "2PL EAPsum"}
    selected = [one for one in value["rows"] if one["stage"] == "select"]
    assert [one["n_items"] for one in selected] == [15, 15]
    text = seeds(tmp_path / ".items.work").stdout
    assert "All items (calibrate fit)" in text


def test_bad_arguments(selections: dict[tuple[int, float], Path], tmp_path: Path) -> None:
    one = next(iter(selections.values()))
    for arguments in (
        (tmp_path / "none",),
        (tmp_path,),
        (one, "--benchmark", "mmlu"),
        (one, "--cost", -1),
        (one, "--plot", tmp_path / "p.docx"),
        (one, "--out", tmp_path / "p.xlsx"),
    ):
        result = CliRunner().invoke(app, ["analyze", "seeds", *map(str, arguments)])
        assert isinstance(result.exception, InputError), arguments
