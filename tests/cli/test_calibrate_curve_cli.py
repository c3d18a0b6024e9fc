"""The command ``calibrate curve``."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from helpers.calibration import write_world
from typer.testing import CliRunner, Result

from metabench_py.calibration.inputs import load_items
from metabench_py.cli.calibrate import calibrate_app
from metabench_py.errors import BundleError, InputError


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    return write_world(tmp_path_factory.mktemp("world"), n_llms=150, n_items=12)


def invoke(world: tuple[Path, Path, Path], *more: Any) -> Result:
    responses, scores, items = world
    words = ["curve", "--responses", responses, "--scores", scores, "--workers", 1, "--folds", 3]
    if "--bundle" not in more:
        words += ["--items", items]
    return CliRunner().invoke(calibrate_app, [*map(str, words), *map(str, more)])


def test_table_files_plot_and_items(world: tuple[Path, Path, Path], tmp_path: Path) -> None:
    out, plot, kept = tmp_path / "curve.csv", tmp_path / "curve.svg", tmp_path / "few.csv"
    result = invoke(
        world, "--budgets", "15,all", "--orders", "greedy,random", "--draws", 2, "--out", out,
        "--plot", plot, "--items-out", kept, "--budget", 62,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith("RMSE in score points on LLMs of other organisations: 150 LLMs")
    assert [line.split()[:2] for line in lines[3:7]] == [
        ["greedy", "15"], ["greedy", "72"], ["random", "15"], ["random", "72"],
    ]  # fmt: skip
    assert "item-budget curves: 12 of 12: 12 done" in result.stderr
    assert "too small; those of calibrate bundle --choose 62 are not" in result.stderr
    with out.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 4 * 7
    assert list(rows[0]) == ["order", "n_items", "target", "rmse", "lower", "upper", "interval"]
    assert f"{float(rows[0]['rmse']):.3f}" == lines[3].split()[2]
    assert plot.read_text().startswith("<?xml")
    lists = load_items(kept)
    assert sum(len(one.items) for one in lists.values()) == 62
    assert min(len(one.items) for one in lists.values()) >= 10
    every = load_items(world[2])
    for benchmark, one in lists.items():
        # In the order of the list that they are taken from.
        assert [i for i in every[benchmark].items if i in one.items] == list(one.items)
        assert one.metric == every[benchmark].metric
    assert {path.name for path in tmp_path.iterdir()} == {"curve.csv", "curve.svg", "few.csv"}


def test_json_of_a_bundle_s_items(
    world: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "curve.json"
    more = ("--budgets", "6", "--orders", "ridge", "--json", "--out", out)
    result = invoke(world, *more)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found == json.loads(out.read_text())
    assert (found["stage"], found["n_items"], found["options"]["folds"]) == ("curve", 72, 3)
    (point,) = found["points"]
    assert point["errors"]["grand"]["rmse"] < found["deviation"]["grand"]
    with pytest.raises(BundleError, match="No bundle 'nobody'"):
        raise invoke(world, "--bundle", "nobody").exception or AssertionError
    # The embedded bundle's items are others than these matrices'.
    result = invoke(world, "--bundle", "default")
    assert "Correct the item list or this file" in str(result.exception)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--budgets", "15,half"), "--budgets 15,half: give numbers of items"),
        (("--budgets", "0"), "--budgets 0"),
        (("--budgets", "73"), "A budget of 73 items: there are 72"),
        (("--orders", "greedy,best"), "Order 'best': choose greedy, ridge"),
        (("--orders", "greedy,greedy"), "Orders greedy, greedy: name each once"),
        (("--seed", "-1"), "The seed is -1; give 0 or more"),
        (("--plot", "curve.gif"), "end its name in .png"),
        (("--out", "curve.txt"), "end its name in .csv or .json"),
        (("--items-out", "few.csv"), "--items-out and --budget go together"),
        (("--items-out", "few.csv", "--budget", "59"), "59 items cannot be listed: take 60"),
        (("--items-out", "few.csv", "--budget", "62", "--order", "best"), "--order best"),
        (("--order", "random"), "--order is the order of --items-out"),
        (("--folds", "2"), "2 folds are too few"),
        (("--bundle", "default", "--items", "x.csv"), "Give either --items"),
    ],
)
def test_what_cannot_be_done(
    world: tuple[Path, Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    more: tuple[str, ...],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    result = invoke(world, *more)
    assert isinstance(result.exception, InputError)
    assert says in str(result.exception)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("option", "name"), [("--out", "a.csv"), ("--plot", "a.svg"), ("--items-out", "a.csv")]
)
def test_a_folder_in_a_file_s_place_is_told_before_the_work(
    world: tuple[Path, Path, Path], tmp_path: Path, option: str, name: str
) -> None:
    (tmp_path / name).mkdir()
    more = ("--budget", "62") if option == "--items-out" else ()
    result = invoke(world, option, str(tmp_path / name), *more)
    assert isinstance(result.exception, InputError)
    assert f"{option} {tmp_path / name}: that is a folder" in str(result.exception)
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_an_order_of_no_choice_is_refused(tmp_path: Path) -> None:
    words = ["bundle", "--responses", "r", "--items", "i.csv", "--out"]
    words += [str(tmp_path / "b"), "--name", "n", "--version-label", "B", "--licence", "l"]
    result = CliRunner().invoke(calibrate_app, [*words, "--source", "s", "--order", "random"])
    assert isinstance(result.exception, InputError), result.output
    assert "say how many items with --choose N" in str(result.exception)
