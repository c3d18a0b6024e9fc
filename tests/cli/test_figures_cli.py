"""``metabench-py figures``: files, what is skipped and why, JSON, bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from metabench_py.cli.app import app
from metabench_py.errors import InputError
from metabench_py.figures.registry import FIGURES
from tests.helpers.figure_data import write_figure_data


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(app, ["figures", *map(str, arguments)])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_figure_data(tmp_path_factory.mktemp("data"))


def test_all_without_data_skips_and_says_why(tmp_path: Path) -> None:
    result = run("all", "--out", tmp_path, "--format", "svg", "--json")
    assert result.exit_code == 0, result.output
    value = json.loads(result.stdout)
    written = [one["figure"] for one in value["written"]]
    skipped = {one["figure"]: one["needs"] for one in value["skipped"]}
    assert sorted([*written, *skipped]) == sorted(FIGURES)
    assert {"item-curves", "test-information", "recovery", "example-scores"} <= set(written)
    assert skipped["factors"] == ["published/B/features.parquet (--data)"]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(f"{n}.svg" for n in written)
    assert "Skipped factors: it needs published/B/features.parquet (--data)." in result.stderr


def test_figures_by_name_in_several_formats(data: Path, tmp_path: Path) -> None:
    result = run(
        "factors", "correlations", "--data", data, "--out", tmp_path, "--format", "pdf,png",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "correlations.pdf", "correlations.png", "factors.pdf", "factors.png",
    ]  # fmt: skip
    assert (tmp_path / "factors.pdf").read_bytes().startswith(b"%PDF")
    assert (tmp_path / "factors.png").read_bytes().startswith(b"\x89PNG")


def test_a_damaged_file_costs_its_own_figures_alone(tmp_path: Path) -> None:
    (tmp_path / "synergy.json").write_text("{")
    words = ("item-model", "synergy", "item-curves", "--results", tmp_path, "--format", "svg")
    result = run(*words, "--out", tmp_path / "out", "--json")
    assert isinstance(result.exception, InputError)
    assert str(result.exception).startswith("1 of 3 figures could not be drawn (synergy)")
    value = json.loads(result.stdout)
    assert [one["figure"] for one in value["written"]] == ["item-model", "item-curves"]
    assert [one["figure"] for one in value["failed"]] == ["synergy"]
    assert "synergy.json is not readable JSON" in value["failed"][0]["error"]
    assert "Failed synergy: " in result.stderr
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_workers_do_not_change_a_figure(data: Path, tmp_path: Path) -> None:
    words = ("random-subsets", "--data", data, "--llms", 60, "--subsets", 10, "--format", "svg")
    for workers in (1, 2):
        result = run(*words, "--workers", workers, "--out", tmp_path / str(workers))
        assert result.exit_code == 0, result.output
    one, two = ((tmp_path / n / "random-subsets.svg").read_bytes() for n in "12")
    assert one == two


def test_list(data: Path) -> None:
    plain = run("list").stdout
    assert all(name in plain for name in FIGURES)
    assert "needs open-llm-leaderboard.csv (--data)" in plain
    rows = {row["figure"]: row for row in json.loads(run("list", "--data", data, "--json").stdout)}
    assert rows["architectures"]["lacks"] == []
    assert rows["architectures"]["needs"] == ["features", "leaderboard"]
    assert rows["synergy"]["lacks"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pie"], "No figure 'pie'; choose all or item-model, "),
        (["factors"], r"The figure factors needs published/B/features\.parquet \(--data\)\."),
        (["all", "--format", "gif"], "--format gif: choose among pdf, png, svg"),
        (["all", "--data", "nowhere"], "--data nowhere: no such folder"),
        (["all", "--results", "nowhere"], "--results nowhere: no such folder"),
        (["all", "--llms", "3"], "--llms 3: take 50 or more"),
        (["item-model", "--bundle", "nowhere"], "nowhere"),
        (["item-model", "--out", __file__], "that is a file; name a folder"),
    ],
)
def test_bad_input(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*words)
    assert result.exit_code != 0
    assert isinstance(result.exception, InputError)
    with pytest.raises(InputError, match=message):
        raise result.exception
    assert list(tmp_path.iterdir()) == []
