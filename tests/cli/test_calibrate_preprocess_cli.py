"""``calibrate preprocess`` and ``calibrate split``: files, summaries, plots, bad input."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.r_trees import without_package, without_r
from typer.testing import CliRunner, Result

from metabench_py.calibration.split_folder import load_split
from metabench_py.cli.calibrate import calibrate_app
from metabench_py.errors import InputError, MetabenchError, ResponseError, StorageError
from metabench_py.responses import ResponseMatrix

INPUTS = "pipeline/inputs"


def run(*words: object) -> Result:
    return CliRunner().invoke(calibrate_app, [str(word) for word in words])


def fails(kind: type[MetabenchError], *words: object) -> str:
    result = run(*words)
    assert type(result.exception) is kind, result.output
    return str(result.exception)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two benchmarks of our own, with missing answers, and MMLU in parts."""
    folder = tmp_path_factory.mktemp("world")
    generator = np.random.default_rng(7)
    ability = generator.normal(size=(80, 1))
    for name, n_items in (("chess", 25), ("go", 18), ("mmlu_law", 12), ("mmlu_art", 9)):
        easiness = generator.normal(size=n_items)
        right = generator.random((80, n_items)) < 1 / (1 + np.exp(-2 * ability - easiness))
        values = right.astype(np.int8)
        values[:, 0] = 1
        if name == "chess":
            values[generator.random(values.shape) < 0.1] = -1
        llms = tuple(f"org{i % 9}/m{i}" for i in range(80))
        items = tuple(str(j) for j in range(n_items))
        ResponseMatrix(llms, items, values).rows(llms[len(name) :]).save(folder / f"{name}.parquet")
    prompts = pd.DataFrame(
        {"item": [str(j) for j in range(18)], "prompt": [f"p{j}" for j in range(18)]}
    )
    prompts.loc[9, "prompt"] = "p3"
    prompts.to_csv(folder / "go-prompts.csv", index=False)
    pd.DataFrame({"name": ["x"], "arch": ["Llama"]}).to_csv(folder / "leaderboard.csv", index=False)
    return folder


def test_from_matrices_to_a_split(world: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    result = run("preprocess", "--responses", world, "--out", out, "--json")
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert summary == json.loads((out / "summary.json").read_text())
    assert list(summary["benchmarks"]) == ["chess", "go", "mmlu"]
    assert [about.split(" (")[0] for about in summary["not_read"]] == ["leaderboard.csv"]
    assert "Not read, being no matrices: leaderboard.csv" in result.stderr
    go = summary["benchmarks"]["go"]
    assert (go["duplicate"], go["variance"], go["prompts_missing"]) == (1, 1, 0)
    assert summary["benchmarks"]["chess"]["answers_missing"] > 100
    assert set(summary["benchmarks"]["mmlu"]["files"]) == {"mmlu_law.parquet", "mmlu_art.parquet"}
    items = pd.read_parquet(out / "items.parquet")
    assert list(items.columns) == [
        "benchmark",
        "item",
        "sd",
        "difficulty",
        "discrimination",
        "reason",
    ]
    scores = pd.read_parquet(out / "scores.parquet")
    assert list(scores.columns) == ["name", "chess", "go", "mmlu"]
    assert scores["name"].is_monotonic_increasing
    for name, counts in summary["benchmarks"].items():
        matrix = ResponseMatrix.load(out / f"{name}.parquet")
        kept = items[(items["benchmark"] == name) & (items["reason"] == "")]
        assert list(matrix.items) == kept["item"].tolist()
        assert (matrix.n_llms, matrix.n_items) == (counts["llms_kept"], counts["items_kept"])
        assert set(matrix.llms) == set(scores["name"][scores[name].notna()])
    assert summary["llms_common"] == scores.notna().all(axis=1).sum()

    result = run("split", "--data", out, "--json")
    assert result.exit_code == 0, result.output
    drawn = json.loads(result.stdout)
    assert drawn == json.loads((out / "split.json").read_text())
    parts = load_split(out / "split.parquet")
    assert list(parts) == scores["name"].tolist()
    assert sorted(n for n, test in parts.items() if test) == drawn["test_llms"]
    # The matrices of the folder are found again, the other tables are not taken for such.
    assert run("preprocess", "--responses", out, "--out", tmp_path / "again").exit_code == 0
    assert (tmp_path / "again" / "go.parquet").is_file()


def test_tables_and_plot(world: Path, tmp_path: Path) -> None:
    out, plot = tmp_path / "out", tmp_path / "figure.svg"
    result = run("preprocess", "--responses", world, "--out", out, "--plot", plot)
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    summary = json.loads((out / "summary.json").read_text())["benchmarks"]["go"]
    rules = ("items_read", "duplicate", "variance", "too_easy", "low_disc", "items_kept")
    assert ["go", *(str(summary[rule]) for rule in rules)] in lines
    assert ["chess", "25", "?"] in [line[:3] for line in lines]
    assert "answers are missing" in result.stdout
    text = plot.read_text()
    assert text.startswith("<?xml")
    # Every item that has a standard deviation is in one of the bars' groups.
    assert text.count("<path") > 100
    split = run("split", "--data", out)
    assert split.exit_code == 0, split.output
    assert "have all scores" in split.stdout


def test_limits_are_handed_on(world: Path, tmp_path: Path) -> None:
    base = ("preprocess", "--responses", world, "--json", "--benchmark", "go")
    free = ("--tail", 0, "--least-sd", 0, "--easiest", 1, "--least-discrimination", 0)
    loose = json.loads(run(*base, "--out", tmp_path / "a", *free).stdout)["benchmarks"]
    assert list(loose) == ["go"]
    assert loose["go"]["items_kept"] == 16
    limits = ("--least-discrimination-of", "go=0.3", "--tail", "0.1", "--least-answered", "1")
    strict = run(*base, "--out", tmp_path / "b", *limits, "--item-rule", "original")
    found = json.loads(strict.stdout)
    assert found["options"]["discriminations"] == {"go": 0.3}
    assert found["options"]["item_rule"] == "original"
    assert found["benchmarks"]["go"]["low_disc"] > 5
    assert found["benchmarks"]["go"]["llms_tail"] >= 7


def test_a_folder_is_made_whole_or_not_at_all(world: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("preprocess", "--responses", world, "--out", out)
    said = fails(ResponseError, *words, "--least-discrimination-of", "mmlu=1")
    assert "mmlu" in said
    assert "no item is left" in said
    assert list(tmp_path.iterdir()) == []
    assert run(*words).exit_code == 0
    before = (out / "summary.json").read_bytes()
    assert "exists already" in fails(StorageError, *words)
    fails(ResponseError, *words, "--replace", "--least-discrimination-of", "mmlu=1")
    assert (out / "summary.json").read_bytes() == before
    assert run(*words, "--replace", "--tail", 0).exit_code == 0
    assert (out / "summary.json").read_bytes() != before
    (out / "summary.json").write_text('{"stage": "select"}')
    said = fails(InputError, *words, "--replace")
    assert "was not made by calibrate preprocess" in said
    assert (out / "summary.json").read_text() == '{"stage": "select"}'
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--item-rule", "best"], "choose point-biserial, original"),
        (["--order", "de"], "choose c, icu"),
        (["--easiest", "95"], "easiest is 95"),
        (["--least-discrimination-of", "go"], "write NAME=VALUE"),
        (["--least-discrimination-of", "nix=0.1"], "'nix', which is not here; there are chess, go"),
        (["--prompts", "nowhere"], "nowhere: no such folder of prompts"),
        (["--benchmark", "shogi"], "no responses of shogi.*There are chess, go, mmlu"),
        (["--plot", "figure.gif"], r"end its name in \.png"),
    ],
)
def test_bad_options(world: Path, tmp_path: Path, words: list[str], says: str) -> None:
    out = tmp_path / "out"
    said = fails(InputError, "preprocess", "--responses", world, "--out", out, *words)
    assert re.search(says, said)
    assert not out.exists()


def test_bad_files(world: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    words = ("preprocess", "--responses", folder, "--out", tmp_path / "out")
    assert "no responses of any benchmark" in fails(InputError, *words)
    rows = "".join(f"m{i},{j},{(i + j) % 2}\n" for i in range(5) for j in range(3))
    (folder / "own.csv").write_text("source,item,correct\n" + rows + "m9,1,0.5\n")
    said = fails(ResponseError, *words)
    assert "own.csv" in said
    assert "line 17: '0.5'" in said
    (folder / "own.csv").write_text("source,item,correct\n" + rows)
    (folder / "own-prompts.csv").write_text("item,prompt\nA,text\n")
    assert "the prompts of own are of other items (the first is 'A'" in fails(InputError, *words)
    (folder / "own-prompts.csv").unlink()
    assert str(folder / "own.csv") in fails(ResponseError, *words)
    said = fails(InputError, "preprocess", "--responses", folder, "--out", folder, "--replace")
    assert "write to another folder" in said
    assert (folder / "own.csv").is_file()
    assert "scores.parquet: no such file" in fails(InputError, "split", "--data", folder)
    assert "choose quarters, original" in fails(
        InputError, "split", "--data", folder, "--rule", "x"
    )


@pytest.fixture(scope="module")
def preprocessed(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("preprocessed") / "out"
    assert run("preprocess", "--responses", world, "--out", out).exit_code == 0
    return out


def command(environment: dict[str, str], *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "metabench_py", "calibrate", *map(str, words)],
        env=environment, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


def drawn_by(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["test_llms"]


@pytest.mark.usefixtures("needs_r")
def test_without_caret_the_original_says_how_to_get_it(preprocessed: Path, tmp_path: Path) -> None:
    environment = without_package(tmp_path / "r", "caret")
    words = (
        "split",
        "--data",
        preprocessed,
        "--out",
        tmp_path / "s",
        "--rule",
        "original",
        "--json",
    )
    done = command(environment, *words)
    assert done.returncode == 4
    assert done.stderr.startswith("Error: R has no package 'caret'")
    assert "apt-get install r-cran-caret" in done.stderr
    assert "partitioner base" in done.stderr
    assert not (tmp_path / "s").exists()
    base = drawn_by(command(environment, *words, "--partitioner", "base"))
    quarters = ("split", "--data", preprocessed, "--out", tmp_path / "q", "--json")
    assert drawn_by(command(environment, *quarters)) != base


@pytest.mark.usefixtures("needs_r")
def test_nothing_but_the_original_needs_r(world: Path, tmp_path: Path) -> None:
    environment = without_r(tmp_path / "r")
    data = tmp_path / "data"
    words = ("preprocess", "--responses", world)
    assert command(environment, *words, "--out", data).returncode == 0
    here = drawn_by(command(environment, "split", "--data", data, "--json"))
    other = {**os.environ, "LC_ALL": "C", "PYTHONHASHSEED": "5"}
    again = command(other, "split", "--data", data, "--json", "--replace")
    assert drawn_by(again) == here
    for failing in (
        (*words, "--out", tmp_path / "icu", "--order", "icu"),
        ("split", "--data", data, "--out", tmp_path / "icu", "--rule", "original"),
    ):
        done = command(environment, *failing)
        assert done.returncode == 4
        assert "R is not installed" in done.stderr
        assert not (tmp_path / "icu").exists()


@pytest.mark.usefixtures("needs_r", "needs_caret")
def test_caret_and_base_draw_the_same(preprocessed: Path, tmp_path: Path) -> None:
    words = ("split", "--data", preprocessed, "--rule", "original", "--share", "0.3", "--seed", "5")
    for name in ("caret", "base"):
        assert run(*words, "--out", tmp_path / name, "--partitioner", name).exit_code == 0
    one, other = (load_split(tmp_path / name / "split.parquet") for name in ("caret", "base"))
    assert one == other
    assert sum(one.values()) > 15


def test_the_real_inputs_layout(golden: Path, tmp_path: Path) -> None:
    """The original scraper's CSVs with their prompts, as they are."""
    result = run("preprocess", "--responses", golden / INPUTS, "--out", tmp_path / "o", "--json",
                 "--benchmark", "mmlu", "--benchmark", "gsm8k")  # fmt: skip
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)["benchmarks"]
    assert {b: s["duplicate"] for b, s in summary.items()} == {"gsm8k": 3, "mmlu": 3}
    assert len(summary["mmlu"]["files"]) == 3
