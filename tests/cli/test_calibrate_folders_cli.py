"""Where ``calibrate fit``, ``select`` and ``subsample`` write, and what they never replace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from metabench_py.cli.calibrate import calibrate_app
from metabench_py.errors import InputError, MetabenchError, StorageError
from tests.helpers.golden_pipeline import write_folder

STAGES = ("fit", "select", "subsample")


@pytest.fixture
def data(golden: Path, tmp_path: Path) -> Path:
    return write_folder(golden, tmp_path / "data")


def run(*words: object) -> Any:
    return CliRunner().invoke(calibrate_app, [str(word) for word in words])


def refused(stage: str, *words: object) -> MetabenchError:
    few = ("--items", 30, "--subsets", 4) if stage == "subsample" else ("--engine", "native")
    # First, so that `words` can say otherwise.
    result = run(stage, *few, "--workers", 1, *words)
    assert isinstance(result.exception, MetabenchError), result.output
    return result.exception


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("made_by", ["subsample", "fit", "select", None])
def test_what_is_read_is_not_replaced(
    data: Path, tmp_path: Path, stage: str, made_by: str | None
) -> None:
    for folder in (data, tmp_path):
        summary = {"best": {}, "n_items": 3} if made_by is None else {"stage": made_by}
        (folder / "summary.json").write_text(json.dumps(summary))
    before = contents(tmp_path)
    for out in (data, tmp_path, data / ".." / "data"):
        for more in ((), ("--replace",)):
            error = refused(stage, "--data", data, "--out", out, *more)
            assert isinstance(error, InputError)
            assert "holds the matrices themselves" in str(error)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("option", ["--scores", "--split"])
def test_nor_are_the_tables_that_are_read(
    data: Path, tmp_path: Path, stage: str, option: str
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    name = f"{option[2:]}.parquet"
    (data / name).rename(out / name)
    (out / "summary.json").write_text(json.dumps({"stage": stage}))
    before = contents(out)
    error = refused(stage, "--data", data, "--out", out, option, out / name, "--replace")
    assert f"{out} holds {out / name}" in str(error)
    assert contents(out) == before


@pytest.mark.parametrize("stage", STAGES)
def test_another_stage_s_folder_is_not_replaced(data: Path, tmp_path: Path, stage: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    summaries = [json.dumps({"stage": other}) for other in ("preprocess", *STAGES)]
    # Of others, damaged, and of fit and select before they named themselves.
    summaries += ["{}", "[]", "{", '{"schema": 1, "best": {}}', '{"schema": 1, "n_items": 3}']
    own = {"fit": summaries[-2], "select": summaries[-1]}
    for text in summaries:
        if text in (json.dumps({"stage": stage}), own.get(stage)):
            continue
        (out / "summary.json").write_text(text)
        error = refused(stage, "--data", data, "--out", out, "--replace")
        assert f"was not made by calibrate {stage}" in str(error)
    assert [p.name for p in out.iterdir()] == ["summary.json"]


@pytest.mark.usefixtures("needs_r")
@pytest.mark.parametrize("stage", ["fit", "select"])
def test_its_own_folder_is_replaced(data: Path, tmp_path: Path, stage: str) -> None:
    out, cache = tmp_path / "out", tmp_path / ".out.work"
    cache.mkdir()
    (cache / "published.json").write_text("{}")
    words = [stage, "--data", data, "--out", out, "--benchmark", "arc", "--engine", "native"]
    words += ["--item-type", "2PL", "--method", "MAP"]
    words += ["--evaluations", 2] if stage == "select" else []
    assert run(*words).exit_code == 0
    summary = json.loads((out / "summary.json").read_text())
    assert summary.pop("stage") == stage
    assert run(*words, "--replace").exit_code == 0
    # As an earlier version wrote it.
    (out / "summary.json").write_text(json.dumps(summary))
    assert run(*words, "--replace").exit_code == 0
    assert json.loads((out / "summary.json").read_text())["stage"] == stage
    # The cache of a run to the same place is the run's.
    assert sorted(p.name for p in tmp_path.iterdir()) == [".out.work", "data", "out"]
    assert [p.name for p in cache.iterdir()] == ["published.json"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_place_in_a_file_is_refused_before_the_work(
    data: Path, tmp_path: Path, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "afl").write_text("")
    monkeypatch.chdir(tmp_path)
    places = [("--out", "afl/x")]
    if stage != "fit":
        places.append(("--work", "afl/w"))
    for option, place in places:
        out = () if option == "--out" else ("--out", "out")
        error = refused(stage, "--data", data, *out, option, place)
        assert isinstance(error, StorageError)
        assert f"Cannot write {place}" in str(error) or f"Cannot write afl/.x.{stage}" in str(error)
        if stage == "fit":
            # Not what writing says after all fits.
            assert f"{tmp_path / 'afl'} is a file, not a folder" in str(error)
        assert sorted(p.name for p in tmp_path.iterdir()) == ["afl", "data"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_refusal_leaves_no_hidden_folder(data: Path, tmp_path: Path, stage: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    assert isinstance(refused(stage, "--data", data, "--out", out), StorageError)
    wrong = {
        "fit": ("--benchmark", "chess"),
        "select": ("--budget", 1),
        "subsample": ("--items", 99),
    }
    for workers in (1, 2):
        words = ("--data", data, "--out", tmp_path / "new", "--workers", workers, *wrong[stage])
        assert isinstance(refused(stage, *words), InputError)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "out"]
