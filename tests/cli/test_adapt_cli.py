"""``metabench-py adapt`` as a person or a script uses it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.bundles import tiny_draft, tiny_model
from typer.testing import CliRunner, Result

from metabench_py.adaptive.engine import generate_responses
from metabench_py.benchmarks import BENCHMARKS
from metabench_py.bundle.write import write_bundle
from metabench_py.cli.app import app
from metabench_py.errors import InputError
from metabench_py.irt.model import ItemParameters, probability

N_ITEMS, N_LLMS = 30, 120


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of 30 items a benchmark, answers of 120 LLMs of 12 organisations, full scores."""
    folder = tmp_path_factory.mktemp("adapt")
    random = np.random.default_rng(3)
    theta = random.standard_normal(N_LLMS)
    names = tuple(f"org{i % 12}/m{i}" for i in range(N_LLMS))
    models, scores = {}, {"name": list(names)}
    for benchmark in BENCHMARKS:
        model = tiny_model(benchmark)
        parameters = ItemParameters(
            tuple(f"{'a.' if benchmark == 'mmlu' else ''}{k}" for k in range(N_ITEMS)),
            random.uniform(0.8, 2.5, N_ITEMS), random.normal(size=N_ITEMS),
            np.zeros(N_ITEMS), np.ones(N_ITEMS),
        )  # fmt: skip
        models[benchmark] = replace(
            model, item_type="2PL", parameters=parameters, weights=np.ones(N_ITEMS)
        )
        drawn = generate_responses(parameters, theta, random)
        replace(drawn, llms=names).save(folder / "responses" / f"{benchmark}.parquet")
        scores[benchmark] = list(100.0 * probability(parameters, theta).mean(axis=1))
    write_bundle(
        replace(tiny_draft(), version="B", name="some", benchmarks=models), folder / "bundle"
    )
    pd.DataFrame(scores).to_parquet(folder / "scores.parquet")
    return folder


@pytest.fixture
def real(place: Path) -> list[str]:
    return [
        "--responses", str(place / "responses"), "--scores", str(place / "scores.parquet"),
        "--bundle", str(place / "bundle"), "--folds", "4",
    ]  # fmt: skip


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(app, ["adapt", *map(str, arguments)])


def test_simulate(real: list[str], tmp_path: Path) -> None:
    out = tmp_path / "tests.parquet"
    result = run("simulate", *real, "--max-items", 8, "--out", out)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith("MFI MAP n<=8")
    assert [line.split()[0] for line in lines[1:]] == [
        "ARC", "GSM8K", "HellaSwag", "MMLU", "TruthfulQA", "WinoGrande",
    ]  # fmt: skip
    table = pd.read_parquet(out)
    assert len(table) == 6 * N_LLMS
    assert (table["n_items"] == 8).all()
    assert table["items"].str.split().map(lambda items: len(set(items))).eq(8).all()
    error = (table["predicted"] - table["score"]).groupby(table["benchmark"]).std()
    assert (error < 12).all()


def test_simulate_on_drawn_answers(place: Path) -> None:
    result = run(
        "simulate", "--generate", 200, "--bundle", place / "bundle", "--benchmark", "arc",
        "--se", 0.4, "--estimator", "EAP", "--criterion", "KLP", "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    value = json.loads(result.stdout)
    (study,) = value["studies"]
    assert (value["answers"], study["n_llms"], study["score"]) == ("drawn", 200, None)
    assert 0.25 < study["theta"]["rmse"] < 0.55
    assert study["settings"]["se"] == 0.4


def test_optimize(real: list[str], tmp_path: Path) -> None:
    out = tmp_path / "grid.json"
    result = run(
        "optimize", *real, "--benchmark", "arc", "--benchmark", "gsm8k", "--max-items", 5,
        "--max-items", 15, "--estimator", "MAP", "--estimator", "EAP", "--workers", 2,
        "--slack", 0.02, "--out", out,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    value = json.loads(out.read_text())
    assert len(value["rows"]) == 8
    assert [row["benchmark"] for row in value["best"]] == ["arc", "gsm8k"]
    for best in value["best"]:
        own = [r["score"]["rmse"] for r in value["rows"] if r["benchmark"] == best["benchmark"]]
        assert best["score"]["rmse"] <= 1.02 * min(own)
    assert result.stdout.count("best") == 2


def test_analyze(real: list[str], tmp_path: Path) -> None:
    plot = tmp_path / "adaptive.svg"
    result = run(
        "analyze", *real, "--benchmark", "arc", "--length", 6, "--length", 30, "--se", 0.5,
        "--plot", plot, "--json", "--refit",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    value = json.loads(result.stdout)
    (compared,) = value["comparison"]
    assert compared["refitted"] is True
    short, whole = compared["lengths"]
    assert short["adaptive"]["rmse"] < short["chance"]["rmse"]
    # All items are all items, whoever chooses them.
    assert whole["adaptive"]["rmse"] == pytest.approx(whole["fixed"]["rmse"], abs=1e-4)
    assert set(value["exposure"]["arc"].values()) <= set(np.arange(N_LLMS + 1) / N_LLMS)
    drawing = plot.read_text()
    assert "items used" in drawing or "<path" in drawing
    result = run("analyze", *real, "--benchmark", "arc", "--length", 6)
    assert "score RMSE at equal length" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["simulate"], "Give --responses DIR for real answers or --generate"),
        (["simulate", "--generate", "10", "--benchmark", "boolq"], "choose arc"),
        (["simulate", "--generate", "10", "--out", "x.txt"], ".csv or .parquet"),
        (["simulate", "--generate", "10", "--criterion", "best"], "choose MFI"),
        (["simulate", "--generate", "1"], "take 2 or more"),
        (["simulate", "--generate", "9", "--llms", "5"], "--llms takes some of real LLMs"),
        (["simulate", "--generate", "9", "--folds", "5"], "drawn LLMs have none, so leave it out"),
        (["simulate", "--responses", "x", "--folds", "5"], "give --scores too or leave it out"),
        (["simulate", "--generate", "9", "--scores", "x"], "drawn ones have none"),
        (
            ["simulate", "--generate", "9", "--start-theta", "1", "--start-random", "2"],
            "two beginnings",
        ),
        (
            ["simulate", "--generate", "9", "--start-random", "10", "--max-items", "5"],
            "no test is both",
        ),
        (["simulate", "--generate", "9", "--pool", "9"], "--pool is of --exposure randomesque"),
        (
            ["simulate", "--generate", "9", "--acceleration", "1", "--exposure", "randomesque"],
            "--acceleration is of --exposure progressive",
        ),
        (["analyze", "--responses", "x", "--scores", "y", "--max-exposure", "0.5"],
         "--max-exposure is of --exposure sympson-hetter"),
        (["optimize", "--generate", "9", "--pool", "9", "--exposure", "progressive"],
         "--pool is of --exposure randomesque"),
        (["simulate", "--generate", "9", "--min-items", "5"], "--min-items is of the rule --se"),
        (["optimize", "--generate", "9", "--min-items", "5", "--max-items", "9"],
         "--min-items is of the rule --se"),
        (["optimize", "--generate", "9", "--slack", "-1"], "--slack -1: take 0 or more"),
        (["optimize", "--generate", "9", "--slack", "nan"], "--slack nan: take 0 or more"),
        (["analyze", "--responses", "nowhere"], "--responses and --scores"),
        (["analyze", "--plot", "x.gif"], "end its name in"),
    ],
)  # fmt: skip
def test_refusals(place: Path, arguments: list[str], message: str) -> None:
    result = run(*arguments, "--bundle", place / "bundle")
    assert isinstance(result.exception, InputError)
    assert message in str(result.exception)


@pytest.mark.parametrize("command", ["simulate", "analyze", "optimize"])
def test_how_many_llms(command: str, real: list[str]) -> None:
    for n in (-5, 0, 1):
        result = run(command, *real, "--llms", n)
        assert isinstance(result.exception, InputError)
        assert f"--llms {n}: take 2 or more" in str(result.exception)


def test_a_grid_uses_what_one_of_its_kinds_uses(place: Path) -> None:
    result = run(
        "optimize", "--generate", 20, "--bundle", place / "bundle", "--benchmark", "arc",
        "--exposure", "none", "--exposure", "randomesque", "--pool", 3, "--max-items", 4,
        "--workers", 1, "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert {row["settings"]["pool"] for row in json.loads(result.stdout)["rows"]} == {3}


def test_a_leaderboard_is_refused_with_what_to_do_here(
    place: Path, real: list[str], tmp_path: Path
) -> None:
    table = pd.read_parquet(place / "scores.parquet").assign(link="x", complete=True, avg=50.0)
    table.to_parquet(tmp_path / "leaderboard.parquet")
    result = run("simulate", *real, "--scores", tmp_path / "leaderboard.parquet")
    assert isinstance(result.exception, InputError)
    told = str(result.exception)
    assert "is a leaderboard's table" in told
    assert "`calibrate preprocess` writes" in told
    assert "--scores-from-leaderboard" not in told


def test_responses_are_a_folder(place: Path, tmp_path: Path) -> None:
    for path, what in (
        (place / "responses" / "arc.parquet", "a file; give the folder that holds arc.parquet"),
        (tmp_path / "gone", "no such folder; give the folder that holds arc.parquet"),
    ):
        result = run("simulate", "--responses", path, "--bundle", place / "bundle")
        assert isinstance(result.exception, InputError)
        assert f"--responses {path}: {what}" in str(result.exception)


def test_absent_matrix(place: Path, tmp_path: Path) -> None:
    result = run("simulate", "--responses", tmp_path, "--bundle", place / "bundle")
    assert isinstance(result.exception, InputError)
    assert "has no arc.parquet" in str(result.exception)
