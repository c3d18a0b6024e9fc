"""``calibrate fit`` and ``calibrate select`` on files, whole and with faults."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from metabench_py.calibration.inputs import load_items
from metabench_py.cli.calibrate import calibrate_app
from metabench_py.errors import InputError, MetabenchError, RUnavailableError, StorageError
from metabench_py.responses import MISSING, ResponseMatrix
from tests.helpers.golden_pipeline import NAMES, write_folder

pytestmark = pytest.mark.usefixtures("needs_r")
FAST = ("--engine", "native", "--item-type", "2PL", "--evaluations", "3")


@pytest.fixture(scope="module")
def folder(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(golden, tmp_path_factory.mktemp("golden") / "data")


def run(*words: object) -> Any:
    return CliRunner().invoke(calibrate_app, [str(word) for word in words])


def fails(*words: object) -> MetabenchError:
    result = run(*words)
    assert isinstance(result.exception, MetabenchError), result.output
    return result.exception


def test_a_total_budget_gives_a_list_that_bundle_reads(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "selected"
    result = run(
        "select", "--data", folder, "--out", out, "--total-budget", 120, "--json", *FAST,
        "--workers", 2,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    lists = load_items(out / "items.parquet")
    assert sum(len(one.items) for one in lists.values()) == 120
    assert all(len(one.items) >= 10 for one in lists.values())
    summary = json.loads((out / "summary.json").read_text())
    assert summary["n_items"] == 120
    assert json.loads(result.stdout) == {**summary}
    history = pd.read_parquet(out / "search.parquet")
    assert history.groupby("benchmark")["number"].apply(list).tolist() == [[1, 2, 3]] * len(NAMES)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["selected"]


def test_disjoint_versions(folder: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    words = ("--benchmark", "arc", "--budget", 20, *FAST)
    assert run("select", "--data", folder, "--out", first, *words).exit_code == 0
    result = run("select", "--data", folder, "--out", second, "--exclude", first, *words)
    assert result.exit_code == 0, result.output
    tables = [pd.read_parquet(one / "items.parquet") for one in (first, second)]
    assert [len(table) for table in tables] == [20, 20]
    assert not set(tables[0]["item"]) & set(tables[1]["item"])
    summary = json.loads((second / "summary.json").read_text())
    assert summary["benchmarks"]["arc"]["n_excluded"] == 20


def test_the_original_way(folder: Path, golden: Path, tmp_path: Path) -> None:
    result = run(
        "select", "--data", folder, "--out", tmp_path / "out", "--benchmark", "gsm8k",
        "--penalty", 0, "--mode", "mirt-path", "--engine", "native",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    known = json.loads((golden / "pipeline" / "reduce" / "gsm8k.json").read_text())
    table = pd.read_parquet(tmp_path / "out" / "items.parquet")
    assert table["item"].tolist() == known["selected_in_order"]


def small_world(folder: Path, n_llms: int) -> None:
    """Another benchmark, few LLMs, answers missing, an item that all answer alike."""
    random = np.random.default_rng(8)
    theta, difficulty = random.normal(size=n_llms), random.uniform(-1, 1, 25)
    chance = 1 / (1 + np.exp(-1.5 * (theta[:, None] - difficulty)))
    values = (random.uniform(size=chance.shape) < chance).astype(np.int8)
    values[random.uniform(size=values.shape) < 0.1] = MISSING
    values[:, 7] = 1
    names = tuple(f"lab/{i}" for i in range(n_llms))
    folder.mkdir(parents=True)
    ResponseMatrix(names, tuple(f"q{j}" for j in range(25)), values).save(
        folder / "my-own.bench.parquet"
    )
    scores = pd.DataFrame({"name": names, "my-own.bench": 100 * chance.mean(axis=1)})
    scores.to_csv(folder.parent / "scores.csv", index=False)


def test_few_llms_of_any_benchmark_with_missing_answers(tmp_path: Path) -> None:
    small_world(tmp_path / "data", 40)
    out = tmp_path / "out"
    words = ("--data", tmp_path / "data", "--scores", tmp_path / "scores.csv", "--engine", "native")
    result = run("select", *words, "--out", out, "--budget", 12, "--evaluations", 4)
    assert result.exit_code == 0, result.output
    assert "40 LLMs" not in result.stderr
    assert "LLMs are few for a 2PL" in result.stderr
    assert "validation LLMs tell an RMSE only to" in result.stderr
    assert "1 items left out" in result.stderr
    assert "have no full score" not in result.stderr
    table = pd.read_parquet(out / "items.parquet")
    assert len(table) == 12
    assert set(table["benchmark"]) == {"my-own.bench"}
    assert "q7" not in set(table["item"])
    result = run("fit", *words, "--out", tmp_path / "fit", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)["benchmarks"]["my-own.bench"]
    assert list(found) == ["2PL"]
    assert found["2PL"]["recovery"]["MAP"]["test"] is None
    assert "seed is -1" in str(fails("fit", *words, "--out", tmp_path / "no", "--seed", -1))


def test_llms_without_a_score_are_told(tmp_path: Path) -> None:
    small_world(tmp_path / "data", 40)
    scores = pd.read_csv(tmp_path / "scores.csv")
    scores.iloc[4:].to_csv(tmp_path / "scores.csv", index=False)
    (path,) = (tmp_path / "data").glob("*.parquet")
    # Spaces around a name are no part of it.
    whole = ResponseMatrix.load(path)
    names = tuple(f"{name} " if i % 2 else name for i, name in enumerate(whole.llms))
    ResponseMatrix(names, whole.items, whole.values).save(path)
    words = ("--data", tmp_path / "data", "--scores", tmp_path / "scores.csv", "--engine", "native")
    for command in (("select", "--budget", 100, "--evaluations", 2), ("fit",)):
        result = run(*command, *words, "--out", tmp_path / command[0])
        assert result.exit_code == 0, result.output
        assert ("items are selected; take a smaller" in result.stderr) == (command[0] == "select")
        assert "my-own.bench: 4 of 40 LLMs have no full score" in result.stderr


@pytest.mark.parametrize("seed", [1, 123_456])
def test_without_r_any_seed_selects(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(*_: object, **__: object) -> None:
        raise RUnavailableError("no R here")

    monkeypatch.setattr("metabench_py.rbridge.sampling.call", absent)
    small_world(tmp_path / "data", 60)
    result = run(
        "select", "--data", tmp_path / "data", "--scores", tmp_path / "scores.csv", "--out",
        tmp_path / "out", "--budget", 12, "--evaluations", 4, "--seed", seed, "--engine", "native",
        "--workers", 1,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "R is absent, so NumPy drew the validation LLMs" in result.stderr
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    (one,) = summary["benchmarks"].values()
    assert one["n_llms"]["validation"] >= 4


def test_fit_writes_tables_and_figures(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "fit"
    result = run(
        "fit", "--data", folder, "--out", out, "--engine", "native", "--benchmark", "arc",
        "--item-type", "2PL", "--item-type", "3PL", "--plots",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    models = pd.read_parquet(out / "models.parquet")
    assert list(zip(models["model"], models["method"], strict=True)) == [
        ("2PL", "MAP"), ("2PL", "EAPsum"), ("3PL", "MAP"), ("3PL", "EAPsum"),
    ]  # fmt: skip
    # As in the golden run: the 3PL has the larger AIC; both recover scores within four points.
    assert models["aic"].round().tolist() == [24501.0, 24501.0, 24520.0, 24520.0]
    assert models["rmse_test"].between(3.0, 4.0).all()
    summary = json.loads((out / "summary.json").read_text())
    assert summary["best"]["arc"] == {"aic": "2PL", "bic": "2PL"}
    items = pd.read_parquet(out / "items.parquet")
    assert len(items) == 120
    assert items["infit"].between(0.5, 1.5).all()
    assert len(pd.read_parquet(out / "llms.parquet")) == 4 * 400
    figures = sorted(path.name for path in out.glob("*.png"))
    assert figures == [f"arc-{m}-{f}.png" for m in ("2PL", "3PL") for f in ("curves", "recovery")]
    assert all(path.stat().st_size > 10_000 for path in out.glob("*.png"))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--engine", "stan"), "--engine stan: choose"),
        (("--grid", "round"), "--grid round: choose quantiles, range"),
        (("--optimiser", "luck"), "--optimiser luck: choose optuna, rBayesianOptimization"),
        (("--budget", 5, "--total-budget", 9), "give one of them"),
        (("--total-budget", 30), "take 60 or more"),
        (("--budget", 1), "budget of 1 items is too small"),
        (("--penalty", -1), "penalty must be 0 or more"),
        (("--intervals", 0), "0 intervals are too few"),
        (("--evaluations", 0), "0 evaluations are too few"),
        (("--validation-share", 1.5), "1.5 is not between 0 and 1"),
        (("--benchmark", "chess"), "no responses of chess"),
        (("--exclude", "nowhere.csv"), "nowhere.csv: no such file"),
        (("--threshold", 9.0, "--penalty", 0), "informative enough"),
        (("--workers", 0), "0 workers cannot work"),
        (("--seed", -1), "seed is -1; give 0 or more"),
        (("--validation-share", 0.995), "0 items vary among the"),
    ],
)
def test_bad_options(folder: Path, tmp_path: Path, words: tuple[object, ...], says: str) -> None:
    error = fails(
        "select", "--data", folder, "--out", tmp_path / "out", "--item-type", "2PL", *words
    )  # fmt: skip
    assert says in str(error)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("scores.csv", "name,arc\na,50\na,60\n", "row 2: 'a' is in row 1 already"),
        ("scores.csv", "name,arc\na,500\n", "row 1: arc of 'a' is '500'"),
        ("scores.csv", "name,mmlu\na,50\n", "no column 'arc'"),
        ("scores.csv", "name,arc\na,0.5\n", "multiply them by 100"),
        ("scores.csv", "name,arc\nnobody,50\n", "0 training LLMs have answers and a full score"),
        ("split.csv", "name,split\na,half\n", "row 1: the split of 'a' is 'half', neither"),
        ("split.csv", "name,split\na-x,test\nb-x,train\n", "none of its 2 LLMs is in the matric"),
    ],
)
def test_bad_tables(folder: Path, tmp_path: Path, file: str, content: str, says: str) -> None:
    (tmp_path / file).write_text(content)
    option = "--scores" if file == "scores.csv" else "--split"
    error = fails(
        "fit", "--data", folder, "--out", tmp_path / "out", "--benchmark", "arc", option,
        tmp_path / file,
    )  # fmt: skip
    assert isinstance(error, InputError)
    assert str(tmp_path / file) in str(error) or "nobody" in content
    assert says in str(error)


def test_a_leaderboard_s_scores_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "scores.csv").write_text("name,truthfulqa,link,complete,avg\na,50,x,1,50\n")
    error = fails(
        "select", "--data", folder, "--out", tmp_path / "out", "--benchmark", "truthfulqa",
        "--scores", tmp_path / "scores.csv",
    )  # fmt: skip
    assert "scores.csv is a leaderboard's table" in str(error)


def test_folders_are_kept(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    for command in ("fit", "select"):
        words = (command, "--data", folder, "--out", out)
        assert isinstance(fails(*words), StorageError)
        assert "was not made by calibrate" in str(fails(*words, "--replace"))
    assert [path.name for path in out.iterdir()] == ["thesis.txt"]


def test_the_original_optimiser_where_r_lacks_it(folder: Path, tmp_path: Path) -> None:
    from metabench_py import rbridge

    if rbridge.has_package("rBayesianOptimization"):
        pytest.skip("R has it")
    error = fails(
        "select", "--data", folder, "--out", tmp_path / "out", "--benchmark", "arc", *FAST,
        "--optimiser", "rBayesianOptimization",
    )  # fmt: skip
    assert isinstance(error, RUnavailableError)
    assert "rBayesianOptimization" in str(error)


def test_two_dimensions_where_r_lacks_mirt(folder: Path, tmp_path: Path) -> None:
    from metabench_py import rbridge

    if rbridge.has_package("mirt"):
        pytest.skip("R has it")
    error = fails("fit", "--data", folder, "--out", tmp_path / "out", "--two-dimensional")
    assert isinstance(error, RUnavailableError)
    assert "two abilities is fitted by R's mirt alone" in str(error)
