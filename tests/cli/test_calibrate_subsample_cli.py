"""The command ``calibrate subsample``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from helpers.golden_subsample import write_folder
from typer.testing import CliRunner

from metabench_py.cli.calibrate import calibrate_app
from metabench_py.errors import InputError, StorageError


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    golden = Path(__file__).resolve().parents[1] / "golden"
    return write_folder(golden, tmp_path_factory.mktemp("before"), ("arc", "truthfulqa"))


def arguments(data: Path, out: Path, *more: str) -> list[str]:
    words = f"subsample --data {data} --out {out} --items 30 --subsets 20 --workers 1"
    return [*words.split(), *more]


def test_tables_files_and_plot(data: Path, tmp_path: Path) -> None:
    out, plot = tmp_path / "out", tmp_path / "errors.svg"
    more = ("--null-items", "10", "--null-subsets", "4", "--plot", str(plot))
    result = CliRunner().invoke(calibrate_app, arguments(data, out, *more))
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split() == [
        "benchmark", "items", "of", "subset", "largest", "RMSE", "median", "RMSE", "test",
    ]  # fmt: skip
    assert lines[1].split()[:3] == ["arc", "30", "125"]
    assert [line.split()[1] for line in lines[5:]] == ["10", "10"]
    assert "arc: 20 of 20: 20 done" in result.stderr
    assert "truthfulqa: 4 of 4" in result.stderr
    assert plot.read_text().startswith("<?xml")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["errors.svg", "out"]
    summary = json.loads((out / "summary.json").read_text())
    assert len(summary["benchmarks"]["arc"]["chosen_items"]) == 30


def test_json_is_the_summary(data: Path, tmp_path: Path) -> None:
    command = arguments(data, tmp_path / "out", "--benchmark", "arc", "--json")
    result = CliRunner().invoke(calibrate_app, command)
    assert result.exit_code == 0, result.output
    known = json.loads(result.stdout)
    assert known["stage"] == "subsample"
    assert known["options"]["n_items"] == 30
    assert list(known["benchmarks"]) == ["arc"]
    errors = pd.read_parquet(tmp_path / "out" / "subsample.parquet")
    worst = errors.groupby("seed")["rmse_validation"].max()
    assert known["benchmarks"]["arc"]["chosen_subset"] == worst.idxmin()
    assert known["benchmarks"]["arc"]["minimax_rmse_validation"] == worst.min()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--rule", "caret"), "choose stratified, original"),
        (("--second-stage", "lm"), "choose native, mgcv"),
        (("--items", "100"), "truthfulqa: 100 items cannot be drawn from 92"),
        (("--benchmark", "boolq"), "no responses of boolq"),
        (("--plot", "errors.gif"), "end its name in .png"),
        (("--scores", "nowhere.csv"), "nowhere.csv: no such file"),
        (("--workers", "0"), "0 workers cannot work"),
        (("--null-subsets", "5"), "is the number of subsets of --null-items; give both"),
    ],
)
def test_what_cannot_be_done(data: Path, tmp_path: Path, more: tuple[str, ...], says: str) -> None:
    result = CliRunner().invoke(calibrate_app, arguments(data, tmp_path / "out", *more))
    assert isinstance(result.exception, InputError)
    assert says in str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_not_overwritten(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    result = CliRunner().invoke(calibrate_app, arguments(data, out))
    assert isinstance(result.exception, StorageError)
    assert (out / "mine.txt").read_text() == "mine"
    # Nor does the refusal leave anything.
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_after_a_kill_it_goes_on(data: Path, tmp_path: Path) -> None:
    """Killed at some moment, started again: the same as without."""
    whole = tmp_path / "whole"
    more = ("--subsets", "200", "--benchmark", "arc")
    assert CliRunner().invoke(calibrate_app, arguments(data, whole, *more)).exit_code == 0
    out = tmp_path / "out"
    command = [sys.executable, "-m", "metabench_py", "calibrate", *arguments(data, out, *more)]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    work = tmp_path / ".out.subsample-work"
    limit = time.monotonic() + 120
    while time.monotonic() < limit and process.poll() is None:
        if sum(path.stat().st_size for path in work.glob("*.journal")) > 0:
            break
        time.sleep(0.01)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    killed = process.wait() == -signal.SIGKILL
    assert killed
    assert not out.exists()
    kept = sum(path.stat().st_size for path in work.glob("*.journal"))
    assert kept > 0
    assert CliRunner().invoke(calibrate_app, arguments(data, out, *more)).exit_code == 0
    for name in ("subsample.parquet", "arc.parquet"):
        pd.testing.assert_frame_equal(pd.read_parquet(out / name), pd.read_parquet(whole / name))
    assert not work.exists()
