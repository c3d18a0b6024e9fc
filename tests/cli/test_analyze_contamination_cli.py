"""``metabench-py analyze contamination`` as a person or a script uses it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.bundles import tiny_draft
from helpers.logs import log_path, rows, write_model, write_rows
from typer.testing import CliRunner, Result

from metabench_py.bundle import Bundle, load_bundle
from metabench_py.bundle.write import write_bundle
from metabench_py.cli.app import app
from metabench_py.errors import BundleError, InputError, LogError, ModelNotFoundError


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    made = {}
    for version in "AB":
        out = tmp_path_factory.mktemp("bundle") / version
        draft = replace(tiny_draft(), version=version, name=f"tiny-{version}")
        made[version] = load_bundle(write_bundle(draft, out))
    return made


@pytest.fixture
def options(
    bundles: dict[str, Bundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    monkeypatch.setenv("METABENCH_BUNDLES", str(tmp_path / "none"))
    folder = tmp_path / "org__m"
    write_model(folder, bundles["B"], 1)
    write_model(folder, bundles["B"], 2, permuted=True, time="2024-11-27T10-50-23.349203")
    return [
        "--results", str(tmp_path), "--bundle", str(bundles["B"].path), "--simulations", "150",
        "--alarm-rate", "0.1",
    ]  # fmt: skip


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(app, ["analyze", "contamination", *map(str, arguments)])


def test_table(options: list[str]) -> None:
    result = run("org/m", *options)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "org__m: B, B-permuted"
    assert lines[2].startswith("B less B-permuted")
    assert "(p = " in lines[-3]
    assert lines[-2].endswith("; 150 simulated).")


def test_json_and_plot(options: list[str], tmp_path: Path) -> None:
    plot = tmp_path / "k.svg"
    value = json.loads(run("org__m", "--json", "--plot", plot, *options).stdout)
    assert (value["model"], value["bundles"]) == ("org__m", {"B": "tiny-B"})
    assert value["verdict"] in ("alarm", "no sign")
    assert value["verdict"] == ("alarm" if value["p_value"] <= 0.1 else "no sign")
    (one,) = value["suspicions"]
    assert set(one["flips"]) == set(one["abilities"])
    assert set(value["person_fit"]) == {"B", "B-permuted"}
    assert value["n_simulations"] == 150
    again = json.loads(run("org__m", "--json", *options).stdout)
    assert again == value
    assert len(plot.read_text()) > 10_000


def test_both_versions(options: list[str], bundles: dict[str, Bundle], tmp_path: Path) -> None:
    for benchmark, model in bundles["A"].benchmarks.items():
        items = model.parameters.items
        path = log_path(tmp_path / "org__m", benchmark, "A")
        write_rows(path, rows(benchmark, {item: i % 2 for i, item in enumerate(items)}))
    result = run("org__m", *options)
    # The installed bundle is of version B; a second --bundle brings A.
    assert "the run A is left aside" in result.stderr
    assert "bundle pull" in result.stderr
    both = run("org__m", "--json", "--bundle", bundles["A"].path, *options)
    assert json.loads(both.stdout)["runs"] == ["A", "B", "B-permuted"]
    some = run("org__m", "--json", "--bundle", bundles["A"].path, "--run", "A", "--run", "B",
               *options)  # fmt: skip
    assert json.loads(some.stdout)["runs"] == ["A", "B"]


def test_bad_arguments(options: list[str], bundles: dict[str, Bundle], tmp_path: Path) -> None:
    for arguments, kind in (
        (("org__x",), ModelNotFoundError),
        (("org__m", "--run", "C"), InputError),
        (("org__m", "--run", "B"), InputError),
        (("org__m", "--run", "A", "--run", "B"), BundleError),
        (("org__m", "--run", "B", "--run", "A", "--bundle", bundles["A"].path), LogError),
        (("org__m", "--bundle", bundles["B"].path), InputError),
        (("org__m", "--plot", tmp_path / "k.docx"), InputError),
        (("org__m", "--alarm-rate", "0.001"), InputError),
        (("org__m", "--seed", -1), InputError),
    ):
        result = run(arguments[0], *options, *arguments[1:])
        assert isinstance(result.exception, kind), arguments


def test_real_runs(shared_data: Path) -> None:
    result = run(
        "EleutherAI__pythia-14m", "--results", shared_data / "harness-results", "--json",
        "--simulations", 700,
    )  # fmt: skip
    value = json.loads(result.stdout)
    (one,) = value["suspicions"]
    # Only MMLU's options stand in the prompt.
    assert list(one["abilities"]) == ["mmlu"]
    assert len(one["flips"]["mmlu"]["plain_only"]) == 24
    assert len(one["flips"]["mmlu"]["permuted_only"]) == 24
    assert value["verdict"] == "no sign"
