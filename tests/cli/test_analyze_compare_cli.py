"""``metabench-py analyze compare`` as a person or a script uses it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.bundles import tiny_bundle
from helpers.logs import log_path, write_model
from typer.testing import CliRunner, Result

from metabench_py.benchmarks import TARGETS
from metabench_py.bundle import Bundle
from metabench_py.cli.app import app
from metabench_py.errors import InputError, LogError, ModelNotFoundError


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture
def results(bundle: Bundle, tmp_path: Path) -> Path:
    for seed in range(3):
        write_model(tmp_path / f"org__m{seed}", bundle, seed)
    return tmp_path


@pytest.fixture
def options(bundle: Bundle, results: Path) -> list[str]:
    return ["--results", str(results), "--bundle", str(bundle.path)]


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(app, ["analyze", "compare", *map(str, arguments)])


def test_table(options: list[str]) -> None:
    result = run("org__m0", "org/m1", *options)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["Grand", "score", "score", "error", "rank", "95", "%", "best"]
    assert {line.split()[0] for line in lines[1:3]} == {"org__m0", "org/m1"}
    assert "org__m0 - org/m1" in lines[5]
    assert "Note (gsm8k-by-position)" not in result.stdout


def test_json_agrees_with_reconstruct(options: list[str], results: Path) -> None:
    value = json.loads(run("--all", results, "--json", "--level", 0.9, *options).stdout)
    assert (value["level"], value["bundle"], len(value["pairs"])) == (0.9, "tiny", 3)
    assert list(value["ranks"]) == list(TARGETS)
    scored = CliRunner().invoke(
        app, ["reconstruct", "org__m2", "--json", "--engine", "native", *options]
    )
    theirs = json.loads(scored.stdout)
    rank = next(one for one in value["ranks"]["mmlu"] if one["run"] == "org__m2")
    assert rank["score"] == pytest.approx(theirs["scores"]["mmlu"]["score"], abs=1e-9)
    pair = next(p for p in value["pairs"] if (p["first"], p["second"]) == ("org__m0", "org__m2"))
    right = {}
    for name in ("org__m0", "org__m2"):
        done = CliRunner().invoke(app, ["reconstruct", name, "--json", *options])
        right[name] = json.loads(done.stdout)["abilities"]["arc"]["n_correct"]
    apart = pair["items"]["arc"]
    assert apart["first_only"] - apart["second_only"] == right["org__m0"] - right["org__m2"]


def test_plot_and_target(options: list[str], results: Path, tmp_path: Path) -> None:
    plot = tmp_path / "c.png"
    result = run("--all", results, "--plot", plot, "--target", "arc", *options)
    assert result.stdout.startswith("ARC")
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_bad_arguments(options: list[str], results: Path, tmp_path: Path) -> None:
    for arguments, kind in (
        ((), InputError),
        (("org__m0",), InputError),
        (("org__m0", "org__m0"), InputError),
        (("org__m0", "org__m9"), ModelNotFoundError),
        (("org__m0", "--all", results), InputError),
        (("org__m0", "org__m1", "--level", 95), InputError),
        (("org__m0", "org__m1", "--plot", tmp_path / "c.docx"), InputError),
        (("org__m0", "org__m1", "--permuted"), LogError),
        (("org__m0", "org__m1", "--seed", -1), InputError),
    ):
        result = run(*arguments, *options)
        assert isinstance(result.exception, kind), arguments
    log_path(results / "org__m1", "mmlu").write_bytes(b"\x00")
    assert isinstance(run("org__m0", "org__m1", *options).exception, LogError)


def test_one_bad_run_of_all_is_left_out(options: list[str], results: Path) -> None:
    log_path(results / "org__m1", "mmlu").write_text("no log\n")
    done = run("--all", results, "--json", *options[2:])
    assert done.exit_code == 1
    assert len(json.loads(done.stdout)["pairs"]) == 1
    assert "Error: org__m1: " in done.stderr
    assert "1 of 3 runs failed" in done.stderr
    assert isinstance(run("org__m0", "org__m1", *options).exception, LogError)
