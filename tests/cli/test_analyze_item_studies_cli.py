"""``analyze logistic``, ``answers`` and ``clusters`` as a person or a script uses them."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.item_studies import write_study
from typer.testing import CliRunner, Result

from metabench_py.cli.app import app
from metabench_py.errors import InputError


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(app, ["analyze", *map(str, arguments)])


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_study(tmp_path_factory.mktemp("study"), "arc", "mine", n=136, m=16)


def common(study: tuple[Path, Path]) -> tuple[Any, ...]:
    responses, scores = study
    return ("--responses", responses, "--scores", scores, "--folds", 3, "--workers", 1)


@pytest.fixture
def same_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a thread; that it is done in processes, too, `test_logistic` shows."""

    @contextlib.contextmanager
    def threads(*_: Any) -> Iterator[ThreadPoolExecutor]:
        with ThreadPoolExecutor(1) as pool:
            yield pool

    monkeypatch.setattr("metabench_py.compute.open_executor", threads)


def line(
    features: dict[str, np.ndarray], score: np.ndarray, other: dict[str, np.ndarray], _: str
) -> tuple[np.ndarray, np.ndarray]:
    known, asked = (np.column_stack([np.ones(len(part["mean_linear"])), *part.values()])
                    for part in (features, other))  # fmt: skip
    weights = np.linalg.lstsq(known, score, rcond=None)[0]
    return known @ weights, asked @ weights


def succeeded(result: Result) -> Result:
    assert result.exit_code == 0, (result.exception, result.stderr)
    return result


def test_logistic(study: tuple[Path, Path], tmp_path: Path) -> None:
    out, plot = tmp_path / "items.csv", tmp_path / "l.svg"
    options = (*common(study), "--items", 8, "--draws", 2)
    result = succeeded(run("logistic", *options, "--out", out, "--plot", plot))
    lines = result.stdout.splitlines()
    assert lines[0].startswith("ARC: 128 LLMs, 16 items; 0 slopes below 0;")
    assert lines[1].split() == [
        "items", "logistic,", "mode", "logistic,", "mean", "share", "right", "2PL", "mode,", "in",
        "sample", "mode,", "test",
    ]  # fmt: skip
    assert [line.split()[:2] for line in lines[2:5]] == [
        ["16", "all"], ["8", "steepest"], ["8", "random"],
    ]  # fmt: skip
    assert any(line.startswith("mine: 128 LLMs") for line in lines)
    assert "logistic scoring: 8 of 8" in result.stderr
    table = pd.read_csv(out)
    assert len(table) == 32
    assert (table["slope"] > 0).all()
    assert plot.read_text().startswith("<?xml")
    value = json.loads(succeeded(run("logistic", *options, "--json")).stdout)
    arc = value["benchmarks"]["arc"]
    assert (arc["n_llms"], arc["n_test"], arc["n_folds"]) == (128, 8, 3)
    assert arc["items"][3]["slope"] == pytest.approx(table["slope"][3])
    shown = float(lines[2].split()[2])
    assert arc["recovery"][0]["rmse"] == pytest.approx(shown, abs=0.0051)


@pytest.mark.usefixtures("same_process")
def test_answers(study: tuple[Path, Path], tmp_path: Path) -> None:
    out, plot = tmp_path / "items.parquet", tmp_path / "a.png"
    options = (*common(study), "--benchmark", "arc", "--items", 6, "--items", 10, "--draws", 2)
    result = succeeded(run("answers", *options, "--out", out, "--plot", plot))
    assert result.stdout.startswith("ARC: 128 LLMs, 16 items; target: full score.\n")
    assert re.search(r"^6 +\d", result.stdout, re.M)
    assert re.search(r"^10 +\d", result.stdout, re.M)
    assert "On 8 test LLMs: 6: linear" in result.stdout
    table = pd.read_parquet(out)
    assert set(table["n_items"]) == {6, 10}
    assert plot.read_bytes().startswith(b"\x89PNG")
    # Without scores the share right is the target, which all items tell exactly.
    alone = run(
        "answers", "--responses", study[0] / "arc.parquet", "--folds", 3, "--workers", 1,
        "--items", 6, "--items", 10, "--draws", 1, "--rule", "coefficient", "--json",
    )  # fmt: skip
    value = json.loads(succeeded(alone).stdout)["benchmarks"]["arc"]
    assert value["rule"] == "coefficient"
    assert [one["n_items"] for one in value["sizes"]] == [6, 10]
    assert len(value["removed"]) == 16
    assert value["score"] == "share of right answers in the matrix"
    assert value["linear"]["rmse"][-1] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.usefixtures("same_process")
def test_clusters(
    study: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Lines stand for the dozen adaptive GAMs, which the test of the study itself fits.
    monkeypatch.setattr("metabench_py.analysis.cluster_joint.ENOUGH_FOR_ADAPTIVE", 15)
    monkeypatch.setattr("metabench_py.analysis.cluster_joint.joint_fit", line)
    out, plot = tmp_path / "items.csv", tmp_path / "c.pdf"
    options = (
        *common(study), "--items", 8, "--clusters", 3, "--item-type", "2PL", "--method", "MAP",
        "--draws", 2, "--starts", 2,
    )  # fmt: skip
    result = succeeded(run("clusters", *options, "--out", out, "--plot", plot))
    assert result.stdout.startswith("ARC: 8 of 16 items, 128 LLMs; chosen on all of them: 3 clu")
    for name in ("clusters", "random", "information", "all", "Grand score"):
        assert re.search(rf"^{name} +\d+\.\d\d", result.stdout, re.M), name
    assert "joint GAMs: 12 of 12" in result.stderr
    table = pd.read_csv(out)
    assert table.groupby("benchmark")["drawn"].count().tolist() == [8, 8]
    assert plot.read_bytes().startswith(b"%PDF")
    value = json.loads(succeeded(run("clusters", *options, "--json", "--benchmark", "mine")).stdout)
    assert value["joint"] is None
    assert value["parameters"] == "fitted"
    mine = value["benchmarks"]["mine"]
    assert mine["best"]["n_clusters"] == 3
    drawn = table[(table["benchmark"] == "mine") & table["drawn"].notna()].sort_values("drawn")
    assert [one["item"] for one in mine["items"]] == drawn["item"].tolist()


@pytest.mark.usefixtures("same_process")
def test_clusters_by_a_bundle(tmp_path: Path) -> None:
    from helpers.item_studies import simulate

    from metabench_py.bundle import load_bundle
    from metabench_py.responses import ResponseMatrix

    parameters = load_bundle().benchmarks["arc"].parameters
    matrix, _ = simulate(200, 20)
    responses = tmp_path / "arc.parquet"
    ResponseMatrix(matrix.llms, parameters.items[:20], matrix.values).save(responses)
    options = (
        "--responses", responses, "--folds", 3, "--workers", 1, "--clusters", 4, "--items", 8,
        "--draws", 1, "--bundle", "default",
    )  # fmt: skip
    result = succeeded(run("clusters", *options, "--json"))
    assert "may come of LLMs that are held out" in result.stderr
    value = json.loads(result.stdout)
    assert value["parameters"] == "default"
    assert {trial["item_type"] for trial in value["benchmarks"]["arc"]["trials"]} == {"2PL"}
    matrix.save(responses)
    wrong = run("clusters", *options)
    assert isinstance(wrong.exception, InputError)
    assert "No parameters for item 'q0'" in str(wrong.exception)
    (tmp_path / "mine.parquet").write_bytes(responses.read_bytes())
    absent = run("clusters", *options[2:], "--responses", tmp_path / "mine.parquet")
    assert "no item parameters of mine" in str(absent.exception)


@pytest.mark.parametrize("command", ["logistic", "answers", "clusters"])
def test_bad_arguments(command: str, study: tuple[Path, Path], tmp_path: Path) -> None:
    responses, scores = study
    given = ("--responses", responses, "--scores", scores)
    for arguments, match in (
        (("--responses", tmp_path / "none"), "no such folder"),
        ((*given, "--plot", tmp_path / "p.docx"), "end its name in"),
        ((*given, "--out", tmp_path / "p.xlsx"), "end its name in"),
        ((*given, "--folds", 2), "too few"),
        ((*given, "--seed", -1), "give 0 or more"),
        ((*given, "--workers", 0), "cannot work"),
        ((*given, "--benchmark", "gsm8k"), "no responses of gsm8k"),
        ((*given, "--items", 99), "16"),
    ):
        result = run(command, *arguments)
        assert isinstance(result.exception, InputError), (arguments, result.stderr)
        assert re.search(match, str(result.exception)), (match, result.exception)
    assert run(command).exit_code == 2


def test_closed_choices(study: tuple[Path, Path]) -> None:
    given = ("clusters", *common(study))
    for option, value in (("--item-type", "5PL"), ("--method", "ML")):
        wrong = run(*given, option, value)
        assert isinstance(wrong.exception, InputError)
        assert f"{option} {value}: choose" in str(wrong.exception)
